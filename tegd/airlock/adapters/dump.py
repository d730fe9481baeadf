"""The dumper, as the airlock asks it: from a thread, one request at a time, with an answer some time.

A dump is never given up while it may be under way: where the dumper has gone, it is asked again under the same number
until it answers, or until it has not been there for `PATIENCE_S` and nobody works on the image.
"""

import os
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from tegd.airlock.dumper import images
from tegd.airlock.dumper.requests import PACKET_BYTES_MAX, Answer, Request, decode_answer, encode

PATIENCE_S = 10.0
_PAUSE_S = 0.2


class Answered(NamedTuple):
    """What came of one.

    Attributes:
        workload: Whose processes.
        request: What was asked.
        answer: See there.
    """

    workload: str
    request: Request
    answer: Answer


class Dumper:
    """Asks one thing after another.

    Args:
        path: The dumper's socket.

    Attributes:
        ready: Descriptor that can be read when something was answered.
    """

    def __init__(self, path: Path) -> None:
        self.ready = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._path = path
        self._answered: deque[Answered] = deque()
        self._wanted: SimpleQueue[tuple[str, Request]] = SimpleQueue()
        self._link: socket.socket | None = None
        threading.Thread(target=self._run, name="dump", daemon=True).start()

    def ask(self, workload: str, request: Request) -> None:
        """Ask for something."""
        self._wanted.put((workload, request))

    def answered(self) -> list[Answered]:
        """What came of it."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.ready)
        return [self._answered.popleft() for _ in range(len(self._answered))]

    def _run(self) -> None:
        while True:
            workload, request = self._wanted.get()
            self._answered.append(Answered(workload, request, self._answer(request)))
            os.eventfd_write(self.ready, 1)

    def _answer(self, request: Request) -> Answer:
        missed = 0.0
        while missed < PATIENCE_S or images.busy(Path(request.folder)):
            try:
                return self._asked(request)
            except (OSError, ValueError, KeyError):
                self._link = None
            time.sleep(_PAUSE_S)
            missed += _PAUSE_S
        return Answer("the CRIU service does not answer: look whether teg-criu.service runs")

    def _asked(self, request: Request) -> Answer:
        if self._link is None:
            link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            link.connect(str(self._path))
            self._link = link
        self._link.send(encode(request), socket.MSG_NOSIGNAL)
        packet = self._link.recv(PACKET_BYTES_MAX)
        if not packet:
            raise ConnectionError
        return decode_answer(packet)
