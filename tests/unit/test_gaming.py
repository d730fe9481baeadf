"""What a tenant could try for more than its due, or an unlucky one could suffer (rule set 2), by small examples."""

import pytest
from worlds import FUNDS, HERE, PERIOD, RESERVE, TERM, TERM_PERIODS, Zone

from tegcore.units import GIB, UCR_MAX
from tegcore.wire.records import (
    INCOME_STANDING,
    Cancel,
    Fok,
    HostUp,
    Income,
    Market,
    Op,
    OrderFlag,
    Reason,
    Record,
    Region,
    Renew,
    SetMode,
    SetReserve,
    Shape,
    TopUp,
)
from zone_ledger.leases import LeaseState, charge_ucr

NAMED, BUDGETED = OrderFlag.NAMED, OrderFlag.BUDGETED


def keep(zone: Zone, tenant: int, leave: int) -> None:
    """Leave a tenant this much money."""
    amount = zone.state.accounts.balances[tenant] - leave
    zone.state.accounts.hold(tenant, amount)
    zone.state.accounts.evaporate(amount)


def go(zone: Zone, periods: int) -> None:
    for _ in range(periods):
        zone.renew_all()
        zone.ticks(PERIOD)


def move(zone: Zone, lease, ref: int, slot: int) -> None:
    """The work of a lease has a new one in a slot, and has left the old one."""
    fields = (ref, 1, Region(slot, 0).packed(), Shape((0,)).packed(), 0, 0, 2_000, 0, 0, lease.number)
    zone.command(Op.MOVE, Fok(*fields))
    zone.ticks()
    old = zone.state.leases.get(lease.number)
    if old is not None:
        zone.release(old, Reason.MOVED)


