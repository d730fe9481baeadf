"""Those that wait for slots, kept so that the next of each kind is found without looking at the rest."""

import heapq
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from tegcore.wire.records import Region
from zone_ledger.leases import Order, OrderKey

Key = tuple[int, int]
"""(host, ref) of a workload."""

Kind = tuple[int, ...]


@dataclass(slots=True)
class Waiter:
    """Work whose order found no room.

    Attributes:
        order: As it was asked last.
        since: Tick since when it waits; kept when its work is put back in the queue.
        asked: Tick of its latest order.
        ready: Whether it has asked since it last had a seat, and its host is heard.
        woken: Tick until which it may answer that it was told of room; 0: it was not.
        version: Of its entries in heaps: older ones are passed over.
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
        waiters: Of whatever state; whoever changes one marks its row in the state.
    """

    waiters: dict[Key, Waiter] = field(default_factory=dict)
    _by_age: dict[Kind, list[_Entry]] = field(default_factory=dict, compare=False)
    _by_limit: dict[Kind, list[_Entry]] = field(default_factory=dict, compare=False)
    _woken: dict[Key, Waiter] = field(default_factory=dict, compare=False)

    def put(self, waiter: Waiter) -> None:
        """A waiter is to be woken when it fits."""
        waiter.version += 1
        self.waiters[waiter.key] = waiter
        self._woken.pop(waiter.key, None)
        age = waiter.age
        for heaps, rank in ((self._by_age, 0), (self._by_limit, -waiter.order.limit_ucr)):
            heapq.heappush(heaps.setdefault(waiter.kind, []), ((rank, *age), waiter.version, waiter.key))

    def restore(self, waiters: Iterable[Waiter]) -> None:
        """Take in those of a snapshot."""
        for waiter in waiters:
            self.put(waiter)
            if waiter.woken:
                self.note_woken(waiter)

    def note_woken(self, waiter: Waiter) -> None:
        """A waiter was told of room."""
        waiter.version += 1
        self._woken[waiter.key] = waiter

    def woken(self, but: Collection[Key] = ()) -> list[Waiter]:
        """Those that were told of room and have not answered."""
        return [waiter for key, waiter in self._woken.items() if key not in but and self._is_woken(key, waiter)]

    def expired(self, tick: int) -> list[Waiter]:
        """Those that have not answered in time; forgets who has."""
        late = [waiter for key, waiter in self._woken.items() if self._is_woken(key, waiter) and waiter.woken <= tick]
        for key in [key for key, waiter in self._woken.items() if not self._is_woken(key, waiter)]:
            del self._woken[key]
        return late

    def heads(self, *, by_limit: bool) -> "Heads":
        """The first of each kind, the oldest or the highest bidder before the others."""
        return Heads(self.waiters, self._by_limit if by_limit else self._by_age)

    def _is_woken(self, key: Key, waiter: Waiter) -> bool:
        return waiter.woken > 0 and self.waiters.get(key) is waiter


class Heads:
    """The first waiter of each kind, in order."""

    def __init__(self, waiters: dict[Key, Waiter], heaps: dict[Kind, list[_Entry]]) -> None:
        self._waiters = waiters
        self._heaps = heaps
        self._heads: list[tuple[tuple[int, int, int, OrderKey], Kind]] = []
        for kind in list(heaps):
            self._push(kind)

    def __bool__(self) -> bool:
        return bool(self._heads)

    def first(self) -> Waiter:
        """The first of all."""
        return self._waiters[self._heaps[self._heads[0][1]][0][2]]

    def take(self) -> None:
        """The first has been dealt with: its kind's next takes its place."""
        _, kind = heapq.heappop(self._heads)
        heapq.heappop(self._heaps[kind])
        self._push(kind)

    def drop_kind(self) -> None:
        """Nobody of the first one's kind is to be looked at."""
        heapq.heappop(self._heads)

    def _push(self, kind: Kind) -> None:
        heap = self._heaps[kind]
        while heap and not self._stands(heap[0]):
            heapq.heappop(heap)
        if heap:
            heapq.heappush(self._heads, (heap[0][0], kind))
        else:
            del self._heaps[kind]

    def _stands(self, entry: _Entry) -> bool:
        _, version, key = entry
        waiter = self._waiters.get(key)
        return waiter is not None and waiter.ready and waiter.version == version
