"""Who waits for slots, in what order room that appears is offered, and what is promised (DESIGN 12, "Order").

Nothing rests in the book. An order that found no room is refused, and remembered: a *waiter*, by region, shape and what
it needs of a host, with the tick since when it waits; it keeps that age when its work is put back in the queue. When
room appears, who fits is woken, and orders anew:

- At fixed prices the oldest that fits, room for it being held for `HOLD_TICKS`. *Fits* means: without delaying the
  start that is promised to the oldest that does not. That promise (EASY backfilling: one reservation) rests on the ends
  that holders declared; where they declared none, the block that drains soonest is kept for who has been passed over
  for the zone's patience. Later work takes the slots that are kept only if it ends before the promised start.
- In the auction the highest standing limits that fit, a bounded number at once, into one sealed tick, ties by age: who
  loses there is counted in the price. Who looks in a part of the zone, and so is cleared first, does not take what they
  would have. Who has the highest standing limit of those that do not fit, and has been passed over for the zone's
  patience, is kept the block that drains soonest, until someone with a higher one can have it. Nobody but who looks
  everywhere can have that block, and only in the tick in which it is free and who waits for it bids. All that hangs on
  standing limits, which were told before the tick, and on none of its bids.

Waiters that ask for the same make a *kind*: where the first of a kind does not fit, none of it does. So what a freed
slot costs grows with the kinds, and not with those that wait.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

from tegcore.wire.records import Market, Op, Promised, Reason, Region, Woken
from zone_ledger import clearing
from zone_ledger.book.base import Seat
from zone_ledger.clearing import Lost, Result, Withheld, exceeds, is_wide, may_displace, offer_fixed
from zone_ledger.leases import Lease, LeaseState, Order, OrderKey
from zone_ledger.placement import Placement, Trial
from zone_ledger.state import State
from zone_ledger.waiters import Key, Kind, Promise, Waiter

HOLD_TICKS = 20
"""Room is held so long for who was woken at fixed prices; then it is offered to the next, until who was asks again."""
WAKES_PER_TICK_MAX = 256
WAITERS_MAX = 200_000
LOOK_TICKS = 200
"""Waiters are looked at so often even if no room was seen to appear: a promise may be due to be made."""
FORGET_PERIODS = 4
"""Who has not asked for so long is forgotten; agents ask once a period."""
FORGET_TICKS_MIN = 2_400
_KEPT = -1
"""What slots that are kept for a promise are seated under while others are tried."""
_ENDLESS = 1 << 60


_Turn = tuple[int, int, int, OrderKey]
"""By rank, then by age; the least is served first."""


class Block(NamedTuple):
    """A block that others hold, as a place for a promise: when it is free, and how many of its slots are leased."""

    end_tick: int
    leased: int
    region: Region


class Taken(NamedTuple):
    """Blocks that are leased, or about to be, and until when."""

    blocks: tuple[Region, ...]
    end_tick: int


# --- who waits ------------------------------------------------------------------------------------------------------


def is_waiting(state: State, order: Order) -> bool:
    """Whether an order that finds no room is to be remembered: only one that looked wherever it could run."""
    return state.rules.named_displace and is_wide(state.book, order)


def waits(state: State, order: Order) -> None:
    """An order found no room: it is woken when there is some."""
    key = (order.key.host, order.ref)
    waiter = state.queue.waiters.get(key)
    if waiter is None:
        if len(state.queue.waiters) >= WAITERS_MAX:
            return
        waiter = Waiter(order, since=order.arrived)
        state.room |= state.promise is None  # it may be the first that does not fit
    waiter.order, waiter.asked, waiter.ready, waiter.woken = order, state.tick, True, 0
    state.queue.put(waiter)
    state.rows.waiters.mark(key)
    if state.market is Market.AUCTION and state.promise is not None:
        keeper = state.queue.waiters.get(state.promise.key)
        state.room |= keeper is not None and _standing(waiter) < _standing(keeper)  # it may have what is kept


def waits_otherwise(state: State, host: int, ref: int) -> None:
    """What keeps an order from a seat is not room: it is not woken for that, and keeps its age."""
    waiter = state.queue.waiters.get((host, ref))
    if waiter is not None:
        state.room |= waiter.woken > 0
        waiter.ready, waiter.woken = False, 0
        state.rows.waiters.mark(waiter.key)


def tenant_is_closed(state: State, tenant: int) -> None:
    """Nobody of a tenant is woken: its orders are refused."""
    for waiter in [waiter for waiter in state.queue.waiters.values() if waiter.order.tenant == tenant]:
        waits_otherwise(state, *waiter.key)


def age_of(state: State, order: Order) -> int:
    """Since when an order's work waits."""
    waiter = state.queue.waiters.get((order.key.host, order.ref))
    return waiter.since if waiter else order.arrived


