"""The potential that agents descend: S_phys and H_auction, each a weighted sum of compact kernels on a fixed grid.

    S(x, tau) = mean + sum_i (a_i + eps b_i) phi(|x - g_i| / R),   b = da/dtau        (8)
    Phi_eff   = w1 S_phys + w2 H_auction                                              (7)

Only grid points within the support R (three spacings) count: a few dozen terms at any place, whatever the number of
hosts. One pass gives value, tau-derivative, gradient and second derivatives.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tegcore.field.dual import Dual, dual
from tegcore.field.kernel_sum import kernel_sum
from tegcore.field.kernels import wendland_c4

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
        weights: a + eps b, shape (n, n), row y, column x; grid points are centred in n x n equal cells.
        tau: When the weights were right.
    """

    side: float
    mean: float
    weights: Dual
    tau: int

    @property
    def spacing(self) -> float:
        """Distance of neighbouring grid points, in slots."""
        return self.side / len(self.weights.value)


class FieldSample(NamedTuple):
    """A field at some places.

    Attributes:
        value: With its tau-derivative, shape (n,).
        gradient: Per slot, shape (n, 2).
        hessian: Second derivatives d2/dx2, d2/dxdy, d2/dy2, per slot squared, shape (n, 3).
    """

    value: Dual
    gradient: Floats
    hessian: Floats

    @property
    def steepness(self) -> Floats:
        """|grad|, shape (n,): of the heat layer, the magnetic field B (DESIGN 9, row 13)."""
        return np.hypot(self.gradient[:, 0], self.gradient[:, 1])


def evaluate(frame: FieldFrame, positions: Floats) -> FieldSample:
    """The field (8) at positions, shape (n, 2), in slot units. Its cost does not depend on the number of hosts."""
    spacing = frame.spacing
    places = np.ascontiguousarray(positions / spacing, dtype=np.float64)
    layers = np.array((frame.weights.value, frame.weights.rate))
    sums = np.empty((len(places), 2, 6))
    kernel_sum(layers, places, sums)
    field = sums[:, 0]
    return FieldSample(
        Dual(frame.mean + field[:, 0], sums[:, 1, 0]), field[:, 1:3] / spacing, field[:, 3:] / (spacing * spacing)
    )


def ahead(frame: FieldFrame, ticks: float) -> FieldFrame:
    """The field as its dual part says that it will be, `ticks` later: a + b ticks (8)."""
    return frame._replace(weights=frame.weights.at(ticks))


def clipped(value: Dual) -> Dual:
    """A looked-ahead S within [0, S_MAX], where S_phys lives: a rate holds for a while, not for ever."""
    return value.clip(0.0, S_MAX)


def aged(frame: FieldFrame, tau: int, local: float | None = None) -> FieldFrame:
    """The field as it is believed at a later tau: its weights carried on by the dual part (8), all of it fading.

        a + eps b  ->  s (a + s b (tau - tau_0)),   mean -> s mean + (1 - s) local
        s = max(0, 1 - (tau - tau_0) / STALE_TICKS)

    A field that nobody renews loses its pull, its derivative first: what is left is its mean, which exerts no force,
    and which is believed the less, the older it is, against what the host's own telemetry says (`local`, if any).
    """
    age = max(0, tau - frame.tau)
    trust = max(0.0, 1.0 - age / STALE_TICKS)
    mean = frame.mean if local is None else trust * frame.mean + (1.0 - trust) * local
    carried = frame.weights.value + trust * age * frame.weights.rate
    return frame._replace(mean=mean, weights=Dual(trust * carried, trust * frame.weights.rate))


def superposed(physical: FieldSample, heat: FieldSample, physical_weight: float, heat_weight: float) -> FieldSample:
    """Phi_eff (7)."""
    return FieldSample(
        physical_weight * physical.value + heat_weight * heat.value,
        physical_weight * physical.gradient + heat_weight * heat.gradient,
        physical_weight * physical.hessian + heat_weight * heat.hessian,
    )


def grid_points(count: int) -> Floats:
    """The points of a grid with `count` along a side, in units of its spacing, shape (n^2, 2), row by row."""
    axis = np.arange(count) + 0.5
    x, y = np.meshgrid(axis, axis)
    return np.stack((x.ravel(), y.ravel()), axis=-1)


def kernel_between(places: Floats, others: Floats) -> Floats:
    """The kernel between places, shapes (n, 2) and (m, 2) in units of the grid's spacing; shape (n, m)."""
    offsets = places[:, None, :] - others[None, :, :]
    return wendland_c4(np.hypot(offsets[..., 0], offsets[..., 1]) / SUPPORT_SPACINGS)


def gram(count: int) -> Floats:
    """The kernel between all points of a grid with `count` along a side, shape (n^2, n^2)."""
    return kernel_between(grid_points(count), grid_points(count))


@cache
def interpolation_matrix(count: int) -> Floats:
    """The fixed matrix that turns values at the grid's own points into weights: the kernel's inverse, (n^2, n^2)."""
    return np.asarray(np.linalg.inv(gram(count)), dtype=np.float64)


def heat_frame(cells: Floats, side: float, tau: int) -> FieldFrame:
    """H_auction as a field: weights such that it passes through the heat of each cell, shape (n, n), at its centre."""
    weights = interpolation_matrix(len(cells)) @ np.nan_to_num(cells).ravel()
    return FieldFrame(side, 0.0, dual(weights.reshape(cells.shape)), tau)


def flat_frame(side: float, value: float, tau: int) -> FieldFrame:
    """A field that is the same everywhere: what a host believes that has heard of none but its own telemetry."""
    return FieldFrame(side, value, dual(np.zeros((1, 1))), tau)
