"""What the airlock does, without doing it: workload and input in, workload and effects out.

The shell journals the new workload, makes it durable, and only then carries out the effects; what they bring about
comes back as another input. Nothing here reads a clock: `due_ns` says when the shell is to come back with `DUE`.

The rules at the end of a term (DESIGN 2): work that can be saved runs on for its hook alone, at most `save_ns`, is
frozen in the tick that sees its mark, and ended when the checkpoint is durable. A save that fails is tried
`SAVE_TRIES_MAX` times, with the work frozen between; then it stays frozen until someone decides. No hook runs later
than `grace_ns` past the term: from then on the slots may be another's, and whoever asks for a save has the work ended
as its last checkpoint has it. Work without a hook is frozen, and ended after `notice_ns`. A term that is extended
meanwhile lets both run on.

The ladder: a save for memory is made by the hook, and where that fails or there is none by a dump of the processes;
each failure leads to the next rung, after the last to the first. A dump is of use on this host alone, so whatever has
to leave is saved by its hook, also where a dump was under way. A dump has no deadline: one that is cut off may take the
work with it. That a rung holds is proved by a save in passing (`Then.PROVE`) when there is memory to spare.

A save in passing is no end. A program may exit after its mark, and is then started again from what it saved, at once.
It is frozen at its mark, so its exit may come only when it is let run on: an exit within `QUIT_NS` of the first save in
passing is taken for that, and from then on after each; who was still there goes on. Whether it would have ended in that
moment anyway cannot be told; then it does the last of its work twice, where otherwise all of it would be lost. A unit
that an operator stops is not started again, and one that fails within `BACK_NS` of its comeback is parked, with its
checkpoint and the problem.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

from tegd.airlock.model import Cause, Held, Proof, Spec, Status, Then, Way, Workload
from tegd.airlock.transitions import TABLE, Event, State

SAVE_TRIES_MAX = 3
RETRY_NS = 1_000_000_000
"""Pause before the second save at a term's end; it doubles."""
KILL_AGAIN_NS = 1_000_000_000
PROVE_NS = 30_000_000_000
"""Longest that a hook may take to prove itself."""
QUIT_NS = 5_000_000_000
"""Longest that a program may take to exit after its mark: an interpreter takes a while to come down."""
BACK_NS = 10_000_000_000
"""A unit that fails sooner after it was started again could not go on from its checkpoint."""

_TERM_BINDS = frozenset(
    {State.STARTING, State.RUNNING, State.FROZEN, State.SAVING, State.FLUSHING, State.ENDING, State.PARKED}
)


_KILLED = 137
_NO_MARK = "the hook did not make its mark in time"
_NO_USE = "a dump cannot be taken elsewhere, and there is no hook"


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
    SAVE_FAILED = "save_failed"
    DUE = "due"


@dataclass(frozen=True, slots=True)
class Input:
    """One thing told to the core; only the fields of its kind are read.

    Attributes:
        kind: See `Kind`.
        pid: STARTED: the session's leader.
        start_ticks: STARTED: its start time.
        exit_code: EXITED.
        problem: START_FAILED, FLUSH_FAILED, SAVE_FAILED: what went wrong; MARKED: what a proof left untried; EXITED:
            why its command was never run, or how it ended.
        stopped: EXITED, FLUSHED: an operator had the unit stopped.
        at_ns: EXITED: when that was seen, where it is told later; 0: now.
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
    stopped: bool = False
    at_ns: int = 0
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
    DUMP = "dump"
    FLUSH = "flush"
    DISCARD = "discard"
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
    WATCHDOG = "watchdog"


class Step(NamedTuple):
    """What came of an input: the workload as it now is, what to do, and the events to tell."""

    workload: Workload
    effects: tuple[Effect, ...]
    told: tuple[str, ...]


_ONLY_IN = {
    Kind.MARKED: {State.SAVING},
    Kind.SAVE_FAILED: {State.SAVING},
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
_BY_LADDER = frozenset({Then.PARK, Then.PROVE})
"""Saves that any rung will do for."""
_IN_PASSING = frozenset({Then.THAW, Then.PROVE})
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
    effects = _effects(workload.status, event, status, told)
    if status.parts != workload.status.parts:
        effects = (Effect(Act.THIN), *effects)
    return Step(replace(workload, status=status), effects, _told(before, event, status))


def resumed(workload: Workload) -> tuple[Effect, ...]:
    """What carries a workload's step on after the airlock itself was gone."""
    status = workload.status
    if status.state is State.SAVING and status.by is Way.HOOK:
        return (Effect(Act.ASK_AGAIN),)
    entry = () if status.state is State.ENDED else _entry(status.state, status.by)
    return (*entry, Effect(Act.THIN)) if status.state in _HOLDS_PARTS else entry


