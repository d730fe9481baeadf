"""Filter and score as Kubernetes does it by default, sampling hosts: spread by cores and memory, balance of the two.

The scan goes round: it begins where the last one ended and stops when enough hosts fit, 50 % less one for each 125
hosts, at least 5 % and at least 100 of them (percentageOfNodesToScore). Equal scores go to a random one of them.
"""

import numpy as np

from tegcore import rng
from tegcore.field.fragmentation import Words
from tegsim.packing.cluster import Choice, Cluster

HOSTS_MIN, PERCENT_MIN = 100, 5


def enough_hosts(hosts: int) -> int:
    """How many hosts that fit end the scan."""
    if hosts < HOSTS_MIN:
        return hosts
    return max(HOSTS_MIN, hosts * max(PERCENT_MIN, 50 - hosts // 125) // 100)


class FilterScore:
    """The default profile; a share goes to the tightest device of the host."""

    def __init__(self, seed: int) -> None:
        self._seed, self._start, self._asked = seed, 0, 0

    def begin(self, cluster: Cluster) -> None:
        """See `Policy.begin`."""
        self._start = 0

    def choose(self, cluster: Cluster, request: Words) -> Choice | None:
        """See `Policy.choose`."""
        count = len(cluster)
        order = np.roll(np.arange(count), -self._start)
        able = order[cluster.fits(request)[order]]
        enough = enough_hosts(count)
        looked = count if len(able) <= enough else int((able[enough - 1] - self._start) % count) + 1
        self._start = (self._start + looked) % count
        able = able[:enough]
        if not able.size:
            return None
        cpu = (cluster.free.cpu_milli[able] - request[2]) / cluster.full.cpu_milli[able]
        mem = (cluster.free.mem_bytes[able] - request[3]) / cluster.full.mem_bytes[able]
        score = np.floor((np.floor(cpu * 100) + np.floor(mem * 100)) / 2) + np.floor(100 * (1 - np.abs(cpu - mem)))
        best = np.flatnonzero(score == score.max())
        self._asked += 1
        drawn = rng.uniform(self._seed, "filter score", 0, [self._asked])[0]
        return cluster.tightest(int(able[best[int(drawn * len(best))]]), request)

    def placed(self, cluster: Cluster, request: Words, choice: Choice) -> None:
        """See `Policy.placed`."""
