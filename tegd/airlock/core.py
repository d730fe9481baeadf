"""What the airlock does, without doing it: workload and input in, workload and effects out.

The shell journals the new workload, makes it durable, and only then carries out the effects; what they bring about
comes back as another input. Nothing here reads a clock: `due_ns` says when the shell is to come back with `DUE`.

The rules at the end of a term (DESIGN 2): work that can be saved runs on for its hook alone, at most `save_ns`, is
frozen in the tick that sees its mark, and ended when the checkpoint is durable. A save that fails is tried
`SAVE_TRIES_MAX` times, with the work frozen between; then it stays frozen until someone decides. No hook runs later
than `grace_ns` past the term: from then on the slots may be another's, and whoever asks for a save has the work ended
as its last checkpoint has it. Work without a hook is frozen, and ended after `notice_ns`. A term that is extended
meanwhile lets both run on.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

from tegd.airlock.model import Cause, Held, Spec, Status, Then, Workload
from tegd.airlock.transitions import TABLE, Event, State

SAVE_TRIES_MAX = 3
RETRY_NS = 1_000_000_000
"""Pause before the second save at a term's end; it doubles."""
KILL_AGAIN_NS = 1_000_000_000

_TERM_BINDS = frozenset(
    {State.STARTING, State.RUNNING, State.FROZEN, State.SAVING, State.FLUSHING, State.ENDING, State.PARKED}
)


_NO_MARK = "the hook did not make its mark in time"


class Kind(StrEnum):
    """What is told to the core."""

    STARTED = "started"
    START_FAILED = "start_failed"
    NEVER_RAN = "never_ran"
    EXITED = "exited"
    LOST = "lost"
    FREEZE = "freeze"
    THAW = "thaw"
    SIGNAL = "signal"
    SAVE = "save"
    END = "end"
    EXTEND = "extend"
    SEAL = "seal"
    HOLD = "hold"
    RELEASE = "release"
    RESTORE = "restore"
    THIN = "thin"
    BOUND = "bound"
    MARKED = "marked"
    FLUSHED = "flushed"
    FLUSH_FAILED = "flush_failed"
    DUE = "due"


@dataclass(frozen=True, slots=True)
class Input:
    """One thing told to the core; only the fields of its kind are read.

    Attributes:
        kind: See `Kind`.
        pid: STARTED: the session's leader.
        start_ticks: STARTED: its start time.
        exit_code: EXITED.
        problem: START_FAILED, FLUSH_FAILED: what went wrong.
        signum: SIGNAL.
        then: SAVE.
        grace_ns: END: time between the request to end and the kill; 0 kills at once.
        term_end_ns: EXTEND.
        bytes: BOUND.
        parts: THIN: those of its processes that are to be held, by pid and start time, and no others.
    """

    kind: Kind
    pid: int = 0
    start_ticks: int = 0
    exit_code: int | None = None
    problem: str = ""
    signum: int = 0
    then: Then = Then.END
    grace_ns: int = 0
    term_end_ns: int = 0
    bytes: int = 0
    parts: tuple[tuple[int, int], ...] = ()


class Act(StrEnum):
    """What the shell is to do; each may be done twice."""

    START = "start"
    GO = "go"
    FREEZE = "freeze"
    THAW = "thaw"
    THIN = "thin"
    SIGNAL = "signal"
    ASK = "ask"
    ASK_AGAIN = "ask_again"
    FLUSH = "flush"
    TERMINATE = "terminate"
    KILL = "kill"
    CLEAR = "clear"


class Effect(NamedTuple):
    """One act on the workload, with the signal where there is one."""

    act: Act
    signum: int = 0


class Refused(StrEnum):
    """Why a request was not taken."""

    NO_HOOK = "no_hook"
    NOT_NOW = "not_now"
    MEMORY = "memory"
    PAST_TERM = "past_term"


class Step(NamedTuple):
    """What came of an input: the workload as it now is, what to do, and the events to tell."""

    workload: Workload
    effects: tuple[Effect, ...]
    told: tuple[str, ...]


_ONLY_IN = {
    Kind.MARKED: {State.SAVING},
    Kind.FLUSHED: {State.FLUSHING},
    Kind.FLUSH_FAILED: {State.FLUSHING},
}
"""Outcomes of a step in progress: they mean nothing once that step was left."""

