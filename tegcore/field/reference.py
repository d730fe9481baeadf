"""What `tegcore.field.kernel_sum` computes, written out: every grid point, every place, over arrays."""

import numpy as np

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
