"""What a bidder gains by not bidding its value, under second and first prices, and where that leads everyone.

Bidders want one block each and value its slots at more than the reserve. A bid is reserve + s (value - reserve); s = 1
is the truth. Winners are found by the ledger's own rules; what differs is what they pay. Bidders of each size answer
best to what all do now, over and over (best-response dynamics), on a grid of s.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tegcore import rng
from tegcore.wire.records import OrderFlag, Region, Shape, Traits
from zone_ledger.book.base import HostShape, Seat
from zone_ledger.book.fast import FastBook
from zone_ledger.bundling import clear
from zone_ledger.clearing import Won, clear_auction
from zone_ledger.leases import Order, OrderKey
from zone_ledger.placement import Scales, reservation_number
from zone_ledger.rules import LATEST, rule_set

Floats = NDArray[np.float64]

RESERVE_UCR = 15_167
VALUE_SPAN = 3.0
"""Values lie evenly between one and four reserves."""

GRID = tuple(round(0.5 + 0.025 * step, 3) for step in range(25))
"""Factors s that are tried: 0.5 to 1.1."""

ZONE_LOG2 = 6


class Bids(NamedTuple):
    """One auction: log2 of slots and value above the reserve, ucr for the whole block, a bidder each."""

    sizes: list[int]
    worth: list[int]


Paid = Callable[[Bids, Sequence[int]], list[int | None]]
"""What each pays above the reserve for these bids (above the reserve, whole block); None for who loses."""


def drawn(sizes: Sequence[int], bidders: int, number: int, seed: int) -> Bids:
    """Bidders of sizes drawn evenly; the first one's goes round all sizes, so that each is looked at as often."""
    nodes = np.arange(bidders)
    picks = (len(sizes) * rng.uniform(seed, "size", number, nodes)).astype(int)
    picks[0] = number % len(sizes)
    per_slot = VALUE_SPAN * RESERVE_UCR * rng.uniform(seed, "value", number, nodes)
    chosen = [sizes[pick] for pick in picks.tolist()]
    return Bids(chosen, [max(1, int(value)) << size for value, size in zip(per_slot.tolist(), chosen, strict=True)])


def second_price(free: Sequence[int]) -> Paid:
    """Rule 1 of the ledger on a region without leases, with these free blocks by size."""

    def paid(bids: Bids, offers: Sequence[int]) -> list[int | None]:
        cleared = clear(bids.sizes, list(offers), list(free))
        return [price if wins else None for wins, price in zip(cleared.wins, cleared.critical, strict=True)]

    return paid


def first_price(free: Sequence[int]) -> Paid:
    """The same winners, who pay what they bid."""

    def paid(bids: Bids, offers: Sequence[int]) -> list[int | None]:
        wins = clear(bids.sizes, list(offers), list(free)).wins
        return [offer if won else None for won, offer in zip(wins, offers, strict=True)]

    return paid


