"""Conversations with other hosts over TCP: TLS with certificates of both sides, signed frames, bounds on everything.

Without certificates it is plain TCP, and says so when it starts: the frames are signed then, but not hidden.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tegcore.errors import DecodeError, TegError, UnavailableError
from tegcore.wire import peer
from tegcore.wire.peer import Answer, AnySaid, Sealer
from tegcore.wire.signing import Key, peer_key
from tegio.conversations import Conversations
from tegio.logs import event
from tegio.tls import Certificates, client_context, peer_name, server_context

CONNECT_S_MAX = 5.0
ANSWER_S_MAX = 20.0
IDLE_S_MAX = 30.0


Handler = Callable[[str, AnySaid], Awaitable[AnySaid]]


class PeerServer:
    """Hears other hosts.

    Args:
        host: This host's name.
        key: This host's key: what each peer signs with follows from it.
        handler: Answers each question, given the name of who asks.
        certificates: None for plain TCP.
    """

    def __init__(self, host: str, key: Key, handler: Handler, certificates: Certificates | None) -> None:
        self._host = host
        self._key = key
        self._handler = handler
        self._certificates = certificates
        self._server: asyncio.Server | None = None
        self._conversations = Conversations(self._hear)
        self.refused = 0

    async def start(self, address: str, port: int) -> int:
        """Listen; returns the port.

        Raises:
            UnavailableError: If the address cannot be had.
        """
        context = server_context(self._certificates) if self._certificates else None
        try:
            self._server = await asyncio.start_server(self._conversations.begin, address, port, ssl=context)
        except (OSError, OverflowError) as error:
            what = f"cannot hear other hosts at {address}:{port}: {getattr(error, 'strerror', error)}"
            raise UnavailableError(what, "set peer_listen to an address of this host, or another port") from None
        port = int(self._server.sockets[0].getsockname()[1])
        level = logging.INFO if context or address in {"127.0.0.1", "::1"} else logging.WARNING
        event("peers.ready", level, address=address, port=port, tls=context is not None)
        return port

    async def stop(self) -> None:
        """Stop listening, and end what is under way."""
        await self._conversations.end(self._server)

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._converse(reader, writer)
        except DecodeError as error:
            self.refused += 1
            event("peers.refused", logging.WARNING, address=writer.get_extra_info("peername"), error=error)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(CONNECT_S_MAX):
            nonce, length = peer.read_preamble(await reader.readexactly(peer.PREAMBLE_BYTES))
            sender = peer.read_name(await reader.readexactly(length))
        certified = peer_name(writer.get_extra_info("ssl_object"))
        if self._certificates and certified != sender:
            raise DecodeError(f"{certified!r} speaks as {sender!r}")
        own = secrets.token_bytes(peer.NONCE_BYTES)
        writer.write(own)
        key = peer_key(self._key, sender)
        asked, answered = Sealer(key, nonce + own, 0), Sealer(key, nonce + own, 1)
        while True:
            said = await _receive(reader, asked, IDLE_S_MAX)
            try:
                answer = await self._handler(sender, said)
            except (TegError, OSError) as error:
                answer = Answer(ok=False, reason=getattr(error, "reason", type(error).__name__), message=str(error))
            writer.write(answered.seal(answer))
            async with asyncio.timeout(IDLE_S_MAX):
                await writer.drain()


class PeerLink:
    """One conversation with another host, as `async with`.

    Args:
        own: This host's name.
        other: The other's name.
        address: HOST:PORT.
        key: Of what this host says to the other.
        certificates: None for plain TCP.
    """

    def __init__(self, own: str, other: str, address: str, key: Key, certificates: Certificates | None) -> None:
        self._own = own
        self._other = other
        self._address = address
        self._key = key
        self._certificates = certificates
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> "PeerLink":
        """Connect.

        Raises:
            UnavailableError: If the other does not answer.
        """
        host, _, port = self._address.rpartition(":")
        context = client_context(self._certificates, by_address=False) if self._certificates else None
        try:
            async with asyncio.timeout(CONNECT_S_MAX):
                self._reader, self._writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
                nonces = await self._greet()
        except (TimeoutError, OSError, ValueError, asyncio.IncompleteReadError) as error:
            await self.__aexit__()
            raise self._away(str(error) or "no answer") from None
        self._asked, self._answered = Sealer(self._key, nonces, 0), Sealer(self._key, nonces, 1)
        return self

    async def _greet(self) -> bytes:
        assert self._writer is not None
        certified = peer_name(self._writer.get_extra_info("ssl_object"))
        if self._certificates and certified != self._other:
            raise ConnectionAbortedError(f"the certificate there is {certified!r}'s")
        nonce = secrets.token_bytes(peer.NONCE_BYTES)
        self._writer.write(peer.preamble(nonce, self._own))
        return nonce + await self._reader.readexactly(peer.NONCE_BYTES)

    async def __aexit__(self, *_: object) -> None:
        """Say goodbye."""
        if self._writer is None:
            return
        self._writer.close()
        with suppress(OSError, asyncio.CancelledError):
            await self._writer.wait_closed()

    async def ask(self, question: AnySaid) -> AnySaid:
        """The answer to a question.

        Raises:
            UnavailableError: If none comes.
            DecodeError: If it is not the other's.
        """
        assert self._writer is not None
        try:
            self._writer.write(self._asked.seal(question))
            await self._writer.drain()
            return await _receive(self._reader, self._answered, ANSWER_S_MAX)
        except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            raise self._away(str(error) or "no answer") from None

    def _away(self, why: str) -> UnavailableError:
        return UnavailableError(f"{self._other} at {self._address or '(no address)'}: {why}", "see `tegctl hosts`")


async def _receive(reader: asyncio.StreamReader, sealer: Sealer, limit_s: float) -> AnySaid:
    async with asyncio.timeout(limit_s):
        head = await reader.readexactly(peer.HEAD_BYTES)
        length, signature = peer.read_head(head)
        payload = await reader.readexactly(length)
    return sealer.open(signature, payload)
