"""The barrier (27), (28) by runs of what it bounds: within its assumption Re never passes Re_max; broken, it can."""

import numpy as np
import pytest

from governor.barrier import Barrier, MassFit, judge, margin, printed_margin

AT = Barrier(re_max=10.0, push_max=0.3, mass=6.0, friction_max=2.0, hold_ticks=5.0, alpha=0.1)
RUNS, HOLDS, STEPS = 100_000, 40, 10


def braked(rate, push, friction, dt):
    """Exact motion over dt under a constant push: m dR/dtau = -gamma R + m push; (dRe, R)."""
    slowing = np.exp(-friction * dt / AT.mass)
    reached = push * AT.mass / friction
    moved = reached * dt + (rate - reached) * (1 - slowing) * AT.mass / friction
    return moved, reached + (rate - reached) * slowing


def margins(reynolds, rate):
    rising = np.maximum(rate, 0)
    return AT.re_max - reynolds - AT.brake_ticks * (rising + AT.push_max) - rising * AT.hold_ticks


def test_the_runs_are_judged_by_the_margin_itself() -> None:
    for reynolds, rate in ((1.0, 0.5), (9.0, -0.5), (12.0, 3.0)):
        assert margins(reynolds, rate) == margin(reynolds, rate, AT)


def greatest(seed, *, push_of, law=margins, runs=RUNS):
    """The greatest Re of each run; pushes are drawn by `push_of(source, closed, left)`, R per hold."""
    source = np.random.default_rng(seed)
    reynolds, rate = source.uniform(0, 9, runs), source.uniform(0, 1.5, runs)
    within = law(reynolds, rate) >= 0
    reynolds, rate = reynolds[within], rate[within]
    top, left = reynolds.copy(), np.full(reynolds.shape, AT.push_max)
    for _ in range(HOLDS):
        worst = np.maximum(rate, 0) + AT.push_max
        closed = law(reynolds + worst * AT.hold_ticks, worst) < 0
        left = np.where(closed, left, AT.push_max)
        push = push_of(source, closed, left)
        left = np.where(closed, left - np.abs(push), left)
        friction = np.where(closed, AT.friction_max, source.uniform(0.01, AT.friction_max, rate.shape))
        for _ in range(STEPS):
            dt = AT.hold_ticks / STEPS
            moved, rate = braked(rate, push / AT.hold_ticks, friction, dt)
            reynolds = reynolds + moved
            top = np.maximum(top, reynolds)
    return top


def allowed(source, closed, left):
    """Up to D before the next decision while open; what is left of D once closed; mostly upward."""
    share = source.uniform(-0.2, 1, left.shape)
    return np.where(closed, np.minimum(left, left * share), AT.push_max * share)


def all_at_once(_source, _closed, left):
    """As much upward as the assumption lets, at once."""
    return left


@pytest.mark.parametrize("push_of", [allowed, all_at_once])
def test_within_its_assumption_it_is_never_crossed(push_of) -> None:
    top = greatest(1, push_of=push_of)
    assert len(top) > RUNS / 4
    assert top.max() <= AT.re_max
    assert top.max() > 0.9 * AT.re_max, "and it is not so cautious that nothing comes near"


def test_a_push_beyond_the_assumption_crosses() -> None:
    """A counter-example, kept: ten times D after closing. No friction below infinity holds a push without end."""
    top = greatest(2, push_of=lambda _source, _closed, _left: 10 * AT.push_max, runs=1000)
    assert (top > AT.re_max).any()


def test_the_printed_form_is_crossed_within_the_assumption() -> None:
    """DESIGN 9, row 27: the force-limited distance is too short for a viscous brake wherever R < 2."""

    def printed(reynolds, rate):
        return AT.re_max - reynolds - AT.mass * np.maximum(rate, 0) ** 2 / (2 * AT.friction_max)

    assert printed(3.0, 1.0) == pytest.approx(printed_margin(3.0, 1.0, AT))
    top = greatest(3, push_of=lambda source, closed, left: np.zeros_like(left), law=printed, runs=10_000)
    assert (top > AT.re_max).mean() > 0.05


def test_a_verdict_asks_for_the_least_friction_that_keeps_it() -> None:
    """At that friction dh/dtau + alpha h = 0; at a little less it is below 0."""
    reynolds, rate, push, at = 1.0, 0.5, 0.1, AT._replace(hold_ticks=1.0)
    verdict = judge(reynolds, rate, push, at)
    assert not verdict.closed
    assert 0 < verdict.friction < at.friction_max

    def falls(friction):
        acceleration = push - friction * rate / at.mass
        return -rate - (at.brake_ticks + at.hold_ticks) * acceleration + at.alpha * margin(reynolds, rate, at)

    assert falls(verdict.friction) == pytest.approx(0, abs=1e-12)
    assert falls(0.99 * verdict.friction) < 0


def test_far_from_the_limit_it_asks_for_nothing_and_near_it_it_closes() -> None:
    assert judge(1.0, 0.0, 0.0, AT)[1:] == (0.0, False)
    assert judge(1.0, -3.0, 0.0, AT)[1:] == (0.0, False)
    near = judge(8.5, 0.8, 0.0, AT)
    assert (near.closed, near.friction) == (True, AT.friction_max)


def test_mass_is_found_from_how_re_slows_down() -> None:
    source, fit, rate = np.random.default_rng(4), MassFit(50.0), 2.0
    for _ in range(2000):
        friction = source.uniform(0.5, 2.0)
        acceleration = -friction * rate / 6.0 + source.normal(scale=0.05)
        fit.see(friction, rate, acceleration)
        rate = max(0.0, rate + acceleration) if rate > 0.1 else 2.0
    assert fit.mass == pytest.approx(6.0, rel=0.1)
    fit.see(float("nan"), 1.0, 1.0)
    assert fit.mass == pytest.approx(6.0, rel=0.1)
