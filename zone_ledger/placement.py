"""Placing an order's blocks in the book for trial: taken, priced, and given back.

The free part of a block is seated under the order's reservation, the leases it would displace are locked, and what the
order needs of a host beyond what is free and what the displaced hold there is promised to it.

Where memory or cpu has a price (15), the block is taken that costs least with it: since rule set 2. The book knows the
cheapest by slots alone, of any run; best first, runs are halved until no other can be cheaper in all.
"""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

from tegcore.economics.fixed import range_price_ucr
from tegcore.economics.price_code import least_of_code
from tegcore.wire.records import Region
from zone_ledger.book.base import Book, Candidate, HostShape, HostUse, Query, Seat, mem_max_bytes
from zone_ledger.leases import Order

LOOKS_MAX = 128
"""So many runs are asked for their cheapest block; beyond that the best so far is taken."""


class Scales(NamedTuple):
    """How memory and cpu count.

    Attributes:
        mem_k_ucr, cpu_k_ucr: k of (15), in ucr per period.
        whole_cost: Whether blocks are chosen by what they cost with it, too.
    """

    mem_k_ucr: int
    cpu_k_ucr: int
    whole_cost: bool = False


class Placement(NamedTuple):
    """Blocks that an order could take.

    Attributes:
        cost_ucr: Their exact cost: reserves of what is free, thresholds of what is leased.
        displaced: Leases that must leave.
        extras_ucr: Memory and cpu there, per period.
        by_host: Of that, what is for memory and what for cpu of each host.
    """

    blocks: tuple[Region, ...]
    cost_ucr: int
    displaced: tuple[int, ...]
    extras_ucr: int
    by_host: tuple[tuple[int, int, int], ...] = ()

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
        found = self._find(self._order.shape.sizes[0], leased=leased, scales=scales)
        self._recall_own()
        if found is None:
            return None
        extras = block_extras(self._book, self._order, found, scales)
        return Placement((found.block,), found.cost_ucr, found.displaced, _sum_ucr(extras), extras)

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
        cost = 0
        extras: list[tuple[int, int, int]] = []
        self._forget_own()
        for part, size in enumerate(self._order.shape.sizes):
            found = self._find(size, leased=leased, scales=scales)
            if found is None:
                self._recall_own()
                self.undo()
                return None
            extras += block_extras(self._book, self._order, found, scales)
            self._take(found.block, found.displaced, part)
            blocks.append(found.block)
            displaced.extend(found.displaced)
            cost += found.cost_ucr
        self._recall_own()
        return Placement(tuple(blocks), cost, tuple(sorted(displaced)), _sum_ucr(extras), tuple(extras))

    def _find(self, size: int, *, leased: bool, scales: Scales) -> Candidate | None:
        order = self._order
        _, classes, share = order.shape
        query = Query(order.region, size, classes, share, order.cpu_milli, order.mem_bytes, leased)
        if order.leaves and not leased:  # who moves may not displace, and its own slots count as free
            found = cheapest(self._book, order, query._replace(leased=True), scales)
            if found is not None and all(lease == order.leaves for lease in found.displaced):
                return found
        return cheapest(self._book, order, query, scales)

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


def cheapest(book: Book, order: Order, query: Query, scales: Scales) -> Candidate | None:
    """The block that costs an order least, with its memory and cpu where `scales` says so; ties by place."""
    if not (scales.whole_cost and _is_priced(order, scales)):
        return book.find(query)
    found = book.find(query)
    if found is None:
        return None
    floor_ucr, looks = _least_extras_ucr(book, order, query.size, scales), 1
    heap = [(least_of_code(found.code) + floor_ucr, query.region.base, query.region.log2, found)]
    best, least = found, (found.cost_ucr + block_extras_ucr(book, order, found, scales), found.block.base)
    while heap and looks < LOOKS_MAX:
        bound_ucr, base, log2, inside = heapq.heappop(heap)
        if bound_ucr >= least[0]:
            break
        if log2 == query.size or _costs_alike(book, query, Region(base, log2), inside):
            continue
        for start in (base, base + (1 << log2 - 1)):
            half = Region(start, log2 - 1)
            if half.base <= inside.block.base < half.end:
                heapq.heappush(heap, (bound_ucr, half.base, half.log2, inside))
                continue
            looks += 1
            other = book.find(query._replace(region=half))
            if other is None:
                continue
            heapq.heappush(heap, (least_of_code(other.code) + floor_ucr, half.base, half.log2, other))
            total = (other.cost_ucr + block_extras_ucr(book, order, other, scales), other.block.base)
            if total < least:
                best, least = other, total
    return best


def _costs_alike(book: Book, query: Query, run: Region, found: Candidate) -> bool:
    """Whether all blocks of a run cost the same: free ones of one host."""
    if query.leased and not query.share_permille:
        return False
    host = book.region_of(book.hosts_of(found.block)[0])
    return host.base <= run.base and run.end <= host.end


def _least_extras_ucr(book: Book, order: Order, size: int, scales: Scales) -> int:
    """What memory and cpu for a block cost at least, anywhere: on hosts that nobody uses."""
    least: list[int] = []
    for slots, cpu_milli, mem_bytes in book.host_kinds():
        inside = min(slots, 1 << size)
        use = HostUse(0, 0, cpu_milli, mem_max_bytes(HostShape(Region(0, 0), 0, cpu_milli, mem_bytes)))
        if inside * order.mem_bytes < use.mem_max_bytes and inside * order.cpu_milli <= cpu_milli:
            least.append((sum(extras_ucr(use, inside, order, scales)) << size) // inside)
    return min(least, default=0)


def _is_priced(order: Order, scales: Scales) -> bool:
    """Whether what an order asks for besides slots has a price."""
    return bool((order.mem_bytes and scales.mem_k_ucr) or (order.cpu_milli and scales.cpu_k_ucr))


def block_extras_ucr(book: Book, order: Order, found: Candidate, scales: Scales) -> int:
    """What memory and cpu for an order cost a period in a block, once those that it displaces have left."""
    return _sum_ucr(block_extras(book, order, found, scales))


def _sum_ucr(extras: Sequence[tuple[int, int, int]]) -> int:
    return sum(mem_ucr + cpu_ucr for _, mem_ucr, cpu_ucr in extras)


def block_extras(book: Book, order: Order, found: Candidate, scales: Scales) -> tuple[tuple[int, int, int], ...]:
    """The same by host, for memory and for cpu."""
    if not _is_priced(order, scales):
        return ()
    extras = []
    for host in book.hosts_of(found.block):
        mem_held, cpu_held = held_by(book, found.displaced, host)
        slots = slots_on(book, found.block, host)
        use = book.use_of(host)
        freed = use._replace(mem_bytes=use.mem_bytes - mem_held, cpu_milli=use.cpu_milli - cpu_held)
        extras.append((host, *extras_ucr(freed, slots, order, scales)))
    return tuple(extras)


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
