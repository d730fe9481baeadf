"""What the airlock knows of a workload: what was asked for, which never changes, and where it stands.

All of it is plain data that the journal keeps as JSON. Times are ns of the boot-time clock.
"""

import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tegd.airlock.transitions import State


class Held(StrEnum):
    """Why a workload is frozen, or will be again when the step in progress fails."""

    NO = ""
    REQUEST = "request"
    MEMORY = "memory"
    """It gives way to others."""
    SAVE = "save"
    """Until another is saved."""
    TERM = "term"


class Then(StrEnum):
    """What follows a save."""

    END = "end"
    THAW = "thaw"
    PARK = "park"
    """It is ended, and started again when there is memory for it."""
    PROVE = "prove"
    """It goes on: the save was made to know that it can be."""


class Way(StrEnum):
    """How a save is made: the rungs of the ladder, the first that works."""

    HOOK = "hook"
    DUMP = "dump"
    """An image of its processes by CRIU, kept on this host: of use for parking alone."""


class Proof(StrEnum):
    """Whether it is known that it can be saved."""

    UNTRIED = ""
    PROVED = "proved"
    FAILED = "failed"


class Cause(StrEnum):
    """Why a workload is ending or has ended."""

    NONE = ""
    EXITED = "exited"
    ASKED = "asked"
    TERM = "term"
    START_FAILED = "start_failed"
    LOST = "lost"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Hook:
    """The application's checkpoint hook (docs/reference/hook.md).

    Attributes:
        signum: Signal that asks for a checkpoint.
        checkpoint: Absolute path of the file that the program writes.
        mark: Absolute path of the file that it makes last; where it is the checkpoint itself, that it is another file
            than before is the mark.
    """

    signum: int
    checkpoint: str
    mark: str


@dataclass(frozen=True, slots=True)
class Spec:
    """What was asked for.

    Attributes:
        workload: Its id, unique on this host.
        lease: Lease that it runs under.
        token: Fencing token of that lease; a request with another is refused.
        argv: Command and arguments.
        env: Its whole environment, less what the airlock adds.
        cwd: Absolute path of its working folder.
        uid: User that it runs as.
        gid: Group that it runs as.
        hook: Its checkpoint hook, if it can be saved.
        notice_ns: How long it is held past its term when it cannot be saved, before it is ended.
        save_ns: Longest that its hook may take, and longest that making the checkpoint durable may take.
        grace_ns: How long past its term its hook may run: after that its slots may be another's.
        resume: Whether it is to go on from its checkpoint.
        resume_args: What its command then gets beside its arguments.
        rank: Who ranks least gives way first when memory runs short.
        unit: The systemd unit that it is, where the airlock did not start it itself.
        group: Folder of that unit's control group.
        dump: Whether its processes may be dumped, where there is no hook or it fails.
        watchdog: The service manager ends it when it does not report in time: it is never frozen.
        submitted: When it was submitted, in ticks of its zone: of equals in rank the later gives way first.
        umask: Of the modes of files that it makes.
        limits: Soft limits by name, as far as they are within the hard ones; -1: as far as those go.
        environment: File of its user's with the environment that it brings, in the words of a shell; empty: none. What
            is in it is read by the child alone: it stands in no packet and no journal.
        stdin: File of its user's that it reads as its standard input; empty: nothing.
    """

    workload: str
    lease: int
    token: int
    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    uid: int
    gid: int
    hook: Hook | None
    notice_ns: int
    save_ns: int
    resume: bool
    resume_args: tuple[str, ...] = ("--resume",)
    rank: float = 0.0
    unit: str = ""
    group: str = ""
    grace_ns: int = 1 << 60
    dump: bool = False
    watchdog: bool = False
    submitted: int = 0
    umask: int = 0o022
    limits: dict[str, int] = field(default_factory=dict)
    environment: str = ""
    stdin: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """Where it stands.

    Attributes:
        state: See `State`.
        since_ns: When it came there.
        term_end_ns: End of its lease's term as known here; 0: none.
        pid: Leader of its session; 0 before it has one.
        start_ticks: The leader's start time as the kernel counts it: with the pid, it names one process for ever.
        exit_code: As a shell gives it (128 + signal); None while it lives, or where nobody saw it.
        cause: Why it is ending or has ended.
        held: Why it is held, or falls back to being held.
        then: What follows the save in progress.
        tries: Saves tried since its term ended.
        deadline_ns: When this state is over by itself; 0: never.
        saved_ns: When its last checkpoint became durable; 0: never.
        problem: What went wrong last, for people.
        bound_bytes: Memory that its lease has bought; 0: none is said.
        parts: Of its processes, those that are held while the others run: pid and start time.
        way: The rung that a save for memory would take; a workload without a hook has only the dump.
        by: How the save in progress is made, or the last was.
        proof: Whether it is known to be savable.
        proof_ns: When that was found out; 0: never.
        flaw: Why it cannot be saved, or not by its hook, for people.
        dumped_ns: When the image that it is to be restored from became durable; 0: there is none.
        gone: Its processes ended while its checkpoint was made durable.
        quits: It is known to end itself after its mark.
        quit_ns: Until when its end means that: it was let run on after its mark a moment before. Once it is over and it
            does not quit, it is known to go on; 0: not known.
        back_ns: Until when its failure means that it could not be started again from its checkpoint.
    """

    state: State
    since_ns: int
    term_end_ns: int
    pid: int = 0
    start_ticks: int = 0
    exit_code: int | None = None
    cause: Cause = Cause.NONE
    held: Held = Held.NO
    then: Then = Then.END
    tries: int = 0
    deadline_ns: int = 0
    saved_ns: int = 0
    problem: str = ""
    bound_bytes: int = 0
    parts: tuple[tuple[int, int], ...] = ()
    way: Way = Way.HOOK
    by: Way = Way.HOOK
    proof: Proof = Proof.UNTRIED
    proof_ns: int = 0
    flaw: str = ""
    dumped_ns: int = 0
    gone: bool = False
    quits: bool = False
    quit_ns: int = 0
    back_ns: int = 0


@dataclass(frozen=True, slots=True)
class Workload:
    """Both together."""

    spec: Spec
    status: Status

    @property
    def way(self) -> Way | None:
        """How it would be saved for memory; None: it cannot be, or is known not to be."""
        if self.status.proof is Proof.FAILED:
            return None
        if self.spec.hook is not None and (self.status.way is Way.HOOK or not self.spec.dump):
            return Way.HOOK
        return Way.DUMP if self.spec.dump and not self.spec.watchdog else None


def spec_data(spec: Spec) -> dict[str, Any]:
    """A spec as JSON data."""
    return dataclasses.asdict(spec)


def spec_from(data: dict[str, Any]) -> Spec:
    """The spec that `spec_data` gave, after JSON."""
    hook = data["hook"]
    words = {"argv": tuple(data["argv"]), "resume_args": tuple(data["resume_args"])}
    return Spec(**(data | words | {"hook": Hook(**hook) if hook else None}))


def status_data(status: Status) -> dict[str, Any]:
    """A status as JSON data."""
    return dataclasses.asdict(status)


def status_from(data: dict[str, Any]) -> Status:
    """The status that `status_data` gave, after JSON."""
    words = ((name, kind) for name, kind in _WORDS.items() if name in data)
    typed: dict[str, Any] = {name: kind(data[name]) for name, kind in words}
    return Status(**(data | typed | {"parts": tuple((pid, ticks) for pid, ticks in data.get("parts", ()))}))


_WORDS = {"state": State, "cause": Cause, "held": Held, "then": Then, "way": Way, "by": Way, "proof": Proof}
