"""A broker and the ways to it, that lose, double, delay, reorder, spoil, clog and part, as a seed has it.

As MQTT has it at QoS 0: what a client says while it is connected may be lost on the way and is never sent again by the
broker; a client that connects is handed what is retained; one that dies is spoken for by its last will; the broker may
go, with all that is on its way, and come back with or without what it retained. Clients connect again by themselves and
keep a bounded queue meanwhile, as `tegio.mqtt` does.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tegcore.units import NS_PER_S
from tegcore.wire.codec import decode
from tegcore.wire.messages import AnyMessage
from tegcore.wire.signing import Keyring
from tegcore.wire.topics import Topic, parse
from tegcore.wire.transport import QUEUE_MESSAGES_MAX
from tegsim.kernel import Kernel

OnFrame = Callable[[str, bytes], None]


@dataclass
class Weather:
    """How messages fare; each is a share of messages, or ns.

    Attributes:
        lost, doubled, spoilt, late: Shares.
        delay_ns: Least time on a way.
        spread_ns: What is drawn on top of it.
        late_ns: Most that a late one takes: others overtake it.
        reconnect_ns: Most that passes before a client tries again.
    """

    lost: float = 0.0
    doubled: float = 0.0
    spoilt: float = 0.0
    late: float = 0.0
    delay_ns: int = 300_000
    spread_ns: int = 400_000
    late_ns: int = 300_000_000
    reconnect_ns: int = NS_PER_S


@dataclass
class Way:
    """One direction between a client and the broker.

    Attributes:
        parted: All is lost.
        clogged: All waits.
    """

    parted: bool = False
    clogged: bool = False
    held: list[Callable[[], None]] = field(default_factory=list)
    last_ns: int = 0


class Client:
    """One program's connection.

    Args:
        network: The broker.
        name: Its client id.
    """

    def __init__(self, network: "Network", name: str) -> None:
        self._network = network
        self.name = name
        self.up, self.down = network.ways(name)
        self.connected = False
        self.gone = False
        self.resting = False
        self._seen: dict[str, bytes] = {}
        self.dropped = 0
        self.subscriptions: list[tuple[str, OnFrame]] = []
        self.will: tuple[str, bytes] | None = None
        self.on_connected: Callable[[], None] = lambda: None
        self._queue: deque[tuple[str, bytes, bool]] = deque()

    def subscribe(self, topic_filter: str, on_frame: OnFrame) -> None:
        """Have every message that fits a filter handed over."""
        self.subscriptions.append((topic_filter, on_frame))

    def publish(self, topic: str, frame: bytes, *, retain: bool = False) -> None:
        """Send a message, or queue it while there is no broker."""
        if self.connected:
            self._network.carry(self.up, lambda spoilt: self._network.arrive(topic, spoilt, retain=retain), frame)
        elif len(self._queue) < QUEUE_MESSAGES_MAX:
            self._queue.append((topic, frame, retain))
        else:
            self.dropped += 1

    def connect(self) -> None:
        """Join now, if there is a broker, or else when there is one."""
        if self.gone or self.connected:
            return
        if not self._network.broker_up:
            self._network.come_back(self)
            return
        self.connected = True
        self._network.join(self)
        while self._queue:
            topic, frame, retain = self._queue.popleft()
            self.publish(topic, frame, retain=retain)
        self.on_connected()

    def rest(self, *, on: bool) -> None:
        """Broadcasts are no longer handed over one by one, or are again: who has nothing to do needs the latest."""
        if self.resting is not on:
            self.resting = on
            self._network.rest(self)

    def catch_up(self) -> None:
        """Hear the latest of each broadcast, if there was another since."""
        if not self.connected or self.down.parted or self.down.clogged:
            return
        for topic, on_frame in self.subscriptions:
            frame = self._network.latest.get(topic)
            if frame is not None and self._seen.get(topic) is not frame:
                self._seen[topic] = frame
                on_frame(topic, frame)

    def die(self) -> None:
        """The program is no more: the broker speaks its will."""
        self.gone = True
        self._network.leave(self, will=True)


class Network:
    """The broker.

    Args:
        kernel: Time and draws.
        weather: How messages fare; may be changed.

    Attributes:
        carried: Messages that were put on a way.
    """

    def __init__(self, kernel: Kernel, weather: Weather) -> None:
        self._kernel = kernel
        self._draws = kernel.stream("network")
        self._ways: dict[str, tuple[Way, Way]] = {}
        self._clients: dict[str, Client] = {}
        self._retained: dict[str, bytes] = {}
        self._exact: dict[str, dict[Client, OnFrame]] = {}
        self._filters: list[tuple[str, Client, OnFrame]] = []
        self._filtered: dict[str, list[tuple[Client, OnFrame]]] = {}
        self.latest: dict[str, bytes] = {}
        self._read: dict[str, tuple[bytes, AnyMessage]] = {}
        self.weather = weather
        self.broker_up = True
        self.carried = 0

    def ways(self, name: str) -> tuple[Way, Way]:
        """To the broker, and from it."""
        return self._ways.setdefault(name, (Way(), Way()))

    def client(self, name: str) -> Client:
        """A connection that is not made yet; one of the same name that is left over is taken over."""
        if name in self._clients:
            self._clients[name].die()
        return Client(self, name)

    def read(self, topic: str, frame: bytes, keyring: Keyring) -> AnyMessage:
        """The message in a frame; the same frame of a broadcast is decoded once for all that hear it.

        Raises:
            DecodeError: If it is none.
        """
        known = self._read.get(topic)
        if known is not None and known[0] is frame:
            return known[1]
        where: Topic = parse(topic)
        message = decode(where, frame, keyring.key_of)
        if not where.host:
            self._read[topic] = (frame, message)
        return message

    # --- what comes and goes ----------------------------------------------------------------------------------------

    def join(self, client: Client) -> None:
        """A client is there."""
        self._clients[client.name] = client
        for topic_filter, on_frame in client.subscriptions:
            if "+" in topic_filter:
                self._filters.append((topic_filter, client, on_frame))
                self._filtered.clear()
            else:
                self._exact.setdefault(topic_filter, {})[client] = on_frame
        for topic, frame in self._retained.items():
            for topic_filter, on_frame in client.subscriptions:
                if matches(topic_filter, topic):
                    self._hand_over(client, on_frame, topic, frame)

    def leave(self, client: Client, *, will: bool) -> None:
        """A client is no more, or its connection broke."""
        client.connected = False
        if self._clients.get(client.name) is client:
            del self._clients[client.name]
            client.resting = False
            for topic_filter, _ in client.subscriptions:
                self._exact.get(topic_filter, {}).pop(client, None)
            if any(known is client for _, known, _ in self._filters):
                self._filters = [entry for entry in self._filters if entry[1] is not client]
                self._filtered.clear()
            if will and client.will is not None and self.broker_up:
                self.arrive(*client.will)

    def rest(self, client: Client) -> None:
        """A client rests, or no longer."""
        if not client.connected:
            return
        for topic, on_frame in client.subscriptions:
            if _is_broadcast(topic) and client.resting:
                self._exact[topic].pop(client, None)
            elif _is_broadcast(topic):
                self._exact.setdefault(topic, {})[client] = on_frame

    def cut(self, name: str) -> None:
        """A connection breaks: the will is spoken, and the client comes back."""
        client = self._clients.get(name)
        if client is not None:
            self.leave(client, will=True)
            self.come_back(client)

    def set_broker(self, *, up: bool, keeps: bool = True) -> None:
        """The broker goes, with all that is on its way, or comes back, with or without what it retained."""
        self.broker_up = up
        if up:
            if not keeps:
                self._retained.clear()
            return
        for client in list(self._clients.values()):
            self.leave(client, will=False)
            self.come_back(client)

    def come_back(self, client: Client) -> None:
        """A client that has no connection tries again after a while."""
        self._kernel.after(int(self._draws.between(0.2, 1.0) * self.weather.reconnect_ns), client.connect)

    def release(self, way: Way) -> None:
        """A clogged way is free: all that was held comes at once."""
        way.clogged = False
        held, way.held = way.held, []
        for deliver in held:
            self._kernel.after(0, deliver)

    # --- what is carried --------------------------------------------------------------------------------------------

    def carry(self, way: Way, deliver: Callable[[bytes], None], frame: bytes) -> None:
        """Put a message on a way."""
        self.carried += 1
        weather, draws = self.weather, self._draws
        if way.parted or draws.chance(weather.lost):
            return
        for _ in range(2 if draws.chance(weather.doubled) else 1):
            arriving = _spoilt(frame, draws.draw()) if draws.chance(weather.spoilt) else frame
            if way.clogged:
                way.held.append(lambda arriving=arriving: deliver(arriving))  # type: ignore[misc]
                continue
            at_ns = self._kernel.now_ns + weather.delay_ns + int(draws.draw() * weather.spread_ns)
            if draws.chance(weather.late):
                at_ns += int(draws.draw() * weather.late_ns)
            else:
                at_ns = way.last_ns = max(at_ns, way.last_ns)
            self._kernel.after(at_ns - self._kernel.now_ns, lambda arriving=arriving: deliver(arriving))  # type: ignore[misc]

    def arrive(self, topic: str, frame: bytes, *, retain: bool = False) -> None:
        """A message has come to the broker."""
        if not self.broker_up:
            return
        if retain:
            self._retained[topic] = frame
        if _is_broadcast(topic):
            self.latest[topic] = frame
        for client, on_frame in list(self._exact.get(topic, {}).items()):
            self._hand_over(client, on_frame, topic, frame)
        for client, on_frame in self._route(topic):
            self._hand_over(client, on_frame, topic, frame)

    def _route(self, topic: str) -> list[tuple[Client, OnFrame]]:
        """Who hears a topic by a filter."""
        route = self._filtered.get(topic)
        if route is None:
            route = self._filtered[topic] = [
                (client, on_frame) for wanted, client, on_frame in self._filters if matches(wanted, topic)
            ]
        return route

    def _hand_over(self, client: Client, on_frame: OnFrame, topic: str, frame: bytes) -> None:
        def deliver(arriving: bytes) -> None:
            if client.connected:
                on_frame(topic, arriving)

        self.carry(client.down, deliver, frame)


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a filter of one zone takes in a topic: `+` is any one level."""
    if "+" not in topic_filter:
        return topic_filter == topic
    wanted, levels = topic_filter.split("/"), topic.split("/")
    return len(wanted) == len(levels) and all(want in {"+", level} for want, level in zip(wanted, levels, strict=True))


def _is_broadcast(topic: str) -> bool:
    return "/host/" not in topic


def _spoilt(frame: bytes, where: float) -> bytes:
    at = int(where * len(frame))
    return frame[:at] + bytes([frame[at] ^ 0x10]) + frame[at + 1 :]
