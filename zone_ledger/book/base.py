"""What a book is: which slots there are, who holds them, and the cheapest feasible block of a shape.

A free slot costs its reserve. A leased slot costs the whole threshold of its lease (14): a lease is one rigid body, and
asking for any part of it costs all of it, once. A lease without a threshold is locked: nothing displaces it. Absent and
cordoned slots and those of drained hosts are not offered. A block is of one class.

The cheapest block is the feasible one with the least (price code, Morton base); `tegcore.economics.price_code`.

Host memory is offered up to C_max = 95 % of a host's total, exclusive, and cpu whole; what a displaced lease holds on a
host counts as free there. A share of a slot comes only from free share: it displaces nobody. A whole slot that shares
are taken of costs the thresholds of all of them, and the reserve of the share that is free.
"""

from typing import NamedTuple, Protocol

from tegcore.wire.records import Region


class HostShape(NamedTuple):
    """What a host brings to the book.

    Attributes:
        region: Its aligned run of slots.
        slot_class: Class of all its slots, 0..7.
        cpu_milli: Cores offered, in thousandths.
        mem_bytes: Memory of the host; C_max of it is offered.
        absent_mask: Bit i set: slot i of the run is absent.
    """

    region: Region
    slot_class: int
    cpu_milli: int
    mem_bytes: int
    absent_mask: int = 0


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
        """What a region holds."""

    def state_hash(self) -> bytes:
        """16 bytes that are equal for equal contents, whichever book holds them."""

    def check(self) -> None:
        """Assert that all that is derived agrees with what it is derived from."""
