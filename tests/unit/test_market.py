"""The market by examples that can be checked by hand: prices, inertia, evictions row by row, periods, ends."""

from collections.abc import Callable, Iterator

import pytest
from worlds import FUNDS, GRACE, MU, NOTICE, PERIOD, RESERVE, TERM_PERIODS, Zone

from tegcore.economics.fixed import friction_ucr, mass_micro, range_price_ucr
from tegcore.units import GIB
from tegcore.wire.codec import encode
from tegcore.wire.messages import SCHEMA, Hello
from tegcore.wire.records import (
    Admit,
    Cancel,
    Drain,
    Evict,
    Expand,
    Fok,
    Genesis,
    HostLost,
    HostUp,
    Market,
    NameIs,
    NameKind,
    Op,
    Pin,
    Reason,
    Record,
    Region,
    Release,
    Renew,
    SetCap,
    SetRates,
    SetReserve,
    SetRules,
    Shape,
    Stay,
    TopUp,
    Transfer,
    unpack_all,
)
from tegcore.wire.signing import Key, host_key
from tegcore.wire.topics import Channel, Topic
from zone_ledger import snapshot
from zone_ledger.book.base import Book
from zone_ledger.book.fast import FastBook
from zone_ledger.book.reference import ReferenceBook
from zone_ledger.door import Door, Entry
from zone_ledger.engine import Engine
from zone_ledger.eviction import OUTCOMES, Situation
from zone_ledger.leases import LeaseState
from zone_ledger.rules import LATEST
from zone_ledger.state import Outcome


