"""Hosts that are silent for too long: what a look finds in front is what a walk over all hosts would find."""

from hypothesis import given, settings
from hypothesis import strategies as st

from zone_ledger.silence import LOST_NS, Silence

HOSTS = range(1, 6)


class Walk:
    """The plain reference: every host is looked at every time."""

    def __init__(self) -> None:
        self.heard_ns = dict.fromkeys(HOSTS, -1)
        self.found: set[int] = set()

    def heard(self, host: int, now_ns: int) -> None:
        self.heard_ns[host] = now_ns
        self.found.discard(host)

    def look(self, now_ns: int, *, deaf: bool) -> list[int]:
        for host, heard_ns in self.heard_ns.items():
            if deaf or heard_ns < 0:
                self.heard_ns[host] = now_ns
        silent = [host for host, heard_ns in self.heard_ns.items() if now_ns - heard_ns > LOST_NS]
        fresh = [host for host in silent if host not in self.found]
        self.found.update(fresh)
        return sorted(fresh)


steps = st.lists(
    st.tuples(
        st.one_of(st.integers(0, LOST_NS // 2), st.sampled_from([0, LOST_NS, LOST_NS + 1, 2 * LOST_NS])),
        st.one_of(st.sampled_from(HOSTS), st.just(0)),
        st.integers(0, 9).map(lambda drawn: drawn == 0),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(steps)
def test_a_look_finds_whom_a_walk_would_find(drawn) -> None:
    """Host 0 of a step is a look; the first look is at once, as a ledger's is."""
    silence, walk, now_ns = Silence(HOSTS), Walk(), 1
    for moved_ns, host, deaf in [(0, 0, False), *drawn]:
        now_ns += moved_ns
        if host:
            silence.heard(host, now_ns)
            walk.heard(host, now_ns)
        else:
            assert silence.look(now_ns, deaf=deaf) == walk.look(now_ns, deaf=deaf)


def test_a_host_that_came_later_is_found_too_and_once() -> None:
    silence = Silence([])
    assert silence.look(1, deaf=False) == []
    silence.heard(7, 2)
    assert silence.look(2 + LOST_NS, deaf=False) == []
    assert silence.look(3 + LOST_NS, deaf=False) == [7]
    assert silence.look(9 * LOST_NS, deaf=False) == []
