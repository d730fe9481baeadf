"""Who pays for a lease, and what happens when money runs out (rule set 2), by examples checked by hand."""

import pytest
from worlds import FUNDS, PERIOD, RESERVE, TERM, TERM_PERIODS, Zone

from tegcore.economics.fixed import range_price_ucr
from tegcore.units import GIB, PRICE_UCR_MAX, UCR_MAX
from tegcore.wire.records import (
    INCOME_STANDING,
    Expand,
    Income,
    Market,
    Mint,
    Op,
    OrderFlag,
    Reason,
    Region,
    Renew,
    SetMode,
    SetRules,
    Shape,
    TopUp,
    Transfer,
)
from zone_ledger import snapshot
from zone_ledger.book.fast import FastBook
from zone_ledger.book.reference import ReferenceBook
from zone_ledger.leases import LeaseState, Pays

BUDGETED = OrderFlag.BUDGETED


def spend(zone: Zone, tenant: int, leave: int) -> None:
    """Take a tenant's money away, but for this much."""
    amount = zone.state.accounts.balances[tenant] - leave
    zone.state.accounts.hold(tenant, amount)
    zone.state.accounts.evaporate(amount)


def run(zone: Zone, ref: int, limit: int = 0, amount: int = 0, **changes: int):
    """A lease that the account, or the income, pays for."""
    zone.fok(ref, limit, endow=amount or -1, **changes)
    zone.ticks()
    return zone.lease(ref)


def go(zone: Zone, periods: int) -> None:
    for _ in range(periods):
        zone.renew_all()
        zone.ticks(PERIOD)