def waits_no_more(state: State, host: int, ref: int) -> None:
    """It has a seat, or is not wanted any more."""
    if state.queue.waiters.pop((host, ref), None) is not None:
        state.rows.waiters.mark((host, ref))
        state.room = True


def may_come_back(state: State, lease: Lease) -> None:
    """A lease ended before its work did: if it asks again, it has waited since it first did."""
    key = (lease.origin, lease.ref)
    if len(state.queue.waiters) < WAITERS_MAX and key not in state.queue.waiters:
        state.last_serial += 1
        order = Order(
            key=OrderKey(lease.origin, 0, 0),
            ref=lease.ref,
            tenant=lease.tenant,
            region=Region(0, 2 * state.genesis.zone_k),
            shape=lease.shape,
            cpu_milli=lease.cpu_milli,
            mem_bytes=lease.mem_bytes,
            limit_ucr=0,
            endow_ucr=0,
            traits=lease.traits,
            arrived=lease.since,
            serial=state.last_serial,
        )
        state.queue.waiters[key] = Waiter(order, since=lease.since, asked=state.tick)
        state.rows.waiters.mark(key)


def host_is_silent(state: State, host: int) -> None:
    """Nobody of a host is woken until it asks again."""
    for key, waiter in state.queue.waiters.items():
        if key[0] == host and waiter.ready:
            waiter.ready, waiter.woken = False, 0
            state.rows.waiters.mark(key)
            state.room = True


def host_is_back(state: State, host: int) -> None:
    """A host began anew: all of its work that waited does still, in the order of its age, and is told of room."""
    for key, waiter in state.queue.waiters.items():
        if key[0] == host:
            waiter.ready, waiter.woken = True, 0
            state.queue.put(waiter)
            state.rows.waiters.mark(key)
            state.room = True


def forget_silent(state: State) -> None:
    """Once a period: who has not asked for long is not there any more."""
    before = state.tick - max(FORGET_TICKS_MIN, FORGET_PERIODS * state.genesis.period_ticks)
    for key in [key for key, waiter in state.queue.waiters.items() if waiter.asked < before]:
        waits_no_more(state, *key)


# --- clearing at fixed prices ---------------------------------------------------------------------------------------


def clear_fixed(state: State, orders: list[Order]) -> list[Result]:
    """In turn, each takes its cheapest free block, past what is held for who was woken, and what is promised."""
    asked = {(order.key.host, order.ref) for order in orders}
    turns: list[tuple[_Turn, Order | Waiter]] = [(_turn_of(state, order), order) for order in orders]
    turns += [(_turn_of(state, waiter.order), waiter) for waiter in state.queue.woken(asked)]
    results: list[Result] = []
    trials: list[Trial] = []
    for _, who in sorted(turns, key=lambda entry: entry[0]):
        if isinstance(who, Waiter):
            _hold(state, who, trials)
            continue
        with _promise_kept(state, who):
            result = offer_fixed(state.book, who, state.scales, state.rules)
        if isinstance(result, Lost) and _was_told(state, who):
            result = offer_fixed(state.book, who, state.scales, state.rules)
        elif isinstance(result, Lost) and Trial(state.book, who).look(leased=False, scales=state.scales) is not None:
            result = _is_kept_from(state, result)
        results.append(result)
    for trial in reversed(trials):
        trial.undo()
    return results


def _is_kept_from(state: State, lost: Lost) -> Lost:
    """A refusal where there is room, and it is kept for another: with how long work may run that has it meanwhile."""
    if state.promise is None or lost.reason not in {Reason.NO_FIT, Reason.TAKEN}:
        return lost
    ticks = state.promise.start_tick - state.tick - state.genesis.notice_ticks
    return Lost(lost.order, Reason.KEPT, max(0, ticks), None)


