"""Requests of one kind (shares; one, two, four, eight devices) together: the study's `GpuClustering`."""

import numpy as np

from tegcore.field.fragmentation import Devices, Hosts, Words
from tegsim.packing.cluster import Choice, Cluster
from tegsim.policies.base import Floats, Scored


def _kind(request: Words) -> int:
    gpus, share = int(request[0]), int(request[1])
    return 0 if share < 1000 else min(gpus, 15)


class GpuClustering(Scored):
    """Hosts with this kind alone, with this kind and others, idle, with others only; the fuller first in each."""

    def __init__(self) -> None:
        super().__init__()
        self._kinds = np.zeros(0, dtype=np.int64)

    def begin(self, cluster: Cluster) -> None:
        """See `Policy.begin`."""
        super().begin(cluster)
        self._kinds = np.zeros(len(cluster), dtype=np.int64)

    def choose(self, cluster: Cluster, request: Words) -> Choice | None:
        """See `Policy.choose`: kinds stand beside the rows, so every host is scored."""
        able = np.flatnonzero(cluster.fits(request))
        if not able.size:
            return None
        if not request[0]:
            return Choice(int(able[0]), ())
        kinds, bit = self._kinds[able], 1 << _kind(request)
        level = np.select([kinds == bit, kinds & bit > 0, kinds == 0], [75, 50, 25], 0)
        left = cluster.free.free[able].sum(axis=1)
        return cluster.tightest(int(able[int((level + 25 * (8_000 - left) // 8_000).argmax())]), request)

    def placed(self, cluster: Cluster, request: Words, choice: Choice) -> None:
        """See `Policy.placed`."""
        if request[0]:
            self._kinds[choice.host] |= 1 << _kind(request)

    def score(self, hosts: Hosts, request: Words) -> tuple[Floats, Devices]:
        """Not used: the kinds on a host are no part of its row."""
        raise NotImplementedError
