"""Dual numbers against finite differences: the rate of every formula is its derivative by tau."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tegcore.economics.cap import EPSILON, base_price, price_cap
from tegcore.field.dual import Dual, dual
from tegcore.field.potential import S_MAX

STEP = 1e-6
NUMBERS = st.floats(0.1, 3.0)
RATES = st.floats(-2.0, 2.0)

FORMULAS = {
    "sum": lambda a, b: a + b + 1.5,
    "difference": lambda a, b: 2.0 - a - b,
    "product": lambda a, b: a * b * 3.0,
    "quotient": lambda a, b: a / b + 1.0 / a,
    "negative": lambda a, b: -a * b,
    "exponential": lambda a, b: (a - b).exp(),
    "logarithm": lambda a, b: (a * b).log1p(),
    "root": lambda a, b: (a + b * b).sqrt(),
    "all at once": lambda a, b: ((a / b).sqrt() + (a * a).log1p()).exp() / (1.0 + b),
    "price cap": lambda a, b: price_cap(100.0, a) + 0.0 * b,
}


@pytest.mark.parametrize("name", FORMULAS)
@settings(deadline=None, max_examples=50)
@given(NUMBERS, RATES, NUMBERS, RATES)
def test_the_rate_is_the_derivative(name: str, a: float, a_rate: float, b: float, b_rate: float) -> None:
    formula = FORMULAS[name]
    left, right = Dual(np.array([a]), np.array([a_rate])), Dual(np.array([b]), np.array([b_rate]))
    found = formula(left, right)
    ends = [formula(left.at(step), right.at(step)).value[0] for step in (STEP, -STEP)]
    assert found.rate[0] == pytest.approx((ends[0] - ends[1]) / (2 * STEP), rel=1e-4, abs=1e-4)


def test_numbers_and_arrays_are_constant() -> None:
    array = np.array([1.0, 2.0])
    moving = Dual(array, np.ones(2))
    for product in (array * moving, moving * array):
        assert isinstance(product, Dual)
        assert product.rate.tolist() == [1.0, 2.0]
    assert (3.0 - moving).rate.tolist() == [-1.0, -1.0]
    assert dual(2.0).rate == 0
    assert dual(moving) is moving
    assert moving[1:].value.tolist() == [2.0]


def test_what_a_bound_holds_does_not_move() -> None:
    held = Dual(np.array([-1.0, 0.5, 2.0]), np.ones(3)).clip(0.0, 1.0)
    assert (held.value.tolist(), held.rate.tolist()) == ([0.0, 0.5, 1.0], [0.0, 1.0, 0.0])


def test_the_cap_bounds_least_where_there_is_most_room() -> None:
    """(6): p0 when idle; at S_max it still allows more than the mean reserve."""
    caps = price_cap(base_price(1000.0), dual(np.array([0.0, 1.0, S_MAX]))).value
    assert caps[0] == base_price(1000.0) / EPSILON
    assert caps[0] > caps[1] > caps[2] > 1000
