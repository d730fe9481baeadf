"""TEG's agents: each starts at some host (9), sees the hosts of one small region around it, and descends among them.

The region holds at most 64 hosts. Where none of them can take the request, the agent widens by one level of the
quad-tree at a time, as `tegd.seek` does, up to the whole zone: the book says exactly whether it fits anywhere, and
where. The agent goes there and descends among the hosts that it sees from that place.
"""

import numpy as np

from tegcore import rng
from tegcore.field.fragmentation import Law, Words, increments
from tegcore.field.geometry import enclosing
from tegsim.packing.cluster import Choice, Cluster
from tegsim.policies.zone_book import HOST_LOG2, ZoneBook

SIGHT_LOG2 = HOST_LOG2 + 6
"""A region of at most 64 hosts of eight slots."""


class Agents:
    """One agent a request.

    Args:
        law: Of the potential.
        seed: Of where agents start.
        mixed: Hosts stand in a random order, that of a cluster whose racks hold hosts of all kinds; else by name.

    Attributes:
        widened: Requests that no host in sight could take.
        unaligned: Of them, those for several devices that fitted on no aligned block and were placed by a scan.
        seen_max: Most hosts that one agent looked at.
    """

    def __init__(self, law: Law, seed: int, *, mixed: bool = False) -> None:
        self._law, self._seed, self._mixed = law, seed, mixed
        self._zone: ZoneBook | None = None
        self._count = self.widened = self.unaligned = self.seen_max = 0

    def begin(self, cluster: Cluster) -> None:
        """See `Policy.begin`."""
        rows = np.arange(len(cluster))
        order = np.argsort(rng.uniform(self._seed, "racks", 0, rows)) if self._mixed else rows
        self._zone = ZoneBook(cluster, order.tolist())
        self._count = self.widened = self.unaligned = self.seen_max = 0

    def choose(self, cluster: Cluster, request: Words) -> Choice | None:
        """See `Policy.choose`."""
        assert self._zone is not None
        self._count += 1
        place, tie = rng.uniform(self._seed, "start", 0, [2 * self._count, 2 * self._count + 1])
        slot = self._zone.slot_of(int(place * len(cluster)))
        chosen = self._descend(cluster, request, slot, float(tie))
        if chosen is not None:
            return chosen
        self.widened += 1
        found = self._widen(cluster, request, slot)
        if found is None:
            return None
        return self._descend(cluster, request, self._zone.slot_of(found.host), float(tie))

    def _descend(self, cluster: Cluster, request: Words, slot: int, tie: float) -> Choice | None:
        assert self._zone is not None
        sight = enclosing(slot, min(SIGHT_LOG2, self._zone.root.log2))
        rows = np.array(self._zone.rows_in(sight), dtype=np.intp)
        self.seen_max = max(self.seen_max, len(rows))
        rise, device = increments(cluster.free.rows(rows), request, self._law)
        least = rise.min()
        if not np.isfinite(least):
            return None
        equal = np.flatnonzero(rise <= least + 1e-6)
        at = int(equal[int(tie * len(equal))])
        if device[at] >= 0:
            return Choice(int(rows[at]), (int(device[at]),))
        return cluster.tightest(int(rows[at]), request)

    def _widen(self, cluster: Cluster, request: Words, slot: int) -> Choice | None:
        assert self._zone is not None
        root = self._zone.root.log2
        log2 = min(SIGHT_LOG2, root)
        while log2 < root:
            log2 = min(root, log2 + 2)
            found = self._zone.ask(request, enclosing(slot, log2))
            if found is not None:
                return found
        if request[0] != 1:
            able = np.flatnonzero(cluster.fits(request))
            if able.size:
                self.unaligned += int(request[0] > 1)
                return cluster.tightest(int(able[0]), request)
        return None

    def placed(self, cluster: Cluster, request: Words, choice: Choice) -> None:
        """See `Policy.placed`."""
        assert self._zone is not None
        self._zone.seat(request, choice)