def _was_told(state: State, order: Order) -> bool:
    waiter = state.queue.waiters.get((order.key.host, order.ref))
    return waiter is not None and waiter.woken > 0


def _turn_of(state: State, order: Order) -> _Turn:
    """By its tenant's use over its weight, where shares decide, but that who was told of room keeps it; then by age."""
    waiter = state.queue.waiters.get((order.key.host, order.ref))
    told = waiter is not None and waiter.woken > 0
    rank = rank_of(state, order.tenant) if state.shares.on and not told else -state.shares.on
    return rank, waiter.since if waiter else order.arrived, order.arrived, order.key


def rank_of(state: State, tenant: int) -> int:
    """A tenant's use over its weight: the least is served first."""
    return state.shares.of(tenant, state.tick) // state.terms.of(tenant).weight


def is_passed(state: State, order: Order) -> bool:
    """Whether an order waits because of its tenant's share: younger work that asks for the same is served before it."""
    return state.shares.on and state.queue.is_passed(order, age_of(state, order), lambda who: rank_of(state, who))


def _hold(state: State, waiter: Waiter, trials: list[Trial]) -> Placement | None:
    """Take room for a waiter for the time of a trial, if there is some within what it pays."""
    trial = Trial(state.book, waiter.order)
    with _promise_kept(state, waiter.order):
        placement = trial.place(leased=False, scales=state.scales)
    if placement is None and waiter.woken:
        placement = trial.place(leased=False, scales=state.scales)  # it was told of them before they were promised
    if placement is not None:
        trials.append(trial)
    return placement


class _promise_kept:  # noqa: N801
    """While it lasts, slots that are promised are not there, but for who has the promise or ends before it is due."""

    def __init__(self, state: State, order: Order) -> None:
        self._book = state.book
        self._free: tuple[Region, ...] = ()
        promise = state.promise
        if promise is None or promise.key == (order.key.host, order.ref):
            return
        ends = state.tick + order.traits.time_ticks + state.genesis.notice_ticks
        if not order.traits.time_ticks or not promise.start_tick or ends > promise.start_tick:
            self._free = tuple(part for block in promise.blocks for part in self._book.free_parts(block))

    def __enter__(self) -> None:
        if self._free:
            self._book.seat(_KEPT, Seat(self._free, 0, 0, 0, None))

    def __exit__(self, *_: object) -> None:
        if self._free:
            self._book.unseat(_KEPT)


# --- clearing in the auction ------------------------------------------------------------------------------------------


def clear_auction(state: State, orders: list[Order]) -> list[Result]:
    """Local orders first, past what those that were woken would have; then wide ones, past what is kept."""
    asked = {(order.key.host, order.ref) for order in orders}
    withheld = Withheld(_withheld(state), _withheld(state, asked))
    return clearing.clear_auction(
        state.book, orders, state.scales, state.rules, lambda order: age_of(state, order), withheld
    )


@contextmanager
def _withheld(state: State, asked: Collection[Key] | None = None) -> Iterator[None]:
    """Slots that are kept, and what those that were woken would have by their standing limits, are not there.

    Args:
        state: Of the ledger.
        asked: Whose orders this tick clears, when it is the turn of wide ones: room is held for those that have yet to
            answer, and what is kept is offered if it is free and who it is kept for is here.
    """
    promise = state.promise
    opened = promise is not None and asked is not None and promise.key in asked and _is_drained(state, promise)
    with nullcontext() if opened else _without_kept(state):
        held = _held_by_standing(state)
        for key in list(held):
            if asked is not None and key in asked:
                held.pop(key).undo()
        try:
            yield
        finally:
            for trial in held.values():
                trial.undo()


def _held_by_standing(state: State) -> dict[Key, Trial]:
    """Room for each of those that were woken, the highest limit first, as far as it goes."""
    held: dict[Key, Trial] = {}
    for waiter in sorted(state.queue.woken(), key=_standing):
        trial = Trial(state.book, waiter.order)
        placement = trial.place(leased=False, scales=state.scales)
        if placement is not None and exceeds(waiter.order, placement):
            held[waiter.key] = trial
        elif placement is not None:
            trial.undo()
    return held


