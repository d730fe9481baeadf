"""How long does the auction of one tick take on a million slots, and what do its two rules cost?

Part of `make bench-ledger`; alone: python -m bench.auction
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy as np

from bench.report import write
from tegcore.wire.records import OrderFlag, Region, Shape, Traits
from zone_ledger.book.base import Book, HostShape, Seat
from zone_ledger.book.fast import FastBook
from zone_ledger.clearing import Result, Waits, Withheld, Won, clear_auction
from zone_ledger.leases import Order, OrderKey
from zone_ledger.placement import Scales, Trial, reservation_number
from zone_ledger.rules import LATEST, rule_set

ZONE_K = 10
RESERVE_UCR = 100_000
ROUNDS = 7
NO_SCALES = Scales(0, 0)
RULES = rule_set(LATEST)


def zone(zone_k: int, leased: float, seed: int = 1) -> tuple[Book, dict[int, tuple[Region, int]]]:
    """A zone of 8-slot hosts, a share of whose Block-64s is held by leases of 1 to 64 slots each."""
    book, rng, seats = FastBook(zone_k), np.random.default_rng(seed), {}
    book.set_reserve(0, RESERVE_UCR)
    for host in range(4**zone_k // 8):
        book.add_host(host + 1, HostShape(Region(host * 8, 3), 0, 64_000, 2 << 40))
    number = 0
    for block in range(4**zone_k // 64):
        if rng.random() >= leased:
            continue
        size = int(rng.integers(0, 4)) * 2
        for part in range(64 >> size):
            number += 1
            threshold_ucr = int(rng.integers(150_000, 400_000)) << size
            book.seat(number, Seat((Region(block * 64 + (part << size), size),), 0, 0, 0, threshold_ucr))
            seats[number] = (Region(block * 64 + (part << size), size), threshold_ucr)
    return book, seats


def order(number: int, region: Region, size: int, limit_ucr: int) -> Order:
    """A plain order for one block."""
    traits = Traits(OrderFlag.NAMED)
    return Order(OrderKey(number, 1, 1), number, 1, region, Shape((size,)), 0, 0, limit_ucr, 0, traits, 1, number)


def one_exact_group(rng: np.random.Generator) -> list[Order]:
    """1,024 bids of one rule-1 group: blocks of 1 to 4,096 slots over the whole zone, three times what fits."""
    root = Region(0, 2 * ZONE_K)
    sizes, limits = rng.integers(0, 13, 1_024), rng.integers(90_000, 600_000, 1_024)
    return [order(at + 1, root, int(sizes[at]), int(limits[at])) for at in range(1_024)]


def one_mixed_group(rng: np.random.Generator) -> list[Order]:
    """256 bids of one rule-2 group: nested regions over a zone that is leased to 60 %."""
    asked = [order(1, Region(0, 2 * ZONE_K), 6, 500_000)]
    for number in range(2, 257):
        log2 = int(rng.choice([20, 18, 16, 12]))
        region = Region(int(rng.integers(0, 1 << 20 - log2)) << log2, log2)
        asked.append(order(number, region, int(rng.choice([0, 2, 4, 6])), int(rng.integers(90_000, 600_000))))
    return asked


def wide_group(rng: np.random.Generator, zone_k: int, bids: int = 512) -> list[Order]:
    """Bids of one to eight slots that all look in the whole zone, as those that wait do: four kinds."""
    root, widths = Region(0, 2 * zone_k), [0] * 14 + [1] * 3 + [2] * 2 + [3]
    limits = rng.integers(110_000, 600_000, bids)
    return [order(at + 1, root, int(rng.choice(widths)), int(limits[at])) for at in range(bids)]


def needing_memory(rng: np.random.Generator, zone_k: int, bids: int = 512) -> list[Order]:
    """The same, each of which needs memory of its own measure: as many kinds as bids."""
    asked = wide_group(rng, zone_k, bids)
    for one in asked:
        one.mem_bytes = int(rng.integers(1, 64 * 1024)) << 20
    return asked


def scattered(rng: np.random.Generator, zone_k: int, bids: int = 512) -> list[Order]:
    """Local bids for up to 64 slots in nested regions of every size, anywhere in the zone."""
    asked = [order(1, Region(0, 2 * zone_k - 1), 0, 300_000)]
    for number in range(2, bids + 1):
        log2 = int(rng.integers(6, 2 * zone_k))
        region = Region(int(rng.integers(0, 1 << 2 * zone_k - log2)) << log2, log2)
        asked.append(order(number, region, int(rng.integers(0, 7)), int(rng.integers(110_000, 600_000))))
    return asked


def many_groups(rng: np.random.Generator) -> list[Order]:
    """4,096 bids, four in each of 1,024 regions of 64 slots."""
    places = rng.choice(1 << 14, 1_024, replace=False)
    asked = []
    for number in range(4_096):
        region = Region(int(places[number // 4]) * 64, 6)
        asked.append(order(number + 1, region, int(rng.choice([0, 2, 4])), int(rng.integers(90_000, 600_000))))
    return asked


def undo(book: Book, results: Sequence[Result], seats: dict[int, tuple[Region, int]]) -> None:
    """Put the book back as it was before an auction."""
    for result in results:
        if isinstance(result, Won):
            for part in range(len(result.placement.blocks)):
                book.unseat(reservation_number(result.order.serial, part))
            for lease in result.placement.displaced:
                book.set_threshold(lease, seats[lease][1])


def clearing_ms(
    make: Callable[[np.random.Generator], list[Order]], leased: float, zone_k: int = ZONE_K
) -> dict[str, float]:
    """CPU time of one auction, median of several, and what it did."""
    book, seats = zone(zone_k, leased)
    spent, last = [], []
    for round_ in range(ROUNDS):
        asked = make(np.random.default_rng(round_))
        begun = time.process_time()
        last = clear_auction(book, asked, NO_SCALES, RULES)
        spent.append((time.process_time() - begun) * 1e3)
        undo(book, last, seats)
    won = [result for result in last if isinstance(result, Won)]
    return {
        "ms": median(spent),
        "worst_ms": max(spent),
        "bids": len(last),
        "won": len(won),
        "by_rule_1": sum(1 for result in won if result.rule == 1),
        "displacing": sum(1 for result in won if result.placement.displaced),
        "waited": sum(1 for result in last if isinstance(result, Waits)),
    }


def welfare() -> dict[str, dict[str, float]]:
    """Rule 2's welfare beside the optimum that bundling finds, over the same empty regions of 64 slots."""
    figures = {}
    for name, sizes in (
        ("small blocks", [0, 1, 2]),
        ("up to half the region", [0, 2, 4, 5]),
        ("filling it", [0, 3, 6]),
    ):
        shares = []
        for seed in range(200):
            rng = np.random.default_rng(seed)
            asked = [
                order(number + 1, Region(0, 6), int(rng.choice(sizes)), int(rng.integers(100_000, 600_000)))
                for number in range(40)
            ]
            best = _gained(clear_auction(_small(), asked, NO_SCALES, RULES))
            asked[0].region = Region(0, 6)
            apart = order(99, Region(0, 5), 0, 0)
            shares.append(_gained(clear_auction(_small(), [*asked, apart], NO_SCALES, RULES)) / best)
        figures[name] = {"mean": float(np.mean(shares)), "least": min(shares)}
    return figures


