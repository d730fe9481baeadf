"""The airlock's core: its table, its rules at a term's end, what each state does on entry and after a crash."""

import json
import signal
from dataclasses import replace
from itertools import product

import pytest

from tegd.airlock import core
from tegd.airlock.core import Act, Input, Kind, Refused, Step
from tegd.airlock.model import (
    Cause,
    Held,
    Hook,
    Spec,
    Status,
    Then,
    Workload,
    spec_data,
    spec_from,
    status_data,
    status_from,
)
from tegd.airlock.protocol import SIGNALS
from tegd.airlock.transitions import TABLE, Event, State

HOOK = Hook(10, "/srv/checkpoint", "/srv/mark")
SPEC = Spec("w", 1, 2, ("true",), {}, "/", 0, 0, HOOK, notice_ns=50, save_ns=100, resume=False)
UNSAVABLE = replace(SPEC, hook=None)


def at(state: State, spec: Spec = SPEC, **changes: object) -> Workload:
    return Workload(spec, replace(Status(state, 0, 1000, pid=7, start_ticks=8), **changes))


def go(workload: Workload, kind: Kind, now_ns: int = 10, **fields: object) -> Step:
    result = core.step(workload, Input(kind, **fields), now_ns)
    assert isinstance(result, Step), result
    return result


def acts(step: Step) -> list[Act]:
    return [effect.act for effect in step.effects]


@pytest.mark.parametrize(("state", "kind"), [*product(State, Kind)])
def test_every_input_in_every_state_is_a_step_a_refusal_or_a_broken_invariant(state: State, kind: Kind) -> None:
    """And what is a step is a pair of the table."""
    workload = at(state)
    told = Input(kind, pid=7, start_ticks=8, term_end_ns=2000, grace_ns=5, exit_code=0)
    try:
        result = core.step(workload, told, 10)
    except AssertionError:
        assert kind not in core.REQUESTS
        assert (state, core.narrow(workload, told, 10)) not in TABLE
        return
    if isinstance(result, Refused):
        assert kind in core.REQUESTS
    elif result.workload != workload or result.effects:
        event = core.narrow(workload, told, 10)
        assert isinstance(event, Event)
        assert result.workload.status.state is TABLE[state, event]


@pytest.mark.parametrize(("state", "event"), [*product(State, Event)])
def test_the_table_holds_no_way_out_of_the_end(state: State, event: Event) -> None:
    after = TABLE.get((state, event))
    if state is State.ENDED:
        assert after in (None, State.ENDED)
    if event is Event.LOST and state is not State.ENDED:
        assert after is State.ENDED


def test_every_event_stands_in_the_table() -> None:
    assert {event for _, event in TABLE} == set(Event)


@pytest.mark.parametrize("state", set(State) - {State.STARTING, State.FLUSHING, State.PARKED, State.ENDED})
def test_the_end_of_the_process_ends_the_work(state: State) -> None:
    ended = go(at(state), Kind.EXITED, exit_code=3)
    assert ended.workload.status.state is State.ENDED
    assert (ended.workload.status.exit_code, acts(ended)) == (3, [Act.CLEAR])


def test_a_term_that_is_over_starts_nothing() -> None:
    assert core.begin(SPEC, 10, 10) is Refused.PAST_TERM
    begun = core.begin(SPEC, 0, 10)
    assert isinstance(begun, Step)
    assert acts(begun) == [Act.START]


def test_at_its_terms_end_savable_work_runs_for_its_hook_alone_and_is_ended_when_that_is_durable() -> None:
    saving = go(at(State.RUNNING), Kind.DUE, 1000)
    assert (saving.workload.status.state, acts(saving), saving.told) == (State.SAVING, [Act.ASK], ("term_end",))
    flushing = go(saving.workload, Kind.MARKED, 1010)
    assert acts(flushing) == [Act.FREEZE, Act.FLUSH]
    killing = go(flushing.workload, Kind.FLUSHED, 1020)
    assert (acts(killing), killing.told) == ([Act.KILL], ("saved",))
    ended = go(killing.workload, Kind.EXITED, 1030, exit_code=137).workload.status
    assert (ended.cause, ended.saved_ns, ended.exit_code) == (Cause.TERM, 1020, 137)