def test_who_moves_again_and_again_is_protected_no_longer_than_the_term_of_its_first_seat() -> None:
    zone = Zone()
    zone.fok(1, 2_000, endow=-1)
    zone.ticks()
    for ref in range(2, 6):
        zone.renew_all()
        zone.ticks(TERM // 2 - 5)
        move(zone, zone.lease(ref - 1), ref, ref % 4)
        assert zone.lease(ref)
    assert not zone.lease(5).protected


def test_who_moves_into_its_own_slot_begins_no_first_term() -> None:
    zone = Zone()
    zone.fill()
    zone.pass_first_term()
    old = zone.lease(1)
    move(zone, old, 9, old.blocks[0].base)
    assert zone.lease(9)
    assert not zone.lease(9).protected


def test_a_notice_is_not_taken_back_once_a_part_of_the_work_has_left() -> None:
    zone = Zone()
    zone.engine.apply(Record(Op.HOST_UP, 2, 2, 0, HostUp(4, 2, 0, 4000, 8 * GIB, 0, 2)))
    zone.fok(1, 2_000, size=3, region=Region(0, 3).packed(), endow=-1)
    zone.ticks()
    zone.pass_first_term()
    lease = zone.lease(1)
    assert set(lease.hosts) == {1, 2}
    zone.fok(9, 90_000, tenant=2, traits=HERE, endow=-1)
    zone.ticks()
    assert lease.state is LeaseState.EVICTING
    zone.release(lease)
    zone.command(Op.CANCEL, Cancel(9, 0))
    assert lease.state is LeaseState.EVICTING, "half of it is gone: nobody can hold it"
    assert not zone.told(Op.WITHDRAWN)


def test_the_challenger_pays_up_to_its_end_though_its_incumbent_must_leave_anyway() -> None:
    zone = Zone()
    zone.fill()
    zone.pass_first_term()
    zone.fok(9, 90_000, host=2, traits=HERE)
    zone.ticks()
    (lease,) = [lease for lease in zone.state.leases.values() if lease.state is LeaseState.EVICTING]
    zone.ticks(40)
    zone.command(Op.CANCEL, Cancel(lease.ref, lease.number))
    zone.command(Op.CANCEL, Cancel(9, 0), host=2)
    assert lease.spared_ucr == lease.charge_ucr * 40 // PERIOD


def test_orders_of_one_tick_are_taken_in_no_further_than_the_account_carries_them_together() -> None:
    zone = Zone()
    one = (2 + TERM_PERIODS) * 2_000
    keep(zone, 1, 2 * one)
    for ref in range(1, 5):
        zone.fok(ref, 2_000, endow=-1)
    zone.ticks()
    assert len(zone.state.leases) == 2
    assert [Reason(body.reason) for body in zone.told(Op.REFUSED)] == [Reason.FUNDS] * 2


def test_a_purse_takes_no_money_that_what_runs_lives_on() -> None:
    """Else an order that holds all the money over a boundary makes the rent of the next period free."""
    zone = Zone()
    keep(zone, 1, 20_000)
    zone.fok(1, RESERVE + 1, endow=-1)
    zone.ticks()
    boundary = zone.lease(1).period_start + PERIOD
    zone.ticks(boundary - zone.state.tick - 1)
    zone.fok(2, 1, endow=zone.state.accounts.balances[1])
    zone.ticks()
    paid = zone.lease(1).paid_ucr
    zone.renew_all()
    zone.ticks(PERIOD)
    assert zone.lease(1).paid_ucr == paid + RESERVE


@pytest.mark.parametrize("market", list(Market))
def test_a_limit_below_the_reserve_makes_no_seat_cheaper(market: Market) -> None:
    zone = Zone(market)
    zone.operate(Op.INCOME, Income(1, 1))
    zone.fok(1, 2_000, endow=-1, traits=NAMED)
    zone.ticks()
    lease = zone.lease(1)
    for _ in range(5):
        zone.command(Op.RENEW, Renew(lease.number, lease.token, 1, 1000))
        zone.ticks(PERIOD)
    assert lease.paid_ucr == 5 * RESERVE


def test_a_high_limit_of_one_lease_takes_no_rent_from_another() -> None:
    """What a limit holds in escrow comes back at the boundary: it must not make the account look dry meanwhile."""
    zone = Zone()
    keep(zone, 1, 60_000)
    zone.fok(1, 2_000, endow=-1)
    zone.ticks(30)
    zone.fok(2, 2_000, endow=-1)
    zone.ticks(20)
    lease = zone.lease(2)
    for _ in range(5):
        zone.command(Op.RENEW, Renew(lease.number, lease.token, 900_000, 1000))
        zone.command(Op.RENEW, Renew(zone.lease(1).number, zone.lease(1).token, 2_000, 1000))
        zone.ticks(PERIOD)
    assert zone.lease(1).paid_ucr == zone.lease(2).paid_ucr == 5 * RESERVE
    assert not zone.told(Op.LOW)
    assert not zone.told(Op.NOTICE)


@pytest.mark.parametrize("market", list(Market))
def test_who_has_less_than_a_term_is_told_so_when_it_is_seated(market: Market) -> None:
    zone = Zone(market)
    zone.fok(1, 1_100, endow=1_500, traits=BUDGETED)
    zone.ticks()
    (low,) = zone.told(Op.LOW)
    assert low.until_tick == zone.lease(1).granted + PERIOD
    assert low.missing_ucr == charge_ucr(RESERVE, Shape((0,))) * TERM_PERIODS


@pytest.mark.parametrize("how", ["the auction begins", "the income ends", "the money is gone"])
def test_nobody_has_notice_for_money_that_it_was_not_told_of_a_term_ahead(how: str) -> None:
    market = Market.FIXED if how == "the auction begins" else Market.AUCTION
    zone = Zone(market)
    zone.operate(Op.INCOME, Income(1, INCOME_STANDING if market is Market.FIXED else 2 * RESERVE))
    for ref in (1, 2, 3):
        zone.fok(ref, RESERVE + 1, endow=-1)
        zone.ticks(20)
    keep(zone, 1, 0 if how != "the money is gone" else 5 * RESERVE)
    match how:
        case "the auction begins":
            zone.operate(Op.MODE, SetMode(Market.AUCTION))
        case "the income ends":
            zone.operate(Op.INCOME, Income(1, 0))
        case _:
            keep(zone, 1, 0)
            zone.operate(Op.INCOME, Income(1, RESERVE))
    told: dict[int, int] = {}
    noticed: dict[int, int] = {}
    for _ in range(8 * TERM):
        if zone.state.tick % 40 == 0:
            zone.renew_all()
        zone.ticks()
        for body in zone.told(Op.LOW):
            told.setdefault(body.lease, zone.state.tick)
        for body in zone.told(Op.NOTICE):
            noticed.setdefault(body.lease, zone.state.tick)
    assert set(noticed) >= {2, 3}
    assert all(noticed[number] - told[number] >= TERM for number in noticed)
    assert sorted(noticed, key=lambda number: (noticed[number], -number)) == sorted(noticed, reverse=True)


def test_a_lease_that_waits_for_money_is_not_to_be_had_below_the_reserve() -> None:
    zone = Zone(mu_ucr=0)
    zone.fok(1, 2_000, endow=-1, size=2)
    zone.ticks()
    zone.pass_first_term()
    keep(zone, 1, 0)
    lease = zone.lease(1)
    for _ in range(TERM_PERIODS + 2):
        zone.renew_all()
        zone.ticks(PERIOD)
        assert lease.limit_ucr >= RESERVE


def test_a_top_up_takes_no_money_that_what_runs_lives_on() -> None:
    zone = Zone()
    zone.fok(1, 2_000, endow=-1)
    zone.fok(2, 2_000, endow=8_000)
    zone.ticks()
    purse, kept = zone.lease(2), (2 + TERM_PERIODS) * RESERVE
    amount = zone.state.accounts.balances[1] - kept
    more = TopUp(purse.number, purse.token, 1, amount + 1)
    assert (zone.command(Op.TOP_UP, more).reason, zone.told(Op.ANSWER)[-1].missing) == (Reason.FUNDS, 1)
    assert zone.command(Op.TOP_UP, more._replace(amount_ucr=amount)).reason is Reason.OK


def test_an_income_mints_no_more_than_a_ledger_can_count() -> None:
    zone = Zone()
    zone.operate(Op.INCOME, Income(0, UCR_MAX))
    zone.ticks(3 * PERIOD)
    assert zone.state.accounts.minted <= UCR_MAX


def contested(bid: int, account: int, *, purse: int, rival: int = 9_000) -> tuple[str, int, int]:
    """Two named bids for one leased slot; tenant 2 has a purse and so much more. Who wins, at what, for what notice."""
    zone = Zone(mu_ucr=0)
    zone.fill()
    zone.pass_first_term()
    here = Region(0, 0).packed()
    keep(zone, 2, purse + account)
    zone.fok(8, rival, traits=HERE, region=here, endow=10 * rival)
    zone.fok(9, bid, host=2, traits=HERE, region=here, endow=purse)
    zone.ticks()
    orders = {order.ref: order for order in zone.state.orders.values()}
    if not orders:
        return "nobody", 0, 0
    ((ref, order),) = orders.items()
    assert order.notice_ucr + order.held_ucr <= (purse + account if ref == 9 else FUNDS)
    return {8: "rival", 9: "poor"}[ref], order.price_ucr, order.notice_ucr


@pytest.mark.parametrize(("purse", "account"), [(20_000, 0), (20_000, 3_000), (60_000, 0)])
def test_who_cannot_pay_for_the_notice_keeps_the_slot_from_nobody(purse: int, account: int) -> None:
    """It competes with what it can pay, notice and first period, and not with what it named."""
    assert contested(20_000, account, purse=purse)[0] == ("rival" if account + purse < 9_000 * 8 // 5 else "poor")
    assert contested(min(purse, 15_000), 0, purse=15_000, rival=10_000)[0] == "rival"


@pytest.mark.parametrize("rival", [2_500, 6_000, 12_000])
@pytest.mark.parametrize("account", [0, 700, 4_000])
def test_short_of_the_notice_no_other_bid_does_better(account: int, rival: int) -> None:
    purse = 12_000
    outcomes = {bid: contested(bid, account, purse=purse, rival=rival) for bid in range(2_100, purse + 1, 900)}
    honest = contested(purse, account, purse=purse, rival=rival)
    for bid, (who, price, _) in outcomes.items():
        assert who != "poor" or (honest[0], honest[1]) == (who, price), f"{bid} wins, or is cheaper"


def test_two_of_one_tenant_do_not_pay_for_their_notices_with_the_same_money() -> None:
    zone = Zone(mu_ucr=0)
    zone.fill()
    zone.pass_first_term()
    keep(zone, 2, 2 * 5_000 + 3_600)
    for ref, slot in ((8, 0), (9, 1)):
        zone.fok(ref, 5_000, host=2, traits=HERE, region=Region(slot, 0).packed(), endow=5_000)
    zone.ticks()
    for order in zone.state.orders.values():
        assert order.notice_ucr >= RESERVE * 60 // PERIOD
        assert order.held_ucr >= order.price_ucr
    assert zone.state.accounts.balances[2] >= 0


def test_work_that_moves_keeps_its_age_when_its_account_runs_dry() -> None:
    """The newest work goes first: a seat elsewhere makes no work newer than it is."""
    zone = Zone()
    for ref in (1, 2):
        zone.fok(ref, 2_000, endow=-1)
        zone.ticks(20)
    since = zone.lease(1).since
    for moves in range(2):
        zone.renew_all()
        move(zone, zone.lease(1 if not moves else 10 + moves), 11 + moves, 2 + moves)
        zone.ticks(20)
    assert zone.lease(12).since == since
    keep(zone, 1, 0)
    zone.operate(Op.INCOME, Income(1, RESERVE))
    noticed: list[int] = []
    for _ in range(4 * TERM):
        if zone.state.tick % 40 == 0:
            zone.renew_all()
        zone.ticks()
        noticed = [body.lease for body in zone.told(Op.NOTICE)]
        if noticed and zone.state.leases.get(noticed[-1]) and zone.lease(2) is None:
            break
        if any(zone.state.leases[number].ref == 2 for number in noticed if number in zone.state.leases):
            break
    assert zone.lease(12).state is LeaseState.HELD
    assert zone.lease(2).why is Reason.BANKRUPT


@pytest.mark.parametrize("market", list(Market))
def test_what_is_dear_for_its_memory_is_nobodys_cheapest_block(market: Market) -> None:
    """Else a higher bid, served first, is sent to where memory is dear, and a lower one gains by coming later."""
    zone = Zone(market, mem_k_ucr=10_000)
    zone.operate(Op.SET_RESERVE, SetReserve(1, RESERVE + 500))
    root, either = Region(0, 4).packed(), Shape((0,), 3).packed()
    zone.fok(1, 50_000, endow=-1, mem_bytes=6 * GIB)
    zone.ticks()
    body = Fok(9, 2, root, either, 0, GIB, 50_000, 0, 0, 0)
    quoted = zone.engine.quote(Record(Op.FOK, 2, 1, 0, body)).body
    for ref, bid in ((9, 50_000), (10, 20_000)):
        zone.fok(ref, bid, host=2, endow=-1, mem_bytes=GIB, region=root, shape=either)
    zone.ticks()
    for ref in (9, 10):
        assert zone.lease(ref).blocks[0].base >= 8, "beside nobody's memory"
    assert zone.lease(9).ranges_ucr() == quoted.price_ucr - RESERVE - 500, "who comes after makes it no dearer"


@pytest.mark.parametrize("rival", [2_000, 4_000, 9_000])
def test_with_priced_memory_no_other_bid_for_the_last_room_gains(rival: int) -> None:
    worth, root, either = 8_000, Region(0, 4).packed(), Shape((0,), 3).packed()
    gains = {}
    for said in (worth, *range(500, 16_000, 1_100)):
        zone = Zone(mem_k_ucr=3_000)
        zone.operate(Op.SET_RESERVE, SetReserve(1, RESERVE + 300))
        zone.fok(1, 50_000, endow=-1, mem_bytes=5 * GIB)
        zone.fok(2, 50_000, host=2, tenant=2, endow=-1, mem_bytes=3 * GIB, region=Region(8, 2).packed(), shape=either)
        zone.ticks()
        zone.fok(8, said, endow=-1, mem_bytes=2 * GIB, region=root, shape=either)
        for ref in (9, 10, 11):
            zone.fok(ref, rival + ref, host=2, endow=-1, mem_bytes=2 * GIB, region=root, shape=either)
        zone.ticks()
        lease = zone.lease(8)
        gains[said] = worth - lease.charge_ucr if lease is not None else 0
    assert gains[worth] == max(gains.values())
    assert gains[worth] >= 0
