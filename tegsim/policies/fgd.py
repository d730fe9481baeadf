"""Fragmentation gradient descent (Weng et al., USENIX ATC 2023): the host whose expected waste rises least.

The waste of a host is, over the classes that make up 95 % of requests, those of cores alone among them, the free
thousandths that a request of the class cannot use: all of them where it does not fit, else those of devices with too
little. The score is a whole number, floor(100 sigmoid(decrease in devices)); equal scores go to the first by name,
and that rounding is part of what makes it pack.
"""

import numpy as np
from numpy.typing import NDArray

from tegcore.field.fragmentation import WHOLE, Devices, Hosts, Words
from tegcore.field.requests import Mix
from tegsim.policies.base import Floats, Scored
from tegsim.policies.fgd_sum import waste_drop_sum

POPULARITY = 0.95


def typical(mix: Mix) -> Mix:
    """The most frequent classes that make up 95 % of requests; memory is no part of a class."""
    bare = mix.classes.copy()
    bare[:, 3] = 0
    classes, which = np.unique(bare, axis=0, return_inverse=True)
    count = np.bincount(which, mix.often)
    order = np.argsort(-count, kind="stable")
    before = np.cumsum(count[order]) - count[order]
    kept = order[before < POPULARITY * count.sum()]
    return Mix(np.ascontiguousarray(classes[kept]), count[kept] / count[kept].sum())


class Fgd(Scored):
    """The study's `FGD`.

    Args:
        mix: Of the requests that will come.
    """

    def __init__(self, mix: Mix) -> None:
        super().__init__()
        self._mix = typical(mix)

    def score(self, hosts: Hosts, request: Words) -> tuple[Floats, Devices]:
        """See the module."""
        score, device = np.empty(len(hosts.gpus)), np.empty(len(hosts.gpus), dtype=np.int32)
        waste_drop_sum(hosts.free, hosts.cpu_milli, hosts.model, request, *self._mix, score, device)
        return score, device


def waste(hosts: Hosts, mix: Mix) -> Floats:
    """The expected waste of hosts, in thousandths of a device, written out over arrays; shape (n,)."""
    gpus, share, cpu, _, mask = (column[:, None] for column in mix.classes.T)
    room = hosts.free.sum(axis=1)
    short = np.where(hosts.free < share[..., None], hosts.free, 0).sum(axis=2)
    fits = ((hosts.free >= share[..., None]).sum(axis=2) >= gpus) & (hosts.cpu_milli >= cpu)
    fits &= (mask >> hosts.model & 1 == 1) & (gpus > 0)
    return np.asarray(mix.often @ np.where(fits, short, room), dtype=np.float64)


def waste_drop(hosts: Hosts, request: Words, mix: Mix) -> tuple[Floats, NDArray[np.bool_]]:
    """By how much the waste of each host falls at most, written out; and whether the request takes part of a device."""
    gpus, share = int(request[0]), int(request[1])
    drop, shared = np.full(len(hosts.gpus), -np.inf), gpus > 0 and share < WHOLE
    before = waste(hosts, mix)
    for row in range(len(hosts.gpus)):
        one = hosts.rows(np.array([row]))
        whole = np.flatnonzero(one.free[0] == WHOLE)[:gpus]
        for trial in np.flatnonzero(one.free[0] >= share)[:, None] if shared else [whole]:
            free = one.free.copy()
            free[0, trial] -= share
            after = waste(one._replace(free=free, cpu_milli=one.cpu_milli - request[2]), mix)
            drop[row] = max(drop[row], before[row] - after[0])
    return drop, np.full(len(drop), shared)
