"""Those that wait for slots, kept so that the next of each kind is found without looking at the rest."""

import heapq
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from tegcore.wire.records import Region
from zone_ledger.leases import Order, OrderKey

Key = tuple[int, int]
"""(host, ref) of a workload."""

Kind = tuple[int, ...]
"""What is asked for."""

Rank = Callable[[int], int]
"""Of a tenant: the least is served first."""

_Line = tuple[int, Kind]
"""A tenant, 0 for all of them together, and what is asked for."""


@dataclass(slots=True)
class Waiter:
    """Work whose order found no room.

    Attributes:
        order: As it was asked last.
        since: Tick since when it waits; kept when its work is put back in the queue.
        asked: Tick of its latest order.
        ready: Whether it has asked since it last had a seat, and its host is heard.
        woken: Tick until which it may answer that it was told of room; 0: it was not.
        version: Of its entries in lines: others are passed over. No version is given twice, whoever has it.
    """

    order: Order
    since: int
    asked: int = 0
    ready: bool = False
    woken: int = 0
    version: int = field(default=0, compare=False)

    @property
    def key(self) -> Key:
        """What it is known by."""
        return self.order.key.host, self.order.ref

    @property
    def age(self) -> tuple[int, int, OrderKey]:
        """The least is served first at fixed prices."""
        return self.since, self.order.arrived, self.order.key

    @property
    def kind(self) -> Kind:
        """What it asks for: where one does not fit, no other of its kind does."""
        order = self.order
        return (
            order.region.packed(),
            order.shape.packed(),
            order.cpu_milli,
            order.mem_bytes,
            order.traits.time_ticks,
            order.named,
        )


class Promise(NamedTuple):
    """Slots that are kept for one waiter.

    Attributes:
        start_tick: When they are free, as their holders declared; 0: when they drain.
    """

    key: Key
    start_tick: int
    blocks: tuple[Region, ...]


_Entry = tuple[tuple[int, int, int, OrderKey], int, Key]


@dataclass(slots=True)
class Queue:
    """All of them, by host and workload.

    Attributes:
        by_tenant: Whether each tenant stands in lines of its own, by age.
        waiters: Of whatever state; whoever changes one marks its row in the state.
    """

    by_tenant: bool = False
    waiters: dict[Key, Waiter] = field(default_factory=dict)
    _by_age: dict[_Line, list[_Entry]] = field(default_factory=dict, compare=False)
    _by_limit: dict[_Line, list[_Entry]] = field(default_factory=dict, compare=False)
    _tenants: dict[Kind, set[int]] = field(default_factory=dict, compare=False)
    _woken: dict[Key, Waiter] = field(default_factory=dict, compare=False)
    _version: int = field(default=0, compare=False)

    def put(self, waiter: Waiter) -> None:
        """A waiter is to be woken when it fits."""
        self._supersede(waiter)
        self.waiters[waiter.key] = waiter
        self._woken.pop(waiter.key, None)
        age, kind = waiter.age, waiter.kind
        tenant = waiter.order.tenant if self.by_tenant else 0
        for heaps, line, rank in (
            (self._by_age, (tenant, kind), 0),
            (self._by_limit, (0, kind), -waiter.order.limit_ucr),
        ):
            heapq.heappush(heaps.setdefault(line, []), ((rank, *age), waiter.version, waiter.key))
        self._tenants.setdefault(kind, set()).add(tenant)

    def restore(self, waiters: Iterable[Waiter]) -> None:
        """Take in those of a snapshot."""
        for waiter in waiters:
            self.put(waiter)
            if waiter.woken:
                self.note_woken(waiter)

    def note_woken(self, waiter: Waiter) -> None:
        """A waiter was told of room."""
        self._supersede(waiter)
        self._woken[waiter.key] = waiter

    def _supersede(self, waiter: Waiter) -> None:
        self._version += 1
        waiter.version = self._version

    def woken(self, but: Collection[Key] = ()) -> list[Waiter]:
        """Those that were told of room and have not answered."""
        return [waiter for key, waiter in self._woken.items() if key not in but and self._is_woken(key, waiter)]

    def expired(self, tick: int) -> list[Waiter]:
        """Those that have not answered in time; forgets who has."""
        late = [waiter for key, waiter in self._woken.items() if self._is_woken(key, waiter) and waiter.woken <= tick]
        for key in [key for key, waiter in self._woken.items() if not self._is_woken(key, waiter)]:
            del self._woken[key]
        return late

    def highest(self) -> "Heads":
        """The highest bidder of each kind, the highest before the others."""
        return Heads(self.waiters, self._by_limit, _nobody_first)

    def oldest(self, rank: Rank) -> "Heads":
        """The oldest of each kind and tenant, by the tenant's rank and then by age."""
        return Heads(self.waiters, self._by_age, rank if self.by_tenant else _nobody_first)

    def is_passed(self, order: Order, since: int, rank: Rank) -> bool:
        """Whether younger work that asks for the same is served before an order, by its tenant's rank."""
        kind, own = Waiter(order, since).kind, rank(order.tenant)
        tenants = self._tenants.get(kind, set()) if self.by_tenant else set()
        for tenant in sorted(tenants - {order.tenant}):
            heap = self._by_age.get((tenant, kind), [])
            if not first_of(self.waiters, heap):
                tenants.discard(tenant)
            elif rank(tenant) < own and heap[0][0][1] > since:
                return True
        return False

    def _is_woken(self, key: Key, waiter: Waiter) -> bool:
        return waiter.woken > 0 and self.waiters.get(key) is waiter


def _nobody_first(_tenant: int) -> int:
    return 0


def first_of(waiters: dict[Key, Waiter], heap: list[_Entry]) -> bool:
    """Whether someone stands in a heap, once those at its top who do no longer are taken off."""
    while heap:
        _, version, key = heap[0]
        waiter = waiters.get(key)
        if waiter is not None and waiter.ready and waiter.version == version:
            return True
        heapq.heappop(heap)
    return False


class Heads:
    """The first waiter of each line, in order."""

    def __init__(self, waiters: dict[Key, Waiter], heaps: dict[_Line, list[_Entry]], rank: Rank) -> None:
        self._waiters = waiters
        self._heaps = heaps
        self._ranks = {tenant: rank(tenant) for tenant in sorted({tenant for tenant, _ in heaps})}
        self._dropped: set[Kind] = set()
        self._heads: list[tuple[int, tuple[int, int, int, OrderKey], _Line]] = []
        for line in list(heaps):
            self._push(line)

    def __bool__(self) -> bool:
        return bool(self._heads)

    def first(self) -> Waiter:
        """The first of all."""
        return self._waiters[self._heaps[self._heads[0][2]][0][2]]

    def take(self) -> None:
        """The first has been dealt with: the next of its line takes its place."""
        _, _, line = heapq.heappop(self._heads)
        heapq.heappop(self._heaps[line])
        self._push(line)
        self._skip()

    def drop_kind(self) -> None:
        """Nobody who asks for the same as the first is to be looked at."""
        _, _, (_, kind) = heapq.heappop(self._heads)
        self._dropped.add(kind)
        self._skip()

    def _skip(self) -> None:
        while self._heads and self._heads[0][2][1] in self._dropped:
            heapq.heappop(self._heads)

    def _push(self, line: _Line) -> None:
        heap = self._heaps[line]
        if first_of(self._waiters, heap):
            heapq.heappush(self._heads, (self._ranks[line[0]], heap[0][0], line))
        else:
            del self._heaps[line]
