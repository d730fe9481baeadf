"""Frames: a version byte, a signature, and one message in MessagePack.

`decode` is the only way in: it bounds the size before it reads, verifies the signature before it decodes, decodes the
whole message, and checks that the message may stand on its topic. What fails says why in one line.
"""

from collections.abc import Callable
from typing import Any, get_type_hints

import msgspec

from tegcore.errors import DecodeError
from tegcore.wire.messages import (
    BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    SCHEMA,
    AnyMessage,
    Ask,
    Beat,
    Certificate,
    Digest,
    Events,
    Field,
    Heat,
    Hello,
    Message,
    Orders,
    OrNan,
    Peers,
    Rates,
    Rejected,
    Sample,
    Status,
    Telemetry,
    Tenants,
    Welcome,
)
from tegcore.wire.records import Reason
from tegcore.wire.signing import SIGNATURE_BYTES, Key, sign, verify
from tegcore.wire.topics import Channel, Topic

FRAME_VERSION = 1
_HEAD_BYTES = 1 + SIGNATURE_BYTES
FRAME_BYTES_MAX = _HEAD_BYTES + PAYLOAD_BYTES_MAX

_SPOKEN: dict[Channel, tuple[type[Message], ...]] = {
    Channel.ORDERS: (Hello, Orders, Ask),
    Channel.EVENTS: (Welcome, Events, Rejected, Peers, Tenants),
    Channel.TELEMETRY: (Telemetry,),
    Channel.STATUS: (Status,),
    Channel.BEAT: (Beat,),
    Channel.HEAT: (Heat,),
    Channel.DIGEST: (Digest,),
    Channel.FIELD: (Field,),
    Channel.RATES: (Rates,),
    Channel.CERTIFICATE: (Certificate,),
}

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[AnyMessage] = msgspec.msgpack.Decoder(AnyMessage)

KeyOf = Callable[[Topic], Key | None]


class RejectedFrameError(DecodeError):
    """A frame that was not taken in; `reason` tells forged from undecodable."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def _readings(kind: type[Any]) -> tuple[tuple[str, OrNan], ...]:
    """The fields that may be NaN, each with its range."""
    hints = get_type_hints(kind, include_extras=True)
    marked = [(name, meta) for name, hint in hints.items() for meta in getattr(hint, "__metadata__", ())]
    return tuple((name, meta) for name, meta in marked if isinstance(meta, OrNan))


_SAMPLE, _CERTIFICATE = _readings(Sample), _readings(Certificate)


def _check_readings(message: AnyMessage) -> None:
    """What may be NaN is either that or within its range, which msgspec cannot say.

    Raises:
        ValueError: If it is not; names the field.
    """
    if isinstance(message, Telemetry):
        read: list[tuple[Any, tuple[tuple[str, OrNan], ...]]] = [(sample, _SAMPLE) for sample in message.samples]
    else:
        read = [(message, _CERTIFICATE)] if isinstance(message, Certificate) else []
    for inner, fields in read:
        for name, (low, high) in fields:
            value = getattr(inner, name)
            if value < low or value > high:
                raise ValueError(f"{name} = {value} is outside {low} .. {high}")


def encode(topic: Topic, message: Message, key: Key) -> bytes:
    """The frame of a message on a topic, signed.

    Raises:
        ValueError: If the message is larger than its bound, or does not belong on the topic: the caller's error.
    """
    payload = _encoder.encode(message)
    if len(payload) > BYTES_MAX[type(message)]:
        raise ValueError(f"{type(message).__name__} of {len(payload)} bytes: at most {BYTES_MAX[type(message)]}")
    if not isinstance(message, _SPOKEN[topic.channel]):
        raise ValueError(f"{type(message).__name__} is not spoken on {topic}")  # noqa: TRY004 - not a type of argument
    return bytes([FRAME_VERSION]) + sign(key, str(topic), payload) + payload


def decode(topic: Topic, frame: bytes, key_of: KeyOf) -> AnyMessage:
    """The message in a frame that came on a topic.

    Args:
        topic: Where it came.
        frame: The bytes.
        key_of: The key that a topic's messages are signed with, or None for a peer that is not known.

    Raises:
        RejectedFrameError: If the frame is too large, of another version, wrongly signed, or not decodable.
    """
    if not _HEAD_BYTES < len(frame) <= FRAME_BYTES_MAX:
        raise RejectedFrameError(Reason.UNDECODABLE, f"{topic}: a frame of {len(frame)} bytes")
    if frame[0] != FRAME_VERSION:
        raise RejectedFrameError(Reason.UNDECODABLE, f"{topic}: frame version {frame[0]}, this is {FRAME_VERSION}")
    key, payload = key_of(topic), frame[_HEAD_BYTES:]
    if key is None or not verify(key, str(topic), payload, frame[1:_HEAD_BYTES]):
        raise RejectedFrameError(Reason.FORGED, f"{topic}: the signature is not that of {topic.host or topic.zone}")
    try:
        message = _decoder.decode(payload)
        _check_readings(message)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # also text that is no UTF-8, lists in lists
        raise RejectedFrameError(Reason.UNDECODABLE, f"{topic}: {error}") from None
    kind = type(message)
    if kind not in _SPOKEN[topic.channel] or len(payload) > BYTES_MAX[kind]:
        raise RejectedFrameError(Reason.UNDECODABLE, f"{topic}: {kind.__name__} of {len(payload)} bytes")
    if message.v != SCHEMA:
        raise RejectedFrameError(Reason.UNDECODABLE, f"{topic}: schema {message.v}, this is {SCHEMA}")
    spoken_for = getattr(message, "host", None) or getattr(message, "zone", None)
    if spoken_for != (topic.host or topic.zone):
        raise RejectedFrameError(Reason.FORGED, f"{topic}: a message in the name of {spoken_for!r}")
    return message
