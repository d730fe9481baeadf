"""How a program runs: its control socket open, its service until a signal ends it, and nothing left behind."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from tegcore.wire.control import AnyRequest, Reply
from tegio.control import ControlServer, Peer
from tegio.paths import SYSTEM_RUN, private_dir


class Service(Protocol):
    """What a program's shell is."""

    async def answer(self, peer: Peer, request: AnyRequest) -> Reply | AsyncIterator[Reply]:
        """Answer a request over the control socket."""

    async def run(self) -> None:
        """Work until stopped."""

    def stop(self) -> None:
        """End soon."""


async def serve(service: Service, socket: Path) -> None:
    """Run a service with its control socket until it stops, or SIGTERM or SIGINT stop it.

    Raises:
        UnavailableError: If the socket belongs to a living program.
    """
    if SYSTEM_RUN not in socket.parents:
        private_dir(socket.parent)
    server = ControlServer(socket, service.answer)
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, service.stop)
    await server.start()
    try:
        await service.run()
    finally:
        await server.stop()
