"""A random host of those that fit, and a random device of it."""

import numpy as np

from tegcore import rng
from tegcore.field.fragmentation import WHOLE, Words
from tegsim.packing.cluster import Choice, Cluster
from tegsim.policies.base import Scored


class RandomFit(Scored):
    """The study's `Random`."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._stream = seed

    def choose(self, cluster: Cluster, request: Words) -> Choice | None:
        """See `Policy.choose`."""
        able = np.flatnonzero(cluster.fits(request))
        if not able.size:
            return None
        self._asked += 1
        host_draw, device_draw = rng.uniform(self._stream, "random fit", 0, [2 * self._asked, 2 * self._asked + 1])
        host = int(able[int(host_draw * len(able))])
        share = int(request[1])
        if request[0] and share < WHOLE:
            devices = np.flatnonzero(cluster.free.free[host] >= share)
            return Choice(host, (int(devices[int(device_draw * len(devices))]),))
        return cluster.tightest(host, request)
