"""Block prices against the same program over every way to fill a device, and against what duals must satisfy."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from tegcore.field.block_price import block_prices, packing

MIXES = st.dictionaries(
    st.sampled_from([150, 190, 250, 300, 350, 470, 500, 650, 810, 1000]), st.integers(1, 40), min_size=1, max_size=5
)


def fillings(sizes):
    """Every multiset of sizes that a device holds, as counts."""
    counts = [range(1000 // size + 1) for size in sizes]
    return np.array([each for each in product(*counts) if np.dot(each, sizes) <= 1000])


def by_enumeration(sizes, arrivals, demand):
    """The most that can be placed: a variable for every filling, and tau."""
    rate, ways = arrivals * 1000 / (arrivals @ sizes), fillings(sizes)
    count = len(ways)
    upper, limits = [np.append(np.ones(count), 0.0)], [1.0]
    equal = []
    for at, size in enumerate(sizes):
        owed = np.append(-ways[:, at], rate[at])
        if size == 1000:
            equal.append(owed)
            continue
        upper += [owed, np.append(ways[:, at], 0.0)]
        limits += [0.0, demand * rate[at]]
    gain = np.append(ways @ sizes / 1000, 0.0)
    solved = linprog(-gain, np.array(upper), limits, np.array(equal) if equal else None, [0.0] * len(equal) or None)
    return -solved.fun


@settings(deadline=None, max_examples=60)
@given(MIXES, st.sampled_from([0.5, 1.0, 1.3]))
def test_the_path_program_is_the_one_over_all_fillings(mix, demand):
    sizes, arrivals = np.array(sorted(mix)), np.array([float(mix[size]) for size in sorted(mix)])
    found = packing(sizes, arrivals, demand)
    assert found.placed == pytest.approx(by_enumeration(sizes, arrivals, demand), abs=1e-7)
    assert (fillings(sizes) @ found.worth <= found.device + 1e-7).all(), "no filling earns more than a device costs"


@settings(deadline=None, max_examples=40)
@given(MIXES)
def test_prices_grow_with_the_block_and_a_device_pays_for_what_it_holds(mix):
    sizes, arrivals = np.array(sorted(mix)), np.array([float(mix[size]) for size in sorted(mix)])
    prices = block_prices(sizes, arrivals, 1.3)
    assert (np.diff(prices) >= 0).all()
    assert prices[sizes[0] - 1] == 0 <= prices[1000] <= 1 + 1e-7


def test_what_nobody_asks_for_is_worth_nothing():
    assert not block_prices(np.zeros(0, dtype=np.int64), np.zeros(0), 1.3).any()
    halves = block_prices(np.array([500]), np.array([1.0]), 1.3)
    assert halves[[499, 500, 999, 1000]] == pytest.approx([0.0, 0.5, 0.5, 1.0])
