"""The governor in the simulator: its controller between broadcasts. Hyperparameters are left as they are."""

from collections import deque
from typing import Protocol

from governor import voice
from governor.barrier import Barrier
from governor.controller import Controller, Policy
from tegcore.errors import DecodeError
from tegcore.units import TICK_NS
from tegcore.wire import topics
from tegcore.wire.codec import encode
from tegcore.wire.messages import Digest, Telemetry
from tegcore.wire.signing import Keyring
from tegcore.wire.topics import Channel, Topic
from tegsim.kernel import Clock, Kernel, Part
from tegsim.network import Client, Network

QUEUE_MESSAGES_MAX = 20_000


class Watcher(Protocol):
    """Who checks a governor while it runs."""

    def governed(self, controller: Controller) -> None:
        """A cycle is over."""


class GovernorPart(Part):
    """See the module.

    Args:
        kernel: Time.
        network: The broker.
        clock: Of its machine.
        zone: Name of the zone.
        side: Of the zone, in slots.
        keyring: The governor's key and the members'.
        epoch_ticks: Between two decisions.
        policy: What rates are made of.
        barrier: Its constants.
        watcher: Told what it does.
    """

    def __init__(
        self,
        kernel: Kernel,
        network: Network,
        clock: Clock,
        *,
        zone: str,
        side: float,
        keyring: Keyring,
        epoch_ticks: int,
        policy: Policy,
        barrier: Barrier,
        watcher: Watcher,
    ) -> None:
        super().__init__(kernel, "governor")
        self._network = network
        self._clock = clock
        self._zone = zone
        self._side = side
        self._keyring = keyring
        self._epoch_ticks = epoch_ticks
        self._policy = policy
        self._barrier = barrier
        self._watcher = watcher
        self._queue: deque[Telemetry | Digest] = deque(maxlen=QUEUE_MESSAGES_MAX)
        self._client: Client | None = None
        self.controller = Controller(epoch_ticks, policy, barrier=barrier)

    def begin(self) -> None:
        """With nothing but its settings."""
        self.controller = Controller(self._epoch_ticks, self._policy, barrier=self._barrier)
        self._queue.clear()
        client = self._client = self._network.client(f"{self._zone}-governor")
        client.subscribe(topics.every_host(self._zone, Channel.TELEMETRY), self._hear)
        client.subscribe(str(Topic(self._zone, Channel.DIGEST)), self._hear)
        client.connect()
        self.after(self._clock.true_ns(TICK_NS), self._cycle)

    def ended(self) -> None:
        """It died."""
        if self._client is not None:
            self._client.die()

    def _hear(self, topic: str, frame: bytes) -> None:
        try:
            message = self._network.read(topic, frame, self._keyring)
        except DecodeError:
            return
        if isinstance(message, Telemetry | Digest):
            self._queue.append(message)

    def _cycle(self) -> None:
        self.after(self._clock.true_ns(TICK_NS), self._cycle)
        for _ in range(len(self._queue)):
            message = self._queue.popleft()
            if isinstance(message, Digest):
                self.controller.take(message, self._side)
            else:
                self.controller.hear(message)
        assert self._client is not None, "it runs"
        for said in voice.due(self.controller, self._zone):
            self.boundary("say")
            topic = Topic(self._zone, said.channel)
            key = self._keyring.key_of(topic)
            assert key is not None, f"no key for {topic}"
            self._client.publish(str(topic), encode(topic, said.message, key), retain=said.retain)
        self._watcher.governed(self.controller)
