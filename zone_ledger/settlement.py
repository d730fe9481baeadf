"""Periods, purses and ends of leases (DESIGN 3, "Lease").

At each boundary the past period is settled from escrow (rent as fixed at its start, memory and cpu by the ticks held,
tax on the measured idle share; never below 0), the rest returns to where it came from, and the coming period is
escrowed at the limit plus memory. With less the standing limit is lowered; below the coming rent plus memory the lease
is bankrupt.

Where it comes from: the lease's own purse, if it has an endowment; else its tenant's account, no further than its
budget. At fixed prices a *standing* income covers what such a lease is charged: nothing is escrowed, what is settled is
minted and burnt, and the account is not touched. `solvency` looks ahead of accounts that run dry.
"""

from tegcore.economics.fixed import prorated_ucr, range_price_ucr
from tegcore.units import PERMILLE, UCR_MAX
from tegcore.wire.records import INCOME_STANDING, Ended, Expand, Expanded, Market, Op, Reason, Settled, Shape
from zone_ledger import waiting
from zone_ledger.leases import Lease, LeaseState, Pays, Range, charge_ucr, price_ucr
from zone_ledger.state import Due, State

_OVER = frozenset({Reason.DONE, Reason.CANCELLED, Reason.MOVED, Reason.TIME})
"""Why a lease ends whose work is not put back in the queue."""
LOOK_PERIODS = 2
"""What an account must hold of its coming outgo, in periods, so that no boundary fails before the next look."""


def open_purse(state: State, lease: Lease) -> None:
    """Escrow the first period of a lease; what its order held has just become its purse."""
    _escrow_period(state, lease)
    state.appoint(state.tick + state.genesis.period_ticks, Due.BOUNDARY, lease.number)
    state.appoint(state.sure_end(lease), Due.SURE_END, lease.number)


def cross_boundary(state: State, lease: Lease) -> bool:
    """Settle the past period and escrow the coming one; False if what pays for the lease cannot carry it."""
    rent_ucr, ranges_ucr, tax_ucr = _settle(state, lease, state.genesis.period_ticks)
    subsidy_ucr = _subsidise(state, lease, rent_ucr)
    lease.tax_permille, lease.subsidy_permille = state.rates.tax_permille, state.rates.subsidy_permille
    lease.period_start = state.tick
    lease.use_sum = lease.use_count = 0
    if lease.state is LeaseState.HELD:
        lease.mu_ucr = state.rates.mu_ucr
        lease.limit_ucr = lease.next_limit_ucr
        if state.rules.accounts_pay:  # who would pay less than the reserve has to leave
            lease.limit_ucr = max(lease.limit_ucr, reserve_ucr(state, lease))
        lease.price_ucr = _next_price_ucr(state, lease)
    carried = _escrow_period(state, lease)
    state.changed(lease)
    settled = Settled(
        lease.number,
        rent_ucr,
        ranges_ucr,
        tax_ucr,
        subsidy_ucr,
        lease.price_ucr,
        lease.purse_ucr,
        lease.limit_ucr,
        lease.challenge_ucr,
        reserve_ucr(state, lease),
    )
    lease.challenge_ucr = 0
    state.refresh_threshold(lease)
    state.tell(lease, Op.SETTLED, settled)
    state.appoint(state.tick + state.genesis.period_ticks, Due.BOUNDARY, lease.number)
    return carried


