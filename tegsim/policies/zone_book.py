"""The cluster as a zone of the ledger's own book: what it is asked, and told, as requests come and go.

Hosts stand side by side on runs of eight slots in Morton order: by name, or in an order that is given; a device is a
slot, its model the slot's class. Memory is made so that C_max is what the host has. Requests of cores and memory alone
have no slot: they are promises to one lease that stands for all of them.
"""

from collections.abc import Sequence

from tegcore.field.fragmentation import WHOLE, Words
from tegcore.wire.records import Region
from tegsim.packing.cluster import Choice, Cluster
from zone_ledger.book.base import HostShape, Query, Seat
from zone_ledger.book.fast import FastBook

HOST_LOG2 = 3
RESERVE_UCR = 100_000
COMPUTE_LEASE = 1


class ZoneBook:
    """A zone that holds the hosts of a cluster.

    Args:
        cluster: Its hosts.
        order: Rows in the order in which they stand, by name if none is given.

    Attributes:
        book: The ledger's.
        root: The whole zone.
    """

    def __init__(self, cluster: Cluster, order: Sequence[int] | None = None) -> None:
        zone_k = 2
        while (4**zone_k >> HOST_LOG2) <= len(cluster):
            zone_k += 1
        self.book = FastBook(zone_k)
        self.root = Region(0, 2 * zone_k)
        self._row_of = dict(enumerate(order if order is not None else range(len(cluster))))
        self._run_of = {row: run for run, row in self._row_of.items()}
        self._next = COMPUTE_LEASE + 1
        for kind in range(8):
            self.book.set_reserve(kind, RESERVE_UCR)
        slots = 1 << HOST_LOG2
        for run, row in self._row_of.items():
            assert not cluster.full.free[row, slots:].any(), "a host of the zone has at most eight devices"
            absent = sum(1 << at for at in range(slots) if at >= cluster.full.gpus[row])
            mem_bytes = (int(cluster.full.mem_bytes[row]) + 1) * 100 // 95 + 2
            region = Region(run << HOST_LOG2, HOST_LOG2)
            model, cpu_milli = int(cluster.full.model[row]), int(cluster.full.cpu_milli[row])
            self.book.add_host(row + 1, HostShape(region, model, cpu_milli, mem_bytes, absent))
        desk = Region(self.root.slots - slots, HOST_LOG2)
        self.book.add_host(len(cluster) + 1, HostShape(desk, 0, 0, 0, 0b11111110))
        self.book.seat(COMPUTE_LEASE, Seat((Region(desk.base, 0),), 0, 0, 0, None))

    def slot_of(self, row: int) -> int:
        """The first slot of a host."""
        return self._run_of[row] << HOST_LOG2

    def rows_in(self, region: Region) -> list[int]:
        """Rows of the hosts in a region, by place."""
        runs = range(region.base >> HOST_LOG2, (region.base + region.slots) >> HOST_LOG2)
        return [self._row_of[run] for run in runs if run in self._row_of]

    def ask(self, request: Words, region: Region) -> Choice | None:
        """What the book answers: its cheapest feasible block in a region. Whole devices come as one aligned block."""
        gpus, share, cpu_milli, mem_bytes, mask = request.tolist()
        if gpus == 0 or gpus & (gpus - 1):
            return None
        permille = share if share < WHOLE else 0
        size = gpus.bit_length() - 1
        classes = mask & 0xFF
        found = self.book.find(
            Query(region, size, classes, permille, cpu_milli // gpus, mem_bytes // gpus, leased=False)
        )
        if found is None:
            return None
        run, first = found.block.base >> HOST_LOG2, found.block.base & (1 << HOST_LOG2) - 1
        return Choice(self._row_of[run], tuple(range(first, first + gpus)))

    def seat(self, request: Words, choice: Choice) -> None:
        """Tell the book what was placed."""
        gpus, share, cpu_milli, mem_bytes, _ = request.tolist()
        if not gpus:
            self.book.promise(COMPUTE_LEASE, choice.host + 1, mem_bytes, cpu_milli)
            return
        base = self._run_of[choice.host] << HOST_LOG2
        blocks = tuple(Region(base + device, 0) for device in choice.devices)
        cpu_each, mem_each = cpu_milli // gpus, mem_bytes // gpus
        self.book.seat(self._next, Seat(blocks, share if share < WHOLE else 0, cpu_each, mem_each, None))
        if cpu_milli % gpus or mem_bytes % gpus:
            self.book.promise(self._next, choice.host + 1, mem_bytes % gpus, cpu_milli % gpus)
        self._next += 1
