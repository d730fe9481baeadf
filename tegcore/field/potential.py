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
        ceiling: Look-ahead values are clipped to [0, ceiling].
    """

    side: float
    mean: float
    weights: Floats
    rates: Floats
    tau: int
    ceiling: float = S_MAX

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
    count, spacing = frame.weights.shape[0], frame.spacing
    support = SUPPORT_SPACINGS * spacing
    reach = int(np.ceil(SUPPORT_SPACINGS))
    nearest = np.floor(positions / spacing).astype(np.int64)
    steps = np.arange(-reach, reach + 1)
    columns = nearest[:, 0, None, None] + steps[None, None, :]
    rows = nearest[:, 1, None, None] + steps[None, :, None]
    inside = (columns >= 0) & (columns < count) & (rows >= 0) & (rows < count)
    offset_x = positions[:, 0, None, None] - (columns + 0.5) * spacing
    offset_y = positions[:, 1, None, None] - (rows + 0.5) * spacing
    distance = np.hypot(offset_x, offset_y) / support
    place = (np.clip(rows, 0, count - 1), np.clip(columns, 0, count - 1))
    weights = np.where(inside, frame.weights[place], 0.0)
    kernel = np.where(inside, wendland_c4(distance), 0.0)
    pull = weights * wendland_c4_slope(distance) / support**2
    return FieldSample(
        frame.mean + (weights * kernel).sum(axis=(1, 2)),
        (frame.rates[place] * kernel).sum(axis=(1, 2)),
        np.stack(((pull * offset_x).sum(axis=(1, 2)), (pull * offset_y).sum(axis=(1, 2))), axis=-1),
    )


def look_ahead(frame: FieldFrame, sample: FieldSample, tau: int) -> Floats:
    """The value expected at a later tau by the dual part (8), clipped; the derivative is believed less with age."""
    ahead = max(0, tau - frame.tau)
    trust = max(0.0, 1.0 - ahead / STALE_TICKS)
    return np.clip(sample.value + trust * sample.rate * ahead, 0.0, frame.ceiling)


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
