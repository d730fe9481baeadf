"""Which workload is to prove that it can be saved, by a save in passing: one at a time, while memory is plenty.

A save that nobody has seen work may fail when it is needed. So each workload makes one soon after it came, unless the
settings say otherwise; where that fails, the next rung of the ladder is tried, and after the last the workload is known
not to be savable, which is told. Such a one is tried again by and by.
"""

from collections.abc import Callable, Iterable

from tegd.airlock.model import Proof, Way, Workload
from tegd.airlock.transitions import State

SETTLE_NS = 3_000_000_000
"""A workload is left alone for this long after it came, or after its last proof."""
AGAIN_NS = 600_000_000_000
"""What could not be saved is tried again after this."""
DUMP_BYTES_MAX = 1 << 30
"""Larger processes are not dumped to prove that they can be: they would stand still for long."""

_QUIET = frozenset({State.RUNNING, State.FROZEN, State.PARKED, State.ENDED})


def candidate(
    workloads: Iterable[Workload], bytes_of: Callable[[Workload], int], room: Callable[[Workload], bool], now_ns: int
) -> Workload | None:
    """Who is to prove itself now; None: nobody.

    Args:
        workloads: All of the host, in a time when memory is plenty.
        bytes_of: What one holds.
        room: Whether the disk has room for its checkpoint.
        now_ns: Boot-time clock.
    """
    known = list(workloads)
    if any(entry.status.state not in _QUIET for entry in known):
        return None
    return next((one for one in sorted(known, key=_since) if _is_due(one, bytes_of(one), now_ns) and room(one)), None)


def _since(workload: Workload) -> tuple[int, str]:
    return workload.status.proof_ns, workload.spec.workload


def _is_due(workload: Workload, count: int, now_ns: int) -> bool:
    spec, status = workload.spec, workload.status
    if status.state is not State.RUNNING or status.parts or spec.watchdog or not (spec.hook or spec.dump):
        return False
    if now_ns < status.since_ns + SETTLE_NS or now_ns < status.proof_ns + SETTLE_NS:
        return False
    if status.proof is Proof.PROVED or (status.proof is Proof.FAILED and now_ns < status.proof_ns + AGAIN_NS):
        return False
    by_dump = workload.way is Way.DUMP or spec.hook is None
    return not by_dump or count <= DUMP_BYTES_MAX
