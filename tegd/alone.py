"""The agent side of a host without a cluster: it has no market to go to, and says so.

The airlock side looks after the host's memory. This answers who asks for the host or for slots, and keeps the two
sides one service: started, watched and stopped together.
"""

import asyncio
from collections.abc import AsyncIterator

from tegcore.errors import RefusedError
from tegcore.wire import control
from tegio.control import Peer
from tegio.logs import event
from tegio.notify import notify

BEAT_S = 1.0


class AloneService:
    """See `tegio.program.Service`.

    Args:
        host: Name of this host.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._stopping = asyncio.Event()

    async def answer(self, peer: Peer, request: control.AnyRequest) -> control.Reply | AsyncIterator[control.Reply]:
        """Answer a request over the control socket."""
        if isinstance(request, control.Host):
            return control.Reply(data={"host": self._host, "mode": "alone", "zone": "", "workloads": 0})
        event("tegd.alone", uid=peer.uid, asked=type(request).__name__)
        raise RefusedError(
            "this host is in no cluster: it has no market",
            "`tegctl run --rank N -- COMMAND` runs work here; `broker` in /etc/teg/tegd.toml joins a cluster",
        )

    async def run(self) -> None:
        """Wait until stopped."""
        notify("READY=1", "STATUS=this host alone: the airlock side looks after teg.slice")
        event("tegd.ready", host=self._host, mode="alone")
        while not self._stopping.is_set():
            notify("WATCHDOG=1")
            try:
                await asyncio.wait_for(self._stopping.wait(), BEAT_S)
            except TimeoutError:
                continue
        notify("STOPPING=1")

    def stop(self) -> None:
        """End soon."""
        self._stopping.set()
