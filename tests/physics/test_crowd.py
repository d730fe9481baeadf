"""Thousands of ghosts over one zone, by the laws that agents follow: a full load settles, a shock makes no stampede.

Run to run, overshoots of 10,000 ghosts differ by some 0.1 (600 are over the corner, and they move together).
"""

import math

import pytest

from tegsim.crowd import Laws
from tegsim.herd import shock
from tegsim.settling import settle

FIELD_OFF, RANDOM_WALK = Laws(field=False, heat=False), Laws(field=False, heat=False, widening=False)


@pytest.mark.parametrize("laws", [Laws(), FIELD_OFF])
@pytest.mark.parametrize("zone_k", [5, *(pytest.param(zone_k, marks=pytest.mark.slow) for zone_k in (6, 7))])
def test_a_full_load_is_seated_in_rounds_like_log_n_and_mostly_near_its_start(zone_k: int, laws: Laws) -> None:
    """As many ghosts as slots (10). 99 in 100 need at most a round a level and a few; nine in ten stay local."""
    settled = settle(zone_k, 600, 1, laws)
    assert settled.unseated == 0
    half, most, every = settled.rounds
    assert half <= 2
    assert most <= 10
    assert every <= 2 * math.log2(settled.ghosts)
    assert settled.local > 0.9


def test_a_random_walk_never_seats_them_all() -> None:
    """The control: without widening the last ghosts look for the last slots by diffusion alone."""
    settled = settle(6, 400, 1, RANDOM_WALK)
    assert 0 < settled.unseated < 0.1 * settled.ghosts


@pytest.mark.slow
def test_the_heat_layer_damps_the_run_for_what_falls_free() -> None:
    """10,000 ghosts, 1,024 slots. Where S_phys alone is felt, the crowd sees that they are taken only once they are."""
    felt, unfelt = shock(7, 10_000, 400, 1, Laws()), shock(7, 10_000, 400, 1, Laws(heat=False))
    assert felt.seated[-1] == unfelt.seated[-1] == 1.0
    assert unfelt.overshoot > 0.25
    assert felt.overshoot < 0.75 * unfelt.overshoot


@pytest.mark.slow
def test_without_a_field_nobody_runs() -> None:
    """The control: all seats are found by widening, and nobody crowds."""
    still = shock(7, 10_000, 250, 1, FIELD_OFF)
    assert still.overshoot < 0.15
    assert still.seated[-1] == 1.0
