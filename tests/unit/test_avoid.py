"""Hosts that work avoids: where it still looks, and what its home makes of a seat that cannot run it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegcore.field.geometry import enclosing
from tegcore.units import TICK_NS
from tegcore.wire.control import WorkloadSpec
from tegcore.wire.messages import SCHEMA, Welcome
from tegcore.wire.peer import CANNOT, Answer, Report
from tegcore.wire.records import Reason, Region
from tegd.agent import AgentSide, Place
from tegd.handover import Trip
from tegd.modes import Mode
from tegd.seek import clear_of
from tegd.trips import AVOIDS_MAX
from tegd.views import why
from tegd.workload import Life, Workload

ZONE_K = 3
HOST_B = Region(4, 2)
MISSING = "trainer was not found on the path /opt/bin"


@given(
    slot=st.integers(0, 63),
    level=st.integers(0, 6),
    hosts=st.lists(st.tuples(st.integers(0, 63), st.integers(0, 3)), max_size=5),
    least=st.integers(0, 4),
    turn=st.integers(0, 9),
)
def test_no_avoided_slot_is_looked_at_while_there_are_others(
    slot: int, level: int, hosts: list[tuple[int, int]], least: int, turn: int
) -> None:
    avoided = [enclosing(base, log2) for base, log2 in hosts]
    region = enclosing(slot, max(level, least))
    found = clear_of(region, avoided, least, ZONE_K, turn)
    taken = {at for host in avoided for at in range(host.base, host.end)}
    room = [base for base in range(0, 64, 1 << least) if not taken & set(range(base, base + (1 << least)))]
    if found is None:
        assert not room
        return
    assert room
    assert found.log2 >= least
    assert found == enclosing(found.base, found.log2)
    assert not taken & set(range(found.base, found.end))
    if not taken & set(range(region.base, region.end)):
        assert found == region


def home(**spec: object) -> tuple[AgentSide, Workload]:
    """Host a, at slots 0 to 3 of 64, with one job that sits on b."""
    side = AgentSide(Place("a", 0, 2, 0, 4000, 1 << 33), 1, 0, {"ada": 1}, 0)
    fields = {"argv": ("trainer",), "limit_ucr": 1000, "endow_ucr": 10_000} | spec
    work = Workload.accepted(1, "ada", (0, 0), 1, WorkloadSpec(**fields))  # type: ignore[arg-type]
    side.loaded([work])
    side.ready()
    side.node.welcomed(Welcome(SCHEMA, "a", 1, 1, 0, ZONE_K, 1, 100, 200, 40, 40, 60, 1))
    side.node.mode = Mode.RUN
    sit(work)
    return side, work


def sit(work: Workload, host: str = "b", base: int = 4, token: int = 7) -> None:
    work.life, work.trip = Life.AWAY, Trip.AWAY
    work.lease, work.token, work.seats, work.taken = token, token, [host], [0]
    work.slots_by_rank, work.blocks, work.words = [1], ((base, 0),), {}


def fails(side: AgentSide, work: Workload, host: str = "b", region: Region = HOST_B) -> None:
    token = work.token
    report = Report(1, token, token, 0, 0, True, True, True, 126, MISSING, base=region.base, log2=region.log2)
    _, answer = side.travel.reported(host, report, TICK_NS)
    assert answer.ok
    side.travel.lease_over(token, Reason.DONE, 2 * TICK_NS)


def test_a_start_that_fails_on_another_host_sends_the_work_elsewhere() -> None:
    side, work = home()
    fails(side, work)
    assert work.life is Life.SEEKING
    assert "avoids b" in " ".join(text for _, text in work.history)
    assert any("b" in row["text"] and MISSING in row["text"] for row in why(side.node, work, 0)["reasons"])
    for slot in range(64):
        side.node.slots[1] = slot
        for level in range(5):
            side.node.agents[1].search.level = level
            region = side.node._region(work)
            assert not (region.base < HOST_B.end and HOST_B.base < region.end)


def test_a_seat_that_cannot_take_it_is_avoided_too() -> None:
    side, work = home()
    work.trip, work.taken = Trip.TELLING, []
    refused = Answer(ok=False, reason=CANNOT, message="there is no folder /data on it", base=4, log2=2)
    side.travel.seat_answered(1, 7, 0, refused, TICK_NS)
    side.travel.lease_over(7, Reason.CANCELLED, 2 * TICK_NS)
    assert (work.life, work.homebound) == (Life.SEEKING, False)
    assert work.avoided["b"][:2] == (4, 2)


def test_its_own_exit_code_is_its_own() -> None:
    side, work = home()
    report = Report(1, 7, 7, 0, 0, True, True, True, 127, "")
    side.travel.reported("b", report, TICK_NS)
    side.travel.lease_over(7, Reason.DONE, 2 * TICK_NS)
    assert (work.life, work.exit_code) == (Life.ENDED, 127)


def test_after_several_hosts_it_runs_at_home_or_not_at_all() -> None:
    side, work = home()
    for number in range(AVOIDS_MAX):
        sit(work, f"h{number}", 4 + 4 * number, 7 + number)
        fails(side, work, f"h{number}", Region(4 + 4 * number, 2))
    assert (work.life, work.homebound) == (Life.SEEKING, True)
    side, work = home(sizes=(3,))
    for number in range(AVOIDS_MAX):
        sit(work, f"h{number}", 8 + 8 * number % 56, 7 + number)
        if work.life is not Life.ENDED:
            fails(side, work, f"h{number}", Region(8 + 8 * (number % 7), 3))
    assert (work.life, work.exit_code) == (Life.ENDED, 126)
    assert MISSING in work.outcome


@pytest.mark.parametrize(("base", "log2"), [(-1, 0), (0, 6), (0, 2)])
def test_a_seat_that_says_nothing_sound_of_its_place_keeps_the_work_at_home(base: int, log2: int) -> None:
    side, work = home()
    fails(side, work, "b", Region(base, log2))
    assert (work.life, work.homebound) == (Life.SEEKING, True)
