"""The ladder of saves, what proves a rung, and what a deadman does in every state."""

import json
from dataclasses import replace
from itertools import product

import pytest

from tegd.airlock import core, proof, will
from tegd.airlock.core import Act, Input, Kind, Refused, Step
from tegd.airlock.dumper import requests
from tegd.airlock.model import Cause, Held, Hook, Proof, Spec, Status, Then, Way, Workload
from tegd.airlock.readings import Life, Member, Reading, of
from tegd.airlock.transitions import TABLE, State
from tegd.airlock.will import Last

HOOK = Hook(10, "/srv/checkpoint", "/srv/mark")
BOTH = Spec("w", 1, 2, ("true",), {}, "/", 0, 0, HOOK, notice_ns=50, save_ns=100, resume=False, dump=True)
BARE = replace(BOTH, hook=None)
WATCHED = replace(BOTH, watchdog=True)


def at(state: State, spec: Spec = BOTH, **changes: object) -> Workload:
    return Workload(spec, replace(Status(state, 0, 0, pid=7, start_ticks=8), **changes))


def go(workload: Workload, kind: Kind, now_ns: int = 10, **fields: object) -> Step:
    result = core.step(workload, Input(kind, **fields), now_ns)
    assert isinstance(result, Step), result
    return result


def acts(step: Step) -> list[Act]:
    return [effect.act for effect in step.effects]


SPECS = (BOTH, BARE, WATCHED, replace(BOTH, dump=False), replace(BARE, dump=False))


@pytest.mark.parametrize("state", State)
def test_every_input_is_a_pair_of_the_table_a_refusal_or_a_broken_invariant(state: State) -> None:
    ways = product(SPECS, Kind, Way, (Then.END, Then.PARK, Then.PROVE), (0, 5))
    for spec, kind, by, then, term_end_ns in ways:
        workload = at(state, spec, by=by, then=then, term_end_ns=term_end_ns)
        told = Input(kind, pid=7, start_ticks=8, term_end_ns=2000, grace_ns=5, exit_code=0, then=then)
        try:
            result = core.step(workload, told, 10)
        except AssertionError:
            assert kind not in core.REQUESTS
            assert (state, core.narrow(workload, told, 10)) not in TABLE
            continue
        if isinstance(result, Step) and (result.workload != workload or result.effects):
            event = core.narrow(workload, told, 10)
            assert result.workload.status.state is TABLE[state, event]


def test_without_a_hook_a_save_for_memory_is_a_dump_of_what_is_frozen() -> None:
    saving = go(at(State.FROZEN, BARE, held=Held.MEMORY), Kind.SAVE, then=Then.PARK)
    assert acts(saving) == [Act.FREEZE, Act.DUMP]
    assert core.due_ns(saving.workload) is None, "a dump has no deadline"
    assert core.resumed(saving.workload) == tuple(core.Effect(act) for act in (Act.FREEZE, Act.DUMP))
    killing = go(go(saving.workload, Kind.MARKED).workload, Kind.FLUSHED, 20)
    assert (acts(killing), killing.workload.status.dumped_ns) == ([Act.KILL], 20)
    parked = go(killing.workload, Kind.EXITED).workload
    assert (parked.status.state, parked.status.saved_ns) == (State.PARKED, 0), "it has no checkpoint of its own"
    running = go(go(parked, Kind.RESTORE).workload, Kind.STARTED, pid=7)
    assert (acts(running), running.workload.status.dumped_ns) == ([Act.GO], 0)


def test_a_restore_that_fails_keeps_the_image() -> None:
    parked = at(State.PARKED, BARE, by=Way.DUMP, dumped_ns=5)
    failed = go(go(parked, Kind.RESTORE).workload, Kind.START_FAILED, problem="its pid is taken").workload
    assert (failed.status.state, failed.status.dumped_ns, failed.status.problem) == (
        State.PARKED,
        5,
        "its pid is taken",
    )