def let_go(workload: Workload) -> Input | None:
    """What an airlock that is to stop tells a workload, so that nothing stays held for it; None: nothing.

    A save for memory that is under way becomes one in passing; one that is being made durable goes on to its end.
    """
    status = workload.status
    if status.state is State.FROZEN and status.held in FOR_MEMORY:
        return Input(Kind.RELEASE)
    if status.state is State.FROZEN and status.held is Held.REQUEST:
        return Input(Kind.THAW)
    if status.state is State.SAVING and status.then is Then.PARK:
        return Input(Kind.SAVE, then=Then.THAW)
    return Input(Kind.THIN) if status.parts else None


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
    if (about_memory := _narrowed_by_memory(workload, told, now_ns)) is not None:
        return about_memory
    match told.kind:
        case Kind.NEVER_RAN:
            return Event.NEVER_RAN if status.state is State.RUNNING and not past else Event.EXITED
        case Kind.THAW | Kind.RELEASE:
            return Refused.PAST_TERM if past else Event.THAW
        case Kind.END:
            return Event.KILL if past or told.grace_ns <= 0 else Event.END
        case Kind.EXTEND:
            frees = status.state is State.FROZEN and status.held is Held.TERM and told.term_end_ns > now_ns
            return Event.EXTEND_HELD if frees else Event.EXTEND
        case Kind.FLUSHED:
            return _flushed(workload, past, stopped=told.stopped)
        case Kind.EXITED if status.state is State.RUNNING and not told.stopped and not past:
            return _ended_early(workload, told, now_ns)
        case Kind.FLUSH_FAILED | Kind.SAVE_FAILED:
            return _failure(workload, past)
        case Kind.DUE if _term_pending(status) and past:
            return Event.TERM_SAVABLE if savable else Event.TERM_UNSAVABLE
        case Kind.DUE if status.state in (State.SAVING, State.FLUSHING):
            return _failure(workload, past)
        case Kind.DUE:
            return Event.RETRY if status.state is State.FROZEN and savable else Event.DEADLINE
        case _:
            return _PLAIN[told.kind]


def _narrowed_by_memory(workload: Workload, told: Input, now_ns: int) -> Event | Refused | None:
    """What differs for a workload that is held, saved or started again for memory."""
    spec, status = workload.spec, workload.status
    match told.kind:
        case Kind.FREEZE | Kind.SEAL | Kind.HOLD | Kind.SAVE if spec.watchdog:
            return Refused.WATCHDOG
        case Kind.SAVE:
            return _save(workload, told, now_ns)
        case Kind.THAW if status.held in FOR_MEMORY:
            return Refused.MEMORY
        case Kind.RELEASE if status.held not in FOR_MEMORY:
            return Refused.NOT_NOW
        case Kind.START_FAILED if status.saved_ns or status.dumped_ns:
            return Event.RESTORE_FAILED
        case Kind.EXITED if status.state is State.KILLING and status.cause is Cause.MEMORY:
            return Event.GONE_PARKED
        case _:
            return None


def _is_due(workload: Workload, now_ns: int) -> bool:
    at_ns = due_ns(workload)
    return at_ns is not None and at_ns <= now_ns


def _save(workload: Workload, told: Input, now_ns: int) -> Event | Refused:
    spec, status = workload.spec, workload.status
    if spec.hook is None:
        ladder = spec.dump and (told.then in _BY_LADDER or status.by is Way.DUMP)
        return Event.SAVE if ladder else Refused.NO_HOOK
    late = status.state is State.FROZEN and _last_run_ns(spec, status) <= now_ns
    return Event.KILL if late else Event.SAVE


