"""Exact winners and Vickrey-Clarke-Groves payments for blocks whose sizes are powers of two (DESIGN 6, rule 1).

Blocks of 2^j slots of one kind, anywhere in a region without leases: all that binds is how many fit. From the smallest
size up, the free blocks of just that size take the best bids (which winner sits in which changes no sum), and what is
left is bundled in twos, best first, as bids of the next size: 2m of them are best used as the best 2m.
So the greatest total of a set of n bids is found in O(n) once each size is sorted.

The critical value of a bid of size s is W(others, all blocks) - W(others, one block of size s less): what its block is
worth to the others. It wins if it is above that, and that is what it pays above the reserve, whatever it said.

Python that Cython compiles, as `zone_ledger.book.quadtree`.
"""

from array import array
from typing import NamedTuple

import cython

if not cython.compiled:
    i64 = i32 = int


class Cleared(NamedTuple):
    """What became of bids, by their places.

    Attributes:
        wins: Whether a bid gets a block.
        critical: What a bid must exceed, net of the reserve: what it pays if it wins.
    """

    wins: list[bool]
    critical: list[int]


def clear(sizes: list[int], values: list[int], free: list[int], *, earlier_first: bool = True) -> Cleared:
    """Winners and critical values.

    Args:
        sizes: log2 of the slots of each bid; of one size and equal value the earlier bid goes first.
        values: What each offers above the reserve of its slots; at 0 or below it cannot win.
        free: By j, how many maximal free blocks of 2^j slots there are; at least as long as the greatest size + 1.
        earlier_first: So it does among bids of different sizes; else the smaller goes first (rule set 1).
    """
    levels = len(free)
    ranked = [
        sorted((at for at in range(len(sizes)) if sizes[at] == j), key=lambda at: -values[at]) for j in range(levels)
    ]
    flat = [at for level in ranked for at in level if values[at] > 0]
    starts = [0]
    for level in ranked:
        starts.append(starts[-1] + sum(1 for at in level if values[at] > 0))
    work = _Work(array("q", [values[at] for at in flat]), array("q", starts), array("q", free))
    wins = [False] * len(sizes)
    ties = flat if earlier_first else list(range(len(flat)))
    for place in _winners([values[at] for at in flat], ties, starts, free):
        wins[flat[place]] = True
    critical = [0] * len(sizes)
    for j, level in enumerate(ranked):
        fewer = work.without_block(j)
        if fewer is None:
            continue
        base, less = array("q", free), array("q", fewer)
        outside = work.total(-1, base) - work.total(-1, less)
        for at in level:
            if values[at] <= 0:
                critical[at] = outside
        for place in range(starts[j], starts[j + 1]):
            critical[flat[place]] = work.total(place, base) - work.total(place, less)
    return Cleared(wins, critical)


def _winners(values: list[int], ties: list[int], starts: list[int], free: list[int]) -> list[int]:
    """Places of the bids in the best set; bundles are kept as pairs."""
    chosen: list[int] = []
    bundles: list[tuple[int, int, list[int]]] = []
    for j, count in enumerate(free):
        own = [(-values[place], ties[place], [place]) for place in range(starts[j], starts[j + 1])]
        items = sorted(own + bundles)
        for _, _, places in items[:count]:
            chosen.extend(places)
        rest = items[count:]
        bundles = []
        for at in range(0, len(rest), 2):
            pair = rest[at : at + 2]
            bundles.append((sum(item[0] for item in pair), pair[0][1], [place for item in pair for place in item[2]]))
    return chosen


@cython.final
@cython.cclass
class _Work:
    """The sorted bids of one group, and room to bundle them in."""

    _values: cython.longlong[::1]
    _starts: cython.longlong[::1]
    _free: cython.longlong[::1]
    _left: cython.longlong[::1]
    _items: cython.longlong[::1]

    def __init__(self, values: array, starts: array, free: array) -> None:
        self._values = values if len(values) else array("q", [0])
        self._starts = starts
        self._free = free
        room = len(values) + 2
        self._left = array("q", bytes(8 * room))
        self._items = array("q", bytes(8 * room))

    def without_block(self, size: i32) -> list[int] | None:
        """The free blocks when one of a size is taken from the smallest that has room; None if none has."""
        free = list(self._free)
        for j in range(size, len(free)):
            if free[j]:
                free[j] -= 1
                for split in range(size, j):
                    free[split] += 1
                return free
        return None

    @cython.boundscheck(False)
    @cython.wraparound(False)
    def total(self, without: i64, free: cython.longlong[::1]) -> i64:
        """The greatest total of all bids but one (-1: of all)."""
        total: i64 = 0
        bundles: i64 = 0
        level: i64
        at: i64
        for level in range(len(free)):
            own: i64 = self._starts[level]
            end: i64 = self._starts[level + 1]
            count: i64 = 0
            at = 0
            while own < end or at < bundles:
                if own < end and own == without:
                    own += 1
                elif at >= bundles or (own < end and self._values[own] >= self._left[at]):
                    self._items[count] = self._values[own]
                    own += 1
                    count += 1
                else:
                    self._items[count] = self._left[at]
                    at += 1
                    count += 1
            taken: i64 = free[level] if free[level] < count else count
            for at in range(taken):
                total += self._items[at]
            bundles = 0
            at = taken
            while at < count:
                self._left[bundles] = self._items[at] + (self._items[at + 1] if at + 1 < count else 0)
                bundles += 1
                at += 2
        return total
