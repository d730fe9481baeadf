"""The sparse posterior in information form (deterministic training conditional), with forgetting.

With features k(x) = phi(|x - g| / R) at the grid points g, observations y and their mean m,

    A <- l A + K'K,   b <- l b + K'(y - m),   weights a = (A + r K_gg)^-1 b,   r = noise^2 / signal^2

where l < 1 forgets. An update costs a product of the batch with the grid and one Cholesky, whatever was seen before.
The tau-derivative of the weights (8) is taken between posteriors at least 20 ticks apart.
"""

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tegcore.field.dual import Dual
from tegcore.field.kernel_sum import NEAR, kernel_normal
from tegcore.field.potential import FieldFrame, gram, grid_points, kernel_between

Floats = NDArray[np.float64]

RATE_TICKS_MIN = 20
JITTER = 1e-9
KEPT_MAX = 64


class Hyperparameters(NamedTuple):
    """Of the process.

    Attributes:
        grid: Inducing points along each side.
        noise: Standard deviation of an observation.
        signal: Standard deviation of the field.
        forget_per_tick: Share of the information that is left after one tick.
    """

    grid: int = 16
    noise: float = 0.2
    signal: float = 1.0
    forget_per_tick: float = 0.995


class _Past(NamedTuple):
    tau: int
    weights: Floats


class Posterior:
    """The field of one zone as far as it is known.

    Args:
        side: Slots along a side of the zone.
        hyper: See `Hyperparameters`.
    """

    def __init__(self, side: float, hyper: Hyperparameters) -> None:
        self._side = side
        self._hyper = hyper
        self._spacing = side / hyper.grid
        count = hyper.grid**2
        self._gram = gram(hyper.grid) + JITTER * np.eye(count)
        self._information = np.zeros((count, count))
        self._evidence = np.zeros(count)
        self._level = np.zeros(2)
        self._tau = 0
        self._past: deque[_Past] = deque(maxlen=KEPT_MAX)

    def tune(self, hyper: Hyperparameters) -> None:
        """Take another noise, signal or forgetting; what was seen stays. The grid cannot change.

        Raises:
            ValueError: If the grid is another.
        """
        if hyper.grid != self._hyper.grid:
            raise ValueError(f"a grid of {hyper.grid} is not the posterior's of {self._hyper.grid}")
        self._hyper = hyper

    def observe(self, positions: Floats, values: Floats, tau: int) -> None:
        """Take in finite values at positions, shapes (n, 2) and (n,), at a time that does not run back."""
        kept = self._hyper.forget_per_tick ** max(0, tau - self._tau)
        self._tau = max(self._tau, tau)
        self._level = kept * self._level + (values.sum(), len(values))
        self._information *= kept
        self._evidence *= kept
        places = np.ascontiguousarray(positions / self._spacing, dtype=np.float64)
        centred = np.ascontiguousarray(values - self.mean, dtype=np.float64)
        kernel_normal(places, centred, self._hyper.grid, self._information, self._evidence, np.empty((NEAR, NEAR)))

    @property
    def mean(self) -> float:
        """Mean of what was observed, as far as it is remembered; 0 before."""
        total, count = self._level
        return float(total / count) if count > 0 else 0.0

    def _factor(self) -> Floats:
        ratio = (self._hyper.noise / self._hyper.signal) ** 2
        return np.asarray(np.linalg.cholesky(self._information + ratio * self._gram), dtype=np.float64)

    def variance(self, positions: Floats) -> Floats:
        """How far another observation at positions, shape (n, 2), is expected to be from the field, squared: (n,).

        The field's own uncertainty, that of what the grid cannot tell apart, and a host's noise.
        """
        features = kernel_between(positions / self._spacing, grid_points(self._hyper.grid))
        known = np.linalg.solve(self._factor(), features.T)
        spanned = np.linalg.solve(np.linalg.cholesky(self._gram), features.T)
        untold = np.maximum(0.0, 1.0 - (spanned**2).sum(axis=0))
        noise, signal = self._hyper.noise**2, self._hyper.signal**2
        return np.asarray(noise * (1.0 + (known**2).sum(axis=0)) + signal * untold, dtype=np.float64)

    def frame(self) -> FieldFrame:
        """The field now, dual in tau."""
        factor = self._factor()
        weights = np.linalg.solve(factor.T, np.linalg.solve(factor, self._evidence))
        older = [past for past in self._past if self._tau - past.tau >= RATE_TICKS_MIN]
        rates = np.zeros_like(weights)
        if older:
            rates = (weights - older[-1].weights) / (self._tau - older[-1].tau)
        self._past.append(_Past(self._tau, weights))
        shape = (self._hyper.grid, self._hyper.grid)
        return FieldFrame(self._side, self.mean, Dual(weights.reshape(shape), rates.reshape(shape)), self._tau)