def test_a_dump_that_is_refused_leaves_the_work_as_it_was_and_says_why() -> None:
    saving = go(at(State.FROZEN, BARE, held=Held.MEMORY), Kind.SAVE, then=Then.PARK).workload
    failed = go(saving, Kind.SAVE_FAILED, problem="a socket")
    assert (failed.workload.status.state, failed.workload.status.problem) == (State.FROZEN, "a socket")
    assert acts(failed) == [Act.FREEZE, Act.DISCARD]


def test_each_failure_leads_to_the_next_rung_and_after_the_last_to_the_first() -> None:
    workload = at(State.FROZEN, held=Held.MEMORY)
    for way, failure in ((Way.HOOK, Kind.DUE), (Way.DUMP, Kind.SAVE_FAILED), (Way.HOOK, Kind.DUE)):
        saving = go(workload, Kind.SAVE, then=Then.PARK).workload
        assert saving.status.by is way
        workload = go(saving, failure, 10 + BOTH.save_ns).workload
        assert workload.status.state is State.FROZEN


def test_what_has_to_leave_is_saved_by_its_hook_alone() -> None:
    fallen = at(State.RUNNING, way=Way.DUMP)
    assert go(fallen, Kind.SAVE, then=Then.END).workload.status.by is Way.HOOK
    assert core.step(at(State.RUNNING, BARE), Input(Kind.SAVE, then=Then.END), 10) is Refused.NO_HOOK


@pytest.mark.parametrize("outcome", [Kind.SAVE_FAILED, Kind.FLUSHED])
def test_a_term_that_ends_during_a_dump_has_the_hook_asked_after_it(outcome: Kind) -> None:
    saving = go(at(State.FROZEN, held=Held.MEMORY, way=Way.DUMP), Kind.SAVE, then=Then.PARK).workload
    late = go(go(saving, Kind.EXTEND, 11, term_end_ns=15).workload, Kind.DUE, 20).workload
    assert (late.status.state, late.status.held) == (State.SAVING, Held.TERM)
    if outcome is Kind.FLUSHED:
        late = go(late, Kind.MARKED, 21).workload
    asked = go(late, outcome, 22)
    assert (asked.workload.status.state, asked.workload.status.by) == (State.SAVING, Way.HOOK)
    assert acts(asked) == [Act.ASK, Act.DISCARD]
    assert core.due_ns(asked.workload) == 22 + BOTH.save_ns


def test_without_a_hook_a_term_that_ends_during_a_dump_means_notice_and_end() -> None:
    saving = go(at(State.FROZEN, BARE, held=Held.MEMORY), Kind.SAVE, then=Then.PARK).workload
    late = go(go(saving, Kind.EXTEND, 11, term_end_ns=15).workload, Kind.DUE, 20).workload
    held = go(go(late, Kind.MARKED, 21).workload, Kind.FLUSHED, 22).workload
    assert (held.status.state, held.status.held, core.due_ns(held)) == (State.FROZEN, Held.TERM, 22 + 50)
    assert go(held, Kind.DUE, 72).workload.status.cause is Cause.TERM
    assert go(at(State.PARKED, BARE, term_end_ns=5), Kind.DUE, 10).workload.status.state is State.ENDED


def test_a_proof_goes_down_the_ladder_and_its_last_failure_is_told() -> None:
    proving = go(at(State.RUNNING), Kind.SAVE, then=Then.PROVE).workload
    assert (proving.status.by, core.due_ns(proving)) == (Way.HOOK, 10 + BOTH.save_ns)
    fell = go(proving, Kind.DUE, 200)
    assert (fell.workload.status.state, fell.workload.way, fell.told) == (State.RUNNING, Way.DUMP, ("thawed",))
    proving = go(fell.workload, Kind.SAVE, then=Then.PROVE).workload
    failed = go(proving, Kind.SAVE_FAILED, 300, problem="a socket")
    status = failed.workload.status
    assert (failed.workload.way, status.proof, "unsavable" in failed.told) == (None, Proof.FAILED, True)
    assert "hook" in status.flaw
    assert "a socket" in status.flaw
    assert status.problem == "", "nothing went wrong that was needed"
    again = go(failed.workload, Kind.SAVE, 400, then=Then.PROVE).workload
    proved = go(go(again, Kind.MARKED, 410).workload, Kind.FLUSHED, 420)
    assert (proved.workload.way, proved.workload.status.proof) == (Way.HOOK, Proof.PROVED)
    assert "proved" in proved.told
    assert acts(proved) == [Act.THAW]