def test_at_fixed_prices_a_standing_income_covers_what_is_charged() -> None:
    zone = Zone(Market.FIXED, mem_k_ucr=10_000, gas_ucr=7)
    lease = run(zone, 1, mem_bytes=GIB)
    memory = range_price_ucr(10_000, 8 * GIB * 95 // 100, 0, GIB)
    minted = zone.state.accounts.minted
    go(zone, 10)
    zone.command(Op.EXPAND, Expand(lease.number, lease.token, 1, GIB, 10_000))
    assert zone.state.accounts.balances[1] == FUNDS, "the account is not touched"
    assert lease.paid_ucr == zone.state.accounts.evaporated == 10 * (RESERVE + memory) + 7
    assert zone.state.accounts.minted - minted == lease.paid_ucr == zone.state.counters.covered_ucr
    assert lease.state is LeaseState.HELD


def test_at_fixed_prices_an_empty_account_is_no_reason_to_wait_or_to_end() -> None:
    zone = Zone(Market.FIXED)
    spend(zone, 1, 0)
    lease = run(zone, 1)
    go(zone, 50)
    assert zone.lease(1) is lease
    assert not zone.told(Op.LOW)


def test_a_limit_that_nobody_named_is_no_bound_at_fixed_prices() -> None:
    zone = Zone(Market.FIXED)
    assert run(zone, 1, limit=1)
    zone.fok(2, 1, traits=OrderFlag.NAMED, endow=-1)
    zone.ticks()
    assert Reason(zone.told(Op.REFUSED)[-1].reason) is Reason.PRICE


def test_in_the_auction_an_account_pays_period_by_period() -> None:
    zone = Zone()
    lease = run(zone, 1, limit=5_000)
    assert (lease.pays, lease.purse_ucr, lease.escrow_ucr) == (Pays.ACCOUNT, 0, 5_000)
    go(zone, 3)
    assert zone.state.accounts.balances[1] == FUNDS - 3 * RESERVE - 5_000
    zone.release(lease)
    assert zone.state.accounts.balances[1] == FUNDS - 3 * RESERVE
    assert zone.state.accounts.escrow == 0


def test_an_order_is_refused_whose_account_cannot_carry_it_for_a_term() -> None:
    zone = Zone()
    needed = (2 + TERM_PERIODS) * 5_000
    spend(zone, 1, needed - 1)
    zone.fok(1, 5_000, endow=-1)
    refused = zone.told(Op.REFUSED)[-1]
    assert (Reason(refused.reason), refused.missing) == (Reason.FUNDS, 1)
    zone.operate(Op.MINT, Mint(1, 1))
    assert run(zone, 2, limit=5_000)


def test_an_account_that_runs_dry_gives_up_its_newest_leases_a_term_after_it_said_so() -> None:
    zone = Zone()
    leases = [run(zone, ref, limit=2_000) for ref in (1, 2, 3)]
    spend(zone, 1, 20_000)
    told_tick = 0
    for _ in range(40 * PERIOD):
        if zone.state.tick % 40 == 0:
            zone.renew_all()
        zone.ticks()
        told_tick = told_tick or (zone.state.tick if zone.told(Op.LOW) else 0)
        if zone.told(Op.NOTICE):
            break
    low = {body.lease for body in zone.told(Op.LOW)}
    noticed = [body.lease for body in zone.told(Op.NOTICE)]
    assert noticed, "it ran dry"
    assert leases[0].number not in noticed, "the oldest stays"
    assert set(noticed) <= low, "whoever goes was told"
    assert zone.state.tick - told_tick >= TERM, "a term ahead"
    for lease in leases:
        if lease.number in noticed:
            zone.release(lease, Reason.BANKRUPT)
    before = zone.state.accounts.evaporated
    go(zone, 1)
    assert zone.state.accounts.evaporated - before == RESERVE * (3 - len(noticed)), "who stays is paid for whole"


def test_an_income_that_covers_the_rent_lets_nobody_run_dry() -> None:
    zone = Zone()
    zone.operate(Op.INCOME, Income(1, 2 * RESERVE))
    for ref in (1, 2):
        run(zone, ref, limit=2_000)
    spend(zone, 1, 4 * RESERVE)
    go(zone, 30)
    assert len(zone.state.leases) == 2
    assert not zone.told(Op.LOW)


def test_a_rate_ends_the_standing_income_of_its_tenant_alone() -> None:
    zone = Zone(Market.FIXED)
    zone.operate(Op.INCOME, Income(1, 0))
    spend(zone, 1, 0)
    spend(zone, 2, 0)
    zone.fok(1, 0, endow=-1)
    assert Reason(zone.told(Op.REFUSED)[-1].reason) is Reason.FUNDS
    assert run(zone, 2, host=2, tenant=2)
    zone.operate(Op.INCOME, Income(1, INCOME_STANDING))
    assert run(zone, 3)


@pytest.mark.parametrize("market", Market)
def test_a_budget_is_a_cap_told_a_term_ahead(market: Market) -> None:
    zone = Zone(market)
    budget = 5 * RESERVE + RESERVE // 2
    lease = run(zone, 1, limit=RESERVE + 1, amount=budget, traits=BUDGETED)
    assert (lease.pays, lease.budget_ucr) == (Pays.ACCOUNT, budget)
    go(zone, 2)
    assert not zone.told(Op.LOW)
    go(zone, 1)
    (low,) = zone.told(Op.LOW)
    assert Reason(low.reason) is Reason.BUDGET
    assert low.until_tick == lease.period_start + 2 * PERIOD
    assert low.missing_ucr == 2 * RESERVE, "what carries it a term further"
    go(zone, 1)
    assert not zone.told(Op.NOTICE)
    go(zone, 1)
    assert Reason(zone.told(Op.NOTICE)[-1].why) is Reason.BANKRUPT
    zone.ticks(20)
    zone.release(lease, Reason.BANKRUPT)
    assert lease.paid_ucr <= budget


@pytest.mark.parametrize("market", Market)
def test_a_top_up_raises_a_budget(market: Market) -> None:
    zone = Zone(market)
    lease = run(zone, 1, limit=RESERVE + 1, amount=3 * RESERVE, traits=BUDGETED)
    go(zone, 1)
    assert zone.told(Op.LOW)
    zone.command(Op.TOP_UP, TopUp(lease.number, lease.token, 1, 10 * RESERVE))
    assert zone.told(Op.LOW)[-1].until_tick == 0, "it is told that it does no more"
    go(zone, 8)
    assert lease.state is LeaseState.HELD


def test_a_budget_below_one_period_is_refused_with_what_is_missing() -> None:
    zone = Zone(Market.FIXED)
    zone.fok(1, 0, endow=RESERVE - 7, traits=BUDGETED)
    refused = zone.told(Op.REFUSED)[-1]
    assert (Reason(refused.reason), refused.missing) == (Reason.BUDGET, 7)


def test_growth_that_money_does_not_reach_is_refused_and_ends_nobody() -> None:
    zone = Zone(Market.FIXED, mem_k_ucr=1_000_000)
    lease = run(zone, 1, mem_bytes=GIB)
    zone.command(Op.EXPAND, Expand(lease.number, lease.token, 1, 7 * GIB, 10**12))
    assert Reason(zone.told(Op.EXPANDED)[-1].reason) is Reason.CAPACITY
    go(zone, 10)
    assert lease.state is LeaseState.HELD


@pytest.mark.parametrize("funds", [0, 10, FUNDS])
def test_a_standing_income_covers_the_tax_on_idle_slots_too(funds: int) -> None:
    zone = Zone(Market.FIXED, tax_permille=500)
    lease = run(zone, 1)
    spend(zone, 1, funds)
    for periods in range(1, 4):
        zone.command(Op.RENEW, Renew(lease.number, lease.token, 0, 0))
        zone.ticks(PERIOD)
        assert zone.state.accounts.balances[1] == funds, "the account stays as it is"
        assert lease.paid_ucr == periods * RESERVE * 3 // 2, "it is charged and journaled as ever"
    assert zone.told(Op.SETTLED)[-1].tax_ucr == RESERVE // 2
    assert zone.state.counters.covered_ucr == lease.paid_ucr
    zone.release(lease)
    assert zone.state.accounts.balances[1] == funds


def test_a_budget_bounds_the_tax_too() -> None:
    zone = Zone(Market.FIXED, tax_permille=500)
    lease = run(zone, 1, amount=RESERVE + 10, traits=BUDGETED)
    zone.command(Op.RENEW, Renew(lease.number, lease.token, 0, 0))
    zone.ticks(PERIOD)
    assert lease.paid_ucr == RESERVE + 10
    assert zone.state.accounts.balances[1] == FUNDS


def test_from_fixed_prices_to_the_auction_and_back_every_credit_has_its_place() -> None:
    zone = Zone(Market.FIXED)
    lease = run(zone, 1)
    go(zone, 2)
    zone.operate(Op.MODE, SetMode(Market.AUCTION))
    go(zone, 3)
    assert zone.state.accounts.balances[1] == FUNDS - 2 * RESERVE - lease.escrow_ucr
    zone.operate(Op.MODE, SetMode(Market.FIXED))
    go(zone, 3)
    assert zone.state.accounts.balances[1] == FUNDS - 3 * RESERVE, "three periods were the account's"
    zone.engine.check()


def test_the_latest_rules_take_up_what_an_older_journal_left() -> None:
    Zone.rules = 1
    try:
        zone = Zone()
    finally:
        Zone.rules = 2
    zone.fok(1, 2_000)
    zone.ticks()
    zone.system(Op.RULES, SetRules(2))
    zone.engine.check()
    assert zone.lease(1).pays is Pays.PURSE
    run(zone, 2, limit=2_000)
    go(zone, 2)
    assert zone.lease(2).pays is Pays.ACCOUNT
    restored = snapshot.unpack(snapshot.pack(zone.state), FastBook)
    assert restored.hash() == zone.state.hash()
    assert restored.running_hash() == zone.state.running_hash()
    assert restored.rules == zone.state.rules


def test_a_share_of_a_slot_pays_its_share() -> None:
    zone = Zone(Market.FIXED, book=ReferenceBook)
    lease = run(zone, 1, shape=Shape((0,), 1, 250).packed(), region=Region(0, 2).packed())
    go(zone, 4)
    assert lease.paid_ucr == 4 * RESERVE // 4


def full_ledger(market: Market = Market.AUCTION, **rates: int) -> Zone:
    """A ledger that has minted all that it can count."""
    zone = Zone(market, **rates)
    room = UCR_MAX - zone.state.accounts.minted
    assert zone.operate(Op.MINT, Mint(2, room)).reason is Reason.OK
    return zone


def sound(zone: Zone) -> None:
    """What is kept of money can be counted, hashed, and kept as a snapshot."""
    zone.engine.check()
    money = zone.state.accounts
    assert money.minted + money.transferred_in <= UCR_MAX
    assert max(money.balances.values()) <= UCR_MAX
    assert zone.state.hash()
    assert snapshot.unpack(snapshot.pack(zone.state), FastBook).running_hash() == zone.state.running_hash()


@pytest.mark.parametrize("amount", [1, FUNDS, UCR_MAX])
def test_no_money_is_taken_in_beyond_what_a_ledger_can_count(amount: int) -> None:
    zone = full_ledger()
    before = dict(zone.state.accounts.balances)
    for tenant in (1, 2):
        outcome = zone.operate(Op.MINT, Mint(tenant, amount))
        assert (outcome.reason, outcome.missing) == (Reason.RANGE, amount)
        outcome = zone.operate(Op.TRANSFER_IN, Transfer(7, tenant, 3, amount))
        assert (outcome.reason, outcome.missing) == (Reason.RANGE, amount)
    assert zone.state.accounts.balances == before
    assert not zone.state.transfers, "it may be tried again"
    sound(zone)


def test_a_transfer_takes_room_of_later_mints() -> None:
    zone = Zone()
    room = UCR_MAX - zone.state.accounts.minted
    assert zone.operate(Op.TRANSFER_IN, Transfer(7, 1, 3, room - 5)).reason is Reason.OK
    assert zone.operate(Op.MINT, Mint(1, 6)).reason is Reason.RANGE
    assert zone.operate(Op.MINT, Mint(1, 5)).reason is Reason.OK
    sound(zone)


def test_a_full_ledger_covers_and_subsidises_no_more_and_ends_nobody() -> None:
    zone = full_ledger(Market.FIXED, subsidy_permille=500, subsidy_ucr_max=UCR_MAX, mem_k_ucr=10_000, gas_ucr=7)
    lease = run(zone, 1, mem_bytes=GIB)
    purse = run(zone, 2, limit=2_000, amount=20_000)
    go(zone, 4)
    zone.command(Op.EXPAND, Expand(lease.number, lease.token, 1, GIB, 10_000))
    sound(zone)
    assert lease.state is purse.state is LeaseState.HELD


def test_the_greatest_bids_there_are_can_be_told_what_they_are_short_of() -> None:
    zone = Zone()
    for ref, size in ((1, 4), (2, 2)):
        zone.fok(ref, PRICE_UCR_MAX, size=size, endow=-1, region=Region(0, 4).packed())
    zone.ticks()
    for body in zone.told(Op.REFUSED):
        assert 0 < body.missing <= UCR_MAX
    lease = run(zone, 3, shape=Shape((0,), 1, 1).packed(), limit=2_000, region=Region(0, 2).packed())
    zone.operate(Op.MINT, Mint(2, UCR_MAX - zone.state.accounts.minted))
    zone.fok(9, PRICE_UCR_MAX, host=2, size=2, endow=-1, traits=OrderFlag.NAMED)
    zone.ticks()
    assert lease.challenge_ucr <= UCR_MAX
    go(zone, 2)
    sound(zone)