def test_unsavable_work_is_frozen_at_its_end_and_ended_after_notice() -> None:
    frozen = go(at(State.RUNNING, UNSAVABLE), Kind.DUE, 1000)
    assert (acts(frozen), frozen.workload.status.held) == ([Act.FREEZE], Held.TERM)
    assert core.due_ns(frozen.workload) == 1050
    killing = go(frozen.workload, Kind.DUE, 1050)
    assert (acts(killing), killing.workload.status.cause) == ([Act.KILL], Cause.TERM)


def test_a_save_that_fails_past_the_term_is_tried_three_times_and_then_held_for_ever() -> None:
    workload, now_ns, pauses = at(State.RUNNING), 1000, []
    for _ in range(core.SAVE_TRIES_MAX):
        saving = go(workload, Kind.DUE, now_ns).workload
        assert saving.status.state is State.SAVING
        failed = go(saving, Kind.DUE, now_ns + SPEC.save_ns)
        assert (acts(failed), failed.told) == ([Act.FREEZE], ("save_failed", "frozen"))
        workload, now_ns = failed.workload, core.due_ns(failed.workload) or 0
        pauses.append(now_ns and now_ns - failed.workload.status.since_ns)
    assert pauses == [core.RETRY_NS, 2 * core.RETRY_NS, 0]
    assert core.due_ns(workload) is None
    assert workload.status.state is State.FROZEN


def test_a_save_that_fails_within_the_term_leaves_the_work_running() -> None:
    saving = go(at(State.RUNNING), Kind.SAVE, then=Then.END).workload
    failed = go(saving, Kind.DUE, 10 + SPEC.save_ns)
    assert (failed.workload.status.state, acts(failed)) == (State.RUNNING, [Act.THAW])
    assert failed.workload.status.problem


def test_frozen_work_whose_save_fails_is_frozen_again() -> None:
    saving = go(at(State.FROZEN, held=Held.REQUEST), Kind.SAVE, then=Then.END).workload
    assert go(saving, Kind.FLUSH_FAILED).workload == saving, "not flushing: this belongs to a step that was left"
    assert go(saving, Kind.DUE, 10 + SPEC.save_ns).workload.status.state is State.FROZEN


def test_a_term_that_ends_during_a_save_in_passing_makes_it_the_last() -> None:
    saving = go(at(State.RUNNING), Kind.SAVE, 950, then=Then.THAW).workload
    late = go(saving, Kind.DUE, 1000).workload
    flushed = go(go(late, Kind.MARKED, 1010).workload, Kind.FLUSHED, 1020)
    assert flushed.workload.status.state is State.KILLING


def test_an_extension_during_the_save_at_the_end_lets_the_work_run_on() -> None:
    saving = go(at(State.RUNNING), Kind.DUE, 1000).workload
    extended = go(saving, Kind.EXTEND, 1005, term_end_ns=2000).workload
    assert extended.status.state is State.SAVING
    flushed = go(go(extended, Kind.MARKED, 1010).workload, Kind.FLUSHED, 1020)
    assert (flushed.workload.status.state, acts(flushed)) == (State.RUNNING, [Act.THAW])


def test_past_its_term_nothing_is_thawed_and_nothing_gets_grace() -> None:
    held = at(State.FROZEN, held=Held.TERM, term_end_ns=5)
    assert core.step(held, Input(Kind.THAW), 10) is Refused.PAST_TERM
    assert acts(go(held, Kind.END, grace_ns=1000)) == [Act.KILL]


