"""Control sockets: length-prefixed MessagePack over a Unix stream, and the kernel's word for who asks.

Frames, connections and idle time are bounded. A handler answers one reply, or several as an asynchronous iterator;
what it raises of `TegError` becomes a reply that says so.
"""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from tegcore.errors import DecodeError, PermissionDeniedError, RefusedError, TegError, UnavailableError
from tegcore.wire.control import CONTROL_BYTES_MAX, AnyRequest, Reply, decode_reply, decode_request
from tegio.conversations import Conversations
from tegio.logs import event
from tegio.paths import SYSTEM_RUN

IDLE_S_MAX = 60.0
ANSWER_S_MAX = 30.0
PAGE_BYTES = 1 << 20
_LENGTH = struct.Struct("<I")
_CREDENTIALS = struct.Struct("3i")


class Peer(NamedTuple):
    """Who asks, as the kernel says."""

    uid: int
    gid: int
    pid: int


Handler = Callable[[Peer, AnyRequest], Awaitable[Reply | AsyncIterator[Reply]]]


class ControlServer:
    """Answers on a control socket.

    Args:
        path: Of the socket; one left over by a dead server is replaced.
        handler: Answers each request.
        mode: Of the socket file; the handler decides what whom is answered.
    """

    def __init__(self, path: Path, handler: Handler, mode: int = 0o666) -> None:
        self._path = path
        self._handler = handler
        self._mode = mode
        self._server: asyncio.Server | None = None
        self._conversations = Conversations(self._converse)

    async def start(self) -> None:
        """Listen.

        Raises:
            UnavailableError: If a living server has the socket.
        """
        if self._path.exists():
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(self._path)) == 0:
                    raise UnavailableError(f"{self._path} is in use", "is the program running already?")
            self._path.unlink()
        self._server = await asyncio.start_unix_server(
            self._conversations.begin, str(self._path), limit=CONTROL_BYTES_MAX
        )
        self._path.chmod(self._mode)

    async def stop(self) -> None:
        """Stop listening, end what is under way, and take the socket away."""
        await self._conversations.end(self._server)
        self._path.unlink(missing_ok=True)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        channel: socket.socket = writer.get_extra_info("socket")
        raw = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, gid = _CREDENTIALS.unpack(raw)
        while True:
            head = await asyncio.wait_for(reader.readexactly(_LENGTH.size), IDLE_S_MAX)
            (length,) = _LENGTH.unpack(head)
            if length > CONTROL_BYTES_MAX:
                await _send(writer, Reply(ok=False, reason="UNDECODABLE", message=f"a request of {length} bytes"))
                return
            body = await asyncio.wait_for(reader.readexactly(length), IDLE_S_MAX)
            async for reply in self._answers(Peer(uid, gid, pid), body):
                await _send(writer, reply)

    async def _answers(self, peer: Peer, body: bytes) -> AsyncIterator[Reply]:
        try:
            answer = await self._handler(peer, decode_request(body))
            if isinstance(answer, Reply):
                for page in _pages(answer):
                    yield page
                return
            async for reply in answer:
                yield reply
        except TegError as error:
            event("control.refused", uid=peer.uid, error=error)
            yield Reply(ok=False, reason=type(error).__name__, message=str(error), hint=error.hint)
        except Exception as error:
            logging.getLogger("teg").exception("control.fault")
            yield Reply(ok=False, reason="FAULT", message=f"{type(error).__name__}: {error}", hint="see the log")


def _pages(reply: Reply) -> Iterator[Reply]:
    """An answer in parts of a bounded size, where it is a long list; `ControlClient.ask` puts it together again."""
    rows = reply.data
    if not isinstance(rows, list) or len(rows) < 2:
        yield reply
        return
    start, size = 0, 0
    for number, row in enumerate(rows):
        taken = len(msgspec.msgpack.encode(row))
        if number > start and size + taken > PAGE_BYTES:
            yield msgspec.structs.replace(reply, data=rows[start:number], more=True)
            start, size = number, 0
        size += taken
    yield msgspec.structs.replace(reply, data=rows[start:])


