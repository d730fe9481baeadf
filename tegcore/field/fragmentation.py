"""Fragmentation as a potential: what of a host's free room the current mix of requests will not come to use.

S_phys has a part for fragmentation (DESIGN 4). It is made here as an energy of a host's free room, in thousandths of
a device, so that placing a request where the energy rises least leaves the room that coming requests can use:

    Phi =   sum_m w_m (R - n_m g_m K_m)                 copies left
          + 2.3 sum_g (r_g - 1000 v(r_g))               what a free block of that size will not earn
          + 1.6 max(0, R - c / kappa)                   devices that no core is left for
          + 0.2 R^2 / (1000 G)                          a weak preference for hosts that are in use
          - 1.5 rho_model R                             keep scarce models for those who can use no other

with r_g the free thousandths of device g of G, R their sum, c the free thousandths of a core, and of class m of the
mix: n_m devices of g_m thousandths each, w_m its weight, K_m how many *more* requests of the class the host takes:
the least of what devices, cores and memory allow, 0 on a model that the class does not name.

The first term is the expected waste of the fragmentation gradient (Weng et al., "Beware of Fragmentation", USENIX ATC
2023), counting copies where that asks only whether one more fits. The second is the LP price of room of the cutting
stock problem (Gilmore and Gomory, Operations Research 9, 1961) for arrivals up to a stated demand.

The weights are constants of the law. All else follows from the mix and what the cluster has
(`tegcore.field.request_mix`); nothing is set for a workload. `increments` is exact: the difference of Phi, for the best
device.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tegcore.field.fragmentation_sum import potential_sum, rise_sum
from tegcore.field.requests import Mix

Floats = NDArray[np.float64]
Devices = NDArray[np.int32]
Words = NDArray[np.int64]

WHOLE = 1000
"""Thousandths of a device."""

BLOCK, STARVED, SPREAD, SCARCITY = 2.3, 1.6, 0.2, 1.5
"""Weights of the terms, that of the first being 1."""


class Hosts(NamedTuple):
    """Free room, one row a host; rows are contiguous.

    Attributes:
        free: Thousandths that are free of each device, shape (n, devices); 0 where a host has fewer.
        gpus: Devices of the host, shape (n,).
        cpu_milli: Free, shape (n,).
        mem_bytes: Free, shape (n,).
        model: Number of the model of its devices, 0..62, shape (n,).
        kind: Number of its kind, which says what the host is when empty, shape (n,).
    """

    free: Devices
    gpus: Devices
    cpu_milli: Words
    mem_bytes: Words
    model: Devices
    kind: Devices

    def rows(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> "Hosts":
        """Some of them, copied."""
        free, gpus, cpu_milli, mem_bytes, model, kind = self
        return Hosts(free[which], gpus[which], cpu_milli[which], mem_bytes[which], model[which], kind[which])


class Law(NamedTuple):
    """The inputs of the potential, made of a mix by `tegcore.field.request_mix.derived`.

    Attributes:
        classes: Those that are counted, shape (m, 5).
        weights: w_m, shape (m,), sum 1.
        block_loss: r - 1000 v(r) of a free block of r thousandths, shape (1001,).
        scarcity: rho by kind of host, shape (kinds,).
        terms: Weights of the other four terms, and kappa, shape (5,).
    """

    classes: Words
    weights: Floats
    block_loss: Floats
    scarcity: Floats
    terms: Floats


def potential(hosts: Hosts, law: Law) -> Floats:
    """Phi of each host, in thousandths of a device, shape (n,)."""
    out = np.empty(len(hosts.gpus))
    potential_sum(*hosts, *law, out)
    return out


def increments(hosts: Hosts, request: Words, law: Law) -> tuple[Floats, Devices]:
    """By how much Phi rises where a request is placed.

    Args:
        hosts: Where it could go.
        request: A row of a mix, shape (5,).
        law: Of the potential.

    Returns:
        The rise at the best device of each host, infinite where the request does not fit, shape (n,); and that device,
        -1 for requests of whole devices (any will do) and of none, shape (n,).
    """
    rise, device = np.empty(len(hosts.gpus)), np.empty(len(hosts.gpus), dtype=np.int32)
    rise_sum(*hosts, request, *law, rise, device)
    return rise, device


def unusable_share(hosts: Hosts, mix: Mix) -> Floats:
    """The share of each host's free devices that the mix cannot use, for `entropy`: the first term over R.

    0 where nothing is free, what is in use is not fragmented, and where nothing is asked for. Shape (n,), in [0, 1].
    """
    room = hosts.free.sum(axis=1).astype(np.float64)
    asked = mix.classes[:, 0] > 0
    total = float(mix.often[asked].sum())
    if total <= 0:
        return np.zeros(len(room))
    bare = Law(
        mix.classes[asked],
        mix.often[asked] / total,
        np.zeros(WHOLE + 1),
        np.zeros(int(hosts.kind.max(initial=0)) + 1),
        np.array([0.0, 0.0, 0.0, 0.0, 1.0]),
    )
    return np.where(room > 0, np.clip(potential(hosts, bare) / np.maximum(room, 1.0), 0.0, 1.0), 0.0)
