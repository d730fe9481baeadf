"""Parking: pages of a frozen group go out to zRAM by small writes to memory.reclaim, in a thread of their own.

One write blocks its writer for as long as the kernel takes, seconds under load, and its error says little: EAGAIN also
when all was reclaimed. What came of it shows in the group's own counts.
"""

import os
import threading
from contextlib import suppress
from pathlib import Path

_BEFORE = "trusted.teg.swap_max"
WRITE_BYTES = 4 << 20


class Reclaimer:
    """One request to park at a time: while one is under way, others are dropped, and the next reading asks again.

    Limits are set by the same thread, for the kernel pushes out at once what is above a lower one; none is dropped.
    """

    def __init__(self) -> None:
        self._wanted: tuple[Path, int] | None = None
        self._limits: dict[Path, int] = {}
        self._being_set: frozenset[Path] = frozenset()
        self._unbound: set[Path] = set()
        self._wake = threading.Condition()
        threading.Thread(target=self._run, name="reclaim", daemon=True).start()

    def park(self, folder: Path, count: int) -> None:
        """Push this many bytes of a group out."""
        with self._wake:
            if self._wanted is None:
                self._wanted = folder, count
                self._wake.notify()

    def limit(self, folder: Path, count: int) -> None:
        """Set a group's memory.high; 0: to none, which never takes long and is done at once."""
        if count == 0:
            with self._wake:
                self._limits.pop(folder, None)
                if folder in self._being_set:
                    self._unbound.add(folder)
            unbound(folder)
            return
        with self._wake:
            self._limits[folder] = count
            self._wake.notify()

    def _run(self) -> None:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 0)
        while True:
            with self._wake:
                while self._wanted is None and not self._limits:
                    self._wake.wait()
                limits, wanted = dict(self._limits), self._wanted
                self._limits.clear()
                self._unbound.clear()
                self._being_set = frozenset(limits)
            for folder, count in limits.items():
                with suppress(OSError):
                    _write(folder / "memory.high", count)
                with self._wake:
                    self._being_set -= {folder}
                    if folder in self._unbound:
                        unbound(folder)
            if wanted is not None:
                with suppress(OSError):
                    _reclaim(*wanted)
                with self._wake:
                    self._wanted = None


def unbound(folder: Path) -> None:
    """Take a group's memory.high away, where it is there."""
    with suppress(OSError):
        _write(folder / "memory.high", "max")


def shield(folder: Path) -> None:
    """Keep a group's pages in memory; what its memory.swap.max was is kept with the group itself, beyond our end."""
    with suppress(OSError):
        before = (folder / "memory.swap.max").read_bytes().strip()
        now = (folder / "memory.swap.current").read_text().strip()
        os.setxattr(folder, _BEFORE, before, os.XATTR_CREATE)
        _write(folder / "memory.swap.max", now)


def expose(folder: Path) -> None:
    """Take that back, if it was so."""
    with suppress(OSError):
        _write(folder / "memory.swap.max", os.getxattr(folder, _BEFORE).decode())
        os.removexattr(folder, _BEFORE)


def _write(file: Path, value: int | str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, str(value).encode())
    finally:
        os.close(descriptor)


def _reclaim(folder: Path, count: int) -> None:
    file = os.open(folder / "memory.reclaim", os.O_WRONLY | os.O_CLOEXEC)
    try:
        for _ in range(-(-count // WRITE_BYTES)):
            os.write(file, str(min(count, WRITE_BYTES)).encode())
    finally:
        os.close(file)
