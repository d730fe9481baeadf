# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, legacy_implicit_noexcept=True
"""The fast book's tree: who holds which slot, and where the cheapest block of each size is.

It is Python that Cython compiles (pure mode): run from the source it does the same, slowly. All is kept in flat arrays
in Morton order, sized once. Level q of the tree has 4^(k-q) nodes of 4^q slots; level 0 is the slots themselves.

*A node* has eight words, one cache line: the cost as one block of the whole and of its two halves ("sum up"), the bars
and unavailable slots of the same three (bars << 32 | slots), the lease that covers it, the class of its slots. A bar is
a reason why the block cannot be had: an absent, cordoned or drained slot, a lease that cannot be displaced.

*A row* has a 16-bit entry for each question a descent asks, for each class apart ("min up"): log2 + 1 of the largest
free block inside, the largest free share, and for each size the price code of the cheapest aligned block inside, kept
as INFEASIBLE - code: so nothing is 0, the best is the greatest, and a plane of zeros is a class without slots.

*A lease* covers the largest nodes that make up its blocks. What is below a covered node stays as if it were free, so a
grant or release changes covered nodes and one path above each. Asking for a part of a lease costs all of it, once: on
the path of its second node the lease's cost counts only below the first node that holds both (`_cut`).

*Words*: of a node, cost (whole, two halves), bars and slots (the same), covering lease, classes; of a lease, number,
threshold or -1, cpu and memory per slot, count << 24 | share, two blocks (more stand apart); of a host, number, base,
log2, class, cpu offered, memory below which promises stay, cpu and memory promised. Constants stand in `quadtree.pxd`.

Positions inside arrays are the caller's to keep right: nothing here is checked against bounds when compiled.
"""

from array import array
from heapq import heappop, heappush
from typing import Any

import cython
import numpy as np

from tegcore.units import CLASS_COUNT_MAX, PERMILLE

if not cython.compiled:
    i64 = i32 = int
    BAR = 1 << 32
    AVAILABLE = BAR - 1
    INFEASIBLE = 0x7FFF
    NO_CUT = 64
    NODE = LEASE = HOST = 8
    COMMAND_WORDS, RESULT_WORDS = 10, 4
    OP_QUOTE, OP_RELEASE, OP_REPRICE, OP_CORDON = 0, 2, 3, 4
    NO_FIT, PRICE, TAKEN, UNKNOWN = 1, 2, 3, 4

    def bit_length(number: int) -> int:
        """As the compiled routine of the same name."""
        return number.bit_length()


def _zeros(kind: str, count: int) -> Any:
    """Compiled code wants memory that is zero without being touched; from the source, Python's own integers."""
    if cython.compiled:
        return np.zeros(count, dtype={"q": np.int64, "i": np.int32, "h": np.int16, "b": np.int8}[kind])
    return array(kind, bytes(count * array(kind).itemsize))


@cython.cfunc
def _value(cost_ucr: i64) -> i32:
    """INFEASIBLE - price code; see `tegcore.economics.price_code`."""
    shift: i32 = bit_length(cost_ucr) - 10
    shift = max(shift, 0)
    return INFEASIBLE - ((shift << 9) + cython.cast(i32, cost_ucr >> shift))


@cython.cfunc
def _share_of(amount_ucr: i64, permille: i64) -> i64:
    return (amount_ucr * permille + 999) // 1000


