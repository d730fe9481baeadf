"""Free space where checkpoints go, and how large they are, looked at beside the loop.

Paths are users': behind one may be a file server that does not answer, which is to hold up nobody else.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tegd.airlock.adapters.beside import Beside

LOOK_S = 2.0


class Room:
    """What was seen of folders and files not long ago; each is looked at again when it is asked for."""

    def __init__(self) -> None:
        self._beside = Beside("room")
        self._lock = threading.Lock()
        self._seen: dict[Path, int] = {}
        self._asked_s: dict[Path, float] = {}
        self._looking: set[Path] = set()

    def free_bytes(self, folder: Path) -> int:
        """What is free there; 0 while that is not known, or cannot be."""
        return self._looked(folder, _free_bytes)

    def file_bytes(self, file: Path) -> int:
        """The size of a file; 0 while that is not known, or there is none."""
        return self._looked(file, _file_bytes)

    def forget(self, path: Path) -> None:
        """Nobody asks for it any more."""
        with self._lock:
            self._asked_s.pop(path, None)
            self._seen.pop(path, None)

    def _looked(self, path: Path, look: Callable[[Path], int]) -> int:
        now_s = time.monotonic()
        with self._lock:
            asked_s = self._asked_s.get(path)
            if path not in self._looking and (asked_s is None or now_s - asked_s >= LOOK_S):
                self._asked_s[path] = now_s
                self._looking.add(path)
                self._beside.do(path, lambda: self._look(path, look))
            return self._seen.get(path, 0)

    def _look(self, path: Path, look: Callable[[Path], int]) -> None:
        count = look(path)
        with self._lock:
            self._looking.discard(path)
            if path in self._asked_s:
                self._seen[path] = count


def _free_bytes(folder: Path) -> int:
    try:
        about = os.statvfs(folder)
    except OSError:
        return 0
    return about.f_bavail * about.f_frsize


def _file_bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
