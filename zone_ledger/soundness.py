"""What a snapshot must hold to before the book is built of it: compiled code checks no position against its bounds.

A checksum proves that a file is as it was written, not that who wrote it was right. What is looked at here is all that
reaches the book, then or later: hosts, cordons, seats, and the regions, shapes and blocks that orders bring.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from itertools import pairwise

from tegcore.units import BLOCKS_PER_ORDER_MAX, CLASS_COUNT_MAX, PERMILLE, PRICE_UCR_MAX, UCR_MAX, ZONE_K_MAX
from tegcore.wire.records import WORD_MAX, Genesis, Op, Region, Shape, bounds_of
from zone_ledger.book.base import HostShape, Seat
from zone_ledger.leases import Lease, Order
from zone_ledger.orders import NEED_MAX

HOST_LOG2_MAX = 16
HOST_NUMBER_MAX = 2**32 - 1


class UnsoundError(ValueError):
    """What no zone has; says where."""


def _demand(holds: bool, what: object) -> None:
    if not holds:
        raise UnsoundError(f"no zone has {what}")


class Soundness:
    """Checks the parts of one zone.

    Args:
        genesis: Its settings.

    Raises:
        UnsoundError: If they are not in their ranges; so do all checks.
    """

    def __init__(self, genesis: Genesis) -> None:
        for value, (name, (low, high)) in zip(genesis, bounds_of(Op.GENESIS), strict=True):
            _demand(low <= value <= high, f"{name} = {value}")
        self._slots = 1 << 2 * genesis.zone_k
        self._present: list[tuple[Region, int]] = []

    def reserves(self, reserves: Mapping[int, int]) -> None:
        """Reserves by class."""
        for slot_class, reserve_ucr in reserves.items():
            _demand(0 <= slot_class < CLASS_COUNT_MAX, f"class {slot_class}")
            _demand(0 <= reserve_ucr <= PRICE_UCR_MAX, f"a reserve of {reserve_ucr}")

    def hosts(self, shapes: Iterable[tuple[int, HostShape]]) -> None:
        """Hosts with what they brought: each once, no slot of two of them."""
        numbers, runs = [], []
        for number, shape in shapes:
            self._run(shape.region, HOST_LOG2_MAX)
            _demand(0 < number <= HOST_NUMBER_MAX, f"host {number}")
            _demand(0 <= shape.slot_class < CLASS_COUNT_MAX, f"class {shape.slot_class}")
            _demand(0 <= shape.cpu_milli <= UCR_MAX and 0 <= shape.mem_bytes <= 1 << 50, shape)
            _demand(-shape.region.slots < shape.absent_mask <= WORD_MAX, shape)
            numbers.append(number)
            runs.append(shape.region)
            self._present.append((shape.region, shape.absent_bits))
        _demand(len(numbers) == len(set(numbers)), "one host twice")
        self._apart(runs)
        self._present.sort()

    def cordons(self, slots: Iterable[int]) -> None:
        """Cordoned slots."""
        for slot in slots:
            _demand(0 <= slot < self._slots, f"slot {slot}")

    def seat(self, number: int, seat: Seat, promised: Mapping[int, tuple[int, int]]) -> None:
        """A seat, a reservation among them, with what was promised beyond it."""
        _demand(number != 0 and -WORD_MAX <= number <= WORD_MAX, f"lease {number}")
        self._blocks(seat.blocks)
        self._share(seat.share_permille, [block.log2 for block in seat.blocks])
        _demand(not seat.share_permille or self._is_present(seat.blocks[0].base), f"a share of {seat.blocks}")
        self._needs(seat.cpu_milli, seat.mem_bytes, max((block.log2 for block in seat.blocks), default=0))
        _demand(seat.threshold_ucr is None or 0 <= seat.threshold_ucr <= WORD_MAX, seat)
        for more in promised.values():
            _demand(all(-UCR_MAX <= amount <= UCR_MAX for amount in more), f"{more} promised")

    def lease(self, lease: Lease, seat: Seat | None) -> None:
        """A lease, and that it has its seat."""
        self._shape(lease.shape, 2 * ZONE_K_MAX)
        _demand(seat is not None and seat.blocks == lease.blocks, f"lease {lease.number} without its seat")

    def order(self, order: Order) -> None:
        """An order that waits, or once waited and may come again."""
        self._run(order.region, 2 * ZONE_K_MAX)
        self._shape(order.shape, order.region.log2)
        self._needs(order.cpu_milli, order.mem_bytes, order.shape.sizes[0])
        self._blocks(order.blocks)
        _demand(0 <= order.limit_ucr <= PRICE_UCR_MAX, f"a limit of {order.limit_ucr}")

    def promise(self, blocks: tuple[Region, ...]) -> None:
        """Slots that are kept."""
        self._blocks(blocks)

    def _is_present(self, slot: int) -> bool:
        """Whether a host has a slot; of whole slots the book itself asks."""
        at = bisect_right(self._present, slot, key=lambda present: present[0].base) - 1
        if at < 0:
            return False
        region, absent = self._present[at]
        return slot < region.end and not absent >> slot - region.base & 1

    def _run(self, region: Region, log2_max: int) -> None:
        base, log2 = region
        sound = 0 <= log2 <= log2_max and base >= 0 and not base & (1 << log2) - 1 and region.end <= self._slots
        _demand(sound, region)

    def _blocks(self, blocks: tuple[Region, ...]) -> None:
        for block in blocks:
            self._run(block, 2 * ZONE_K_MAX)
        self._apart(list(blocks))

    def _apart(self, runs: list[Region]) -> None:
        runs = sorted(runs)
        for one, other in pairwise(runs):
            _demand(one.end <= other.base, f"{one} and {other} apart")

    def _shape(self, shape: Shape, log2_max: int) -> None:
        sizes = shape.sizes
        _demand(0 < len(sizes) <= BLOCKS_PER_ORDER_MAX and list(sizes) == sorted(sizes, reverse=True), shape)
        _demand(all(0 <= size <= log2_max for size in sizes), shape)
        _demand(0 < shape.classes < 1 << CLASS_COUNT_MAX, shape)
        self._share(shape.share_permille, list(sizes))

    def _share(self, share_permille: int, sizes: list[int]) -> None:
        _demand(0 <= share_permille < PERMILLE and (not share_permille or sizes == [0]), f"a share of {share_permille}")

    def _needs(self, cpu_milli: int, mem_bytes: int, log2: int) -> None:
        _demand(cpu_milli >= 0 and mem_bytes >= 0 and max(cpu_milli, mem_bytes) << log2 < NEED_MAX, "such needs")
