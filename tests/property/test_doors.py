"""Whatever comes in through a door is taken in or refused with a reason, and ends nobody.

What is drawn is a message that would be taken in, with some of its fields at their bounds, beyond them, or of another
type, cut short or followed by more. Fields are found by walking the message's types.
"""

import hashlib
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from property.test_extremes import KEYS, records

from docs.ranges import numbers
from governor import voice as governor_voice
from governor.controller import Controller, Policy
from governor.gp.posterior import Hyperparameters
from tegcore.errors import DecodeError, RefusedError
from tegcore.units import GIB
from tegcore.wire import peer
from tegcore.wire.codec import decode, encode
from tegcore.wire.control import Hook, WorkloadSpec
from tegcore.wire.messages import (
    SCHEMA,
    Ask,
    Beat,
    ClassStock,
    Digest,
    Events,
    Field,
    Heat,
    Hello,
    HostKind,
    Message,
    Motion,
    Orders,
    Party,
    PeerHost,
    Peers,
    Rates,
    Rejected,
    Sample,
    Status,
    Stock,
    Telemetry,
    Welcome,
)
from tegcore.wire.records import (
    BODIES,
    Filled,
    Fok,
    Genesis,
    Market,
    Mint,
    NameIs,
    NameKind,
    Op,
    Quoted,
    Reason,
    Record,
    Refused,
    Region,
    SetRates,
    SetReserve,
    Shape,
    bounds_of,
    pack_all,
    pack_blocks,
    unpack_all,
)
from tegcore.wire.signing import SIGNATURE_BYTES, Key, Keyring, host_key, ledger_keyring, sign, tenant_token
from tegcore.wire.topics import Channel, Topic
from tegd.agent import AgentSide, Place
from tegd.effects import Rejoin
from tegd.workload import Workload
from tegio.wire import Wire
from zone_ledger.book.fast import FastBook
from zone_ledger.engine import Engine
from zone_ledger.ledger import Asked, Ledger
from zone_ledger.ring import SLOTS

HEAD = 2
"""Fields up to this place say what a message is and of whom: with another it is refused at once."""

SECRET = Key(b"s" * 32)
RING = ledger_keyring(SECRET, "z")
NAN = float("nan")
ODD: tuple[Any, ...] = (
    *(-(2**63), -1, 0, 1, 2**31, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1),
    *(NAN, float("inf"), float("-inf"), 1e308, -0.5, "x", "", b"", b"x" * 300, None, True, [], {}, [1] * 9),
)
FOK = Fok(1, tenant_token(SECRET, "ada"), Region(0, 4).packed(), Shape((0,)).packed(), 0, 0, 5_000, 20_000, 0, 0)
FILLED = Filled(1, 1, 1, *pack_blocks((Region(0, 0),)), 1_000, 400, 2_000, 1_000_000, 1)
RATES = SetRates(2, 1_000, 100, 100, 10**6, 100, 10, 1_000, 0, 0)


class Said(NamedTuple):
    """A message that would be taken in, and where."""

    topic: Topic
    message: Message


def of_host(channel: Channel, message: Message) -> Said:
    return Said(Topic("z", channel, "n1"), message)


def of_zone(channel: Channel, message: Message) -> Said:
    return Said(Topic("z", channel), message)


