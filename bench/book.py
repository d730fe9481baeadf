"""How long does the book take for a command, and how does that grow from 64 slots to a million?

make bench-book        # prints tables, writes build/bench/book.json

Two streams, at 60 % full, with holes: *squares* (blocks of 1, 4, 16, 64, 256 slots at 40/25/15/15/5 %) and *mixed* (2,
8, 32 beside them, and shares of a slot). Of ten commands two are quotes, one a new threshold, the rest grants and
releases; one in a hundred cordons a slot or offers it again, one grant in twenty may displace. Batches in CPU time.
"""

import ctypes
import gc
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.report import write
from tegcore.wire.records import Region
from zone_ledger.book.base import COMMANDS, Book, BookOp, Commands, HostShape, Query, Seat
from zone_ledger.book.fast import FastBook
from zone_ledger.book.reference import ReferenceBook

RESERVE_UCR = 100_000
THRESHOLD_UCR = 250_000
LIMIT_UCR = 1 << 40
FULL = 0.6
COMMANDS_COUNT = 200_000
BATCH = 4_096
SQUARES = ([0, 2, 4, 6, 8], [0.40, 0.25, 0.15, 0.15, 0.05])
MIXED = ([0, 1, 2, 3, 4, 5, 6, 8], [0.30, 0.15, 0.15, 0.10, 0.10, 0.08, 0.09, 0.03])


def zone(zone_k: int, make: Callable[[int], Book] = FastBook) -> Book:
    """A zone of hosts of eight slots (four in the smallest); of 16 Block-64s one lacks slots, one has a cordon."""
    book, log2 = make(zone_k), min(3, 2 * zone_k - 2)
    book.set_reserve(0, RESERVE_UCR)
    for host in range(4**zone_k >> log2):
        block = (host << log2) // 64 % 16
        absent = 0b10 if block == 5 else 0
        book.add_host(host + 1, HostShape(Region(host << log2, log2), 0, 64_000, 2 << 40, absent))
        if block == 7 and host % 8 == 3:
            book.cordon((host << log2) + 1, on=True)
    return book


