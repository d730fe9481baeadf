"""Mass (11) and charge (12): a whale outweighs the shrimps that would fill its block; both stay within their bounds."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tegcore.dynamics.mass import charge, mass
from tegcore.units import GIB, UCR_PER_CREDIT

MEMORY = st.integers(0, 1 << 44)
CREDITS = st.integers(0, 10**9)
SLOTS = st.integers(1, 4096)


@settings(deadline=None)
@given(MEMORY, CREDITS, SLOTS)
def test_mass_is_the_printed_law_repaired(memory, credits_, slots):
    expected = (memory / GIB + math.log1p(credits_ / slots)) * slots
    assert mass(memory, credits_ * UCR_PER_CREDIT, slots) == pytest.approx(max(1.0, expected), abs=3e-6 * slots)


@settings(deadline=None)
@given(MEMORY, CREDITS, SLOTS)
def test_mass_is_never_below_one(memory, credits_, slots):
    """The printed logarithm is negative below one credit, and a negative mass would fall uphill."""
    assert mass(memory, credits_ * UCR_PER_CREDIT // 1000, slots) >= 1


@settings(deadline=None)
@given(MEMORY, st.integers(1, 10**6), st.integers(2, 1024))
def test_a_whale_weighs_at_least_what_as_rich_shrimps_in_its_place_do(memory, credits_per_slot, slots):
    shrimps = slots * mass(memory, credits_per_slot * UCR_PER_CREDIT, 1)
    whale = mass(memory, credits_per_slot * slots * UCR_PER_CREDIT, slots)
    assert whale >= shrimps - slots * (1 + 2e-6)
    if memory / GIB + math.log1p(credits_per_slot) >= 1:
        assert whale == pytest.approx(shrimps, rel=1e-5)


@settings(deadline=None)
@given(MEMORY, CREDITS, SLOTS, st.integers(0, 10**6))
def test_more_money_is_never_lighter(memory, credits_, slots, more):
    assert mass(memory, (credits_ + more) * UCR_PER_CREDIT, slots) >= mass(memory, credits_ * UCR_PER_CREDIT, slots)


@given(st.floats(0, 100), st.floats(0, 1))
def test_charge_is_priority_times_one_and_the_risk(priority, risk):
    assert charge(priority, risk) == priority * (1 + risk)


@given(st.floats(0, 100), st.floats(-5, 5))
def test_a_risk_is_a_chance(priority, risk):
    assert priority <= charge(priority, risk) <= 2 * priority
