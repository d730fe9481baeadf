"""Figures from runs: intervals of means, by drawing seeds anew (Efron's percentile bootstrap), and growth."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tegcore import rng
from tegsim.claims.record import Figure

RESAMPLES = 2000
LEVEL = 0.95
DIGITS = 6
"""Significant digits kept: floats may differ in the last bits between machines, and a page should not."""

Floats = NDArray[np.float64]


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean of one value a seed, and the ends of its 95 % interval.

    Args:
        values: At least one, all finite.

    Raises:
        ValueError: If there is none, or one that is not finite.
    """
    mean, low, high = mean_intervals(np.asarray(values, dtype=np.float64)[:, None])
    return float(mean[0]), float(low[0]), float(high[0])


def mean_intervals(values: Floats) -> tuple[Floats, Floats, Floats]:
    """The same for many quantities at once, shape (seeds, n): seeds are drawn whole."""
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"no mean of {values.tolist()}: there must be a finite value for every seed")
    draws = rng.uniform(0, "bootstrap", len(values), np.arange(RESAMPLES * len(values)))
    picks = (draws.reshape(RESAMPLES, -1) * len(values)).astype(np.int64)
    counts = np.zeros((RESAMPLES, len(values)))
    np.add.at(counts, (np.arange(RESAMPLES)[:, None], picks), 1.0)
    means = counts @ values / len(values)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    mean = values.mean(axis=0)
    return rounded(mean), rounded(np.minimum(low, mean)), rounded(np.maximum(high, mean))


def rounded(values: Floats) -> Floats:
    """Numbers to six significant digits."""
    return np.array([float(f"{value:.{DIGITS}g}") for value in values.ravel().tolist()]).reshape(values.shape)


def figure(name: str, values: Sequence[float], unit: str) -> Figure:
    """A figure from one value a seed."""
    return Figure(name, *mean_interval(values), unit)


def exponent(sizes: Sequence[float] | Floats, costs: Sequence[float] | Floats) -> float:
    """The b of cost = a size^b by least squares on logarithms.

    >>> round(exponent([1, 10, 100], [3, 30, 300]), 6)
    1.0
    """
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])