def test_a_kill_that_does_not_kill_is_repeated() -> None:
    killing = go(at(State.RUNNING), Kind.END, grace_ns=0).workload
    again = go(killing, Kind.DUE, 10 + core.KILL_AGAIN_NS)
    assert acts(again) == [Act.KILL]
    assert core.due_ns(again.workload) == 10 + 2 * core.KILL_AGAIN_NS


def test_work_that_never_ran_is_started_and_not_reported_as_ended() -> None:
    again = go(at(State.RUNNING), Kind.NEVER_RAN)
    assert (again.workload.status.state, acts(again)) == (State.STARTING, [Act.START])
    assert again.workload.status.pid == 0
    assert go(at(State.KILLING), Kind.NEVER_RAN).workload.status.state is State.ENDED


def test_a_start_that_a_crash_put_past_its_term_is_given_up() -> None:
    ended = go(at(State.STARTING, pid=0), Kind.DUE, 1000)
    assert (ended.workload.status.state, ended.workload.status.cause) == (State.ENDED, Cause.TERM)
    assert go(at(State.RUNNING), Kind.NEVER_RAN, 1000).workload.status.state is State.ENDED


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (State.STARTING, [Act.START]),
        (State.RUNNING, [Act.THAW, Act.THIN]),
        (State.FROZEN, [Act.FREEZE, Act.THIN]),
        (State.SAVING, [Act.ASK_AGAIN]),
        (State.FLUSHING, [Act.FREEZE, Act.FLUSH]),
        (State.ENDING, [Act.TERMINATE]),
        (State.KILLING, [Act.KILL]),
        (State.ENDED, []),
    ],
)
def test_each_state_goes_on_after_a_crash(state: State, expected: list[Act]) -> None:
    assert [effect.act for effect in core.resumed(at(state))] == expected


def test_parts_are_held_while_the_rest_runs_and_let_go_before_it_is_saved_or_ended() -> None:
    parts = ((41, 7), (42, 8))
    thinned = go(at(State.RUNNING), Kind.THIN, parts=parts)
    assert (thinned.workload.status.state, thinned.workload.status.parts) == (State.RUNNING, parts)
    assert [effect.act for effect in thinned.effects] == [Act.THIN]
    frozen = go(thinned.workload, Kind.SEAL).workload
    assert go(frozen, Kind.RELEASE).workload.status.parts == parts
    for kind in (Kind.SAVE, Kind.END):
        step = go(frozen, kind)
        assert step.workload.status.parts == ()
        assert step.effects[0].act is Act.THIN


@pytest.mark.parametrize("spec", [SPEC, UNSAVABLE])
def test_what_is_known_survives_the_journals_form(spec: Spec) -> None:
    workload = at(State.FROZEN, spec, held=Held.TERM, exit_code=None, then=Then.THAW, cause=Cause.TERM)
    workload = replace(workload, status=replace(workload.status, parts=((41, 7),)))
    assert spec_from(json.loads(json.dumps(spec_data(spec)))) == spec
    assert status_from(json.loads(json.dumps(status_data(workload.status)))) == workload.status


def test_signals_are_numbered_as_this_machine_numbers_them() -> None:
    assert {name: int(signal.Signals[name]) for name in SIGNALS} == SIGNALS


def test_a_workload_saved_for_memory_is_parked_and_comes_back() -> None:
    held = go(at(State.RUNNING), Kind.SEAL).workload
    assert (held.status.state, held.status.held) == (State.FROZEN, Held.MEMORY)
    assert core.step(held, Input(Kind.THAW), 20) is Refused.MEMORY
    saving = go(held, Kind.SAVE, then=Then.PARK).workload
    killing = go(go(saving, Kind.MARKED).workload, Kind.FLUSHED).workload
    assert (killing.status.state, killing.status.cause) == (State.KILLING, Cause.MEMORY)
    parked = go(killing, Kind.EXITED).workload
    assert (parked.status.state, parked.status.held, parked.status.pid) == (State.PARKED, Held.NO, 0)
    starting = go(parked, Kind.RESTORE)
    assert (starting.workload.status.state, acts(starting)) == (State.STARTING, [Act.START])
    failed = go(starting.workload, Kind.START_FAILED, problem="no room").workload
    assert (failed.status.state, failed.status.problem) == (State.PARKED, "no room")