REQUESTS = frozenset(
    {
        *(Kind.FREEZE, Kind.THAW, Kind.SIGNAL, Kind.SAVE, Kind.END, Kind.EXTEND),
        *(Kind.SEAL, Kind.HOLD, Kind.RELEASE, Kind.RESTORE, Kind.THIN, Kind.BOUND),
    }
)
_HOLDS_PARTS = frozenset({State.RUNNING, State.FROZEN})
"""Where parts may be held: what saves, ends or starts does so whole."""
FOR_MEMORY = frozenset({Held.MEMORY, Held.SAVE})
_PLAIN = {
    Kind.STARTED: Event.STARTED,
    Kind.START_FAILED: Event.START_FAILED,
    Kind.EXITED: Event.EXITED,
    Kind.LOST: Event.LOST,
    Kind.FREEZE: Event.FREEZE,
    Kind.SEAL: Event.FREEZE,
    Kind.HOLD: Event.FREEZE,
    Kind.RESTORE: Event.RESTORE,
    Kind.THIN: Event.THIN,
    Kind.BOUND: Event.BOUND,
    Kind.SIGNAL: Event.SIGNAL,
    Kind.MARKED: Event.MARKED,
}
_ON_ENTRY: dict[State, tuple[Effect, ...]] = {
    State.STARTING: (Effect(Act.START),),
    State.RUNNING: (Effect(Act.THAW),),
    State.FROZEN: (Effect(Act.FREEZE),),
    State.SAVING: (Effect(Act.ASK),),
    State.FLUSHING: (Effect(Act.FREEZE), Effect(Act.FLUSH)),
    State.ENDING: (Effect(Act.TERMINATE),),
    State.KILLING: (Effect(Act.KILL),),
    State.PARKED: (Effect(Act.CLEAR),),
    State.ENDED: (Effect(Act.CLEAR),),
}


def begin(spec: Spec, term_end_ns: int, now_ns: int) -> Step | Refused:
    """A new workload, and what starts it; refused where its term is over."""
    if 0 < term_end_ns <= now_ns:
        return Refused.PAST_TERM
    return Step(Workload(spec, Status(State.STARTING, now_ns, term_end_ns)), _ON_ENTRY[State.STARTING], ())


def step(workload: Workload, told: Input, now_ns: int) -> Step | Refused:
    """Take one input.

    Args:
        workload: As it stands.
        told: What happened or is asked.
        now_ns: Boot-time clock.

    Returns:
        The step, or why a request is refused: then nothing changes.

    An outcome of a step that was left, or a deadline that has moved, changes nothing.

    Raises:
        AssertionError: If an outcome cannot be in this state.
    """
    if workload.status.state not in _ONLY_IN.get(told.kind, State):
        return Step(workload, (), ())
    if told.kind is Kind.DUE and not _is_due(workload, now_ns):
        return Step(workload, (), ())
    event = narrow(workload, told, now_ns)
    if isinstance(event, Refused):
        return event
    before = workload.status.state
    after = TABLE.get((before, event))
    if after is None:
        assert told.kind in REQUESTS, f"{workload.spec.workload}: {event} cannot be in state {before}"
        return Refused.NOT_NOW
    status = _entered(workload, event, after, told, now_ns)
    effects = _effects(before, event, after, told)
    if status.parts != workload.status.parts:
        effects = (Effect(Act.THIN), *effects)
    return Step(replace(workload, status=status), effects, _told(before, event, status))


def resumed(workload: Workload) -> tuple[Effect, ...]:
    """What carries a workload's step on after the airlock itself was gone."""
    if workload.status.state is State.SAVING:
        return (Effect(Act.ASK_AGAIN),)
    entry = () if workload.status.state is State.ENDED else _ON_ENTRY[workload.status.state]
    return (*entry, Effect(Act.THIN)) if workload.status.state in _HOLDS_PARTS else entry


def due_ns(workload: Workload) -> int | None:
    """When the core is next to be told `DUE`; None: not by itself."""
    status = workload.status
    times = [status.deadline_ns] if status.deadline_ns else []
    if _term_pending(status):
        times.append(status.term_end_ns)
    return min(times, default=None)


def narrow(workload: Workload, told: Input, now_ns: int) -> Event | Refused:
    """The event of the table that an input is for this workload, or why it is refused."""
    status, savable = workload.status, workload.spec.hook is not None
    past = 0 < status.term_end_ns <= now_ns
    if (about_memory := _narrowed_by_memory(status, told)) is not None:
        return about_memory
    match told.kind:
        case Kind.NEVER_RAN:
            return Event.NEVER_RAN if status.state is State.RUNNING and not past else Event.EXITED
        case Kind.THAW | Kind.RELEASE:
            return Refused.PAST_TERM if past else Event.THAW
        case Kind.SAVE:
            return _save(workload, now_ns)
        case Kind.END:
            return Event.KILL if past or told.grace_ns <= 0 else Event.END
        case Kind.EXTEND:
            frees = status.state is State.FROZEN and status.held is Held.TERM and told.term_end_ns > now_ns
            return Event.EXTEND_HELD if frees else Event.EXTEND
        case Kind.FLUSHED:
            return _flushed(status, past)
        case Kind.FLUSH_FAILED:
            return _failure(status, past)
        case Kind.DUE if _term_pending(status) and past:
            return Event.TERM_SAVABLE if savable else Event.TERM_UNSAVABLE
        case Kind.DUE if status.state in (State.SAVING, State.FLUSHING):
            return _failure(status, past)
        case Kind.DUE:
            return Event.RETRY if status.state is State.FROZEN and savable else Event.DEADLINE
        case _:
            return _PLAIN[told.kind]


