"""This terminal for a job on this host (`tegctl run --pty`): keys and sizes go to it, its output comes back.

The job's side (`tegd.terminal`) comes to a socket in a folder that is the user's own. While it is attached the terminal
is raw: Ctrl-C is a key like any other. However it ends, also by a signal, the terminal is as it was.
"""

import contextlib
import fcntl
import os
import select
import shutil
import signal
import socket
import struct
import sys
import tempfile
import termios
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from tegcore.errors import RefusedError
from tegio import terminal

LOOK_S = 0.5
"""So often it is looked whether the job has ended before it came."""
_CHUNK_BYTES = 32 << 10
_UNSENT_BYTES_MAX = 64 << 10
"""Of what was typed and the job has not taken yet: then nothing more is read."""
_CREDENTIALS = struct.Struct("3i")


def demand() -> None:
    """Refuse where there is no terminal to give.

    Raises:
        RefusedError: Says so.
    """
    if not (os.isatty(0) and os.isatty(1)):
        raise RefusedError(
            "--pty gives the job this terminal, and standard input or output here is none",
            "leave --pty out: output comes as it is written, and a pipe or a file is its standard input",
        )


class Listening:
    """Where the job's side comes to, for as long as it is entered."""

    def __enter__(self) -> Self:
        runtime = os.environ.get("XDG_RUNTIME_DIR", "")
        self._folder = Path(tempfile.mkdtemp(prefix="teg-", dir=runtime if Path(runtime or "-").is_dir() else None))
        self.path = self._folder / "terminal"
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(self.path))
        self._socket.listen(1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def attached(self, is_over: Callable[[], bool]) -> bool:
        """Carry this terminal until the job's side goes; whether it ever came.

        Args:
            is_over: Whether the job has ended without it.
        """
        while not select.select([self._socket], [], [], LOOK_S)[0]:
            if is_over():
                return False
        link, _ = self._socket.accept()
        with link:
            _, uid, _ = _CREDENTIALS.unpack(link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
            if uid != os.geteuid():
                raise RefusedError(f"user {uid} came to this terminal: it was not given to it", "run it again")
            with _raw(), _resized() as resized:
                _carry(link, resized)
        return True


def _carry(link: socket.socket, resized: socket.socket) -> None:
    """Both ways at once: a job that does not read what is typed still shows what it writes."""
    link.setblocking(False)
    unsent = bytearray(terminal.size(*_size()))
    while True:
        wanted: list[int | socket.socket] = [link, resized, *([0] if len(unsent) < _UNSENT_BYTES_MAX else [])]
        ready, room, _ = select.select(wanted, [link] if unsent else [], [])
        if link in ready:
            try:
                shown = link.recv(_CHUNK_BYTES)
            except ConnectionResetError:
                shown = b""
            if not shown:
                return
            _write(shown)
        if resized in ready:
            resized.recv(_CHUNK_BYTES)
            unsent += terminal.size(*_size())
        if 0 in ready:
            typed = os.read(0, _CHUNK_BYTES)
            if not typed:
                return
            unsent += terminal.keys(typed)
        if room:
            try:
                del unsent[: link.send(unsent)]
            except (BrokenPipeError, ConnectionResetError):
                unsent.clear()  # its last output is yet to be read


def _write(shown: bytes) -> None:
    while shown:
        shown = shown[os.write(1, shown) :]


def _size() -> tuple[int, int]:
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8))
    return rows, columns


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    """Every key as it is; afterwards as before."""
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0, termios.TCSADRAIN)  # what was typed ahead is kept
        yield
    finally:
        with contextlib.suppress(termios.error, OSError):
            termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _resized() -> Iterator[socket.socket]:
    """Has something to read when the window has another size."""
    ear, mouth = socket.socketpair()
    mouth.setblocking(False)

    def told(*_: object) -> None:
        with contextlib.suppress(BlockingIOError):
            mouth.send(b"w")

    before = signal.signal(signal.SIGWINCH, told)
    try:
        yield ear
    finally:
        signal.signal(signal.SIGWINCH, before)
        ear.close()
        mouth.close()


@contextlib.contextmanager
def ended_in_order() -> Iterator[None]:
    """SIGTERM and a closed terminal end this program through what is to be done at its end."""

    def leave(signum: int, _: object) -> NoReturn:
        sys.exit(128 + signum)

    before = {signum: signal.signal(signum, leave) for signum in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
