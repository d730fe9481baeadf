"""Signed messages over a transport: what each program publishes and hears, with what it does not take in counted."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from tegcore.errors import DecodeError
from tegcore.wire import topics
from tegcore.wire.codec import decode, encode
from tegcore.wire.messages import Message
from tegcore.wire.records import Reason
from tegcore.wire.signing import Keyring
from tegcore.wire.topics import Topic
from tegcore.wire.transport import Transport
from tegio.logs import Seldom


class Wire:
    """One program's end of the broker.

    Args:
        transport: To the broker.
        keyring: What it signs with, and checks by.

    Attributes:
        not_taken_in: Messages that were refused, by name of the reason.
    """

    def __init__(self, transport: Transport, keyring: Keyring) -> None:
        self.transport = transport
        self._keyring = keyring
        self.not_taken_in: Counter[str] = Counter()
        self._seldom = Seldom()

    def frame(self, topic: Topic, message: Message) -> bytes:
        """The signed frame of a message on a topic whose key is held."""
        key = self._keyring.key_of(topic)
        assert key is not None, f"no key for {topic}"
        return encode(topic, message, key)

    def publish(self, topic: Topic, message: Message, *, retain: bool = False) -> None:
        """Send a message; if the queue is full it is dropped and counted by the transport."""
        self.transport.publish(str(topic), self.frame(topic, message), retain=retain)

    def refused(self, topic: str, reason: Reason, error: Exception) -> None:
        """Count a message that was not taken in, and say so once a minute."""
        self.not_taken_in[reason.name] += 1
        self._seldom.event("wire.rejected", reason.name, topic=topic[:128], reason=reason.name, error=error)

    def hear(self, topic_filter: str, handle: Callable[[Any], None]) -> None:
        """Have every message that fits a filter decoded and handed over; what does not decode is counted."""

        def on_message(topic_text: str, frame: bytes) -> None:
            try:
                message = decode(topics.parse(topic_text), frame, self._keyring.key_of)
            except Exception as error:
                self.refused(topic_text, getattr(error, "reason", Reason.UNDECODABLE), error)
                return
            try:
                handle(message)
            except DecodeError as error:
                self.refused(topic_text, Reason.UNDECODABLE, error)

        self.transport.subscribe(topic_filter, on_message)
