"""A host's memory as the kernel tells it: /proc/meminfo, zRAM's own counts, swap, and what each group holds.

Files stay open and are read from their start: no path is looked up while memory is short.
"""

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_KIB = 1024
_FILE_BYTES_MAX = 16 << 10
_ZRAM = re.compile(r"/dev/zram\d+")


class HostMemory(NamedTuple):
    """What `readings.Reading` says of the host itself, in bytes, under the same names."""

    total_bytes: int
    available_bytes: int
    zram_free_bytes: int
    zram_stored_bytes: int
    zram_used_bytes: int
    swap_free_bytes: int
    swap_used_bytes: int


class GroupMemory(NamedTuple):
    """What one group holds.

    Attributes:
        resident_bytes: Its own pages in memory: without files that can be read again.
        swapped_bytes: Its pages in swap.
        high_events: How often it was throttled at its memory.high.
    """

    resident_bytes: int
    swapped_bytes: int
    high_events: int


class MemoryReader:
    """Reads the host.

    Args:
        proc: Where proc is.
        block: Where block devices are described.
    """

    def __init__(self, proc: Path = Path("/proc"), block: Path = Path("/sys/block")) -> None:
        self._block = block
        self._meminfo = _opened(proc / "meminfo")
        self._swaps = _opened(proc / "swaps")
        self._zram: dict[str, int] = {}

    def host(self) -> HostMemory:
        """How it stands now."""
        info = _text(self._meminfo)
        stored = used = zram_free = disk_free = disk_used = 0
        for line in _text(self._swaps).splitlines()[1:]:
            name, _, size, taken = line.split()[:4]
            free = (int(size) - int(taken)) * _KIB
            if _ZRAM.fullmatch(name):
                counts = self._counts(name.rpartition("/")[2])
                stored, used, zram_free = stored + counts[0], used + counts[2], zram_free + free
            else:
                disk_free, disk_used = disk_free + free, disk_used + int(taken) * _KIB
        total, available = _field(info, "MemTotal:"), _field(info, "MemAvailable:")
        return HostMemory(total, available, zram_free, stored, used, disk_free, disk_used)

    def _counts(self, device: str) -> list[int]:
        if device not in self._zram:
            self._zram[device] = _opened(self._block / device / "mm_stat")
        return [int(word) for word in _text(self._zram[device]).split()]


class GroupReader:
    """Reads groups; a group that is gone holds nothing, and on a kernel without swap none of it is there."""

    def __init__(self) -> None:
        self._files: dict[Path, dict[str, int]] = {}

    def group(self, folder: Path) -> GroupMemory:
        """What it holds now."""
        try:
            files = self._files.setdefault(folder, {})
            for name in ("memory.stat", "memory.events", "memory.swap.current"):
                if name not in files and (name != "memory.swap.current" or (folder / name).exists()):
                    files[name] = _opened(folder / name)
            said = {name: _text(file) for name, file in files.items()}
        except OSError:
            self.forget(folder)
            return GroupMemory(0, 0, 0)
        resident = _count(said["memory.stat"], "anon ") + _count(said["memory.stat"], "shmem ")
        return GroupMemory(resident, int(said.get("memory.swap.current", 0)), _count(said["memory.events"], "high "))

    def forget(self, folder: Path) -> None:
        """Close its files."""
        for file in self._files.pop(folder, {}).values():
            with suppress(OSError):
                os.close(file)


def watch_stalls(proc: Path = Path("/proc")) -> int | None:
    """A descriptor that is ready (EPOLLPRI) when some task has stalled on memory for 100 ms within 1 s (PSI)."""
    try:
        file = os.open(proc / "pressure/memory", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        os.write(file, b"some 100000 1000000\0")
    except OSError:
        os.close(file)
        return None
    return file


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _text(file: int) -> str:
    return os.pread(file, _FILE_BYTES_MAX, 0).decode()


def _field(info: str, name: str) -> int:
    return _count(info, name) * _KIB


def _count(text: str, name: str) -> int:
    at = 0 if text.startswith(name) else text.find("\n" + name) + 1
    if at == 0 and not text.startswith(name):
        return 0
    return int(text[at + len(name) : at + len(name) + 40].split(None, 1)[0])
