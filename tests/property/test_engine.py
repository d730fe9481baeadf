"""The engine under random histories: what holds after every command, whatever comes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tegcore.units import GIB
from tegcore.wire.records import (
    INCOME_STANDING,
    Admit,
    Cancel,
    Cordon,
    Drain,
    Evict,
    Expand,
    Fok,
    Genesis,
    HostLost,
    HostUp,
    Income,
    Market,
    Mint,
    NameIs,
    NameKind,
    Op,
    OrderFlag,
    Pin,
    Reason,
    Record,
    Region,
    Release,
    Renew,
    SetCap,
    SetMode,
    SetRates,
    SetReserve,
    SetRules,
    SetTime,
    Shape,
    Shorten,
    Stay,
    TenantSet,
    TenantUser,
    Tick,
    TopUp,
    Transfer,
)
from zone_ledger import snapshot
from zone_ledger.book.fast import FastBook
from zone_ledger.book.reference import ReferenceBook
from zone_ledger.engine import Engine
from zone_ledger.rules import LATEST, RULE_SETS

GENESIS = Genesis(2, 10, 2, 4, 3, 6, 20, Market.AUCTION)


def opening() -> list[Record]:
    def system(op, body, seq=0, actor=0, boot=0):
        return Record(op, actor, boot, seq, body)

    rates = SetRates(1, 20_000, 500, 0, 0, 1_000, 100, 1_000_000, 0, 0)
    return [
        system(Op.GENESIS, GENESIS),
        system(Op.NAME_IS, NameIs.of(NameKind.ZONE, 0, "z")),
        system(Op.NAME_IS, NameIs.of(NameKind.TENANT, 1, "ada")),
        system(Op.NAME_IS, NameIs.of(NameKind.TENANT, 2, "bob")),
        system(Op.NAME_IS, NameIs.of(NameKind.HOST, 1, "n1")),
        system(Op.NAME_IS, NameIs.of(NameKind.HOST, 2, "n2")),
        system(Op.SET_RESERVE, SetReserve(0, 100_000), seq=1),
        system(Op.SET_RATES, rates, seq=2),
        system(Op.MINT, Mint(1, 500_000_000), seq=3),
        system(Op.MINT, Mint(2, 500_000_000), seq=4),
        system(Op.HOST_UP, HostUp(0, 2, 0, 8_000, 8 * GIB, 0, 2), actor=1, boot=1),
        system(Op.HOST_UP, HostUp(8, 2, 0, 8_000, 8 * GIB, 0), actor=2, boot=1),
    ]


host_numbers = st.sampled_from([1, 2])
shapes = st.sampled_from([Shape((0,)), Shape((0,)), Shape((1,)), Shape((2,)), Shape((1, 0)), Shape((0,), 1, 300)])
regions = st.sampled_from([Region(0, 4), Region(0, 4), Region(0, 2), Region(8, 2), Region(4, 2)])


@st.composite
def fillable(draw) -> Fok:
    """Orders that mostly can be filled: what is refused at the door teaches little."""
    shape, limit_ucr = draw(shapes), draw(st.sampled_from([150_000, 200_000, 400_000, 900_000, 2_500_000]))
    periods = draw(st.sampled_from([0, *[1, 2, 2, 3] * 3]))
    return Fok(
        ref=draw(st.integers(1, 40)),
        tenant=draw(st.sampled_from([0, *[1, 2] * 5])),
        region=draw(regions).packed(),
        shape=shape.packed(),
        cpu_milli=draw(st.sampled_from([0, 2_000])),
        mem_bytes=draw(st.sampled_from([0, 0, GIB])),
        limit_ucr=limit_ucr,
        endow_ucr=limit_ucr * shape.slots * periods,
        traits=draw(flags).value,
        lease=0,
    )


flags = st.sampled_from(
    [
        OrderFlag.NONE,
        OrderFlag.NAMED,
        OrderFlag.NAMED | OrderFlag.CONFINED,
        OrderFlag.BUDGETED,
        OrderFlag.NAMED | OrderFlag.BUDGETED | OrderFlag.UNSAVABLE,
    ]
)
orders = fillable()
leases = st.integers(1, 16)
commands = st.one_of(
    *[st.tuples(st.just(Op.FOK), host_numbers, orders)] * 6,
    *[st.tuples(st.just(Op.TICK), st.just(0), st.integers(1, 2))] * 4,
    st.tuples(st.just(Op.TICK), st.just(0), st.integers(1, 9)),
    st.tuples(
        st.just(Op.RENEW),
        host_numbers,
        st.builds(Renew, leases, st.just(-1), st.integers(0, 900_000), st.integers(0, 1000), st.integers(0, 1)),
    ),
    st.tuples(st.just(Op.RELEASE), host_numbers, st.builds(Release, leases, st.just(-1), st.just(int(Reason.DONE)))),
    st.tuples(st.just(Op.STAY), host_numbers, st.builds(Stay, leases, st.just(-1))),
    st.tuples(st.just(Op.SHORTEN), host_numbers, st.builds(Shorten, leases, st.just(-1), st.integers(1, 90))),
    st.tuples(st.just(Op.SET_TIME), st.just(0), st.builds(SetTime, leases, st.integers(1, 5_000))),
    st.tuples(
        st.just(Op.CANCEL), host_numbers, st.builds(Cancel, st.integers(1, 12), st.sampled_from([0, 0, 0, 1, 2, 3]))
    ),
    st.tuples(
        st.just(Op.EXPAND),
        host_numbers,
        st.builds(Expand, leases, st.just(-1), host_numbers, st.integers(-2 * GIB, 4 * GIB), st.integers(0, 2_000_000)),
    ),
    st.tuples(st.just(Op.EVICT), st.just(0), st.builds(Evict, leases)),
    st.tuples(st.just(Op.HOST_UP), host_numbers, st.just(None)),
    st.tuples(
        st.just(Op.MOVE), host_numbers, st.tuples(orders, leases).map(lambda drawn: drawn[0]._replace(lease=drawn[1]))
    ),
    st.tuples(
        st.just(Op.SET_CAP), st.just(0), st.builds(SetCap, regions.map(Region.packed), st.integers(50_000, 900_000))
    ),
    st.tuples(
        st.just(Op.TRANSFER_OUT),
        st.just(0),
        st.builds(Transfer, st.integers(1, 9), st.integers(1, 3), st.just(2), st.sampled_from([0, 10**8, 499 * 10**6])),
    ),
    st.tuples(st.just(Op.MODE), st.just(0), st.builds(SetMode, st.integers(0, 1))),
    st.tuples(st.just(Op.RULES), st.just(0), st.builds(SetRules, st.integers(1, LATEST))),
    st.tuples(
        st.just(Op.INCOME),
        st.just(0),
        st.builds(Income, st.integers(0, 3), st.sampled_from([INCOME_STANDING, 0, 50_000, 2_000_000])),
    ),
    st.tuples(
        st.just(Op.TENANT_USER),
        st.just(0),
        st.builds(TenantUser, st.integers(0, 3), st.sampled_from([7, 8, 2**32 - 1]), st.integers(0, 1)),
    ),
    st.tuples(
        st.just(Op.TENANT_SET),
        st.just(0),
        st.builds(TenantSet, st.integers(0, 3), st.integers(1, 3), st.sampled_from([0, 0, 0, 1])),
    ),
    st.tuples(
        st.just(Op.TRANSFER_IN),
        st.just(0),
        st.builds(Transfer, st.integers(1, 9), st.integers(1, 3), st.just(2), st.integers(0, 10**8)),
    ),
    st.tuples(st.just(Op.HOST_LOST), st.just(0), st.builds(HostLost, host_numbers, st.integers(0, 1))),
    st.tuples(st.just(Op.DRAIN), st.just(0), st.builds(Drain, host_numbers, st.sampled_from([0, 0, 1]))),
    st.tuples(st.just(Op.CORDON), st.just(0), st.builds(Cordon, st.sampled_from([0, 3, 9]), st.sampled_from([0, 1]))),
    st.tuples(st.just(Op.PIN), st.just(0), st.builds(Pin, leases, st.integers(0, 1))),
    st.tuples(st.just(Op.ADMIT), st.just(0), st.builds(Admit, st.integers(0, 2), st.integers(1, 40))),
    st.tuples(
        st.just(Op.TOP_UP),
        host_numbers,
        st.builds(TopUp, leases, st.just(-1), st.integers(1, 2), st.integers(0, 10**7), st.integers(0, 3)),
    ),
    st.tuples(
        st.just(Op.NAME_IS),
        st.just(0),
        st.builds(
            lambda kind, number: NameIs.of(kind, number, f"x{number}"),
            st.sampled_from([NameKind.TENANT, NameKind.HOST]),
            st.integers(3, 6),
        ),
    ),
    st.tuples(
        st.just(Op.SET_RATES),
        st.just(0),
        st.builds(
            SetRates,
            st.integers(1, 9),
            st.just(20_000),
            st.integers(0, 900),
            st.integers(0, 900),
            st.integers(0, 10**6),
            st.just(1_000),
            st.just(100),
            st.just(1_000_000),
            st.just(0),
            st.integers(990, 1_010),
        ),
    ),
)


class Driver:
    """Turns drawn commands into records that are next in their sessions, and keeps them."""

    def __init__(self, rules: int = LATEST) -> None:
        self.engine = Engine(ReferenceBook, rules)
        self.journal: list[Record] = []
        self.boots = {1: 1, 2: 1}
        self.keys = 100
        for record in opening():
            self.apply(record)

    def apply(self, record: Record):
        self.journal.append(record)
        return self.engine.apply(record)

    def command(self, op: Op, host: int, body) -> None:
        state = self.engine.state
        if op is Op.TICK:
            for _ in range(body):
                self.apply(Record(op, 0, 0, 0, Tick(state.tick + 1, state.tick + 1)))
        elif op is Op.HOST_UP:
            self.boots[host] += 1
            shape = state.book.shape_of(host)
            up = HostUp(shape.region.base, shape.region.log2, 0, shape.cpu_milli, shape.mem_bytes, 0, host)
            self.apply(Record(op, host, self.boots[host], 0, up))
        elif op is Op.RULES:
            self.apply(Record(op, 0, 0, 0, body))
        elif host == 0:
            self.keys += 1
            self.apply(Record(op, 0, 0, self.keys, body))
        else:
            if getattr(body, "token", 0) == -1:
                lease = state.leases.get(body.lease)
                body = body._replace(token=lease.token if lease else 0)
            self.apply(Record(op, host, self.boots[host], state.hosts[host].inbox.last_seq + 1, body))


@settings(max_examples=150, deadline=None)
@given(st.lists(commands, min_size=30, max_size=90), st.sampled_from(sorted(RULE_SETS)))
def test_what_must_hold_holds_and_replay_is_equal(drawn, rules) -> None:
    driver, hashes = Driver(rules), []
    for op, host, body in drawn:
        driver.command(op, host, body)
        driver.engine.check()
        assert_no_slot_is_held_twice(driver.engine)
        hashes.append((driver.engine.state.hash(), driver.engine.state.running_hash()))
    again = Engine(FastBook, rules)
    for record in driver.journal:
        again.apply(record)
    assert again.state.hash() == driver.engine.state.hash(), "the fast book leads to another state than the reference"
    assert again.state.running_hash() == again.state.running_hash_anew() == hashes[-1][1], "in one go or step by step"
    assert len(set(hashes)) == len({running for _, running in hashes}), "states differ, and their running hash does not"
    assert again.state.accounts.take_postings() == driver.engine.state.accounts.take_postings()
    restored = snapshot.unpack(snapshot.pack(again.state), FastBook)
    assert restored.hash() == again.state.hash()
    assert restored.running_hash() == again.state.running_hash()
    restored.book.check()


def assert_no_slot_is_held_twice(engine: Engine) -> None:
    held: dict[int, int] = {}
    for lease in engine.state.leases.values():
        taken = lease.shape.share_permille or 1000
        for block in lease.blocks:
            for slot in range(block.base, block.end):
                held[slot] = held.get(slot, 0) + taken
    assert all(taken <= 1000 for taken in held.values())


_OWN = {Op.TICK, Op.HOST_UP, Op.HOST_LOST}
"""What the ledger says itself, once: a host that is heard and said to be lost again is lost again."""


@settings(max_examples=60, deadline=None)
@given(st.lists(commands, min_size=10, max_size=40), st.data())
def test_a_repeated_command_changes_nothing(drawn, data) -> None:
    driver = Driver()
    for op, host, body in drawn:
        driver.command(op, host, body)
    before = driver.engine.state.hash()
    sent = [record for record in driver.journal if record.op not in _OWN]
    repeat = data.draw(st.sampled_from(sent))
    driver.engine.apply(repeat)
    assert driver.engine.state.hash() == before


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(host_numbers, orders), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_arrival_within_a_tick_changes_no_price(drawn, shuffler) -> None:
    """Hosts' own sequences break ties, so only the interleaving of hosts is permuted."""
    outcomes = []
    for interleaving in (drawn, shuffled(drawn, shuffler)):
        driver = Driver()
        for host, order in interleaving:
            driver.command(Op.FOK, host, order._replace(tenant=1, endow_ucr=2_000_000, mem_bytes=0, cpu_milli=0))
        driver.command(Op.TICK, 0, 1)
        leases = driver.engine.state.leases.values()
        outcomes.append(sorted((lease.origin, lease.ref, lease.blocks, lease.price_ucr) for lease in leases))
    assert outcomes[0] == outcomes[1]


def shuffled(drawn, shuffler):
    queues = {host: [item for item in drawn if item[0] == host] for host in (1, 2)}
    picks = [host for host, _ in drawn]
    shuffler.shuffle(picks)
    return [queues[host].pop(0) for host in picks]