class Stream:
    """Commands that keep a book at its fill, made from a model that only counts slots."""

    def __init__(self, zone_k: int, kind: tuple[list[int], list[float]], *, shares: bool) -> None:
        self._rng = np.random.default_rng(zone_k)
        sizes, weights = kind
        fitting = [(size, weight) for size, weight in zip(sizes, weights, strict=True) if size <= 2 * zone_k - 2]
        total = sum(weight for _, weight in fitting)
        odds = [weight / total for _, weight in fitting]
        self._sizes = self._rng.choice([size for size, _ in fitting], p=odds, size=COMMANDS_COUNT + 4**zone_k).tolist()
        self._kinds = self._rng.random(COMMANDS_COUNT).tolist()
        self._picks = self._rng.random(COMMANDS_COUNT).tolist()
        self._region = Region(0, 2 * zone_k).packed()
        self.book = zone(zone_k)
        self._slots = int(4**zone_k * FULL)
        self.live: list[tuple[int, int]] = []
        self._used = 0
        self._next = 1
        if shares:
            self._share_some(zone_k)
        while self._used < self._slots:
            size = self._sizes.pop()
            if self.book.grant(self._next, size, LIMIT_UCR, THRESHOLD_UCR << size) < 0:
                break
            self._note(size)

    def _share_some(self, zone_k: int) -> None:
        for _ in range(4**zone_k // 64):
            found = self.book.find(Query(Region(0, 2 * zone_k), 0, 1, 300, leased=False))
            assert found is not None
            self.book.seat(-self._next, Seat((found.block,), 300, 0, 0, THRESHOLD_UCR))
            self._next += 1

    def _note(self, size: int) -> None:
        self.live.append((self._next, size))
        self._used += 1 << size
        self._next += 1

    def commands(self) -> Commands:
        """The stream as one array."""
        rows: list[tuple[int, ...]] = []
        region, absent = self._region, (BookOp.RELEASE, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        for kind, pick in zip(self._kinds, self._picks, strict=True):
            size = self._sizes[len(rows)]
            if kind < 0.2:
                rows.append((BookOp.QUOTE, 0, region, size, 1, 0, 0, 1, 0, 0))
            elif kind < 0.3:
                lease, own = self.live[int(pick * len(self.live))]
                rows.append((BookOp.REPRICE, lease, 0, 0, 0, 0, THRESHOLD_UCR + int(pick * 65_536) << own, 0, 0, 0))
            elif kind < 0.31:
                slot = Region(int(pick * self._slots) & ~7, 0).packed()
                rows.append((BookOp.CORDON, 0, slot, int(kind < 0.305), 0, 0, 0, 0, 0, 0))
            elif self._used < self._slots:
                displaces = 2 if kind > 0.965 else 1
                row = (BookOp.GRANT, self._next, region, size, 1, LIMIT_UCR, THRESHOLD_UCR << size, displaces, 0, 0)
                rows.append(row)
                self._note(size)
            else:
                place = int(pick * len(self.live))
                lease, size = self.live[place]
                self.live[place] = self.live[-1]
                self.live.pop()
                self._used -= 1 << size
                rows.append((*absent[:1], lease, *absent[2:]))
        return np.array(rows, dtype=COMMANDS)


def in_batches(stream: Stream, commands: Commands) -> list[float]:
    """Time a command in each batch, ns."""
    spent = []
    gc.disable()
    for start in range(0, len(commands) - BATCH + 1, BATCH):
        part = commands[start : start + BATCH]
        begun = time.process_time_ns()
        stream.book.run(part)
        spent.append((time.process_time_ns() - begun) / BATCH)
    gc.enable()
    return spent


def one_by_one(stream: Stream, commands: Commands) -> list[int]:
    """Time of each command as one call from Python, ns, sorted; what an empty call takes is taken off."""
    book, clock, spent = stream.book, time.perf_counter_ns, []
    calls: dict[int, Callable[..., tuple[Callable[..., Any], tuple[Any, ...]]]] = {
        BookOp.QUOTE: lambda row: (book.price, (row[3],)),
        BookOp.GRANT: lambda row: (book.grant, (row[1], row[3], row[5], row[6])),
        BookOp.RELEASE: lambda row: (book.release, (row[1],)),
    }
    rows = [calls[row[0]](row) for row in commands.tolist() if row[0] in calls]
    idle = sorted(_timed(clock, int.bit_length, (7,)) for _ in range(10_001))[5_000]
    gc.disable()
    spent = [max(0, _timed(clock, call, arguments) - idle) for call, arguments in rows]
    gc.enable()
    return sorted(spent)


def _timed(clock: Callable[[], int], call: Callable[..., Any], arguments: tuple[Any, ...]) -> int:
    begun = clock()
    call(*arguments)
    return clock() - begun


def single_calls(zone_k: int) -> dict[str, float]:
    """Time of one call from Python, ns: a grant and a release of one slot and of 64, and a price."""
    book = Stream(zone_k, SQUARES, shares=False).book
    grant, release, price = book.grant, book.release, book.price
    rounds = range(10_000_000, 10_005_000)

    def grants(size: int) -> Callable[[], None]:
        def spend() -> None:
            for number in rounds:
                grant(number, size, LIMIT_UCR, THRESHOLD_UCR)
                release(number)

        return spend

    def prices() -> None:
        for _ in rounds:
            price(6)

    loop = _median_ns(lambda: [None for _ in rounds], len(rounds))
    return {
        "grant_or_release_1": (_median_ns(grants(0), len(rounds)) - loop) / 2,
        "grant_or_release_64": (_median_ns(grants(6), len(rounds)) - loop) / 2,
        "price": _median_ns(prices, len(rounds)) - loop,
    }


def _median_ns(spend: Callable[[], Any], count: int) -> float:
    times = []
    for _ in range(15):
        begun = time.process_time_ns()
        spend()
        times.append((time.process_time_ns() - begun) / count)
    return median(times)


def block64(zone_k: int = 10) -> dict[str, float]:
    """Time to grant and release the one free Block-64 of a zone, at its end, ns: the book and its rivals."""
    slots, count = 4**zone_k, 4**zone_k // 64
    book = FastBook(zone_k)
    book.set_reserve(0, RESERVE_UCR)
    for host in range(slots // 8):
        book.add_host(host + 1, HostShape(Region(host * 8, 3), 0, 64_000, 2 << 40))
    for block in range(count - 1):
        book.seat(block + 1, Seat((Region(block * 64, 0),), 0, 0, 0, None))
    rounds = 2_000
    pairs = np.zeros(2 * rounds, dtype=COMMANDS)
    pairs["op"] = [BookOp.GRANT, BookOp.RELEASE] * rounds
    pairs["lease"] = np.repeat(np.arange(rounds) + 10_000_000, 2)
    pairs["region"], pairs["size"], pairs["classes"] = Region(0, 2 * zone_k).packed(), 6, 1
    pairs["limit_ucr"], pairs["threshold_ucr"], pairs["leased"] = LIMIT_UCR, THRESHOLD_UCR, 1
    free = np.ones((1 << zone_k, 1 << zone_k), dtype=bool)
    free[::8, ::8] = False
    free[-8, -8] = True

    def numpy_scan() -> None:
        whole = free.reshape(1 << zone_k - 3, 8, 1 << zone_k - 3, 8).all(axis=(1, 3))
        row, column = np.unravel_index(int(whole.argmax()), whole.shape)
        free[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = False
        free[row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = True

    words = np.full(count, ~np.uint64(1), dtype=np.uint64)
    words[-1] = ~np.uint64(0)
    scan = _compiled_scan()
    pointer = words.ctypes.data_as(ctypes.c_void_p)
    assert scan(pointer, count, 1) == count - 1
    figures = {
        "book_batch": _median_ns(lambda: book.run(pairs), rounds),
        "bitmap_scan": _median_ns(lambda: scan(pointer, count, rounds), rounds),
        "numpy_scan": _median_ns(lambda: [numpy_scan() for _ in range(5)], 5),
    }
    return figures | {"reference_book_k5": _reference_block64()}


def _compiled_scan() -> Any:
    library = Path("build/bench/bitmap_scan.so").absolute()
    library.parent.mkdir(parents=True, exist_ok=True)
    source = Path(__file__).with_name("bitmap_scan.c")
    subprocess.run(["gcc", "-O3", "-shared", "-fPIC", "-o", library, source], check=True)
    scan = ctypes.CDLL(str(library)).grant_release
    scan.restype, scan.argtypes = ctypes.c_int64, [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]
    return scan


def _reference_block64() -> float:
    """The reference book keeps an object a node: a thousandth of the zone is what it can be asked for."""
    book = zone(5, ReferenceBook)
    query = Query(Region(0, 10), 6)

    def once() -> None:
        found = book.find(query)
        assert found is not None
        book.seat(1, Seat((found.block,), 0, 0, 0, THRESHOLD_UCR))
        book.unseat(1)

    return _median_ns(once, 1)


def main() -> None:
    """Measure, print, write."""
    console = Console()
    table = Table("stream", "k", "slots", "batch ns", "p50 ns", "p99 ns", "p99.9 ns", title="A command of the book")
    rows: dict[str, dict[str, dict[str, float]]] = {"squares": {}, "mixed": {}}
    for name, kind in (("squares", SQUARES), ("mixed", MIXED)):
        for zone_k in range(3, 11):
            console.print(f"{name}, k = {zone_k} …", style="dim")
            stream = Stream(zone_k, kind, shares=name == "mixed")
            commands = stream.commands()
            singles = one_by_one(stream, commands[:60_000])
            batch = median(in_batches(stream, commands[60_000:]))
            quantiles = [float(singles[int(len(singles) * share)]) for share in (0.5, 0.99, 0.999)]
            rows[name][str(zone_k)] = dict(zip(("batch", "p50", "p99", "p999"), [batch, *quantiles], strict=True))
            shown = [f"{figure:.0f}" for figure in (batch, *quantiles)]
            table.add_row(name, str(zone_k), str(4**zone_k), *shown)
    console.print(table)
    singles_ns = single_calls(8)
    reprice = _median_ns(_reserve_change(10), 1)
    rivals = block64()
    last = rows["squares"]["10"]
    figures = {
        "batch_commands_per_s": 1e9 / last["batch"],
        "single_call_ns": singles_ns["grant_or_release_1"],
        "p99_ns": last["p99"],
        "growth_k6_to_k10": last["batch"] / rows["squares"]["6"]["batch"],
        "block64_vs_bitmap_scan": rivals["bitmap_scan"] / rivals["book_batch"],
        "block64_vs_numpy_scan": rivals["numpy_scan"] / rivals["book_batch"],
        "block64_vs_reference_k5": rivals["reference_book_k5"] / rivals["book_batch"],
        "block64_ns": rivals,
        "single_calls_ns": singles_ns,
        "reserve_change_k10_ms": reprice / 1e6,
        "streams_ns": rows,
    }
    for name, figure in figures.items():
        if isinstance(figure, float):
            console.print(f"{name:>26}  {figure:,.1f}")
    console.print("Block-64 grant + release, ns:", {name: round(figure) for name, figure in rivals.items()})
    console.print("single calls, ns:", {name: round(figure) for name, figure in singles_ns.items()})
    write("book", figures)


def _reserve_change(zone_k: int) -> Callable[[], None]:
    book = Stream(zone_k, SQUARES, shares=False).book
    state = {"reserve": RESERVE_UCR}

    def change() -> None:
        state["reserve"] += 1
        book.set_reserve(0, state["reserve"])

    return change


if __name__ == "__main__":
    main()
