"""The topic grammar: `teg/v1/<zone>/<channel>` and `teg/v1/<zone>/host/<host>/<channel>`.

A host writes only below its own name; the broker's access list enforces it, and the ledger checks it again by
signature. Every level is a name (`tegcore.ids`), so a topic never holds a wildcard, a space or an empty level.
"""

from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from tegcore.errors import DecodeError
from tegcore.ids import checked_name

PREFIX = "teg/v1"
TOPIC_BYTES_MAX = 256
TOPICS_KEPT = 1 << 14
"""Topics whose parts are remembered, the latest."""


class Channel(StrEnum):
    """What is said on a topic."""

    ORDERS = "orders"  # host -> ledger: Hello, Orders, Ask
    EVENTS = "events"  # ledger -> host: Welcome, Events, Rejected, Peers
    TELEMETRY = "telemetry"  # host -> governor
    STATUS = "status"  # host's presence; its last will
    BEAT = "beat"  # ledger -> all, every tick
    HEAT = "heat"  # ledger -> all
    DIGEST = "digest"  # ledger -> governor
    FIELD = "field"  # governor -> all, retained
    RATES = "rates"  # governor -> ledger, retained
    CERTIFICATE = "certificate"  # governor -> all, retained


HOST_CHANNELS = frozenset({Channel.ORDERS, Channel.EVENTS, Channel.TELEMETRY, Channel.STATUS})
ZONE_CHANNELS = frozenset(Channel) - HOST_CHANNELS


class Topic(NamedTuple):
    """A topic: zone, channel, and the host where it has one."""

    zone: str
    channel: Channel
    host: str = ""

    def __str__(self) -> str:
        """The topic as it goes over the wire."""
        middle = f"/host/{self.host}" if self.host else ""
        return f"{PREFIX}/{self.zone}{middle}/{self.channel}"


@lru_cache(maxsize=TOPICS_KEPT)
def parse(text: str) -> Topic:
    """The topic that a text is; that of the latest texts is remembered, for the same hosts speak again and again.

    Raises:
        DecodeError: If it is none; says what is wrong with it.
    """
    if len(text.encode()) > TOPIC_BYTES_MAX:
        raise DecodeError(f"a topic has at most {TOPIC_BYTES_MAX} bytes, not {len(text.encode())}")
    levels = text.split("/")
    if levels[:2] != PREFIX.split("/") or len(levels) not in {4, 6} or (len(levels) == 6 and levels[3] != "host"):
        raise DecodeError(f"{text!r} is no topic of {PREFIX}")
    zone, host, name = checked_name(levels[2], "zone"), "", levels[-1]
    if len(levels) == 6:
        host = checked_name(levels[4], "host")
    if name not in (HOST_CHANNELS if host else ZONE_CHANNELS):
        raise DecodeError(f"{text!r}: there is no channel {name!r} {'of a host' if host else 'of a zone'}")
    return Topic(zone, Channel(name), host)


def every_host(zone: str, channel: Channel) -> str:
    """The filter that takes in one channel of every host of a zone."""
    return f"{PREFIX}/{zone}/host/+/{channel}"