def _narrowed_by_memory(status: Status, told: Input) -> Event | Refused | None:
    """What differs for a workload that is held, saved or started again for memory."""
    match told.kind:
        case Kind.THAW if status.held in FOR_MEMORY:
            return Refused.MEMORY
        case Kind.RELEASE if status.held not in FOR_MEMORY:
            return Refused.NOT_NOW
        case Kind.START_FAILED if status.saved_ns:
            return Event.RESTORE_FAILED
        case Kind.EXITED if status.state is State.KILLING and status.cause is Cause.MEMORY:
            return Event.GONE_PARKED
        case _:
            return None


def _is_due(workload: Workload, now_ns: int) -> bool:
    at_ns = due_ns(workload)
    return at_ns is not None and at_ns <= now_ns


def _save(workload: Workload, now_ns: int) -> Event | Refused:
    if workload.spec.hook is None:
        return Refused.NO_HOOK
    late = workload.status.state is State.FROZEN and _last_run_ns(workload.spec, workload.status) <= now_ns
    return Event.KILL if late else Event.SAVE


def _flushed(status: Status, past: bool) -> Event:
    if status.exit_code is not None:
        return Event.SAVED_PARKED if status.then is Then.PARK else Event.SAVED_GONE
    return Event.SAVED_THAW if status.then is Then.THAW and not past else Event.SAVED_END


def _last_run_ns(spec: Spec, status: Status) -> int:
    """Until when its hook may run."""
    return status.term_end_ns + spec.grace_ns if status.term_end_ns else 1 << 62


def _failure(status: Status, past: bool) -> Event:
    if status.exit_code is not None:
        return Event.FAILED_GONE
    return Event.FAILED_HOLD if past or status.held else Event.FAILED_RUN


def _term_pending(status: Status) -> bool:
    return status.term_end_ns > 0 and status.held is not Held.TERM and status.state in _TERM_BINDS


def _entered(workload: Workload, event: Event, after: State, told: Input, now_ns: int) -> Status:
    status = _noted(workload.status, event, told, now_ns)
    if after not in _HOLDS_PARTS:
        status = replace(status, parts=())
    if after is State.ENDED and status.cause is Cause.NONE:
        over = event in (Event.TERM_SAVABLE, Event.TERM_UNSAVABLE)
        status = replace(status, cause=Cause.TERM if over else Cause.EXITED)
    moved = after is not workload.status.state
    timed_again = moved or (after is State.FROZEN and event is Event.TERM_UNSAVABLE) or event is Event.DEADLINE
    if timed_again:
        status = replace(status, state=after, deadline_ns=_deadline_ns(workload.spec, status, after, told, now_ns))
    return replace(status, since_ns=now_ns) if moved else status


def _noted(status: Status, event: Event, told: Input, now_ns: int) -> Status:
    match event:
        case Event.FREEZE if status.held is Held.NO:
            return replace(status, held=_HOLDS[told.kind])
        case Event.THAW:
            return replace(status, held=Held.NO)
        case Event.FAILED_RUN | Event.FAILED_GONE:
            return replace(status, problem=told.problem or _NO_MARK)
        case Event.SAVE:
            return replace(status, then=Then.END if status.held is Held.TERM else told.then)
        case Event.END | Event.KILL:
            known = status.cause not in (Cause.NONE, Cause.MEMORY)
            return status if known else replace(status, cause=Cause.ASKED)
        case Event.EXTEND | Event.EXTEND_HELD:
            return _extended(status, told.term_end_ns, now_ns)
        case Event.TERM_SAVABLE | Event.RETRY:
            return replace(status, held=Held.TERM, then=Then.END, tries=status.tries + 1)
        case Event.TERM_UNSAVABLE:
            return replace(status, held=Held.TERM)
        case Event.FAILED_HOLD:
            return replace(status, held=status.held or Held.TERM, then=Then.END, problem=told.problem or _NO_MARK)
        case Event.DEADLINE if status.held is Held.TERM:
            return replace(status, cause=status.cause or Cause.TERM)
        case _:
            return _noted_outcome(status, event, told, now_ns)


