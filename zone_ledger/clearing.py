"""Clearing: what becomes of the orders of one tick.

*Fixed prices.* In the order of arrival, each takes its cheapest free block at its cost.

*Auction, rule 2* (DESIGN 6). Orders compete where their regions overlap. By value per slot, ties by key, each takes its
cheapest feasible blocks, free or leased, if its bid exceeds the cost. A winner pays its critical value: the least bid
with which it would still have won. It is found by going down the ranks without the winner: while it would win at the
next rank's bid, that bidder takes its place first, and the cost is looked at again.

Whether a bid wins rises with the bid, and what it pays does not depend on it, so no other value than the true one gains
anything within the tick. Everything that is tried on the book is undone before the next trial.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tegcore.economics.fixed import range_price_ucr
from tegcore.wire.records import Reason, Region
from zone_ledger.book.base import Book, HostUse, Query, Seat
from zone_ledger.leases import Order, charge_ucr, price_ucr

GROUP_BIDS_MAX = 256


class Scales(NamedTuple):
    """k of (15), in ucr per period."""

    mem_k_ucr: int
    cpu_k_ucr: int


class Placement(NamedTuple):
    """Blocks that an order could take.

    Attributes:
        cost_ucr: Their exact cost: reserves of what is free, thresholds of what is leased.
        displaced: Leases that must leave.
        extras_ucr: Memory and cpu there, per period.
    """

    blocks: tuple[Region, ...]
    cost_ucr: int
    displaced: tuple[int, ...]
    extras_ucr: int

    @property
    def total_ucr(self) -> int:
        """What a bid must exceed."""
        return self.cost_ucr + self.extras_ucr


@dataclass(slots=True)
class Won:
    """An order that gets its blocks, at a rent per slot-period."""

    order: Order
    placement: Placement
    price_ucr: int


@dataclass(slots=True)
class Lost:
    """An order that does not; `placement` is what it could have had for more, if anything fits."""

    order: Order
    reason: Reason
    missing: int
    placement: Placement | None


@dataclass(slots=True)
class Waits:
    """An order that this tick has no room to clear."""

    order: Order


Result = Won | Lost | Waits


class Trial:
    """Blocks taken in the book on behalf of an order, so that they can be given back.

    The free part is seated under the order's reservation, the displaced leases are locked, and what the order needs of
    a host beyond what is free and what the displaced hold there is promised to it.
    """

    def __init__(self, book: Book, order: Order) -> None:
        self._book = book
        self._order = order
        self._locked: list[tuple[int, int | None]] = []
        self._seated: list[int] = []

    def place(self, *, leased: bool, scales: Scales) -> Placement | None:
        """Take the cheapest feasible blocks, largest first; None, and nothing taken, where they do not all fit."""
        order, book = self._order, self._book
        blocks: list[Region] = []
        displaced: list[int] = []
        cost = extras = 0
        for part, size in enumerate(order.shape.sizes):
            query = Query(
                order.region,
                size,
                order.shape.classes,
                order.shape.share_permille,
                order.cpu_milli,
                order.mem_bytes,
                leased=leased,
            )
            found = book.find(query)
            if found is None:
                self.undo()
                return None
            extras += self._extras_ucr(found.block, found.displaced, scales)
            self._take(found.block, found.displaced, part)
            blocks.append(found.block)
            displaced.extend(found.displaced)
            cost += found.cost_ucr
        return Placement(tuple(blocks), cost, tuple(sorted(displaced)), extras)

    def undo(self) -> None:
        """Put the book back as it was."""
        for seated in reversed(self._seated):
            self._book.unseat(seated)
        for lease, threshold_ucr in reversed(self._locked):
            self._book.set_threshold(lease, threshold_ucr)
        self._seated.clear()
        self._locked.clear()

    def _take(self, block: Region, displaced: tuple[int, ...], part: int) -> None:
        reserve(self._book, self._order, part, block, displaced)
        self._seated.append(reservation_number(self._order.serial, part))
        for lease in displaced:
            self._locked.append((lease, self._book.seat_of(lease).threshold_ucr))
            self._book.set_threshold(lease, None)

    def _extras_ucr(self, block: Region, displaced: tuple[int, ...], scales: Scales) -> int:
        total = 0
        for host in self._book.hosts_of(block):
            mem_held, cpu_held = held_by(self._book, displaced, host)
            slots = slots_on(self._book, block, host)
            use = self._book.use_of(host)
            freed = use._replace(mem_bytes=use.mem_bytes - mem_held, cpu_milli=use.cpu_milli - cpu_held)
            total += sum(extras_ucr(freed, slots, self._order, scales))
        return total


def reservation_number(serial: int, part: int) -> int:
    """What an order's block is seated under while it is reserved: negative, apart from every lease."""
    return -(serial * 4 + part + 1)


def reserve(book: Book, order: Order, part: int, block: Region, incumbents: Sequence[int]) -> None:
    """Seat the free part of an order's block under its reservation, and promise it what its hosts must still give.

    What the incumbents hold on a host will be free when they have left; what the order needs beyond that is promised
    now, so that nobody buys it meanwhile.
    """
    reservation, share = reservation_number(order.serial, part), order.shape.share_permille
    free = (block,) if share else book.free_parts(block)
    book.seat(reservation, Seat(free, share, order.cpu_milli, order.mem_bytes, None))
    for host in book.hosts_of(block):
        mem_seated, cpu_seated = book.held_on(reservation, host)
        mem_held, cpu_held = held_by(book, incumbents, host)
        slots = slots_on(book, block, host)
        mem_more = max(0, slots * order.mem_bytes - mem_seated - mem_held)
        cpu_more = max(0, slots * order.cpu_milli - cpu_seated - cpu_held)
        if mem_more or cpu_more:
            book.promise(reservation, host, mem_more, cpu_more)


