"""What every book must do: a small zone lives at random, beside an oracle that looks at each aligned block in turn."""

import os
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tegcore.economics.price_code import INFEASIBLE, price_code
from tegcore.wire.records import Region
from zone_ledger.book import fast, quadtree
from zone_ledger.book.base import COMMANDS, Book, BookOp, Candidate, HostShape, Query, Seat
from zone_ledger.book.fast import FastBook
from zone_ledger.book.reference import ReferenceBook


def fast_book_from_source() -> type[FastBook]:
    """The fast book on a tree that runs as Python: what Cython compiled must do the same."""
    folder = Path(fast.__file__).parent
    kept = {name: sys.modules.get(name) for name in (quadtree.__name__, fast.__name__)}
    try:
        for name in kept:
            path = str(folder / f"{name.rpartition('.')[2]}.py")
            spec = spec_from_file_location(name, path, loader=SourceFileLoader(name, path))
            assert spec is not None
            assert spec.loader is not None
            sys.modules[name] = module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        book: type[FastBook] = sys.modules[fast.__name__].FastBook
        return book
    finally:
        sys.modules.update({name: module for name, module in kept.items() if module is not None})


BOOKS: list[Callable[[int], Book]] = [ReferenceBook, FastBook, fast_book_from_source()]
ZONE_K = 2
SLOTS = 1 << 2 * ZONE_K
SHAPES = {
    1: HostShape(Region(0, 2), 0, 4_000, 4_000),
    2: HostShape(Region(4, 2), 0, 8_000, 8_000, absent_mask=0b0100),
    3: HostShape(Region(8, 1), 1, 2_000, 2_000),
    4: HostShape(Region(10, 1), 0, 2_000, 3_000),
    5: HostShape(Region(12, 1), 1, 2_000, 2_000),
    6: HostShape(Region(14, 1), 0, 2_000, 2_000, absent_mask=-1),
}

regions = st.integers(0, 2 * ZONE_K).flatmap(
    lambda log2: st.integers(0, (SLOTS >> log2) - 1).map(lambda place: Region(place << log2, log2))
)
wholes = st.builds(
    Query,
    region=st.just(Region(0, 2 * ZONE_K)) | regions,
    size=st.sampled_from([0, 1, 2, 2, 3, 4]),
    classes=st.sampled_from([1, 2, 3, 3]),
    share_permille=st.just(0),
    cpu_milli=st.sampled_from([0, 500, 1_000]),
    mem_bytes=st.sampled_from([0, 0, 475, 949, 950, 1_000]),
    leased=st.booleans(),
)
parts = st.builds(
    Query,
    region=regions,
    size=st.just(0),
    classes=st.integers(1, 3),
    share_permille=st.integers(1, 999),
    cpu_milli=st.sampled_from([0, 500]),
    mem_bytes=st.sampled_from([0, 475]),
    leased=st.booleans(),
)
thresholds = st.none() | st.integers(0, 3_000)


@pytest.mark.parametrize("book_of", BOOKS)
@pytest.mark.parametrize(("log2", "slots"), [(6, 48), (6, 63), (7, 100), (8, 129)])
def test_a_large_host_has_as_many_slots_as_it_says(book_of: Callable[[int], Book], log2: int, slots: int) -> None:
    book = book_of(4)
    book.add_host(1, HostShape(Region(0, log2), 0, 64_000, 1 << 40, absent_mask=-slots))
    assert book.free_slots(Region(0, log2)) == slots
    assert book.hosts_of(Region(slots - 1, 0)) == (1,)
    assert book.hosts_of(Region(slots, 0)) == ()
    book.check()
    book.remove_host(1)
    assert book.free_slots(Region(0, log2)) == 0


