"""Orders: from arrival, through the clearing of their tick, to a lease or a refusal."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tegcore.economics.fixed import mass_micro, prorated_ucr
from tegcore.errors import DecodeError
from tegcore.field.geometry import block_size
from tegcore.units import PERMILLE, PRICE_UCR_MAX, UCR_MAX
from tegcore.wire.records import (
    Filled,
    Fok,
    Market,
    Op,
    OrderFlag,
    Quoted,
    Reason,
    Record,
    Refused,
    Region,
    Shape,
    Traits,
    Waiting,
    pack_blocks,
)
from zone_ledger import solvency, waiting
from zone_ledger.book.base import Query, Seat
from zone_ledger.clearing import Lost, Result, Waits, Won, clear_auction, clear_fixed, may_displace
from zone_ledger.eviction import begin, refuse, release_reservation, set_aside, take_back
from zone_ledger.leases import Lease, LeaseState, Order, OrderKey, Pays, Range, charge_ucr, price_ucr
from zone_ledger.placement import Placement, Trial, block_extras_ucr, cheapest, extras_ucr, slots_on
from zone_ledger.settlement import is_covered, limit_within, open_purse
from zone_ledger.state import Due, Outcome, State

WAITS_MAX_TICKS = 3
_NO_ROOM = frozenset({Reason.NO_FIT, Reason.TAKEN, Reason.KEPT})
RETRY_TICKS = 20
NEED_MAX = 1 << 62
"""Cpu and memory of a whole block stay below: the book adds what its hosts have promised, in 64-bit words."""

DISPLACEMENT_SLOTS_MAX = 8
"""L0 of DESIGN 8: an order refused for want of fit or price counts min(region side, L0) slots of displacement."""


class Bound(NamedTuple):
    """Of a bid that its tenant's money does not reach for: the limit as it was named, and what is missing for it."""

    limit_ucr: int
    missing_ucr: int


def arrive(state: State, record: Record) -> Outcome:
    """Take in a FOK: it waits for the tick, its endowment or first period held, or is refused at once."""
    state.counters.attempts += 1
    state.last_serial += 1
    order = read(state, record, state.last_serial)
    reason, missing = (order, 0) if isinstance(order, Reason) else objection(state, order)
    if isinstance(order, Reason) or reason is not Reason.OK:
        refused = Refused(record.body.ref, reason, missing, 0, 0)
        _count(state, reason)
        waiting.waits_otherwise(state, record.actor, record.body.ref)
        state.emit(record.actor, Op.REFUSED, refused)
        return Outcome(reason, missing)
    if order.pays is Pays.PURSE:
        order.held_ucr = order.endow_ucr
    elif not is_covered(state, order.pays, order.tenant):
        order.held_ucr = min(_first_period_ucr(state, order), state.accounts.balances[order.tenant])
    state.accounts.hold(order.tenant, order.held_ucr)
    if order.leaves:
        order.since = state.leases[order.leaves].since
    state.take_in(order)
    state.refs.add((order.key.host, order.ref))
    return Outcome()


def read(state: State, record: Record, serial: int) -> Order | Reason:
    """The order that a FOK asks for, or why it asks for none."""
    body: Fok = record.body
    try:
        region = Region.unpacked(body.region)
    except DecodeError:
        return Reason.REGION
    try:
        shape, traits = Shape.unpacked(body.shape), Traits.unpacked(body.traits)
    except DecodeError:
        return Reason.SHAPE
    from_account = state.rules.accounts_pay and (not body.endow_ucr or bool(traits.flags & OrderFlag.BUDGETED))
    return Order(
        key=OrderKey(record.actor, record.boot, record.seq),
        ref=body.ref,
        tenant=body.tenant if body.tenant in state.tenants else 0,
        region=region,
        shape=shape,
        cpu_milli=body.cpu_milli,
        mem_bytes=body.mem_bytes,
        limit_ucr=body.limit_ucr,
        endow_ucr=0 if from_account else body.endow_ucr,
        pays=Pays.ACCOUNT if from_account else Pays.PURSE,
        budget_ucr=body.endow_ucr if from_account and body.endow_ucr else -1,
        traits=traits,
        arrived=state.tick,
        serial=serial,
        leaves=body.lease if record.op is Op.MOVE else 0,
        cap_ucr=cap_of(state, region),
    )


