"""Makes checkpoints durable, in a thread: a slow disk holds up nothing else, and no process is forked for it."""

import os
import stat
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from tegd.airlock.model import Spec


class Flushed(NamedTuple):
    """What came of one.

    Attributes:
        workload: Whose checkpoint.
        problem: Why it is not durable, for people; empty: it is.
    """

    workload: str
    problem: str


class Flusher:
    """Flushes one checkpoint after another.

    Attributes:
        ready: Descriptor that can be read when something came of one.
    """

    def __init__(self) -> None:
        self.ready = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._done: deque[Flushed] = deque()
        self._wanted: SimpleQueue[Spec] = SimpleQueue()
        threading.Thread(target=self._run, name="flush", daemon=True).start()

    def flush(self, spec: Spec) -> None:
        """Make the checkpoint of a workload, and its folder, durable."""
        self._wanted.put(spec)

    def done(self) -> list[Flushed]:
        """What came of those that were asked for."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.ready)
        return [self._done.popleft() for _ in range(len(self._done))]

    def _run(self) -> None:
        while True:
            spec = self._wanted.get()
            try:
                problem = _flushed(spec)
            except OSError as error:
                problem = f"the checkpoint {error.filename or ''}: {error.strerror}"
            self._done.append(Flushed(spec.workload, problem))
            os.eventfd_write(self.ready, 1)


def _flushed(spec: Spec) -> str:
    """A file that is not the workload's own is not taken for its checkpoint."""
    assert spec.hook is not None
    checkpoint = Path(spec.hook.checkpoint)
    file = os.open(checkpoint, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        about = os.fstat(file)
        if not stat.S_ISREG(about.st_mode) or about.st_size == 0:
            return "the checkpoint is empty or not a file"
        if about.st_uid != spec.uid:
            return f"the checkpoint belongs to uid {about.st_uid}, the workload runs as {spec.uid}"
        os.fsync(file)
    finally:
        os.close(file)
    folder = os.open(checkpoint.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return ""
