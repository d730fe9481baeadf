"""A broker within the process: for tests of whole loops, with losses, doubles and disorder from a seed if wanted.

Delivery happens when `pump` is called, never inside `publish`: what a real broker keeps apart stays apart.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from tegcore.wire.transport import QUEUE_MESSAGES_MAX, OnMessage, OnPresence


class Fate(NamedTuple):
    """What becomes of one message: how many copies arrive, and how many later messages overtake it."""

    copies: int = 1
    delay: int = 0


def matches(topic_filter: str, topic: str) -> bool:
    """Whether an MQTT filter takes in a topic.

    >>> matches("a/+/c", "a/b/c"), matches("a/#", "a/b/c"), matches("a/+", "a/b/c")
    (True, True, False)
    """
    wanted, levels = topic_filter.split("/"), topic.split("/")
    for place, level in enumerate(wanted):
        if level == "#":
            return True
        if place >= len(levels) or level not in {"+", levels[place]}:
            return False
    return len(wanted) == len(levels)


class MemoryBroker:
    """The broker.

    Args:
        fate: Decides about each message by its number; the default delivers each once, in order.
    """

    def __init__(self, fate: Callable[[int], Fate] = lambda _: Fate()) -> None:
        self._fate = fate
        self._count = 0
        self._clients: list[MemoryTransport] = []
        self._waiting: deque[tuple[int, str, bytes]] = deque()
        self._retained: dict[str, bytes] = {}
        self.up = True

    def transport(self) -> "MemoryTransport":
        """A connection to this broker."""
        return MemoryTransport(self)

    def set_up(self, up: bool) -> None:
        """Take the broker away, with all that waits in it, or bring it back."""
        self.up = up
        self._waiting.clear()
        for client in list(self._clients):
            client.broker_changed(up=up)

    def kill(self, client: "MemoryTransport") -> None:
        """Cut a client off: its will speaks."""
        if client in self._clients:
            self._clients.remove(client)
            if client.last_will:
                self.put(*client.last_will, retain=True)
            client.broker_changed(up=False)

    def put(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Take in a message."""
        self._count += 1
        if retain:
            self._retained[topic] = payload
        fate = self._fate(self._count)
        self._waiting.extend((self._count + fate.delay, topic, payload) for _ in range(fate.copies))

    def pump(self) -> int:
        """Deliver all that waits, and what that causes to be sent; returns how many messages were delivered."""
        delivered = 0
        while self._waiting:
            batch = sorted(self._waiting, key=lambda entry: entry[0])
            self._waiting.clear()
            for _, topic, payload in batch:
                for client in list(self._clients):
                    delivered += client.deliver(topic, payload)
        return delivered

    def join(self, client: "MemoryTransport") -> None:
        """A client connects: it is handed what is retained."""
        self._clients.append(client)
        for topic, payload in self._retained.items():
            client.deliver(topic, payload)

    def leave(self, client: "MemoryTransport") -> None:
        """A client says goodbye."""
        if client in self._clients:
            self._clients.remove(client)


class MemoryTransport:
    """See `tegcore.wire.transport.Transport`."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._subscriptions: list[tuple[str, OnMessage]] = []
        self._presence: list[OnPresence] = []
        self._queue: deque[tuple[str, bytes, bool]] = deque()
        self._joined = False
        self.last_will: tuple[str, bytes] | None = None
        self.dropped = 0

    @property
    def connected(self) -> bool:
        """See `Transport.connected`."""
        return self._joined and self._broker.up

    async def start(self) -> None:
        """See `Transport.start`."""
        self._joined = True
        self._broker.join(self)
        self.broker_changed(up=self._broker.up)

    async def stop(self) -> None:
        """See `Transport.stop`."""
        self._joined = False
        self._broker.leave(self)

    def will(self, topic: str, payload: bytes) -> None:
        """See `Transport.will`."""
        self.last_will = (topic, payload)

    def subscribe(self, topic_filter: str, on_message: OnMessage) -> None:
        """See `Transport.subscribe`."""
        self._subscriptions.append((topic_filter, on_message))

    def on_presence(self, callback: OnPresence) -> None:
        """See `Transport.on_presence`."""
        self._presence.append(callback)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """See `Transport.publish`."""
        if self.connected:
            self._broker.put(topic, payload, retain=retain)
            return True
        if len(self._queue) >= QUEUE_MESSAGES_MAX:
            self.dropped += 1
            return False
        self._queue.append((topic, payload, retain))
        return True

    def deliver(self, topic: str, payload: bytes) -> int:
        """Hand a message to every subscription that takes it in; returns to how many."""
        taken = [on_message for topic_filter, on_message in self._subscriptions if matches(topic_filter, topic)]
        for on_message in taken:
            on_message(topic, payload)
        return len(taken)

    def broker_changed(self, *, up: bool) -> None:
        """The broker came or went."""
        while up and self._joined and self._queue:
            topic, payload, retain = self._queue.popleft()
            self._broker.put(topic, payload, retain=retain)
        for callback in self._presence:
            callback(up and self._joined)