def _ended_early(workload: Workload, told: Input, now_ns: int) -> Event:
    """What the end of one that was let run on, or started again, a moment ago means."""
    spec, status, at_ns = workload.spec, workload.status, told.at_ns or now_ns
    if at_ns < status.quit_ns:
        return Event.SAVED_AGAIN
    failed = spec.unit and told.exit_code != 0
    return Event.BACK_FAILED if failed and at_ns < status.back_ns else Event.EXITED


def _flushed(workload: Workload, past: bool, *, stopped: bool) -> Event:
    status = workload.status
    if status.gone:
        if status.then is Then.PARK:
            return Event.SAVED_PARKED
        stays = status.then in _IN_PASSING and not past and not stopped
        return Event.SAVED_AGAIN if stays else Event.SAVED_GONE
    if status.by is Way.DUMP and (past or status.then is Then.END):
        return _failure(workload, past)
    return Event.SAVED_THAW if status.then in _IN_PASSING and not past else Event.SAVED_END


def _last_run_ns(spec: Spec, status: Status) -> int:
    """Until when its hook may run."""
    return status.term_end_ns + spec.grace_ns if status.term_end_ns else 1 << 62


def _failure(workload: Workload, past: bool) -> Event:
    spec, status = workload.spec, workload.status
    if status.gone:
        return Event.FAILED_GONE
    if status.by is Way.DUMP and status.then is Then.END and spec.hook is not None:
        return Event.NEXT
    return Event.FAILED_HOLD if past or status.held else Event.FAILED_RUN


def _term_pending(status: Status) -> bool:
    return status.term_end_ns > 0 and status.held is not Held.TERM and status.state in _TERM_BINDS


def _entered(workload: Workload, event: Event, after: State, told: Input, now_ns: int) -> Status:
    status = _noted(workload, event, told, now_ns)
    if after not in _HOLDS_PARTS:
        status = replace(status, parts=())
    if after is State.ENDED and status.cause is Cause.NONE:
        over = event in (Event.TERM_SAVABLE, Event.TERM_UNSAVABLE)
        status = replace(status, cause=Cause.TERM if over else Cause.EXITED)
    moved = after is not workload.status.state
    timed_again = moved or (after is State.FROZEN and event is Event.TERM_UNSAVABLE)
    timed_again = timed_again or event in (Event.DEADLINE, Event.NEXT)
    timed_again = timed_again or (after is State.FLUSHING and event is Event.EXITED)
    if timed_again:
        status = replace(status, state=after, deadline_ns=_deadline_ns(workload.spec, status, after, told, now_ns))
    return replace(status, since_ns=now_ns) if moved or event is Event.NEXT else status


def _noted(workload: Workload, event: Event, told: Input, now_ns: int) -> Status:
    status = workload.status
    match event:
        case Event.BOUND:
            return replace(status, bound_bytes=told.bytes)
        case Event.THIN:
            return replace(status, parts=told.parts)
        case Event.SAVE | Event.NEXT | Event.FAILED_RUN | Event.FAILED_GONE | Event.FAILED_HOLD:
            return _noted_save(workload, event, told, now_ns)
        case Event.FREEZE if status.held is Held.NO:
            return replace(status, held=_HOLDS[told.kind])
        case Event.THAW:
            return replace(status, held=Held.NO)
        case Event.END | Event.KILL:
            known = status.cause not in (Cause.NONE, Cause.MEMORY)
            return status if known else replace(status, cause=Cause.ASKED)
        case Event.EXTEND | Event.EXTEND_HELD:
            return _extended(status, told.term_end_ns, now_ns)
        case Event.TERM_SAVABLE | Event.RETRY:
            by = status.by if status.state in (State.SAVING, State.FLUSHING) else Way.HOOK
            return replace(status, held=Held.TERM, then=Then.END, by=by, tries=status.tries + 1)
        case Event.TERM_UNSAVABLE:
            return replace(status, held=Held.TERM, then=Then.END)
        case Event.DEADLINE if status.held is Held.TERM:
            return replace(status, cause=status.cause or Cause.TERM)
        case _:
            return _noted_outcome(status, event, told, now_ns)