def cap_of(state: State, region: Region) -> int:
    """The price cap (6) on free slots of a region: of the smallest capped run that holds it."""
    for log2 in range(region.log2, 2 * state.genesis.zone_k + 1) if state.caps else ():
        cap_ucr = state.caps.get(Region(region.base >> log2 << log2, log2).packed())
        if cap_ucr is not None:
            return cap_ucr
    return PRICE_UCR_MAX


def objection(state: State, order: Order) -> tuple[Reason, int]:
    """Why an order cannot even wait for a tick, and the number that is missing."""
    if not order.tenant or state.terms.is_closed(order.tenant):
        return Reason.TENANT, 0
    if order.region.end > 1 << 2 * state.genesis.zone_k:
        return Reason.REGION, 0
    if order.shape.sizes[0] > order.region.log2:
        return Reason.SHAPE, order.shape.slots
    if max(order.cpu_milli, order.mem_bytes) << order.shape.sizes[0] >= NEED_MAX:
        return Reason.RANGE, 0
    if (order.key.host, order.ref) in state.refs:
        return Reason.STATE, 0
    if (reason := _cannot_leave(state, order)) is not Reason.OK:
        return reason, 0
    return _cannot_pay(state, order)


def _cannot_pay(state: State, order: Order) -> tuple[Reason, int]:
    """What is wrong with what an order brings to pay with."""
    own_ucr = order.endow_ucr if order.pays is Pays.PURSE else order.budget_ucr
    if state.rules.accounts_pay and own_ucr >= 0:
        least_ucr = charge_ucr(reserve_price_ucr(state, order.shape), order.shape)
        if own_ucr < least_ucr:
            return Reason.BUDGET, least_ucr - own_ucr
    if order.pays is Pays.ACCOUNT:
        if 0 <= order.budget_ucr < order.bid_ucr and order.named:
            return Reason.ENDOWMENT, order.bid_ucr - order.budget_ucr
        missing = solvency.missing_ucr(state, order, _first_period_ucr(state, order))
        return (Reason.FUNDS, missing) if missing else (Reason.OK, 0)
    if state.rules.accounts_pay and (missing := solvency.missing_ucr(state, order, 0)):
        return Reason.FUNDS, missing
    if order.endow_ucr > state.accounts.balances[order.tenant]:
        return Reason.FUNDS, order.endow_ucr - state.accounts.balances[order.tenant]
    if order.endow_ucr < order.bid_ucr:
        return Reason.ENDOWMENT, order.bid_ucr - order.endow_ucr
    return Reason.OK, 0


def reserve_price_ucr(state: State, shape: Shape) -> int:
    """The least reserve of a slot among the classes that will do."""
    return min((ucr for kind, ucr in state.reserves.items() if shape.classes >> kind & 1), default=0)


def _first_period_ucr(state: State, order: Order) -> int:
    """The most that an order's first period can cost: its bid, or the reserve where it names none."""
    return max(order.bid_ucr, charge_ucr(reserve_price_ucr(state, order.shape), order.shape))


def _cannot_leave(state: State, order: Order) -> Reason:
    """What is wrong with the lease that a MOVE leaves, which may also end while the order waits."""
    if not order.leaves:
        return Reason.OK
    old = state.leases.get(order.leaves)
    if old is None or order.key.host not in old.parties:
        return Reason.LEASE
    return Reason.OK if old.tenant == order.tenant and old.state is LeaseState.HELD else Reason.STATE


