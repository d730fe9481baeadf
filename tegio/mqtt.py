"""The transport over MQTT 3.1.1, by gmqtt.

Each connection is a new client: the library's own reconnection keeps queues that it clears silently, so it is switched
off, and this module connects again with a growing pause, subscribes again, and sends what waited. Everything is QoS 0:
delivery is the sessions' work, end to end. gmqtt's `publish` cannot be awaited and never refuses, so what the socket
has not taken yet is bounded here.
"""

import asyncio
import contextlib
import errno
import logging
import ssl
from collections import deque
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit
from zlib import crc32

import gmqtt
from gmqtt.mqtt.constants import MQTTv311

from tegcore.backoff import Backoff
from tegcore.errors import ConfigError
from tegcore.wire.codec import FRAME_BYTES_MAX
from tegcore.wire.transport import QUEUE_MESSAGES_MAX, OnMessage, OnPresence
from tegio.logs import event
from tegio.memory import matches
from tegio.tls import Certificates, client_context

KEEPALIVE_S = 15
CONNECT_TIMEOUT_S = 10.0
PAUSE_S_MIN, PAUSE_S_MAX = 0.2, 10.0
STEADY_S = 20.0
"""A connection that ended sooner counts as failed: a broker that greets and closes is asked ever less often."""
UNSENT_BYTES_MAX = 4 << 20
NEVER = -2
"""Of gmqtt's retries: at 0 it connects once more by itself, and two connections of one name throw each other out."""
_QUIET = logging.getLogger("teg.gmqtt")
_QUIET.setLevel(logging.CRITICAL)


class BrokerAddress(NamedTuple):
    """Where a broker is, and how to sign in."""

    host: str
    port: int
    tls: bool = False
    user: str = ""
    password: str = ""


