"""What a book is: which slots there are, who holds them, and the cheapest feasible block of a shape.

A free slot costs its reserve. A leased slot costs the whole threshold of its lease (14): a lease is one rigid body, and
asking for any part of it costs all of it, once. A lease without a threshold is locked: nothing displaces it. Absent and
cordoned slots and those of drained hosts are not offered. A block is of one class.

The cheapest block is the feasible one with the least (price code, Morton base); `tegcore.economics.price_code`.

Host memory is offered up to C_max = 95 % of a host's total, exclusive, and cpu whole; what a displaced lease holds on a
host counts as free there. A share of a slot comes only from free share: it displaces nobody. A whole slot that shares
are taken of costs the thresholds of all of them, and the reserve of the share that is free.

What no book does: `find` looks at a host's memory (or cpu) only where some is asked for; `free_parts` counts cordoned
and drained slots as free; `seat` and `promise` do not look at a host's capacity. Thresholds are bounded by
`THRESHOLD_UCR_MAX` a slot, so that the sum over a zone stays within a signed 64-bit word.

Beside calls with names there are four that cost little (`price`, `grant`, `release`) or nothing each (`run`, a batch of
commands in one array); `OneByOne` says what they mean in terms of the others.
"""

import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import IntEnum, IntFlag
from hashlib import blake2b
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tegcore.units import PRICE_UCR_MAX
from tegcore.wire.records import Region, absent_bits

THRESHOLD_UCR_MAX = 2 * PRICE_UCR_MAX
"""Most that displacing a lease costs for each of its slots."""

Commands = NDArray[np.void]
Results = NDArray[np.void]


class Withheld(IntFlag):
    """Why a slot is not offered."""

    CORDONED = 1
    DRAINED = 2


class BookOp(IntEnum):
    """What a row of a batch asks."""

    QUOTE = 0
    """The cheapest feasible block; changes nothing."""
    GRANT = 1
    """Seat `lease` on the cheapest feasible block, if its cost is at most `limit_ucr`."""
    RELEASE = 2
    REPRICE = 3
    """Another threshold."""
    CORDON = 4
    """Withhold the slot at the base of `region`, or (`size` 0) offer it again."""


class BookStatus(IntEnum):
    """What became of it."""

    DONE = 0
    NO_FIT = 1
    PRICE = 2
    TAKEN = 3
    """The cheapest block would displace leases, and `leased` is 1: ask only."""
    UNKNOWN = 4
    """No such lease."""


COMMANDS = np.dtype(
    [
        (name, "<i8")
        for name in (
            "op",
            "lease",
            "region",
            "size",
            "classes",
            "limit_ucr",
            "threshold_ucr",
            "leased",
            "cpu_milli",
            "mem_bytes",
        )
    ]
)
"""A row of a batch. `region` as in `Region.packed`; `threshold_ucr` -1 for none; `leased` 0: free blocks only, 1:
leased ones are looked at, 2: and displaced, at once. Leases of a batch have one block of whole slots."""

RESULTS = np.dtype([(name, "<i8") for name in ("status", "block", "cost_ucr", "displaced")])
"""A row of answers: `BookStatus`, the block as `base << 8 | log2` or -1, its cost, how many leases it displaced."""


MASK_BITS = 63
"""Of the word that says which slots of a host are absent, bit by bit."""