def end(state: State, lease: Lease, why: Reason) -> None:
    """Settle by ticks, return what is left less the burn, free the slots."""
    _settle(state, lease, state.tick - lease.period_start)
    burned_ucr = -(-lease.purse_ucr * state.rates.burn_permille // PERMILLE)
    returned_ucr = lease.purse_ucr - burned_ucr
    state.accounts.evaporate(burned_ucr)
    state.accounts.give_back(lease.tenant, returned_ucr)
    lease.purse_ucr = 0
    state.book.unseat(lease.number)
    state.strike(lease)
    state.room = state.rules.named_displace
    if state.rules.named_displace and why not in _OVER:
        waiting.may_come_back(state, lease)
    state.refs.discard((lease.origin, lease.ref))
    state.tell(lease, Op.ENDED, Ended(lease.number, lease.token, why, returned_ucr, burned_ucr, lease.paid_ucr))


def expand(state: State, lease: Lease, ask: Expand, command_seq: int) -> Reason:
    """Sell a lease more of a host's memory at (15), or take some back, and tell it."""
    reason, missing, price = _bought(state, lease, ask) if ask.delta_bytes > 0 else _given_back(state, lease, ask)
    held_bytes, _ = state.book.held_on(lease.number, ask.host)
    if reason is Reason.OK:
        state.counters.expansions += 1
        state.changed(lease)
    gas_ucr = state.rates.gas_ucr if ask.delta_bytes > 0 and reason is Reason.OK else 0
    answer = Expanded(lease.number, lease.token, ask.host, reason, held_bytes, price, command_seq, missing, gas_ucr)
    state.emit(ask.host, Op.EXPANDED, answer)
    return reason


def _bought(state: State, lease: Lease, ask: Expand) -> tuple[Reason, int, int]:
    use, delta = state.book.use_of(ask.host), ask.delta_bytes
    if use.mem_bytes + delta >= use.mem_max_bytes:
        return Reason.CAPACITY, use.mem_bytes + delta - use.mem_max_bytes + 1, 0
    price = range_price_ucr(state.rates.mem_k_ucr, use.mem_max_bytes, use.mem_bytes, delta)
    if price > ask.limit_ucr:
        return Reason.PRICE, price - ask.limit_ucr, price
    left = max(0, lease.period_start + state.genesis.period_ticks - state.tick)
    rest_ucr, gas_ucr = prorated_ucr(price, left, state.genesis.period_ticks), state.rates.gas_ucr
    if (short := _advance(state, lease, rest_ucr, gas_ucr)) is not None:
        return *short, price
    lease.ranges.append(Range(ask.host, delta, price, state.tick))
    state.book.promise(lease.number, ask.host, delta)
    return Reason.OK, 0, price


def _advance(state: State, lease: Lease, rest_ucr: int, gas_ucr: int) -> tuple[Reason, int] | None:
    """Escrow what a purchase costs to the end of the period, and pay its fee; what is missing, if something is."""
    wanted_ucr = rest_ucr + gas_ucr
    room_ucr = room_in_budget(lease)
    if lease.pays is Pays.ACCOUNT and room_ucr < wanted_ucr:
        return Reason.BUDGET, wanted_ucr - room_ucr
    if lease.covered:
        if gas_ucr > state.room_ucr:
            return Reason.RANGE, gas_ucr - state.room_ucr
        _cover(state, lease, gas_ucr)
        gas_ucr = min(gas_ucr, lease.escrow_ucr)
        lease.escrow_ucr -= gas_ucr
        _pay(state, lease, gas_ucr)
        return None
    if lease.pays is Pays.ACCOUNT:
        _draw(state, lease, wanted_ucr)
    if lease.purse_ucr < wanted_ucr:
        missing_ucr = wanted_ucr - lease.purse_ucr
        _return_purse(state, lease)
        return Reason.FUNDS, missing_ucr
    lease.purse_ucr -= wanted_ucr
    lease.escrow_ucr += wanted_ucr
    lease.escrow_ucr -= gas_ucr
    _pay(state, lease, gas_ucr)
    return None


def _given_back(state: State, lease: Lease, ask: Expand) -> tuple[Reason, int, int]:
    """The latest ranges go first; what was held of them so far in the period is paid at once."""
    rest = -ask.delta_bytes
    held = [bought for bought in reversed(lease.ranges) if bought.host == ask.host and bought.mem_bytes]
    if rest > sum(bought.mem_bytes for bought in held):
        return Reason.RANGE, rest - sum(bought.mem_bytes for bought in held), 0
    for bought in held:
        if rest == 0:
            break
        part = min(rest, bought.mem_bytes)
        part_ucr = bought.price_ucr * part // bought.mem_bytes
        ticks = state.tick - max(bought.since, lease.period_start)
        due_ucr = prorated_ucr(part_ucr, ticks, state.genesis.period_ticks)
        if lease.covered:
            _cover(state, lease, due_ucr)
        due_ucr = min(due_ucr, lease.escrow_ucr)
        lease.escrow_ucr -= due_ucr
        _pay(state, lease, due_ucr)
        bought.mem_bytes -= part
        bought.price_ucr -= part_ucr
        rest -= part
    state.room = state.rules.named_displace
    lease.ranges = [bought for bought in lease.ranges if bought.mem_bytes or bought.price_ucr]
    state.book.promise(lease.number, ask.host, ask.delta_bytes)
    return Reason.OK, 0, 0


def _settle(state: State, lease: Lease, ticks: int) -> tuple[int, int, int]:
    """Pay for `ticks` of the period from its escrow; what is left of it returns to the purse."""
    period = state.genesis.period_ticks
    rent_ucr = prorated_ucr(charge_ucr(lease.price_ucr, lease.shape), ticks, period)
    ranges_ucr = lease.ranges_due_ucr(state.tick, period)
    idle_permille = PERMILLE - lease.use_permille
    tax_ucr = -(-rent_ucr * lease.tax_permille * idle_permille // PERMILLE**2)
    spare(state, lease)
    charged_ucr = max(0, rent_ucr + ranges_ucr - lease.spared_ucr)
    lease.spared_ucr = 0
    if lease.covered:
        _cover(state, lease, charged_ucr + tax_ucr)
    due_ucr = min(charged_ucr + tax_ucr, lease.escrow_ucr)
    lease.purse_ucr += lease.escrow_ucr - due_ucr
    lease.escrow_ucr = 0
    _pay(state, lease, due_ucr)
    _return_purse(state, lease)
    return rent_ucr, ranges_ucr, tax_ucr


def spare(state: State, lease: Lease) -> None:
    """Charge who displaces a lease with what it costs from the notice on: the lease itself is spared that."""
    order = state.orders.get(lease.challenger) if lease.challenger and lease.noticed else None
    if order is None:
        return
    ticks = state.tick - max(lease.noticed, lease.period_start)
    amount_ucr = min(prorated_ucr(lease.charge_ucr, ticks, state.genesis.period_ticks), order.notice_ucr)
    order.notice_ucr -= amount_ucr
    order.spared_ucr += amount_ucr
    state.accounts.evaporate(amount_ucr)
    lease.spared_ucr += amount_ucr
    lease.noticed = state.tick
    state.rows.leases.mark(lease.number)
    state.rows.orders.mark(order.key)


def is_own_money(lease: Lease) -> bool:
    """Whether what could not carry a lease is its own purse or budget: a dry account gives up its newest leases."""
    return lease.pays is Pays.PURSE or 0 <= lease.budget_ucr < lease.paid_ucr + lease.charge_ucr


def room_in_budget(lease: Lease) -> int:
    """What a lease may still commit itself to from its tenant's account or income."""
    if lease.budget_ucr < 0:
        return UCR_MAX
    coming_ucr = lease.charge_ucr if lease.covered else 0
    return max(0, lease.budget_ucr - lease.paid_ucr - lease.escrow_ucr - lease.purse_ucr - coming_ucr)


def _draw(state: State, lease: Lease, wanted_ucr: int) -> None:
    """Move money from the account into the purse, as far as account and budget go."""
    room_ucr = UCR_MAX if lease.budget_ucr < 0 else lease.budget_ucr - lease.paid_ucr - lease.escrow_ucr
    short_ucr = min(wanted_ucr, room_ucr) - lease.purse_ucr
    amount_ucr = max(0, min(short_ucr, state.accounts.balances[lease.tenant]))
    state.accounts.hold(lease.tenant, amount_ucr)
    lease.purse_ucr += amount_ucr


def _return_purse(state: State, lease: Lease) -> None:
    """What the account lent goes back to it: only an endowment stays in a purse."""
    if lease.pays is Pays.ACCOUNT:
        state.accounts.give_back(lease.tenant, lease.purse_ucr)
        lease.purse_ucr = 0


def _cover(state: State, lease: Lease, amount_ucr: int) -> None:
    """Let the standing income pay into escrow, no further than the budget goes, and a ledger can count."""
    if lease.budget_ucr >= 0:
        amount_ucr = max(0, min(amount_ucr, lease.budget_ucr - lease.paid_ucr - lease.escrow_ucr))
    amount_ucr = min(amount_ucr, state.room_ucr)
    state.accounts.cover(lease.tenant, amount_ucr)
    state.counters.covered_ucr += amount_ucr
    lease.escrow_ucr += amount_ucr


def _subsidise(state: State, lease: Lease, rent_ucr: int) -> int:
    """Pay the subsidy on a period's rent and measured use into the purse, as far as this epoch's bound goes."""
    wanted_ucr = rent_ucr * lease.subsidy_permille * lease.use_permille // PERMILLE**2
    paid_ucr = min(wanted_ucr, max(0, state.rates.subsidy_ucr_max - state.subsidy_epoch_ucr), state.room_ucr)
    if paid_ucr:
        state.subsidy_epoch_ucr += paid_ucr
        state.accounts.subsidise(lease.tenant, paid_ucr)
        lease.purse_ucr += paid_ucr
        _return_purse(state, lease)
    return paid_ucr


def _pay(state: State, lease: Lease, amount_ucr: int) -> None:
    state.accounts.evaporate(amount_ucr)
    lease.paid_ucr += amount_ucr


def _next_price_ucr(state: State, lease: Lease) -> int:
    """The second price over time: max(reserve, best refused challenge less friction), never above the limit."""
    least_ucr = reserve_ucr(state, lease)
    if state.market is Market.FIXED:
        return least_ucr
    challenge_ucr = lease.challenge_ucr - price_ucr(lease.friction_ucr, lease.shape)
    return min(lease.limit_ucr, max(least_ucr, challenge_ucr))


def reserve_ucr(state: State, lease: Lease) -> int:
    """The reserve of a lease's slots, per slot-period."""
    return price_ucr(state.book.reserve_of(lease.blocks, lease.shape.share_permille), lease.shape)


def is_covered(state: State, pays: Pays, tenant: int) -> bool:
    """Whether a standing income pays now for what is charged."""
    at_fixed_prices = state.market is Market.FIXED and pays is Pays.ACCOUNT
    return at_fixed_prices and state.income_of(tenant) == INCOME_STANDING


def _escrow_period(state: State, lease: Lease) -> bool:
    ranges_ucr = lease.ranges_ucr()
    wanted_ucr = charge_ucr(lease.limit_ucr, lease.shape) + ranges_ucr
    lease.covered = is_covered(state, lease.pays, lease.tenant)
    if lease.covered:
        _return_purse(state, lease)
        return lease.budget_ucr < 0 or lease.budget_ucr - lease.paid_ucr >= lease.charge_ucr
    if lease.pays is Pays.ACCOUNT:
        _draw(state, lease, min(wanted_ucr, lease.charge_ucr + _beyond_all_rents_ucr(state, lease)))
    if lease.purse_ucr < wanted_ucr:
        affordable = limit_within(max(0, lease.purse_ucr - ranges_ucr), lease.shape)
        if lease.state is LeaseState.HELD:
            least_ucr = lease.price_ucr if state.rules.accounts_pay else 0
            lease.limit_ucr = max(affordable, least_ucr)
        if affordable < lease.price_ucr:
            if lease.pays is Pays.ACCOUNT:  # what there is pays for the notice
                lease.escrow_ucr, lease.purse_ucr = lease.escrow_ucr + lease.purse_ucr, 0
            return False
        wanted_ucr = lease.purse_ucr
    lease.purse_ucr -= wanted_ucr
    lease.escrow_ucr += wanted_ucr
    _return_purse(state, lease)
    return True


def _beyond_all_rents_ucr(state: State, lease: Lease) -> int:
    """What an account has for the limit of one lease beyond its charge: not what carries all of the tenant's rents."""
    outgo_ucr = state.rents.outgo_ucr.get(lease.tenant, 0)
    kept_ucr = carries_ucr(state, outgo_ucr, max(0, state.income_of(lease.tenant))) + outgo_ucr + lease.charge_ucr
    return max(0, state.accounts.balances[lease.tenant] + lease.purse_ucr - kept_ucr)


def carries_ucr(state: State, outgo_ucr: int, income_ucr: int) -> int:
    """What an account must hold so that nobody is warned at the next look."""
    net_ucr = outgo_ucr - income_ucr
    if net_ucr <= 0:
        return 0
    return LOOK_PERIODS * outgo_ucr - income_ucr + net_ucr * state.genesis.term_periods


def limit_within(charge: int, shape: Shape) -> int:
    """The highest price per slot-period that comes to no more than a charge."""
    return charge * PERMILLE // shape.share_permille if shape.share_permille else charge // shape.slots
