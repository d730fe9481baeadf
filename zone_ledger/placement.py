"""Placing an order's blocks in the book for trial: taken, priced, and given back.

The free part of a block is seated under the order's reservation, the leases it would displace are locked, and what the
order needs of a host beyond what is free and what the displaced hold there is promised to it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from tegcore.economics.fixed import range_price_ucr
from tegcore.wire.records import Region
from zone_ledger.book.base import Book, Candidate, HostUse, Query, Seat
from zone_ledger.leases import Order


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
        self._own_ucr: int | None = None

    def look(self, *, leased: bool, scales: Scales) -> Placement | None:
        """What `place` would take; takes nothing."""
        if len(self._order.shape.sizes) > 1:
            placement = self.place(leased=leased, scales=scales)
            self.undo()
            return placement
        self._forget_own()
        found = self._find(self._order.shape.sizes[0], leased=leased)
        self._recall_own()
        if found is None:
            return None
        extras = self._extras_ucr(found.block, found.displaced, scales)
        return Placement((found.block,), found.cost_ucr, found.displaced, extras)

    def _forget_own(self) -> None:
        """The lease that a MOVE leaves costs no more than its slots would if they were free."""
        if self._order.leaves:
            book, own = self._book, self._order.leaves
            seat, self._own_ucr = book.seat_of(own), book.threshold_of(own)
            book.set_threshold(own, book.reserve_of(seat.blocks, seat.share_permille))

    def _recall_own(self) -> None:
        if self._order.leaves and self._order.leaves not in [lease for lease, _ in self._locked]:
            self._book.set_threshold(self._order.leaves, self._own_ucr)

    def place(self, *, leased: bool, scales: Scales) -> Placement | None:
        """Take the cheapest feasible blocks, largest first; None, and nothing taken, where they do not all fit."""
        blocks: list[Region] = []
        displaced: list[int] = []
        cost = extras = 0
        self._forget_own()
        for part, size in enumerate(self._order.shape.sizes):
            found = self._find(size, leased=leased)
            if found is None:
                self._recall_own()
                self.undo()
                return None
            extras += self._extras_ucr(found.block, found.displaced, scales)
            self._take(found.block, found.displaced, part)
            blocks.append(found.block)
            displaced.extend(found.displaced)
            cost += found.cost_ucr
        self._recall_own()
        return Placement(tuple(blocks), cost, tuple(sorted(displaced)), extras)

    def _find(self, size: int, *, leased: bool) -> Candidate | None:
        order = self._order
        _, classes, share = order.shape
        query = Query(order.region, size, classes, share, order.cpu_milli, order.mem_bytes, leased)
        if order.leaves and not leased:  # who moves may not displace, and its own slots count as free
            found = self._book.find(query._replace(leased=True))
            if found is not None and all(lease == order.leaves for lease in found.displaced):
                return found
        return self._book.find(query)

    def undo(self) -> None:
        """Put the book back as it was."""
        for seated in reversed(self._seated):
            self._book.release(seated)
        for lease, threshold_ucr in reversed(self._locked):
            self._book.set_threshold(lease, threshold_ucr)
        self._seated.clear()
        self._locked.clear()

    def _take(self, block: Region, displaced: tuple[int, ...], part: int) -> None:
        reserve(self._book, self._order, part, block, displaced)
        self._seated.append(reservation_number(self._order.serial, part))
        for lease in displaced:
            before_ucr = self._own_ucr if lease == self._order.leaves else self._book.threshold_of(lease)
            self._locked.append((lease, before_ucr))
            self._book.set_threshold(lease, None)

    def _extras_ucr(self, block: Region, displaced: tuple[int, ...], scales: Scales) -> int:
        if not ((self._order.mem_bytes and scales.mem_k_ucr) or (self._order.cpu_milli and scales.cpu_k_ucr)):
            return 0
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
    for host in book.hosts_of(block) if order.mem_bytes or order.cpu_milli else ():
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