async def _send(writer: asyncio.StreamWriter, reply: Reply) -> None:
    raw = msgspec.msgpack.encode(reply)
    writer.write(_LENGTH.pack(len(raw)) + raw)
    await writer.drain()


class ControlClient:
    """Asks a program on this machine; one connection a request.

    Args:
        path: Of its socket.
        program: Its name, for messages.
        hint: What to try where nobody answers; empty: what helps on this machine.
    """

    def __init__(self, path: Path, program: str, hint: str = "") -> None:
        self._path = path
        self._program = program
        self._hint = hint

    def ask(self, request: AnyRequest) -> Reply:
        """The answer; a long list comes in parts, and is put together here.

        Raises:
            UnavailableError: If nobody answers.
            PermissionDeniedError: If the socket is closed to who asks.
            RefusedError: If the request is larger than any that is answered.
        """
        with contextlib.closing(self.stream(request)) as replies:
            first = next(replies)
            if not first.more or not isinstance(first.data, list):
                return first
            rows = [row for reply in (first, *replies) for row in reply.data]
            return msgspec.structs.replace(first, data=rows, more=False)

    def stream(self, request: AnyRequest) -> Generator[Reply]:
        """Every answer, up to the one that says no more follow."""
        raw = msgspec.msgpack.encode(request)
        if len(raw) > CONTROL_BYTES_MAX:
            what = f"the request has {len(raw) >> 10} KiB: at most {CONTROL_BYTES_MAX >> 10}"
            raise RefusedError(what, "give it fewer or smaller files")
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(ANSWER_S_MAX)
            try:
                channel.connect(str(self._path))
                channel.sendall(_LENGTH.pack(len(raw)) + raw)
                while True:
                    (length,) = _LENGTH.unpack(_receive(channel, _LENGTH.size))
                    if length > CONTROL_BYTES_MAX:
                        raise DecodeError(f"an answer of {length} bytes")
                    reply = decode_reply(_receive(channel, length))
                    yield reply
                    if not reply.more:
                        return
            except OSError as error:
                raise self._unavailable(error) from None

    def _unavailable(self, error: OSError) -> TegError:
        installed = SYSTEM_RUN in self._path.parents
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ECONNREFUSED}:
            what = f"{self._program} is not running: nobody answers at {self._path}; nothing was done"
            hint = (
                f"`systemctl start {self._program}` (operators); if it runs on another machine: `tegctl --on MACHINE …`"
            )
            here = (
                hint
                if installed
                else "`tegctl up` in another terminal starts it; if it has another --state: `tegctl --state FOLDER …`"
            )
            return UnavailableError(what, self._hint or here)
        if isinstance(error, PermissionError):
            what = f"{self._program} at {self._path} is another user's: {error.strerror}; nothing was done"
            return PermissionDeniedError(
                what,
                "give the command as that user (`sudo -u USER tegctl …`), or name your own folder with --state",
            )
        look = self._hint or (
            f"`journalctl -u {self._program}`"
            if installed
            else f"see {self._path.parent.parent / self._program}.log, then give the command again"
        )
        if isinstance(error, TimeoutError):
            return UnavailableError(
                f"{self._program} gave no answer in {ANSWER_S_MAX:.0f} s: whether it did what was asked is not known",
                look,
            )
        if error.errno is None:
            return UnavailableError(f"{self._path}: {error}", "name a state folder with a shorter path")
        return UnavailableError(f"{self._program} at {self._path}: {error.strerror}", look)


def _receive(channel: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = channel.recv(count - len(parts))
        if not part:
            what = "it went away before it answered: whether it did what was asked is not known"
            raise ConnectionResetError(errno.ECONNRESET, what)
        parts += part
    return bytes(parts)


def own_uid() -> int:
    """The user that this program runs as: an operator of what it runs."""
    return os.geteuid()
