"""How a command comes to run, so that no crash starts it twice, loses it, or loses its exit code.

The child leads a session, drops its rights, looks whether the command can be executed, says so, and waits. Only when
its pid is in the journal does it hear "go"; if the airlock dies before that, the child reads the end of its pipe and
is gone. Then it writes `ran` to the status file and becomes the keeper: a shell of a few hundred KiB that runs the
command as its only child and writes its exit code to the same file. So after any crash the file tells which:

    nothing          it never ran: start it
    ran              it runs, or was killed together with its keeper
    ran, number      it has ended with this code

The keeper takes no notice of signals to the whole session that are meant for the command.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import pwd
import resource
import select
import shlex
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, NoReturn

from tegd.airlock import comeback
from tegd.airlock.adapters import procfs
from tegd.airlock.model import Spec

READY_MS_MAX = 5_000
"""Longest that a child may take to get ready: a working folder on a dead server must not hold up the rest."""

YIELDS = ("PATH", "HOME")
"""What work is told only where it brings none of its own."""
KEEPER = 'trap : HUP INT QUIT USR1 USR2 ALRM TERM; "$@" 3>&-; echo $? >&3'
ABSENT = "absent"
_STATUS_FD = 3
_HIGH_FD = 10
_FAILED = 125
_STATUS_BYTES_MAX = 64 << 10
_UNCHANGED = -1
_OPEN_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)
_libc = ctypes.CDLL(None)


def marker(workload: str) -> str:
    """The entry of its environment that names a process's workload."""
    return f"TEG_WORKLOAD={workload}"


def keeper_marker(folder: Path) -> str:
    """The entry that names whose workload it is: the folder of the airlock's workloads, which no two share."""
    return f"TEG_AIRLOCK={folder}"


class Launched(NamedTuple):
    """A child that is ready and waits.

    Attributes:
        pid: Its pid.
        start_ticks: Its start time.
        go: Descriptor that takes `go`; closing it unwritten ends the child.
    """

    pid: int
    start_ticks: int
    go: int


def launch(spec: Spec, folder: Path, enter: str) -> Launched | str:
    """Make the child of a workload.

    Args:
        spec: What to run.
        folder: Its folder, where `log` and `status` go.
        enter: File that the child writes itself into, or nothing.

    Returns:
        The waiting child, or why the command cannot be run, for people.
    """
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:

        def opened(keeper: contextlib.ExitStack, descriptor: int) -> int:
            keeper.callback(os.close, descriptor)
            return descriptor

        appended = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        log = opened(theirs, os.open(folder / "log", appended, 0o640))
        status = opened(theirs, os.open(folder / "status", appended | os.O_TRUNC, 0o600))
        ready, ready_write = map(opened, (ours, theirs), os.pipe2(os.O_CLOEXEC))
        go_read, go_write = map(opened, (theirs, ours), os.pipe2(os.O_CLOEXEC))
        pid = os.fork()
        if pid == 0:
            _keep_only(log, status, ready_write, go_read)
            _in_child(ready_write, lambda ready: _become(spec, folder, enter, _Ends(log, status, ready, go_read)))
        theirs.close()
        problem = _heard(ready)
        found = procfs.process(pid)
        if problem or found is None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return problem or "it was killed before it ran"
        return Launched(pid, found.start_ticks, os.dup(go_write))


def go(descriptor: int) -> None:
    """Let a waiting child run."""
    with contextlib.suppress(BrokenPipeError):
        os.write(descriptor, b"g\n")
    os.close(descriptor)


def exit_status(folder: Path) -> tuple[bool, int | None]:
    """Whether a command ever ran, and its exit code if its keeper wrote one.

    The keeper runs as the user whose work it is: what else it says there, as of a locale that it lacks, is passed over.
    """
    try:
        with (folder / "status").open("rb") as file:
            lines = file.read(_STATUS_BYTES_MAX).split(b"\n")
    except FileNotFoundError:
        return False, None
    if b"ran" not in lines:
        return False, None
    code = lines[lines.index(b"ran") + 1 :]
    return True, int(code[0]) if len(code) > 1 and code[0].isdigit() and len(code[0]) <= 3 else None


