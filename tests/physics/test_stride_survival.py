"""Strides learned by survival on the real engine (paper 3.5.3): the closed form at a flat price, and under (15)."""

import math

import numpy as np
import pytest

from tegcore import rng
from tegcore.economics.stride import best_stride
from tegsim.stride import AGENTS, Need, Survival

pytestmark = pytest.mark.slow
"""Fifty generations each."""

GENERATIONS, COUNTED = 50, 20
FLAT_GIB = 1 << 22
"""On a host this large the price (15) does not move with what 20 GiB are bought."""


def learned(need: Need, start_gib: float, seed: int) -> float:
    """Geometric mean of the strides of the last generations, from starts spread over a decade."""
    spread = np.exp(0.7 * rng.normal(seed, "start", 0, np.arange(AGENTS))[:, 0])
    life, means = Survival(need, start_gib * spread, seed), []
    for generation in range(GENERATIONS):
        life.generation(0.1 if generation < GENERATIONS - COUNTED else 0.03)
        means.append(float(np.log(life.strides_gib).mean()))
    return math.exp(np.mean(means[-COUNTED:]))


@pytest.mark.parametrize(("start_gib", "seed"), [(4.0, 1), (0.3, 2)])
def test_at_a_flat_price_survivors_buy_the_economic_order_quantity(start_gib: float, seed: int) -> None:
    price_ucr = 400_000
    need = Need(20.0, FLAT_GIB, round(price_ucr * 0.95 * FLAT_GIB), 10_000)
    assert learned(need, start_gib, seed) == pytest.approx(best_stride(10_000, 20.0, price_ucr, 0.0), rel=0.1)


def cost_ucr(stride_gib: float, total_gib: float, need: Need) -> float:
    """What a life costs by (15): each range's integral for the rest of the period, and gas."""
    room, strides = 0.95 * need.host_gib, math.ceil(total_gib / stride_gib)
    starts = stride_gib * np.arange(strides)
    prices = need.k_ucr * np.log((room - starts) / (room - starts - stride_gib))
    return float((prices * (1 - starts / total_gib) + need.gas_ucr).sum())


def test_where_memory_grows_dear_survivors_buy_what_costs_least() -> None:
    """The strides are found beside a numerical optimum over the same needs; the price rises sevenfold on the way."""
    need = Need(17.0, 26, 8_000_000, 10_000)
    totals = need.total_gib * np.linspace(0.75, 1.25, 201)
    strides = np.geomspace(0.05, 3.0, 400)
    costs = [sum(cost_ucr(stride, total, need) for total in totals) for stride in strides]
    best = float(strides[np.argmin(costs)])
    at_the_first_price = best_stride(need.gas_ucr, need.total_gib, need.k_ucr / (0.95 * need.host_gib), 0.0)
    assert learned(need, 1.0, 3) == pytest.approx(best, rel=0.1)
    assert best < 0.9 * at_the_first_price