def _small() -> Book:
    return zone(3, 0.0)[0]


def _gained(results: Sequence[Result]) -> int:
    return sum((r.order.limit_ucr - RESERVE_UCR) * r.order.shape.slots for r in results if isinstance(r, Won))


def misreporting(rounds: int = 300, *, woken: bool = False) -> dict[str, float]:
    """What naming another region or class of kinds gains: the best of some lies beside the truth, in ucr per slot.

    A bidder that can use any block of the zone may name a part of it; one that needs four slots may ask for eight.

    Args:
        rounds: Auctions.
        woken: The rivals were told of room, which is then not there for local orders.
    """
    lies, gains, honest_sum = 0, [], 0
    for seed in range(rounds):
        rng = np.random.default_rng(10_000 + seed)
        book, _ = zone(3, 0.5, seed)
        others = [
            order(number, Region(0, 6), int(rng.choice([0, 2, 4])), int(rng.integers(150_000, 600_000)))
            for number in range(2, 14)
        ]
        worth = int(rng.integers(150_000, 600_000))
        honest = _own_gain(book, order(1, Region(0, 6), 2, worth), others, worth, woken)
        honest_sum += honest
        best = honest
        for region in [Region(part << 4, 4) for part in range(4)] + [Region(part << 5, 5) for part in range(2)]:
            best = max(best, _own_gain(book, order(1, region, 2, worth), others, worth, woken))
        best = max(best, _own_gain(book, order(1, Region(0, 6), 3, worth // 2), others, worth, woken))
        lies += best > honest
        gains.append(best - honest)
    return {
        "share_of_auctions_where_a_lie_gains": lies / rounds,
        "mean_gain_beside_honest_gain": sum(gains) / max(1, honest_sum),
        "mean_gain_ucr_per_slot": sum(gains) / rounds / 4,
    }


@contextmanager
def _held_for(book: Book, others: list[Order]) -> Iterator[None]:
    """What each would have by its limit, the highest first, is not there."""
    trials = []
    for other in sorted(others, key=lambda one: -one.limit_ucr):
        trial = Trial(book, other)
        if trial.place(leased=False, scales=NO_SCALES) is not None:
            trials.append(trial)
    yield
    for trial in reversed(trials):
        trial.undo()


def _own_gain(book: Book, own: Order, others: list[Order], worth: int, woken: bool) -> int:
    withheld = Withheld(local=_held_for(book, others)) if woken else Withheld()
    thresholds = {lease: book.seat_of(lease).threshold_ucr for lease in book.leases_in(Region(0, 6))}
    results = clear_auction(book, [own, *others], NO_SCALES, RULES, withheld=withheld)
    gain = 0
    for result in results:
        if isinstance(result, Won):
            if result.order is own:
                gain = 4 * worth - result.price_ucr * own.shape.slots
            for part in range(len(result.placement.blocks)):
                book.unseat(reservation_number(result.order.serial, part))
    for lease, threshold_ucr in thresholds.items():
        book.set_threshold(lease, threshold_ucr)
    return gain


def figures() -> dict[str, Any]:
    """All that this benchmark measures."""
    return {
        "auction_1024": clearing_ms(one_exact_group, 0.0),
        "auction_256": clearing_ms(one_mixed_group, 0.6),
        "auction_4096": clearing_ms(many_groups, 0.6),
        "wide_512_of_1024_slots": clearing_ms(lambda rng: wide_group(rng, 5), 0.6, 5),
        "wide_512_of_4096_slots": clearing_ms(lambda rng: wide_group(rng, 6), 0.6, 6),
        "wide_512_of_a_million": clearing_ms(lambda rng: wide_group(rng, ZONE_K), 0.6),
        "memory_512_of_1024_slots": clearing_ms(lambda rng: needing_memory(rng, 5), 0.6, 5),
        "scattered_512_of_4096_slots": clearing_ms(lambda rng: scattered(rng, 6), 0.6, 6),
        "scattered_512_of_a_million": clearing_ms(lambda rng: scattered(rng, ZONE_K), 0.6),
        "rule_2_welfare_of_optimum": welfare(),
        "naming_another_region_or_size": misreporting(),
        "the_same_beside_rivals_that_were_woken": misreporting(woken=True),
    }


def main() -> None:
    """Measure, print, write."""
    measured = figures()
    for name, row in measured.items():
        print(f"{name}:")
        for key, value in row.items():
            print(f"    {key:>36}  {value if isinstance(value, dict) else round(value, 4)}")
    write("auction", measured)


if __name__ == "__main__":
    main()