def parse_broker(url: str) -> BrokerAddress:
    """The address in `mqtt://[user:password@]host[:port]`, or `mqtts://` over TLS.

    Raises:
        ConfigError: If it is none.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{url!r} is no address of a broker: {error}", "write mqtt://HOST:PORT") from None
    if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname or parts.path.strip("/"):
        raise ConfigError(f"{url!r} is no address of a broker", "write mqtt://HOST:PORT or mqtts://HOST:PORT")
    tls = parts.scheme == "mqtts"
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return BrokerAddress(parts.hostname, port or (8883 if tls else 1883), tls, user, password)


class MqttTransport:
    """See `tegcore.wire.transport.Transport`.

    Args:
        address: Of the broker.
        client_id: Unique on the broker.
        certificates: Under which it speaks over TLS; None: as the system trusts, and without a certificate of its own.
    """

    def __init__(self, address: BrokerAddress, client_id: str, certificates: Certificates | None = None) -> None:
        self._address = address
        self._certificates = certificates
        self._client_id = client_id
        self._will: gmqtt.Message | None = None
        self._subscriptions: list[tuple[str, OnMessage]] = []
        self._presence: list[OnPresence] = []
        self._queue: deque[tuple[str, bytes, bool]] = deque()
        self._client: gmqtt.Client | None = None
        self._lost = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0

    @property
    def connected(self) -> bool:
        """See `Transport.connected`."""
        return self._client is not None

    def will(self, topic: str, payload: bytes) -> None:
        """See `Transport.will`."""
        self._will = gmqtt.Message(topic, payload, qos=0, retain=True)

    def subscribe(self, topic_filter: str, on_message: OnMessage) -> None:
        """See `Transport.subscribe`."""
        self._subscriptions.append((topic_filter, on_message))

    def on_presence(self, callback: OnPresence) -> None:
        """See `Transport.on_presence`."""
        self._presence.append(callback)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """See `Transport.publish`."""
        client = self._open()
        passes = client is not None and not self._queue
        if client is not None and passes and self._unsent_bytes() < UNSENT_BYTES_MAX:
            client.publish(topic, payload, qos=0, retain=retain)
            return True
        if passes or len(self._queue) >= QUEUE_MESSAGES_MAX:
            self.dropped += 1
            return False
        self._queue.append((topic, payload, retain))
        return True

    async def start(self) -> None:
        """See `Transport.start`."""
        self._task = asyncio.create_task(self._stay_connected())

    async def stop(self) -> None:
        """See `Transport.stop`."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        client, self._client = self._open(), None
        if client is not None:
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                await asyncio.wait_for(client.disconnect(), CONNECT_TIMEOUT_S)

    def _open(self) -> gmqtt.Client | None:
        """The client, while its connection is there: the library drops that some time before it says so."""
        return self._client if self._client is not None and self._client._connection is not None else None

    def _unsent_bytes(self) -> int:
        connection: Any = self._client._connection if self._client else None
        return int(connection._transport.get_write_buffer_size()) if connection else 0

    async def _stay_connected(self) -> None:
        clock, address = asyncio.get_running_loop().time, f"{self._address.host}:{self._address.port}"
        backoff = Backoff(PAUSE_S_MIN, PAUSE_S_MAX, STEADY_S, crc32(self._client_id.encode()))
        while True:
            begun_s, what, error = clock(), "broker.away", ""
            try:
                client = await self._connect()
            except (TimeoutError, OSError, gmqtt.MQTTConnectError) as failure:
                error = str(failure)
                begun_s = clock()
            else:
                self._client = client
                self._tell(up=True)
                await self._send_queued()
                await self._lost.wait()
                self._client = None
                await _close(client)
                what = "broker.lost"
                self._tell(up=False)
            lasted_s = clock() - begun_s
            pause_s = backoff.pause(lasted_s)
            told = {"address": address, "error": error, "retry_s": round(pause_s, 1), "failures": backoff.failures}
            event(what, logging.WARNING, **told)
            await asyncio.sleep(pause_s)

    async def _connect(self) -> gmqtt.Client:
        client = gmqtt.Client(self._client_id, clean_session=True, will_message=self._will, logger=_QUIET)
        client.set_config({"reconnect_retries": NEVER})
        if self._address.user:
            client.set_auth_credentials(self._address.user, self._address.password)
        # Each client has its own: one that was given up, and whose end is told late, is not the one in use.
        lost = asyncio.Event()
        client.on_message = self._on_message
        client.on_disconnect = lambda *_: lost.set()
        tls = self._tls() if self._address.tls else False
        connecting = client.connect(
            self._address.host, self._address.port, ssl=tls, keepalive=KEEPALIVE_S, version=MQTTv311
        )
        try:
            await asyncio.wait_for(connecting, CONNECT_TIMEOUT_S)
        except BaseException:
            await _close(client)
            raise
        self._lost = lost
        for topic_filter, _ in self._subscriptions:
            if lost.is_set() or client._connection is None:
                raise ConnectionResetError(errno.ECONNRESET, "the broker closed as soon as it had greeted")
            client.subscribe(topic_filter, qos=0)
        return client

    def _tls(self) -> ssl.SSLContext:
        return client_context(self._certificates) if self._certificates else ssl.create_default_context()

    async def _send_queued(self) -> None:
        """Send what waited while the broker was away, as fast as the socket takes it."""
        while self._queue and (client := self._open()) is not None and not self._lost.is_set():
            if self._unsent_bytes() >= UNSENT_BYTES_MAX:
                await asyncio.sleep(PAUSE_S_MIN)
                continue
            topic, payload, retain = self._queue.popleft()
            client.publish(topic, payload, qos=0, retain=retain)

    async def _on_message(self, _client: object, topic: str, payload: bytes, _qos: int, _properties: object) -> int:
        if len(payload) <= FRAME_BYTES_MAX * 2:
            for topic_filter, on_message in self._subscriptions:
                if matches(topic_filter, topic):
                    on_message(topic, bytes(payload))
        return 0

    def _tell(self, *, up: bool) -> None:
        for callback in self._presence:
            callback(up)


async def _close(client: gmqtt.Client) -> None:
    """Leave nothing of a client open: two of one name put each other out for ever."""
    if (connection := client._connection) is not None:
        with contextlib.suppress(OSError):
            await connection.close()
