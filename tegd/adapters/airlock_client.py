"""The airlock side, as the agent side sees it: calls, events, and a connection that comes back by itself.

What happened while there was no connection was not heard: when it is back, the event `reconnected` says so, and whoever
listens is to ask for `list` again.
"""

import asyncio
import itertools
import json
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tegcore.backoff import Backoff
from tegcore.errors import RefusedError, UnavailableError
from tegd.airlock.protocol import PACKET_BYTES_MAX, VERSION
from tegio.logs import event

RECONNECT_S_MIN, RECONNECT_S_MAX = 0.05, 2.0
STEADY_S = 5.0
START_S_MAX = 30.0
CALLS_MAX = 32
"""Calls under way: the answers to all of them are within what the airlock side can send before they are read."""
CALL_S_MAX = 20.0
"""A start may wait 5 s for a working folder, and so may those asked for before it."""


class AirlockRefusedError(RefusedError):
    """The airlock side did not take a request.

    Attributes:
        reason: One of `tegd.airlock.protocol.Reason`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class AirlockClient:
    """One connection to the airlock side.

    Args:
        path: Its socket.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._link: socket.socket | None = None
        self._numbers = itertools.count(1)
        self._calls: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._listeners: list[Callable[[dict[str, Any]], None]] = []
        self._met = asyncio.Event()
        self._sending = asyncio.Lock()
        self._room = asyncio.Semaphore(CALLS_MAX)
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._link is not None

    def on_event(self, listener: Callable[[dict[str, Any]], None]) -> None:
        """Hand each event to a listener: a workload as `list` gives it, with `event`; or `reconnected` alone."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Connect, and stay connected until `stop`.

        Raises:
            UnavailableError: If nobody answers within `START_S_MAX`.
        """
        self._task = asyncio.create_task(self._keep())
        try:
            async with asyncio.timeout(START_S_MAX):
                await self._met.wait()
        except TimeoutError as error:
            await self.stop()
            raise self._unavailable(f"nobody answers in {START_S_MAX:g} s") from error

    async def stop(self) -> None:
        """Let go; calls under way end with an error."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def call(self, verb: str, **fields: Any) -> dict[str, Any]:
        """Ask for one thing.

        Args:
            verb: One of `tegd.airlock.protocol.VERBS`.
            **fields: All fields of that verb.

        Returns:
            What the verb gives: for most, the workload as it then is.

        Raises:
            AirlockRefusedError: If it was not taken.
            UnavailableError: If there is no connection, it ends meanwhile, or no reply comes in `CALL_S_MAX`. Whether
                it was done is then not known: every verb may be asked again.
        """
        number = next(self._numbers)
        packet = json.dumps({"v": VERSION, "id": number, "verb": verb, **fields}).encode()
        if len(packet) > PACKET_BYTES_MAX:
            message = f"{verb} takes {len(packet)} bytes, at most {PACKET_BYTES_MAX}: shorten the command or its env"
            raise AirlockRefusedError("too_large", message)
        if self._link is None:
            raise self._unavailable("there is no connection")
        async with self._room:
            return await self._answered(number, verb, packet)

    async def _answered(self, number: int, verb: str, packet: bytes) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        self._calls[number] = loop.create_future()
        try:
            async with asyncio.timeout(CALL_S_MAX):
                # One after the other: of two that wait for room at once, the loop would forget the first.
                async with self._sending:
                    if (link := self._link) is None:
                        raise self._unavailable("the connection ended")
                    await loop.sock_sendall(link, packet)
                reply = await self._calls[number]
        except TimeoutError as error:
            raise self._unavailable(f"no answer to {verb} in {CALL_S_MAX:g} s") from error
        except OSError as error:
            raise self._unavailable(str(error.strerror)) from error
        finally:
            call = self._calls.pop(number)
            if call.done() and not call.cancelled():
                call.exception()  # told already, where it was not awaited
        if not reply["ok"]:
            raise AirlockRefusedError(reply["reason"], reply["message"])
        return {name: value for name, value in reply.items() if name not in ("v", "id", "ok")}

    async def _keep(self) -> None:
        clock = asyncio.get_running_loop().time
        backoff = Backoff(RECONNECT_S_MIN, RECONNECT_S_MAX, STEADY_S, os.getpid())
        while True:
            begun_s = clock()
            try:
                await self._converse()
            except OSError:
                pass
            except (ValueError, TypeError) as error:
                event("airlock.unreadable", logging.WARNING, error=error)
            await asyncio.sleep(backoff.pause(clock() - begun_s))

    async def _converse(self) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) as link:
            await loop.sock_connect(link, str(self._path))
            try:
                self._link = link
                if self._met.is_set():
                    self._tell({"event": "reconnected"})
                self._met.set()
                while (arrived := await _packet(link))[0]:
                    self._take(*arrived)
            finally:
                self._link = None
                self._break_off()

    def _take(self, packet: bytes, files: list[int]) -> None:
        """One packet of the airlock side.

        Raises:
            ValueError, TypeError: If it is none: the connection begins anew, and with it what is known.
        """
        try:
            data = json.loads(packet)
            if not isinstance(data, dict):
                raise TypeError("a packet that is no object")
            call = self._calls.get(data["id"]) if "id" in data else None
            if call is not None and not call.done():
                call.set_result(data | ({"file": files.pop()} if files else {}))
            elif "event" in data:
                self._tell(data)
        finally:
            for file in files:
                os.close(file)

    def _tell(self, event: dict[str, Any]) -> None:
        """Through the loop, so that a listener's fault is the listener's and not the connection's."""
        for listener in self._listeners:
            asyncio.get_running_loop().call_soon(listener, event)

    def _break_off(self) -> None:
        for call in self._calls.values():
            if not call.done():
                call.set_exception(self._unavailable("the connection ended"))

    async def open_saved(self, folder: int, name: str, uid: int) -> int:
        """A file that a workload has written, open for reading; the caller closes it. Raises as `call` does."""
        reply = await self.call("open_saved", folder=str(folder), name=name, uid=uid)
        return int(reply["file"])

    async def open_given(self, folder: int, name: str, *, executable: bool) -> int:
        """A fresh file in the folder of work that has not run here yet; the caller closes it. Raises as `call` does."""
        reply = await self.call("open_given", folder=str(folder), name=name, executable=executable)
        return int(reply["file"])

    def _unavailable(self, why: str) -> UnavailableError:
        return UnavailableError(f"the airlock side at {self._path}: {why}", "look whether `tegd.airlock` runs")


async def _packet(link: socket.socket) -> tuple[bytes, list[int]]:
    """The next packet, and the files that came with it; an empty one at the end."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            packet, files, _, _ = socket.recv_fds(link, PACKET_BYTES_MAX, 1, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            ready = asyncio.Event()
            loop.add_reader(link, ready.set)
            try:
                await ready.wait()
            finally:
                loop.remove_reader(link)
        else:
            return packet, files
