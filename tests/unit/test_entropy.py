"""S_phys of hosts: zero when idle, rising, divergent up to its clip, blind to what a host lacks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tegcore.field.entropy import WEIGHTS, entropy
from tegcore.field.potential import S_MAX

SOURCES = len(WEIGHTS)
SHARE = st.floats(0, 1)
HOSTS = arrays(np.float64, st.tuples(st.integers(1, 8), st.just(SOURCES)), elements=SHARE | st.just(np.nan))
HOST = arrays(np.float64, (1, SOURCES), elements=SHARE)


def test_an_idle_host_has_none():
    assert entropy(np.zeros((1, SOURCES)))[0] == 0


def test_is_the_weighted_mean_of_the_logarithms():
    shares = np.array([[0.5, 0.25, 0.9, 0.0, 0.1, 0.6, 0.3]])
    expected = sum(-w * np.log(1 - u) for w, u in zip(WEIGHTS, shares[0], strict=True)) / WEIGHTS.sum()
    assert entropy(shares)[0] == pytest.approx(expected, rel=1e-12)


@settings(deadline=None)
@given(HOSTS)
def test_stays_within_its_bounds_and_is_unknown_only_without_any_source(shares):
    values = entropy(shares)
    blind = np.isnan(shares).all(axis=1)
    assert (np.isnan(values) == blind).all()
    assert (values[~blind] >= 0).all()
    assert (values[~blind] <= S_MAX).all()


@settings(deadline=None)
@given(HOST, st.integers(0, SOURCES - 1), SHARE)
def test_rises_with_each_share(shares, source, share):
    more = shares.copy()
    more[0, source] = max(share, shares[0, source])
    assert entropy(more)[0] >= entropy(shares)[0] - 1e-12


@settings(deadline=None)
@given(HOST, st.sets(st.integers(0, SOURCES - 1), max_size=SOURCES - 1))
def test_what_a_host_lacks_counts_as_if_it_had_never_been_weighed(shares, lacking):
    there = [source for source in range(SOURCES) if source not in lacking]
    with_gaps = shares.copy()
    with_gaps[0, list(lacking)] = np.nan
    assert entropy(with_gaps)[0] == pytest.approx(entropy(shares[:, there], WEIGHTS[there])[0], abs=1e-12)


def test_everything_saturated_is_the_clip():
    assert entropy(np.ones((1, SOURCES)))[0] == S_MAX


@settings(deadline=None)
@given(HOSTS, st.randoms(use_true_random=False))
def test_each_host_is_judged_alone(shares, order):
    rows = list(range(len(shares)))
    order.shuffle(rows)
    np.testing.assert_array_equal(entropy(shares)[rows], entropy(shares[rows]))
