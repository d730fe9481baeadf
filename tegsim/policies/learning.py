"""TEG's agents where nobody knows what will be asked for: the mix is what has come, old requests counting less."""

import numpy as np

from tegcore.field.fragmentation import Words
from tegcore.field.request_mix import Kinds, derived
from tegcore.field.requests import Tally
from tegsim.packing.cluster import Choice, Cluster, kinds_of
from tegsim.policies.agents import Agents

HALF_LIFE = 4_000
CLASSES_MAX = 512
DERIVE_EVERY = 250
"""Requests between two times that the law is made anew."""

_NONE, _NO_WORDS = np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int64)
NO_KINDS = Kinds(_NONE, _NO_WORDS, _NO_WORDS, _NONE, _NO_WORDS)


class LearningAgents(Agents):
    """As `Agents`, by a law that follows the requests."""

    def __init__(self, seed: int) -> None:
        super().__init__(derived(Tally(HALF_LIFE, CLASSES_MAX).mix(), NO_KINDS), seed)
        self._kinds, self._tally = NO_KINDS, Tally(HALF_LIFE, CLASSES_MAX)

    def begin(self, cluster: Cluster) -> None:
        """See `Policy.begin`."""
        super().begin(cluster)
        self._kinds, self._tally = kinds_of(cluster.full), Tally(HALF_LIFE, CLASSES_MAX)
        self._law = derived(self._tally.mix(), self._kinds)

    def choose(self, cluster: Cluster, request: Words) -> Choice | None:
        """See `Policy.choose`."""
        if self._count % DERIVE_EVERY == 0:
            self._law = derived(self._tally.mix(), self._kinds)
        self._tally.see(tuple(request.tolist()))
        return super().choose(cluster, request)
