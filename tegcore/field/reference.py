"""What `tegcore.field.kernel_sum` and `fragmentation_sum` compute, written out over arrays."""

import numpy as np

from tegcore.field.fragmentation import WHOLE, Hosts, Law
from tegcore.field.kernels import Floats, wendland_c4, wendland_c4_bend, wendland_c4_slope

SUPPORT = 3.0


def kernel_sum(weights: Floats, positions: Floats, out: Floats) -> None:
    """See `tegcore.field.kernel_sum.kernel_sum`."""
    side = weights.shape[1]
    axis = np.arange(side) + 0.5
    dx = positions[:, 0, None, None] - axis[None, None, :]
    dy = positions[:, 1, None, None] - axis[None, :, None]
    distance = np.hypot(dx, dy) / SUPPORT
    phi, s, t = wendland_c4(distance), wendland_c4_slope(distance), wendland_c4_bend(distance)
    s, t = s / SUPPORT**2, t / SUPPORT**4
    parts = (phi, s * dx, s * dy, s + t * dx * dx, t * dx * dy, s + t * dy * dy)
    for entry, part in enumerate(parts):
        out[:, :, entry] = np.einsum("lij,nij->nl", weights, part)


def kernel_normal(
    positions: Floats, values: Floats, side: int, information: Floats, evidence: Floats, work: Floats
) -> None:
    """See `tegcore.field.kernel_sum.kernel_normal`."""
    work.fill(0.0)
    y, x = np.divmod(np.arange(side * side), side)
    offsets = np.hypot(positions[:, 0, None] - (x + 0.5), positions[:, 1, None] - (y + 0.5))
    features = wendland_c4(offsets / SUPPORT)
    information += features.T @ features
    evidence += features.T @ values


def potential(hosts: Hosts, law: Law) -> Floats:
    """What `tegcore.field.fragmentation.potential` computes, term by term."""
    gpus, share, cpu, mem, mask = (column[:, None] for column in law.classes.T)
    block, starved, spread, scarce, kappa = law.terms
    room = hosts.free.sum(axis=1).astype(np.float64)
    shared = (hosts.free // np.maximum(share[..., None], 1)).sum(axis=2)
    whole = (hosts.free == WHOLE).sum(axis=1) // np.maximum(gpus, 1)
    copies = np.where(share < WHOLE, shared, whole)
    copies = np.minimum(copies, np.where(cpu > 0, hosts.cpu_milli // np.maximum(cpu, 1), copies))
    copies = np.minimum(copies, np.where(mem > 0, hosts.mem_bytes // np.maximum(mem, 1), copies))
    copies = np.where(mask >> hosts.model & 1 == 1, copies, 0)
    lost = law.weights @ (room - gpus * share * copies)
    return np.asarray(
        lost
        + (1.0 - law.weights.sum()) * room
        + block * law.block_loss[hosts.free].sum(axis=1)
        + starved * np.maximum(0.0, room - hosts.cpu_milli / kappa)
        + spread * room**2 / (WHOLE * hosts.gpus)
        - scarce * law.scarcity[hosts.kind] * room,
        dtype=np.float64,
    )