class Leased:
    """Rule 2 of the ledger: a zone of 64 slots, half of it held by leases of one and four slots.

    Args:
        seed: Of their thresholds.
    """

    def __init__(self, seed: int) -> None:
        self._book, self._thresholds = FastBook(ZONE_LOG2 // 2), dict[int, int]()
        self._book.set_reserve(0, RESERVE_UCR)
        self._book.add_host(1, HostShape(Region(0, ZONE_LOG2), 0, 64_000, 64 << 30))
        blocks = [Region(slot, 0) for slot in range(0, 16, 1)] + [Region(base, 2) for base in range(16, 32, 4)]
        draws = rng.uniform(seed, "threshold", 0, np.arange(len(blocks)))
        for number, (block, draw) in enumerate(zip(blocks, draws.tolist(), strict=True), 1):
            threshold_ucr = int(RESERVE_UCR * (1 + VALUE_SPAN * draw)) << block.log2
            self._book.seat(number, Seat((block,), 0, 0, 0, threshold_ucr))
            self._thresholds[number] = threshold_ucr

    def __call__(self, bids: Bids, offers: Sequence[int]) -> list[int | None]:
        """See `Paid`; the book is left as it was."""
        found: list[int | None] = [None] * len(offers)
        orders = [self._order(at, bids.sizes[at], offer) for at, offer in enumerate(offers)]
        for result in clear_auction(self._book, orders, Scales(0, 0), rule_set(LATEST)):
            if isinstance(result, Won):
                at = result.order.ref
                found[at] = result.price_ucr * result.order.shape.slots - (RESERVE_UCR << bids.sizes[at])
                for part in range(len(result.placement.blocks)):
                    self._book.unseat(reservation_number(result.order.serial, part))
        for number, threshold_ucr in self._thresholds.items():
            self._book.set_threshold(number, threshold_ucr)
        return found

    @staticmethod
    def _order(at: int, size: int, offer: int) -> Order:
        limit_ucr = RESERVE_UCR + (offer >> size)
        region, shape = Region(0, ZONE_LOG2), Shape((size,))
        return Order(OrderKey(1, 1, at), at, 1, region, shape, 0, 0, limit_ucr, 0, Traits(OrderFlag.NAMED), 1, at + 1)


class Crowd(NamedTuple):
    """Who bids: sizes that there are, how many bidders, how many auctions are looked at."""

    sizes: tuple[int, ...]
    bidders: int
    auctions: int


def gains(paid: Paid, crowd: Crowd, factors: dict[int, float], seed: int) -> dict[int, Floats]:
    """Mean gain of the first bidder, by its size, for each factor of the grid, while all others use theirs.

    Returns:
        By size, shape (len(GRID),), in ucr per slot and auction.
    """
    sums = {size: np.zeros(len(GRID)) for size in crowd.sizes}
    for number in range(crowd.auctions):
        bids = drawn(crowd.sizes, crowd.bidders, number, seed)
        offers = [int(factors[size] * worth) for size, worth in zip(bids.sizes, bids.worth, strict=True)]
        size, worth = bids.sizes[0], bids.worth[0]
        for at, factor in enumerate(GRID):
            price = paid(bids, [int(factor * worth), *offers[1:]])[0]
            sums[size][at] += 0 if price is None else (worth - price) >> size
    return {size: total * len(crowd.sizes) / crowd.auctions for size, total in sums.items()}


def equilibrium(paid: Paid, crowd: Crowd, rounds: int, seed: int) -> dict[int, float]:
    """Where best responses lead from the truth: factors by size, the mean of the last half of the rounds."""
    factors = dict.fromkeys(crowd.sizes, 1.0)
    seen = []
    for again in range(rounds):
        found = gains(paid, crowd, factors, 1000 * seed + again)
        best = {size: _best(gain) for size, gain in found.items()}
        factors = {size: (factors[size] + best[size]) / 2 for size in crowd.sizes}
        seen.append(factors)
    last = seen[len(seen) // 2 :]
    return {size: sum(each[size] for each in last) / len(last) for size in crowd.sizes}


def _best(gain: Floats) -> float:
    """The best factor; of several that are equally good, the one nearest to the truth."""
    top = np.flatnonzero(gain >= gain.max() * (1 - 1e-9))
    return float(min((GRID[at] for at in top.tolist()), key=lambda factor: abs(factor - 1.0)))


def welfare(paid: Paid, crowd: Crowd, factors: dict[int, float], seed: int) -> float:
    """What winners' blocks are worth to them, over the same where all bid the truth (rule 1: the optimum)."""
    reached = best = 0
    for number in range(crowd.auctions):
        bids = drawn(crowd.sizes, crowd.bidders, number, seed)
        offers = [int(factors[size] * worth) for size, worth in zip(bids.sizes, bids.worth, strict=True)]
        reached += _worth(paid(bids, offers), bids)
        best += _worth(paid(bids, bids.worth), bids)
    return reached / best


def _worth(prices: Sequence[int | None], bids: Bids) -> int:
    return sum(worth for price, worth in zip(prices, bids.worth, strict=True) if price is not None)
