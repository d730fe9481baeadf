"""Devices in use first, then empty devices of a host in use, then empty hosts: the study's `GpuPacking`."""

import numpy as np

from tegcore.field.fragmentation import WHOLE, Devices, Hosts, Words
from tegsim.policies.base import Floats, Scored


class GpuPacking(Scored):
    """Scores of 50 to 100 for devices in use, 33 to 50 for empty ones of a host in use, below that for empty hosts."""

    def score(self, hosts: Hosts, request: Words) -> tuple[Floats, Devices]:
        """See the class."""
        gpus, share = int(request[0]), int(request[1])
        device = np.full(len(hosts.gpus), -1, dtype=np.int32)
        if not gpus:
            return np.zeros(len(hosts.gpus)), device
        empty = (hosts.free == WHOLE).sum(axis=1)
        idle = np.maximum(33 - empty, empty)
        fitting = np.sort(np.where(hosts.free >= share, hosts.free, WHOLE + 1), axis=1)[:, :gpus]
        taken = (fitting == WHOLE).sum(axis=1)
        shared = np.maximum(100 - (fitting * 100 // WHOLE).sum(axis=1) // 10, 50)
        score = np.where(taken > 0, np.maximum(50 - taken, 33), shared)
        return np.where(empty == hosts.gpus, idle, score).astype(np.float64), device
