"""The money laws against real numbers, and a golden table that no machine may change."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegcore.economics.fixed import friction_ucr, log2_q32, mass_micro, prorated_ucr, range_price_ucr
from tegcore.economics.price_code import INFEASIBLE, price_code
from tegcore.units import GIB

GOLDEN = {1: 0, 2: 4294967296, 3: 6807362105, 10: 14267572527, 10**9: 128408152744, 2**62 - 1: 266287972351}


@pytest.mark.parametrize("number", GOLDEN)
def test_the_golden_table(number: int) -> None:
    assert log2_q32(number) == GOLDEN[number]


@given(st.integers(1, 2**80))
def test_the_logarithm_is_right_to_its_last_place(number: int) -> None:
    exact = math.log2(number) * 2**32
    assert -2 - exact * 2e-15 <= log2_q32(number) - exact <= 1 + exact * 2e-15


@given(st.integers(1, 2**62), st.integers(1, 2**20))
def test_the_logarithm_never_falls(number: int, more: int) -> None:
    assert log2_q32(number + more) >= log2_q32(number)


@given(st.integers(0, 10**12), st.integers(2, 2**44), st.data())
def test_the_price_of_memory_is_the_integral(scale: int, capacity: int, data) -> None:
    used = data.draw(st.integers(0, capacity - 1))
    delta = data.draw(st.integers(0, capacity - used - 1))
    exact = scale * (math.log(capacity - used) - math.log(capacity - used - delta))
    assert exact - 1 - scale * 1e-9 <= range_price_ucr(scale, capacity, used, delta) <= exact + 1 + scale * 1e-9


def test_at_the_capacity_there_is_no_price() -> None:
    with pytest.raises(ValueError, match="reaches"):
        range_price_ucr(1, 100, 60, 40)


@given(st.integers(0, 2**40), st.integers(0, 10**15), st.integers(1, 1024))
def test_mass_by_its_formula_and_a_whale_outweighs_its_shrimps(mem: int, endow: int, slots: int) -> None:
    mass = mass_micro(mem, endow, slots)
    exact = (mem / GIB + math.log1p(endow / (slots * 1e6))) * slots * 1e6
    assert mass == pytest.approx(exact, rel=1e-6, abs=3 * slots)
    assert mass >= slots * mass_micro(mem, endow // slots, 1) - 2 * slots


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_friction_is_linear(mu: int, mass: int) -> None:
    assert friction_ucr(mu, mass) == mu * mass // 1_000_000


@given(st.integers(0, 10**12), st.integers(1, 10_000), st.data())
def test_parts_of_a_period_cost_no_less_than_the_whole(amount: int, period: int, data) -> None:
    ticks = data.draw(st.integers(0, period))
    assert prorated_ucr(amount, ticks, period) + prorated_ucr(amount, period - ticks, period) >= amount
    assert prorated_ucr(amount, period, period) == amount


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**40))
def test_price_codes_never_fall_and_stay_below_infeasible(cost: int, more: int) -> None:
    assert price_code(cost) <= price_code(cost + more)
    assert price_code(cost + more) < INFEASIBLE
    if cost < 1024:
        assert price_code(cost) == cost
