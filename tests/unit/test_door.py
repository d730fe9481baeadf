"""Bad input at the ledger's door: each kind has a clear reason, is counted and kept, and changes no balance."""

from collections.abc import Callable

import msgspec
import pytest

from tegcore.wire.codec import FRAME_BYTES_MAX, encode
from tegcore.wire.messages import SCHEMA, Beat, Hello, Orders, Status
from tegcore.wire.records import (
    Cancel,
    Fok,
    Genesis,
    Market,
    Mint,
    NameIs,
    NameKind,
    Op,
    Reason,
    Record,
    Region,
    SetReserve,
    Shape,
    Tick,
    pack_all,
)
from tegcore.wire.signing import Key, host_key, ledger_keyring, members_key, sign, tenant_token
from tegcore.wire.topics import Channel, Topic
from zone_ledger.book.reference import ReferenceBook
from zone_ledger.door import QUARANTINE_MAX, TWIN_TICKS, Door
from zone_ledger.engine import Engine

SECRET = Key(b"s" * 32)
ORDERS = Topic("z", Channel.ORDERS, "n1")
OTHER = Topic("z", Channel.ORDERS, "n2")


class Ledger:
    """An engine behind its door, one host up, one tenant with credits."""

    def __init__(self) -> None:
        self.engine = Engine(ReferenceBook)
        self.door = Door("z", SECRET)
        for record in (
            Record(Op.GENESIS, 0, 0, 0, Genesis(2, 100, 2, 40, 40, 60, 100, Market.AUCTION)),
            Record(Op.NAME_IS, 0, 0, 0, NameIs.of(NameKind.TENANT, 1, "ada")),
            Record(Op.SET_RESERVE, 0, 0, 1, SetReserve(0, 1000)),
            Record(Op.MINT, 0, 0, 2, Mint(1, 1_000_000)),
        ):
            self.engine.apply(record)
        self.say(Hello(SCHEMA, "n1", 7, -1, 3, 0, 8000, 1 << 33))

    def read(self, topic: str, frame: bytes):
        entry = self.door.read(self.engine.state, topic, frame)
        outcomes = [self.engine.apply(record) for record in entry.commands]
        return entry, outcomes

    def say(self, message, topic: Topic = ORDERS):
        key = ledger_keyring(SECRET, "z").key_of(topic)
        return self.read(str(topic), encode(topic, message, key))

    def order(self, *records: Record, boot: int = 7, ack: int = 0):
        return self.say(Orders(SCHEMA, "n1", boot, ack, pack_all(records)))

    def tick(self) -> None:
        tick = self.engine.state.tick + 1
        self.engine.apply(Record(Op.TICK, 0, 0, 0, Tick(tick, tick)))

    def told(self) -> list[Record]:
        from tegcore.wire.records import unpack_all

        return list(unpack_all(self.engine.state.hosts[1].outbox.pending()))

    def money(self) -> tuple[int, int, int]:
        accounts = self.engine.state.accounts
        return accounts.balance_sum, accounts.escrow, accounts.evaporated


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def fok(seq: int, **changes) -> Record:
    fields = {
        "ref": seq,
        "tenant": tenant_token(SECRET, "ada"),
        "region": Region(0, 4).packed(),
        "shape": Shape((0,)).packed(),
        "cpu_milli": 0,
        "mem_bytes": 0,
        "limit_ucr": 5000,
        "endow_ucr": 20_000,
        "traits": 0,
        "lease": 0,
    }
    return Record(Op.FOK, 0, 7, seq, Fok(**(fields | changes)))


def signed(payload: bytes, topic: Topic = ORDERS, key: Key | None = None) -> bytes:
    return bytes([1]) + sign(key or host_key(SECRET, "n1"), str(topic), payload) + payload