def held_by(book: Book, leases: Sequence[int], host: int) -> tuple[int, int]:
    """Memory and cpu that leases hold on a host together."""
    held = [book.held_on(lease, host) for lease in leases]
    return sum(mem for mem, _ in held), sum(cpu for _, cpu in held)


def slots_on(book: Book, block: Region, host: int) -> int:
    """Slots of a block that a host has."""
    region = book.region_of(host)
    return max(0, min(block.end, region.end) - max(block.base, region.base))


def extras_ucr(use: HostUse, slots: int, order: Order, scales: Scales) -> tuple[int, int]:
    """What memory and cpu for some slots of an order cost a period on a host so used, by (15)."""
    mem_bytes, cpu_milli = slots * order.mem_bytes, slots * order.cpu_milli
    mem_ucr = cpu_ucr = 0
    if mem_bytes and scales.mem_k_ucr:
        mem_ucr = range_price_ucr(scales.mem_k_ucr, use.mem_max_bytes, use.mem_bytes, mem_bytes)
    if cpu_milli and scales.cpu_k_ucr:
        cpu_ucr = range_price_ucr(scales.cpu_k_ucr, use.cpu_max_milli + 1, use.cpu_milli, cpu_milli)
    return mem_ucr, cpu_ucr


def clear_fixed(book: Book, orders: Sequence[Order], scales: Scales) -> list[Result]:
    """Fixed prices: first come, first served. Winners' blocks stay taken in the book."""
    results: list[Result] = []
    for order in orders:
        trial = Trial(book, order)
        placement = trial.place(leased=False, scales=scales)
        if placement is None:
            results.append(Lost(order, Reason.NO_FIT, order.shape.slots, None))
        elif order.bid_ucr < placement.total_ucr:
            trial.undo()
            results.append(Lost(order, Reason.PRICE, _short(order, placement.total_ucr), None))
        else:
            results.append(Won(order, placement, price_ucr(placement.cost_ucr, order.shape)))
    return results


def clear_auction(book: Book, orders: Sequence[Order], scales: Scales) -> list[Result]:
    """The auction. Winners' blocks stay taken in the book: free parts reserved, displaced leases locked."""
    results: list[Result] = []
    for group in groups(orders):
        admitted = sorted(group, key=lambda order: (order.arrived, order.key))
        results.extend(Waits(order) for order in admitted[GROUP_BIDS_MAX:])
        ranked = sorted(admitted[:GROUP_BIDS_MAX], key=_rank)
        for place, order in enumerate(ranked):
            results.append(_settle_one(book, order, ranked[place + 1 :], scales))
    return results


def groups(orders: Sequence[Order]) -> list[list[Order]]:
    """Orders whose regions overlap, directly or through others; runs are nested or apart, so the largest names each."""
    found: list[tuple[Region, list[Order]]] = []
    for order in sorted(orders, key=lambda order: (order.region.base, -order.region.log2, order.key)):
        if found and order.region.base < found[-1][0].end:
            found[-1][1].append(order)
        else:
            found.append((order.region, [order]))
    return [group for _, group in found]


def _rank(order: Order) -> tuple[int, object]:
    return -order.limit_ucr, order.key


def _short(order: Order, total_ucr: int) -> int:
    return price_ucr(total_ucr, order.shape) - order.limit_ucr


def _settle_one(book: Book, order: Order, below: Sequence[Order], scales: Scales) -> Won | Lost:
    trial = Trial(book, order)
    placement = trial.place(leased=True, scales=scales)
    if placement is None:
        return Lost(order, Reason.NO_FIT, order.shape.slots, None)
    trial.undo()
    if order.bid_ucr <= placement.total_ucr:
        return Lost(order, Reason.PRICE, max(1, _short(order, placement.total_ucr + 1)), placement)
    critical_ucr = _critical_ucr(book, order, below, scales, placement.total_ucr)
    rent_ucr = max(placement.cost_ucr, critical_ucr - placement.extras_ucr)
    again = trial.place(leased=True, scales=scales)
    assert again == placement, "the book did not come back as it was"
    return Won(order, placement, min(order.limit_ucr, price_ucr(rent_ucr, order.shape)))


def _critical_ucr(book: Book, order: Order, below: Sequence[Order], scales: Scales, cost_ucr: int) -> int:
    """The least bid for the period with which an order would still win, from its own rank down."""
    undo: list[Trial] = []
    for rival in below:
        rival_ucr = charge_ucr(rival.limit_ucr, order.shape)
        if cost_ucr >= rival_ucr:
            break
        trial = Trial(book, rival)
        placed = trial.place(leased=True, scales=scales)
        if placed is not None and rival.bid_ucr <= placed.total_ucr:
            trial.undo()
            continue
        undo.append(trial)
        own = Trial(book, order)
        mine = own.place(leased=True, scales=scales)
        own.undo()
        if mine is None or mine.total_ucr >= rival_ucr:
            cost_ucr = rival_ucr
            break
        cost_ucr = mine.total_ucr
    for trial in reversed(undo):
        trial.undo()
    return cost_ucr