@contextmanager
def _without_kept(state: State) -> Iterator[None]:
    """While it lasts, what is kept is not there."""
    blocks = state.promise.blocks if state.promise is not None else ()
    free = tuple(part for block in blocks for part in state.book.free_parts(block))
    if free:
        state.book.seat(_KEPT, Seat(free, 0, 0, 0, None))
    try:
        yield
    finally:
        if free:
            state.book.unseat(_KEPT)


def _standing(waiter: Waiter) -> tuple[int, int, int, OrderKey]:
    """The least goes first in the auction."""
    return -waiter.order.limit_ucr, *waiter.age


def _is_drained(state: State, promise: Promise) -> bool:
    return all(state.book.free_parts(block) == (block,) for block in promise.blocks)


# --- waking ---------------------------------------------------------------------------------------------------------


def wake(state: State) -> None:
    """Tell who fits that there is room, if any has appeared."""
    for waiter in state.queue.expired(state.tick):
        waiter.ready, waiter.woken = False, 0
        state.rows.waiters.mark(waiter.key)
        state.room = True
    _review_promise(state)
    if not state.queue.waiters or not (state.room or state.tick % LOOK_TICKS == 0):
        return
    state.room = False
    if state.market is Market.FIXED:
        _wake_oldest(state)
    else:
        _wake_highest(state)


def _wake_oldest(state: State) -> None:
    """The first that does not fit has its promise before those behind it are told of what that leaves."""
    trials: list[Trial] = []
    taken: list[Taken] = []
    for waiter in sorted(state.queue.woken(), key=lambda waiter: waiter.age):
        taken += _taken(state, waiter, _hold(state, waiter, trials))
    heads = state.queue.oldest(lambda tenant: rank_of(state, tenant))
    told, passed_over = 0, False
    while heads and told < WAKES_PER_TICK_MAX:
        waiter = heads.first()
        placement = _hold(state, waiter, trials)
        if placement is None:
            if not passed_over and (state.promise is None or not state.promise.start_tick):
                _promise(state, waiter, taken)
            passed_over = True
            heads.drop_kind()
            held = _promised_of_kind(state, waiter.kind)
            if held is None or (placement := _hold(state, held, trials)) is None:
                continue
            taken += _taken(state, held, placement)
            _tell(state, held)
            told += 1
            continue
        taken += _taken(state, waiter, placement)
        _tell(state, waiter)
        if state.promise is not None and state.promise.key == waiter.key:
            state.promise = None  # the room it was told of is held for it: the next that does not fit has the promise
        heads.take()
        told += 1
    for trial in reversed(trials):
        trial.undo()


def _promised_of_kind(state: State, kind: Kind) -> Waiter | None:
    """Who has a promise and waits for it among those of a kind: kept slots are for nobody else of them."""
    waiter = state.queue.waiters.get(state.promise.key) if state.promise else None
    return waiter if waiter is not None and waiter.ready and not waiter.woken and waiter.kind == kind else None


def _taken(state: State, waiter: Waiter, placement: Placement | None) -> list[Taken]:
    """What a waiter that was told will hold, if it orders in the next tick."""
    if placement is None:
        return []
    time_ticks = waiter.order.traits.time_ticks
    return [Taken(placement.blocks, _end_of(state, state.tick + 1, time_ticks))]


def _wake_highest(state: State) -> None:
    heads, told = state.queue.highest(), 0
    while heads and told < state.woken_bids:
        waiter = heads.first()
        if _can_have(state, waiter):
            _tell(state, waiter)
            heads.take()
            told += 1
            continue
        if state.promise is None and _is_patient(state, waiter) and not _is_awaited(state, waiter):
            _promise(state, waiter, [])
        heads.drop_kind()


def _can_have(state: State, waiter: Waiter) -> bool:
    """Whether a waiter would win something now, if it were alone: past what is kept, unless it comes before who has it.

    What is kept is kept no longer where someone comes before, and where it is free and yet does not fit.
    """
    promise, order = state.promise, waiter.order
    if promise is None or _is_open(state, promise):
        return _would_win(state, order)
    if promise.key == waiter.key:
        fits = _is_drained(state, promise)
        if fits and not _would_win(state, order):
            fits = False
            _keep_no_longer(state)
        return fits
    with _without_kept(state):
        if _fits_free(state, order):
            return True
    if not _fits_free(state, order):
        return _would_win(state, order)
    comes_before = _standing(waiter) < _standing(state.queue.waiters[promise.key])
    if comes_before:
        _keep_no_longer(state)
    return comes_before