def absent(folder: Path) -> str:
    """What the first process says of a command that its user cannot execute here; nothing where it did not look."""
    with contextlib.suppress(FileNotFoundError), (folder / "status").open("rb") as file:
        for line in file.read(_STATUS_BYTES_MAX).split(b"\n"):
            if line.startswith(ABSENT.encode() + b" "):
                return line[len(ABSENT) + 1 :].decode(errors="replace")
    return ""


Identity = tuple[int, int, int] | None
"""Device, inode and time of change of a file, so that one that took its place is told from it; None: no file."""


def identity(path: str) -> Identity:
    """Which file is there now."""
    try:
        about = os.lstat(path)
    except OSError:
        return None
    return about.st_dev, about.st_ino, about.st_mtime_ns


def older(path: str, since_ns: int) -> bool:
    """Whether a file was made before a moment of the boot-time clock: an old mark that could not be taken away."""
    file = identity(path)
    age_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - since_ns
    return file is not None and file[2] < time.time_ns() - age_ns


def has_mark(spec: Spec, before: Identity) -> bool:
    """Whether the hook has made its mark.

    Args:
        spec: Of the workload.
        before: What was in the mark's place when the hook was asked.
    """
    return spec.hook is not None and identity(spec.hook.mark) not in (None, before)


def clear_mark(spec: Spec) -> None:
    """Take an old mark away, with the rights of the workload: its path is not ours to trust.

    A checkpoint that is its own mark stays: it is the last that is whole. So does a mark that we may not take away.
    """
    if spec.hook is not None and spec.hook.mark != spec.hook.checkpoint:
        with contextlib.suppress(OSError), _as_user(spec.uid, spec.gid):
            Path(spec.hook.mark).unlink()


def resolve(program: str, path: str) -> str:
    """The file that a command names, as this process may execute it.

    Raises:
        OSError: If there is none, or it may not be executed; the message says which.
    """
    names = [program] if "/" in program else [f"{folder}/{program}" for folder in path.split(":") if folder]
    found = [name for name in names if os.path.isfile(name)]  # noqa: PTH113 - False where Path raises
    for name in found:
        if os.access(name, os.X_OK):
            return name
    if found:
        raise PermissionError(f"{found[0]} may not be executed: check its mode and its owner")
    raise FileNotFoundError(f"{program} was not found" + ("" if "/" in program else f" on the path {path}"))


def _heard(ready: int) -> str:
    poll = select.poll()
    poll.register(ready, select.POLLIN)
    if not poll.poll(READY_MS_MAX):
        return f"it was not ready within {READY_MS_MAX} ms: check its working folder"
    said = os.read(ready, 4096).decode(errors="replace")
    return "" if said == "ready" else said or "it was killed before it was ready"


def _keep_only(*descriptors: int) -> None:
    """Close all but these and the standard ones: a child stopped before it runs must not hold our lock or socket."""
    kept = sorted({*range(3), *descriptors})
    for before, after in pairwise([*kept, os.sysconf("SC_OPEN_MAX")]):
        os.closerange(before + 1, after)


def _in_child(report: int, work: Callable[[int], None]) -> NoReturn:
    """Never come back from a fork: not by a return, not by an exception."""
    try:
        work(report)
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        os.write(report, f"{named}{error.strerror or error}".encode())
    except BaseException:  # the child must not go on as a second airlock
        os.write(report, traceback.format_exc()[-2000:].encode())
    os._exit(_FAILED)


class _Ends(NamedTuple):
    log: int
    status: int
    ready: int
    go: int


