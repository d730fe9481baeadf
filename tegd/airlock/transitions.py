"""The life of a workload under the airlock, as one table: state, event, next state.

Every state is on disk before its action is taken, and each action may be taken again: a step that a crash cut short is
carried on from its state. What is held is held by a state of this table and by nothing else. A pair that is absent is
an error of whoever sent the event: a request is refused with a reason, an outcome that cannot be is a broken invariant.

`FROZEN` is held: by request, for memory, or at the end of its term. `SAVING` runs for its hook alone, or is frozen
while its processes are dumped; `FLUSHING` is frozen while that is made durable. `ENDING` has been asked to end,
`KILLING` is being killed, in `ENDED` nothing is left.
`PARKED` was saved and ended for memory, and is started again from its checkpoint when there is room. Who ends after the
mark of a save in passing is started again from it at once: `SAVED_AGAIN`.
"""

from enum import StrEnum


class State(StrEnum):
    """Where a workload is."""

    STARTING = "starting"
    RUNNING = "running"
    FROZEN = "frozen"
    SAVING = "saving"
    FLUSHING = "flushing"
    ENDING = "ending"
    KILLING = "killing"
    PARKED = "parked"
    ENDED = "ended"


class Event(StrEnum):
    """What happens to it, each so narrow that state and event alone give the next state."""

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
    KILL = "kill"
    EXTEND = "extend"
    EXTEND_HELD = "extend_held"
    TERM_SAVABLE = "term_savable"
    TERM_UNSAVABLE = "term_unsavable"
    MARKED = "marked"
    SAVED_END = "saved_end"
    SAVED_THAW = "saved_thaw"
    SAVED_GONE = "saved_gone"
    SAVED_AGAIN = "saved_again"
    FAILED_HOLD = "failed_hold"
    FAILED_RUN = "failed_run"
    FAILED_GONE = "failed_gone"
    RETRY = "retry"
    DEADLINE = "deadline"
    GONE_PARKED = "gone_parked"
    SAVED_PARKED = "saved_parked"
    RESTORE = "restore"
    RESTORE_FAILED = "restore_failed"
    BACK_FAILED = "back_failed"
    THIN = "thin"
    BOUND = "bound"
    NEXT = "next"


_ROWS = {
    State.STARTING: {
        Event.STARTED: State.RUNNING,
        Event.START_FAILED: State.ENDED,
        Event.RESTORE_FAILED: State.PARKED,
        Event.EXTEND: State.STARTING,
        Event.TERM_SAVABLE: State.ENDED,
        Event.TERM_UNSAVABLE: State.ENDED,
    },
    State.RUNNING: {
        Event.NEVER_RAN: State.STARTING,
        Event.EXITED: State.ENDED,
        Event.SAVED_AGAIN: State.STARTING,
        Event.BACK_FAILED: State.PARKED,
        Event.FREEZE: State.FROZEN,
        Event.THIN: State.RUNNING,
        Event.THAW: State.RUNNING,
        Event.SIGNAL: State.RUNNING,
        Event.SAVE: State.SAVING,
        Event.END: State.ENDING,
        Event.KILL: State.KILLING,
        Event.EXTEND: State.RUNNING,
        Event.TERM_SAVABLE: State.SAVING,
        Event.TERM_UNSAVABLE: State.FROZEN,
    },
    State.FROZEN: {
        Event.EXITED: State.ENDED,
        Event.FREEZE: State.FROZEN,
        Event.THIN: State.FROZEN,
        Event.THAW: State.RUNNING,
        Event.SIGNAL: State.FROZEN,
        Event.SAVE: State.SAVING,
        Event.END: State.ENDING,
        Event.KILL: State.KILLING,
        Event.EXTEND: State.FROZEN,
        Event.EXTEND_HELD: State.RUNNING,
        Event.TERM_SAVABLE: State.SAVING,
        Event.TERM_UNSAVABLE: State.FROZEN,
        Event.RETRY: State.SAVING,
        Event.DEADLINE: State.KILLING,
    },
    State.SAVING: {
        Event.EXITED: State.ENDED,
        Event.SAVE: State.SAVING,
        Event.END: State.ENDING,
        Event.KILL: State.KILLING,
        Event.EXTEND: State.SAVING,
        Event.TERM_SAVABLE: State.SAVING,
        Event.TERM_UNSAVABLE: State.SAVING,
        Event.MARKED: State.FLUSHING,
        Event.NEXT: State.SAVING,
        Event.FAILED_HOLD: State.FROZEN,
        Event.FAILED_RUN: State.RUNNING,
    },
    State.FLUSHING: {
        Event.EXITED: State.FLUSHING,
        Event.SAVE: State.FLUSHING,
        Event.END: State.KILLING,
        Event.KILL: State.KILLING,
        Event.EXTEND: State.FLUSHING,
        Event.TERM_SAVABLE: State.FLUSHING,
        Event.TERM_UNSAVABLE: State.FLUSHING,
        Event.NEXT: State.SAVING,
        Event.SAVED_END: State.KILLING,
        Event.SAVED_THAW: State.RUNNING,
        Event.SAVED_GONE: State.ENDED,
        Event.SAVED_AGAIN: State.STARTING,
        Event.SAVED_PARKED: State.PARKED,
        Event.FAILED_HOLD: State.FROZEN,
        Event.FAILED_RUN: State.RUNNING,
        Event.FAILED_GONE: State.ENDED,
    },
    State.ENDING: {
        Event.EXITED: State.ENDED,
        Event.SIGNAL: State.ENDING,
        Event.END: State.ENDING,
        Event.KILL: State.KILLING,
        Event.TERM_SAVABLE: State.KILLING,
        Event.TERM_UNSAVABLE: State.KILLING,
        Event.DEADLINE: State.KILLING,
    },
    State.KILLING: {
        Event.EXITED: State.ENDED,
        Event.GONE_PARKED: State.PARKED,
        Event.END: State.KILLING,
        Event.KILL: State.KILLING,
        Event.DEADLINE: State.KILLING,
    },
    State.PARKED: {
        Event.RESTORE: State.STARTING,
        Event.SAVE: State.PARKED,
        Event.END: State.ENDED,
        Event.KILL: State.ENDED,
        Event.EXTEND: State.PARKED,
        Event.TERM_SAVABLE: State.ENDED,
        Event.TERM_UNSAVABLE: State.ENDED,
    },
    State.ENDED: {
        Event.END: State.ENDED,
        Event.KILL: State.ENDED,
    },
}

TABLE: dict[tuple[State, Event], State] = {
    (state, event): after for state, row in _ROWS.items() for event, after in row.items()
}
for _state in State:
    if _state is not State.ENDED:
        TABLE |= {(_state, Event.LOST): State.ENDED, (_state, Event.BOUND): _state}
"""Every pair that may be. `LOST`: the host restarted, and with it went every process."""
