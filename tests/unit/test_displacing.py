"""Who may take slots that are leased, from whom, when, at whose cost (rule set 2), by examples checked by hand."""

import pytest
from worlds import FUNDS, HERE, MU, NOTICE, PERIOD, RESERVE, TERM, Zone

from tegcore.economics.fixed import friction_ucr, mass_micro
from tegcore.units import GIB
from tegcore.wire.records import (
    Cancel,
    Drain,
    Evict,
    Fok,
    HostUp,
    Market,
    Op,
    OrderFlag,
    Reason,
    Record,
    Region,
    Shape,
    Stay,
    Traits,
)
from zone_ledger.leases import LeaseState

NAMED = OrderFlag.NAMED
ROOT = Region(0, 4).packed()


def full(limit: int = 2_000, *, aged: bool = True, **rates: int) -> Zone:
    """Four slots held by work that named no bid."""
    zone = Zone(**rates)
    for ref in range(1, 5):
        zone.fok(ref, limit)
    zone.ticks()
    assert len(zone.state.leases) == 4
    if aged:
        zone.pass_first_term()
    return zone


def refusal(zone: Zone, host: int = 2) -> Reason:
    return Reason(zone.told(Op.REFUSED, host)[-1].reason)


def leaving(zone: Zone) -> list:
    return [lease for lease in zone.state.leases.values() if lease.state is LeaseState.EVICTING]


def test_a_bid_that_nobody_named_displaces_nobody() -> None:
    zone = full()
    zone.fok(9, 900_000, host=2)
    zone.fok(10, 900_000, host=2, traits=OrderFlag.CONFINED)
    zone.ticks()
    assert not leaving(zone)
    assert refusal(zone) is Reason.TAKEN


def test_a_named_bid_displaces_where_nothing_is_free() -> None:
    zone = full()
    zone.fok(9, 90_000, host=2, traits=NAMED, region=ROOT)
    zone.ticks()
    (lease,) = leaving(zone)
    zone.release(lease, Reason.CHALLENGED)
    assert zone.lease(9).price_ucr == 2_000 + friction_ucr(MU, mass_micro(0, 8_000, 1))


def test_a_named_bid_for_a_part_of_the_zone_displaces_only_if_its_work_is_confined_to_it() -> None:
    zone = full()
    zone.fok(9, 90_000, host=2, traits=NAMED)
    zone.ticks()
    assert refusal(zone) is Reason.TAKEN
    zone.fok(10, 90_000, host=2, traits=HERE)
    zone.ticks()
    assert leaving(zone)


def test_no_lease_is_displaced_in_its_first_term() -> None:
    zone = full(aged=False)
    granted = zone.state.tick
    zone.fok(9, 900_000, host=2, traits=HERE)
    zone.ticks()
    assert not leaving(zone)
    while zone.state.tick < granted + TERM - 2:
        zone.renew_all()
        zone.ticks()
    zone.fok(10, 900_000, host=2, traits=HERE)
    zone.ticks()
    assert not leaving(zone)
    zone.fok(11, 900_000, host=2, traits=HERE)
    zone.ticks()
    assert leaving(zone)


def test_free_room_anywhere_is_taken_before_a_lease_is_displaced() -> None:
    zone = full()
    zone.engine.apply(Record(Op.HOST_UP, 2, 2, 0, HostUp(8, 2, 0, 4000, 8 * GIB, 0, 2)))
    zone.sent[2], boot = 0, 2
    body = Fok(9, 2, ROOT, Shape((0,)).packed(), 0, 0, 900_000, 3_600_000, NAMED, 0)
    zone.engine.apply(Record(Op.FOK, 2, boot, 1, body))
    zone.ticks()
    assert not leaving(zone)
    assert zone.lease(9).blocks[0].base >= 8


def test_who_finds_free_room_taken_in_the_same_tick_displaces_nobody_in_it() -> None:
    zone = full()
    zone.release(zone.lease(1))
    zone.fok(9, 900_000, host=2, traits=HERE)
    zone.fok(10, 800_000, host=2, traits=HERE)
    zone.ticks()
    assert zone.lease(9)
    assert not leaving(zone)
    assert refusal(zone) is Reason.TAKEN


def challenged() -> Zone:
    zone = full()
    zone.fok(9, 90_000, host=2, traits=HERE)
    zone.ticks()
    assert leaving(zone)
    return zone