@cython.final
@cython.cclass
class QuadTree:
    """See the module. `FastBook` gives it the face of a `Book`; units are those of `zone_ledger.book.base`.

    Args:
        zone_k: The zone has 2^k x 2^k slots.
    """

    k: cython.int
    _node: cython.longlong[::1]
    _slot: cython.short[::1]
    _owner: cython.int[::1]
    _host_at: cython.int[::1]
    _rows: cython.short[::1]
    _planes: cython.char[::1]
    _row_count: cython.longlong
    _first_node: cython.longlong[::1]
    _first_row: cython.longlong[::1]
    _width: cython.longlong[::1]
    _reserve: cython.longlong[::1]
    _lease: cython.longlong[::1]
    _host: cython.longlong[::1]
    _table: cython.longlong[::1]
    _table_mask: cython.longlong
    _lease_count: cython.longlong
    _lease_top: cython.longlong
    _free_lease: cython.int
    _more_blocks: dict
    _sharers: dict
    _cordons: set
    _promised: dict
    _host_index: dict
    _free_host: list
    _host_top: cython.int
    _found_cost: cython.longlong
    _found_taken: cython.bint

    def __init__(self, zone_k: int) -> None:
        self.k = zone_k
        slots = 1 << 2 * zone_k
        widths, rows, first_row, first_node, nodes = [4], 0, [0], [0], 0
        for level in range(1, zone_k + 1):
            widths.append((2 * level + 3 + 7) // 8 * 8)
            first_row.append(rows)
            first_node.append(nodes)
            rows += (slots >> 2 * level) * widths[level]
            nodes += slots >> 2 * level
        self._width = array("q", widths)
        self._first_row = array("q", first_row)
        self._first_node = array("q", first_node)
        self._node = _zeros("q", nodes * NODE)
        self._slot = _zeros("h", slots * 4)
        self._owner = _zeros("i", slots)
        self._host_at = _zeros("i", slots)
        self._planes = _zeros("b", CLASS_COUNT_MAX)
        self._row_count = rows
        self._rows = _zeros("h", rows * CLASS_COUNT_MAX)
        self._reserve = _zeros("q", CLASS_COUNT_MAX)
        self._lease = _zeros("q", 64 * LEASE)
        self._host = _zeros("q", 16 * HOST)
        self._table = _zeros("q", 256)
        self._table_mask = 255
        self._lease_count, self._lease_top, self._host_top = 0, 1, 1
        self._free_lease, self._more_blocks, self._sharers, self._promised = 0, {}, {}, {}
        self._host_index, self._free_host, self._cordons = {}, [], set()
        for level in range(1, zone_k + 1):
            size: i64 = 1 << 2 * level
            for place in range(slots >> 2 * level):
                node: i64 = (first_node[level] + place) * NODE
                self._node[node + 3] = size * (BAR + 1)
                self._node[node + 4] = self._node[node + 5] = (size >> 1) * (BAR + 1)

    # --- leases by number -------------------------------------------------------------------------------------------

    @cython.cfunc
    def _hashed(self, number: i64) -> i64:
        """31 bits of a number; its low ones say where the search for it begins."""
        mixed: i64 = number ^ (number >> 31)
        return (mixed * 40503 + (mixed >> 9)) & 0x7FFFFFFF

    @cython.cfunc
    def _index_of(self, number: i64) -> i32:
        """Where a lease is kept, or 0."""
        hashed: i64 = self._hashed(number)
        at: i64 = hashed & self._table_mask
        entry: i64 = self._table[at]
        while entry:
            if entry >> 32 == hashed and self._lease[(entry & AVAILABLE) * LEASE] == number:
                return entry & AVAILABLE
            at = (at + 1) & self._table_mask
            entry = self._table[at]
        return 0

    @cython.cfunc
    def _enter(self, hashed: i64, index: i64) -> None:
        at: i64 = hashed & self._table_mask
        while self._table[at]:
            at = (at + 1) & self._table_mask
        self._table[at] = hashed << 32 | index

    @cython.cfunc
    def _new_lease(self, number: i64) -> i32:
        if 2 * self._lease_count >= self._table_mask:
            self._grow_table()
        index: i32
        if self._free_lease:
            index = self._free_lease
            self._free_lease = self._lease[index * LEASE + 1]
        else:
            index = self._lease_top
            self._lease_top += 1
            if (index + 1) * LEASE > len(self._lease):
                self._lease = _doubled("q", self._lease)
        self._lease[index * LEASE] = number
        self._lease_count += 1
        self._enter(self._hashed(number), index)
        return index

    @cython.cfunc
    def _drop_lease(self, index: i64) -> None:
        """Take a number out of the table; what was pushed past it by probing moves back."""
        hashed: i64 = self._hashed(self._lease[index * LEASE])
        at: i64 = hashed & self._table_mask
        while self._table[at] != hashed << 32 | index:
            at = (at + 1) & self._table_mask
        hole: i64 = at
        while True:
            at = (at + 1) & self._table_mask
            entry: i64 = self._table[at]
            if not entry:
                break
            if ((at - (entry >> 32)) & self._table_mask) >= ((at - hole) & self._table_mask):
                self._table[hole] = entry
                hole = at
        self._table[hole] = 0
        self._lease_count -= 1
        self._lease[index * LEASE + 1] = self._free_lease
        self._free_lease = index

    @cython.cfunc
    def _grow_table(self) -> None:
        old = self._table
        self._table = _zeros("q", 2 * len(old))
        self._table_mask = 2 * len(old) - 1
        place: i64
        for place in range(len(old)):
            if old[place]:
                self._enter(old[place] >> 32, old[place] & AVAILABLE)

    # --- slots ------------------------------------------------------------------------------------------------------

    @cython.cfunc
    def _class_of(self, slot: i64) -> i32:
        """Class + 1 of a slot, 0 where there is none."""
        return self._slot[4 * slot + 3] & 0xFF

    @cython.cfunc
    def _slot_cost(self, slot: i64) -> i64:
        owner: i32 = self._owner[slot]
        slot_class: i32 = self._class_of(slot)
        if owner == 0:
            return self._reserve[slot_class - 1] if slot_class else 0
        if owner > 0:
            threshold: i64 = self._lease[owner * LEASE + 1]
            return threshold if threshold > 0 else 0
        return self._shared_cost(slot)

    @cython.cfunc
    def _shared_cost(self, slot: i64) -> i64:
        taken: i64 = 0
        cost_ucr: i64 = 0
        for sharer in self._sharers[slot]:
            index: i32 = sharer
            taken += self._lease[index * LEASE + 4] & 0xFFFF
            threshold: i64 = self._lease[index * LEASE + 1]
            if threshold > 0:
                cost_ucr += threshold
        return cost_ucr + _share_of(self._reserve[self._class_of(slot) - 1], PERMILLE - taken)

    @cython.cfunc
    def _slot_pack(self, slot: i64) -> i64:
        """Bars and whether the slot is unavailable."""
        if not self._class_of(slot):
            return BAR + 1
        flag: i32 = self._slot[4 * slot + 3] >> 8
        bars: i64 = (flag & 1) + (flag >> 1)
        owner: i32 = self._owner[slot]
        if owner > 0:
            bars += self._lease[owner * LEASE + 1] < 0
        elif owner < 0:
            for sharer in self._sharers[slot]:
                index: i32 = sharer
                bars += self._lease[index * LEASE + 1] < 0
        return bars * BAR + (1 if flag or owner else 0)

    @cython.cfunc
    def _refresh_slot(self, slot: i64, cost_ucr: i64, pack: i64) -> None:
        """The row of a slot, from its cost and pack."""
        owner: i32 = self._owner[slot]
        share: i64 = 0
        if owner <= 0 and 0 < self._slot[4 * slot + 3] <= CLASS_COUNT_MAX:
            share = PERMILLE
            if owner < 0:
                for sharer in self._sharers[slot]:
                    index: i32 = sharer
                    share -= self._lease[index * LEASE + 4] & 0xFFFF
        self._slot[4 * slot] = 1 if pack == 0 else 0
        self._slot[4 * slot + 1] = share
        self._slot[4 * slot + 2] = _value(cost_ucr) if pack < BAR else 0

    @cython.cfunc
    def _row_at(self, level: i32, place: i64, plane: i32) -> i64:
        return plane * self._row_count + self._first_row[level] + place * self._width[level]

    # --- rows -------------------------------------------------------------------------------------------------------

    @cython.cfunc
    def _class_of_half(self, node: i64, half: i32) -> i64:
        return (self._node[node + 7] >> (8 + 8 * half)) & 0xFF

    @cython.cfunc
    def _half_value(self, node: i64, half: i32, plane: i32) -> i32:
        if self._node[node + 4 + half] >= BAR or self._class_of_half(node, half) != plane + 1:
            return 0
        return _value(self._node[node + 1 + half])

    @cython.cfunc
    def _whole_value(self, node: i64, plane: i32) -> i32:
        if self._node[node + 3] >= BAR or self._node[node + 7] & 0xFF != plane + 1:
            return 0
        return _value(self._node[node])

    @cython.cfunc
    def _half_free(self, node: i64, half: i32, plane: i32) -> cython.bint:
        return self._node[node + 4 + half] == 0 and self._class_of_half(node, half) == plane + 1

    @cython.cfunc
    def _build_row(self, level: i32, place: i64, node: i64, plane: i32) -> None:
        """The row of a node that no lease covers, from the rows below it."""
        row: i64 = self._row_at(level, place, plane)
        low: i32 = self._half_value(node, 0, plane)
        high: i32 = self._half_value(node, 1, plane)
        whole: i32 = self._whole_value(node, plane)
        free: i32 = 0
        if whole and self._node[node + 3] == 0:
            free = 2 * level + 1
        elif self._half_free(node, 0, plane) or self._half_free(node, 1, plane):
            free = 2 * level
        low = max(low, high)
        if level == 1:
            self._build_first_row(row, 16 * place, plane, free, low, whole)
            return
        width: i64 = self._width[level - 1]
        below: i64 = self._row_at(level - 1, 4 * place, plane)
        if cython.compiled:
            build_row(
                cython.address(self._rows[row]),
                self._width[level],
                cython.address(self._rows[below]),
                width,
                free,
                2 * level + 1,
                low,
                whole,
            )
        else:
            for entry in range(2 * level + 1):
                self._rows[row + entry] = max(self._rows[below + child * width + entry] for child in range(4))
            self._rows[row] = max(self._rows[row], free)
            self._rows[row + 2 * level + 1], self._rows[row + 2 * level + 2] = low, whole

    @cython.cfunc
    def _build_first_row(self, row: i64, first: i64, plane: i32, free: i32, half: i32, whole: i32) -> None:
        """The row of a node of four slots, whose own begin at `first`."""
        share: i32 = 0
        value: i32 = 0
        child: i64
        for child in range(first, first + 16, 4):
            if self._slot[child + 3] & 0xFF == plane + 1:
                if self._slot[child] > free:
                    free = 1
                share = max(share, self._slot[child + 1])
                value = max(value, self._slot[child + 2])
        if cython.compiled:
            first_row(cython.address(self._rows[row]), free, share, value, half, whole)
        else:
            for entry, best in enumerate((free, share, value, half, whole)):
                self._rows[row + entry] = best

    @cython.cfunc
    def _row_of_covered(self, level: i32, place: i64, node: i64, plane: i32) -> None:
        """Every part of a lease costs the whole of it, wherever nothing else bars the part."""
        row: i64 = self._row_at(level, place, plane)
        threshold: i64 = self._lease[self._node[node + 6] * LEASE + 1]
        value: i32 = _value(threshold) if threshold >= 0 else 0
        entry: i32
        if self._node[node + 3] < BAR or value == 0:
            self._rows[row] = self._rows[row + 1] = 0
            for entry in range(2, 2 * level + 3):
                self._rows[row + entry] = value
            return
        low: i32 = self._half_value(node, 0, plane)
        high: i32 = self._half_value(node, 1, plane)
        if level == 1:
            self._build_first_row(row, 16 * place, plane, 0, 0, 0)
        else:
            below: i64 = self._row_at(level - 1, 4 * place, plane)
            width: i64 = self._width[level - 1]
            for entry in range(2, 2 * level + 1):
                self._rows[row + entry] = (
                    self._rows[below + entry]
                    | self._rows[below + width + entry]
                    | self._rows[below + 2 * width + entry]
                    | self._rows[below + 3 * width + entry]
                )
        self._rows[row] = self._rows[row + 1] = 0
        for entry in range(2, 2 * level + 1):
            if self._rows[row + entry]:
                self._rows[row + entry] = value
        self._rows[row + 2 * level + 1] = low if low > high else high
        self._rows[row + 2 * level + 2] = self._whole_value(node, plane)

    @cython.cfunc
    def _refresh_row(self, level: i32, place: i64, plane: i32) -> None:
        """The row of a node in the plane of a class, from what is below it."""
        node: i64 = (self._first_node[level] + place) * NODE
        if self._node[node + 6] == 0:
            self._build_row(level, place, node, plane)
        elif self._node[node + 7] & 0xFF == plane + 1:
            self._row_of_covered(level, place, node, plane)

    @cython.cfunc
    def _climb(
        self,
        level: i32,
        place: i64,
        plane: i32,
        cost_ucr: i64,
        cost_above_ucr: i64,
        cut: i32,
        pack: i64,
    ) -> None:
        """Carry a change of a slot or node up to the root: its cost below and from `cut` on, its bars and slots.

        A covered node is unavailable as a whole whatever changes inside; only bars pass it.
        """
        while level < self.k:
            half: i32 = (place >> 1) & 1
            place >>= 2
            level += 1
            node: i64 = (self._first_node[level] + place) * NODE
            if self._node[node + 6]:
                pack = ((pack + (BAR >> 1)) >> 32) * BAR
                self._node[node + 3] += pack
                self._node[node + 4 + half] += pack
                self._row_of_covered(level, place, node, plane)
                cost_ucr = cost_above_ucr = 0
                continue
            self._node[node] += cost_ucr if 2 * level < cut else cost_above_ucr
            self._node[node + 1 + half] += cost_ucr if 2 * level - 1 < cut else cost_above_ucr
            self._node[node + 3] += pack
            self._node[node + 4 + half] += pack
            self._build_row(level, place, node, plane)

    # --- covering and uncovering ------------------------------------------------------------------------------------

    @cython.cfunc
    def _cover(self, level: i32, place: i64, index: i32, plane: i32, cut: i32) -> None:
        """Give a whole free node or slot to a lease."""
        threshold: i64 = self._lease[index * LEASE + 1]
        bar: i64 = BAR if threshold < 0 else 0
        cost_ucr: i64 = threshold if threshold > 0 else 0
        before_ucr: i64
        pack: i64
        if level == 0:
            before_ucr = self._slot_cost(place)
            pack = self._slot_pack(place)
            self._owner[place] = index
            after: i64 = (pack | 1) + bar
            self._refresh_slot(place, cost_ucr, after)
            pack = after - pack
        else:
            node: i64 = (self._first_node[level] + place) * NODE
            before_ucr = self._node[node]
            size: i64 = cython.cast(i64, 1) << 2 * level
            pack = size - (self._node[node + 3] & AVAILABLE) + bar
            self._node[node] = self._node[node + 1] = self._node[node + 2] = cost_ucr
            self._node[node + 3] = (self._node[node + 3] & ~AVAILABLE) + size + bar
            self._node[node + 4] = (self._node[node + 4] & ~AVAILABLE) + (size >> 1) + bar
            self._node[node + 5] = (self._node[node + 5] & ~AVAILABLE) + (size >> 1) + bar
            self._node[node + 6] = index
            self._row_of_covered(level, place, node, plane)
        self._climb(level, place, plane, cost_ucr - before_ucr, -before_ucr, cut, pack)

    @cython.cfunc
    def _uncover(self, level: i32, place: i64, index: i32, plane: i32, cut: i32) -> None:
        """The inverse of `_cover`."""
        threshold: i64 = self._lease[index * LEASE + 1]
        bar: i64 = BAR if threshold < 0 else 0
        cost_ucr: i64 = threshold if threshold > 0 else 0
        after_ucr: i64
        pack: i64
        if level == 0:
            pack = self._slot_pack(place)
            self._owner[place] = 0
            after_ucr = self._slot_cost(place)
            after: i64 = self._slot_pack(place)
            self._refresh_slot(place, after_ucr, after)
            pack = after - pack
        else:
            node: i64 = (self._first_node[level] + place) * NODE
            before: i64 = self._node[node + 3]
            self._node[node + 6] = 0
            half: i32
            if before - bar == cython.cast(i64, 1) << 2 * level:
                after_ucr = self._freed(level, node, self._row_at(level, place, plane), plane)
                pack = -before
                self._climb(level, place, plane, after_ucr - cost_ucr, after_ucr, cut, pack)
                return
            for half in range(2):
                child: i64 = 4 * place + 2 * half
                self._node[node + 1 + half] = self._cost_at(level - 1, child) + self._cost_at(level - 1, child + 1)
                self._node[node + 4 + half] = self._pack_at(level - 1, child) + self._pack_at(level - 1, child + 1)
            after_ucr = self._node[node] = self._node[node + 1] + self._node[node + 2]
            self._node[node + 3] = self._node[node + 4] + self._node[node + 5]
            pack = self._node[node + 3] - before
            self._refresh_row(level, place, plane)
        self._climb(level, place, plane, after_ucr - cost_ucr, after_ucr, cut, pack)

    @cython.cfunc
    def _freed(self, level: i32, node: i64, row: i64, plane: i32) -> i64:
        """A node becomes free of everything; its cost."""
        cost_ucr: i64 = self._reserve[plane] << 2 * level
        self._node[node] = cost_ucr
        self._node[node + 1] = self._node[node + 2] = cost_ucr >> 1
        self._node[node + 3] = self._node[node + 4] = self._node[node + 5] = 0
        self._rows[row] = 2 * level + 1
        self._rows[row + 1] = PERMILLE
        size: i32
        for size in range(2 * level + 1):
            self._rows[row + 2 + size] = _value(self._reserve[plane] << size)
        return cost_ucr

    @cython.cfunc
    def _cost_at(self, level: i32, place: i64) -> i64:
        if level == 0:
            return self._slot_cost(place)
        return self._node[(self._first_node[level] + place) * NODE]

    @cython.cfunc
    def _pack_at(self, level: i32, place: i64) -> i64:
        if level == 0:
            return self._slot_pack(place)
        return self._node[(self._first_node[level] + place) * NODE + 3]

    @cython.cfunc
    def _reprice_node(
        self,
        level: i32,
        place: i64,
        plane: i32,
        before_ucr: i64,
        after_ucr: i64,
        cut: i32,
    ) -> None:
        """The threshold of the lease that covers a node or slot has changed, from or to -1 for none."""
        pack: i64 = (BAR if after_ucr < 0 else 0) - (BAR if before_ucr < 0 else 0)
        cost_ucr: i64 = after_ucr if after_ucr > 0 else 0
        delta_ucr: i64 = cost_ucr - (before_ucr if before_ucr > 0 else 0)
        if level == 0:
            self._refresh_slot(place, self._slot_cost(place), self._slot_pack(place))
        else:
            node: i64 = (self._first_node[level] + place) * NODE
            self._node[node] = self._node[node + 1] = self._node[node + 2] = cost_ucr
            self._node[node + 3] += pack
            self._node[node + 4] += pack
            self._node[node + 5] += pack
            self._row_of_covered(level, place, node, plane)
        self._climb(level, place, plane, delta_ucr, 0, cut, pack)

    @cython.cfunc
    def _each_node(self, index: i32, what: i32, before_ucr: i64, after_ucr: i64) -> None:
        """Cover (0), uncover (1) or reprice (2) the nodes of a lease, in Morton order."""
        meta: i64 = self._lease[index * LEASE + 4]
        count: i64 = meta >> 24
        last: i64 = -1
        at: i64
        more: tuple = () if count <= 2 else self._more_blocks[index]
        for at in range(count):
            word: i64 = self._lease[index * LEASE + 5 + at] if at < 2 else more[at - 2]
            log2: i32 = word & 0xFF
            base: i64 = word >> 8
            half: i64
            for half in range(1 + (log2 & 1)):
                level: i32 = log2 >> 1
                place: i64 = (base >> 2 * level) + half
                start: i64 = place << 2 * level
                plane: i32 = self._class_at(level, place) - 1
                cut: i32 = NO_CUT if last < 0 else bit_length(start ^ last)
                last = start
                if what == 0:
                    self._cover(level, place, index, plane, cut)
                elif what == 1:
                    self._uncover(level, place, index, plane, cut)
                else:
                    self._reprice_node(level, place, plane, before_ucr, after_ucr, cut)

    @cython.cfunc
    def _change_sharers(self, slot: i64, index: i32, joins: cython.bint) -> None:
        """A lease takes a share of a slot, or gives it back."""
        cost_ucr: i64 = self._slot_cost(slot)
        pack: i64 = self._slot_pack(slot)
        if joins:
            self._sharers.setdefault(slot, []).append(index)
            self._owner[slot] = -1
        else:
            self._sharers[slot].remove(index)
            if not self._sharers[slot]:
                del self._sharers[slot]
                self._owner[slot] = 0
        self._refresh_shared(slot, cost_ucr, pack)

    @cython.cfunc
    def _refresh_shared(self, slot: i64, before_ucr: i64, pack: i64) -> None:
        cost_ucr: i64 = self._slot_cost(slot)
        after: i64 = self._slot_pack(slot)
        self._refresh_slot(slot, cost_ucr, after)
        delta_ucr: i64 = cost_ucr - before_ucr
        self._climb(0, slot, self._class_of(slot) - 1, delta_ucr, delta_ucr, NO_CUT, after - pack)

    @cython.cfunc
    def _seat_one(
        self,
        number: i64,
        word: i64,
        threshold_ucr: i64,
        cpu_milli: i64,
        mem_bytes: i64,
    ) -> None:
        """Seat a lease on one block of whole slots that is known to be free."""
        index: i32 = self._new_lease(number)
        at: i64 = index * LEASE
        self._lease[at + 1] = threshold_ucr
        self._lease[at + 2] = cpu_milli
        self._lease[at + 3] = mem_bytes
        self._lease[at + 4] = 1 << 24
        self._lease[at + 5] = word
        self._each_node(index, 0, 0, 0)
        if cpu_milli or mem_bytes:
            self._use(word, cpu_milli, mem_bytes)

    @cython.cfunc
    def _unseat(self, index: i32) -> None:
        at: i64 = index * LEASE
        share: i64 = self._lease[at + 4] & 0xFFFF
        if share:
            self._change_sharers(self._lease[at + 5] >> 8, index, False)
        else:
            self._each_node(index, 1, 0, 0)
        if self._lease[at + 2] or self._lease[at + 3]:
            for word in self._blocks_of(index):
                self._use(word, -self._lease[at + 2], -self._lease[at + 3])
        if self._promised and index in self._promised:
            for host, (mem_bytes, cpu_milli) in self._promised.pop(index).items():
                self._host[host * HOST + 6] -= cpu_milli
                self._host[host * HOST + 7] -= mem_bytes
        if self._lease[at + 4] >> 24 > 2:
            del self._more_blocks[index]
        self._drop_lease(index)

    @cython.cfunc
    def _blocks_of(self, index: i32) -> list:
        """The blocks of a lease as words, in Morton order."""
        count: i64 = self._lease[index * LEASE + 4] >> 24
        words = [self._lease[index * LEASE + 5 + at] for at in range(min(count, 2))]
        return words + list(self._more_blocks[index]) if count > 2 else words

    @cython.cfunc
    def _reprice(self, index: i32, threshold_ucr: i64) -> None:
        before_ucr: i64 = self._lease[index * LEASE + 1]
        if before_ucr == threshold_ucr:
            return
        if self._lease[index * LEASE + 4] & 0xFFFF:
            slot: i64 = self._lease[index * LEASE + 5] >> 8
            cost_ucr: i64 = self._slot_cost(slot)
            pack: i64 = self._slot_pack(slot)
            self._lease[index * LEASE + 1] = threshold_ucr
            self._refresh_shared(slot, cost_ucr, pack)
            return
        self._lease[index * LEASE + 1] = threshold_ucr
        self._each_node(index, 2, before_ucr, threshold_ucr)

    @cython.cfunc
    def _use(self, word: i64, cpu_milli: i64, mem_bytes: i64) -> None:
        """Promise every host of a block so much for each of its slots there; below 0, take it back."""
        slot: i64 = word >> 8
        end: i64 = slot + (1 << (word & 0xFF))
        while slot < end:
            host: i64 = self._host_at[slot] * HOST
            past: i64 = self._host[host + 1] + (1 << self._host[host + 2])
            past = min(past, end)
            self._host[host + 6] += (past - slot) * cpu_milli
            self._host[host + 7] += (past - slot) * mem_bytes
            slot = past

    # --- looking ----------------------------------------------------------------------------------------------------

    @cython.cfunc
    def _covering(self, base: i64, log2: i32) -> i32:
        """The lease that covers a node strictly above a block, or 0."""
        level: i32 = (log2 >> 1) + 1
        while level <= self.k:
            owner: i64 = self._node[(self._first_node[level] + (base >> 2 * level)) * NODE + 6]
            if owner:
                return owner
            level += 1
        return 0

    @cython.cfunc
    def _entry_at(self, level: i32, place: i64, plane: i32, entry: i32) -> i32:
        if level:
            return self._rows[self._row_at(level, place, plane) + entry]
        if entry > 2 or self._class_of(place) != plane + 1:
            return 0
        return self._slot[4 * place + entry]

    @cython.cfunc
    def _descend(
        self,
        level: i32,
        place: i64,
        plane: i32,
        size: i32,
        entry: i32,
        least: i32,
    ) -> i64:
        """Base of the first block of a size inside a node whose entry is at least `least`; there must be one.

        `entry` is 0 (free), 1 (share) or size + 2 (cost, at the node's best, unless a lease covers it).
        """
        child: i64
        while 2 * level > size:
            node: i64 = (self._first_node[level] + place) * NODE
            if 2 * level - 1 == size:
                first: cython.bint
                if entry == 0:
                    first = self._half_free(node, 0, plane)
                else:
                    first = self._half_value(node, 0, plane) >= least
                return (place << 2 * level) + (0 if first else 1 << size)
            if self._node[node + 6] and entry > 1:
                least = 1
            level -= 1
            place <<= 2
            if level == 0:
                for child in range(place, place + 3):
                    if self._class_of(child) == plane + 1 and self._slot[4 * child + entry] >= least:
                        return child
                return place + 3
            row: i64 = self._row_at(level, place, plane) + entry
            for child in range(place, place + 3):
                if self._rows[row] >= least:
                    break
                row += self._width[level]
            else:
                child = place + 3
            place = child
        return place << 2 * level

    @cython.cfunc
    def _cheapest(
        self,
        base: i64,
        log2: i32,
        size: i32,
        classes: i32,
        share: i32,
        leased: cython.bint,
    ) -> i64:
        """Base of the least (code, base) block, ignoring memory and cpu, or -1."""
        covering: i32 = self._covering(base, log2) if log2 < 2 * self.k else 0
        if covering and (share or not leased or self._lease[covering * LEASE + 1] < 0):
            return -1
        entry: i32 = 1 if share else size + 2 if leased else 0
        least: i32 = share if share else 1 if leased else size + 1
        found: i64 = -1
        found_value: i32 = 0
        level: i32 = log2 >> 1
        plane: i32
        half: i64
        value: i32
        at: i64
        for plane in range(8):
            if not (classes >> plane) & 1 or not self._planes[plane]:
                continue
            if log2 & 1 and size == log2:
                node: i64 = (self._first_node[level + 1] + (base >> (2 * level + 2))) * NODE
                half = (base >> (2 * level + 1)) & 1
                if leased:
                    value = self._half_value(node, half, plane)
                elif self._half_free(node, half, plane):
                    value = _value(self._node[node + 1 + half])
                else:
                    value = 0
                if value > 0 and covering:
                    value = _value(self._lease[covering * LEASE + 1])
                if value > found_value or (value == found_value and value and base < found):
                    found, found_value = base, value
                continue
            for half in range(1 + (log2 & 1)):
                place: i64 = (base >> 2 * level) + half
                value = self._entry_at(level, place, plane, entry)
                if value < least:
                    continue
                if share:
                    value = _value(_share_of(self._reserve[plane], share))
                elif not leased:
                    value = _value(self._reserve[plane] << size)
                elif covering:
                    value = _value(self._lease[covering * LEASE + 1])
                if value < found_value:
                    continue
                if value == found_value and (place << 2 * level) > found:
                    continue
                at = (
                    self._descend(
                        level,
                        place,
                        plane,
                        size,
                        entry,
                        self._entry_at(level, place, plane, entry) if entry > 1 else least,
                    )
                    if not covering
                    else self._descend(level, place, plane, size, entry, 1)
                )
                if value > found_value or at < found:
                    found, found_value = at, value
        return found

    @cython.cfunc
    def _measure(self, base: i64, size: i32) -> None:
        """Cost of a block as one, into `_found_cost`, and whether leases are in it, into `_found_taken`."""
        covering: i32 = self._covering(base, size)
        if covering:
            threshold: i64 = self._lease[covering * LEASE + 1]
            self._found_cost = threshold if threshold > 0 else 0
            self._found_taken = True
            return
        level: i32 = (size + 1) >> 1
        node: i64
        if size == 0:
            self._found_cost = self._slot_cost(base)
            self._found_taken = self._owner[base] != 0
            return
        node = (self._first_node[level] + (base >> 2 * level)) * NODE
        if size & 1:
            half: i64 = (base >> size) & 1
            self._found_cost = self._node[node + 1 + half]
            self._found_taken = self._node[node + 4 + half] & AVAILABLE != 0
        else:
            self._found_cost = self._node[node]
            self._found_taken = self._node[node + 3] & AVAILABLE != 0

    @cython.cfunc
    def _owners(self, base: i64, size: i32) -> list:
        """Indices of the leases that hold a slot of a block, in order of their numbers."""
        covering: i32 = self._covering(base, size)
        if covering:
            return [covering]
        found: set = set()
        level: i32 = size >> 1
        half: i64
        for half in range(1 + (size & 1)):
            self._gather(level, (base >> 2 * level) + half, found)
        return sorted(found, key=self._number_of) if len(found) > 1 else list(found)

    def _number_of(self, index: int) -> int:
        return self._lease[index * LEASE]

    @cython.cfunc
    def _gather(self, level: i32, place: i64, found: set) -> None:
        if level == 0:
            if self._owner[place] > 0:
                found.add(self._owner[place])
            elif self._owner[place] < 0:
                found.update(self._sharers[place])
            return
        node: i64 = (self._first_node[level] + place) * NODE
        if self._node[node + 6]:
            found.add(self._node[node + 6])
        elif self._node[node + 3] & AVAILABLE:
            child: i64
            for child in range(4 * place, 4 * place + 4):
                self._gather(level - 1, child, found)

    @cython.cfunc
    def _room(
        self,
        base: i64,
        size: i32,
        cpu_milli: i64,
        mem_bytes: i64,
        displaced: list,
    ) -> cython.bint:
        """Whether every host of a block can give so much for each slot, once the displaced have left."""
        slot: i64 = base
        end: i64 = base + (1 << size)
        while slot < end:
            index: i32 = self._host_at[slot]
            host: i64 = index * HOST
            past: i64 = self._host[host + 1] + (1 << self._host[host + 2])
            past = min(past, end)
            cpu: i64 = self._host[host + 6] + (past - slot) * cpu_milli
            mem: i64 = self._host[host + 7] + (past - slot) * mem_bytes
            for lease in displaced:
                held_mem, held_cpu = self._held(lease, index)
                mem -= held_mem
                cpu -= held_cpu
            if cpu_milli and cpu > self._host[host + 4]:
                return False
            if mem_bytes and mem >= self._host[host + 5]:
                return False
            slot = past
        return True

    @cython.cfunc
    def _held(self, lease: i32, index: i32) -> tuple:
        """Memory and cpu that a lease holds on a host."""
        first: i64 = self._host[index * HOST + 1]
        past: i64 = first + (1 << self._host[index * HOST + 2])
        inside: i64 = 0
        for word in self._blocks_of(lease):
            base: i64 = word >> 8
            end: i64 = base + (1 << (word & 0xFF))
            low: i64 = base if base > first else first
            high: i64 = end if end < past else past
            if high > low:
                inside += high - low
        mem_bytes: i64 = inside * self._lease[lease * LEASE + 3]
        cpu_milli: i64 = inside * self._lease[lease * LEASE + 2]
        if lease in self._promised:
            more_mem, more_cpu = self._promised[lease].get(index, (0, 0))
            mem_bytes += more_mem
            cpu_milli += more_cpu
        return mem_bytes, cpu_milli

    @cython.cfunc
    def _search(
        self,
        base: i64,
        log2: i32,
        size: i32,
        classes: i32,
        share: i32,
        leased: cython.bint,
        cpu_milli: i64,
        mem_bytes: i64,
    ) -> i64:
        """As `_cheapest`, for blocks whose hosts have the memory and cpu: the cheapest first, then best first."""
        found: i64 = self._cheapest(base, log2, size, classes, share, leased)
        if found < 0 or not (cpu_milli or mem_bytes):
            return found
        if self._room(found, size, cpu_milli, mem_bytes, [] if share else self._owners(found, size)):
            return found
        heap: list = [(-INFEASIBLE, base, log2)]
        while heap:
            value, at, level = heappop(heap)
            if level == size:
                if self._room(at, size, cpu_milli, mem_bytes, [] if share else self._owners(at, size)):
                    return at
                continue
            if not self._may_have(at, level, size, cpu_milli, mem_bytes, leased):
                continue
            below: i32 = level - 1 if level & 1 or level - 1 == size else level - 2
            part: i64
            for part in range(1 << (level - below)):
                start: i64 = at + (part << below)
                inside: i64 = self._cheapest(start, below, size, classes, share, leased)
                if inside >= 0:
                    heappush(heap, (-self._value_of(inside, size, share), start, below))
        return -1

    @cython.cfunc
    def _value_of(self, base: i64, size: i32, share: i32) -> i32:
        if share:
            return _value(_share_of(self._reserve[self._class_of(base) - 1], share))
        self._measure(base, size)
        return _value(self._found_cost)

    @cython.cfunc
    def _may_have(
        self,
        base: i64,
        log2: i32,
        size: i32,
        cpu_milli: i64,
        mem_bytes: i64,
        leased: cython.bint,
    ) -> cython.bint:
        """False where a run lies inside one host that has not enough for any such block, displaced leases or not."""
        index: i32 = self._host_at[base]
        if not index:
            return True
        host: i64 = index * HOST
        if log2 > self._host[host + 2]:
            return True
        slots: i64 = 1 << size
        cpu: i64 = 0 if leased else self._host[host + 6]
        mem: i64 = 0 if leased else self._host[host + 7]
        if cpu_milli and cpu + slots * cpu_milli > self._host[host + 4]:
            return False
        return not (mem_bytes and mem + slots * mem_bytes >= self._host[host + 5])

    # --- one call a command -----------------------------------------------------------------------------------------

    def price(self, size: i32, classes: i32 = 1, base: i64 = 0, log2: i32 = -1) -> i64:
        """See `Book.price`."""
        found: i64 = self._cheapest(base, 2 * self.k if log2 < 0 else log2, size, classes, 0, True)
        if found < 0:
            return -1
        self._measure(found, size)
        return self._found_cost

    def grant(
        self,
        number: i64,
        size: i32,
        limit_ucr: i64,
        threshold_ucr: i64,
        classes: i32 = 1,
        base: i64 = 0,
        log2: i32 = -1,
    ) -> i64:
        """See `Book.grant`."""
        found: i64 = self._cheapest(base, 2 * self.k if log2 < 0 else log2, size, classes, 0, True)
        if found < 0:
            return -1
        self._measure(found, size)
        if self._found_taken or self._found_cost > limit_ucr:
            return -1
        self._seat_one(number, found << 8 | size, threshold_ucr, 0, 0)
        return found

    def release(self, number: i64) -> cython.bint:
        """See `Book.release`."""
        index: i32 = self._index_of(number)
        if index:
            self._unseat(index)
        return index != 0

    def run(self, commands: Any) -> Any:
        """See `Book.run`."""
        count: i64 = len(commands)
        words: cython.longlong[::1]
        results: cython.longlong[::1]
        if cython.compiled:
            words = commands.view(np.int64)
            results = np.empty(count * RESULT_WORDS, dtype=np.int64)
        else:
            results = array("q", bytes(8 * count * RESULT_WORDS))
            words = array("q", commands.tobytes())
        row: i64
        for row in range(count):
            if cython.compiled and row + 6 < count:
                self._expect(words, (row + 6) * COMMAND_WORDS, 0)
                self._expect(words, (row + 4) * COMMAND_WORDS, 1)
                self._expect(words, (row + 2) * COMMAND_WORDS, 2)
            self._carry_out(words, row * COMMAND_WORDS, results, row * RESULT_WORDS)
        return np.frombuffer(results, dtype=np.int64)

    @cython.cfunc
    def _expect(self, words: cython.longlong[::1], at: i64, stage: i32) -> None:
        """Ask early for the memory that a later command will touch: hints, which may miss."""
        if not cython.compiled or (words[at] != OP_RELEASE and words[at] != OP_REPRICE):
            return
        place: i64 = self._hashed(words[at + 1])
        if stage == 0:
            prefetch(cython.address(self._table[place & self._table_mask]))
            return
        index: i64 = self._table[place & self._table_mask] & AVAILABLE
        if stage == 1:
            prefetch(cython.address(self._lease[index * LEASE]))
            return
        word: i64 = self._lease[index * LEASE + 5]
        level: i32 = (word & 0xFF) >> 1
        place = word >> 8 >> 2 * level
        if level == 0:
            prefetch(cython.address(self._owner[place]))
            prefetch(cython.address(self._slot[4 * place]))
        plane: i32 = 0
        while level < 5 and level < self.k:
            if level:
                prefetch(cython.address(self._node[(self._first_node[level] + place) * NODE]))
                prefetch(cython.address(self._rows[self._row_at(level, place, plane)]))
            place >>= 2
            level += 1

    @cython.cfunc
    def _carry_out(
        self,
        words: cython.longlong[::1],
        at: i64,
        results: cython.longlong[::1],
        to: i64,
    ) -> None:
        op: i64 = words[at]
        number: i64 = words[at + 1]
        results[to] = results[to + 1] = results[to + 2] = results[to + 3] = 0
        index: i32
        if op == OP_RELEASE or op == OP_REPRICE:
            index = self._index_of(number)
            if index == 0:
                results[to] = UNKNOWN
            elif op == OP_RELEASE:
                self._unseat(index)
            else:
                self._reprice(index, words[at + 6])
            return
        base: i64 = words[at + 2] >> 8
        log2: i32 = words[at + 2] & 0xFF
        if op == OP_CORDON:
            self._set_flag(base, 1, words[at + 3] != 0)
            return
        size: i32 = words[at + 3]
        leased: cython.bint = words[at + 7] != 0
        found: i64 = self._search(base, log2, size, words[at + 4], 0, leased, words[at + 8], words[at + 9])
        results[to + 1] = found << 8 | size
        if found < 0:
            results[to] = NO_FIT
            results[to + 1] = -1
            return
        self._measure(found, size)
        results[to + 2] = self._found_cost
        if op == OP_QUOTE:
            return
        if self._found_cost > words[at + 5]:
            results[to] = PRICE
            return
        if self._found_taken:
            if words[at + 7] < 2:
                results[to] = TAKEN
                return
            gone: list = self._owners(found, size)
            results[to + 3] = len(gone)
            for lease in gone:
                self._unseat(lease)
        self._seat_one(number, found << 8 | size, words[at + 6], words[at + 8], words[at + 9])

    @cython.cfunc
    def _set_flag(self, slot: i64, flag: i32, on: cython.bint) -> None:
        """Withhold a slot for a reason, or no longer."""
        before: i64 = self._slot_pack(slot)
        if flag == 1 and on:
            self._cordons.add(slot)
        elif flag == 1:
            self._cordons.discard(slot)
        if on:
            self._slot[4 * slot + 3] |= flag << 8
        else:
            self._slot[4 * slot + 3] &= ~(flag << 8)
        after: i64 = self._slot_pack(slot)
        self._refresh_slot(slot, self._slot_cost(slot), after)
        self._climb(0, slot, self._class_of(slot) - 1, 0, 0, NO_CUT, after - before)

    # --- hosts and reserves -----------------------------------------------------------------------------------------

    @cython.cfunc
    def _set_present(self, slot: i64, plane: i32, on: cython.bint) -> None:
        """A slot of a class comes into the zone, or leaves it; nobody may hold it."""
        self._planes[plane] = 1
        change: i64 = self._slot_pack(slot)
        delta_ucr: i64 = self._reserve[plane] if on else -self._reserve[plane]
        self._slot[4 * slot + 3] = plane + 1 if on else 0
        after: i64 = self._slot_pack(slot)
        self._refresh_slot(slot, self._slot_cost(slot), after)
        self._classify(slot)
        self._climb(0, slot, plane, delta_ucr, delta_ucr, NO_CUT, after - change)

    @cython.cfunc
    def _classify(self, slot: i64) -> None:
        """The classes of the nodes above a slot."""
        level: i32
        for level in range(1, self.k + 1):
            place: i64 = slot >> 2 * level
            low: i64 = self._class_at(level - 1, 4 * place)
            if self._class_at(level - 1, 4 * place + 1) != low:
                low = 0
            high: i64 = self._class_at(level - 1, 4 * place + 2)
            if self._class_at(level - 1, 4 * place + 3) != high:
                high = 0
            whole: i64 = low if low == high else 0
            self._node[(self._first_node[level] + place) * NODE + 7] = whole | low << 8 | high << 16

    @cython.cfunc
    def _class_at(self, level: i32, place: i64) -> i64:
        if level == 0:
            return self._class_of(place)
        return self._node[(self._first_node[level] + place) * NODE + 7] & 0xFF

    @cython.cfunc
    def _change_reserve(self, plane: i32, reserve_ucr: i64) -> None:
        """A new reserve for a class: every free part of its slots costs another amount, and so does all above them."""
        slots: i64 = cython.cast(i64, 1) << 2 * self.k
        deltas: cython.longlong[::1] = _zeros("q", slots)
        place: i64
        before_ucr: i64 = self._reserve[plane]
        old_ucr: i64
        for place in range(slots):
            if self._class_of(place) != plane + 1:
                continue
            if self._owner[place] < 0:
                self._reserve[plane] = before_ucr
                old_ucr = self._slot_cost(place)
                self._reserve[plane] = reserve_ucr
                deltas[place] = self._slot_cost(place) - old_ucr
            elif self._owner[place] == 0:
                deltas[place] = reserve_ucr - before_ucr
        self._reserve[plane] = reserve_ucr
        for place in range(slots):
            if self._class_of(place) == plane + 1:
                self._refresh_slot(place, self._slot_cost(place), self._slot_pack(place))
        level: i32
        for level in range(1, self.k + 1):
            for place in range(slots >> 2 * level):
                node: i64 = (self._first_node[level] + place) * NODE
                low_ucr: i64 = deltas[4 * place] + deltas[4 * place + 1]
                high_ucr: i64 = deltas[4 * place + 2] + deltas[4 * place + 3]
                deltas[place] = 0
                if not self._node[node + 6]:
                    self._node[node + 1] += low_ucr
                    self._node[node + 2] += high_ucr
                    self._node[node] += low_ucr + high_ucr
                    deltas[place] = low_ucr + high_ucr
                self._refresh_row(level, place, plane)

    # --- what the face of the book asks -----------------------------------------------------------------------------

    def cheapest(
        self,
        base: i64,
        log2: i32,
        size: i32,
        classes: i32,
        share: i32,
        leased: cython.bint,
        cpu_milli: i64,
        mem_bytes: i64,
    ) -> tuple[int, int, int, tuple[int, ...], int] | None:
        """(code, base, cost, displaced leases, what they cost) of the least feasible block."""
        found: i64 = self._search(base, log2, size, classes, share, leased, cpu_milli, mem_bytes)
        if found < 0:
            return None
        if share:
            share_ucr: i64 = _share_of(self._reserve[self._class_of(found) - 1], share)
            return INFEASIBLE - _value(share_ucr), found, share_ucr, (), 0
        self._measure(found, size)
        cost_ucr: i64 = self._found_cost
        if not self._found_taken:
            return INFEASIBLE - _value(cost_ucr), found, cost_ucr, (), 0
        displaced_ucr: i64 = 0
        numbers = []
        for lease in self._owners(found, size):
            index: i32 = lease
            numbers.append(self._lease[index * LEASE])
            displaced_ucr += self._lease[index * LEASE + 1]
        return INFEASIBLE - _value(cost_ucr), found, cost_ucr, tuple(numbers), displaced_ucr

    def take(
        self,
        number: i64,
        blocks: tuple[int, ...],
        share: i32,
        cpu_milli: i64,
        mem_bytes: i64,
        threshold_ucr: i64,
    ) -> None:
        """Seat a lease on blocks (base << 8 | log2, in Morton order) that are free."""
        assert not self._index_of(number), f"lease {number} is seated"
        for word in blocks:
            assert self._is_free(word >> 8, word & 0xFF, share), f"{word >> 8} + 2^{word & 0xFF} is not free"
        index: i32 = self._new_lease(number)
        at: i64 = index * LEASE
        self._lease[at + 1] = threshold_ucr
        self._lease[at + 2] = cpu_milli
        self._lease[at + 3] = mem_bytes
        self._lease[at + 4] = cython.cast(i64, len(blocks)) << 24 | share
        for place, word in enumerate(blocks[:2]):
            self._lease[at + 5 + place] = word
        if len(blocks) > 2:
            self._more_blocks[index] = blocks[2:]
        if share:
            self._change_sharers(blocks[0] >> 8, index, True)
        else:
            self._each_node(index, 0, 0, 0)
        if cpu_milli or mem_bytes:
            for word in blocks:
                self._use(word, cpu_milli, mem_bytes)

    @cython.cfunc
    def _is_free(self, base: i64, log2: i32, share: i32) -> cython.bint:
        if self._covering(base, log2):
            return False
        slot: i64
        if share:
            return self.free_permille(base) >= share
        for slot in range(base, base + (1 << log2)):
            if self._owner[slot] or not self._class_of(slot):
                return False
        return not self._owners(base, log2)

    def lease(self, number: i64) -> tuple[int, int, int, int, tuple[int, ...]]:
        """(threshold or -1, cpu, memory, share, blocks) of a lease."""
        at: i64 = self._known(number) * LEASE
        share: i64 = self._lease[at + 4] & 0xFFFF
        words = tuple(self._blocks_of(at // LEASE))
        return self._lease[at + 1], self._lease[at + 2], self._lease[at + 3], share, words

    @cython.cfunc
    @cython.exceptval(0)
    def _known(self, number: i64) -> i32:
        index: i32 = self._index_of(number)
        assert index, f"no lease {number}"
        return index

    def leases(self) -> list[int]:
        """Numbers of all leases, in order."""
        return sorted(self._lease[(entry & AVAILABLE) * LEASE] for entry in self._table if entry)

    def reprice(self, number: i64, threshold_ucr: i64) -> None:
        """Another threshold, -1 for none."""
        self._reprice(self._known(number), threshold_ucr)

    def promised(self, number: i64) -> dict[int, tuple[int, int]]:
        """What a lease was promised beyond its seat, by host."""
        return {self._host[host * HOST]: more for host, more in self._promised.get(self._known(number), {}).items()}

    def promise(self, lease: i64, host: i64, mem_bytes: i64, cpu_milli: i64 = 0) -> None:
        """See `Book.promise`."""
        index: i32 = self._host_index[host]
        held = self._promised.setdefault(self._known(lease), {})
        mem_before, cpu_before = held.get(index, (0, 0))
        held[index] = (mem_before + mem_bytes, cpu_before + cpu_milli)
        self._host[index * HOST + 6] += cpu_milli
        self._host[index * HOST + 7] += mem_bytes

    def held_on(self, lease: i64, host: i64) -> tuple[int, int]:
        """See `Book.held_on`."""
        held: tuple[int, int] = self._held(self._known(lease), self._host_index[host])
        return held

    def owners(self, base: i64, log2: i32) -> tuple[int, ...]:
        """Numbers of the leases that hold a slot of a run."""
        return tuple([self._lease[index * LEASE] for index in self._owners(base, log2)])

    def unavailable(self, base: i64, log2: i32) -> int:
        """Slots of a run that are absent, withheld or held."""
        if self._covering(base, log2):
            return 1 << log2
        level: i32 = log2 >> 1
        total: i64 = 0
        half: i64
        for half in range(1 + (log2 & 1)):
            total += self._pack_at(level, (base >> 2 * level) + half) & AVAILABLE
        return total

    def free_runs(self, base: i64, log2: i32) -> list[int]:
        """The slots of a run that are there and that nobody holds, as maximal aligned runs (base << 8 | log2)."""
        runs: list[int] = []
        if not self._covering(base, log2):
            self._gather_free(base, log2, runs)
        return runs

    @cython.cfunc
    def _gather_free(self, base: i64, log2: i32, runs: list) -> cython.bint:
        """Append the free runs of a run; whether that is the run itself."""
        level: i32 = log2 >> 1
        if log2 == 0:
            if self._owner[base] or not self._class_of(base):
                return False
            runs.append(base << 8)
            return True
        if not log2 & 1:
            node: i64 = (self._first_node[level] + (base >> log2)) * NODE
            if self._node[node + 6]:
                return False
            if self._node[node + 3] == 0:
                runs.append(base << 8 | log2)
                return True
        below: cython.Py_ssize_t = len(runs)
        left: cython.bint = self._gather_free(base, log2 - 1, runs)
        right: cython.bint = self._gather_free(base + (1 << (log2 - 1)), log2 - 1, runs)
        if not (left and right):
            return False
        del runs[below:]
        runs.append(base << 8 | log2)
        return True

    def threshold(self, number: i64) -> int:
        """Threshold of a lease, -1 for none."""
        return self._lease[self._known(number) * LEASE + 1]

    def is_leased(self, base: i64, log2: i32) -> bool:
        """Whether any slot of a run is held."""
        if self._covering(base, log2):
            return True
        level: i32 = log2 >> 1
        half: i64
        for half in range(1 + (log2 & 1)):
            if self._any_held(level, (base >> 2 * level) + half):
                return True
        return False

    @cython.cfunc
    def _any_held(self, level: i32, place: i64) -> cython.bint:
        if level == 0:
            return self._owner[place] != 0
        node: i64 = (self._first_node[level] + place) * NODE
        if self._node[node + 6]:
            return True
        if self._node[node + 3] & AVAILABLE == 0 or (self._node[node + 7] & 0xFF == 0 and self._is_empty(node, level)):
            return False
        child: i64
        for child in range(4 * place, 4 * place + 4):
            if self._any_held(level - 1, child):
                return True
        return False

    @cython.cfunc
    def _is_empty(self, node: i64, level: i32) -> cython.bint:
        """Whether no slot of a node is there: as many bars as slots, and no cost."""
        return self._node[node + 3] == (BAR + 1) << 2 * level and self._node[node] == 0

    def largest_free(self, base: i64, log2: i32, plane: i32) -> list[int]:
        """By size, how many maximal aligned free blocks of a class a run has."""
        counts = [0] * (log2 + 1)
        if not self._covering(base, log2):
            level: i32 = log2 >> 1
            if log2 & 1 and self._run_free(base, log2, plane):
                counts[log2] = 1
                return counts
            half: i64
            for half in range(1 + (log2 & 1)):
                self._count_free(level, (base >> 2 * level) + half, plane, counts)
        return counts

    @cython.cfunc
    def _run_free(self, base: i64, log2: i32, plane: i32) -> cython.bint:
        """Whether an odd-sized run is free as one block."""
        level: i32 = (log2 + 1) >> 1
        node: i64 = (self._first_node[level] + (base >> 2 * level)) * NODE
        return self._half_free(node, (base >> log2) & 1, plane)

    @cython.cfunc
    def _count_free(self, level: i32, place: i64, plane: i32, counts: list) -> None:
        free: i32 = self._entry_at(level, place, plane, 0)
        if free == 0:
            return
        if free == 2 * level + 1:
            counts[2 * level] += 1
            return
        node: i64 = (self._first_node[level] + place) * NODE
        half: i64
        for half in range(2):
            if self._half_free(node, half, plane):
                counts[2 * level - 1] += 1
            else:
                self._count_free(level - 1, 4 * place + 2 * half, plane, counts)
                self._count_free(level - 1, 4 * place + 2 * half + 1, plane, counts)

    def slot_class(self, slot: i64) -> int:
        """Class of a slot, -1 where there is none."""
        return self._class_of(slot) - 1

    def flags(self, slot: i64) -> int:
        """CORDONED and DRAINED."""
        return self._slot[4 * slot + 3] >> 8

    def cordons(self) -> list[int]:
        """Cordoned slots, in order."""
        return sorted(self._cordons)

    def free_permille(self, slot: i64) -> int:
        """The part of a present slot that nobody holds."""
        if self._owner[slot] > 0 or self._covering(slot, 0):
            return 0
        if self._owner[slot] == 0:
            return PERMILLE
        return PERMILLE - sum([self._lease[index * LEASE + 4] & 0xFFFF for index in self._sharers[slot]])

    def host_at(self, slot: i64) -> int:
        """Number of the host that a run with this slot was given to, or 0."""
        index: i32 = self._host_at[slot]
        return self._host[index * HOST] if index else 0

    def set_flag(self, slot: i64, flag: i32, on: cython.bint) -> None:
        """Withhold a present slot for a reason, or no longer."""
        self._set_flag(slot, flag, on)

    def set_class_reserve(self, plane: i32, reserve_ucr: i64) -> None:
        """Another reserve for a class."""
        if self._reserve[plane] != reserve_ucr:
            self._change_reserve(plane, reserve_ucr)

    def class_reserve(self, plane: i32) -> int:
        """Reserve of a class."""
        return self._reserve[plane]

    def add(
        self,
        number: i64,
        base: i64,
        log2: i32,
        plane: i32,
        cpu_milli: i64,
        mem_max_bytes: i64,
        absent: i64,
    ) -> None:
        """A host with its run of slots."""
        index: i32
        if self._free_host:
            index = self._free_host.pop()
        else:
            index = self._host_top
            self._host_top += 1
            if (index + 1) * HOST > len(self._host):
                self._host = _doubled("q", self._host)
        self._host_index[number] = index
        for place, word in enumerate((number, base, log2, plane, cpu_milli, mem_max_bytes, 0, 0)):
            self._host[index * HOST + place] = word
        at: i64
        for at in range(1 << log2):
            self._host_at[base + at] = index
            if (absent < 0 and at < -absent) or (absent >= 0 and (at >= 63 or not (absent >> at) & 1)):
                self._set_present(base + at, plane, True)

    def remove(self, number: i64) -> None:
        """Take a host out; its slots must be unheld and not withheld."""
        index: i32 = self._host_index.pop(number)
        base: i64 = self._host[index * HOST + 1]
        at: i64
        for at in range(1 << self._host[index * HOST + 2]):
            self._host_at[base + at] = 0
            if self._class_of((base + at)):
                self._set_present(base + at, self._host[index * HOST + 3], False)
        self._free_host.append(index)

    def promised_of(self, number: i64) -> tuple[int, int]:
        """Cpu and memory that a host has promised."""
        index: i32 = self._host_index[number]
        return self._host[index * HOST + 6], self._host[index * HOST + 7]

    def image(self) -> tuple[list[int], list[int], list[int]]:
        """All that is derived, with leases by number: for comparing with a tree that was built another way."""
        nodes = list(self._node)
        for at in range(6, len(nodes), NODE):
            nodes[at] = self._lease[nodes[at] * LEASE] if nodes[at] else 0
        return nodes, list(self._slot), list(self._rows)


def _doubled(kind: str, old: Any) -> Any:
    """Twice the room, the old contents first."""
    new = _zeros(kind, 2 * len(old))
    new[: len(old)] = np.asarray(old) if cython.compiled else old
    return new
