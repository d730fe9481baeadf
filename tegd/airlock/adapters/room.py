"""Free space where checkpoints go, looked at from a thread: a dead file server holds up nobody else."""

import os
import threading
import time
from pathlib import Path

LOOK_S = 2.0


class Room:
    """Looks at folders again and again.

    The loop adds and takes away while the thread looks, which therefore works on copies.
    """

    def __init__(self) -> None:
        self._free: dict[Path, int] = {}
        self._wanted: set[Path] = set()
        threading.Thread(target=self._run, name="room", daemon=True).start()

    def free_bytes(self, folder: Path) -> int:
        """What was free there not long ago; 0 while that is not known."""
        self._wanted.add(folder)
        return self._free.get(folder, 0)

    def forget(self, folder: Path) -> None:
        """A folder that nobody writes to any more."""
        self._wanted.discard(folder)
        self._free.pop(folder, None)

    def _run(self) -> None:
        while True:
            for folder in tuple(self._wanted):
                self._free[folder] = _free_bytes(folder)
            wanted = tuple(self._wanted)
            for folder in set(self._free) - set(wanted):
                self._free.pop(folder, None)
            time.sleep(LOOK_S if all(folder in self._free for folder in wanted) else LOOK_S / 20)


def _free_bytes(folder: Path) -> int:
    try:
        about = os.statvfs(folder)
    except OSError:
        return 0
    return about.f_bavail * about.f_frsize
