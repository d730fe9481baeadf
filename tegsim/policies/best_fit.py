"""The host with least left over, by cores and devices, each as a share of the largest host's; whole per cent."""

import numpy as np

from tegcore.field.fragmentation import Devices, Hosts, Words
from tegsim.policies.base import Floats, Scored

CPU_MILLI_MAX, GPU_MILLI_MAX = 128_000, 8_000


class BestFit(Scored):
    """The study's `BestFit`."""

    def score(self, hosts: Hosts, request: Words) -> tuple[Floats, Devices]:
        """100 (1 - mean share that is left), rounded down."""
        cpu = (hosts.cpu_milli - request[2]) / CPU_MILLI_MAX
        gpu = (hosts.free.sum(axis=1) - request[0] * request[1]) / GPU_MILLI_MAX
        return np.floor((1.0 - 0.5 * (cpu + gpu)) * 100), np.full(len(cpu), -1, dtype=np.int32)
