"""The contract: what is packed is unpacked, what is out of bounds is refused, topics are names between slashes."""

import contextlib
from typing import get_type_hints

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tegcore.errors import DecodeError
from tegcore.units import credits_text, credits_ucr
from tegcore.wire import topics
from tegcore.wire.codec import decode, encode
from tegcore.wire.messages import BYTES_MAX, SCHEMA, Beat, Heat, Orders
from tegcore.wire.records import (
    ARG_COUNT,
    BODIES,
    RECORD_BYTES,
    NameIs,
    NameKind,
    Op,
    OrderFlag,
    Record,
    Region,
    Shape,
    Traits,
    pack_blocks,
    unpack,
    unpack_all,
    unpack_blocks,
)
from tegcore.wire.signing import Key, sign, tenant_token, verify
from tegcore.wire.topics import Channel, Topic

KEY = Key(b"k" * 32)


@st.composite
def records(draw) -> Record:
    op = draw(st.sampled_from(sorted(BODIES)))
    body = BODIES[op]
    hints = get_type_hints(body, include_extras=True)
    values = [draw(st.integers(*hints[name].__metadata__[0])) for name in body._fields]
    return Record(
        op,
        draw(st.integers(0, 2**32 - 1)),
        draw(st.integers(0, 2**64 - 1)),
        draw(st.integers(0, 2**64 - 1)),
        body(*values),
    )


@given(records())
def test_a_record_comes_back_as_it_was(record: Record) -> None:
    packed = record.packed()
    assert len(packed) == RECORD_BYTES
    assert unpack(packed) == record


@pytest.mark.parametrize("op", sorted(BODIES))
def test_every_field_of_every_record_is_bounded(op: Op) -> None:
    body = BODIES[op]
    assert len(body._fields) <= ARG_COUNT
    hints = get_type_hints(body, include_extras=True)
    lowest = {name: hints[name].__metadata__[0].low for name in body._fields}
    for name in body._fields:
        bounds = hints[name].__metadata__[0]
        for beyond in (bounds.low - 1, bounds.high + 1):
            if -(2**63) <= beyond < 2**63:
                raw = Record(op, 0, 0, 0, body(**(lowest | {name: beyond}))).packed()
                with pytest.raises(DecodeError, match=name):
                    unpack(raw)


@given(st.binary(max_size=400))
def test_noise_is_a_decode_error_and_nothing_else(raw: bytes) -> None:
    for read in (unpack, lambda raw: list(unpack_all(raw))):
        with contextlib.suppress(DecodeError):
            read(raw)


@given(st.integers(-(2**63), 2**63 - 1))
@example(1 << 59)
def test_packed_words_decode_or_are_refused(word: int) -> None:
    for kind in (Region, Shape, Traits):
        with contextlib.suppress(DecodeError):
            assert kind.unpacked(word).packed() == word or kind is Shape


@given(st.integers(0, 20).flatmap(lambda log2: st.tuples(st.integers(0, (1 << 20 - log2) - 1), st.just(log2))))
def test_regions_round_trip(drawn: tuple[int, int]) -> None:
    region = Region(drawn[0] << drawn[1], drawn[1])
    assert Region.unpacked(region.packed()) == region
    assert unpack_blocks(*pack_blocks([region, region])) == (region, region)


@given(st.lists(st.integers(0, 20), min_size=1, max_size=4), st.integers(1, 255))
def test_shapes_are_largest_first(sizes: list[int], classes: int) -> None:
    shape = Shape.unpacked(Shape(tuple(sizes), classes).packed())
    assert shape.sizes == tuple(sorted(sizes, reverse=True))
    assert (shape.classes, shape.slots) == (classes, sum(1 << size for size in sizes))


@given(st.booleans(), st.integers(0, 2**30), st.integers(0, 255))
def test_traits_round_trip(savable: bool, save_ticks: int, priority: int) -> None:
    traits = Traits(OrderFlag.NONE if savable else OrderFlag.UNSAVABLE, save_ticks, priority)
    assert Traits.unpacked(traits.packed()) == traits


@given(st.text(max_size=30))
def test_names_travel_as_records(text: str) -> None:
    name = text.replace("\0", "")[:16]
    assert NameIs.of(NameKind.HOST, 1, name).text == name


@given(st.text(max_size=60))
def test_a_topic_is_one_or_is_refused(text: str) -> None:
    with contextlib.suppress(DecodeError):
        assert str(topics.parse(text)) == text


@pytest.mark.parametrize("channel", Channel)
def test_every_channel_has_its_topic(channel: Channel) -> None:
    host = "n1" if channel in topics.HOST_CHANNELS else ""
    topic = Topic("z", channel, host)
    assert topics.parse(str(topic)) == topic
    with pytest.raises(DecodeError, match="there is no channel"):
        topics.parse(str(Topic("z", channel, "" if host else "n1")))


def test_a_message_beyond_its_bound_is_the_callers_error() -> None:
    topic = Topic("z", Channel.HEAT)
    with pytest.raises(ValueError, match="at most"):
        encode(topic, Heat(SCHEMA, "z", 1, 1, 0, bytes(BYTES_MAX[Heat])), KEY)
    with pytest.raises(ValueError, match="is not spoken on"):
        encode(topic, Orders(SCHEMA, "z", 1, 0), KEY)


@given(st.binary(max_size=300))
def test_a_frame_of_noise_is_refused(frame: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(Topic("z", Channel.BEAT), frame, lambda _: KEY)


def test_fields_that_are_not_known_are_passed_over() -> None:
    import msgspec

    topic, beat = Topic("z", Channel.BEAT), Beat(SCHEMA, "z", 5, 6, 0, 1, 2)
    payload = msgspec.msgpack.encode([*msgspec.msgpack.decode(msgspec.msgpack.encode(beat)), "new"])
    assert decode(topic, bytes([1]) + sign(KEY, str(topic), payload) + payload, lambda _: KEY) == beat


@given(st.binary(max_size=64), st.integers(0, 15))
def test_a_signature_holds_for_its_topic_payload_and_key_only(payload: bytes, place: int) -> None:
    signature = sign(KEY, "a", payload)
    broken = bytearray(signature)
    broken[place] ^= 1
    assert verify(KEY, "a", payload, signature)
    assert not verify(KEY, "b", payload, signature)
    assert not verify(KEY, "a", payload + b"x", signature)
    assert not verify(Key(b"o" * 32), "a", payload, signature)
    assert not verify(KEY, "a", payload, bytes(broken))


def test_tokens_differ_by_tenant_and_by_zone() -> None:
    assert len({tenant_token(KEY, "ada"), tenant_token(KEY, "bob"), tenant_token(Key(b"o" * 32), "ada")}) == 3


@given(st.integers(0, 2**62))
def test_amounts_are_read_as_they_are_written(amount: int) -> None:
    assert credits_ucr(credits_text(amount)) == amount
