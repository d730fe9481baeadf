"""Freezes a workload the moment its hook makes its mark: what it did from there on would be lost when it is ended.

The kernel tells of new files in a folder (inotify(7)); a thread that does nothing else hears of it. Where it cannot be
heard, the loop finds the mark by looking.
"""

import ctypes
import os
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_CLOSE_WRITE, _MOVED_TO, _CREATE = 0x8, 0x80, 0x100
_HEAD = struct.Struct("iIII")
_READ_BYTES = 16 << 10


class Marks:
    """Watches for marks, one folder a workload."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._ear = self._libc.inotify_init1(os.O_CLOEXEC)
        self._wanted: dict[int, dict[str, tuple[str, Callable[[], None]]]] = {}
        self._lock = threading.Lock()
        if self._ear >= 0:
            threading.Thread(target=self._run, name="marks", daemon=True).start()

    def watch(self, workload: str, mark: str, seen: Callable[[], None]) -> bool:
        """Call `seen` in the thread whenever a file of that path is made or takes the place of another.

        Returns:
            Whether that will be heard.
        """
        path = Path(mark)
        with self._lock:
            events = _CLOSE_WRITE | _MOVED_TO | _CREATE
            number = self._libc.inotify_add_watch(self._ear, os.fsencode(path.parent), events) if self._ear >= 0 else -1
            if number >= 0:
                self._wanted.setdefault(number, {})[workload] = (path.name, seen)
        return number >= 0

    def forget(self, workload: str) -> None:
        """Nothing more is to be seen of a workload."""
        with self._lock:
            for number, wanted in list(self._wanted.items()):
                if wanted.pop(workload, None) and not wanted:
                    del self._wanted[number]
                    self._libc.inotify_rm_watch(self._ear, number)

    def _run(self) -> None:
        while True:
            heard = os.read(self._ear, _READ_BYTES)
            at = 0
            while at < len(heard):
                number, _, _, length = _HEAD.unpack_from(heard, at)
                at += _HEAD.size + length
                name = os.fsdecode(heard[at - length : at].rstrip(b"\0"))
                with self._lock:
                    for wanted, seen in self._wanted.get(number, {}).values():
                        if wanted == name:
                            with suppress(OSError):
                                seen()
