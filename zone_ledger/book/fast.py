"""The fast book: `zone_ledger.book.quadtree`, compiled, with the face of a `Book`."""

from collections import Counter
from collections.abc import Iterator

from tegcore.units import CLASS_COUNT_MAX
from tegcore.wire.records import Region
from zone_ledger.book.base import (
    RESULTS,
    Candidate,
    Commands,
    HostShape,
    HostUse,
    Query,
    Results,
    Seat,
    Summary,
    Withheld,
    assert_threshold,
    contents_hash,
    mem_max_bytes,
)
from zone_ledger.book.quadtree import QuadTree


class FastBook:
    """See `zone_ledger.book.base.Book`.

    Args:
        zone_k: The zone has 2^k x 2^k slots.
    """

    def __init__(self, zone_k: int) -> None:
        self.zone_k = zone_k
        self._tree = tree = QuadTree(zone_k)
        self.price, self.grant, self.release = tree.price, tree.grant, tree.release
        self.promise, self.held_on = tree.promise, tree.held_on
        self._shapes: dict[int, HostShape] = {}
        self._drained: set[int] = set()
        self._order: dict[int, tuple[Region, ...]] = {}
        self._present = [0] * CLASS_COUNT_MAX
        self._kinds: Counter[tuple[int, int, int]] = Counter()

    # --- hosts ------------------------------------------------------------------------------------------------------

    def add_host(self, host: int, shape: HostShape) -> None:
        """See `Book.add_host`."""
        region = shape.region
        assert host > 0, f"host {host}: numbers begin with 1"
        assert host not in self._shapes, f"host {host} is there"
        assert region.end <= 1 << 2 * self.zone_k, f"{region} is outside the zone"
        assert not any(self._tree.host_at(slot) for slot in range(region.base, region.end)), f"{region} is taken"
        self._shapes[host] = shape
        self._tree.add(
            host,
            *region,
            shape.slot_class,
            shape.cpu_milli,
            mem_max_bytes(shape),
            shape.absent_mask,
        )
        self._present[shape.slot_class] += self._present_in(region)
        self._kinds[_kind(shape)] += 1

    def remove_host(self, host: int) -> None:
        """See `Book.remove_host`."""
        shape = self._shapes[host]
        assert not self.leases_in(shape.region), f"host {host} holds leases"
        self.drain(host, on=False)
        for slot in range(shape.region.base, shape.region.end):
            if self._tree.flags(slot):
                self.cordon(slot, on=False)
        self._present[shape.slot_class] -= self._present_in(shape.region)
        del self._shapes[host]
        self._kinds[_kind(shape)] -= 1
        self._kinds += Counter()
        self._tree.remove(host)

    def hosts_of(self, block: Region) -> tuple[int, ...]:
        """See `Book.hosts_of`."""
        found, slot = [], block.base
        while slot < block.end:
            host = self._tree.host_at(slot)
            if not host:
                slot += 1
                continue
            end = min(block.end, self._shapes[host].region.end)
            if any(self._tree.slot_class(inside) >= 0 for inside in range(slot, end)):
                found.append(host)
            slot = end
        return tuple(found)

    def shape_of(self, host: int) -> HostShape:
        """See `Book.shape_of`."""
        return self._shapes[host]

    def region_of(self, host: int) -> Region:
        """See `Book.region_of`."""
        return self._shapes[host].region

    def set_reserve(self, slot_class: int, reserve_ucr: int) -> None:
        """See `Book.set_reserve`."""
        self._tree.set_class_reserve(slot_class, reserve_ucr)

    def class_reserve(self, slot_class: int) -> int:
        """See `Book.class_reserve`."""
        return self._tree.class_reserve(slot_class)

    def reserve_of(self, blocks: tuple[Region, ...], share_permille: int = 0) -> int:
        """See `Book.reserve_of`."""
        whole = 0
        for block in blocks:
            for slot in range(block.base, block.end):
                slot_class = self._tree.slot_class(slot)
                whole += self._tree.class_reserve(slot_class) if slot_class >= 0 else 0
        return -(-whole * share_permille // 1000) if share_permille else whole

    def cordon(self, slot: int, *, on: bool) -> None:
        """See `Book.cordon`."""
        assert self._tree.slot_class(slot) >= 0, f"no slot {slot}"
        self._tree.set_flag(slot, Withheld.CORDONED, on)

    def drain(self, host: int, *, on: bool) -> None:
        """See `Book.drain`."""
        (self._drained.add if on else self._drained.discard)(host)
        region = self._shapes[host].region
        for slot in range(region.base, region.end):
            if self._tree.slot_class(slot) >= 0:
                self._tree.set_flag(slot, Withheld.DRAINED, on)

    # --- leases -----------------------------------------------------------------------------------------------------

    def seat(self, lease: int, seat: Seat) -> None:
        """See `Book.seat`."""
        assert_threshold(seat)
        blocks, share, cpu_milli, mem_bytes, threshold_ucr = seat
        words = [base << 8 | log2 for base, log2 in blocks]
        self._order.pop(lease, None)
        if len(words) > 1 and words != sorted(words):
            self._order[lease] = blocks
            words.sort()
        self._tree.take(lease, tuple(words), share, cpu_milli, mem_bytes, _word(threshold_ucr))

    def unseat(self, lease: int) -> Seat:
        """See `Book.unseat`."""
        seat = self.seat_of(lease)
        self._order.pop(lease, None)
        self.release(lease)
        return seat

    def seat_of(self, lease: int) -> Seat:
        """See `Book.seat_of`."""
        threshold_ucr, cpu_milli, mem_bytes, share, words = self._tree.lease(lease)
        blocks = self._order.get(lease) or tuple(Region(word >> 8, word & 0xFF) for word in words)
        return Seat(blocks, share, cpu_milli, mem_bytes, None if threshold_ucr < 0 else threshold_ucr)

    def threshold_of(self, lease: int) -> int | None:
        """See `Book.threshold_of`."""
        threshold_ucr = self._tree.threshold(lease)
        return None if threshold_ucr < 0 else threshold_ucr

    def set_threshold(self, lease: int, threshold_ucr: int | None) -> None:
        """See `Book.set_threshold`."""
        self._tree.reprice(lease, _word(threshold_ucr))

    def leases_in(self, block: Region) -> tuple[int, ...]:
        """See `Book.leases_in`."""
        return self._tree.owners(*block)

    def free_parts(self, block: Region) -> tuple[Region, ...]:
        """See `Book.free_parts`."""
        if self._tree.unavailable(*block) == 0:
            return (block,)
        return tuple([Region(word >> 8, word & 0xFF) for word in self._tree.free_runs(*block)])

    # --- looking ----------------------------------------------------------------------------------------------------

    def find(self, query: Query) -> Candidate | None:
        """See `Book.find`."""
        region = query.region
        if query.size > region.log2:
            return None
        found = self._tree.cheapest(
            region.base,
            region.log2,
            query.size,
            query.classes,
            query.share_permille,
            query.leased,
            query.cpu_milli,
            query.mem_bytes,
        )
        if found is None:
            return None
        code, base, cost_ucr, displaced, displaced_ucr = found
        return Candidate(code, Region(base, query.size), cost_ucr, displaced, displaced_ucr)

    def use_of(self, host: int) -> HostUse:
        """See `Book.use_of`."""
        cpu_milli, mem_bytes = self._tree.promised_of(host)
        shape = self._shapes[host]
        return HostUse(cpu_milli, mem_bytes, shape.cpu_milli, mem_max_bytes(shape))

    def free_slots(self, region: Region) -> int:
        """See `Book.free_slots`."""
        return region.slots - self._tree.unavailable(*region)

    def host_kinds(self) -> Counter[tuple[int, int, int]]:
        """See `Book.host_kinds`."""
        return self._kinds

    def is_leased(self, region: Region) -> bool:
        """See `Book.is_leased`."""
        return self._tree.is_leased(*region)

    def largest_free(self, region: Region, slot_class: int) -> list[int]:
        """See `Book.largest_free`."""
        return self._tree.largest_free(*region, slot_class)

    def zone_totals(self) -> tuple[int, int]:
        """See `Book.zone_totals`."""
        reserve_ucr = sum(self._tree.class_reserve(kind) * count for kind, count in enumerate(self._present))
        return sum(self._present), reserve_ucr

    def summary(self, region: Region) -> Summary:
        """See `Book.summary`."""
        present = [slot for slot in range(region.base, region.end) if self._tree.slot_class(slot) >= 0]
        largest = -1
        for size in range(region.log2, -1, -1):
            if self.find(Query(region, size, classes=(1 << CLASS_COUNT_MAX) - 1, leased=False)) is not None:
                largest = size
                break
        return Summary(
            present=len(present),
            free=self.free_slots(region),
            leased=sum(1 for slot in present if self._tree.free_permille(slot) < 1000),
            withheld=sum(1 for slot in present if self._tree.flags(slot)),
            largest_free=largest,
            reserve_ucr=sum(self._tree.class_reserve(self._tree.slot_class(slot)) for slot in present),
        )

    def run(self, commands: Commands) -> Results:
        """See `Book.run`."""
        answers: Results = self._tree.run(commands).view(RESULTS)
        return answers

    def cordoned(self) -> list[int]:
        """See `Book.cordoned`."""
        return self._tree.cordons()

    def seats(self) -> Iterator[tuple[int, Seat, dict[int, tuple[int, int]]]]:
        """See `Book.seats`."""
        for number in self._tree.leases():
            yield number, self.seat_of(number), self._tree.promised(number)

    def state_hash(self) -> bytes:
        """See `Book.state_hash`."""
        return contents_hash(
            self.zone_k,
            [self._tree.class_reserve(kind) for kind in range(CLASS_COUNT_MAX)],
            ((host, shape, host in self._drained, self.use_of(host)) for host, shape in sorted(self._shapes.items())),
            self.cordoned(),
            self.seats(),
        )

    def check(self) -> None:
        """See `Book.check`."""
        other = type(self)(self.zone_k)
        for slot_class in range(CLASS_COUNT_MAX):
            other.set_reserve(slot_class, self._tree.class_reserve(slot_class))
        for host, shape in self._shapes.items():
            other.add_host(host, shape)
            other.drain(host, on=host in self._drained)
        for number in self._tree.leases():
            other.seat(number, self.seat_of(number))
            for host, more in self._tree.promised(number).items():
                other.promise(number, host, *more)
        for slot in self.cordoned():
            other.cordon(slot, on=True)
        for host in self._shapes:
            held = [self.held_on(number, host) for number in self._tree.leases()]
            assert self.use_of(host)[:2] == (sum(cpu for _, cpu in held), sum(mem for mem, _ in held)), f"host {host}"
        for mine, anew in zip(self._tree.image(), other._tree.image(), strict=True):
            wrong = [at for at, (one, other) in enumerate(zip(mine, anew, strict=True)) if one != other]
            assert not wrong, (
                f"the tree differs from one built anew at {[(at, mine[at], anew[at]) for at in wrong[:4]]}"
            )

    def _present_in(self, region: Region) -> int:
        return sum(1 for slot in range(region.base, region.end) if self._tree.slot_class(slot) >= 0)


def _kind(shape: HostShape) -> tuple[int, int, int]:
    return shape.region.slots, shape.cpu_milli, shape.mem_bytes


def _word(threshold_ucr: int | None) -> int:
    return -1 if threshold_ucr is None else threshold_ucr
