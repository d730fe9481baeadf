"""Parking: pages of a frozen group go out to zRAM by small writes to memory.reclaim, in a thread of their own.

One write blocks its writer for as long as the kernel takes, seconds under load, and its error says little: EAGAIN also
when all was reclaimed. What came of it shows in the group's own counts.
"""

import os
import threading
from contextlib import suppress
from pathlib import Path

WRITE_BYTES = 4 << 20


class Reclaimer:
    """One request at a time; while one is under way, others are dropped: the next reading asks again."""

    def __init__(self) -> None:
        self._wanted: tuple[Path, int] | None = None
        self._wake = threading.Condition()
        threading.Thread(target=self._run, name="reclaim", daemon=True).start()

    def park(self, folder: Path, count: int) -> None:
        """Push this many bytes of a group out."""
        with self._wake:
            if self._wanted is None:
                self._wanted = folder, count
                self._wake.notify()

    def _run(self) -> None:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 0)
        while True:
            with self._wake:
                while self._wanted is None:
                    self._wake.wait()
                folder, count = self._wanted
            with suppress(OSError):
                _reclaim(folder, count)
            with self._wake:
                self._wanted = None


def _reclaim(folder: Path, count: int) -> None:
    file = os.open(folder / "memory.reclaim", os.O_WRONLY | os.O_CLOEXEC)
    try:
        for _ in range(-(-count // WRITE_BYTES)):
            os.write(file, str(min(count, WRITE_BYTES)).encode())
    finally:
        os.close(file)
