"""CRIU itself: its commands, and what its log says when it refuses.

A CRIU at work is never ended: its code is inside the processes that it dumps, and they die of what is left of it. A
group that is frozen already is dumped with `--freeze-cgroup`, without which CRIU waits for ever, and is frozen again
when CRIU is done.
"""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tegd.airlock.adapters import procfs
from tegd.airlock.dumper import images
from tegd.airlock.dumper.requests import Answer, Request, Verb

PROGRAM = "criu"
_COMMON = ("--manage-cgroups=ignore", "--file-locks", "-v2")
_GPUS = ("/dev/nvidia", "/dev/dri/", "/dev/kfd", "/dev/accel")
_LOG_BYTES_MAX = 1 << 20
_INTO = 'echo 0 > "$1/cgroup.procs" && shift && exec "$@"'
_APART = ("/usr/bin/unshare", "--pid", "--net", "--fork", "--kill-child", "--mount-proc")
_UNTRIED = "a dump was made; that it can be restored was not tried, because it has sockets or file locks"
_GONE_ROUNDS_MAX = 200


def restore_command(folder: Path) -> tuple[str, ...]:
    """What restores an image, stopped: nothing runs before the airlock has written down that it is there."""
    pid_file = ("--pidfile", str(folder / "pid"))
    ways = ("--restore-detached", "--leave-stopped", *pid_file)
    return (program(), "restore", "-D", str(folder), "-o", "restore.log", *_COMMON, *ways)


def program() -> str:
    """Where CRIU is; empty: nowhere."""
    places = (Path(folder) / PROGRAM for folder in ("/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin"))
    return next((str(place) for place in places if os.access(place, os.X_OK)), "")


def check() -> str:
    """Let CRIU learn the kernel, which it does slowly the first time; why it cannot be used, or nothing."""
    if not program():
        return f"there is no {PROGRAM}"
    return "" if _run((program(), "check")) == 0 else f"`{PROGRAM} check` refuses this kernel"


def dump(request: Request) -> Answer:
    """Dump the processes of a group that is frozen; they stay as they are."""
    folder, group = Path(request.folder), Path(request.group)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    held = images.lock(folder, wait=True)
    assert held is not None
    try:
        if (found := images.whole(folder)) is not None and found.attempt == request.attempt:
            return Answer("", found.pid)
        images.clear(folder)
        if problem := refusal(request):
            return Answer(problem)
        target = ("-t", str(request.pid), "--freeze-cgroup", str(group), "--leave-running")
        code = _run((program(), "dump", "-D", str(folder), "-o", "dump.log", *_COMMON, *target))
        problem = said(folder / "dump.log") if code else ""
        if not problem and not is_frozen(group):
            problem = "the group was not frozen when CRIU had done: what it did since is not in the image"
        tries = request.verb is Verb.PROVE and not _shares(_pids(group))
        if not problem and tries:
            problem = _tried(folder, group)
        if problem:
            images.clear(folder)
            return Answer(problem)
        images.complete(folder, images.Whole(request.attempt, request.pid))
        return Answer("", request.pid, _UNTRIED if request.verb is Verb.PROVE and not tries else "")
    finally:
        os.close(held)


def refusal(request: Request) -> str:
    """What is known to go wrong before CRIU is asked."""
    found = procfs.process(request.pid)
    if found is None or found.dead or found.start_ticks != request.start_ticks:
        return "its first process has gone"
    pids = _pids(Path(request.group))
    if request.pid not in pids:
        return f"its first process is not in {request.group}"
    if any(entry.is_dir() for entry in Path(request.group).iterdir()):
        return f"{request.group} has groups below it"
    if strangers := [pid for pid in pids if not _descends(pid, request.pid)]:
        return f"process {strangers[0]} does not descend from its first, {request.pid}"
    for pid in pids:
        for name, target in _open_files(pid):
            if target.startswith(_GPUS):
                return f"process {pid} has {target} open: only its hook can save what is on a device"
            if name in ("1", "2") and target.startswith("socket:"):
                return "its output goes to the journal, a socket: give it StandardOutput=append:FILE, or a hook"
    return "" if is_frozen(Path(request.group)) else f"{request.group} is not frozen"


def _descends(pid: int, root: int) -> bool:
    while pid not in (root, 0, 1):
        found = procfs.process(pid)
        pid = found.parent if found is not None else 0
    return pid == root


def is_frozen(group: Path) -> bool:
    """Whether the kernel says so."""
    try:
        return "frozen 1" in (group / "cgroup.events").read_text()
    except OSError:
        return False


def _tried(folder: Path, group: Path) -> str:
    """Restore an image once, beside the group and in a world of its own, where it stays stopped and is then ended."""
    beside = group.with_name(f"{group.name}.proof")
    beside.mkdir(exist_ok=True)
    try:
        command = (*_APART, *restore_command(folder))
        code = _run(("/bin/sh", "-c", _INTO, "sh", str(beside), *command))
        return said(folder / "restore.log") if code else ""
    finally:
        with suppress(OSError):
            (beside / "cgroup.kill").write_text("1")
        _removed(beside)


def _shares(pids: list[int]) -> bool:
    """Whether a second one of them, even stopped, could disturb the first: by an address, or by a lock."""
    files = [(pid, name, target) for pid in pids for name, target in _open_files(pid)]
    return any(target.startswith("socket:") or _locked(pid, name) for pid, name, target in files)


def _locked(pid: int, name: str) -> bool:
    try:
        return "\nlock:" in Path(f"/proc/{pid}/fdinfo/{name}").read_text()
    except OSError:
        return False


def _removed(group: Path) -> None:
    for _ in range(_GONE_ROUNDS_MAX):
        with suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.01)


def _pids(group: Path) -> list[int]:
    try:
        return [int(word) for word in (group / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def _open_files(pid: int) -> Iterator[tuple[str, str]]:
    with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            with suppress(OSError):
                yield entry.name, os.readlink(entry.path)  # noqa: PTH115 - of a scan


def said(log: Path) -> str:
    """The first error in a log of CRIU: those that follow come of it."""
    try:
        with log.open("rb") as file:
            lines = file.read(_LOG_BYTES_MAX).decode(errors="replace").splitlines()
    except OSError:
        lines = []
    told = next((line for line in lines if "Error (" in line), "")
    return f"CRIU: {told.partition('): ')[2] or told}" if told else f"CRIU failed, and {log} does not say why"


def _run(command: tuple[str, ...]) -> int:
    """Run to its end, however long that takes."""
    null = os.open(os.devnull, os.O_RDWR)
    try:
        ends = [(os.POSIX_SPAWN_DUP2, null, descriptor) for descriptor in (0, 1, 2)]
        pid = os.posix_spawn(command[0], command, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, file_actions=ends)
    finally:
        os.close(null)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
