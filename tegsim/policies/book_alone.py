"""The ledger's book alone, on reserves: every slot of a class costs the same, so its answer is the first that fits.

Requests of cores and memory alone go to the first host by place, as the book's rule would have it.
"""

import numpy as np

from tegcore.field.fragmentation import Words
from tegsim.packing.cluster import Choice, Cluster
from tegsim.policies.zone_book import ZoneBook


class BookAlone:
    """Quotes over the whole zone.

    Attributes:
        unaligned: Requests for several devices that fitted on no aligned block and were placed by a scan.
    """

    def __init__(self) -> None:
        self._zone: ZoneBook | None = None
        self.unaligned = 0

    def begin(self, cluster: Cluster) -> None:
        """See `Policy.begin`."""
        self._zone, self.unaligned = ZoneBook(cluster), 0

    def choose(self, cluster: Cluster, request: Words) -> Choice | None:
        """See `Policy.choose`."""
        assert self._zone is not None
        found = self._zone.ask(request, self._zone.root)
        if found is None and request[0] != 1:
            able = np.flatnonzero(cluster.fits(request))
            if able.size:
                self.unaligned += int(request[0] > 1)
                return cluster.tightest(int(able[0]), request)
        return found

    def placed(self, cluster: Cluster, request: Words, choice: Choice) -> None:
        """See `Policy.placed`."""
        assert self._zone is not None
        self._zone.seat(request, choice)