TO_LEDGER = (
    of_host(Channel.ORDERS, Hello(SCHEMA, "n1", 8, -1, 2, 0, 8_000, 8 * GIB, 0, 2, 5)),
    of_host(Channel.ORDERS, Orders(SCHEMA, "n1", 7, 0, Record(Op.FOK, 0, 7, 1, FOK).packed())),
    of_host(Channel.ORDERS, Orders(SCHEMA, "n1", 7, 0, b"", Record(Op.FOK, 0, 7, 0, FOK).packed())),
    of_host(Channel.ORDERS, Ask(SCHEMA, "n1", 7, [1], ["n1"], -1)),
    of_host(Channel.ORDERS, Ask(SCHEMA, "n1", 7, [], [], 0)),
    of_host(Channel.STATUS, Status(SCHEMA, "n1", 7, up=True, address="h:1", machine=5)),
    of_host(Channel.STATUS, Status(SCHEMA, "n1", 7, up=False)),
    of_zone(Channel.RATES, Rates(SCHEMA, "z", 1, Record(Op.SET_RATES, 0, 0, 9, RATES).packed(), 5)),
)
STOCK = Stock(20, [ClassStock(0, 4, 4, free_log2=2, largest_log2=2)], [HostKind(0, 2, 8_000, 8 * GIB)])
TO_HOST = (
    of_host(Channel.EVENTS, Welcome(SCHEMA, "n1", 7, 1, 0, 2, 5, 100, 200, 40, 40, 60, 100)),
    of_host(Channel.EVENTS, Events(SCHEMA, "n1", 7, 6, 1, Record(Op.FILLED, 1, 7, 1, FILLED).packed())),
    of_host(
        Channel.EVENTS,
        Events(SCHEMA, "n1", 7, 6, 1, b"", Record(Op.QUOTED, 1, 7, 0, Quoted(1, 0, 0, 9, 0, 4, 0, 0, 6)).packed()),
    ),
    of_host(Channel.EVENTS, Rejected(SCHEMA, "n1", 7, 28, "again")),
    of_host(
        Channel.EVENTS,
        Peers(SCHEMA, "n1", 7, [Party(1, 1, "n1", ["n1"], [1])], [PeerHost("n2", "h:1", True, b"k" * 32)]),
    ),
    of_zone(Channel.BEAT, Beat(SCHEMA, "z", 7, 7, 0, 0, 4)),
    of_zone(Channel.FIELD, Field(SCHEMA, "z", 5, 4, 2.0, 0.1, 0.1, b"\0" * 64, b"\0" * 64, 0, 0.5, 1.0, 1_000)),
    of_zone(Channel.HEAT, Heat(SCHEMA, "z", 20, 1, 0, b"\0" * 1024, b"", STOCK)),
    of_zone(Channel.HEAT, Heat(SCHEMA, "z", 21, 1, 1, b"\0" * 6)),
)
READING = Sample(1, 0.5, 0.5, 0.1, NAN, NAN, 0.2, 0.1, 40.0, 200.0)
TO_GOVERNOR = (
    of_host(Channel.TELEMETRY, Telemetry(SCHEMA, "n1", 7, 1, 0, 2, [READING], Motion(3, 1, 2.0, 5, 1.0))),
    of_zone(Channel.DIGEST, Digest(SCHEMA, "z", 5, 5, 16, 8, 4, 2, 8_000, 8_000, 16_000, 3, 1, 4, 1)),
    of_zone(Channel.DIGEST, Digest(SCHEMA, "z", 100, 100, 16, 8, 4, 2, 8_000, 8_000, 16_000, 3, 1, 4, 1)),
)


def spots(fields: Any, at: tuple[int, ...] = ()) -> list[tuple[int, ...]]:
    """Places of all that is in a message, as it is encoded."""
    found = []
    for place, inner in enumerate(fields):
        found.append((*at, place))
        if isinstance(inner, list):
            found += spots(inner, (*at, place))
    return found


@lru_cache
def within(kind: type[Message]) -> list[float]:
    """Each number's bounds."""
    return [edge for each in numbers(kind) for edge in (each.low, each.high) if edge is not None] or [0]


@lru_cache
def bounds(kind: type[Message]) -> list[float]:
    """Each number's bounds, and what lies beyond."""
    return [
        edge
        for each in numbers(kind)
        for edge in (each.low, each.high, (each.low or 0) - 1, (each.high or 0) + 1)
        if edge is not None and -(2**63) <= edge < 2**64
    ]


def found(fields: Any, at: tuple[int, ...]) -> Any:
    for place in at:
        if not isinstance(fields, list) or place >= len(fields):
            return None
        fields = fields[place]
    return fields


def put(fields: list[Any], at: tuple[int, ...], value: Any) -> None:
    inside = found(fields, at[:-1])
    if isinstance(inside, list) and at[-1] < len(inside):  # else something else was put there before
        inside[at[-1]] = value


