"""What a process is to be made again from: all that is to be seen of it in /proc while it is asked to save.

It is kept in a file of root's: its environment may hold what is nobody else's to see.
"""

import os
import re
import resource
from contextlib import suppress
from pathlib import Path
from typing import Any

from tegd.airlock.adapters import procfs

ENVIRON_BYTES_MAX = 1 << 20
ARGV_BYTES_MAX = 1 << 20
_LIMITS = tuple(name for name in dir(resource) if name.startswith("RLIMIT_"))
_STREAMS = ("input", "output", "error output")
_NAMELESS = re.compile(r"(pipe|socket|anon_inode):|/memfd:")


def read(pid: int, argv_more: tuple[str, ...], told: tuple[str, ...]) -> dict[str, Any]:
    """What is to be seen of a process.

    Args:
        pid: Its pid: it lives.
        argv_more: Put after its command.
        told: Entries put into its environment.

    Raises:
        OSError: If it has gone meanwhile, or is not shown to us.
    """
    status = procfs.lines(pid)
    env = environment(pid)
    return {
        "argv": [*command(pid), *argv_more],
        "exe": os.readlink(f"/proc/{pid}/exe"),  # noqa: PTH115 - of proc, by number
        "env": env | dict(entry.split("=", 1) for entry in told),
        "cwd": os.readlink(f"/proc/{pid}/cwd"),  # noqa: PTH115 - as above
        "umask": int(status.get("Umask", "0022"), 8),
        "uid": int(status["Uid"].split()[1]),
        "gid": int(status["Gid"].split()[1]),
        "groups": [int(word) for word in status.get("Groups", "").split()],
        "ignored": int(status.get("SigIgn", "0"), 16),
        "limits": {name: resource.prlimit(pid, getattr(resource, name)) for name in _LIMITS},
        "nice": os.getpriority(os.PRIO_PROCESS, pid),
        "cpus": sorted(os.sched_getaffinity(pid)),
        "streams": [_stream(pid, number) for number in range(3)],
    }


def command(pid: int) -> tuple[str, ...]:
    """Its command, as it says itself.

    Raises:
        OSError: As `read`.
    """
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return tuple(os.fsdecode(word) for word in file.read(ARGV_BYTES_MAX).removesuffix(b"\0").split(b"\0"))


def environment(pid: int) -> dict[str, str]:
    """Its environment, as it was when its program began.

    Raises:
        OSError: As `read`.
    """
    with open(f"/proc/{pid}/environ", "rb") as file:
        entries = file.read(ENVIRON_BYTES_MAX).split(b"\0")
    pairs = (os.fsdecode(entry).partition("=") for entry in entries if b"=" in entry)
    return {name: value for name, _, value in pairs}


def titled(pid: int, argv: tuple[str, ...]) -> bool:
    """Whether its command is a title: one word, which names no program, or not the one that it runs."""
    return not any(argv[1:]) and not _runs(pid, argv[0])


def runs(pid: int, program: str) -> bool:
    """Whether it runs a program, or what interprets that.

    Args:
        pid: Its pid.
        program: Path, as the service manager has it.
    """
    inside = f"/proc/{pid}/root{program}"
    with suppress(OSError):
        if Path(inside).samefile(f"/proc/{pid}/exe"):
            return True
        with open(inside, "rb") as file:
            first = file.readline(256)
        if first.startswith(b"#!") and (words := os.fsdecode(first[2:]).split()):
            by = words[1] if Path(words[0]).name == "env" and len(words) > 1 else words[0]
            return _runs(pid, by)
    return False


def lost(seen: dict[str, Any], pid: int) -> str:
    """Streams that were no files, and that no start can open again: pipes and connections but for the manager's own."""
    gone = []
    for number in (1, 2):
        with suppress(OSError):
            path = os.readlink(f"/proc/{pid}/fd/{number}")  # noqa: PTH115 - as above
            if seen["streams"][number] is None and path.startswith("pipe:"):
                gone.append(_STREAMS[number])
    return f"its {' and '.join(gone)} went into a pipe, and goes where its unit says when it comes back" if gone else ""


def _runs(pid: int, name: str) -> bool:
    """Whether a name is the program that it runs, by its path and folder."""
    root = f"/proc/{pid}/root"
    try:
        cwd = os.readlink(f"/proc/{pid}/cwd")  # noqa: PTH115 - as above
        path = environment(pid).get("PATH", os.defpath)
    except OSError:
        return False
    if "/" in name:
        found = [name if name.startswith("/") else f"{cwd}/{name}"]
    else:
        found = [f"{folder}/{name}" for folder in f"{path}:{os.defpath}".split(":")]
    for each in found:
        with suppress(OSError):
            if Path(root + each).samefile(f"/proc/{pid}/exe"):
                return True
    return False


def _stream(pid: int, number: int) -> dict[str, Any] | None:
    """One that can be opened again: a file that is still there, or a device."""
    with suppress(OSError, ValueError):
        path = os.readlink(f"/proc/{pid}/fd/{number}")  # noqa: PTH115 - as above
        if _NAMELESS.match(path) or not Path(f"/proc/{pid}/root{path}").samefile(f"/proc/{pid}/fd/{number}"):
            return None
        with open(f"/proc/{pid}/fdinfo/{number}", "rb") as file:
            flags = int(file.read(4096).partition(b"flags:")[2].split(None, 1)[0], 8)
        about = os.stat(f"/proc/{pid}/fd/{number}")  # noqa: PTH116 - of proc, by number
        return {"path": path, "flags": flags, "device": about.st_dev, "inode": about.st_ino}
    return None