def test_what_is_held_for_memory_is_released_and_a_failed_save_leaves_it_held() -> None:
    held = go(at(State.RUNNING), Kind.HOLD).workload
    assert held.status.held is Held.SAVE
    assert go(held, Kind.RELEASE).workload.status.state is State.RUNNING
    saving = go(held, Kind.SAVE, then=Then.PARK).workload
    failed = go(go(saving, Kind.MARKED).workload, Kind.FLUSH_FAILED, problem="full").workload
    assert (failed.status.state, failed.status.held, failed.status.problem) == (State.FROZEN, Held.SAVE, "full")


def test_who_asks_for_the_end_of_parked_work_gets_it() -> None:
    parked = at(State.PARKED)
    ended = go(parked, Kind.END, grace_ns=0).workload
    assert (ended.status.state, ended.status.cause) == (State.ENDED, Cause.ASKED)


def test_what_never_ran_before_its_term_was_over_has_ended_with_it() -> None:
    late = core.step(at(State.RUNNING, term_end_ns=10), Input(Kind.NEVER_RAN), 20)
    assert isinstance(late, Step)
    assert (late.workload.status.state, late.workload.status.cause) == (State.ENDED, Cause.TERM)


# --- work comes back --------------------------------------------------------------------------------------------------

S = 10**9
UNIT = replace(SPEC, unit="a.service", group="/sys/fs/cgroup/a.service")


@pytest.mark.parametrize("then", [Then.PROVE, Then.THAW])
@pytest.mark.parametrize("spec", [SPEC, UNIT], ids=["work", "unit"])
def test_who_ends_after_the_mark_of_a_save_in_passing_is_saved_and_started_again(then: Then, spec: Spec) -> None:
    """A proof is no end: its program may exit after its mark, and has then done what was asked of it."""
    marked = at(State.FLUSHING, spec, then=then)
    gone = go(marked, Kind.EXITED, exit_code=0)
    again = go(gone.workload, Kind.FLUSHED)
    status = again.workload.status
    assert (status.state, status.cause, status.pid, status.exit_code) == (State.STARTING, Cause.NONE, 0, None)
    assert (status.saved_ns, acts(again)) == (10, [Act.CLEAR, Act.START])
    assert {"saved", "again"} <= set(again.told)
    assert status.flaw == ""


def test_who_ends_after_its_last_mark_is_saved_and_has_ended() -> None:
    gone = go(at(State.FLUSHING, then=Then.END), Kind.EXITED, exit_code=0)
    assert go(gone.workload, Kind.FLUSHED).workload.status.state is State.ENDED
    late = go(at(State.FLUSHING, then=Then.PROVE), Kind.EXITED, exit_code=0)
    assert go(late.workload, Kind.FLUSHED, now_ns=2000).workload.status.state is State.ENDED, "its term is over"


def test_who_ends_a_moment_after_a_proof_let_it_run_on_ended_for_the_proof() -> None:
    """It is frozen at its mark, so that its exit comes when it is thawed."""
    forever = at(State.FLUSHING, then=Then.PROVE, term_end_ns=0)
    proved = go(forever, Kind.FLUSHED, now_ns=S)
    assert proved.workload.status.state is State.RUNNING
    again = go(proved.workload, Kind.EXITED, now_ns=S + core.QUIT_NS - 1, exit_code=0)
    assert (again.workload.status.state, again.workload.status.quits) == (State.STARTING, True)
    assert acts(again) == [Act.CLEAR, Act.START]
    late = go(proved.workload, Kind.EXITED, now_ns=2 * S + core.QUIT_NS, at_ns=S + core.QUIT_NS - 1, exit_code=0)
    assert late.workload.status.state is State.STARTING, "it counts when it ended, not when that was heard"
    over = go(proved.workload, Kind.EXITED, now_ns=S + core.QUIT_NS, exit_code=0)
    assert (over.workload.status.state, over.workload.status.cause) == (State.ENDED, Cause.EXITED)