def like(before: Any, kind: type[Message]) -> st.SearchStrategy[Any]:
    """What stands in a field instead: mostly of its type."""
    odd = st.sampled_from(ODD)
    if isinstance(before, bytes):
        return packed() | packed() | packed() | odd
    edges = st.sampled_from(bounds(kind)) | st.sampled_from(within(kind))
    return edges | edges | odd if isinstance(before, int | float) else odd


@st.composite
def frames(draw: st.DrawFn, to: tuple[Said, ...]) -> tuple[str, bytes]:
    """A frame, rightly signed."""
    topic, message = draw(st.sampled_from(to))
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(message))
    everywhere = spots(fields)
    inside = [at for at in everywhere if at[0] > HEAD]
    for at in draw(st.lists(st.sampled_from(inside * 4 + everywhere), max_size=3)):
        put(fields, at, draw(like(found(fields, at), type(message))))
    payload = msgspec.msgpack.encode(fields)
    kept = draw(st.sampled_from([len(payload)] * 20 + [len(payload) // 2, len(payload) - 1, 1]))
    payload = payload[:kept] + draw(st.sampled_from([b""] * 20 + [b"\x91" * 5_000, b"\xd9\x02\xff\xfe", payload]))
    key = RING.key_of(topic)
    assert key is not None
    return str(topic), b"\x01" + sign(key, str(topic), payload) + payload


@st.composite
def packed(draw: st.DrawFn) -> bytes:
    """Records of whatever op, numbered from 1 or not."""
    drawn = draw(st.lists(records() | told(), max_size=3))
    numbered = draw(st.booleans())
    return pack_all(each._replace(seq=place if numbered else each.seq) for place, each in enumerate(drawn, 1))


@st.composite
def told(draw: st.DrawFn) -> Record:
    """Events."""
    op = draw(st.sampled_from([op for op in BODIES if op >= Op.FILLED]))
    body = [draw(st.sampled_from([1, low, high, 0, 4])) for _, (low, high) in bounds_of(op)]
    body = [max(low, min(high, word)) for word, (_, (low, high)) in zip(body, bounds_of(op), strict=True)]
    return Record(op, 1, 7, draw(KEYS), BODIES[op]._make(body))


class Nobody:
    """A broker to which nobody listens; what is subscribed to is handed over by hand."""

    def __init__(self) -> None:
        self.handle: Callable[[str, bytes], None] = lambda topic, frame: None

    def subscribe(self, _topic_filter: str, on_message: Callable[[str, bytes], None]) -> None:
        self.handle = on_message


def ledger_after(drawn: list[tuple[str, bytes]]) -> Ledger:
    """A ledger that has heard all of it, tick by tick, and has said what there was to say."""
    engine = Engine(FastBook)
    for key, (op, body) in enumerate(
        (
            (Op.GENESIS, Genesis(2, 100, 2, 40, 40, 60, 100, Market.AUCTION)),
            (Op.NAME_IS, NameIs.of(NameKind.ZONE, 0, "z")),
            (Op.NAME_IS, NameIs.of(NameKind.TENANT, 1, "ada")),
            (Op.SET_RESERVE, SetReserve(0, 1_000)),
            (Op.MINT, Mint(1, 1_000_000)),
        )
    ):
        engine.apply(Record(op, 0, 0, key, body))
    ledger, hello = Ledger("z", SECRET, engine, 0, 10**9), Hello(SCHEMA, "n1", 7, 0, 2, 0, 8_000, 8 * GIB, 0, 2, 5)
    first = str(TO_LEDGER[0].topic), encode(TO_LEDGER[0].topic, hello, host_key(SECRET, "n1"))
    for number, frame in enumerate([first, *drawn, *[None] * 20]):
        if frame is not None:
            ledger.arrive(*frame, now_ns=number)
        batch = ledger.tick(number, connected=True)
        assert all(record.headed for record in unpack_all(batch.records))
        ledger.next_write()
        for said in ledger.durable().sayings:
            key = RING.key_of(said.topic)
            assert key is not None
            decode(said.topic, encode(said.topic, said.message, key), RING.key_of)
        engine.state.running_hash()
    engine.check()
    assert not ledger.door.counts["UNFORESEEN"], ledger.door.quarantine
    return ledger


def host_after(drawn: list[tuple[str, bytes]]) -> AgentSide:
    """An agent side that was welcomed, has work that waits, and has heard all of it, cycle by cycle."""
    now_ns = 10**12
    side = AgentSide(Place("n1", 0, 2, 0, 8_000, 8 * GIB), 7, 1, {"ada": FOK.tenant}, now_ns)
    side.ready()
    side.node.submitted(Workload.accepted(1, "ada", (0, 0), 1, WorkloadSpec(argv=("x",), hook=Hook())))
    broker = Nobody()
    wire = Wire(broker, Keyring(RING.members, None, {"n1": host_key(SECRET, "n1")}.get))  # type: ignore[arg-type]
    wire.hear("", lambda message: side.heard(message, now_ns))
    welcome = TO_HOST[0]
    side.heard(welcome.message, now_ns)  # type: ignore[arg-type]
    for frame in [*drawn, *[None] * 3]:
        now_ns += 50_000_000
        if frame is not None:
            broker.handle(*frame)
        side.cycle({}, now_ns)
        for said in side.sayings():
            topic = Topic("z", said.channel, "n1")
            decode(topic, encode(topic, said.message, host_key(SECRET, "n1")), lambda _: host_key(SECRET, "n1"))
    assert not side.not_taken_in["UNFORESEEN"], side.flaw
    return side


def governor_after(drawn: list[tuple[str, bytes]]) -> Controller:
    """A governor that has heard all of it and said what follows, cycle by cycle."""
    controller = Controller(10, Policy(1_000, 100, 10, 1_000, 0, 3_600_000), Hyperparameters(grid=4))
    broker = Nobody()
    wire = Wire(broker, Keyring(RING.members, RING.governor))  # type: ignore[arg-type]

    def hear(message: Telemetry | Digest) -> None:
        if isinstance(message, Digest):
            controller.take(message, 4.0)
        else:
            controller.hear(message)

    wire.hear("", hear)
    for tick, frame in enumerate([*drawn, *[None] * 30], 1):
        if frame is not None:
            broker.handle(*frame)
        zone = of_zone(Channel.DIGEST, msgspec.structs.replace(TO_GOVERNOR[1].message, tick=tick, tau=tick))
        broker.handle(str(zone.topic), encode(zone.topic, zone.message, RING.members))
        for said in governor_voice.due(controller, "z"):
            key = RING.key_of(Topic("z", said.channel))
            assert key is not None
            topic = Topic("z", said.channel)
            decode(topic, encode(topic, said.message, key), RING.key_of)
    return controller


def several(to: tuple[Said, ...]) -> st.SearchStrategy[list[tuple[str, bytes]]]:
    return st.lists(frames(to), min_size=1, max_size=8)


def said(place: int, to: tuple[Said, ...], **changes: Any) -> list[tuple[str, bytes]]:
    """One of the messages with some fields changed."""
    topic, message = to[place]
    payload = msgspec.msgpack.encode(msgspec.structs.replace(message, **changes))
    key = RING.key_of(topic)
    assert key is not None
    return [(str(topic), b"\x01" + sign(key, str(topic), payload) + payload)]


@settings(max_examples=40, deadline=None)
@example(said(0, TO_LEDGER, boot=2**63))
@example(said(0, TO_LEDGER, cpu_milli=2**63))
@example(said(0, TO_LEDGER, mem_bytes=2**63))
@example(said(0, TO_LEDGER, absent_mask=2**63))
@example(said(0, TO_LEDGER, base=2**63))
@example(said(1, TO_LEDGER, records=Record(Op.FOK, 0, 7, 1, FOK._replace(cpu_milli=2**62, shape=3)).packed()))
@example(said(0, TO_LEDGER, absent_mask=2**63 - 1))
@example(said(7, TO_LEDGER, records=Record(Op.SET_RATES, 0, 0, 2**63, RATES).packed()))
@example(said(7, TO_LEDGER, records=Record(Op.SET_RATES, 0, 0, 9, RATES._replace(epoch=2**62)).packed()))
@given(several(TO_LEDGER))
def test_no_message_ends_a_ledger(drawn: list[tuple[str, bytes]]) -> None:
    ledger_after(drawn)


@settings(max_examples=40, deadline=None)
@example(said(1, TO_HOST, records=b"x" * 300))
@example(said(1, TO_HOST, records=Record(Op.FILLED, 1, 7, 1, FILLED._replace(blocks0=1)).packed()))
@example(said(1, TO_HOST, records=Record(Op.REFUSED, 1, 7, 1, Refused(1, 255, 0, 0, 0)).packed()))
@example(said(2, TO_HOST, quotes=Record(Op.QUOTED, 1, 7, 0, Quoted(1, 255, 0, 0, 0, 0, 0, 0, 6)).packed()))
@given(several(TO_HOST))
def test_no_message_ends_a_host(drawn: list[tuple[str, bytes]]) -> None:
    host_after(drawn)


@settings(max_examples=40, deadline=None)
@example(said(0, TO_GOVERNOR, motion=Motion(3, 1, 1e9, 1, 1.0)))
@example(said(0, TO_GOVERNOR, motion=Motion(999_999, 1, 1e9, 1, 1.0)))
@example(said(1, TO_GOVERNOR, epoch=2**48))
@given(several(TO_GOVERNOR))
def test_no_message_ends_a_governor(drawn: list[tuple[str, bytes]]) -> None:
    governor_after(drawn)


NO_TOPIC = "teg/v1/z/host/No Name/orders"


def test_a_flood_on_a_topic_that_is_none_ends_no_ledger() -> None:
    ledger = ledger_after([])
    for number in range(SLOTS + 2):
        ledger.arrive(NO_TOPIC, b"x", number)
    ledger.tick(10**9, connected=True)
    assert ledger.door.counts["UNDECODABLE"] == SLOTS
    assert ledger.door.counts["BUSY"] == 2


def test_a_failing_disk_and_a_topic_that_is_none_end_no_ledger() -> None:
    ledger = ledger_after([])
    ledger.arrive(NO_TOPIC, b"x", 1)
    ledger.tick(10**9, connected=True)
    assert ledger.next_write() is not None
    assert ledger.failed().sayings == []


def test_what_a_decoder_did_not_foresee_is_a_counted_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def unforeseen(*_: Any) -> Any:
        raise ZeroDivisionError("nobody thought of this")

    ledger, side, message = ledger_after([]), host_after([]), said(1, TO_LEDGER)[0]
    monkeypatch.setattr("zone_ledger.door.decode", unforeseen)
    entry = ledger.door.read(ledger.state, *message)
    assert entry.rejected == (Reason.UNDECODABLE, "ZeroDivisionError: nobody thought of this")
    assert ledger.door.counts == {"UNDECODABLE": 1, "UNFORESEEN": 1}
    monkeypatch.setattr(type(side.node), "told_events", unforeseen)
    effects = side.heard(TO_HOST[1].message, 10**13)  # type: ignore[arg-type]
    assert Rejoin() in effects, "what it might have missed is told anew"
    assert side.not_taken_in == {"UNFORESEEN": 1}


def test_a_request_that_is_refused_once_its_turn_comes_ends_no_ledger() -> None:
    """Two people asked for the same within a tick: both were looked at before, and the second comes too late."""

    def too_late() -> list[Record]:
        raise error

    ledger, error = ledger_after([]), RefusedError("there is one already")
    asked = Asked("me", too_late, lambda: None, reads=False)
    ledger.ask(asked)
    batch = ledger.tick(10**9, connected=True)
    assert batch.turned_away == [(asked, error)]
    assert ledger.state.tick == 22


def test_lists_in_lists_behind_a_frame_of_a_host_are_no_message() -> None:
    payload = msgspec.msgpack.encode(peer.Drop(1, 2, 0))
    payload = bytes([payload[0] + 1]) + payload[1:] + b"\x91" * 50_000
    key, nonces = Key(b"k" * 32), b"n" * 32
    mac = hashlib.blake2b(key=key, digest_size=SIGNATURE_BYTES)
    mac.update(nonces + struct.pack("<BQ", 0, 0) + payload)
    with pytest.raises(DecodeError, match="not a message of hosts"):
        peer.Sealer(key, nonces, 0).open(mac.digest(), payload)
