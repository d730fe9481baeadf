"""Hyperparameters of the field by scikit-learn: a Gaussian process with the field's own compact kernel.

The support is that of the broadcast grid (three spacings), so what is fitted is how much the field varies and how noisy
a host's telemetry is: signal and noise, by the marginal likelihood of a sample of hosts.
"""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Kernel, StationaryKernelMixin, WhiteKernel

from governor.gp.posterior import Hyperparameters
from tegcore.field.kernels import wendland_c4
from tegcore.field.potential import SUPPORT_SPACINGS

Floats = NDArray[np.float64]

HOSTS_MAX = 256
"""The search costs the cube of it: 0.3 s of CPU at 256."""

VARIANCE = (1e-4, 1e2)


class WendlandC4(StationaryKernelMixin, Kernel):  # type: ignore[misc]
    """The field's kernel for scikit-learn, of a support that is given and not searched for.

    Args:
        support: R, in slots.
    """

    def __init__(self, support: float) -> None:
        self.support = support

    def __call__(self, X: Floats, Y: Floats | None = None, eval_gradient: bool = False) -> Any:  # noqa: N803
        """The kernel between places, shape (n, m); with an empty gradient, for there is nothing to search for."""
        offsets = X[:, None, :] - (X if Y is None else Y)[None, :, :]
        value = wendland_c4(np.hypot(offsets[..., 0], offsets[..., 1]) / self.support)
        return (value, np.empty((*value.shape, 0))) if eval_gradient else value

    def diag(self, X: Floats) -> Floats:  # noqa: N803
        """The kernel at distance 0."""
        return np.ones(len(X))

    def __repr__(self) -> str:
        return f"WendlandC4(support={self.support:.3g})"


def regressor(positions: Floats, values: Floats, side: float, hyper: Hyperparameters) -> GaussianProcessRegressor:
    """scikit-learn's full process, fitted to all hosts that are given: for hyperparameters, and to compare with."""
    support = SUPPORT_SPACINGS * side / hyper.grid
    kernel = ConstantKernel(hyper.signal**2, VARIANCE) * WendlandC4(support) + WhiteKernel(hyper.noise**2, VARIANCE)
    mean = values.mean()
    fitted = GaussianProcessRegressor(kernel, random_state=0).fit(positions, values - mean)
    fitted.mean_ = mean
    return fitted


def fitted(positions: Floats, values: Floats, side: float, hyper: Hyperparameters, seed: int) -> Hyperparameters:
    """Signal and noise that fit hosts best, shapes (n, 2) and (n,); those given if there is no fit."""
    if not np.isfinite(values).all():
        return hyper
    chosen = np.random.default_rng(seed).permutation(len(values))[:HOSTS_MAX]
    with warnings.catch_warnings():
        # A field without noise, or without anything else, ends at a bound: that is the fit.
        warnings.simplefilter("ignore", ConvergenceWarning)
        kernel = regressor(positions[chosen], values[chosen], side, hyper).kernel_
    signal, noise = float(np.sqrt(kernel.k1.k1.constant_value)), float(np.sqrt(kernel.k2.noise_level))
    if not (np.isfinite(signal) and np.isfinite(noise) and noise > 0 and signal > 0):
        return hyper
    return hyper._replace(signal=signal, noise=noise)
