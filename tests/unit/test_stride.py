"""The stick-slip stride: its closed form is the least of its cost, and one who only sees its bills finds it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegcore.economics.stride import best_stride, learned_stride, stride_cost
from tegd.bidding import STEP_BYTES, STRIDE_BYTES_MAX, Stride, expansion_bytes

AMOUNTS = st.floats(0.01, 1e4)


@given(AMOUNTS, AMOUNTS, AMOUNTS, st.floats(0, 2), st.floats(0.2, 5).filter(lambda share: abs(share - 1) > 0.01))
def test_the_closed_form_costs_least(gas: float, growth: float, price: float, tax: float, share: float) -> None:
    best = best_stride(gas, growth, price, tax)
    assert stride_cost(best, gas, growth, price, tax) < stride_cost(best * share, gas, growth, price, tax)


@given(AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS)
def test_who_sees_only_its_bills_finds_it(gas: float, growth: float, price: float, start: float) -> None:
    stride = start
    for _ in range(60):
        stride = learned_stride(stride, gas, price * stride, stride / growth)
    assert stride == pytest.approx(best_stride(gas, growth, price, 0.0), rel=1e-6)


def test_without_a_price_there_is_no_best() -> None:
    with pytest.raises(ValueError, match="price"):
        best_stride(1, 1, 0, 0)
    assert learned_stride(7.0, 1, 0, 1) == 7.0


def test_a_workload_buys_its_stride_or_what_it_needs() -> None:
    assert expansion_bytes(0, 1, 0, 4.5 * STEP_BYTES) == 5 * STEP_BYTES
    assert expansion_bytes(0, 9 * STEP_BYTES, 0, 2 * STEP_BYTES) == 9 * STEP_BYTES


def test_a_stride_grows_when_gas_is_dear_and_is_bounded() -> None:
    stride = Stride()
    for tick in range(0, 10_000, 10):
        stride.bought(int(stride.size_bytes), 1, 1000, tick, 100)
    assert stride.size_bytes == STRIDE_BYTES_MAX
    for tick in range(10_000, 200_000, 1000):
        stride.bought(int(stride.size_bytes), 1_000_000, 1, tick, 100)
    assert stride.size_bytes == STEP_BYTES


def test_what_was_given_back_teaches_nothing() -> None:
    stride = Stride()
    stride.bought(STEP_BYTES, 1, 1000, 0, 100)
    stride.gave_back()
    stride.bought(STEP_BYTES, 1, 1000, 10, 100)
    assert stride.size_bytes == STEP_BYTES
