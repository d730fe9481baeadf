"""Runs what may block beside the loop: what has to do with one name in order, other names beside it.

A job that blocks for ever, as on a dead file server, holds up its own name alone, and one thread with it; there are at
most `THREADS_MAX`, and beyond that jobs wait. The first thread is there from the start: none has to be made when memory
is short, if nothing blocks.
"""

import threading
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress

THREADS_MAX = 32


class Beside:
    """Threads for jobs of one kind.

    Args:
        kind: What they are called.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._jobs: deque[tuple[Hashable, Callable[[], None]]] = deque()
        self._busy: set[Hashable] = set()
        self._threads = self._idle = 0
        self._wake = threading.Condition()
        self._begin()

    def do(self, name: Hashable, job: Callable[[], None]) -> None:
        """Have a job done, after those of the same name that were asked for before."""
        with self._wake:
            self._jobs.append((name, job))
            if len(self._jobs) > self._idle and self._threads < THREADS_MAX:
                # Where there can be no more threads, it waits for one that there is.
                with suppress(RuntimeError, MemoryError):
                    self._begin()
            self._wake.notify()

    def _begin(self) -> None:
        threading.Thread(target=self._run, name=self._kind, daemon=True).start()
        self._threads += 1

    def _run(self) -> None:
        while True:
            name, job = self._next()
            job()
            with self._wake:
                self._busy.discard(name)
                self._wake.notify()

    def _next(self) -> tuple[Hashable, Callable[[], None]]:
        with self._wake:
            self._idle += 1
            while (found := next((job for job in self._jobs if job[0] not in self._busy), None)) is None:
                self._wake.wait()
            self._idle -= 1
            self._jobs.remove(found)
            self._busy.add(found[0])
            return found