def _noted_save(workload: Workload, event: Event, told: Input, now_ns: int) -> Status:
    spec, status = workload.spec, workload.status
    problem = told.problem or (_NO_MARK if status.by is Way.HOOK else _NO_USE)
    match event:
        case Event.SAVE if status.state in (State.SAVING, State.FLUSHING) and told.then is Then.PROVE:
            return status
        case Event.SAVE:
            status = replace(status, then=Then.END if status.held is Held.TERM else told.then)
            begins = status.state not in (State.SAVING, State.FLUSHING)
            return _begun(workload, status) if begins else status
        case Event.NEXT:
            return replace(status, by=Way.HOOK)
        case Event.FAILED_HOLD:
            return replace(_fallen(spec, status), held=status.held or Held.TERM, then=Then.END, problem=problem)
        case _ if status.then is Then.PROVE:
            return _disproved(spec, status, problem, now_ns)
        case _:
            return replace(_fallen(spec, status), problem=problem)


def _begun(workload: Workload, status: Status) -> Status:
    """A save that begins: by the hook where it has to be of use elsewhere, else by the rung that is next."""
    by = (workload.way or _first(workload.spec)) if status.then in _BY_LADDER else Way.HOOK
    return replace(status, by=by, problem=status.problem if status.then is Then.PROVE else "")


def _noted_outcome(status: Status, event: Event, told: Input, now_ns: int) -> Status:
    match event:
        case Event.MARKED if told.problem or status.by is Way.HOOK:
            return replace(status, flaw=told.problem)
        case Event.STARTED:
            back_ns = now_ns + BACK_NS if status.saved_ns or status.dumped_ns else 0
            status = replace(status, dumped_ns=0, gone=False, back_ns=back_ns)
            return replace(status, pid=told.pid, start_ticks=told.start_ticks)
        case Event.NEVER_RAN:
            return replace(status, pid=0, start_ticks=0, held=Held.NO)
        case Event.START_FAILED:
            return replace(status, cause=Cause.START_FAILED, problem=told.problem)
        case Event.LOST:
            return replace(status, cause=Cause.LOST)
        case Event.EXITED:
            killed = told.kind is Kind.NEVER_RAN or told.exit_code in (None, _KILLED)
            over = killed and 0 < status.term_end_ns <= now_ns
            cause = status.cause or (Cause.TERM if over else Cause.START_FAILED if told.problem else Cause.NONE)
            problem = told.problem or status.problem
            return replace(status, exit_code=told.exit_code, cause=cause, problem=problem, gone=True)
        case Event.GONE_PARKED | Event.RESTORE_FAILED | Event.BACK_FAILED:
            return replace(status, **_PARKED, problem=told.problem)
        case Event.SAVED_AGAIN if status.state is State.RUNNING:
            return replace(status, **_PARKED, quits=True, quit_ns=now_ns)
        case Event.SAVED_END | Event.SAVED_PARKED | Event.SAVED_THAW | Event.SAVED_GONE | Event.SAVED_AGAIN:
            return _noted_saved(_saved(status, now_ns), event, now_ns)
        case _:
            return status


def _noted_saved(status: Status, event: Event, now_ns: int) -> Status:
    match event:
        case Event.SAVED_END:
            return replace(status, cause=_why_ended(status))
        case Event.SAVED_PARKED:
            return replace(status, **_PARKED, problem="")
        case Event.SAVED_AGAIN:
            return replace(status, **_PARKED, quits=True)
        case Event.SAVED_THAW:
            status = replace(status, held=Held.NO, dumped_ns=0)
            first = status.by is Way.HOOK and (not status.quit_ns or status.quits)
            return replace(status, quit_ns=now_ns + QUIT_NS) if first else status
        case _:
            return replace(status, cause=Cause.EXITED if status.then in _IN_PASSING else Cause.ASKED)


