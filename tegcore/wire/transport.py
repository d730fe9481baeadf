"""The interface between the programs and their broker.

A transport gives at-most-once delivery without order across topics; sessions make exactly-once of it. `publish` never
blocks and never grows: what does not fit in the bounded queue while the broker is away is dropped and counted, and a
session sends it again.
"""

from collections.abc import Callable
from typing import Protocol

OnMessage = Callable[[str, bytes], None]
OnPresence = Callable[[bool], None]

QUEUE_MESSAGES_MAX = 1024


class Transport(Protocol):
    """A connection to a broker that comes back by itself.

    Attributes:
        dropped: Messages that did not fit in the queue since the start.
    """

    dropped: int

    @property
    def connected(self) -> bool:
        """Whether the broker is there now."""

    async def start(self) -> None:
        """Begin to connect; returns at once. Subscriptions and the will must have been set before."""

    async def stop(self) -> None:
        """Send what is queued if the broker is there, say goodbye, and disconnect: the last will is not sent."""

    def will(self, topic: str, payload: bytes) -> None:
        """What the broker says, retained, when this connection dies."""

    def subscribe(self, topic_filter: str, on_message: OnMessage) -> None:
        """Have every message that fits the filter handed over; kept up over reconnections."""

    def on_presence(self, callback: OnPresence) -> None:
        """Be told when the broker comes and goes."""

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Queue a message; False if it was dropped."""