def test_a_proof_by_dump_lets_go_of_the_image() -> None:
    proving = go(at(State.RUNNING, BARE), Kind.SAVE, then=Then.PROVE).workload
    proved = go(go(proving, Kind.MARKED, problem="sockets").workload, Kind.FLUSHED)
    assert acts(proved) == [Act.THAW, Act.DISCARD]
    assert (proved.workload.status.dumped_ns, proved.workload.status.flaw) == (0, "sockets")


@pytest.mark.parametrize("kind", [Kind.FREEZE, Kind.SEAL, Kind.HOLD, Kind.SAVE])
def test_what_systemd_watches_is_never_frozen(kind: Kind) -> None:
    assert core.step(at(State.RUNNING, WATCHED), Input(kind), 10) is Refused.WATCHDOG


@pytest.mark.parametrize(("state", "held"), [*product(State, Held)])
def test_a_stop_leaves_nothing_held_within_its_term(state: State, held: Held) -> None:
    workload = at(state, held=held, then=Then.PARK, parts=((3, 4),) if state is State.RUNNING else ())
    for _ in range(3):
        told = core.let_go(workload)
        if told is None:
            break
        workload = go(workload, told.kind, then=told.then).workload
    if state is State.FROZEN and held not in (Held.TERM, Held.NO):
        assert workload.status.state is State.RUNNING
    if state is State.SAVING:
        assert workload.status.then is (Then.END if held is Held.TERM else Then.THAW)
    assert not workload.status.parts


# --- who is to prove itself -------------------------------------------------------------------------------------------


def chosen(*workloads: Workload, now_ns: int = 10**12, count: int = 1, room: bool = True) -> str:
    found = proof.candidate(workloads, lambda _: count, lambda _: room, now_ns)
    return found.spec.workload if found else ""


def named(name: str, state: State = State.RUNNING, **changes: object) -> Workload:
    return at(state, replace(BOTH, workload=name), **changes)


def test_one_proves_itself_at_a_time_and_only_where_there_is_room() -> None:
    assert chosen(named("b"), named("a")) == "a"
    assert chosen(named("a"), named("b", State.SAVING)) == ""
    assert chosen(named("a"), room=False) == ""
    assert chosen(named("a", proof=Proof.PROVED), named("b")) == "b"
    assert chosen(named("a", State.FROZEN)) == ""


def test_a_fresh_workload_is_left_alone_and_a_failed_proof_is_made_again_later() -> None:
    assert chosen(named("a", since_ns=10**12)) == ""
    failed = named("a", proof=Proof.FAILED, proof_ns=10**12)
    assert chosen(failed, now_ns=10**12 + proof.SETTLE_NS + 1) == ""
    assert chosen(failed, now_ns=10**12 + proof.AGAIN_NS) == "a"


def test_what_is_large_is_not_dumped_to_prove_it() -> None:
    large = proof.DUMP_BYTES_MAX + 1
    assert chosen(named("a", way=Way.DUMP), count=large) == ""
    assert chosen(named("a"), count=large) == "a"
    assert chosen(at(State.RUNNING, WATCHED)) == ""


# --- the deadman ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "held", "spec"), [*product(State, Held, (BOTH, BARE))])
def test_within_its_term_nothing_stays_frozen(state: State, held: Held, spec: Spec) -> None:
    act = will.last(at(state, spec, held=held, deadline_ns=100), 10)
    if held is Held.TERM and state not in (State.ENDED, State.PARKED, State.STARTING, State.KILLING):
        assert act in (Last.HOLD, Last.END, Last.END_IF_WHOLE_ELSE_HOLD)
        return
    expected = {
        State.STARTING: Last.NOTHING,
        State.PARKED: Last.NOTHING,
        State.ENDED: Last.NOTHING,
        State.KILLING: Last.END,
        State.FLUSHING: Last.END_IF_WHOLE,
    }
    assert act is expected.get(state, Last.THAW)