def _become(spec: Spec, folder: Path, enter: str, ends: _Ends) -> None:
    log, status, ready, go_read = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _HIGH_FD) for end in ends)
    os.setsid()
    for signum in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, signal.SIG_DFL)
    _leave_our_rank()
    if enter:
        Path(enter).write_text("0")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.dup2(status, _STATUS_FD)
    _limit(spec)
    _drop(spec.uid, spec.gid)
    os.umask(spec.umask)
    if spec.stdin:
        os.dup2(os.open(spec.stdin, os.O_RDONLY), 0)
    env = environment(spec, brought(spec))
    _enter(spec.cwd)
    program = resolve(spec.argv[0], env.get("PATH", os.defpath))
    os.write(ready, b"ready")
    os.close(ready)
    if os.read(go_read, 1) != b"g":
        os._exit(_FAILED)
    os.write(_STATUS_FD, b"ran\n")
    name, _, value = keeper_marker(folder.parent).partition("=")
    words = ["sh", "-c", KEEPER, "sh", program, *_arguments(spec)]
    os.execve("/bin/sh", words, env | {name: value})  # noqa: S606 - that is its job


def _enter(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        raise OSError(f"its working folder {folder}: {error.strerror}") from None


def _limit(spec: Spec) -> None:
    """Its soft limits, as far as the host's hard ones go."""
    for name, most in spec.limits.items():
        limit = getattr(resource, f"RLIMIT_{name.upper()}")
        _, hard = resource.getrlimit(limit)
        unbound = resource.RLIM_INFINITY
        soft = hard if most == unbound or (hard != unbound and most > hard) else most
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(limit, (soft, hard))


def _arguments(spec: Spec) -> list[str]:
    return [*spec.argv[1:], *resume_arguments(spec)]


def resume_arguments(spec: Spec) -> tuple[str, ...]:
    """What its command gets beside its own arguments."""
    return spec.resume_args if spec.resume else ()


def environment(spec: Spec, brought: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """The whole environment of a workload's command.

    Args:
        spec: What it is told wins over what it brings, but for `YIELDS`.
        brought: What it brings.
    """
    name, _, value = marker(spec.workload).partition("=")
    hook = {"TEG_CHECKPOINT": spec.hook.checkpoint, "TEG_MARK": spec.hook.mark} if spec.hook else {}
    told = {entry: text for entry, text in spec.env.items() if entry not in YIELDS or entry not in brought}
    resumes = dict(entry.split("=", 1) for entry in comeback.told(spec.resume_args)) if spec.resume else {}
    return {**brought, **told, name: value, **hook, **resumes}


def brought(spec: Spec) -> dict[str, str]:
    """The environment that a workload brings, from its file: lines `export NAME='value'`.

    Raises:
        OSError: If it cannot be read, or is no such file.
    """
    if not spec.environment:
        return {}
    text = Path(spec.environment).read_text(errors="surrogateescape")
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise OSError(f"{spec.environment}: {error}") from None
    entries = (word.partition("=") for word in words if word != "export")
    return {name: value for name, _, value in entries}


def _leave_our_rank() -> None:
    """A workload is to be killed for memory before the airlock is, and inherits neither its exemption nor its haste."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, _OPEN_FILES)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)
        Path("/proc/self/oom_score_adj").write_text("0")


def _drop(uid: int, gid: int) -> None:
    if (uid, gid) == (os.geteuid(), os.getegid()):
        return
    try:
        os.initgroups(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        os.setgroups([gid])
    os.setgid(gid)
    os.setuid(uid)


def in_group(uid: int, gid: int) -> bool:
    """Whether the system's databases have a user in a group."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return False
    return gid in os.getgrouplist(entry.pw_name, entry.pw_gid)


@contextlib.contextmanager
def _as_user(uid: int, gid: int) -> Iterator[None]:
    """Look at files with a user's rights, in this thread alone: the others go on with ours (setfsuid(2)).

    Raises:
        PermissionError: If we may not.
    """
    own_uid, own_gid = os.geteuid(), os.getegid()
    try:
        for become, wanted in ((_libc.setfsgid, gid), (_libc.setfsuid, uid)):
            become(ctypes.c_uint32(wanted))
            if become(_UNCHANGED) != ctypes.c_int32(wanted).value:
                raise PermissionError(errno.EPERM, f"cannot act as {uid}:{gid}")
        yield
    finally:
        _libc.setfsuid(ctypes.c_uint32(own_uid))
        _libc.setfsgid(ctypes.c_uint32(own_gid))
