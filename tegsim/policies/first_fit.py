"""The first host, by name, that fits; the tightest device of it."""

import numpy as np

from tegcore.field.fragmentation import Devices, Hosts, Words
from tegsim.policies.base import Floats, Scored


class FirstFit(Scored):
    """First fit."""

    def score(self, hosts: Hosts, request: Words) -> tuple[Floats, Devices]:
        """All equal: the first wins."""
        return np.zeros(len(hosts.gpus)), np.full(len(hosts.gpus), -1, dtype=np.int32)
