"""What the agent side's core asks its shell to do, and what the airlock side says of a run."""

from typing import NamedTuple

from tegcore.wire.peer import Source
from tegd.workload import Workload


class Start(NamedTuple):
    """Start a workload's run under its lease."""

    workload: Workload


class Extend(NamedTuple):
    """Tell the airlock side that a run's term ends later."""

    workload: Workload


class Bound(NamedTuple):
    """Tell the airlock side what memory a run's lease has bought."""

    workload: Workload


END_GRACE_NS = 2_000_000_000


class SaveAndEnd(NamedTuple):
    """Save a run by its hook and end it; without a hook, ask it to end, and kill it after a grace."""

    workload: Workload
    save: bool
    grace_ns: int = END_GRACE_NS


class Forget(NamedTuple):
    """A run is over and settled."""

    airlock_id: str


class Keep(NamedTuple):
    """Put a workload on disk."""

    workload: Workload


class Run(NamedTuple):
    """Where a run is, as the airlock side says.

    Attributes:
        state: One of the airlock's states.
        cause: Why it ended: `exited`, `asked`, `term`, `start_failed`, `lost`.
        saved: Whether a checkpoint of it is durable.
        problem: What went wrong last.
        saved_ns: When that checkpoint became durable.
        hook_failed: Why its hook failed when it was last asked, to save it or to show that it can; empty: it did not.
        hook_proved: Whether it did not fail then, but answered.
        comeback: What its save showed of how it would be started again, for people; empty: nothing.
        quits: Whether its program ended after its mark, and was started again.
    """

    airlock_id: str
    state: str
    cause: str = ""
    exit_code: int | None = None
    saved: bool = False
    problem: str = ""
    saved_ns: int = 0
    hook_failed: str = ""
    hook_proved: bool = False
    comeback: str = ""
    quits: bool = False


class SaveInPassing(NamedTuple):
    """Save a run by its hook and let it run on."""

    workload: Workload


class Rejoin(NamedTuple):
    """Begin another session with the ledger, under a new boot."""


class AskPeers(NamedTuple):
    """Ask the ledger who leases are shared with, and how hosts are reached."""

    leases: tuple[int, ...]
    hosts: tuple[str, ...]


class TellSeat(NamedTuple):
    """Hand a seat its brief; the answer goes to `Travel.seat_answered`."""

    workload: Workload
    rank: int


class TellBegin(NamedTuple):
    """Tell a seat of a gang to start its part; the answer goes to `Travel.begin_answered`."""

    workload: Workload
    rank: int


class TellHome(NamedTuple):
    """Report to a part's home; the answer goes to `Travel.home_answered`."""

    workload: Workload


class Fetch(NamedTuple):
    """Get a part's files and checkpoint here, whole and durable; what came of it goes to `Travel.fetched`."""

    workload: Workload


class Collect(NamedTuple):
    """Keep what a run has just saved as a checkpoint of this number; then `Travel.collected`."""

    workload: Workload
    number: int


class Copy(NamedTuple):
    """Copy a checkpoint to this host; then `Travel.copied`."""

    workload: Workload
    source: Source


class DropThere(NamedTuple):
    """Tell a seat that its part is needed no more; then `Travel.dropped`."""

    workload: Workload
    host: str
    rank: int
    token: int


class Clear(NamedTuple):
    """Remove a part's folder."""

    workload: Workload


class Drop(NamedTuple):
    """A workload has been over for long: its row, its output and its checkpoints go, and a part's folder with them."""

    workload: Workload


Effect = (
    Start
    | Extend
    | Bound
    | SaveAndEnd
    | SaveInPassing
    | Forget
    | Keep
    | Rejoin
    | AskPeers
    | TellSeat
    | TellBegin
    | TellHome
    | Fetch
    | Collect
    | Copy
    | DropThere
    | Clear
    | Drop
)