def clear(state: State) -> None:
    """Clear what has arrived, as far as admission goes."""
    arrived = []
    for order in list(state.waiting.values()):
        if (reason := _cannot_leave(state, order)) is Reason.OK:
            arrived.append(order)
        else:
            refuse(state, order, Refused(order.ref, reason, 0, 0, 0))
    arrived.sort(key=lambda order: (order.arrived, order.key))
    admitted = len(arrived)
    if state.admission and state.tick <= state.admission.until_tick:
        admitted = state.admission.per_tick
        for order in arrived[admitted:]:
            refuse(state, order, Refused(order.ref, Reason.ADMISSION, 0, 0, state.tick + RETRY_TICKS))
    admitted_orders = arrived[:admitted]
    bounds = _pay_for_notices(state, admitted_orders)
    results = _cleared(state, admitted_orders)
    for result in results:
        if result.order.notice_ucr and not (isinstance(result, Won) and result.placement.displaced):
            take_back(state, result.order)
        if isinstance(result, Waits) and result.order.key in bounds:
            result.order.limit_ucr = bounds[result.order.key].limit_ucr
    carry_out(state, results, bounds)


def _pay_for_notices(state: State, orders: list[Order]) -> dict[OrderKey, Bound]:
    """Set aside, before orders compete, what those that may displace pay for the notice, and bound their bids by it.

    Where nothing free fits, an order competes with no more than its tenant has for its first period and the longest
    notice that it may have to give. So whoever wins can pay; and what it can bid follows from its own money, whatever
    rivals bid, and whatever it says beyond that.
    """
    bounds: dict[OrderKey, Bound] = {}
    if not state.rules.named_displace or state.market is not Market.AUCTION:
        return bounds
    period, notice = state.genesis.period_ticks, state.notice_ticks_max
    for order in orders:
        if not may_displace(state.book, order):
            continue
        own = order.pays is Pays.PURSE
        funds_ucr = state.accounts.balances[order.tenant] + (order.held_ucr if own else 0)
        bid_ucr = order.bid_ucr
        short_ucr = prorated_ucr(bid_ucr, notice, period) + (bid_ucr if own else 0) - funds_ucr
        if short_ucr > 0:
            if Trial(state.book, order).look(leased=False, scales=state.scales) is not None:
                continue
            bounds[order.key] = Bound(order.limit_ucr, min(UCR_MAX, short_ucr))
            bid_ucr = funds_ucr * period // (notice + (period if own else 0))
            order.limit_ucr = limit_within(bid_ucr, order.shape)
        set_aside(state, order, prorated_ucr(order.bid_ucr, notice, period))
    return bounds


def _cleared(state: State, orders: list[Order]) -> list[Result]:
    if state.market is Market.AUCTION:
        if state.rules.wide_last:
            return waiting.clear_auction(state, orders)
        return clear_auction(state.book, orders, state.scales, state.rules)
    if state.rules.named_displace:
        return waiting.clear_fixed(state, orders)
    return clear_fixed(state.book, orders, state.scales, state.rules)


def carry_out(state: State, results: Iterable[Result], bounds: Mapping[OrderKey, Bound]) -> None:
    """Turn results into leases, notices and refusals."""
    for result in results:
        match result:
            case Won(placement=Placement(displaced=())):
                order = result.order
                order.blocks, order.price_ucr = result.placement.blocks, result.price_ucr
                order.rule = result.rule
                fill(state, order, result.placement.by_host if state.rules.whole_cost else None)
            case Won():
                waiting.waits_otherwise(state, result.order.key.host, result.order.ref)
                begin(state, result)
            case Lost():
                _lose(state, result, bounds.get(result.order.key))
            case Waits(order=order) if state.tick - order.arrived < WAITS_MAX_TICKS:
                if state.tick - order.arrived <= 1:
                    state.emit(order.key.host, Op.WAITING, Waiting(order.ref))
            case Waits(order=order):
                refuse(state, order, Refused(order.ref, Reason.BUSY, 0, 0, state.tick + RETRY_TICKS))