@pytest.mark.parametrize("state", State)
def test_past_its_term_nothing_runs_and_nothing_savable_is_ended_unsaved(state: State) -> None:
    act = will.last(at(state, term_end_ns=5), 10)
    assert act is not Last.THAW
    assert act is not Last.END_IF_WHOLE
    assert act is not Last.END or state is State.KILLING


def test_what_cannot_be_saved_is_ended_when_its_notice_is_over() -> None:
    late = at(State.RUNNING, BARE, term_end_ns=100)
    assert [will.last(late, now_ns) for now_ns in (99, 100, 149, 150)] == [Last.THAW, Last.HOLD, Last.HOLD, Last.END]
    assert [will.due_ns([late], now_ns) for now_ns in (99, 100, 150)] == [100, 150, None]


def test_a_dump_at_the_end_of_a_term_is_no_save() -> None:
    assert will.last(at(State.FLUSHING, by=Way.DUMP, term_end_ns=5), 10) is Last.HOLD


def test_the_strongest_are_dealt_with_first() -> None:
    ranks = [at(State.FROZEN, replace(BOTH, workload=name, rank=rank)) for name, rank in (("a", 1.0), ("b", 3.0))]
    assert [entry.spec.workload for entry in will.in_order(ranks)] == ["b", "a"]


def test_of_equals_in_rank_the_later_gives_way_first() -> None:
    specs = [replace(BOTH, workload=name, submitted=tick) for name, tick in (("a", 70), ("b", 20), ("c", 50))]
    assert [entry.spec.workload for entry in will.in_order(at(State.FROZEN, spec) for spec in specs)] == ["b", "c", "a"]
    members = tuple(
        Member(spec.workload, 0.0, Life.RUNNING, resident_bytes=size, submitted=spec.submitted)
        for spec, size in zip(specs, (9, 1, 5), strict=True)
    )
    reading = Reading(0, 1, 1, 0, 0, 0, 0, 0, members)
    assert [member.name for member in of(reading, Life.RUNNING)] == ["a", "c", "b"]


# --- the dumper's requests --------------------------------------------------------------------------------------------

REQUEST = requests.Request(requests.Verb.DUMP, 5, "/var/x", "/sys/fs/cgroup/x", 7, 8)


def test_a_request_survives_its_form() -> None:
    assert requests.decode(requests.encode(REQUEST)) == REQUEST
    answer = requests.Answer("no", 3, "note")
    assert requests.decode_answer(requests.encode_answer(answer)) == answer


@pytest.mark.parametrize(
    "changes",
    [{"verb": "explode"}, {"attempt": -1}, {"pid": True}, {"folder": "x"}, {"group": "/a/../b"}, {"more": 1}],
)
def test_what_is_no_request_is_refused_with_a_reason(changes: dict[str, object]) -> None:
    assert isinstance(requests.decode(json.dumps(REQUEST._asdict() | changes).encode()), str)
    assert isinstance(requests.decode(b"\xff"), str)


@pytest.mark.parametrize("by", Way)
def test_who_is_ended_while_its_save_is_made_durable_has_time_for_that_again(by: Way) -> None:
    """As after a deadman that ended it, seen by the airlock that comes back later than the deadline."""
    flushing = at(State.FLUSHING, by=by, held=Held.MEMORY, then=Then.PARK, deadline_ns=110)
    gone = go(flushing, Kind.EXITED, 500).workload
    assert go(gone, Kind.DUE, 500).workload == gone
    parked = go(gone, Kind.FLUSHED, 510).workload
    assert parked.status.state is State.PARKED
    assert go(gone, Kind.DUE, 600).workload.status.state is State.ENDED, "not for ever"
