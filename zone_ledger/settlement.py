"""Periods, purses and ends of leases (DESIGN 3, "Lease").

At each boundary the past period is settled from escrow (rent as fixed at its start, memory and cpu by the ticks held,
tax on the measured idle share; never below 0), the rest returns to the purse, and the coming period is escrowed at the
limit plus memory. A purse with less lowers the standing limit; below the coming rent plus memory the lease is bankrupt.
"""

from tegcore.economics.fixed import prorated_ucr, range_price_ucr
from tegcore.units import PERMILLE
from tegcore.wire.records import Ended, Expand, Expanded, Market, Op, Reason, Settled
from zone_ledger.leases import Lease, LeaseState, Range, charge_ucr, price_ucr
from zone_ledger.state import Due, State


def open_purse(state: State, lease: Lease) -> None:
    """Escrow the first period of a lease whose endowment has just become its purse."""
    _escrow_period(lease)
    state.appoint(state.tick + state.genesis.period_ticks, Due.BOUNDARY, lease.number)
    state.appoint(state.sure_end(lease), Due.SURE_END, lease.number)


def cross_boundary(state: State, lease: Lease) -> bool:
    """Settle the past period and escrow the coming one; False if the purse cannot carry it."""
    rent_ucr, ranges_ucr, tax_ucr = _settle(state, lease, state.genesis.period_ticks)
    subsidy_ucr = _subsidise(state, lease, rent_ucr)
    lease.tax_permille, lease.subsidy_permille = state.rates.tax_permille, state.rates.subsidy_permille
    lease.period_start = state.tick
    lease.use_sum = lease.use_count = 0
    if lease.state is LeaseState.HELD:
        lease.mu_ucr = state.rates.mu_ucr
        lease.limit_ucr = lease.next_limit_ucr
        lease.price_ucr = _next_price_ucr(state, lease)
    state.changed(lease)
    carried = _escrow_period(lease)
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
    state.refs.discard((lease.origin, lease.ref))
    state.tell(lease, Op.ENDED, Ended(lease.number, lease.token, why, returned_ucr, burned_ucr, lease.paid_ucr))


def expand(state: State, lease: Lease, ask: Expand, command_seq: int) -> Reason:
    """Sell a lease more of a host's memory at (15), or take some back, and tell it."""
    reason, missing, price = _bought(state, lease, ask) if ask.delta_bytes > 0 else _given_back(state, lease, ask)
    held_bytes, _ = state.book.held_on(lease.number, ask.host)
    if reason is Reason.OK:
        state.counters.expansions += 1
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
    if rest_ucr + gas_ucr > lease.purse_ucr:
        return Reason.FUNDS, rest_ucr + gas_ucr - lease.purse_ucr, price
    lease.purse_ucr -= rest_ucr + gas_ucr
    lease.escrow_ucr += rest_ucr
    _pay(state, lease, gas_ucr)
    lease.ranges.append(Range(ask.host, delta, price, state.tick))
    state.book.promise(lease.number, ask.host, delta)
    return Reason.OK, 0, price


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
        due_ucr = min(prorated_ucr(part_ucr, ticks, state.genesis.period_ticks), lease.escrow_ucr)
        lease.escrow_ucr -= due_ucr
        _pay(state, lease, due_ucr)
        bought.mem_bytes -= part
        bought.price_ucr -= part_ucr
        rest -= part
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
    due_ucr = min(rent_ucr + ranges_ucr + tax_ucr, lease.escrow_ucr)
    lease.purse_ucr += lease.escrow_ucr - due_ucr
    lease.escrow_ucr = 0
    _pay(state, lease, due_ucr)
    return rent_ucr, ranges_ucr, tax_ucr


def _subsidise(state: State, lease: Lease, rent_ucr: int) -> int:
    """Pay the subsidy on a period's rent and measured use into the purse, as far as this epoch's bound goes."""
    wanted_ucr = rent_ucr * lease.subsidy_permille * lease.use_permille // PERMILLE**2
    paid_ucr = min(wanted_ucr, max(0, state.rates.subsidy_ucr_max - state.subsidy_epoch_ucr))
    if paid_ucr:
        state.subsidy_epoch_ucr += paid_ucr
        state.accounts.subsidise(lease.tenant, paid_ucr)
        lease.purse_ucr += paid_ucr
    return paid_ucr


def _pay(state: State, lease: Lease, amount_ucr: int) -> None:
    state.accounts.evaporate(amount_ucr)
    lease.paid_ucr += amount_ucr


def _next_price_ucr(state: State, lease: Lease) -> int:
    """The second price over time: max(reserve, best refused challenge less friction), never above the limit."""
    reserve_ucr = price_ucr(state.book.reserve_of(lease.blocks, lease.shape.share_permille), lease.shape)
    if state.market is Market.FIXED:
        return reserve_ucr
    challenge_ucr = lease.challenge_ucr - price_ucr(lease.friction_ucr, lease.shape)
    return min(lease.limit_ucr, max(reserve_ucr, challenge_ucr))


def _escrow_period(lease: Lease) -> bool:
    ranges_ucr = lease.ranges_ucr()
    wanted_ucr = charge_ucr(lease.limit_ucr, lease.shape) + ranges_ucr
    if lease.purse_ucr < wanted_ucr:
        affordable = _limit_within(max(0, lease.purse_ucr - ranges_ucr), lease)
        if lease.state is LeaseState.HELD:
            lease.limit_ucr = affordable
        if affordable < lease.price_ucr:
            return False
        wanted_ucr = lease.purse_ucr
    lease.purse_ucr -= wanted_ucr
    lease.escrow_ucr += wanted_ucr
    return True


def _limit_within(charge: int, lease: Lease) -> int:
    shape = lease.shape
    return charge * PERMILLE // shape.share_permille if shape.share_permille else charge // shape.slots
