"""Who is told that money runs out, and who gives way when an account is dry (DESIGN 12, "Paying").

A lease with a budget or a purse of its own is looked at at its boundaries. Accounts are looked at once a period, a term
ahead: what a tenant's leases take from its account, less its income, is R - I; while two periods' worth of that is
there, every boundary until the next look is carried, those of leases with notice among them. Below it the newest leases
get notice, until what stays is carried for another term or costs no more than the income; the same leases are told a
term earlier, and none goes before the tick that it was told, or before a newer one.

An order is taken in only if its tenant can carry it that far, with all else that it has asked for: work that comes back
after an account was dry is not sent away again at once. No purse is filled with what the rest lives on.
"""

from tegcore.units import UCR_MAX
from tegcore.wire.records import Low, Op, Reason
from zone_ledger.eviction import give_notice
from zone_ledger.leases import Lease, LeaseState, Order, Pays
from zone_ledger.settlement import LOOK_PERIODS, carries_ucr, is_covered
from zone_ledger.state import State


def look_at_lease(state: State, lease: Lease) -> None:
    """Tell the host of a lease with money of its own that it runs out, a term ahead, or no more."""
    if lease.pays is Pays.PURSE:
        left_ucr = lease.purse_ucr + lease.escrow_ucr - lease.charge_ucr
    elif lease.budget_ucr >= 0:
        left_ucr = lease.budget_ucr - lease.paid_ucr - lease.charge_ucr
    else:
        return
    charge = lease.charge_ucr
    if left_ucr >= charge * state.genesis.term_periods or lease.state is not LeaseState.HELD:
        _relieve(state, lease)
        return
    periods = 1 + max(0, left_ucr) // charge
    until_tick = lease.period_start + periods * state.genesis.period_ticks
    _warn(state, lease, Reason.BUDGET, until_tick, charge * state.genesis.term_periods)


def look_at_accounts(state: State) -> None:
    """Give notice to, and warn, the newest leases of accounts that run dry."""
    held: dict[int, list[Lease]] | None = None
    for tenant, outgo_ucr in sorted(state.rents.outgo_ucr.items()):
        income_ucr = max(0, state.income_of(tenant))
        balance_ucr = state.accounts.balances[tenant]
        dry_ucr = LOOK_PERIODS * outgo_ucr - income_ucr
        net_ucr = outgo_ucr - income_ucr
        if net_ucr <= 0 or balance_ucr >= dry_ucr + net_ucr * state.genesis.term_periods:
            if tenant in state.short_of_money:
                held = held or _by_tenant(state)
                _relieve_all(state, tenant, held.get(tenant, []))
            continue
        held = held or _by_tenant(state)
        state.short_of_money.add(tenant)
        leases, keeps_ucr, going = held[tenant], outgo_ucr, []
        reach_ucr = min(balance_ucr, dry_ucr)
        while leases and keeps_ucr > income_ucr and reach_ucr < carries_ucr(state, keeps_ucr, income_ucr):
            going.append(leases.pop())
            keeps_ucr -= going[-1].outgo_ucr
        _relieve_all(state, 0, leases)
        missing_ucr = carries_ucr(state, outgo_ucr, income_ucr) - balance_ucr + net_ucr * state.genesis.term_periods
        until_tick = state.tick + state.term_ticks
        if balance_ucr >= dry_ucr:
            until_tick = state.tick + (balance_ucr - dry_ucr) // net_ucr * state.genesis.period_ticks
        over = balance_ucr < dry_ucr
        for lease in going:
            over = over and lease.low and state.tick >= lease.low_tick
            if over:
                state.counters.bankruptcies += 1
                give_notice(state, lease, Reason.BANKRUPT)
            else:
                _warn(state, lease, Reason.FUNDS, until_tick, missing_ucr)


def missing_ucr(state: State, order: Order, charge: int) -> int:
    """What an order's tenant is short of, so as to carry it and all that it has and asks for, for a term.

    Args:
        state: Of the ledger.
        order: Paid from the account, or with a purse that is to be taken from it.
        charge: What it takes from the account a period at most: nothing, if it has a purse.
    """
    if is_covered(state, order.pays, order.tenant):
        return 0
    return short_ucr(state, order.tenant, order.endow_ucr, charge)


def short_ucr(state: State, tenant: int, purse_ucr: int, charge: int = 0) -> int:
    """What an account is short of, to fill a purse, pay a charge more a period, and carry all else for a term."""
    asked_ucr = state.asked_ucr[tenant]
    outgo_ucr = state.rents.outgo_ucr.get(tenant, 0) + asked_ucr + charge
    carried_ucr = purse_ucr + carries_ucr(state, outgo_ucr, max(0, state.income_of(tenant)))
    return min(UCR_MAX, max(0, max(purse_ucr or charge, carried_ucr - asked_ucr) - state.accounts.balances[tenant]))


def pay_incomes(state: State) -> None:
    """Mint a period's income into every account that has a rate, as far as a ledger can count."""
    for tenant in sorted(state.tenants) if state.incomes else ():
        rate_ucr = min(state.income_of(tenant), state.room_ucr)
        if rate_ucr > 0:
            state.accounts.earn(tenant, rate_ucr)


def _by_tenant(state: State) -> dict[int, list[Lease]]:
    """Leases that accounts pay for, by tenant, of the oldest work first: a seat elsewhere makes it no newer."""
    held: dict[int, list[Lease]] = {}
    for lease in sorted(state.leases.values(), key=lambda lease: (lease.since, lease.granted, lease.number)):
        if lease.outgo_ucr:
            held.setdefault(lease.tenant, []).append(lease)
    return held


def _warn(state: State, lease: Lease, reason: Reason, until_tick: int, missing: int) -> None:
    if not lease.low:
        lease.low, lease.low_tick = True, until_tick
        state.rows.leases.mark(lease.number)
        state.tell(lease, Op.LOW, Low(lease.number, lease.token, reason, until_tick, min(UCR_MAX, missing)))


def _relieve(state: State, lease: Lease) -> None:
    if lease.low:
        lease.low, lease.low_tick = False, 0
        state.rows.leases.mark(lease.number)
        state.tell(lease, Op.LOW, Low(lease.number, lease.token, Reason.OK, 0, 0))


def _relieve_all(state: State, tenant: int, leases: list[Lease]) -> None:
    state.short_of_money.discard(tenant)
    for lease in leases:
        if lease.budget_ucr < 0:
            _relieve(state, lease)
