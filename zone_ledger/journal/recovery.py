"""What can be wrong with a journal, and what is done about it: every case has a letter, a cause and a decision."""

from enum import Enum
from pathlib import Path
from typing import NamedTuple

from tegcore.errors import JournalError


class Decision(Enum):
    """What follows from a case."""

    GO_ON = "go on"
    MIGRATE = "read it; the first writer brings it to this format"
    OLDER_SNAPSHOT = "use the snapshot before it, or the whole journal"
    REFUSE = "refuse, and say what stands before it"


class Finding(NamedTuple):
    """One case: what it is called, how it comes about, how it is told, what is done."""

    name: str
    cause: str
    sign: str
    decision: Decision


class Case(Enum):
    """All cases of recovery."""

    A = Finding("whole", "an orderly stop, or a kill between batches", "all proves", Decision.GO_ON)
    B = Finding("torn", "power cut or kill inside a write", "SQLite drops it; the mark is not ahead", Decision.GO_ON)
    C = Finding("bit-flipped", "a failing disk", "a checksum does not fit, or SQLite cannot read", Decision.REFUSE)
    D = Finding("truncated", "a copy cut short", "no whole number of records", Decision.REFUSE)
    E = Finding("doubled", "two copies joined", "a number comes twice, or an earlier one", Decision.REFUSE)
    F = Finding("missing", "rows deleted, files restored apart", "a number is left out", Decision.REFUSE)
    G = Finding("foreign", "a file of another ledger", "another zone, or a chain that does not join", Decision.REFUSE)
    H = Finding("older", "a program before this one", "a lower format", Decision.MIGRATE)
    I = Finding("newer", "a program after this one", "a higher format", Decision.REFUSE)  # noqa: E741
    J = Finding("lost", "a disk that did not keep what it had synced", "the mark is ahead", Decision.REFUSE)
    K = Finding(
        "broken snapshot", "any of the above", "its header or its contents do not prove", Decision.OLDER_SNAPSHOT
    )
    L = Finding("headless", "trimmed, and no snapshot proves", "the first batch is not the first", Decision.REFUSE)


_HINTS = {
    Case.C: "restore the file from a copy; what stands before this batch is sound",
    Case.D: "restore the file from a copy; what stands before this batch is sound",
    Case.E: "restore the file from a copy; what stands before this batch is sound",
    Case.F: "restore the file from a copy; what stands before this batch is sound",
    Case.G: "point state_dir at this zone's own journal",
    Case.I: "update the program",
    Case.J: "restore the journal from a copy that has it; to go on without, and lose it, remove the .mark file",
    Case.L: "restore a snapshot, or the whole journal, from a copy",
}


def refused(case: Case, path: Path, what: str) -> JournalError:
    """The error that a case is refused with."""
    return JournalError(f"{path}: {what} (case {case.name}, {case.value.name})", _HINTS[case])