GOOD = Orders(SCHEMA, "n1", 7, 0, pack_all([fok(1)]))
BAD: dict[str, tuple[str, Callable[[], bytes], Reason]] = {
    "empty": (str(ORDERS), lambda: b"", Reason.UNDECODABLE),
    "noise": (str(ORDERS), lambda: b"\x01" + bytes(range(200)), Reason.FORGED),
    "another frame version": (
        str(ORDERS),
        lambda: b"\x09" + encode(ORDERS, GOOD, host_key(SECRET, "n1"))[1:],
        Reason.UNDECODABLE,
    ),
    "oversized": (str(ORDERS), lambda: b"\x01" + b"x" * FRAME_BYTES_MAX, Reason.UNDECODABLE),
    "signed, not MessagePack": (str(ORDERS), lambda: signed(b"\xc1\xc1"), Reason.UNDECODABLE),
    "another schema": (str(ORDERS), lambda: signed(msgspec.msgpack.encode(Orders(9, "n1", 7, 0))), Reason.UNDECODABLE),
    "half a record": (
        str(ORDERS),
        lambda: encode(ORDERS, Orders(SCHEMA, "n1", 7, 0, b"x" * 50), host_key(SECRET, "n1")),
        Reason.UNDECODABLE,
    ),
    "an operator's command": (
        str(ORDERS),
        lambda: encode(
            ORDERS, Orders(SCHEMA, "n1", 7, 0, Record(Op.MINT, 0, 7, 1, Mint(1, 5)).packed()), host_key(SECRET, "n1")
        ),
        Reason.UNDECODABLE,
    ),
    "another host's name": (str(ORDERS), lambda: encode(ORDERS, GOOD, host_key(SECRET, "n2")), Reason.FORGED),
    "another host's name inside": (
        str(OTHER),
        lambda: signed(msgspec.msgpack.encode(GOOD), OTHER, host_key(SECRET, "n2")),
        Reason.FORGED,
    ),
    "moved to another topic": (str(OTHER), lambda: encode(ORDERS, GOOD, host_key(SECRET, "n1")), Reason.FORGED),
    "a member's message": (
        str(ORDERS),
        lambda: signed(msgspec.msgpack.encode(Beat(SCHEMA, "z", 1, 1, 0, 0, 0)), ORDERS, members_key(SECRET, "z")),
        Reason.FORGED,
    ),
    "another zone": (
        "teg/v1/y/host/n1/orders",
        lambda: encode(ORDERS, GOOD, host_key(SECRET, "n1")),
        Reason.UNDECODABLE,
    ),
    "no topic": ("teg/v2/z/orders", lambda: encode(ORDERS, GOOD, host_key(SECRET, "n1")), Reason.UNDECODABLE),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_refused_with_a_reason_and_changes_nothing(ledger: Ledger, kind: str) -> None:
    topic, make, reason = BAD[kind]
    before = ledger.engine.state.hash()
    entry, outcomes = ledger.read(topic, make())
    assert entry.rejected is not None
    assert entry.rejected[0] is reason
    assert entry.rejected[1]
    assert outcomes == []
    assert ledger.door.counts[reason.name] == 1
    assert ledger.door.quarantine[-1].detail == entry.rejected[1]
    assert ledger.engine.state.hash() == before


def test_what_is_kept_of_bad_input_is_bounded(ledger: Ledger) -> None:
    for _ in range(QUARANTINE_MAX + 10):
        ledger.read(str(ORDERS), b"")
    assert len(ledger.door.quarantine) == QUARANTINE_MAX
    assert ledger.door.counts["UNDECODABLE"] == QUARANTINE_MAX + 10


def test_a_replayed_message_changes_nothing(ledger: Ledger) -> None:
    ledger.order(fok(1))
    ledger.tick()
    assert len(ledger.engine.state.leases) == 1
    before = ledger.engine.state.hash()
    _, outcomes = ledger.order(fok(1))
    assert outcomes == []
    assert ledger.engine.state.hash() == before


def test_messages_out_of_order_are_taken_in_order(ledger: Ledger) -> None:
    """What leaves a gap is dropped; the sender sends from the oldest again."""
    _, outcomes = ledger.order(fok(2))
    assert outcomes == []
    ledger.order(fok(1), fok(2))
    ledger.tick()
    assert sorted(lease.ref for lease in ledger.engine.state.leases.values()) == [1, 2]


def test_orders_of_an_earlier_boot_are_void(ledger: Ledger) -> None:
    ledger.say(Hello(SCHEMA, "n1", 8, -1, 3, 0, 8000, 1 << 33))
    entry, _ = ledger.order(fok(1), boot=7)
    assert entry.rejected is not None
    assert (entry.rejected[0], entry.boot) == (Reason.STALE_BOOT, 7), "which boot is rejected is said"
    hello, _ = ledger.say(Hello(SCHEMA, "n1", 7, -1, 3, 0, 8000, 1 << 33))
    assert hello.rejected is not None
    assert ledger.engine.state.hosts[1].boot == 8


def test_two_machines_of_one_name_are_told_apart_and_the_first_keeps_its_session(ledger: Ledger) -> None:
    ledger.say(Hello(SCHEMA, "n1", 8, -1, 3, 0, 8000, 1 << 33, machine=11))
    for _ in range(3):
        for _ in range(TWIN_TICKS // 2):
            ledger.tick()
        ledger.order(boot=8)
        entry, _ = ledger.say(Hello(SCHEMA, "n1", 9, -1, 3, 0, 8000, 1 << 33, machine=12))
        assert entry.rejected is not None
        assert entry.rejected[0] is Reason.TWIN
        assert "two machines say that they are n1" in entry.rejected[1]
        assert ledger.engine.state.hosts[1].boot == 8
    ledger.order(fok(1), boot=8)
    ledger.tick()
    assert ledger.engine.state.leases
    again, _ = ledger.say(Hello(SCHEMA, "n1", 10, -1, 3, 0, 8000, 1 << 33, machine=11))
    assert again.greeted
    for _ in range(TWIN_TICKS):
        ledger.tick()
    other, _ = ledger.say(Hello(SCHEMA, "n1", 11, -1, 3, 0, 8000, 1 << 33, machine=12))
    assert other.greeted, "the first is silent: it has been replaced"


def test_a_machine_that_takes_the_place_of_one_that_said_goodbye_is_no_twin(ledger: Ledger) -> None:
    ledger.say(Hello(SCHEMA, "n1", 8, -1, 3, 0, 8000, 1 << 33, machine=11))
    ledger.say(Status(SCHEMA, "n1", 8, up=False, machine=11), Topic("z", Channel.STATUS, "n1"))
    entry, _ = ledger.say(Hello(SCHEMA, "n1", 9, -1, 3, 0, 8000, 1 << 33, machine=12))
    assert entry.greeted


def test_after_a_restart_of_the_ledger_the_machine_is_known_by_what_it_says_of_its_presence(ledger: Ledger) -> None:
    status = Topic("z", Channel.STATUS, "n1")
    ledger.say(Hello(SCHEMA, "n1", 8, -1, 3, 0, 8000, 1 << 33, machine=11))
    ledger.door = Door("z", SECRET)
    ledger.say(Status(SCHEMA, "n1", 7, up=True, machine=12), status)
    ledger.say(Status(SCHEMA, "n1", 8, up=True, machine=11), status)
    entry, _ = ledger.say(Hello(SCHEMA, "n1", 9, -1, 3, 0, 8000, 1 << 33, machine=12))
    assert entry.rejected is not None
    assert entry.rejected[0] is Reason.TWIN


REFUSED = {
    "a limit above the balance": ({"limit_ucr": 3_000_000, "endow_ucr": 3_000_000}, Reason.FUNDS, 2_000_000),
    "an endowment below a period at the limit": ({"endow_ucr": 4_000}, Reason.ENDOWMENT, 1_000),
    "a region outside the zone": ({"region": Region(16, 2).packed()}, Reason.REGION, None),
    "a region that is no aligned run": ({"region": 3 << 8 | 2}, Reason.REGION, None),
    "a shape that no block has": ({"shape": 0}, Reason.SHAPE, None),
    "a block larger than its region": (
        {"region": Region(0, 1).packed(), "shape": Shape((2,)).packed()},
        Reason.SHAPE,
        None,
    ),
    "a tenant's token that nobody has": ({"tenant": 12345}, Reason.TENANT, None),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_an_order_that_cannot_be_is_refused_with_the_number_that_is_missing(ledger: Ledger, kind: str) -> None:
    changes, reason, missing = REFUSED[kind]
    before = ledger.money()
    ledger.order(fok(1, **changes))
    ledger.tick()
    refused = next(record.body for record in ledger.told() if record.op is Op.REFUSED)
    assert Reason(refused.reason) is reason
    assert missing is None or refused.missing == missing
    assert ledger.money() == before
    assert ledger.engine.state.leases == {}


def test_the_session_goes_on_after_a_refusal(ledger: Ledger) -> None:
    ledger.order(fok(1, tenant=5), Record(Op.CANCEL, 0, 7, 2, Cancel(99)), fok(3))
    ledger.tick()
    assert [lease.ref for lease in ledger.engine.state.leases.values()] == [3]


def test_a_last_will_marks_the_host(ledger: Ledger) -> None:
    assert ledger.engine.state.hosts[1].up
    ledger.say(Status(SCHEMA, "n1", 7, up=False), Topic("z", Channel.STATUS, "n1"))
    assert not ledger.engine.state.hosts[1].up


def test_a_zone_without_room_says_so(ledger: Ledger) -> None:
    topic = Topic("z", Channel.ORDERS, "n9")
    entry, _ = ledger.say(Hello(SCHEMA, "n9", 1, -1, 4, 0, 1, 1), topic)
    assert entry.rejected is not None
    assert entry.rejected[0] is Reason.REGION