def fill(state: State, order: Order, extras: tuple[tuple[int, int, int], ...] | None = None) -> None:
    """Make a lease of an order whose blocks are reserved and free of others.

    Args:
        state: Of the ledger.
        order: It holds its blocks.
        extras: What memory and cpu of each host were cleared at in this tick; None: as they are now.
    """
    release_reservation(state, order)
    take_back(state, order)
    state.let_go(order)
    _press(state, order, order.blocks)
    state.last_lease += 1
    state.last_token += 1
    hosts = tuple(dict.fromkeys(host for block in order.blocks for host in state.book.hosts_of(block)))
    limit_ucr = max(order.limit_ucr, order.price_ucr) if _takes_any_price(state, order) else order.limit_ucr
    lease = Lease(
        number=state.last_lease,
        token=state.last_token,
        tenant=order.tenant,
        origin=order.key.host,
        ref=order.ref,
        blocks=order.blocks,
        hosts=hosts,
        shape=order.shape,
        cpu_milli=order.cpu_milli,
        mem_bytes=order.mem_bytes,
        limit_ucr=limit_ucr,
        price_ucr=order.price_ucr,
        mass_micro=mass_micro(order.mem_bytes, order.endow_ucr, order.shape.slots),
        mu_ucr=state.rates.mu_ucr,
        tax_permille=state.rates.tax_permille,
        subsidy_permille=state.rates.subsidy_permille,
        traits=order.traits,
        granted=state.tick,
        period_start=state.tick,
        term_end=state.tick + state.term_ticks,
        next_limit_ucr=limit_ucr,
        purse_ucr=order.held_ucr,
        pays=order.pays,
        budget_ucr=order.budget_ucr,
        since=_age(state, order) if state.rules.named_displace else 0,
    )
    waiting.waits_no_more(state, order.key.host, order.ref)
    lease.ranges = _first_ranges(state, order, hosts, extras)
    if state.rules.named_displace:
        _protect(state, lease, order)
    if lease.traits.time_ticks:
        state.appoint(state.tick + lease.traits.time_ticks, Due.TIME_OVER, lease.number)
    state.enter(lease)
    seat = Seat(order.blocks, order.shape.share_permille, order.cpu_milli, order.mem_bytes, None)
    state.book.seat(lease.number, seat)
    open_purse(state, lease)
    state.changed(lease)
    state.refresh_threshold(lease)
    state.counters.leases += 1
    state.counters.by_rule[order.rule] = state.counters.by_rule.get(order.rule, 0) + 1
    _count(state, Reason.OK)
    state.tell(lease, Op.FILLED, filled_event(lease))
    if state.rules.accounts_pay:
        solvency.look_at_lease(state, lease)


def _age(state: State, order: Order) -> int:
    """Since when the work of an order has waited; who moves is as old as it was."""
    return order.since if order.leaves else waiting.age_of(state, order)


def _takes_any_price(state: State, order: Order) -> bool:
    """Whether an order's limit is no bound: at fixed prices, where nobody named it."""
    return state.rules.accounts_pay and state.market is Market.FIXED and not order.named


def _protect(state: State, lease: Lease, order: Order) -> None:
    """In its first term a lease cannot be displaced; who moves has what is left of that of its old seat."""
    until_tick = lease.granted + state.term_ticks
    if order.leaves:
        left = state.leases.get(order.leaves)
        until_tick = left.protected_until if left is not None else order.protected_until
    if until_tick > state.tick:
        lease.protected_until = until_tick
        state.appoint(until_tick, Due.TERM_OVER, lease.number)