@pytest.mark.parametrize(
    ("known", "after"),
    [
        ({}, State.STARTING),
        ({"quits": True, "quit_ns": 5}, State.STARTING),
        ({"quit_ns": 5}, State.ENDED),
    ],
    ids=["not known", "quits", "goes on"],
)
def test_who_went_on_after_a_save_in_passing_ends_by_itself_from_then_on(
    known: dict[str, object], after: State
) -> None:
    """What ends well after that is over, and is not started again."""
    passing = at(State.FLUSHING, then=Then.THAW, term_end_ns=0, **known)
    saved = go(passing, Kind.FLUSHED, now_ns=S)
    assert go(saved.workload, Kind.EXITED, now_ns=S + 1, exit_code=0).workload.status.state is after


@pytest.mark.parametrize("state", [State.RUNNING, State.FLUSHING])
def test_a_unit_that_its_operator_stops_in_the_midst_of_a_proof_is_not_started_again(state: State) -> None:
    workload = at(state, UNIT, then=Then.PROVE, quit_ns=S, term_end_ns=0)
    over = go(workload, Kind.EXITED, stopped=state is State.RUNNING)
    over = over if state is State.RUNNING else go(over.workload, Kind.FLUSHED, stopped=True)
    assert over.workload.status.state is State.ENDED


def started_again(spec: Spec = UNIT) -> Workload:
    parked = at(State.PARKED, spec, saved_ns=5, pid=0, start_ticks=0, term_end_ns=0)
    return go(go(parked, Kind.RESTORE).workload, Kind.STARTED, now_ns=S, pid=9, start_ticks=9).workload


@pytest.mark.parametrize("code", [2, 137, None])
def test_a_unit_that_fails_within_seconds_of_its_comeback_is_parked_with_the_problem(code: int | None) -> None:
    failed = go(started_again(), Kind.EXITED, now_ns=S + core.BACK_NS - 1, exit_code=code, problem="exit code 2")
    status = failed.workload.status
    assert (status.state, status.problem, status.saved_ns) == (State.PARKED, "exit code 2", 5)
    assert "parked" in failed.told
    assert go(failed.workload, Kind.RESTORE).workload.status.state is State.STARTING, "it is tried again"


def test_a_unit_that_ends_well_or_later_or_by_its_operator_has_ended() -> None:
    early = S + core.BACK_NS - 1
    assert go(started_again(), Kind.EXITED, now_ns=early, exit_code=0).workload.status.state is State.ENDED
    assert go(started_again(), Kind.EXITED, now_ns=early + 1, exit_code=2).workload.status.state is State.ENDED
    stopped = go(started_again(), Kind.EXITED, now_ns=early, exit_code=143, stopped=True)
    assert stopped.workload.status.state is State.ENDED
    first = go(at(State.STARTING, UNIT, pid=0, term_end_ns=0), Kind.STARTED, now_ns=S, pid=9, start_ticks=9)
    assert go(first.workload, Kind.EXITED, now_ns=S + 1, exit_code=2).workload.status.state is State.ENDED


def test_what_a_proof_found_of_the_comeback_is_told_beside_it() -> None:
    """That a shell would keep the words of a resume to itself does not make the save fail."""
    marked = go(at(State.SAVING, then=Then.PROVE), Kind.MARKED, problem="its shell keeps the words to itself")
    proved = go(marked.workload, Kind.FLUSHED).workload.status
    assert (proved.proof, proved.flaw) == ("proved", "its shell keeps the words to itself")
    clean = go(at(State.SAVING, then=Then.PROVE, flaw="hook: no mark"), Kind.MARKED)
    assert go(clean.workload, Kind.FLUSHED).workload.status.flaw == ""