def _is_open(state: State, promise: Promise) -> bool:
    """Whether what is kept is free and who it is kept for was told: the others that were told bid for it, too."""
    return state.queue.waiters[promise.key].woken > 0 and _is_drained(state, promise)


def _fits_free(state: State, order: Order) -> bool:
    placement = Trial(state.book, order).look(leased=False, scales=state.scales)
    return placement is not None and exceeds(order, placement)


def _would_win(state: State, order: Order) -> bool:
    placement = Trial(state.book, order).look(leased=False, scales=state.scales)
    if placement is None and may_displace(state.book, order):
        placement = Trial(state.book, order).look(leased=True, scales=state.scales)
    return placement is not None and exceeds(order, placement)


def _is_awaited(state: State, waiter: Waiter) -> bool:
    """Whether somebody who comes before a waiter was told of room, and has yet to take it."""
    return any(_standing(other) < _standing(waiter) for other in state.queue.woken())


def _is_patient(state: State, waiter: Waiter) -> bool:
    return state.tick - waiter.since >= state.patience_ticks


def _is_void(state: State, promise: Promise, waiter: Waiter) -> bool:
    """Whether a promise is of the other market; or its slots are free, and its waiter lacks memory or cpu there."""
    if state.market is Market.AUCTION:
        return promise.start_tick > 0
    if waiter.woken or not _is_drained(state, promise):
        return False
    return Trial(state.book, waiter.order).look(leased=False, scales=state.scales) is None


def _keep_no_longer(state: State) -> None:
    """Nothing is kept any more; who it was kept for still waits, and is told."""
    promise, state.promise, state.room = state.promise, None, True
    if promise is not None:
        state.emit(promise.key[0], Op.PROMISED, Promised(promise.key[1], 0, 0))


def _tell(state: State, waiter: Waiter) -> None:
    waiter.woken = state.tick + HOLD_TICKS
    state.queue.note_woken(waiter)
    state.rows.waiters.mark(waiter.key)
    state.counters.woken += 1
    state.emit(waiter.key[0], Op.WOKEN, Woken(waiter.key[1], state.tick))


# --- promises -------------------------------------------------------------------------------------------------------


def _review_promise(state: State) -> None:
    """A promise ends with its waiter; while its slots are held longer than was declared, it moves on."""
    promise = state.promise
    if promise is None:
        return
    waiter = state.queue.waiters.get(promise.key)
    if waiter is None or not waiter.ready:
        state.promise, state.room = None, True
    elif _is_void(state, promise, waiter):
        _keep_no_longer(state)
    elif 0 < promise.start_tick <= state.tick and not waiter.woken:
        holders = {number for block in promise.blocks for number in state.book.leases_in(block)}
        ends = [_declared_end(state, state.leases[number]) for number in holders if number in state.leases]
        end_tick = max(ends, default=state.tick + 1)
        state.promise = promise._replace(start_tick=0 if end_tick >= _ENDLESS else max(end_tick, state.tick + 1))
        _tell_promise(state, waiter)


def ends_otherwise(state: State) -> None:
    """A holder is to end at another time than was declared: who has the promise is told of its start anew."""
    state.room, promise = True, state.promise
    waiter = state.queue.waiters.get(promise.key) if promise is not None else None
    if promise is None or waiter is None or state.market is not Market.FIXED:
        return
    if 0 < promise.start_tick <= state.tick:
        return
    soonest = _soonest(state, waiter.order, [])
    if soonest is not None and soonest[1] < _ENDLESS and soonest[1] != promise.start_tick:
        state.promise = promise._replace(start_tick=soonest[1], blocks=tuple(soonest[0]))
        _tell_promise(state, waiter)