class HostShape(NamedTuple):
    """What a host brings to the book.

    Attributes:
        region: Its aligned run of slots.
        slot_class: Class of all its slots, 0..7.
        cpu_milli: Cores offered, in thousandths.
        mem_bytes: Memory of the host; C_max of it is offered.
        absent_mask: Which slots of the run are absent, as `tegcore.wire.records.absent_bits` reads it.
    """

    region: Region
    slot_class: int
    cpu_milli: int
    mem_bytes: int
    absent_mask: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether its mask tells of slots of the run, and of no others."""
        if self.absent_mask < 0:
            return -self.absent_mask < self.region.slots
        return self.absent_mask >> min(self.region.slots, MASK_BITS) == 0

    @property
    def absent_bits(self) -> int:
        """Bit i set: slot i of the run is absent."""
        return absent_bits(self.absent_mask, self.region.log2)


class HostUse(NamedTuple):
    """How much of a host is promised.

    Attributes:
        cpu_milli: To leases.
        mem_bytes: To leases.
        cpu_max_milli: Promises of cpu stay at or below it.
        mem_max_bytes: C_max: promises of memory stay below it.
    """

    cpu_milli: int
    mem_bytes: int
    cpu_max_milli: int
    mem_max_bytes: int


class Query(NamedTuple):
    """One block that is asked for.

    Attributes:
        region: Where.
        size: log2 of its slots.
        classes: Mask of the classes that will do.
        share_permille: 0 for whole slots, else a part of one slot (`size` 0).
        cpu_milli: Per slot.
        mem_bytes: Per slot.
        leased: Whether leased slots may be asked for.
    """

    region: Region
    size: int
    classes: int = 1
    share_permille: int = 0
    cpu_milli: int = 0
    mem_bytes: int = 0
    leased: bool = True


class Candidate(NamedTuple):
    """The cheapest feasible block.

    Attributes:
        code: Price code that it was chosen by.
        block: Where it is.
        cost_ucr: Its exact cost.
        displaced: Leases that must leave, in order of their numbers.
        displaced_ucr: The part of the cost that is their thresholds.
    """

    code: int
    block: Region
    cost_ucr: int
    displaced: tuple[int, ...]
    displaced_ucr: int


class Seat(NamedTuple):
    """What a lease holds.

    Attributes:
        blocks: Its slots.
        share_permille: 0 for whole slots.
        cpu_milli: Per slot.
        mem_bytes: Per slot.
        threshold_ucr: What displacing it costs, whole; None: it cannot be displaced.
    """

    blocks: tuple[Region, ...]
    share_permille: int
    cpu_milli: int
    mem_bytes: int
    threshold_ucr: int | None


class Summary(NamedTuple):
    """What a region holds.

    Attributes:
        present: Slots that are there.
        free: Of them, free, neither cordoned nor on a drained host.
        leased: Of them, held.
        withheld: Of them, cordoned or drained.
        largest_free: log2 of the largest free block of one class, -1 for none.
        reserve_ucr: Sum of the reserves of all present slots.
    """

    present: int
    free: int
    leased: int
    withheld: int
    largest_free: int
    reserve_ucr: int


class Book(Protocol):
    """The contract of all books. Numbers of hosts and leases are the caller's; asking amiss is an assertion."""

    zone_k: int

    def add_host(self, host: int, shape: HostShape) -> None:
        """Take in a host; its run must be within the zone and not overlap another's."""

    def remove_host(self, host: int) -> None:
        """Forget a host that holds no lease."""

    def hosts_of(self, block: Region) -> tuple[int, ...]:
        """The hosts that a block touches, by place."""

    def shape_of(self, host: int) -> HostShape:
        """What a host brought."""

    def region_of(self, host: int) -> Region:
        """A host's run of slots."""

    def set_reserve(self, slot_class: int, reserve_ucr: int) -> None:
        """Reserve of every slot of a class, from now on."""

    def class_reserve(self, slot_class: int) -> int:
        """Reserve of a slot of a class."""

    def reserve_of(self, blocks: tuple[Region, ...], share_permille: int = 0) -> int:
        """Sum of the reserves of blocks; of a share, rounded up."""

    def cordon(self, slot: int, *, on: bool) -> None:
        """Withhold a slot, or offer it again."""

    def drain(self, host: int, *, on: bool) -> None:
        """Withhold a host's slots, or offer them again."""

    def find(self, query: Query) -> Candidate | None:
        """The cheapest feasible block, or None. Changes nothing."""

    def seat(self, lease: int, seat: Seat) -> None:
        """Give slots that are free to a lease."""

    def unseat(self, lease: int) -> Seat:
        """Take a lease out: the inverse of `seat`; what it was promised since goes with it."""

    def seat_of(self, lease: int) -> Seat:
        """What a lease holds."""

    def threshold_of(self, lease: int) -> int | None:
        """What displacing a lease costs, None: it cannot be displaced."""

    def set_threshold(self, lease: int, threshold_ucr: int | None) -> None:
        """What displacing a lease costs from now on."""

    def promise(self, lease: int, host: int, mem_bytes: int, cpu_milli: int = 0) -> None:
        """Promise a lease more of a host's memory and cpu than its seat says, or, below 0, take some back."""

    def held_on(self, lease: int, host: int) -> tuple[int, int]:
        """Memory in bytes and cpu in thousandths that a lease holds on a host, with what was promised since."""

    def leases_in(self, block: Region) -> tuple[int, ...]:
        """The leases that hold a slot of a block, in order of their numbers."""

    def free_parts(self, block: Region) -> tuple[Region, ...]:
        """The free slots of a block as maximal aligned runs, by place."""

    def use_of(self, host: int) -> HostUse:
        """What is promised of a host."""

    def summary(self, region: Region) -> Summary:
        """What a region holds; looks at each of its slots."""

    def free_slots(self, region: Region) -> int:
        """Slots of a region that are free, neither cordoned nor on a drained host."""

    def host_kinds(self) -> Collection[tuple[int, int, int]]:
        """(slots of the run, cpu_milli, mem_bytes) of the hosts in the zone, each once."""

    def is_leased(self, region: Region) -> bool:
        """Whether any slot of a region is held."""

    def largest_free(self, region: Region, slot_class: int) -> list[int]:
        """By size, how many maximal aligned free blocks of a class a region has."""

    def zone_totals(self) -> tuple[int, int]:
        """Slots that are there, and the sum of their reserves."""

    def price(self, size: int, classes: int = 1, base: int = 0, log2: int = -1) -> int:
        """Exact cost of the cheapest block of 2^size whole slots in a run (the zone by default), or -1."""

    def grant(
        self,
        number: int,
        size: int,
        limit_ucr: int,
        threshold_ucr: int,
        classes: int = 1,
        base: int = 0,
        log2: int = -1,
    ) -> int:
        """Seat a lease on the cheapest block if that is free and costs at most `limit_ucr`; its base, or -1.

        A threshold below 0 locks it.
        """

    def release(self, number: int) -> bool:
        """Take a lease out, if it is there."""

    def run(self, commands: Commands) -> Results:
        """Carry out a batch: rows of `COMMANDS` in order; rows of `RESULTS`."""

    def cordoned(self) -> list[int]:
        """Cordoned slots, in order."""

    def seats(self) -> Iterator[tuple[int, Seat, dict[int, tuple[int, int]]]]:
        """(number, seat, (memory, cpu) promised beyond it by host) of every lease, in order of their numbers."""

    def state_hash(self) -> bytes:
        """16 bytes that are equal for equal contents, whichever book holds them."""

    def check(self) -> None:
        """Assert that all that is derived agrees with what it is derived from."""


