"""The study's protocol: one request at a time, no departures, what does not fit is dropped."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tegcore.field.fragmentation import Words
from tegsim.packing.cluster import Cluster
from tegsim.packing.trace import Trace
from tegsim.policies.base import Policy

DEMAND = 1.3


class Packed(NamedTuple):
    """One run.

    Attributes:
        unallocated_pct: Of devices, when 0, 1, .. per cent of capacity had arrived; NaN where less came.
        placed: Requests that found a place.
        dropped: Requests that did not.
    """

    unallocated_pct: NDArray[np.float64]
    placed: int
    dropped: int

    def at(self, arrived_pct: int) -> float:
        """Unallocated when so much had arrived."""
        return float(self.unallocated_pct[arrived_pct])


def run(trace: Trace, stream: Words, policy: Policy) -> Packed:
    """Place a stream of requests by a policy."""
    cluster = Cluster(trace.hosts)
    capacity = trace.capacity_milli
    steps = round(DEMAND * 100)
    left = np.full(steps + 1, np.nan)
    arrived = placed = 0
    mark = 0
    policy.begin(cluster)
    for request in stream:
        arrived += int(request[0] * request[1])
        choice = policy.choose(cluster, request)
        if choice is not None:
            cluster.place(request, choice)
            policy.placed(cluster, request, choice)
            placed += 1
        while mark <= steps and arrived * 100 >= mark * capacity:
            left[mark] = 100.0 * (1.0 - cluster.used_milli / capacity)
            mark += 1
    if mark <= steps:
        left[mark:] = 100.0 * (1.0 - cluster.used_milli / capacity)
    return Packed(left, placed, len(stream) - placed)