def _promise(state: State, waiter: Waiter, taken: list[Taken]) -> None:
    """Keep slots for the oldest that is passed over: those that are free soonest, as their holders declared.

    `taken` is what those that were told of room will hold.
    """
    order = waiter.order
    if order.shape.share_permille:
        return
    soonest = _soonest(state, order, taken)
    if soonest is None:
        return
    blocks, end_tick = soonest
    if end_tick >= _ENDLESS or state.market is Market.AUCTION:
        if state.promise is not None or not _is_patient(state, waiter):
            return
        end_tick = 0
    promise = state.promise
    if promise is not None and promise.key != waiter.key:
        return
    state.promise = Promise(waiter.key, end_tick, tuple(blocks))
    state.counters.promises += 1
    _tell_promise(state, waiter)


def _tell_promise(state: State, waiter: Waiter) -> None:
    assert state.promise is not None, "there is one"
    promised = Promised(waiter.key[1], state.promise.start_tick, waiter.order.shape.slots)
    state.emit(waiter.key[0], Op.PROMISED, promised)


def _soonest(state: State, order: Order, taken: list[Taken]) -> tuple[list[Region], int] | None:
    """Blocks for an order that come free soonest, and when; None where the zone has none of that kind."""
    blocks: list[Region] = []
    end_tick = state.tick + 1
    held = [*(Taken(lease.blocks, _declared_end(state, lease)) for lease in state.leases.values()), *taken]
    for size in order.shape.sizes:
        best = min(_candidates(state, order, size, held, blocks), default=None)
        if best is None:
            return None
        blocks.append(best.region)
        end_tick = max(end_tick, best.end_tick)
    return blocks, end_tick


def _candidates(state: State, order: Order, size: int, held: list[Taken], found: list[Region]) -> Iterator[Block]:
    """Blocks of a size, some of whose slots are held and none withheld, outside of those that were found before."""
    ends: dict[int, int] = {}
    leased: dict[int, int] = {}
    for blocks, end_tick in held:
        for block in blocks:
            first, last = max(block.base, order.region.base), min(block.end, order.region.end)
            for base in range(first >> size << size, last, 1 << size) if first < last else ():
                ends[base] = max(ends.get(base, 0), end_tick)
                leased[base] = leased.get(base, 0) + min(block.end, base + (1 << size)) - max(block.base, base)
    for base, end_tick in ends.items():
        region = Region(base, size)
        if any(region.base < other.end and other.base < region.end for other in found):
            continue
        if _is_offered(state, order, region):
            yield Block(end_tick, leased[base], region)


def _declared_end(state: State, lease: Lease) -> int:
    """When a lease has surely ended; nobody knows of one that should have and has not."""
    end_tick = _end_of(state, lease.granted, lease.traits.time_ticks)
    if lease.state is LeaseState.EVICTING:
        end_tick = lease.deadline
    return end_tick if end_tick > state.tick else _ENDLESS


def _end_of(state: State, granted: int, time_ticks: int) -> int:
    """The tick in which a lease has surely ended, as its owner declared."""
    return granted + time_ticks + state.genesis.notice_ticks if time_ticks else _ENDLESS


def _is_offered(state: State, order: Order, region: Region) -> bool:
    """Whether every slot of a block is there, of a class that will do, and offered once it is free."""
    slots = 0
    for host in state.book.hosts_of(region):
        shape = state.book.shape_of(host)
        if not order.shape.classes >> shape.slot_class & 1 or state.hosts[host].withheld:
            return False
        run = state.book.region_of(host)
        first, last = max(run.base, region.base), min(run.end, region.end)
        absent = shape.absent_bits
        if any(absent >> (slot - run.base) & 1 for slot in range(first, last)):
            return False
        slots += last - first
        if not _has_the_rest(state, order, region, host, last - first):
            return False
    return slots == region.slots and not any(region.base <= slot < region.end for slot in state.book.cordoned())


def _has_the_rest(state: State, order: Order, region: Region, host: int, slots: int) -> bool:
    """Whether a host has the memory and cpu for an order, once those that hold slots of a region have left."""
    use, book = state.book.use_of(host), state.book
    held = [book.held_on(lease, host) for lease in book.leases_in(region)]
    mem_bytes = use.mem_bytes - sum(mem for mem, _ in held) + slots * order.mem_bytes
    cpu_milli = use.cpu_milli - sum(cpu for _, cpu in held) + slots * order.cpu_milli
    mem_fits = not order.mem_bytes or mem_bytes < use.mem_max_bytes
    return mem_fits and (not order.cpu_milli or cpu_milli <= use.cpu_max_milli)