class OneByOne:
    """The quick calls and batches, by way of the others."""

    def price(self: Book, size: int, classes: int = 1, base: int = 0, log2: int = -1) -> int:
        """See `Book.price`."""
        found = self.find(Query(_run_of(self, base, log2), size, classes))
        return -1 if found is None else found.cost_ucr

    def grant(
        self: Book,
        number: int,
        size: int,
        limit_ucr: int,
        threshold_ucr: int,
        classes: int = 1,
        base: int = 0,
        log2: int = -1,
    ) -> int:
        """See `Book.grant`."""
        found = self.find(Query(_run_of(self, base, log2), size, classes))
        if found is None or found.displaced or found.cost_ucr > limit_ucr:
            return -1
        self.seat(number, Seat((found.block,), 0, 0, 0, None if threshold_ucr < 0 else threshold_ucr))
        return found.block.base

    def release(self: Book, number: int) -> bool:
        """See `Book.release`."""
        try:
            self.unseat(number)
        except KeyError:
            return False
        return True

    def run(self: Book, commands: Commands) -> Results:
        """See `Book.run`."""
        rows = [_carry_out(self, _Command(*row)) for row in commands.tolist()]
        return np.array(rows, dtype=RESULTS)


class _Command(NamedTuple):
    op: int
    lease: int
    region: int
    size: int
    classes: int
    limit_ucr: int
    threshold_ucr: int
    leased: int
    cpu_milli: int
    mem_bytes: int