@pytest.mark.parametrize("how", ["cancel", "new boot"])
def test_a_notice_is_taken_back_when_the_challenger_goes(how: str) -> None:
    zone = challenged()
    (lease,) = leaving(zone)
    zone.ticks(10)
    if how == "cancel":
        zone.command(Op.CANCEL, Cancel(9), 2)
    else:
        zone.engine.apply(Record(Op.HOST_UP, 2, 2, 0, HostUp(8, 2, 1, 4000, 8 * GIB, 0, 2)))
    assert lease.state is LeaseState.HELD
    (withdrawn,) = zone.told(Op.WITHDRAWN)
    assert (withdrawn.lease, withdrawn.token) == (lease.number, lease.token)
    zone.renew_all()
    assert lease.number in {body.lease for body in zone.told(Op.RENEWED)}
    won_at = 2_000 + friction_ucr(MU, mass_micro(0, 8_000, 1))
    assert zone.state.accounts.balances[2] == FUNDS - -(-10 * won_at // PERIOD), "it pays for what it set in motion"
    zone.ticks(3 * NOTICE)
    assert zone.lease(lease.ref) is lease


def test_an_older_host_is_not_told_what_it_cannot_read() -> None:
    zone = challenged()
    zone.state.hosts[1].rules = 0
    zone.state.rows.hosts.mark(1)
    zone.command(Op.CANCEL, Cancel(9), 2)
    assert not zone.told(Op.WITHDRAWN)


def test_a_notice_is_not_taken_back_from_who_has_to_leave_for_another_reason_too() -> None:
    zone = challenged()
    (lease,) = leaving(zone)
    zone.operate(Op.DRAIN, Drain(1, 1))
    zone.command(Op.CANCEL, Cancel(9), 2)
    assert lease.state is LeaseState.EVICTING
    assert not zone.told(Op.WITHDRAWN)


@pytest.mark.parametrize("first", ["challenged", "drained"])
@pytest.mark.parametrize("then", ["evicted", "cancelled", "out of time"])
def test_what_can_be_taken_back_hides_nothing_that_cannot(first: str, then: str) -> None:
    zone = Zone()
    zone.fok(1, 2_000, traits=Traits(OrderFlag.NONE, 0, 0, TERM + 30).packed())
    for ref in range(2, 5):
        zone.fok(ref, 2_000)
    zone.ticks()
    zone.pass_first_term()
    lease = zone.lease(1)
    if first == "challenged":
        zone.fok(9, 90_000, host=2, traits=HERE, region=lease.blocks[0].packed())
        zone.ticks()
    else:
        zone.operate(Op.DRAIN, Drain(1, 1))
    assert lease.state is LeaseState.EVICTING
    why = {"evicted": Reason.OPERATOR, "cancelled": Reason.CANCELLED, "out of time": Reason.TIME}[then]
    if then == "evicted":
        assert zone.operate(Op.EVICT, Evict(lease.number)).reason is Reason.OK
    elif then == "cancelled":
        zone.command(Op.CANCEL, Cancel(lease.ref, lease.number))
    else:
        zone.ticks(35)
    if first == "challenged":
        zone.command(Op.CANCEL, Cancel(9), 2)
    else:
        zone.operate(Op.DRAIN, Drain(1, 0))
    assert (lease.state, lease.why) == (LeaseState.EVICTING, why)
    assert lease.number not in [body.lease for body in zone.told(Op.WITHDRAWN)]
    zone.release(lease)
    assert Reason(zone.told(Op.ENDED)[-1].why) is why


def test_a_drain_that_is_over_leaves_a_challenge_as_it_was() -> None:
    zone = challenged()
    (lease,) = leaving(zone)
    zone.operate(Op.DRAIN, Drain(1, 1))
    zone.operate(Op.DRAIN, Drain(1, 0))
    assert leaving(zone) == [lease]
    zone.command(Op.CANCEL, Cancel(9), 2)
    assert lease.state is LeaseState.HELD


def test_an_eviction_by_an_operator_stands_though_the_host_says_that_it_cannot_leave() -> None:
    zone = challenged()
    (lease,) = leaving(zone)
    zone.operate(Op.EVICT, Evict(lease.number))
    zone.command(Op.STAY, Stay(lease.number, lease.token))
    assert refusal(zone) is Reason.STAYED
    assert (lease.state, lease.why) == (LeaseState.EVICTING, Reason.OPERATOR)


def test_the_challenger_pays_for_the_notice_and_the_incumbent_does_not() -> None:
    zone = challenged()
    (lease,) = leaving(zone)
    paid, evaporated, noticed = lease.paid_ucr, zone.state.accounts.evaporated, zone.state.tick
    zone.ticks(NOTICE // 2)
    zone.release(lease, Reason.CHALLENGED)
    ended = zone.told(Op.ENDED)[-1]
    half, before = RESERVE * (NOTICE // 2) // PERIOD, RESERVE * (noticed - lease.period_start) // PERIOD
    assert zone.state.accounts.evaporated - evaporated == half + before
    assert ended.paid_ucr == paid + before, "nothing since the notice"
    held = zone.lease(9).purse_ucr + zone.lease(9).escrow_ucr
    assert held == 90_000 * 4, "its endowment is whole"
    assert zone.state.accounts.balances[2] == FUNDS - held - half


def test_who_cannot_pay_for_the_notice_displaces_nobody() -> None:
    zone = full()
    bid = 2_000 + friction_ucr(MU, mass_micro(0, 8_000, 1)) + 100
    zone.state.accounts.hold(2, FUNDS - bid - 300)
    zone.state.accounts.evaporate(FUNDS - bid - 300)
    zone.fok(9, bid, host=2, traits=HERE, endow=bid)
    zone.ticks()
    assert not leaving(zone)
    refused = zone.told(Op.REFUSED, 2)[-1]
    assert Reason(refused.reason) is Reason.FUNDS
    assert refused.missing == -(-bid * NOTICE // PERIOD) - 300, "what its first period and the notice come to"
    assert zone.state.accounts.balances[2] == bid + 300


def test_a_move_displaces_nobody_and_counts_its_own_slots_as_free() -> None:
    zone = full()
    zone.release(zone.lease(1))
    old = zone.lease(2)
    shape, region = Shape((1,)).packed(), Region(0, 1).packed()
    zone.command(Op.MOVE, Fok(12, 1, region, shape, 0, 0, 2_000, 16_000, 0, old.number))
    zone.ticks()
    assert leaving(zone) == [old]
    zone.release(old)
    assert zone.lease(12).blocks == (Region(0, 1),)
    assert zone.lease(12).price_ucr == RESERVE


def test_an_incumbent_of_an_older_host_that_cannot_leave_stays() -> None:
    zone = challenged()
    (lease,) = leaving(zone)
    zone.command(Op.STAY, Stay(lease.number, lease.token))
    assert lease.state is LeaseState.HELD
    assert refusal(zone) is Reason.STAYED


def test_a_refused_bid_that_may_not_displace_still_sets_the_rent() -> None:
    zone = full(10_000, mu_ucr=0)
    zone.renew_all()
    zone.fok(9, 7_000, host=2)
    zone.ticks(PERIOD)
    assert max(lease.price_ucr for lease in zone.state.leases.values()) == 7_000


@pytest.mark.parametrize("market", Market)
def test_a_quote_tells_the_price_of_what_is_free_and_the_reserve_where_nothing_is(market: Market) -> None:
    zone = Zone(market)
    body = Fok(50, 2, Region(0, 2).packed(), Shape((0,)).packed(), 0, 0, 5_000, 0, 0, 0)
    asked = Record(Op.FOK, 2, 1, 0, body)
    free = zone.engine.quote(asked).body
    assert (Reason(free.reason), free.price_ucr) == (Reason.OK, RESERVE)
    for ref in range(1, 5):
        zone.fok(ref, 50_000)
    zone.ticks()
    taken = zone.engine.quote(asked).body
    assert (Reason(taken.reason), taken.price_ucr, taken.missing) == (Reason.TAKEN, RESERVE, 1)


def test_a_drain_that_is_taken_back_takes_its_notices_back() -> None:
    zone = full()
    lease = zone.lease(1)
    zone.operate(Op.DRAIN, Drain(1, 1))
    assert len(leaving(zone)) == 4
    zone.release(zone.lease(2), Reason.DRAINED)
    zone.operate(Op.DRAIN, Drain(1, 0))
    assert not leaving(zone)
    assert len(zone.told(Op.WITHDRAWN)) == 3
    zone.renew_all()
    zone.ticks(3 * NOTICE)
    assert zone.lease(1) is lease


def test_keeping_ones_own_lease_by_winning_it_again_costs_what_rivals_would_pay() -> None:
    """Challenging one's own lease and cancelling held off every rival, at the plain rent."""
    zone = full()
    zone.fok(9, 90_000, host=2, traits=HERE, region=Region(0, 0).packed())
    zone.fok(10, 95_000, traits=HERE, region=Region(0, 0).packed())
    zone.ticks()
    before = zone.state.accounts.evaporated
    zone.ticks(NOTICE // 2)
    zone.command(Op.CANCEL, Cancel(10))
    assert zone.state.accounts.evaporated - before >= 90_000 * (NOTICE // 2) // PERIOD
