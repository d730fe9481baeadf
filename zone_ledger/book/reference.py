"""The clear book: a binary tree over Morton order that aggregates "sum up, min up".

A node at height h covers an aligned run of 2^h slots. It keeps the sum of its free slots' reserves and the set of
leases inside ("sum up"), which give the cost of the run as one block, and for each class and block size the least
price code of any aligned block inside ("min up"). A change rebuilds the nodes above it, one path to the root. `find`
is a best-first descent: the bound of a node is exact for price, so the first feasible block that is reached is the
answer, and what binds beyond price (cpu, memory) is looked at only there.

Shares are searched slot by slot: they are rare, and this book is here to be read.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from tegcore.economics.price_code import INFEASIBLE, price_code
from tegcore.units import CLASS_COUNT_MAX, PERMILLE
from tegcore.wire.records import Region
from zone_ledger.book.base import (
    Candidate,
    HostShape,
    HostUse,
    OneByOne,
    Query,
    Seat,
    Summary,
    assert_threshold,
    contents_hash,
    mem_max_bytes,
)

MIXED = -1


@dataclass(slots=True)
class _Host:
    shape: HostShape
    drained: bool = False
    cpu_milli: int = 0
    mem_bytes: int = 0


@dataclass(slots=True)
class _Slot:
    host: int
    slot_class: int
    cordoned: bool = False
    free_permille: int = PERMILLE
    leases: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Node:
    """The aggregates of one aligned run; `least` has an entry per (class, size, leased or not) that has a block."""

    free_ucr: int = 0
    leases: frozenset[int] = frozenset()
    slot_class: int = MIXED
    offered: bool = False
    least: dict[tuple[int, int, bool], int] = field(default_factory=dict)


@dataclass(slots=True)
class _Lease:
    seat: Seat
    promised: dict[int, tuple[int, int]] = field(default_factory=dict)


class ReferenceBook(OneByOne):
    """See `zone_ledger.book.base.Book`.

    Args:
        zone_k: The zone has 2^k x 2^k slots.
    """

    def __init__(self, zone_k: int) -> None:
        self.zone_k = zone_k
        self._hosts: dict[int, _Host] = {}
        self._slots: dict[int, _Slot] = {}
        self._leases: dict[int, _Lease] = {}
        self._reserves = [0] * CLASS_COUNT_MAX
        self._tree = [[_Node() for _ in range(1 << 2 * zone_k - height)] for height in range(2 * zone_k + 1)]

    # --- hosts ------------------------------------------------------------------------------------------------------

    def add_host(self, host: int, shape: HostShape) -> None:
        """See `Book.add_host`."""
        assert host not in self._hosts, f"host {host} is there"
        assert shape.region.end <= 1 << 2 * self.zone_k, f"{shape.region} is outside the zone"
        assert not any(slot in self._slots for slot in _slots(shape.region)), f"{shape.region} is taken"
        self._hosts[host] = _Host(shape)
        absent = shape.absent_bits
        for place, slot in enumerate(_slots(shape.region)):
            if not absent >> place & 1:
                self._slots[slot] = _Slot(host, shape.slot_class)
        self._rebuild(shape.region)

    def remove_host(self, host: int) -> None:
        """See `Book.remove_host`."""
        region = self._hosts[host].shape.region
        assert not self.leases_in(region), f"host {host} holds leases"
        del self._hosts[host]
        for slot in _slots(region):
            self._slots.pop(slot, None)
        self._rebuild(region)

    def hosts_of(self, block: Region) -> tuple[int, ...]:
        """See `Book.hosts_of`."""
        found = dict.fromkeys(self._slots[slot].host for slot in _slots(block) if slot in self._slots)
        return tuple(found)

    def shape_of(self, host: int) -> HostShape:
        """See `Book.shape_of`."""
        return self._hosts[host].shape

    def region_of(self, host: int) -> Region:
        """See `Book.region_of`."""
        return self._hosts[host].shape.region

    def set_reserve(self, slot_class: int, reserve_ucr: int) -> None:
        """See `Book.set_reserve`."""
        self._reserves[slot_class] = reserve_ucr
        for host in self._hosts.values():
            if host.shape.slot_class == slot_class:
                self._rebuild(host.shape.region)

    def class_reserve(self, slot_class: int) -> int:
        """See `Book.class_reserve`."""
        return self._reserves[slot_class]

    def reserve_of(self, blocks: tuple[Region, ...], share_permille: int = 0) -> int:
        """See `Book.reserve_of`."""
        whole = sum(
            self._reserves[self._slots[slot].slot_class]
            for block in blocks
            for slot in _slots(block)
            if slot in self._slots
        )
        return _share_of(whole, share_permille) if share_permille else whole

    def cordon(self, slot: int, *, on: bool) -> None:
        """See `Book.cordon`."""
        self._slots[slot].cordoned = on
        self._rebuild(Region(slot, 0))

    def drain(self, host: int, *, on: bool) -> None:
        """See `Book.drain`."""
        self._hosts[host].drained = on
        self._rebuild(self._hosts[host].shape.region)

    # --- leases -----------------------------------------------------------------------------------------------------

    def seat(self, lease: int, seat: Seat) -> None:
        """See `Book.seat`."""
        assert lease not in self._leases, f"lease {lease} is seated"
        assert_threshold(seat)
        taken = seat.share_permille or PERMILLE
        for block in seat.blocks:
            for number in _slots(block):
                slot = self._slots[number]
                assert slot.free_permille >= taken, f"slot {number} is not free"
                slot.free_permille -= taken
                slot.leases.append(lease)
        self._leases[lease] = _Lease(seat)
        self._promise(seat, +1)
        self._rebuild(*seat.blocks)

    def unseat(self, lease: int) -> Seat:
        """See `Book.unseat`."""
        gone = self._leases.pop(lease)
        for block in gone.seat.blocks:
            for number in _slots(block):
                slot = self._slots[number]
                slot.leases.remove(lease)
                slot.free_permille += gone.seat.share_permille or PERMILLE
        self._promise(gone.seat, -1)
        for host, (mem_bytes, cpu_milli) in gone.promised.items():
            self._hosts[host].mem_bytes -= mem_bytes
            self._hosts[host].cpu_milli -= cpu_milli
        self._rebuild(*gone.seat.blocks)
        return gone.seat

    def seat_of(self, lease: int) -> Seat:
        """See `Book.seat_of`."""
        return self._leases[lease].seat

    def threshold_of(self, lease: int) -> int | None:
        """See `Book.threshold_of`."""
        return self._leases[lease].seat.threshold_ucr

    def set_threshold(self, lease: int, threshold_ucr: int | None) -> None:
        """See `Book.set_threshold`."""
        entry = self._leases[lease]
        entry.seat = entry.seat._replace(threshold_ucr=threshold_ucr)
        self._rebuild(*entry.seat.blocks)

    def promise(self, lease: int, host: int, mem_bytes: int, cpu_milli: int = 0) -> None:
        """See `Book.promise`."""
        promised = self._leases[lease].promised
        mem_before, cpu_before = promised.get(host, (0, 0))
        promised[host] = (mem_before + mem_bytes, cpu_before + cpu_milli)
        self._hosts[host].mem_bytes += mem_bytes
        self._hosts[host].cpu_milli += cpu_milli

    def held_on(self, lease: int, host: int) -> tuple[int, int]:
        """See `Book.held_on`."""
        entry, region = self._leases[lease], self._hosts[host].shape.region
        inside = sum(_overlap(block, region) for block in entry.seat.blocks)
        mem_bytes, cpu_milli = entry.promised.get(host, (0, 0))
        return inside * entry.seat.mem_bytes + mem_bytes, inside * entry.seat.cpu_milli + cpu_milli

    def leases_in(self, block: Region) -> tuple[int, ...]:
        """See `Book.leases_in`."""
        return tuple(
            sorted({lease for slot in _slots(block) if slot in self._slots for lease in self._slots[slot].leases})
        )

    def free_parts(self, block: Region) -> tuple[Region, ...]:
        """See `Book.free_parts`."""
        if all(slot in self._slots and not self._slots[slot].leases for slot in _slots(block)):
            return (block,)
        return tuple(part for half in _halves(block) for part in self.free_parts(half))

    # --- looking ----------------------------------------------------------------------------------------------------

    def find(self, query: Query) -> Candidate | None:
        """See `Book.find`."""
        return self._find_share(query) if query.share_permille else self._find_block(query)

    def _find_block(self, query: Query) -> Candidate | None:
        if query.region.log2 < query.size or query.region.end > 1 << 2 * self.zone_k:
            return None
        heap: list[tuple[int, int, int]] = []

        def push(run: Region) -> None:
            least = self._node(run).least
            keys = [(kind, query.size, query.leased) for kind in range(CLASS_COUNT_MAX) if query.classes >> kind & 1]
            code = min((least[key] for key in keys if key in least), default=INFEASIBLE)
            if code < INFEASIBLE:
                heapq.heappush(heap, (code, run.base, run.log2))

        push(query.region)
        while heap:
            code, base, log2 = heapq.heappop(heap)
            run = Region(base, log2)
            if log2 > query.size:
                for half in _halves(run):
                    push(half)
                continue
            node = self._node(run)
            if self._room(run, query, node.leases):
                displaced_ucr = self._thresholds(node.leases)
                return Candidate(code, run, node.free_ucr + displaced_ucr, tuple(sorted(node.leases)), displaced_ucr)
        return None

    def _find_share(self, query: Query) -> Candidate | None:
        best: Candidate | None = None
        for number in _slots(query.region):
            slot = self._slots.get(number)
            if slot is None or not self._offered(slot) or not query.classes >> slot.slot_class & 1:
                continue
            run = Region(number, 0)
            if slot.free_permille < query.share_permille or not self._room(run, query, frozenset()):
                continue
            cost_ucr = _share_of(self._reserves[slot.slot_class], query.share_permille)
            code = price_code(cost_ucr)
            if best is None or code < best.code:
                best = Candidate(code, run, cost_ucr, (), 0)
        return best

    def _room(self, run: Region, query: Query, displaced: frozenset[int]) -> bool:
        for host_number in self.hosts_of(run):
            host = self._hosts[host_number]
            inside = _overlap(run, host.shape.region)
            cpu_milli = host.cpu_milli + inside * query.cpu_milli
            mem_bytes = host.mem_bytes + inside * query.mem_bytes
            for lease in displaced:
                held_mem, held_cpu = self.held_on(lease, host_number)
                cpu_milli -= held_cpu
                mem_bytes -= held_mem
            if query.cpu_milli and cpu_milli > host.shape.cpu_milli:
                return False
            if query.mem_bytes and mem_bytes >= mem_max_bytes(host.shape):
                return False
        return True

    def use_of(self, host: int) -> HostUse:
        """See `Book.use_of`."""
        entry = self._hosts[host]
        return HostUse(entry.cpu_milli, entry.mem_bytes, entry.shape.cpu_milli, mem_max_bytes(entry.shape))

    def free_slots(self, region: Region) -> int:
        """See `Book.free_slots`."""
        return self.summary(region).free

    def host_kinds(self) -> set[tuple[int, int, int]]:
        """See `Book.host_kinds`."""
        shapes = [host.shape for host in self._hosts.values()]
        return {(shape.region.slots, shape.cpu_milli, shape.mem_bytes) for shape in shapes}

    def is_leased(self, region: Region) -> bool:
        """See `Book.is_leased`."""
        return bool(self.leases_in(region))

    def largest_free(self, region: Region, slot_class: int) -> list[int]:
        """See `Book.largest_free`."""
        if (slot_class, region.log2, False) in self._node(region).least:
            return [0] * region.log2 + [1]
        halves = [self.largest_free(half, slot_class) for half in _halves(region)] or [[0]]
        return [sum(counts) for counts in zip(*halves, strict=True)] + [0] * bool(region.log2)

    def zone_totals(self) -> tuple[int, int]:
        """See `Book.zone_totals`."""
        return len(self._slots), sum(self._reserves[slot.slot_class] for slot in self._slots.values())

    def summary(self, region: Region) -> Summary:
        """See `Book.summary`."""
        slots = [self._slots[number] for number in _slots(region) if number in self._slots]
        least = self._node(region).least
        sizes = (size for _, size, leased in least if not leased)
        return Summary(
            present=len(slots),
            free=sum(1 for slot in slots if not slot.leases and self._offered(slot)),
            leased=sum(1 for slot in slots if slot.leases),
            withheld=sum(1 for slot in slots if not self._offered(slot)),
            largest_free=max(sizes, default=-1),
            reserve_ucr=sum(self._reserves[slot.slot_class] for slot in slots),
        )

    def cordoned(self) -> list[int]:
        """See `Book.cordoned`."""
        return [number for number, slot in sorted(self._slots.items()) if slot.cordoned]

    def seats(self) -> Iterator[tuple[int, Seat, dict[int, tuple[int, int]]]]:
        """See `Book.seats`."""
        for number, lease in sorted(self._leases.items()):
            yield number, lease.seat, lease.promised

    def state_hash(self) -> bytes:
        """See `Book.state_hash`."""
        return contents_hash(
            self.zone_k,
            self._reserves,
            ((number, host.shape, host.drained, self.use_of(number)) for number, host in sorted(self._hosts.items())),
            self.cordoned(),
            self.seats(),
        )

    def check(self) -> None:
        """See `Book.check`."""
        for number, slot in self._slots.items():
            taken = [self._leases[lease].seat.share_permille or PERMILLE for lease in slot.leases]
            assert slot.free_permille == PERMILLE - sum(taken) >= 0, f"slot {number}"
            region = self._hosts[slot.host].shape.region
            assert region.base <= number < region.end, f"slot {number}"
        for number, host in self._hosts.items():
            held = [self.held_on(lease, number) for lease in self._leases]
            assert (host.mem_bytes, host.cpu_milli) == (sum(mem for mem, _ in held), sum(cpu for _, cpu in held))
        for height in range(2 * self.zone_k + 1):
            for place, node in enumerate(self._tree[height]):
                assert node == self._aggregate(Region(place << height, height)), f"node {place} at height {height}"

    # --- aggregates -------------------------------------------------------------------------------------------------

    def _node(self, run: Region) -> _Node:
        return self._tree[run.log2][run.base >> run.log2]

    def _offered(self, slot: _Slot) -> bool:
        return not slot.cordoned and not self._hosts[slot.host].drained

    def _thresholds(self, leases: frozenset[int]) -> int:
        return sum(self._leases[lease].seat.threshold_ucr or 0 for lease in leases)

    def _rebuild(self, *runs: Region) -> None:
        stale = {(0, slot) for run in runs for slot in _slots(run)}
        for height in range(2 * self.zone_k + 1):
            for _, place in sorted(stale):
                self._tree[height][place] = self._aggregate(Region(place << height, height))
            stale = {(height + 1, place >> 1) for _, place in stale}

    def _aggregate(self, run: Region) -> _Node:
        if run.log2 == 0:
            node = self._leaf(run.base)
        else:
            left, right = (self._node(half) for half in _halves(run))
            node = _Node(
                left.free_ucr + right.free_ucr,
                left.leases | right.leases,
                left.slot_class if left.slot_class == right.slot_class else MIXED,
                left.offered and right.offered,
                {
                    key: min(left.least.get(key, INFEASIBLE), right.least.get(key, INFEASIBLE))
                    for key in left.least.keys() | right.least.keys()
                },
            )
        if node.offered and node.slot_class != MIXED:
            if not node.leases:
                node.least[node.slot_class, run.log2, False] = price_code(node.free_ucr)
            if all(self._leases[lease].seat.threshold_ucr is not None for lease in node.leases):
                cost_ucr = node.free_ucr + self._thresholds(node.leases)
                node.least[node.slot_class, run.log2, True] = price_code(cost_ucr)
        return node

    def _leaf(self, number: int) -> _Node:
        slot = self._slots.get(number)
        if slot is None:
            return _Node()
        free_ucr = _share_of(self._reserves[slot.slot_class], slot.free_permille)
        return _Node(free_ucr, frozenset(slot.leases), slot.slot_class, self._offered(slot))

    def _promise(self, seat: Seat, sign: int) -> None:
        for block in seat.blocks:
            for number in self.hosts_of(block):
                host = self._hosts[number]
                inside = sign * _overlap(block, host.shape.region)
                host.cpu_milli += inside * seat.cpu_milli
                host.mem_bytes += inside * seat.mem_bytes


def _slots(run: Region) -> Iterator[int]:
    return iter(range(run.base, run.end))


def _halves(run: Region) -> tuple[Region, ...]:
    if run.log2 == 0:
        return ()
    half = run.log2 - 1
    return Region(run.base, half), Region(run.base + (1 << half), half)


def _overlap(run: Region, other: Region) -> int:
    return max(0, min(run.end, other.end) - max(run.base, other.base))


def _share_of(amount_ucr: int, share_permille: int) -> int:
    return -(-amount_ucr * share_permille // PERMILLE)