@pytest.fixture(params=[1, 2], ids="rule set {}".format, autouse=True)
def rules(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test holds under both rule sets, or says that it is of the first."""
    Zone.rules = int(request.param)
    yield
    Zone.rules = LATEST


of_rule_set_1 = pytest.mark.parametrize("rules", [1], ids="rule set {}".format, indirect=True)


def threshold(limit: int, endow: int, slots: int = 1) -> int:
    return limit * slots + friction_ucr(MU, mass_micro(0, endow, slots))


def test_alone_one_pays_the_reserve() -> None:
    zone = Zone()
    zone.fok(1, 9_000)
    zone.ticks()
    assert zone.lease(1).price_ucr == RESERVE


def test_a_bid_at_the_reserve_does_not_exceed_it() -> None:
    zone = Zone()
    zone.fok(1, RESERVE)
    zone.ticks()
    (refused,) = zone.told(Op.REFUSED)
    assert (Reason(refused.reason), refused.missing) == (Reason.PRICE, 1)


def test_the_highest_loser_sets_the_price() -> None:
    """Five bids for four slots: all winners would still have won just above the fifth."""
    zone = Zone()
    for ref, limit in enumerate((5_000, 4_000, 3_000, 2_500, 2_000), 1):
        zone.fok(ref, limit)
    zone.ticks()
    assert zone.lease(5) is None
    assert [zone.lease(ref).price_ucr for ref in (1, 2, 3, 4)] == [2_000] * 4


@of_rule_set_1
def test_fixed_prices_are_first_come_and_displace_nobody() -> None:
    zone = Zone(Market.FIXED)
    for ref in range(1, 6):
        zone.fok(ref, RESERVE + ref)
    zone.ticks()
    assert zone.lease(5) is None
    assert {zone.lease(ref).price_ucr for ref in (1, 2, 3, 4)} == {RESERVE}
    assert Reason(zone.told(Op.REFUSED)[0].reason) is Reason.NO_FIT


@pytest.mark.parametrize("value", [1_500, 2_100, 3_000, 4_500])
@pytest.mark.parametrize("rivals", [(2_000,) * 5, (3_000, 2_500, 2_000, 1_500), (2_000,), (4_000,) * 4])
def test_no_bidder_gains_by_another_value(value: int, rivals: tuple[int, ...]) -> None:
    """Within the tick: for every report, what it wins at its true value is no more than by telling the truth."""

    def gain(report: int) -> int:
        zone = Zone()
        zone.fok(100, report, host=2)
        for ref, limit in enumerate(rivals, 1):
            zone.fok(ref, limit)
        zone.ticks()
        lease = zone.lease(100)
        return value - lease.price_ucr if lease else 0

    honest = gain(value)
    assert honest >= 0
    assert all(gain(report) <= honest for report in range(1_001, 5_000, 331))


@of_rule_set_1
def test_inertia_refuses_a_bid_that_beats_only_the_limit() -> None:
    zone = Zone()
    zone.fill(2_000)
    needed = threshold(2_000, 8_000)
    zone.fok(9, needed, host=2)
    zone.ticks()
    (refused,) = zone.told(Op.REFUSED, 2)
    assert needed > 2_000
    assert Reason(refused.reason) is Reason.PRICE
    assert zone.state.counters.inertia_refusals == 1
    assert all(lease.state is LeaseState.HELD for lease in zone.state.leases.values())


def challenged(limit: int = 9_000) -> Zone:
    """Four held leases, and a bid for one slot that beats their inertia."""
    zone = Zone()
    zone.fill(2_000)
    zone.fok(9, limit, host=2)
    zone.ticks()
    (notice,) = zone.told(Op.NOTICE)
    assert notice.deadline_tick == zone.state.tick + NOTICE
    return zone


def evicted(zone: Zone):
    return next(lease for lease in zone.state.leases.values() if lease.state is LeaseState.EVICTING)


def test_every_situation_has_a_row() -> None:
    assert set(OUTCOMES) == set(Situation)


@of_rule_set_1
def test_when_all_are_clear_the_challenger_is_filled_at_the_threshold() -> None:
    zone = challenged()
    lease = evicted(zone)
    zone.command(Op.RELEASE, Release(lease.number, lease.token, Reason.CHALLENGED))
    assert zone.lease(9).blocks == lease.blocks
    assert zone.lease(9).price_ucr == threshold(2_000, 8_000)
    assert zone.told(Op.FILLED, 2)[-1].ref == 9
    assert zone.told(Op.ENDED)[-1].why == Reason.CHALLENGED


@of_rule_set_1
def test_past_the_deadline_the_sure_end_of_the_term_decides_once() -> None:
    zone = challenged()
    lease = evicted(zone)
    sure_end = zone.state.sure_end(lease)
    zone.ticks(sure_end - zone.state.tick - 1)
    assert zone.lease(9) is None
    assert lease.number in zone.state.leases
    zone.ticks()
    assert lease.number not in zone.state.leases
    assert zone.lease(9).blocks == lease.blocks
    assert zone.told(Op.ENDED)[-1].why == Reason.EXPIRED


@of_rule_set_1
def test_an_incumbent_that_cannot_leave_stays_and_the_bid_counts_as_a_challenge() -> None:
    zone = challenged()
    lease = evicted(zone)
    zone.command(Op.STAY, Stay(lease.number, lease.token))
    assert lease.state is LeaseState.HELD
    assert Reason(zone.told(Op.REFUSED, 2)[-1].reason) is Reason.STAYED
    zone.command(Op.RENEW, Renew(lease.number, lease.token, 20_000, 1000))
    zone.ticks(PERIOD)
    assert lease.price_ucr == 9_000 - lease.friction_ucr


@of_rule_set_1
@pytest.mark.parametrize("how", ["cancel", "new boot"])
def test_when_the_challenger_is_gone_the_incumbents_still_leave(how: str) -> None:
    zone = challenged()
    lease = evicted(zone)
    if how == "cancel":
        zone.command(Op.CANCEL, Cancel(9), 2)
    else:
        zone.engine.apply(Record(Op.HOST_UP, 2, 2, 0, HostUp(8, 2, 1, 4000, 8 * GIB, 0)))
    assert zone.state.orders == {}
    assert zone.state.accounts.balances[2] == FUNDS
    zone.command(Op.RENEW, Renew(lease.number, lease.token, 2_000, 1000))
    assert zone.told(Op.ANSWER)[-1].reason == Reason.STATE
    zone.command(Op.RELEASE, Release(lease.number, lease.token, Reason.CHALLENGED))
    assert zone.state.book.summary(Region(0, 2)).free == 1


@of_rule_set_1
def test_with_two_incumbents_one_that_stays_keeps_the_other_too() -> None:
    zone = Zone()
    zone.fill(2_000)
    zone.fok(9, 9_000, host=2, size=1)
    zone.ticks()
    first, second = [lease for lease in zone.state.leases.values() if lease.state is LeaseState.EVICTING]
    zone.command(Op.STAY, Stay(second.number, second.token))
    assert (first.state, second.state) == (LeaseState.HELD, LeaseState.HELD)
    assert zone.state.orders == {}


@of_rule_set_1
def test_what_one_incumbent_frees_is_nobody_elses_while_the_other_is_there() -> None:
    zone = Zone()
    zone.fill(2_000)
    zone.fok(9, 9_000, host=2, size=1)
    zone.ticks()
    first, second = [lease for lease in zone.state.leases.values() if lease.state is LeaseState.EVICTING]
    zone.command(Op.RELEASE, Release(first.number, first.token, Reason.CHALLENGED))
    zone.fok(10, 8_000, host=2)
    zone.ticks()
    assert zone.lease(10) is None or zone.lease(10).blocks != first.blocks
    zone.command(Op.RELEASE, Release(second.number, second.token, Reason.CHALLENGED))
    assert {slot for block in zone.lease(9).blocks for slot in range(block.base, block.end)} == {
        first.blocks[0].base,
        second.blocks[0].base,
    }


@of_rule_set_1
@pytest.mark.parametrize("leaves", [True, False], ids=["the incumbent leaves", "its term surely ends"])
def test_shares_let_beside_an_incumbent_refuse_the_order_that_waits_for_the_slot(leaves: bool) -> None:
    """The ledger stopped at the grant: the slot was not free, and it would have stopped there again at each start."""
    zone = Zone()
    share = Shape((0,), 1, 300).packed()
    zone.fok(1, 2_000, shape=share, region=Region(0, 0).packed())
    zone.ticks()
    incumbent = zone.lease(1)
    zone.fok(2, 900_000, host=2, region=Region(0, 0).packed())
    zone.ticks()
    assert incumbent.state is LeaseState.EVICTING
    zone.fok(3, 2_000, shape=share, region=Region(0, 0).packed())
    zone.ticks()
    assert zone.lease(3)
    if leaves:
        zone.command(Op.RELEASE, Release(incumbent.number, incumbent.token, Reason.CHALLENGED))
    else:
        zone.ticks(PERIOD * TERM_PERIODS + GRACE + 10)
    assert zone.lease(1) is None
    assert [refused.reason for refused in zone.told(Op.REFUSED, host=2)] == [Reason.BUSY]
    assert not zone.state.orders
    zone.fok(4, 900_000, host=2, region=Region(0, 0).packed())
    zone.ticks()
    assert next(iter(zone.state.orders.values()), None) or zone.lease(4)


@of_rule_set_1
def test_a_pinned_lease_is_never_displaced() -> None:
    zone = Zone()
    zone.fill(2_000)
    for number in zone.state.leases:
        zone.operate(Op.PIN, Pin(number, 1))
    zone.fok(9, 90_000, host=2)
    zone.ticks()
    assert Reason(zone.told(Op.REFUSED, 2)[-1].reason) is Reason.NO_FIT


@of_rule_set_1
def test_a_refused_challenge_raises_the_next_rent_up_to_the_limit() -> None:
    zone = Zone()
    zone.fok(1, 2_000, region=Region(0, 0).packed())
    zone.ticks()
    lease = zone.lease(1)
    challenge = threshold(2_000, 8_000)
    zone.fok(9, challenge, host=2, region=Region(0, 0).packed())
    zone.ticks(PERIOD)
    assert lease.price_ucr == challenge - lease.friction_ucr == 2_000
    zone.ticks(PERIOD)
    assert lease.price_ucr == RESERVE


def test_rent_is_paid_by_ticks_and_what_is_left_returns_less_the_burn() -> None:
    zone = Zone(burn_permille=100)
    zone.fok(1, 5_000, endow=20_000)
    zone.ticks(1 + 30)
    lease = zone.lease(1)
    zone.command(Op.RELEASE, Release(lease.number, lease.token, Reason.DONE))
    paid = RESERVE * 30 // PERIOD
    burned = (20_000 - paid) // 10
    assert zone.state.accounts.balances[1] == FUNDS - paid - burned
    assert zone.state.accounts.evaporated == paid + burned
    assert zone.state.accounts.escrow == 0


def test_a_purse_lowers_the_limit_and_then_is_bankrupt() -> None:
    zone = Zone()
    zone.fok(1, 2_000, endow=2_500)
    zone.ticks()
    lease = zone.lease(1)
    zone.command(Op.RENEW, Renew(lease.number, lease.token, 2_000, 1000))
    zone.ticks(PERIOD)
    assert (lease.limit_ucr, lease.state) == (1_500, LeaseState.HELD)
    zone.command(Op.RENEW, Renew(lease.number, lease.token, 2_000, 1000))
    zone.ticks(PERIOD)
    assert lease.state is LeaseState.EVICTING
    assert lease.why is Reason.BANKRUPT
    assert zone.state.counters.bankruptcies == 1
    assert lease.purse_ucr + lease.escrow_ucr == 500


def test_a_top_up_keeps_it() -> None:
    zone = Zone()
    zone.fok(1, 2_000, endow=2_500)
    zone.ticks()
    lease = zone.lease(1)
    assert zone.command(Op.TOP_UP, TopUp(lease.number, lease.token, 1, FUNDS)).reason is Reason.FUNDS
    assert zone.command(Op.TOP_UP, TopUp(lease.number, lease.token, 2, 1)).reason is Reason.TENANT
    zone.command(Op.TOP_UP, TopUp(lease.number, lease.token, 1, 50_000))
    for _ in range(5):
        zone.command(Op.RENEW, Renew(lease.number, lease.token, 2_000, 1000))
        zone.ticks(PERIOD)
    assert lease.state is LeaseState.HELD


def test_holding_tax_falls_on_the_measured_idle_share() -> None:
    zone = Zone(tax_permille=500)
    zone.fok(1, 5_000)
    zone.ticks()
    lease = zone.lease(1)
    zone.command(Op.RENEW, Renew(lease.number, lease.token, 5_000, 200))
    zone.ticks(PERIOD)
    assert lease.paid_ucr == RESERVE + RESERVE * 500 * 800 // 1_000_000


def test_an_unheard_lease_ends_at_its_sure_end_and_not_before() -> None:
    zone = Zone()
    zone.fok(1, 5_000)
    zone.ticks()
    lease = zone.lease(1)
    term = PERIOD * TERM_PERIODS
    zone.ticks(term + term // 100 + GRACE - 1)
    assert zone.lease(1) is lease
    zone.ticks()
    assert zone.lease(1) is None
    assert zone.told(Op.ENDED)[-1].why == Reason.EXPIRED


def test_renewing_moves_the_end_and_a_stale_token_does_not() -> None:
    zone = Zone()
    zone.fok(1, 5_000)
    zone.ticks(50)
    lease = zone.lease(1)
    assert zone.command(Op.RENEW, Renew(lease.number, lease.token + 1, 5_000, 0)).reason is Reason.TOKEN
    zone.command(Op.RENEW, Renew(lease.number, lease.token, 5_000, 0))
    assert lease.term_end == zone.state.tick + PERIOD * TERM_PERIODS
    assert zone.told(Op.RENEWED)[-1].command_seq == zone.sent[1]


def test_memory_is_sold_at_the_integral_and_given_back() -> None:
    zone = Zone(mem_k_ucr=10_000, gas_ucr=7)
    zone.fok(1, 5_000, endow=100_000, mem_bytes=GIB)
    zone.ticks()
    lease = zone.lease(1)
    capacity = 8 * GIB * 95 // 100
    first = range_price_ucr(10_000, capacity, 0, GIB)
    assert lease.ranges_ucr() == first
    zone.command(Op.EXPAND, Expand(lease.number, lease.token, 1, GIB, 10_000))
    price = range_price_ucr(10_000, capacity, GIB, GIB)
    assert lease.ranges_ucr() == first + price
    assert price > first
    assert zone.state.accounts.evaporated == 7
    held = zone.told(Op.EXPANDED)[-1]
    assert (held.reason, held.held_bytes) == (Reason.OK, 2 * GIB)
    zone.command(Op.EXPAND, Expand(lease.number, lease.token, 1, -GIB, 0))
    assert lease.ranges_ucr() == first


@pytest.mark.parametrize(
    ("delta", "limit", "reason"),
    [(7 * GIB, 10**9, Reason.CAPACITY), (2 * GIB, 1, Reason.PRICE), (6 * GIB, 10**9, Reason.FUNDS)],
)
def test_memory_is_refused_with_a_reason(delta: int, limit: int, reason: Reason) -> None:
    zone = Zone(mem_k_ucr=100_000)
    zone.fok(1, 16_000, endow=18_000, mem_bytes=GIB)
    zone.ticks()
    lease = zone.lease(1)
    before = zone.state.accounts.evaporated
    zone.command(Op.EXPAND, Expand(lease.number, lease.token, 1, delta, limit))
    answer = zone.told(Op.EXPANDED)[-1]
    assert Reason(answer.reason) is reason
    assert answer.missing > 0
    assert answer.held_bytes == GIB
    assert zone.state.accounts.evaporated == before


@of_rule_set_1
def test_a_drained_host_gives_notice_and_takes_nothing() -> None:
    zone = Zone()
    zone.fill()
    zone.operate(Op.DRAIN, Drain(1, 1))
    assert {Reason(notice.why) for notice in zone.told(Op.NOTICE)} == {Reason.DRAINED}
    zone.fok(9, 90_000, host=2)
    zone.ticks()
    assert Reason(zone.told(Op.REFUSED, 2)[-1].reason) is Reason.NO_FIT


def test_an_operator_ends_a_lease_once_by_key() -> None:
    zone = Zone()
    zone.fok(1, 5_000)
    zone.ticks()
    first = zone.engine.apply(Record(Op.EVICT, 0, 0, 777, Evict(1)))
    assert zone.engine.apply(Record(Op.EVICT, 0, 0, 777, Evict(1))) == first
    assert zone.engine.apply(Record(Op.EVICT, 0, 0, 778, Evict(1))).reason is Reason.STATE


def test_closed_admission_refuses_by_order_of_arrival() -> None:
    zone = Zone()
    zone.operate(Op.ADMIT, Admit(1, 50))
    zone.fok(1, 5_000)
    zone.fok(2, 9_000)
    zone.ticks()
    assert zone.lease(1) is not None
    refused = zone.told(Op.REFUSED)[-1]
    assert (refused.ref, Reason(refused.reason)) == (2, Reason.ADMISSION)
    assert refused.retry_tick > zone.state.tick


def test_rates_hold_from_the_next_boundary_and_older_epochs_are_refused() -> None:
    zone = Zone()
    zone.fok(1, 5_000)
    zone.ticks()
    fields = dict.fromkeys(SetRates._fields, 0)
    assert zone.operate(Op.SET_RATES, SetRates(**(fields | {"epoch": 5, "mu_ucr": 900}))).reason is Reason.OK
    assert zone.operate(Op.SET_RATES, SetRates(**(fields | {"epoch": 4}))).reason is Reason.STATE
    lease = zone.lease(1)
    assert lease.mu_ucr == MU
    zone.ticks(PERIOD)
    assert lease.mu_ucr == 900


def test_a_host_that_comes_back_is_told_the_truth() -> None:
    zone = Zone()
    zone.fill()
    zone.operate(Op.EVICT, Evict(2))
    zone.engine.apply(Record(Op.HOST_UP, 1, 5, 0, HostUp(0, 2, 0, 4000, 8 * GIB, 0)))
    events = [record.op for record in unpack_all(zone.state.hosts[1].outbox.pending())]
    assert events == [Op.FILLED, Op.FILLED, Op.NOTICE, Op.FILLED, Op.FILLED, Op.SYNCED]
    assert zone.engine.apply(Record(Op.HOST_UP, 1, 4, 0, HostUp(0, 2, 0, 4000, 8 * GIB, 0))).reason is Reason.STALE_BOOT


def test_a_host_that_asks_for_anothers_place_keeps_its_own() -> None:
    """It was taken out of the book before it was refused; the next that concerned it stopped the ledger."""
    zone = Zone()
    up = HostUp(8, 1, 0, 4000, 8 * GIB, 0)
    assert zone.engine.apply(Record(Op.HOST_UP, 1, 2, 0, up)).reason is Reason.REGION
    assert zone.engine.apply(Record(Op.HOST_UP, 1, 2, 0, up._replace(base=16))).reason is Reason.REGION
    zone.engine.check()
    zone.system(Op.HOST_LOST, HostLost(1, 1))
    assert zone.state.book.free_slots(Region(0, 2)) == 0
    smaller = HostUp(0, 1, 0, 4000, 8 * GIB, 0)
    assert zone.engine.apply(Record(Op.HOST_UP, 1, 2, 0, smaller)).reason is Reason.OK, "a part of its own place"
    assert zone.state.book.free_slots(Region(0, 2)) == 2
    zone.engine.check()


@pytest.mark.parametrize("book", [ReferenceBook, FastBook])
def test_no_host_is_placed_on_the_absent_slots_of_another(book: Callable[[int], Book]) -> None:
    """The ledger's book stopped it there, and a host that left the choice of its place to the ledger came there."""
    zone = Zone(book=book)
    for number in (3, 4):
        zone.system(Op.NAME_IS, NameIs.of(NameKind.HOST, number, f"n{number}"))
    for host, up, reason in (
        (3, HostUp(4, 2, 0, 4000, 8 * GIB, 0b1100), Reason.OK),
        (4, HostUp(6, 1, 0, 4000, 8 * GIB, 0), Reason.REGION),
        (4, HostUp(4, 3, 0, 4000, 8 * GIB, 0), Reason.REGION),
    ):
        assert zone.engine.apply(Record(Op.HOST_UP, host, 1, 0, up)).reason is reason
    assert [zone.state.runs.first_free(log2) for log2 in range(5)] == [12, 12, 12, -1, -1]
    restored = snapshot.unpack(snapshot.pack(zone.state), book)
    assert restored.runs.overlap(Region(0, 4)) == zone.state.runs.overlap(Region(0, 4)) == [(0, 4), (4, 8), (8, 12)]


def test_a_host_cannot_change_its_size_under_its_leases() -> None:
    zone = Zone()
    zone.fill()
    outcome = zone.engine.apply(Record(Op.HOST_UP, 1, 5, 0, HostUp(0, 1, 0, 4000, 8 * GIB, 0)))
    assert outcome.reason is Reason.STATE


# --- moving, caps, transfers, subsidy, peg --------------------------------------------------------------------------


def move(zone: Zone, ref: int, limit: int, lease: int, size: int = 0, **changes: int) -> None:
    fields = {
        "ref": ref,
        "tenant": 1,
        "region": Region(0, 2).packed(),
        "shape": Shape((size,)).packed(),
        "cpu_milli": 0,
        "mem_bytes": 0,
        "limit_ucr": limit,
        "endow_ucr": limit * (1 << size) * 4,
        "traits": 0,
        "lease": lease,
    }
    zone.command(Op.MOVE, Fok(**(fields | changes)))


def test_a_move_to_other_slots_leaves_the_old_lease_paid_until_it_is_clear() -> None:
    zone = Zone()
    zone.fok(1, 5_000)
    zone.ticks()
    move(zone, 11, 3_000, zone.lease(1).number, region=Region(2, 1).packed())
    zone.ticks()
    old, new = zone.lease(1), zone.lease(11)
    assert (old.blocks, new.blocks) == ((Region(0, 0),), (Region(2, 0),))
    assert old.state is LeaseState.HELD
    zone.command(Op.RELEASE, Release(old.number, old.token, int(Reason.DONE)))
    zone.ticks()
    assert zone.lease(1) is None
    assert zone.lease(11) is not None


def test_a_move_may_take_the_slots_that_it_leaves_at_their_reserve() -> None:
    zone = Zone()
    zone.fill(limit=9_000)
    old = zone.lease(2)
    zone.command(Op.RELEASE, Release(zone.lease(1).number, zone.lease(1).token, int(Reason.DONE)))
    move(zone, 12, 2_000, old.number, size=1, region=Region(0, 1).packed())
    zone.ticks()
    assert old.state is LeaseState.EVICTING, "slot 0 is free, slot 1 is its own"
    zone.command(Op.RELEASE, Release(old.number, old.token, int(Reason.DONE)))
    moved = zone.lease(12)
    assert moved.blocks == (Region(0, 1),)
    assert moved.price_ucr == RESERVE


@pytest.mark.parametrize("market", Market)
def test_a_move_whose_lease_ends_before_the_tick_is_refused(market: Market) -> None:
    zone = Zone()
    zone.fok(1, 5_000)
    zone.ticks()
    zone.state.market = market
    old = zone.lease(1)
    move(zone, 11, 3_000, old.number)
    zone.command(Op.RELEASE, Release(old.number, old.token, int(Reason.DONE)))
    zone.ticks()
    refused = zone.told(Op.REFUSED)[-1]
    assert (refused.ref, Reason(refused.reason)) == (11, Reason.LEASE)
    assert zone.lease(11) is None


def test_a_move_must_name_a_lease_of_its_own_host_and_tenant() -> None:
    zone = Zone()
    zone.fok(1, 5_000)
    zone.ticks()
    move(zone, 11, 3_000, 99)
    assert Reason(zone.told(Op.REFUSED)[-1].reason) is Reason.LEASE
    move(zone, 12, 3_000, zone.lease(1).number, tenant=2)
    assert Reason(zone.told(Op.REFUSED)[-1].reason) is Reason.STATE


def test_a_refused_move_does_not_raise_the_rent_of_the_lease_that_it_leaves() -> None:
    zone = Zone()
    zone.fill(limit=9_000)
    own = zone.lease(1)
    move(zone, 11, 1_500, own.number, size=1)
    zone.ticks()
    assert zone.lease(11) is None
    assert own.challenge_ucr == 0


@of_rule_set_1
def test_the_cap_bounds_bids_for_free_slots_and_no_challenge() -> None:
    zone = Zone()
    zone.operate(Op.SET_CAP, SetCap(Region(0, 4).packed(), 1_500))
    for ref in range(1, 6):
        zone.fok(ref, 9_000 + ref)
    zone.ticks()
    assert {lease.price_ucr for lease in zone.state.leases.values()} == {1_500}
    zone.fok(9, 500_000)
    zone.ticks()
    assert zone.told(Op.EVICTING), "a challenge is not bounded"
    zone.operate(Op.SET_CAP, SetCap(Region(0, 2).packed(), RESERVE - 1))
    zone.command(Op.RELEASE, Release(zone.lease(2).number, zone.lease(2).token, int(Reason.DONE)))
    zone.fok(10, 9_000, shape=Shape((0,)).packed(), region=Region(0, 2).packed())
    zone.ticks()
    assert zone.lease(10) is None


def test_a_transfer_leaves_once_and_arrives_once() -> None:
    home, away = Zone(), Zone()
    assert home.operate(Op.TRANSFER_OUT, Transfer(7, 1, 2, FUNDS + 1)).reason is Reason.FUNDS
    assert home.operate(Op.TRANSFER_OUT, Transfer(7, 1, 2, 5_000)).reason is Reason.OK
    assert home.state.accounts.balances[1] == FUNDS - 5_000
    assert home.state.accounts.transferred_out == 5_000
    assert away.operate(Op.TRANSFER_IN, Transfer(7, 1, 1, 5_000)).reason is Reason.OK
    assert away.operate(Op.TRANSFER_IN, Transfer(7, 1, 1, 5_000)).reason is Reason.STATE
    assert away.operate(Op.TRANSFER_IN, Transfer(8, 99, 1, 5_000)).reason is Reason.TENANT
    assert away.state.accounts.balances[1] == FUNDS + 5_000
    for zone in (home, away):
        zone.engine.check()


def test_a_subsidy_is_minted_into_seated_purses_up_to_the_epochs_bound() -> None:
    zone = Zone(subsidy_permille=500, subsidy_ucr_max=700)
    zone.fok(1, 5_000)
    zone.fok(2, 5_000)
    zone.ticks()
    minted = zone.state.accounts.minted
    zone.ticks(PERIOD)
    paid = [body.subsidy_ucr for body in zone.told(Op.SETTLED)]
    assert paid == [500, 200], "half the rent of 1,000, then what the bound leaves"
    assert zone.state.accounts.minted - minted == 700
    zone.ticks(PERIOD)
    assert [body.subsidy_ucr for body in zone.told(Op.SETTLED)[2:]] == [0, 0]


def test_the_peg_moves_reserves_and_by_one_percent_an_epoch_at_most() -> None:
    zone = Zone(peg=1_000_000)
    fields = dict.fromkeys(SetRates._fields, 0) | {"mu_ucr": MU}
    assert zone.operate(Op.SET_RATES, SetRates(**(fields | {"epoch": 2, "peg": 1_020_000}))).reason is Reason.RANGE
    assert zone.operate(Op.SET_RATES, SetRates(**(fields | {"epoch": 2, "peg": 990_000}))).reason is Reason.OK
    assert zone.state.reserves[0] == 1_011, "1,000 x 1,000,000 / 990,000, rounded up"
    assert zone.state.book.class_reserve(0) == 1_011
    assert zone.operate(Op.SET_RATES, SetRates(**(fields | {"epoch": 3, "peg": 999_900}))).reason is Reason.OK
    assert zone.state.reserves[0] == 1_001, "no rounding is carried on"


def test_rates_of_the_past_period_settle_it() -> None:
    zone = Zone(tax_permille=1_000)
    zone.fok(1, 5_000)
    zone.ticks()
    lease = zone.lease(1)
    zone.command(Op.RENEW, Renew(lease.number, lease.token, 5_000, 500))
    fields = dict.fromkeys(SetRates._fields, 0)
    zone.operate(Op.SET_RATES, SetRates(**(fields | {"epoch": 2})))
    zone.ticks(PERIOD)
    assert zone.told(Op.SETTLED)[-1].tax_ucr == 500, "half idle at a tax of 1"
    zone.command(Op.RENEW, Renew(lease.number, lease.token, 5_000, 500))
    zone.ticks(PERIOD)
    assert zone.told(Op.SETTLED)[-1].tax_ucr == 0


@pytest.mark.parametrize("book", [ReferenceBook, FastBook])
def test_a_host_of_any_number_of_slots_comes_in_through_the_door(book: Callable[[int], Book]) -> None:
    zone = Zone(book=book)
    zone.engine = Engine(book, 1)
    for op, body in (
        (Op.GENESIS, Genesis(3, 100, 2, 40, 40, 60, 100, Market.FIXED)),
        (Op.RULES, SetRules(LATEST)),
        (Op.SET_RESERVE, SetReserve(0, 1_000)),
    ):
        zone.engine.apply(Record(op, 0, 0, 1, body))
    key = host_key(Key(b"s" * 32), "n1")
    topic = Topic("z", Channel.ORDERS, "n1")
    door = Door("z", Key(b"s" * 32))

    def hello(boot: int, mask: int) -> tuple[Entry, list[Outcome]]:
        entry = door.read(
            zone.engine.state, str(topic), encode(topic, Hello(SCHEMA, "n1", boot, 0, 6, 0, 8000, 1 << 33, mask), key)
        )
        return entry, [zone.engine.apply(record) for record in entry.commands]

    for boot, mask in enumerate((-64, -65, -(1 << 16), -(1 << 62)), 1):
        entry, outcomes = hello(boot, mask)
        assert entry.rejected is not None or outcomes[-1].reason is Reason.RANGE, mask
    entry, outcomes = hello(9, -48)
    assert entry.greeted, entry
    assert outcomes[-1].reason is Reason.OK
    assert zone.state.book.summary(Region(0, 6)).present == 48
    restored = snapshot.unpack(snapshot.pack(zone.state), book)
    assert restored.hash() == zone.state.hash()
    assert restored.book.summary(Region(0, 6)).present == 48