class Oracle:
    """The same contents as a book's, with nothing derived."""

    def __init__(self) -> None:
        self.reserves = {0: 0, 1: 0}
        self.cordoned: set[int] = set()
        self.drained: set[int] = set()
        self.seats: dict[int, Seat] = {}
        self.promised: dict[tuple[int, int], tuple[int, int]] = {}

    def host_of(self, slot: int) -> int | None:
        for host, shape in SHAPES.items():
            place = slot - shape.region.base
            if 0 <= place < 1 << shape.region.log2 and not shape.absent_bits >> place & 1:
                return host
        return None

    def holders(self, slot: int) -> list[int]:
        return [
            lease for lease, seat in self.seats.items() if any(block.base <= slot < block.end for block in seat.blocks)
        ]

    def free_permille(self, slot: int) -> int:
        return 1_000 - sum(self.seats[lease].share_permille or 1_000 for lease in self.holders(slot))

    def held_on(self, lease: int, host: int) -> tuple[int, int]:
        seat = self.seats[lease]
        inside = sum(1 for slot in range(SLOTS) if self.host_of(slot) == host and lease in self.holders(slot))
        mem_bytes, cpu_milli = self.promised.get((lease, host), (0, 0))
        return inside * seat.mem_bytes + mem_bytes, inside * seat.cpu_milli + cpu_milli

    def used(self, host: int, without: set[int]) -> tuple[int, int]:
        held = [self.held_on(lease, host) for lease in self.seats if lease not in without]
        return sum(mem for mem, _ in held), sum(cpu for _, cpu in held)

    def cost(self, slots: range, query: Query) -> Candidate | None:
        """What these slots would cost as one block; None where they cannot be had."""
        hosts = [self.host_of(slot) for slot in slots]
        if None in hosts or any(slot in self.cordoned for slot in slots) or self.drained & set(hosts):
            return None
        classes = {SHAPES[host].slot_class for host in hosts if host is not None}
        if len(classes) > 1 or not query.classes >> min(classes) & 1:
            return None
        reserve_ucr = self.reserves[min(classes)]
        displaced = {lease for slot in slots for lease in self.holders(slot)}
        if query.share_permille:
            if self.free_permille(slots[0]) < query.share_permille:
                return None
            displaced, free_ucr = set(), -(-reserve_ucr * query.share_permille // 1_000)
        else:
            if any(self.seats[lease].threshold_ucr is None for lease in displaced) or (displaced and not query.leased):
                return None
            free_ucr = sum(-(-reserve_ucr * self.free_permille(slot) // 1_000) for slot in slots)
        for host in {host for host in hosts if host is not None}:
            mem_bytes, cpu_milli = self.used(host, displaced)
            inside = hosts.count(host)
            if query.cpu_milli and cpu_milli + inside * query.cpu_milli > SHAPES[host].cpu_milli:
                return None
            if query.mem_bytes and mem_bytes + inside * query.mem_bytes >= SHAPES[host].mem_bytes * 95 // 100:
                return None
        displaced_ucr = sum(self.seats[lease].threshold_ucr or 0 for lease in displaced)
        cost_ucr = free_ucr + displaced_ucr
        block = Region(slots[0], len(slots).bit_length() - 1)
        return Candidate(price_code(cost_ucr), block, cost_ucr, tuple(sorted(displaced)), displaced_ucr)

    def find(self, query: Query) -> Candidate | None:
        side = 1 << query.size
        bases = range(query.region.base, query.region.base + (1 << query.region.log2) - side + 1, side)
        offers = [self.cost(range(base, base + side), query) for base in bases]
        return min((offer for offer in offers if offer is not None), key=lambda offer: offer[:2], default=None)


class BookLife(RuleBasedStateMachine):
    """A zone of five hosts of two classes, with a hole and two slots where no host is."""

    make: Callable[[int], Book]

    @initialize(reserves=st.tuples(st.integers(0, 1_500), st.integers(0, 1_500)))
    def open_zone(self, reserves: tuple[int, int]) -> None:
        self.book, self.oracle, self.next_lease = type(self).make(ZONE_K), Oracle(), 1
        for host, shape in SHAPES.items():
            self.book.add_host(host, shape)
        for slot_class, reserve_ucr in enumerate(reserves):
            self.reprice(slot_class, reserve_ucr)

    @rule(slot_class=st.integers(0, 1), reserve_ucr=st.integers(0, 1_500))
    def reprice(self, slot_class: int, reserve_ucr: int) -> None:
        self.book.set_reserve(slot_class, reserve_ucr)
        self.oracle.reserves[slot_class] = reserve_ucr

    @rule(slot=st.integers(0, SLOTS - 1), on=st.booleans())
    def cordon(self, slot: int, on: bool) -> None:
        assume(self.oracle.host_of(slot) is not None)
        before = self.book.state_hash()
        self.book.cordon(slot, on=on)
        assert (self.book.state_hash() != before) == ((slot in self.oracle.cordoned) != on)
        (self.oracle.cordoned.add if on else self.oracle.cordoned.discard)(slot)

    @rule(host=st.sampled_from(sorted(SHAPES)), on=st.booleans())
    def drain(self, host: int, on: bool) -> None:
        self.book.drain(host, on=on)
        (self.oracle.drained.add if on else self.oracle.drained.discard)(host)

    @rule(asked=st.lists(wholes, min_size=1, max_size=2) | parts.map(lambda part: [part]), threshold=thresholds)
    def seat(self, asked: list[Query], threshold: int | None) -> None:
        first = asked[0]
        blocks: list[Region] = []
        for query in asked:
            found = self.book.find(first._replace(region=query.region, size=query.size, leased=False))
            if found is None or any(slot in range(b.base, b.end) for b in blocks for slot in _slots(found.block)):
                continue
            blocks.append(found.block)
        assume(blocks)
        seat = Seat(tuple(blocks), first.share_permille, first.cpu_milli, first.mem_bytes, threshold)
        before = self.book.state_hash()
        self.book.seat(self.next_lease, seat)
        assert self.book.state_hash() != before
        assert self.book.unseat(self.next_lease) == seat
        assert self.book.state_hash() == before, "unseat is not the inverse of seat"
        self.book.seat(self.next_lease, seat)
        self.oracle.seats[self.next_lease] = seat
        self.next_lease += 1

    @precondition(lambda self: self.oracle.seats)
    @rule(data=st.data(), threshold=thresholds)
    def set_threshold(self, data: st.DataObject, threshold: int | None) -> None:
        lease = data.draw(st.sampled_from(sorted(self.oracle.seats)))
        self.book.set_threshold(lease, threshold)
        self.oracle.seats[lease] = self.oracle.seats[lease]._replace(threshold_ucr=threshold)

    @precondition(lambda self: self.oracle.seats)
    @rule(data=st.data(), mem_bytes=st.integers(0, 900), cpu_milli=st.integers(0, 900))
    def promise(self, data: st.DataObject, mem_bytes: int, cpu_milli: int) -> None:
        lease = data.draw(st.sampled_from(sorted(self.oracle.seats)))
        host = data.draw(st.sampled_from(self.book.hosts_of(self.oracle.seats[lease].blocks[0])))
        before = self.book.state_hash()
        self.book.promise(lease, host, mem_bytes, cpu_milli)
        self.book.promise(lease, host, -mem_bytes, -cpu_milli)
        assert self.book.state_hash() == before, "what is given back leaves a trace"
        self.book.promise(lease, host, mem_bytes, cpu_milli)
        held_mem, held_cpu = self.oracle.promised.get((lease, host), (0, 0))
        self.oracle.promised[lease, host] = (held_mem + mem_bytes, held_cpu + cpu_milli)

    @precondition(lambda self: self.oracle.seats)
    @rule(data=st.data())
    def unseat(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(sorted(self.oracle.seats)))
        assert self.book.unseat(lease) == self.oracle.seats.pop(lease)
        self.oracle.promised = {key: more for key, more in self.oracle.promised.items() if key[0] != lease}

    @rule(query=wholes | parts)
    def find(self, query: Query) -> None:
        before = self.book.state_hash()
        assert self.book.find(query) == self.oracle.find(query)
        assert self.book.state_hash() == before, "a quote changed the book"

    @rule(block=regions)
    def look(self, block: Region) -> None:
        slots = [slot for slot in _slots(block) if self.oracle.host_of(slot) is not None]
        held = {lease for slot in slots for lease in self.oracle.holders(slot)}
        assert self.book.leases_in(block) == tuple(sorted(held))
        free = [slot for slot in slots if not self.oracle.holders(slot)]
        runs = self.book.free_parts(block)
        assert [slot for run in runs for slot in _slots(run)] == free
        joined = {(run.base >> run.log2 + 1, run.log2) for run in runs if run != block}
        assert len(joined) == sum(1 for run in runs if run != block), "two free runs are halves of one"
        summary = self.book.summary(block)
        withheld = [s for s in slots if s in self.oracle.cordoned or self.oracle.host_of(s) in self.oracle.drained]
        assert (summary.present, summary.withheld) == (len(slots), len(withheld))
        assert summary.free == len(set(free) - set(withheld))
        assert summary.leased == len(slots) - len(free)
        sizes = [
            size
            for size in range(block.log2 + 1)
            if self.oracle.find(Query(block, size, classes=3, leased=False)) is not None
        ]
        assert summary.largest_free == max(sizes, default=-1)

    @invariant()
    def coheres(self) -> None:
        if not hasattr(self, "book"):
            return
        self.book.check()
        for host in SHAPES:
            use = self.book.use_of(host)
            assert (use.mem_bytes, use.cpu_milli) == self.oracle.used(host, set())

    def teardown(self) -> None:
        """The same contents, put in by another way, have the same hash; an emptied book lets its hosts go."""
        if not hasattr(self, "book"):
            return
        other = type(self).make(ZONE_K)
        for host in reversed(SHAPES):
            other.add_host(host, SHAPES[host])
            other.drain(host, on=host in self.oracle.drained)
        for lease in sorted(self.oracle.seats, reverse=True):
            other.seat(lease, self.oracle.seats[lease])
        for (lease, host), (mem_bytes, cpu_milli) in self.oracle.promised.items():
            other.promise(lease, host, mem_bytes, cpu_milli)
        for slot in sorted(self.oracle.cordoned, reverse=True):
            other.cordon(slot, on=True)
        for slot_class, reserve_ucr in self.oracle.reserves.items():
            other.set_reserve(slot_class, reserve_ucr)
        other.check()
        assert other.state_hash() == self.book.state_hash()
        for lease in self.oracle.seats:
            other.unseat(lease)
        other.check()
        assert all(other.use_of(host)[:2] == (0, 0) for host in SHAPES)
        for host in SHAPES:
            other.remove_host(host)
        other.check()
        assert other.find(Query(Region(0, 2 * ZONE_K), 0, classes=3)) is None


def _slots(run: Region) -> range:
    return range(run.base, run.end)


@pytest.mark.parametrize("make_book", BOOKS)
def test_a_book_agrees_with_looking_at_every_block(make_book: Callable[[int], Book]) -> None:
    life = type("Life", (BookLife,), {"make": staticmethod(make_book)})
    run_state_machine_as_test(
        life,
        settings=settings(
            max_examples=60,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )


@st.composite
def batches(draw: st.DrawFn) -> np.ndarray:
    """Commands whose leases mostly exist, in a zone of `SHAPES`, with holes, limits that bind and locked leases."""
    rows, numbers = [], st.integers(1, 12)
    for lease in range(1, draw(st.integers(1, 40))):
        op = draw(st.sampled_from([BookOp.GRANT] * 4 + [BookOp.RELEASE] * 2 + [BookOp.REPRICE] + [BookOp.QUOTE] * 2))
        region = draw(st.just(Region(0, 2 * ZONE_K)) | regions)
        size = draw(st.sampled_from([0, 0, 1, 2, 3, 4]))
        if draw(st.integers(0, 9)) == 0:
            slot = draw(st.sampled_from([slot for slot in range(SLOTS) if Oracle().host_of(slot) is not None]))
            rows.append((BookOp.CORDON, 0, Region(slot, 0).packed(), draw(st.integers(0, 1)), 0, 0, 0, 0, 0, 0))
            continue
        number = 100 + lease if op is BookOp.GRANT else 100 + draw(numbers)
        limit_ucr, threshold_ucr = draw(st.sampled_from([900, 3_000, 50_000])), draw(st.integers(-1, 3_000))
        cpu_milli, mem_bytes = draw(st.sampled_from([(0, 0), (0, 0), (500, 0), (0, 475)]))
        leased = draw(st.integers(0, 2))
        asked = (op, number, region.packed(), min(size, region.log2), draw(st.integers(1, 3)))
        rows.append((*asked, limit_ucr, threshold_ucr, leased, cpu_milli, mem_bytes))
    return np.array(rows, dtype=COMMANDS)


@settings(max_examples=int(os.environ.get("TEG_SEQUENCES", "400")), deadline=None)
@given(batches())
def test_all_books_answer_a_batch_alike(batch: np.ndarray) -> None:
    """`TEG_SEQUENCES=100000 pytest -k batch` draws as many."""
    answers, hashes = [], []
    for make_book in BOOKS:
        book = make_book(ZONE_K)
        for host, shape in SHAPES.items():
            book.add_host(host, shape)
        book.set_reserve(0, 700)
        book.set_reserve(1, 500)
        answers.append(book.run(batch).tolist())
        hashes.append(book.state_hash())
    assert answers[1] == answers[2] == answers[0]
    assert len(set(hashes)) == 1


@pytest.mark.parametrize("make_book", BOOKS)
def test_a_slot_inside_a_lease_may_be_cordoned_and_offered_again(make_book: Callable[[int], Book]) -> None:
    book = make_book(1)
    book.add_host(1, HostShape(Region(0, 2), 0, 0, 0))
    book.seat(1, Seat((Region(0, 2),), 0, 0, 0, 7))
    for _ in range(3):
        book.cordon(0, on=True)
        assert book.find(Query(Region(0, 2), 1)) == Candidate(7, Region(2, 1), 7, (1,), 7)
        book.cordon(0, on=False)
        assert book.find(Query(Region(0, 2), 1)) == Candidate(7, Region(0, 1), 7, (1,), 7)
    book.check()


@pytest.mark.parametrize("make_book", BOOKS)
def test_single_calls_say_what_batches_say(make_book: Callable[[int], Book]) -> None:
    book = make_book(2)
    book.set_reserve(0, 10)
    book.add_host(1, HostShape(Region(0, 3), 0, 0, 0))
    assert book.price(2) == 40
    assert book.grant(7, 2, 39, 500) == -1, "below its cost"
    assert book.grant(7, 2, 40, 500) == 0
    assert book.grant(8, 2, 40, 500) == 4
    assert book.price(2) == 500
    assert book.grant(9, 2, 1_000, 500) == -1, "somebody is there"
    assert (book.release(7), book.release(7)) == (True, False)
    assert book.price(1, 1, 4, 2) == 500
    assert book.free_slots(Region(0, 4)) == 4
    assert book.zone_totals() == (8, 80)


@pytest.mark.parametrize("make_book", BOOKS)
def test_nothing_displaces_a_lease_without_a_threshold(make_book: Callable[[int], Book]) -> None:
    book = make_book(1)
    book.add_host(1, HostShape(Region(0, 2), 0, 4_000, 4_000))
    everything = Query(Region(0, 2), 2)
    book.seat(1, Seat((Region(0, 0),), 0, 0, 0, 7))
    assert book.find(everything) == Candidate(price_code(7), Region(0, 2), 7, (1,), 7)
    book.set_threshold(1, None)
    assert book.find(everything) is None
    assert book.find(everything._replace(size=1)) == Candidate(0, Region(2, 1), 0, (), 0)


@pytest.mark.parametrize("make_book", BOOKS)
def test_cpu_is_offered_whole_and_memory_below_its_bound(make_book: Callable[[int], Book]) -> None:
    book = make_book(1)
    book.add_host(1, HostShape(Region(0, 2), 0, 4_000, 4_000))
    everything = Query(Region(0, 2), 2)
    assert book.find(everything._replace(cpu_milli=1_000)) is not None
    assert book.find(everything._replace(cpu_milli=1_001)) is None
    assert book.find(everything._replace(mem_bytes=949)) is not None
    assert book.find(everything._replace(mem_bytes=950)) is None


@pytest.mark.parametrize("make_book", BOOKS)
def test_what_a_displaced_lease_holds_counts_as_free(make_book: Callable[[int], Book]) -> None:
    book = make_book(1)
    book.add_host(1, HostShape(Region(0, 2), 0, 4_000, 4_000))
    book.seat(1, Seat((Region(0, 0),), 0, 3_000, 3_000, 7))
    for need in (Query(Region(0, 2), 0, cpu_milli=2_000), Query(Region(0, 2), 0, mem_bytes=2_000)):
        assert book.find(need) == Candidate(7, Region(0, 0), 7, (1,), 7)
        assert book.find(need._replace(leased=False)) is None


@pytest.mark.parametrize("make_book", BOOKS)
def test_the_hash_tells_whom_memory_was_promised(make_book: Callable[[int], Book]) -> None:
    hashes = set()
    for lease in (1, 2):
        book = make_book(1)
        book.add_host(1, HostShape(Region(0, 2), 0, 4_000, 4_000))
        for number in (1, 2):
            book.seat(number, Seat((Region(number, 0),), 0, 0, 0, 7))
        book.promise(lease, 1, 100)
        hashes.add(book.state_hash())
    assert len(hashes) == 2


@given(st.integers(0, 1 << 63), st.integers(0, 1 << 63))
def test_a_price_code_never_falls_as_the_cost_rises(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert 0 <= price_code(low) <= price_code(high) < INFEASIBLE


@given(st.integers(0, 1 << 63), st.integers(0, 1 << 20))
def test_prices_of_one_code_are_near(cost_ucr: int, more_ucr: int) -> None:
    if price_code(cost_ucr) == price_code(cost_ucr + more_ucr):
        assert more_ucr * 500 < max(cost_ucr, 1)
        assert more_ucr == 0 or cost_ucr >= 1_024