def _carry_out(book: Book, row: _Command) -> tuple[int, int, int, int]:
    threshold_ucr = None if row.threshold_ucr < 0 else row.threshold_ucr
    if row.op == BookOp.RELEASE:
        return (BookStatus.DONE if book.release(row.lease) else BookStatus.UNKNOWN), 0, 0, 0
    if row.op == BookOp.REPRICE:
        try:
            book.set_threshold(row.lease, threshold_ucr)
        except KeyError:
            return BookStatus.UNKNOWN, 0, 0, 0
        return BookStatus.DONE, 0, 0, 0
    if row.op == BookOp.CORDON:
        book.cordon(row.region >> 8, on=bool(row.size))
        return BookStatus.DONE, 0, 0, 0
    region = Region(row.region >> 8, row.region & 0xFF)
    asked = Query(region, row.size, row.classes, 0, row.cpu_milli, row.mem_bytes, leased=row.leased > 0)
    found = book.find(asked)
    if found is None:
        return BookStatus.NO_FIT, -1, 0, 0
    block = found.block.packed()
    if row.op == BookOp.QUOTE:
        return BookStatus.DONE, block, found.cost_ucr, 0
    if found.cost_ucr > row.limit_ucr:
        return BookStatus.PRICE, block, found.cost_ucr, 0
    if found.displaced and row.leased < 2:
        return BookStatus.TAKEN, block, found.cost_ucr, 0
    for lease in found.displaced:
        book.unseat(lease)
    book.seat(row.lease, Seat((found.block,), 0, row.cpu_milli, row.mem_bytes, threshold_ucr))
    return BookStatus.DONE, block, found.cost_ucr, len(found.displaced)


def _run_of(book: Book, base: int, log2: int) -> Region:
    return Region(base, 2 * book.zone_k if log2 < 0 else log2)


def mem_max_bytes(shape: HostShape) -> int:
    """C_max of a host: promises of memory stay below 95 % of what it has."""
    return shape.mem_bytes * 95 // 100


def assert_threshold(seat: Seat) -> None:
    """A threshold is within its bound."""
    threshold_ucr = seat.threshold_ucr or 0
    if threshold_ucr > THRESHOLD_UCR_MAX:
        slots = sum(block.slots for block in seat.blocks)
        assert threshold_ucr <= THRESHOLD_UCR_MAX * slots, f"threshold {threshold_ucr} of {slots} slots"


def contents_hash(
    zone_k: int,
    reserves: Iterable[int],
    hosts: Iterable[tuple[int, HostShape, bool, HostUse]],
    cordoned: Iterable[int],
    leases: Iterable[tuple[int, Seat, Mapping[int, tuple[int, int]]]],
) -> bytes:
    """The hash of a book's contents, 16 bytes.

    Args:
        zone_k: Of the zone.
        reserves: By class.
        hosts: (number, shape, drained, use) in order of their numbers.
        cordoned: Slots, in order.
        leases: (number, seat, promised beyond the seat by host) in order of their numbers.
    """
    digest = blake2b(digest_size=16)

    def add(*words: int) -> None:
        digest.update(struct.pack(f"<{len(words)}q", *words))

    add(zone_k, *reserves)
    for number, shape, drained, use in hosts:
        add(number, *shape.region, *shape[1:], drained, use.cpu_milli, use.mem_bytes)
    withheld = list(cordoned)
    add(len(withheld), *withheld)
    for number, seat, promised in leases:
        threshold_ucr = -1 if seat.threshold_ucr is None else seat.threshold_ucr
        blocks = [word for block in seat.blocks for word in block]
        extra = [word for host, more in sorted(promised.items()) if any(more) for word in (host, *more)]
        seated = (number, seat.share_permille, seat.cpu_milli, seat.mem_bytes, threshold_ucr)
        add(*seated, len(blocks), *blocks, len(extra), *extra)
    return digest.digest()
