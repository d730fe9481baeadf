"""A job's own terminal: `python -m tegd.terminal SOCKET COMMAND ...` runs it on a pseudo-terminal of this host.

It is the first process of such a job and runs as its user, with no rights of its own. What is typed and shown goes over
a socket that `tegctl run --pty` listens at, on the same host: so a restart of tegd does not touch it. Where the other
side goes, the job's terminal hangs up, as with any that is closed. It ends with the command's exit code.

A request to end (SIGTERM) goes to what runs in the foreground, and with it a hang-up where the command knows what that
is (it handles SIGHUP) or does not mind the request: a shell at its prompt.
"""

import contextlib
import fcntl
import os
import pty
import select
import signal
import socket
import struct
import sys
import termios
import time
from pathlib import Path

from tegio import terminal

CANNOT_EXECUTE, NOBODY = 126, 125
HANG_UP_S_MAX = 2.0
"""So long a command has to end once its terminal is gone."""
LAST_S_MAX = 2.0
"""So long it is tried to have the last output shown."""
FLUSH_S = 0.05
"""What was written to a terminal can be read within this."""
BUFFER_BYTES_MAX = 256 << 10
"""Nothing more is read in a direction while so much waits there to be written."""
_CHUNK_BYTES = 64 << 10
_DEFAULT_AGAIN = (signal.SIGPIPE, signal.SIGXFSZ)


class Relay:
    """Between the socket and the terminal, until the command ends or the other side goes."""

    def __init__(self, link: socket.socket, leader: int, pid: int, wakes: socket.socket) -> None:
        self._link, self._leader, self._pid, self._wakes = link, leader, pid, wakes
        self._frames = terminal.Frames()
        self._typed, self._shown = bytearray(), bytearray()
        self._code: int | None = None
        self._open = self._linked = True

    def run(self) -> int:
        """To the end; the command's exit code."""
        while self._code is None and self._linked:
            self._turn(None)
        if self._code is None:
            self._hang_up()
        until_s = time.monotonic() + LAST_S_MAX
        while self._linked and (self._open or self._shown) and time.monotonic() < until_s:
            if not self._turn(FLUSH_S) and self._open:
                self._open = False  # others may hold it open: all that is there was read
        return self._code if self._code is not None else 128 + signal.SIGKILL

    def _turn(self, wait_s: float | None) -> bool:
        """One look at all of them; whether the terminal had something to show."""
        wanted: list[int | socket.socket] = [self._wakes]
        wanted += [self._link] * (len(self._typed) < BUFFER_BYTES_MAX)
        wanted += [self._leader] * (self._open and len(self._shown) < BUFFER_BYTES_MAX)
        full: list[int | socket.socket] = [self._link] * bool(self._shown)
        full += [self._leader] * bool(self._typed and self._open)
        readable, writable, _ = select.select(wanted, full, [], wait_s)
        if self._wakes in readable:
            self._woken()
        if self._link in readable:
            self._hear()
        if self._leader in readable:
            self._show()
        if self._leader in writable:
            with contextlib.suppress(OSError):
                del self._typed[: os.write(self._leader, self._typed[:_CHUNK_BYTES])]
        if self._link in writable and self._linked:
            try:
                del self._shown[: self._link.send(self._shown)]
            except OSError:
                self._linked = False
        return self._leader in readable

    def _woken(self) -> None:
        for signum in self._wakes.recv(_CHUNK_BYTES):
            if signum == signal.SIGTERM:
                self._pass_on()
        found, status = os.waitpid(self._pid, os.WNOHANG) if self._code is None else (0, 0)
        if found:
            code = os.waitstatus_to_exitcode(status)
            self._code = code if code >= 0 else 128 - code

    def _hear(self) -> None:
        try:
            part = self._link.recv(_CHUNK_BYTES)
            for kind, body in self._frames.taken(part):
                if kind is terminal.Kind.KEYS:
                    self._typed += body
                else:
                    _resize(self._leader, *terminal.size_of(body))
        except BlockingIOError:
            return
        except (OSError, ValueError, struct.error):
            part = b""
        self._linked = self._linked and bool(part)

    def _show(self) -> None:
        try:
            part = os.read(self._leader, _CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:  # nobody holds the other end any more
            part = b""
        self._shown += part
        self._open = bool(part)

    def _pass_on(self) -> None:
        with contextlib.suppress(OSError):
            os.killpg(os.tcgetpgrp(self._leader), signal.SIGTERM)
        if _minds_hang_up_only(self._pid):
            os.kill(self._pid, signal.SIGHUP)

    def _hang_up(self) -> None:
        """The terminal is gone: what does not end by that is killed."""
        with contextlib.suppress(OSError):
            os.killpg(os.tcgetpgrp(self._leader), signal.SIGHUP)
        with contextlib.suppress(OSError):
            os.kill(self._pid, signal.SIGHUP)
            os.kill(self._pid, signal.SIGCONT)
        until_s = time.monotonic() + HANG_UP_S_MAX
        while self._code is None and time.monotonic() < until_s:
            if select.select([self._wakes], [], [], 0.1)[0]:
                self._woken()
        if self._code is None:
            os.killpg(self._pid, signal.SIGKILL)


def _resize(leader: int, rows: int, columns: int) -> None:
    fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _minds_hang_up_only(pid: int) -> bool:
    """Whether a command handles SIGHUP, or takes no notice of SIGTERM."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    masks = dict(line.split(":\t", 1) for line in status.splitlines() if line.startswith(("SigIgn", "SigCgt")))
    catches, ignores = int(masks["SigCgt"], 16), int(masks["SigIgn"], 16)
    return bool(catches >> (signal.SIGHUP - 1) & 1 or ignores >> (signal.SIGTERM - 1) & 1)


def _first_size(link: socket.socket, frames: terminal.Frames) -> tuple[int, int]:
    """How large the terminal is: the first thing that is said."""
    while part := link.recv(1):  # a byte at a time: what follows is the relay's
        for _, body in frames.taken(part):
            return terminal.size_of(body)
    raise ConnectionResetError("it went away at once")


def _in_child(follower: int, command: list[str]) -> None:
    try:
        os.login_tty(follower)
        signal.set_wakeup_fd(-1)
        for signum in (*_DEFAULT_AGAIN, signal.SIGTERM, signal.SIGCHLD):
            signal.signal(signum, signal.SIG_DFL)
        os.execvp(command[0], command)  # noqa: S606 - that is its job
    except OSError as error:
        os.write(2, f"{command[0]} cannot be executed: {error.strerror}\r\n".encode())
    finally:
        os._exit(CANNOT_EXECUTE)


def main(words: list[str]) -> int:
    """Run a command at a terminal that is carried over a socket; its exit code."""
    path, *command = words
    link = socket.socket(socket.AF_UNIX)
    try:
        link.connect(path)
        rows, columns = _first_size(link, terminal.Frames())
    except OSError as error:
        sys.stderr.write(f"its terminal is gone ({error.strerror or error}): the command was not run\n")
        return NOBODY
    wakes, ours = socket.socketpair()
    ours.setblocking(False)
    leader, follower = pty.openpty()
    _resize(leader, rows, columns)
    signal.set_wakeup_fd(ours.fileno(), warn_on_full_buffer=False)
    for signum in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(signum, lambda *_: None)
    pid = os.fork()
    if pid == 0:
        _in_child(follower, command)
    os.close(follower)
    os.set_blocking(leader, False)
    link.setblocking(False)
    return Relay(link, leader, pid, wakes).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