def _saved(status: Status, now_ns: int) -> Status:
    """A save that came to its end also proves that there can be one."""
    status = replace(status, proof=Proof.PROVED, proof_ns=now_ns, way=status.by)
    if status.by is Way.DUMP:
        return replace(status, dumped_ns=now_ns)
    return replace(status, saved_ns=now_ns)


def _first(spec: Spec) -> Way:
    return Way.HOOK if spec.hook is not None else Way.DUMP


def _fallen(spec: Spec, status: Status) -> Status:
    """The rung after the one that failed; what was known of it is known no more."""
    return replace(status, way=_after(spec, status.by) or _first(spec), proof=Proof.UNTRIED)


def _disproved(spec: Spec, status: Status, problem: str, now_ns: int) -> Status:
    """A proof that failed: the next rung is to be proved, and after the last it is known not to be savable."""
    below = _after(spec, status.by)
    said = f"{'hook' if status.by is Way.HOOK else 'CRIU'}: {problem}"
    flaw = f"{status.flaw}; {said}" if spec.hook is not None and status.by is Way.DUMP else said
    proof = Proof.UNTRIED if below else Proof.FAILED
    return replace(status, way=below or _first(spec), proof=proof, proof_ns=now_ns, flaw=flaw)


def _after(spec: Spec, way: Way) -> Way | None:
    return Way.DUMP if way is Way.HOOK and spec.dump else None


_HOLDS = {Kind.FREEZE: Held.REQUEST, Kind.SEAL: Held.MEMORY, Kind.HOLD: Held.SAVE}
_PARKED: dict[str, Any] = {
    "held": Held.NO,
    "cause": Cause.NONE,
    "pid": 0,
    "start_ticks": 0,
    "exit_code": None,
    "gone": False,
}


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
        case State.SAVING if status.by is Way.DUMP:
            return 0
        case State.SAVING:
            allowed_ns = min(spec.save_ns, PROVE_NS) if status.then is Then.PROVE else spec.save_ns
            return min(now_ns + allowed_ns, max(now_ns, _last_run_ns(spec, status)))
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


def _entry(state: State, by: Way) -> tuple[Effect, ...]:
    dumps = state is State.SAVING and by is Way.DUMP
    return (Effect(Act.FREEZE), Effect(Act.DUMP)) if dumps else _ON_ENTRY[state]


def _effects(was: Status, event: Event, status: Status, told: Input) -> tuple[Effect, ...]:
    before, after = was.state, status.state
    if event is Event.STARTED:
        return (Effect(Act.GO),)
    if event is Event.SIGNAL:
        return (Effect(Act.SIGNAL, told.signum),)
    if event is Event.SAVED_AGAIN:
        return (Effect(Act.CLEAR), Effect(Act.START))
    again = event in (Event.THAW, Event.FREEZE, Event.NEXT) or (event is Event.DEADLINE and after is State.KILLING)
    entry = _entry(after, status.by) if before is not after or again else ()
    useless = was.by is Way.DUMP and before in (State.SAVING, State.FLUSHING) and not status.dumped_ns
    return (*entry, Effect(Act.DISCARD)) if useless and after is not State.FLUSHING and entry else entry


_TELLS = {
    Event.STARTED: "started",
    Event.MARKED: "frozen",
    Event.SAVED_END: "saved",
    Event.SAVED_THAW: "saved",
    Event.SAVED_GONE: "saved",
    Event.SAVED_AGAIN: "saved",
    Event.FAILED_HOLD: "save_failed",
    Event.FAILED_RUN: "save_failed",
    Event.FAILED_GONE: "save_failed",
    Event.TERM_SAVABLE: "term_end",
    Event.TERM_UNSAVABLE: "term_end",
}


def _told(before: State, event: Event, status: Status) -> tuple[str, ...]:
    told = [_TELLS[event]] if event in _TELLS else []
    if status.then is Then.PROVE and event in (Event.SAVED_THAW, Event.FAILED_RUN):
        told = {Proof.PROVED: ["proved"], Proof.FAILED: ["unsavable"]}.get(status.proof, [])
    if event is Event.SAVED_AGAIN:
        told.append("again")
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
