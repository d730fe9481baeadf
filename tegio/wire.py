"""Signed messages over a transport: what each program publishes and hears, with what it does not take in counted."""

import logging
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
from tegio.logs import event


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

    def frame(self, topic: Topic, message: Message) -> bytes:
        """The signed frame of a message on a topic whose key is held."""
        key = self._keyring.key_of(topic)
        assert key is not None, f"no key for {topic}"
        return encode(topic, message, key)

    def publish(self, topic: Topic, message: Message, *, retain: bool = False) -> None:
        """Send a message; if the queue is full it is dropped and counted by the transport."""
        self.transport.publish(str(topic), self.frame(topic, message), retain=retain)

    def hear(self, topic_filter: str, handle: Callable[[Any], None]) -> None:
        """Have every message that fits a filter decoded and handed over."""

        def on_message(topic_text: str, frame: bytes) -> None:
            try:
                handle(decode(topics.parse(topic_text), frame, self._keyring.key_of))
            except DecodeError as error:
                reason = getattr(error, "reason", Reason.UNDECODABLE)
                self.not_taken_in[reason.name] += 1
                event("wire.rejected", logging.WARNING, topic=topic_text[:128], reason=reason.name, error=error)

        self.transport.subscribe(topic_filter, on_message)
