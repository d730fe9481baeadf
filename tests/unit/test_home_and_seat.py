"""The ledger's side of several hosts: terms by host, hosts that are lost and return, and who is told about whom."""

import pytest

from tegcore.wire.codec import encode
from tegcore.wire.messages import SCHEMA, Ask, Hello, Orders, Peers, Status
from tegcore.wire.records import (
    Cancel,
    Evict,
    Fok,
    Genesis,
    HostLost,
    HostUp,
    Market,
    Mint,
    NameIs,
    NameKind,
    Op,
    Reason,
    Record,
    Region,
    Release,
    Renew,
    SetReserve,
    Shape,
    Tick,
    unpack_all,
)
from tegcore.wire.signing import Key, host_key, peer_key, sealed
from tegcore.wire.topics import Channel, Topic
from zone_ledger import snapshot, voice
from zone_ledger.book.reference import ReferenceBook
from zone_ledger.door import Door
from zone_ledger.engine import Engine
from zone_ledger.leases import LeaseState

SECRET = Key(b"s" * 32)
PERIOD, TERM, GRACE, NOTICE = 100, 200, 10, 20
SURE = TERM + TERM // 100 + GRACE
GIB = 1 << 30


class Zone:
    """Three hosts of two slots each: n1 and n2 share a block of four, n3 only orders."""

    def __init__(self) -> None:
        self.engine, self.door = Engine(ReferenceBook), Door("z", SECRET)
        self.sent = dict.fromkeys((1, 2, 3), 0)
        for key, (op, body) in enumerate(
            (
                (Op.GENESIS, Genesis(2, PERIOD, 2, 40, GRACE, NOTICE, 100, Market.AUCTION)),
                (Op.NAME_IS, NameIs.of(NameKind.TENANT, 1, "ada")),
                *((Op.NAME_IS, NameIs.of(NameKind.HOST, number, f"n{number}")) for number in (1, 2, 3)),
                (Op.SET_RESERVE, SetReserve(0, 1000)),
                (Op.MINT, Mint(1, 10_000_000)),
            )
        ):
            self.engine.apply(Record(op, 0, 0, key, body))
        for number, base in ((1, 0), (2, 2), (3, 4)):
            self.engine.apply(Record(Op.HOST_UP, number, 1, 0, HostUp(base, 1, 0, 4000, 8 * GIB, 0)))

    @property
    def state(self):
        return self.engine.state

    def command(self, op: Op, body, host: int):
        self.sent[host] += 1
        outcome = self.engine.apply(Record(op, host, 1, self.sent[host], body))
        self.engine.check()
        return outcome

    def fok(self, ref: int, size: int, region: Region, host: int = 3, limit: int = 2000) -> None:
        shape = Shape((size,)).packed()
        endow = (limit << size) * 30
        self.command(Op.FOK, Fok(ref, 1, region.packed(), shape, 0, 0, limit, endow, 0, 0), host)

    def ticks(self, count: int = 1) -> None:
        for _ in range(count):
            self.engine.apply(Record(Op.TICK, 0, 0, 0, Tick(self.state.tick + 1, self.state.tick + 1)))
            self.engine.check()

    def told(self, op: Op, host: int) -> list:
        return [record.body for record in unpack_all(self.state.hosts[host].outbox.pending()) if record.op is op]

    def mesh(self):
        """A block over both hosts, ordered by the third."""
        self.fok(1, 2, Region(0, 2))
        self.ticks()
        (lease,) = self.state.leases.values()
        assert lease.hosts == (1, 2)
        return lease

    def say(self, message, host: str):
        channel = Channel.STATUS if isinstance(message, Status) else Channel.ORDERS
        topic = Topic("z", channel, host)
        entry = self.door.read(self.state, str(topic), encode(topic, message, host_key(SECRET, host)))
        for record in entry.commands:
            self.engine.apply(record)
        return entry


@pytest.fixture
def zone() -> Zone:
    return Zone()


def test_a_lease_over_two_hosts_ends_whole_when_the_term_of_one_ends(zone: Zone) -> None:
    lease = zone.mesh()
    granted = zone.state.tick
    while zone.state.tick < granted + SURE - 1:
        if (zone.state.tick - granted) % 40 == 0:
            zone.command(Op.RENEW, Renew(lease.number, lease.token, 2000, 1000, 1), 1)
        zone.ticks()
    assert lease.state is LeaseState.HELD
    zone.ticks()
    assert [notice.why for notice in zone.told(Op.NOTICE, 1)] == [Reason.EXPIRED]
    assert zone.state.leases, "the host that is there has not said that its slots are clear"
    assert zone.command(Op.RENEW, Renew(lease.number, lease.token, 2000, 1000, 1), 1).reason is Reason.STATE
    zone.command(Op.RELEASE, Release(lease.number, lease.token, Reason.EXPIRED), 1)
    assert not zone.state.leases
    assert zone.told(Op.ENDED, 3)[-1].why == Reason.EXPIRED


def test_slots_of_the_host_that_renewed_last_are_let_only_after_its_own_term(zone: Zone) -> None:
    lease = zone.mesh()
    zone.ticks(100)
    zone.command(Op.RENEW, Renew(lease.number, lease.token, 2000, 1000, 1), 1)
    heard = zone.state.tick
    while zone.state.leases:
        assert zone.state.tick < heard + SURE + 1
        zone.ticks()
    assert zone.state.tick == heard + SURE, "host 1 could have believed in its term until then"


