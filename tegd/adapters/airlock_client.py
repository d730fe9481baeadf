"""The airlock side, as the agent side sees it: calls, events, and a connection that comes back by itself.

Each time that it (re)connects it tells an event `connected`: what happened meanwhile was not heard, so the agent is to
take the whole truth from `workloads`. The same follows when events are not taken in time: the queue is emptied, and
`connected` is told again.
"""

import asyncio
import itertools
import json
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from tegcore.errors import UnavailableError
from tegd.airlock.protocol import PACKET_BYTES_MAX, VERSION

EVENTS_MAX = 1024
RECONNECT_S = 0.2
CALL_S_MAX = 20.0
"""A start may wait 5 s for a working folder, and as many starts before it as were asked for."""

CONNECTED = {"v": VERSION, "event": "connected"}


class AirlockClient:
    """One connection to the airlock side.

    Args:
        path: Its socket.

    Attributes:
        connected: Whether it answers now.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._numbers = itertools.count(1)
        self._calls: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue(EVENTS_MAX)
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._socket is not None

    async def __aenter__(self) -> "AirlockClient":
        self._task = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def call(self, verb: str, **fields: Any) -> dict[str, Any]:
        """Ask for one thing.

        Args:
            verb: One of `tegd.airlock.protocol.VERBS`.
            **fields: All fields of that verb.

        Returns:
            The whole reply: `ok`, and either what the verb gives or `reason` and `message`.

        Raises:
            UnavailableError: If there is no connection, it ends meanwhile, or no reply comes in `CALL_S_MAX`. Whether
                it was done is then not known: every verb may be asked again.
        """
        number = next(self._numbers)
        packet = json.dumps({"v": VERSION, "id": number, "verb": verb, **fields}).encode()
        if len(packet) > PACKET_BYTES_MAX:
            message = f"{verb} takes {len(packet)} bytes, at most {PACKET_BYTES_MAX}"
            return {"ok": False, "reason": "too_large", "message": message}
        if self._socket is None:
            raise self._unavailable("there is no connection")
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._calls[number] = reply
        try:
            async with asyncio.timeout(CALL_S_MAX):
                await asyncio.get_running_loop().sock_sendall(self._socket, packet)
                return await reply
        except TimeoutError as error:
            raise self._unavailable(f"no answer to {verb} in {CALL_S_MAX:g} s") from error
        except OSError as error:
            raise self._unavailable(str(error.strerror)) from error
        finally:
            del self._calls[number]

    async def workloads(self) -> list[dict[str, Any]]:
        """Every workload that the airlock knows, by id.

        Raises:
            UnavailableError: As `call`.
        """
        found: list[dict[str, Any]] = []
        more = True
        while more:
            page = await self.call("list", after=found[-1]["workload"] if found else "")
            found += page["workloads"]
            more = page["more"]
        return found

    async def event(self) -> dict[str, Any]:
        """The next event, in order."""
        return await self._events.get()

    async def _keep(self) -> None:
        while True:
            with suppress(OSError):
                await self._converse()
            self._broken()
            await asyncio.sleep(RECONNECT_S)

    async def _converse(self) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) as link:
            await loop.sock_connect(link, str(self._path))
            try:
                self._socket = link
                self._tell(CONNECTED)
                while packet := await loop.sock_recv(link, PACKET_BYTES_MAX):
                    self._take(json.loads(packet))
            finally:
                self._socket = None

    def _take(self, data: dict[str, Any]) -> None:
        if "event" in data:
            self._tell(data)
        elif (call := self._calls.get(data["id"])) is not None and not call.done():
            call.set_result(data)

    def _tell(self, event: dict[str, Any]) -> None:
        if self._events.full():
            while not self._events.empty():
                self._events.get_nowait()
            event = CONNECTED
        self._events.put_nowait(event)

    def _broken(self) -> None:
        for call in self._calls.values():
            if not call.done():
                call.set_exception(self._unavailable("the connection ended"))

    def _unavailable(self, why: str) -> UnavailableError:
        return UnavailableError(f"the airlock side at {self._path}: {why}", "look whether `tegd.airlock` runs")
