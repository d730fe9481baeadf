"""What is done with the work of an airlock that does not come back: its journal in, one act for each workload out.

Term ends come first: work past its term stays frozen, unless its save is durable or the notice of what cannot be saved
is over: then it is ended. Of all else, who ranks highest is let go first; who was being saved for memory is ended if
its checkpoint is whole, and else goes on too. Nothing is written down: an airlock that does come back finds its own
journal, and carries each step on from there.
"""

from collections.abc import Iterable
from enum import StrEnum

from tegd.airlock.model import Held, Way, Workload
from tegd.airlock.transitions import State


class Last(StrEnum):
    """What is done."""

    NOTHING = "nothing"
    THAW = "thaw"
    HOLD = "hold"
    """It is frozen, or stays so."""
    END_IF_WHOLE = "end_if_whole"
    """It is ended if its checkpoint is whole, and goes on if not."""
    END_IF_WHOLE_ELSE_HOLD = "end_if_whole_else_hold"
    END = "end"


_OVER = frozenset({State.ENDED, State.PARKED, State.STARTING})


def in_order(workloads: Iterable[Workload]) -> list[Workload]:
    """The order in which they are dealt with: the strongest first."""
    return sorted(workloads, key=lambda entry: (-entry.spec.rank, entry.spec.submitted, entry.spec.workload))


def last(workload: Workload, now_ns: int) -> Last:
    """What is done with one; asked again every second, for terms that end meanwhile.

    Args:
        workload: As the journal says.
        now_ns: Boot-time clock.
    """
    status = workload.status
    if status.state in _OVER:
        return Last.NOTHING
    if status.state is State.KILLING:
        return Last.END
    if status.held is Held.TERM or 0 < status.term_end_ns <= now_ns:
        return _past_its_term(workload, now_ns)
    if status.state is State.ENDING:
        return Last.END if 0 < status.deadline_ns <= now_ns else Last.THAW
    return Last.END_IF_WHOLE if status.state is State.FLUSHING else Last.THAW


def due_ns(workloads: Iterable[Workload], now_ns: int) -> int | None:
    """When the next term or notice of them is over."""
    times = [at for entry in workloads for at in _times(entry) if at > now_ns]
    return min(times, default=None)


def _past_its_term(workload: Workload, now_ns: int) -> Last:
    spec, status = workload.spec, workload.status
    if status.state is State.FLUSHING and status.by is Way.HOOK:
        return Last.END_IF_WHOLE_ELSE_HOLD
    if spec.hook is not None:
        return Last.HOLD
    return Last.END if _notice_end_ns(workload) <= now_ns else Last.HOLD


def _notice_end_ns(workload: Workload) -> int:
    return workload.status.term_end_ns + workload.spec.notice_ns


def _times(workload: Workload) -> tuple[int, ...]:
    status = workload.status
    if status.state in _OVER:
        return ()
    term = (status.term_end_ns, _notice_end_ns(workload)) if status.term_end_ns else ()
    return (*term, status.deadline_ns) if status.state is State.ENDING else term
