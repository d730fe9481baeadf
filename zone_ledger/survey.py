"""What the zone has, counted host by host: how many slots of each class, what keeps them, the largest blocks.

Hosts are told it with each full frame of heat, so that they can say why work waits, and refuse at once what can never
be had. A round begins every `FULL_EVERY_TICKS` and looks at no more than `HOSTS_PER_TICK` hosts a tick: in a small zone
it is over in the tick in which it began, in a large one it takes longer, and the stock says from which tick on it was
counted. Derived, never journaled: a ledger that starts anew tells nothing until its first round is over.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from tegcore.units import CLASS_COUNT_MAX
from tegcore.wire.messages import HOST_KINDS_MAX, ClassStock, HostKind, Stock
from tegcore.wire.records import Region
from zone_ledger.heat import FULL_EVERY_TICKS
from zone_ledger.leases import HostSession, Lease, LeaseState
from zone_ledger.placement import slots_on
from zone_ledger.state import State

HOSTS_PER_TICK = 32


class Blocks:
    """Aligned runs put together: two halves of a run are the run."""

    def __init__(self) -> None:
        self._runs: set[tuple[int, int]] = set()
        self.largest_log2 = -1

    def add(self, base: int, log2: int) -> None:
        """A run that overlaps none of those before."""
        while (base ^ 1 << log2, log2) in self._runs:
            self._runs.remove((base ^ 1 << log2, log2))
            base, log2 = base & ~(1 << log2), log2 + 1
        self._runs.add((base, log2))
        self.largest_log2 = max(self.largest_log2, log2)


@dataclass
class _Count:
    """Of one class, while a round is under way."""

    sums: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    present: Blocks = field(default_factory=Blocks)
    free: Blocks = field(default_factory=Blocks)
    free_within: int = -1
    free_cpu_milli: int = 0
    free_mem_bytes: int = 0
    ends: list[int] = field(default_factory=list)
    leave_tick: int = 0
    declared_tick: int = 0

    def told(self, slot_class: int) -> ClassStock:
        return ClassStock(
            slot_class,
            **self.sums,
            largest_log2=self.present.largest_log2,
            free_log2=max(self.free_within, self.free.largest_log2),
            free_cpu_milli=self.free_cpu_milli,
            free_mem_bytes=self.free_mem_bytes,
            end_tick=min(self.ends, default=0),
            leave_tick=self.leave_tick,
            declared_tick=self.declared_tick,
        )


class Survey:
    """One zone's.

    Attributes:
        stock: As it was counted last; None before the first round is over.
    """

    def __init__(self) -> None:
        self.stock: Stock | None = None
        self._left: Iterator[int] | None = None
        self._counts: dict[int, _Count] = {}
        self._kinds: set[HostKind] = set()
        self._cordoned: list[int] = []
        self._since = 0

    def step(self, state: State) -> None:
        """A tick has passed: look at some more hosts."""
        if self._left is None and state.tick % FULL_EVERY_TICKS == 0:
            self._left, self._since = iter(list(state.hosts)), state.tick
            self._counts, self._kinds = defaultdict(_Count), set()
            self._cordoned = state.book.cordoned()
        if self._left is None:
            return
        for _ in range(HOSTS_PER_TICK):
            number = next(self._left, None)
            if number is None:
                self._left = None
                classes = [count.told(slot_class) for slot_class, count in sorted(self._counts.items())]
                self.stock = Stock(self._since, classes, _few(self._kinds))
                return
            if (session := state.hosts.get(number)) is not None and session.boot:
                self._look(state, session)

    def _look(self, state: State, session: HostSession) -> None:
        book = state.book
        shape, use = book.shape_of(session.number), book.use_of(session.number)
        region, count = shape.region, self._counts[shape.slot_class]
        self._kinds.add(HostKind(shape.slot_class, region.log2, use.cpu_max_milli, use.mem_max_bytes))
        slots, free = region.slots - shape.absent_bits.bit_count(), book.free_slots(region)
        count.sums["slots"] += slots
        if session.withheld:  # what is held there is nobody's next, whenever it is given up
            count.sums["drained" if session.drained else "lost"] += slots
        else:
            held = [lease for lease in state.leases_of(session.number) if session.number in lease.hosts]
            leased = self._held(state, session.number, held, count)
            cordoned = bisect_left(self._cordoned, region.end) - bisect_left(self._cordoned, region.base)
            # What is neither cordoned nor held is promised to someone who waits for the rest of it.
            idle = max(0, min(slots - free - leased, cordoned))
            count.sums["free"] += free
            count.sums["cordoned"] += idle
            count.sums["leased"] += slots - free - idle
        for part in (region,) if not shape.absent_mask else _present(region, shape.absent_bits):
            count.present.add(part.base, part.log2)
        if not free:
            return
        if free == region.slots:
            count.free.add(region.base, region.log2)
        else:
            runs = book.largest_free(region, shape.slot_class)
            count.free_within = max(count.free_within, *(log2 for log2, often in enumerate(runs) if often), -1)
        count.free_cpu_milli = max(count.free_cpu_milli, use.cpu_max_milli - use.cpu_milli)
        count.free_mem_bytes = max(count.free_mem_bytes, use.mem_max_bytes - use.mem_bytes)

    def _held(self, state: State, host: int, leases: list[Lease], count: _Count) -> int:
        """Slots of a host that leases hold; when the first of them ends, or is to be clear."""
        leased, shared, endless = 0, set(), set()
        for lease in leases:
            slots = sum(slots_on(state.book, block, host) for block in lease.blocks)
            if lease.shape.share_permille:
                shared.add(lease.blocks[0].base)
            else:
                leased += slots
            if lease.state is LeaseState.EVICTING:
                count.sums["leaving"] += slots
                count.leave_tick = min(count.leave_tick or lease.deadline, lease.deadline)
                endless.add(lease.blocks[0].base)
                continue
            count.ends.append(lease.term_end)
            if not lease.traits.time_ticks:
                endless.add(lease.blocks[0].base)
            else:
                end = lease.granted + lease.traits.time_ticks
                count.declared_tick = min(count.declared_tick or end, end)
                count.sums["declared"] += 0 if lease.shape.share_permille else slots
        count.sums["declared"] += len(shared - endless)
        count.ends = [min(count.ends)] if count.ends else []
        return leased + len(shared)


def _present(region: Region, absent: int) -> list[Region]:
    slots = range(region.slots)
    return [Region(region.base + slot, 0) for slot in slots if not absent >> slot & 1]


def _few(kinds: set[HostKind]) -> list[HostKind]:
    """At most as many as a message has room for: of too many, those of a class as one that has the most of each."""
    listed = sorted(kinds, key=msgspec.structs.astuple)
    if len(listed) <= HOST_KINDS_MAX:
        return listed
    most = []
    for slot_class in range(CLASS_COUNT_MAX):
        same = [kind for kind in listed if kind.slot_class == slot_class]
        if same:
            # The fewest slots a host: of a block that spans hosts, the least of it has to fit on each.
            least = min(kind.log2_slots for kind in same)
            cpu, mem = max(kind.cpu_milli for kind in same), max(kind.mem_bytes for kind in same)
            most.append(HostKind(slot_class, least, cpu, mem))
    return most