def _press(state: State, order: Order, blocks: tuple[Region, ...]) -> None:
    """A bid is felt where it took slots, or would have had them, or else in all of the region that it named."""
    slots = sum(block.slots for block in blocks)
    state.bids.extend((block, order.bid_ucr * block.slots // slots) for block in blocks)


def filled_event(lease: Lease) -> Filled:
    """What a host is told of a lease."""
    return Filled(
        lease.ref,
        lease.number,
        lease.token,
        *pack_blocks(lease.blocks),
        lease.price_ucr,
        lease.term_end,
        lease.purse_ucr + lease.escrow_ucr,
        lease.mass_micro,
        lease.origin,
    )


def quote(state: State, record: Record) -> Record:
    """Answer a virtual FOK: what the same order would meet now. Changes nothing.

    The gradient is the difference between the least prices of the region's halves along x and y, over their distance.
    """
    order = read(state, record, serial=0)
    ref = record.body.ref
    answer = Quoted(ref, order, 0, 0, 0, 0, 0, 0, state.tick) if isinstance(order, Reason) else _quoted(state, order)
    return Record(Op.QUOTED, record.actor, record.boot, 0, answer)


def _quoted(state: State, order: Order) -> Quoted:
    if state.rules.named_displace:
        return _quoted_free_first(state, order)
    reason, missing = objection(state, order)
    leased = state.market is Market.AUCTION
    base = price = free = 0
    if reason in {Reason.OK, Reason.FUNDS, Reason.ENDOWMENT}:
        free = state.book.free_slots(order.region)
        found = _least(state, order, order.region, leased=leased)
        if found is None:
            reason, missing = Reason.NO_FIT, order.shape.slots
        else:
            base, price = found
            if reason is Reason.OK and (order.limit_ucr < price or (leased and order.limit_ucr == price)):
                reason, missing = Reason.PRICE, max(1, price - order.limit_ucr)
            if reason is Reason.PRICE and order.limit_ucr and (short_ucr := _short_of_reserve(state, order)) > 0:
                reason, missing = Reason.BANKRUPT, short_ucr
    gradient = _gradient(state, order, leased=leased) if price else (0, 0)
    return Quoted(order.ref, reason, missing, price, base, free, *gradient, state.tick)


def _quoted_free_first(state: State, order: Order) -> Quoted:
    """What is free and fits; only where nothing does, and for an order that may displace, what is leased."""
    reason, missing = objection(state, order)
    if reason not in {Reason.OK, Reason.FUNDS, Reason.ENDOWMENT, Reason.BUDGET}:
        return Quoted(order.ref, reason, missing, 0, 0, 0, 0, 0, state.tick)
    free = state.book.free_slots(order.region)
    found, leased = _least(state, order, order.region, leased=False), False
    if found is None and state.market is Market.AUCTION and may_displace(state.book, order):
        found, leased = _least(state, order, order.region, leased=True), True
    base, price = found or (0, reserve_price_ucr(state, order.shape))
    if reason is Reason.OK:
        if found is None:
            reason = Reason.TAKEN if state.book.is_leased(order.region) else Reason.NO_FIT
            missing = order.shape.slots
        elif not _takes_any_price(state, order) and order.limit_ucr < price + (state.market is Market.AUCTION):
            reason, missing = Reason.PRICE, max(1, price - order.limit_ucr)
    gradient = _gradient(state, order, leased=leased) if found else (0, 0)
    return Quoted(order.ref, reason, missing, price, base, free, *gradient, state.tick)


def _short_of_reserve(state: State, order: Order) -> int:
    """What an endowment is short of one period at the least reserve: above 0, no price that can come is within it."""
    classes = order.shape.classes
    reserves = [reserve_ucr for slot_class, reserve_ucr in state.reserves.items() if classes >> slot_class & 1]
    return charge_ucr(min(reserves, default=0), order.shape) - order.endow_ucr


def _least(state: State, order: Order, region: Region, *, leased: bool) -> tuple[int, int] | None:
    """Base of the largest block, and the price per slot-period of the whole shape with memory and cpu, in a region."""
    total = base = 0
    for part, size in enumerate(order.shape.sizes):
        shape = order.shape
        query = Query(
            region, size, shape.classes, shape.share_permille, order.cpu_milli, order.mem_bytes, leased=leased
        )
        found = cheapest(state.book, order, query, state.scales)
        if found is None:
            return None
        base = base if part else found.block.base
        total += found.cost_ucr + block_extras_ucr(state.book, order, found, state.scales)
    return base, price_ucr(total, order.shape)


def _gradient(state: State, order: Order, *, leased: bool) -> tuple[int, int]:
    region = order.region
    if region.log2 < max(2, order.shape.sizes[0] + 2):
        return 0, 0
    quarter = 1 << region.log2 - 2
    prices = []
    for place in range(4):
        found = _least(state, order, Region(region.base + place * quarter, region.log2 - 2), leased=leased)
        prices.append(found[1] if found else None)
    known = [price for price in prices if price is not None]
    worst = max(known, default=0)
    low_left, low_right, up_left, up_right = (worst if price is None else price for price in prices)
    width, height = block_size(region.log2)
    return (
        (low_right + up_right - low_left - up_left) // max(1, width),
        (up_left + up_right - low_left - low_right) // max(1, height),
    )


def _first_ranges(
    state: State, order: Order, hosts: tuple[int, ...], extras: tuple[tuple[int, int, int], ...] | None
) -> list[Range]:
    """What it holds of its hosts' memory and cpu, as it was cleared: rivals of its tick make none of it dearer."""
    ranges = []
    for host in hosts:
        slots = sum(slots_on(state.book, block, host) for block in order.blocks)
        if extras is None:
            mem_ucr, cpu_ucr = extras_ucr(state.book.use_of(host), slots, order, state.scales)
        else:
            here = [part for part in extras if part[0] == host]
            mem_ucr, cpu_ucr = sum(part[1] for part in here), sum(part[2] for part in here)
        if order.mem_bytes:
            ranges.append(Range(host, slots * order.mem_bytes, min(mem_ucr, UCR_MAX), state.tick))
        if cpu_ucr:
            ranges.append(Range(host, 0, min(cpu_ucr, UCR_MAX), state.tick))
    return ranges


def _lose(state: State, lost: Lost, bound: Bound | None) -> None:
    order, placement, reason, missing = lost.order, lost.placement, lost.reason, lost.missing
    side = max(block_size(order.region.log2))
    state.counters.refused += 1
    state.counters.refused_span += min(side, DISPLACEMENT_SLOTS_MAX)
    state.counters.demand_slots += order.shape.slots
    _press(state, order, placement.blocks if placement else (order.region,))
    if placement and placement.displaced:
        _challenge(state, order, placement)
    if bound is not None:
        order.limit_ucr = bound.limit_ucr
        reason, missing = (Reason.FUNDS, bound.missing_ucr) if reason is Reason.PRICE else (reason, missing)
    total = price_ucr(placement.total_ucr, order.shape) if placement else 0
    least_ucr = reserve_price_ucr(state, order.shape)
    if state.rules.named_displace and reason in _NO_ROOM:
        total = least_ucr
        if state.market is Market.FIXED and order.named and order.limit_ucr < least_ucr:
            reason, missing = Reason.PRICE, least_ucr - order.limit_ucr  # no room would do
    outbid = reason in {Reason.PRICE, Reason.FUNDS} and order.limit_ucr > least_ucr
    if (reason in _NO_ROOM or outbid) and waiting.is_waiting(state, order):
        waiting.waits(state, order)
    else:
        waiting.waits_otherwise(state, order.key.host, order.ref)
    if reason is Reason.TAKEN and state.market is Market.FIXED and waiting.is_passed(state, order):
        reason = Reason.SHARE
    refuse(state, order, Refused(order.ref, reason, missing, total, 0))


def _challenge(state: State, order: Order, placement: Placement) -> None:
    """A refused bid raises the rent of each lease in the cheapest block that it could have had (DESIGN 3)."""
    incumbents = [state.leases[number] for number in placement.displaced if number != order.leaves]
    friction_ucr = sum(lease.friction_ucr for lease in incumbents)
    if order.bid_ucr > placement.total_ucr - friction_ucr:
        state.counters.inertia_refusals += 1
    for lease in incumbents:
        threshold_ucr = charge_ucr(lease.limit_ucr, lease.shape) + lease.friction_ucr
        against_ucr = order.bid_ucr - (placement.total_ucr - threshold_ucr)
        share = lease.shape.share_permille or PERMILLE * lease.shape.slots
        against_ucr = against_ucr * PERMILLE // share
        if state.rules.named_displace:
            against_ucr = min(UCR_MAX, against_ucr)
        lease.challenge_ucr = max(lease.challenge_ucr, against_ucr)
        state.rows.leases.mark(lease.number)


def _count(state: State, reason: Reason) -> None:
    outcomes = state.counters.outcomes
    outcomes[reason] = outcomes.get(reason, 0) + 1
