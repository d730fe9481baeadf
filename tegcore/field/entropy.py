"""S_phys of a host (DESIGN 4): how little room is left, over all that can be short.

    S = sum_k w_k -ln(1 - u_k) / sum_k w_k   over the sources that there are, clipped to [0, S_MAX]

u is the larger of utilisation and pressure-stall share; for heat (T - T_idle) / (T_crit - T_idle); for fragmentation
the share of free capacity that the mix of requests cannot use. A source that a host lacks is NaN: it counts for
nothing, and the others' weights for all. Zero when idle; diverges, up to the clip, as anything saturates.
"""

import numpy as np
from numpy.typing import NDArray

from tegcore.field.potential import S_MAX

Floats = NDArray[np.float64]

WEIGHTS = np.array([1.0, 1.0, 0.5, 0.5, 1.0, 1.0, 0.5])
"""cpu, memory, io, network, accelerator, heat, fragmentation."""


def entropy(shares: Floats, weights: Floats = WEIGHTS) -> Floats:
    """S_phys of hosts.

    Args:
        shares: u, shape (n, 7), each in [0, 1] or NaN where there is no such source.
        weights: Shape (7,).

    Returns:
        Shape (n,), in [0, S_MAX]; NaN for a host without any source.
    """
    there = np.isfinite(shares)
    terms = -np.log1p(-np.clip(np.where(there, shares, 0.0), 0.0, 1.0 - 1e-9))
    total = (there * weights).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (terms * weights).sum(axis=1) / total
    return np.where(total > 0, np.clip(mean, 0.0, S_MAX), np.nan)
