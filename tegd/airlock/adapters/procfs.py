"""Processes as /proc names them: a pid and a start time together name one process for ever, a pid alone does not."""

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_COMMAND_BYTES_MAX = 4096
_STATUS_BYTES_MAX = 1 << 20
"""A user may be in 65,536 groups, and each is named."""


class Process(NamedTuple):
    """What /proc/PID/stat says of a process.

    Attributes:
        pid: Process id.
        state: One letter of proc(5); Z and X are dead, T is stopped.
        parent: Its parent's pid.
        session: Its session's leader.
        start_ticks: Start time after boot, in the kernel's clock ticks.
        cpu_ns: Time on processors, its reaped children's included.
        rss_bytes: Resident memory.
    """

    pid: int
    state: str
    parent: int
    session: int
    start_ticks: int
    cpu_ns: int
    rss_bytes: int

    @property
    def dead(self) -> bool:
        """Whether it has ended, reaped or not."""
        return self.state in "ZXx"


def parse_stat(text: bytes) -> Process:
    """Read one /proc/PID/stat; the command's name may hold anything, spaces and brackets too."""
    pid, _, rest = text.partition(b" (")
    fields = rest[rest.rindex(b")") + 2 :].split()
    cpu = sum(map(int, fields[11:15]))
    return Process(
        int(pid),
        fields[0].decode(),
        int(fields[1]),
        int(fields[3]),
        int(fields[19]),
        cpu * _TICK_NS,
        int(fields[21]) * _PAGE_BYTES,
    )


def process(pid: int) -> Process | None:
    """The process of a pid, or None where there is none, or none that is shown to us (hidepid, proc(5))."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return None
    try:
        return parse_stat(os.read(descriptor, 1024))
    except ProcessLookupError:
        return None
    finally:
        os.close(descriptor)


def processes() -> Iterator[Process]:
    """All that run now, in one pass that forks may escape."""
    with os.scandir("/proc") as entries:
        pids = [int(entry.name) for entry in entries if entry.name.isdigit()]
    for pid in pids:
        if (found := process(pid)) is not None:
            yield found


def catches(pid: int, signum: int) -> bool:
    """Whether a process has a handler for a signal: without one, the signal would end it."""
    return bool(int(_word(_status(pid), b"SigCgt:") or b"0", 16) >> (signum - 1) & 1)


def command(pid: int) -> bytes:
    """Its command line, or the beginning of it, as it says itself; nothing when it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read(_COMMAND_BYTES_MAX)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


def private_bytes(pid: int) -> int:
    """Pages of a process that are in no file, in memory and in swap; 0 when it is gone."""
    text = _status(pid)
    return sum(int(_word(text, name) or b"0") for name in (b"RssAnon:", b"RssShmem:", b"VmSwap:")) * 1024


def _status(pid: int) -> bytes:
    """What /proc/PID/status says; nothing when it is gone. Its line of groups, before all else of use, may be long."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            return file.read(_STATUS_BYTES_MAX)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


def user(pid: int) -> tuple[int, int] | None:
    """The effective user and group of a process; None: it is gone."""
    found = lines(pid)
    with suppress(KeyError, IndexError, ValueError):
        return int(found["Uid"].split()[1]), int(found["Gid"].split()[1])
    return None


def lines(pid: int) -> dict[str, str]:
    """What /proc/PID/status says, by name; nothing when it is gone."""
    pairs = (line.decode(errors="replace").partition(":") for line in _status(pid).split(b"\n"))
    return {name: value.strip() for name, _, value in pairs}


def _word(text: bytes, name: bytes) -> bytes:
    """The first word of a line; nothing where there is none."""
    found = text.partition(b"\n" + name)[2].split(None, 1)
    return found[0] if found else b""


def writers(pids: list[int], device: int, inode: int) -> list[int]:
    """Which of these processes have a file open for writing."""
    found = []
    for pid in pids:
        with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
            found += [pid for entry in entries if _writes(pid, entry, device, inode)]
    return found


def _writes(pid: int, entry: os.DirEntry[str], device: int, inode: int) -> bool:
    try:
        about = entry.stat()
        if (about.st_dev, about.st_ino) != (device, inode):
            return False
        with open(f"/proc/{pid}/fdinfo/{entry.name}", "rb", buffering=0) as file:
            flags = file.read(4096).partition(b"flags:")[2].split(None, 1)[0]
    except OSError:
        return False
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY


def marked(*markers: str) -> Iterator[Process]:
    """Those that were started with all these entries in their environment and are not dead."""
    wanted = [b"\0" + marker.encode() + b"\0" for marker in markers]
    for found in processes():
        try:
            with open(f"/proc/{found.pid}/environ", "rb", buffering=0) as file:
                environ = file.read(1 << 20)
        except OSError:
            continue
        if not found.dead and all(entry in b"\0" + environ for entry in wanted):
            yield found
