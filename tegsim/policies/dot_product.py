"""The host whose free room points least the way of the request: 1 - (free . asked) / 2, in whole per cent."""

import numpy as np

from tegcore.field.fragmentation import Devices, Hosts, Words
from tegsim.policies.base import Floats, Scored
from tegsim.policies.best_fit import CPU_MILLI_MAX, GPU_MILLI_MAX


class DotProduct(Scored):
    """The study's `DotProd`, with devices of a host taken together and shares of the largest host's."""

    def score(self, hosts: Hosts, request: Words) -> tuple[Floats, Devices]:
        """100 (1 - dot product / 2), rounded down."""
        cpu = hosts.cpu_milli / CPU_MILLI_MAX * (int(request[2]) / CPU_MILLI_MAX)
        gpu = hosts.free.sum(axis=1) / GPU_MILLI_MAX * (int(request[0] * request[1]) / GPU_MILLI_MAX)
        return np.floor(100 * (1.0 - (cpu + gpu) / 2)), np.full(len(cpu), -1, dtype=np.int32)