def _noted_outcome(status: Status, event: Event, told: Input, now_ns: int) -> Status:
    match event:
        case Event.BOUND:
            return replace(status, bound_bytes=told.bytes)
        case Event.THIN:
            return replace(status, parts=told.parts)
        case Event.STARTED:
            return replace(status, pid=told.pid, start_ticks=told.start_ticks)
        case Event.NEVER_RAN:
            return replace(status, pid=0, start_ticks=0, held=Held.NO)
        case Event.START_FAILED:
            return replace(status, cause=Cause.START_FAILED, problem=told.problem)
        case Event.LOST:
            return replace(status, cause=Cause.LOST)
        case Event.EXITED:
            over = told.kind is Kind.NEVER_RAN and 0 < status.term_end_ns <= now_ns
            return replace(status, exit_code=told.exit_code, cause=status.cause or (Cause.TERM if over else Cause.NONE))
        case Event.SAVED_END:
            return replace(status, saved_ns=now_ns, cause=_why_ended(status))
        case Event.SAVED_PARKED | Event.GONE_PARKED | Event.RESTORE_FAILED:
            return replace(status, **_PARKED, saved_ns=status.saved_ns or now_ns, problem=told.problem)
        case Event.SAVED_THAW:
            return replace(status, saved_ns=now_ns, held=Held.NO)
        case Event.SAVED_GONE:
            return replace(status, saved_ns=now_ns, cause=Cause.EXITED if status.then is Then.THAW else Cause.ASKED)
        case _:
            return status


_HOLDS = {Kind.FREEZE: Held.REQUEST, Kind.SEAL: Held.MEMORY, Kind.HOLD: Held.SAVE}
_PARKED: dict[str, Any] = {"held": Held.NO, "cause": Cause.NONE, "pid": 0, "start_ticks": 0, "exit_code": None}


def _why_ended(status: Status) -> Cause:
    if status.held is Held.TERM:
        return Cause.TERM
    return Cause.MEMORY if status.then is Then.PARK else Cause.ASKED


def _extended(status: Status, term_end_ns: int, now_ns: int) -> Status:
    status = replace(status, term_end_ns=max(status.term_end_ns, term_end_ns))
    if status.held is Held.TERM and status.term_end_ns > now_ns:
        return replace(status, held=Held.NO, then=Then.THAW, tries=0)
    return status


def _deadline_ns(spec: Spec, status: Status, after: State, told: Input, now_ns: int) -> int:
    match after:
        case State.SAVING:
            return min(now_ns + spec.save_ns, max(now_ns, _last_run_ns(spec, status)))
        case State.FLUSHING:
            return now_ns + spec.save_ns
        case State.FROZEN if status.held is Held.TERM and spec.hook is None:
            return now_ns + spec.notice_ns
        case State.FROZEN if status.held is Held.TERM and status.tries < SAVE_TRIES_MAX:
            again_ns = now_ns + (RETRY_NS << max(0, status.tries - 1))
            return again_ns if again_ns < _last_run_ns(spec, status) else 0
        case State.ENDING:
            return now_ns + told.grace_ns
        case State.KILLING:
            return now_ns + KILL_AGAIN_NS
        case _:
            return 0


def _effects(before: State, event: Event, after: State, told: Input) -> tuple[Effect, ...]:
    if event is Event.STARTED:
        return (Effect(Act.GO),)
    if event is Event.SIGNAL:
        return (Effect(Act.SIGNAL, told.signum),)
    again = event in (Event.THAW, Event.FREEZE) or (event is Event.DEADLINE and after is State.KILLING)
    return _ON_ENTRY[after] if before is not after or again else ()


_TELLS = {
    Event.STARTED: "started",
    Event.MARKED: "frozen",
    Event.SAVED_END: "saved",
    Event.SAVED_THAW: "saved",
    Event.SAVED_GONE: "saved",
    Event.FAILED_HOLD: "save_failed",
    Event.FAILED_RUN: "save_failed",
    Event.FAILED_GONE: "save_failed",
    Event.TERM_SAVABLE: "term_end",
    Event.TERM_UNSAVABLE: "term_end",
}


def _told(before: State, event: Event, status: Status) -> tuple[str, ...]:
    told = [_TELLS[event]] if event in _TELLS else []
    if status.state is not before:
        if status.state is State.FROZEN:
            told.append("frozen")
        elif status.state is State.PARKED:
            told.append("parked")
        elif status.state is State.RUNNING and before is not State.STARTING:
            told.append("thawed")
        elif status.state is State.ENDED:
            told.append("exited" if status.cause is Cause.EXITED else "ended")
    return tuple(told)