def test_a_lease_that_has_notice_is_clear_of_each_host_at_the_end_of_its_term(zone: Zone) -> None:
    lease = zone.mesh()
    zone.ticks(100)
    zone.command(Op.RENEW, Renew(lease.number, lease.token, 2000, 1000, 1), 1)
    zone.engine.apply(Record(Op.EVICT, 0, 0, 99, Evict(lease.number)))
    zone.ticks(SURE - 100)
    assert lease.clear == {2}
    assert lease.state is LeaseState.EVICTING
    zone.ticks(100)
    assert not zone.state.leases


def test_a_renewal_for_all_hosts_counts_as_it_did(zone: Zone) -> None:
    lease = zone.mesh()
    zone.ticks(SURE - 1)
    zone.command(Op.RENEW, Renew(lease.number, lease.token, 2000, 1000), 1)
    zone.ticks(SURE - 1)
    assert lease.state is LeaseState.HELD


def test_who_ordered_a_lease_calls_it_back_by_notice_to_its_seats(zone: Zone) -> None:
    lease = zone.mesh()
    assert zone.command(Op.CANCEL, Cancel(1, lease.number), 1).reason is Reason.STATE, "host 1 did not order it"
    assert zone.command(Op.CANCEL, Cancel(1, lease.number), 3).reason is Reason.OK
    assert [zone.told(Op.NOTICE, host)[-1].why for host in (1, 2)] == [Reason.CANCELLED] * 2
    for host in (1, 2):
        zone.command(Op.RELEASE, Release(lease.number, lease.token, Reason.CANCELLED), host)
    assert not zone.state.leases


def test_a_lost_host_is_offered_nothing_until_it_is_heard_again(zone: Zone) -> None:
    whole = Region(0, 3)
    zone.engine.apply(Record(Op.HOST_LOST, 0, 0, 0, HostLost(1, 1)))
    assert not zone.state.hosts[1].up
    assert zone.state.book.free_slots(Region(0, 1)) == 0
    packed = snapshot.unpack(snapshot.pack(zone.state), ReferenceBook)
    assert packed.hash() == zone.state.hash()
    assert packed.book.free_slots(Region(0, 1)) == 0
    zone.fok(1, 1, whole)
    zone.ticks()
    assert next(iter(zone.state.leases.values())).blocks[0].base >= 2
    zone.say(Orders(SCHEMA, "n1", 1, 0), "n1")
    assert zone.state.hosts[1].up
    assert zone.state.book.free_slots(Region(0, 1)) == 2


def test_a_drained_host_stays_drained_when_it_returns(zone: Zone) -> None:
    from tegcore.wire.records import Drain

    zone.engine.apply(Record(Op.DRAIN, 0, 0, 77, Drain(1, 1)))
    zone.engine.apply(Record(Op.HOST_LOST, 0, 0, 0, HostLost(1, 1)))
    zone.engine.apply(Record(Op.DRAIN, 0, 0, 78, Drain(1, 0)))
    assert zone.state.book.free_slots(Region(0, 1)) == 0
    zone.say(Status(SCHEMA, "n1", 1, up=True), "n1")
    assert zone.state.book.free_slots(Region(0, 1)) == 2
    assert zone.state.hosts[1].up


def test_a_will_of_an_earlier_boot_says_nothing(zone: Zone) -> None:
    zone.say(Hello(SCHEMA, "n1", 9, 0, 1, 0, 4000, 8 * GIB), "n1")
    zone.say(Status(SCHEMA, "n1", 1, up=False), "n1")
    assert zone.state.hosts[1].up


def test_hosts_that_share_a_lease_are_told_how_to_reach_each_other(zone: Zone) -> None:
    lease = zone.mesh()
    entry = zone.say(Ask(SCHEMA, "n3", 1, [lease.number, 99], []), "n3")
    addresses = {"n1": "10.0.0.1:7", "n2": ""}
    peers: Peers = voice.peers(zone.state, entry.asked, addresses, SECRET)
    (party,) = peers.parties
    assert (party.lease, party.token, party.home) == (lease.number, lease.token, "n3")
    assert (party.seats, party.slots) == (["n1", "n2"], [2, 2])
    assert [(peer.host, peer.address) for peer in peers.peers] == [("n3", ""), ("n1", "10.0.0.1:7"), ("n2", "")]
    own = host_key(SECRET, "n3")
    assert sealed(peers.peers[1].key, own, "n1") == peer_key(host_key(SECRET, "n1"), "n3")


def test_a_stranger_to_a_lease_is_told_nothing_of_it(zone: Zone) -> None:
    zone.fok(5, 0, Region(4, 1))
    zone.ticks()
    (lease,) = zone.state.leases.values()
    entry = zone.say(Ask(SCHEMA, "n1", 1, [lease.number], ["n2"]), "n1")
    peers = voice.peers(zone.state, entry.asked, {}, SECRET)
    assert peers.parties == []
    assert [peer.host for peer in peers.peers] == ["n2"]


def test_who_asks_for_too_much_is_refused_with_a_reason(zone: Zone) -> None:
    entry = zone.say(Ask(SCHEMA, "n1", 1, list(range(33)), []), "n1")
    assert entry.rejected is not None
    assert entry.rejected[0] is Reason.UNDECODABLE
