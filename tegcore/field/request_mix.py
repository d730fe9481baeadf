"""The law of the fragmentation potential that follows from a mix of requests, by rule alone."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tegcore.field.block_price import block_prices
from tegcore.field.fragmentation import BLOCK, SCARCITY, SPREAD, STARVED, WHOLE, Devices, Floats, Law, Words
from tegcore.field.requests import Mix

GANG_WEIGHT = 7.0
"""Requests for several devices count so often in the first term: what they need is lost by a single misplacement."""

CLASSES_SHARE = 0.97
"""Of the requests for devices, the most frequent classes that make up so many are counted."""

KAPPA = 0.875
"""Of the cores that requests ask for each device, so much is kept beside each free one."""

DEMAND = 1.3
"""Arrivals that block prices are made for, in units of what the cluster has."""


class Kinds(NamedTuple):
    """What hosts are when they are empty, one row a kind.

    Attributes:
        gpus, cpu_milli, mem_bytes, model: Of a host of the kind, shape (k,).
        hosts: How many hosts are of it, shape (k,).
    """

    gpus: Devices
    cpu_milli: Words
    mem_bytes: Words
    model: Devices
    hosts: Words


def derived(mix: Mix, kinds: Kinds) -> Law:
    """The law for a mix, by rule alone.

    Weights are shares of requests, those for several devices counted `GANG_WEIGHT` times; block prices are the duals of
    `tegcore.field.block_price`; kappa is what requests for devices ask of cores; scarcity of a kind is the demand of
    those requests that could not run on every kind even if it were empty (they name models, or are too large), each
    spread over the devices of the kinds that could take it.

    Args:
        mix: What is asked for.
        kinds: What the cluster has.
    """
    with_devices = mix.classes[:, 0] > 0
    classes, count = mix.classes[with_devices], mix.often[with_devices]
    demand = classes[:, 0] * classes[:, 1] * count
    total = max(float(demand.sum()), 1e-300)
    kept = _frequent(classes, count)
    weights = count[kept] * np.where(classes[kept, 0] > 1, GANG_WEIGHT, 1.0)
    sizes, which = np.unique(classes[:, 1], return_inverse=True)
    prices = block_prices(sizes, np.bincount(which, classes[:, 0] * count).astype(np.float64), DEMAND)
    kappa = KAPPA * float((classes[:, 2] * count).sum()) / total
    return Law(
        np.ascontiguousarray(classes[kept]),
        weights / max(weights.sum(), 1e-300),
        np.arange(WHOLE + 1) - WHOLE * prices,
        _scarcity(classes, demand / total, kinds),
        np.array([BLOCK, STARVED, SPREAD, SCARCITY, max(kappa, 1e-9)]),
    )


def _frequent(classes: Words, count: Floats) -> NDArray[np.intp]:
    """Rows of the most frequent classes, and of all that ask for several devices."""
    order = np.argsort(-count, kind="stable")
    before = np.cumsum(count[order]) - count[order]
    return np.sort(order[(before < CLASSES_SHARE * count.sum()) | (classes[order, 0] > 1)])


def _scarcity(classes: Words, share: Floats, kinds: Kinds) -> Floats:
    able = (classes[:, 4, None] >> kinds.model & 1 == 1) & (classes[:, 0, None] <= kinds.gpus)
    able &= (classes[:, 2, None] <= kinds.cpu_milli) & (classes[:, 3, None] <= kinds.mem_bytes)
    narrow = ~able.all(axis=1)
    devices = (kinds.gpus * kinds.hosts).astype(np.float64)
    reach = np.maximum(able @ devices, 1.0)
    pressure = np.where(narrow, share * devices.sum() / reach, 0.0)
    return np.asarray(pressure @ able.astype(np.float64), dtype=np.float64)
