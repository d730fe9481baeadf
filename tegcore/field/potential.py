"""The potential that agents descend: S_phys and H_auction, each a weighted sum of compact kernels on a fixed grid.

    S(x, tau) = mean + sum_i (a_i + eps b_i) phi(|x - g_i| / R),   b = da/dtau        (8)
    Phi_eff   = w1 S_phys + w2 H_auction                                              (7)

Only grid points within the support R (three spacings) count: a few dozen terms at any place, whatever the number of
hosts. One pass gives value, tau-derivative and gradient.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tegcore.field.kernels import wendland_c4, wendland_c4_slope

Floats = NDArray[np.float64]

SUPPORT_SPACINGS = 3.0
S_MAX = 8.0
"""S_phys is clipped to [0, S_MAX]: -ln(1 - u) at u = 0.99966."""

BATCH = 1024
"""Places evaluated at once: what fits a processor's cache."""

_STEPS = np.arange(-2, 4)
"""Grid points within the support of a place, along one axis, from the one just below it."""

STALE_TICKS = 1200
"""Age at which nothing of a field is believed any more."""


class FieldFrame(NamedTuple):
    """A field over one zone.

    Attributes:
        side: Slots along a side of the zone.
        mean: Value far from every grid point.
        weights: a, shape (n, n), row y, column x; grid points are centred in n x n equal cells.
        rates: b = da/dtau, same shape.
        tau: When the weights were right.
    """

    side: float
    mean: float
    weights: Floats
    rates: Floats
    tau: int

    @property
    def spacing(self) -> float:
        """Distance of neighbouring grid points, in slots."""
        return self.side / len(self.weights)


class FieldSample(NamedTuple):
    """A field at some places: value, d/dtau and gradient, shapes (n,), (n,), (n, 2)."""

    value: Floats
    rate: Floats
    gradient: Floats


def evaluate(frame: FieldFrame, positions: Floats) -> FieldSample:
    """The field at positions, shape (n, 2), in slot units."""
    parts = [_evaluate(frame, positions[start : start + BATCH]) for start in range(0, max(1, len(positions)), BATCH)]
    return parts[0] if len(parts) == 1 else FieldSample(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _evaluate(frame: FieldFrame, positions: Floats) -> FieldSample:
    count, spacing = frame.weights.shape[0], frame.spacing
    places = positions / spacing - 0.5
    near = np.floor(places).astype(np.int64)[:, :, None] + _STEPS
    offsets = places[:, :, None] - near
    squares = offsets * offsets
    distance = np.sqrt(squares[:, 1, :, None] + squares[:, 0, None, :]) / SUPPORT_SPACINGS
    # A ring of zeros stands for all that lies outside the grid.
    ringed = np.zeros((2, count + 2, count + 2))
    ringed[0, 1:-1, 1:-1], ringed[1, 1:-1, 1:-1] = frame.weights, frame.rates
    ring = np.minimum(np.maximum(near + 1, 0), count + 1)
    index = ring[:, 1, :, None] * (count + 2) + ring[:, 0, None, :]
    weights, rates = ringed[0].ravel()[index], ringed[1].ravel()[index]
    kernel = wendland_c4(distance)
    pull = weights * wendland_c4_slope(distance)
    gradient = np.stack((np.einsum("nij,nj->n", pull, offsets[:, 0]), np.einsum("nij,ni->n", pull, offsets[:, 1])), -1)
    return FieldSample(
        frame.mean + np.einsum("nij,nij->n", weights, kernel),
        np.einsum("nij,nij->n", rates, kernel),
        gradient / (SUPPORT_SPACINGS**2 * spacing),
    )


def aged(frame: FieldFrame, tau: int) -> FieldFrame:
    """The field as it is believed at a later tau: its weights carried on by the dual part (8), all of it fading.

        a + eps b  ->  s (a + s b (tau - tau_0)),   s = max(0, 1 - (tau - tau_0) / STALE_TICKS)

    A field that nobody renews loses its pull, its derivative first: what is left is its mean, which exerts no force.
    """
    age = max(0, tau - frame.tau)
    trust = max(0.0, 1.0 - age / STALE_TICKS)
    return frame._replace(weights=trust * (frame.weights + trust * age * frame.rates), rates=trust * frame.rates)


def superposed(physical: FieldSample, heat: FieldSample, physical_weight: float, heat_weight: float) -> FieldSample:
    """Phi_eff (7)."""
    return FieldSample(*(physical_weight * s + heat_weight * h for s, h in zip(physical, heat, strict=True)))


def interpolation_matrix(count: int) -> Floats:
    """The fixed matrix that turns values at the grid's own points into weights: the kernel's inverse, (n^2, n^2)."""
    axis = np.arange(count) + 0.5
    x, y = np.meshgrid(axis, axis)
    points = np.stack((x.ravel(), y.ravel()), axis=-1)
    offsets = points[:, None, :] - points[None, :, :]
    gram = wendland_c4(np.hypot(offsets[..., 0], offsets[..., 1]) / SUPPORT_SPACINGS)
    return np.asarray(np.linalg.inv(gram), dtype=np.float64)


def flat_frame(side: float, value: float, tau: int) -> FieldFrame:
    """A field that is the same everywhere: what a host believes that has heard of none but its own telemetry."""
    return FieldFrame(side, value, np.zeros((1, 1)), np.zeros((1, 1)), tau)
