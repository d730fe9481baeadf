"""What a policy is, and the scan that most of them are: the best score of all hosts that fit.

Scores of a kind of request are kept and made anew only for hosts that have changed since; the answer is that of a full
scan. Equal scores go to the first host by name, as in the study's scheduler, or to a random one.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tegcore import rng
from tegcore.field.fragmentation import Devices, Hosts, Words
from tegsim.packing.cluster import Choice, Cluster

Floats = NDArray[np.float64]


class Policy(Protocol):
    """Chooses a place for each request; the world carries it out."""

    def begin(self, cluster: Cluster) -> None:
        """A run begins on a cluster."""

    def choose(self, cluster: Cluster, request: Words) -> Choice | None:
        """Where the request goes, None where it fits nowhere. Changes nothing in the cluster."""

    def placed(self, cluster: Cluster, request: Words, choice: Choice) -> None:
        """What was chosen has been carried out."""


class Scored:
    """A scan of all hosts: the highest score wins.

    Args:
        seed: Equal scores go to a random host by this seed; None: to the first by name.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._seed = seed
        self._known: dict[tuple[int, ...], tuple[Floats, Devices]] = {}
        self._seen: dict[tuple[int, ...], int] = {}
        self._asked = 0

    def begin(self, cluster: Cluster) -> None:
        """See `Policy.begin`."""
        self._known.clear()
        self._seen.clear()

    def score(self, hosts: Hosts, request: Words) -> tuple[Floats, Devices]:
        """Score of each host that the request fits on, and the device that it would take, -1 for the tightest."""
        raise NotImplementedError

    def scores(self, cluster: Cluster, request: Words) -> tuple[Floats, Devices]:
        """Score of every host, -inf where the request does not fit, and its device."""
        kind = tuple(request.tolist())
        if kind not in self._known:
            self._known[kind] = (np.full(len(cluster), -np.inf), np.full(len(cluster), -1, dtype=np.int32))
            rows = np.arange(len(cluster))
        else:
            rows = np.unique(np.array(cluster.changed[self._seen[kind] :], dtype=np.intp))
        self._seen[kind] = len(cluster.changed)
        best, device = self._known[kind]
        if rows.size:
            best[rows] = -np.inf
            rows = rows[cluster.fits(request, rows)]
            if rows.size:
                best[rows], device[rows] = self.score(cluster.free.rows(rows), request)
        return best, device

    def choose(self, cluster: Cluster, request: Words) -> Choice | None:
        """See `Policy.choose`."""
        best, device = self.scores(cluster, request)
        host = int(best.argmax())
        if best[host] == -np.inf:
            return None
        if self._seed is not None:
            equal = np.flatnonzero(best == best[host])
            self._asked += 1
            host = int(equal[int(rng.uniform(self._seed, "tie", 0, [self._asked])[0] * len(equal))])
        if device[host] >= 0:
            return Choice(host, (int(device[host]),))
        return cluster.tightest(host, request)

    def placed(self, cluster: Cluster, request: Words, choice: Choice) -> None:
        """See `Policy.placed`."""
