"""Random lives of a workload, and journals torn at any byte."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tegcore.errors import JournalError
from tegd.airlock import core, frames, protocol
from tegd.airlock.core import Act, Input, Kind, Step
from tegd.airlock.model import Hook, Spec, Then, Way, Workload
from tegd.airlock.transitions import State

HOOK = Hook(10, "/srv/checkpoint", "/srv/mark")
TERM_NS = 1000
LETS_RUN = {Act.THAW, Act.ASK, Act.ASK_AGAIN, Act.TERMINATE, Act.GO}
OUTCOMES = {
    State.STARTING: [Kind.STARTED, Kind.START_FAILED],
    State.RUNNING: [Kind.EXITED, Kind.NEVER_RAN],
    State.FROZEN: [Kind.EXITED],
    State.SAVING: [Kind.MARKED, Kind.SAVE_FAILED, Kind.EXITED],
    State.FLUSHING: [Kind.FLUSHED, Kind.FLUSH_FAILED, Kind.EXITED],
    State.ENDING: [Kind.EXITED],
    State.KILLING: [Kind.EXITED],
    State.PARKED: [],
    State.ENDED: [],
}


@settings(max_examples=300, deadline=None)
@given(st.data(), st.booleans(), st.booleans())
def test_random_lives_keep_the_rules_of_the_term(data: st.DataObject, savable: bool, dump: bool) -> None:
    """Past its term a workload runs for its hook alone, and is not ended for it unsaved if it has one."""
    spec = Spec("w", 1, 2, ("true",), {}, "/", 0, 0, HOOK if savable else None, 50, 100, resume=False, dump=dump)
    begun = core.begin(spec, TERM_NS, 0)
    assert isinstance(begun, Step)
    workload, now_ns, runs = begun.workload, 0, False
    for _ in range(data.draw(st.integers(1, 40))):
        kinds = [Kind.DUE, *core.REQUESTS, *OUTCOMES[workload.status.state] * 3]
        kind = data.draw(st.sampled_from(sorted(kinds)))
        if kind is Kind.DUE:
            due_ns = core.due_ns(workload)
            now_ns = max(now_ns, due_ns) if due_ns is not None else now_ns
        else:
            due_ns = core.due_ns(workload)
            latest_ns = now_ns + 400 if due_ns is None else max(now_ns, due_ns - 1)
            now_ns = data.draw(st.integers(now_ns, min(latest_ns, now_ns + 400)))
        told = Input(
            kind,
            pid=7,
            exit_code=0,
            then=data.draw(st.sampled_from(Then)),
            grace_ns=data.draw(st.sampled_from([0, 30])),
            term_end_ns=now_ns + data.draw(st.sampled_from([-100, 300])) if kind is Kind.EXTEND else 0,
        )
        before = workload
        result = core.step(workload, told, now_ns)
        if not isinstance(result, Step):
            continue
        workload = result.workload
        runs = _runs(runs, result, told)
        _holds(before, workload, told, now_ns, runs=runs)


def _runs(runs: bool, step: Step, told: Input) -> bool:
    for effect in step.effects:
        if effect.act in LETS_RUN:
            runs = True
        elif effect.act in (Act.FREEZE, Act.KILL, Act.CLEAR):
            runs = False
    return runs and told.kind not in (Kind.EXITED, Kind.NEVER_RAN)


def _holds(before: Workload, after: Workload, told: Input, now_ns: int, *, runs: bool) -> None:
    status = after.status
    assert status.term_end_ns >= before.status.term_end_ns, "a term moved back"
    asked = status.state is State.SAVING and status.by is Way.HOOK
    assert runs == (asked or (status.state in (State.RUNNING, State.ENDING) and status.exit_code is None))
    if told.kind is Kind.DUE and 0 < status.term_end_ns <= now_ns:
        assert status.state not in (State.RUNNING, State.ENDING), "it runs past its term"
    ended_for_term = status.state is State.KILLING and status.cause == "term" != before.status.cause
    assert not (ended_for_term and after.spec.hook and not status.saved_ns), "savable work was ended unsaved"
    parked = status.state is State.PARKED
    assert not parked or status.saved_ns or status.dumped_ns, "it was parked and is nowhere"


_RECORDS = st.lists(st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=3), min_size=1, max_size=3)


@settings(max_examples=100, deadline=None)
@given(st.lists(_RECORDS, min_size=1, max_size=4), st.data())
def test_a_journal_torn_at_any_byte_gives_what_was_committed(
    commits: list[list[frames.Record]], data: st.DataObject
) -> None:
    encoded = [frames.encode(commit) for commit in commits]
    whole = b"".join(encoded)
    cut = data.draw(st.integers(len(whole) - len(encoded[-1]), len(whole)))
    kept = commits if cut == len(whole) else commits[:-1]
    zeros = bytes(data.draw(st.integers(0, 3)) * 40) if cut in (len(whole), len(whole) - len(encoded[-1])) else b""
    found = frames.recover(whole[:cut] + zeros)
    assert found.records == [record for commit in kept for record in commit]
    assert found.good_bytes == sum(map(len, encoded[: len(kept)]))


@settings(max_examples=100, deadline=None)
@given(st.lists(_RECORDS, min_size=2, max_size=4), st.data())
def test_damage_before_the_last_commit_is_never_passed_over(
    commits: list[list[frames.Record]], data: st.DataObject
) -> None:
    encoded = [frames.encode(commit) for commit in commits]
    whole = bytearray(b"".join(encoded))
    at = data.draw(st.integers(0, len(whole) - len(encoded[-1]) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(JournalError, match="damaged at byte"):
        frames.recover(bytes(whole))


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["v", "id", "verb", "workload", "token", "after", "x"]), inner, max_size=6
                )
            ),
            max_leaves=8,
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_no_packet_breaks_the_decoder(packet: bytes) -> None:
    result = protocol.decode(packet)
    assert isinstance(result, protocol.Request | protocol.Refusal)
