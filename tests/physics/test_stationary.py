"""Theorem 4.1: the magnetic part leaves the stationary distribution of positions what the potential alone makes it.

Agents do not see each other, so n of them are n independent draws; their counts in the cells of a grid are held to
Boltzmann's exp(-Phi / T) by Pearson's chi-square, whose mean is its degrees of freedom and whose variance twice that.
"""

import functools
import math

import numpy as np
import pytest

from tegcore import rng
from tegcore.dynamics.langevin import Edges, Forces, Swarm, step
from tegcore.field.dual import dual
from tegcore.field.potential import FieldFrame, evaluate, interpolation_matrix

pytestmark = pytest.mark.slow
"""Ensembles that are let settle."""

SIDE, GRID, CELLS, COUNT = 8.0, 8, 8, 10_000
TEMPERATURE, FRICTION, DT = 0.7, 1.0, 0.2
RELAXATION = SIDE**2 * FRICTION / (TEMPERATURE * math.pi**2)
"""Of the slowest mode on a plain; across a magnetic field diffusion is 1 + (q B / gamma)^2 times slower, about 3 here.
"""

SIGMAS = 4.0


def landscape(seed: int, height: float) -> FieldFrame:
    """Hills and basins that are smooth on the scale of a step."""
    cells = np.random.default_rng(seed).uniform(-height, height, GRID * GRID)
    return FieldFrame(SIDE, 0.0, dual((interpolation_matrix(GRID) @ cells).reshape(GRID, GRID)), 0)


PHI, HEAT = landscape(1, 0.8), landscape(2, 0.5)


@functools.cache
def settled(charge: float, look_ahead: float, edges: Edges) -> Swarm:
    nodes = np.arange(COUNT)
    start = np.stack([rng.uniform(5, "start", 0, nodes, lane) * SIDE for lane in (0, 1)], axis=-1)
    swarm = Swarm(start, np.zeros((COUNT, 2)), np.full(COUNT, 2.0), np.full(COUNT, charge))

    def forces_at(positions):
        phi = evaluate(PHI, positions)
        magnetic = evaluate(HEAT, positions).steepness
        return Forces(phi.gradient, magnetic, FRICTION, TEMPERATURE, phi.hessian, look_ahead)

    for tick in range(round(8 * RELAXATION / DT)):
        swarm = step(swarm, forces_at, DT, rng.normal(5, "flight", tick, nodes), SIDE, edges)
    return swarm


def boltzmann() -> np.ndarray:
    """Share of each cell, by the midpoints of 16 x 16 parts of it."""
    fine = CELLS * 16
    axis = (np.arange(fine) + 0.5) * SIDE / fine
    x, y = np.meshgrid(axis, axis)
    value = evaluate(PHI, np.stack((x.ravel(), y.ravel()), axis=-1)).value.value
    weight = np.exp(-value / TEMPERATURE).reshape(CELLS, 16, CELLS, 16).sum(axis=(1, 3))
    return weight / weight.sum()


def chi_square(swarm: Swarm) -> float:
    columns, rows = (swarm.position * CELLS / SIDE).astype(int).T
    found = np.bincount(rows * CELLS + columns, minlength=CELLS**2).reshape(CELLS, CELLS)
    expected = COUNT * boltzmann()
    return float(((found - expected) ** 2 / expected).sum())


LIMIT = CELLS**2 - 1 + SIGMAS * math.sqrt(2 * (CELLS**2 - 1))


@pytest.mark.parametrize(
    ("charge", "look_ahead"),
    [(0.0, 0.0), (3.0, 0.0), (3.0, 1.0)],
    ids=["no magnetic field", "with it", "with it and look-ahead, the noise matched to its tensor"],
)
def test_positions_settle_as_the_potential_alone_says(charge: float, look_ahead: float) -> None:
    swarm = settled(charge, look_ahead, Edges.REFLECTING)
    assert chi_square(swarm) < LIMIT
    kinetic = (swarm.mass[:, None] * swarm.velocity**2 / TEMPERATURE).mean()
    assert kinetic == pytest.approx(1, abs=SIGMAS * math.sqrt(2 / (2 * COUNT)) + DT**2)


def test_the_check_would_see_a_potential_that_is_a_quarter_off() -> None:
    """The same counts are refused by a potential 1.25 times as high: the test has the power that it needs."""
    swarm = settled(3.0, 0.0, Edges.REFLECTING)
    columns, rows = (swarm.position * CELLS / SIDE).astype(int).T
    found = np.bincount(rows * CELLS + columns, minlength=CELLS**2).reshape(CELLS, CELLS)
    steeper = boltzmann() ** 1.25
    expected = COUNT * steeper / steeper.sum()
    assert float(((found - expected) ** 2 / expected).sum()) > LIMIT


def test_trajectories_do_change() -> None:
    """Same start, same draws: with the field and without, an agent ends about as far apart as strangers are."""
    ends = [settled(charge, 0.0, Edges.REFLECTING).position for charge in (0.0, 3.0)]
    apart = np.linalg.norm(ends[0] - ends[1], axis=1).mean()
    strangers = np.linalg.norm(ends[0] - ends[0][::-1], axis=1).mean()
    assert apart > 0.5 * strangers


def test_round_a_periodic_zone_a_flat_potential_leaves_all_places_alike() -> None:
    nodes = np.arange(COUNT)
    swarm = Swarm(np.full((COUNT, 2), 1.0), np.zeros((COUNT, 2)), np.ones(COUNT), np.ones(COUNT))

    def forces_at(positions):
        return Forces(np.zeros_like(positions), np.ones(len(positions)), FRICTION, TEMPERATURE)

    for tick in range(round(5 * RELAXATION)):
        swarm = step(swarm, forces_at, 1.0, rng.normal(6, "flight", tick, nodes), SIDE, Edges.PERIODIC)
    assert ((swarm.position >= 0) & (swarm.position < SIDE)).all()
    found = np.histogram2d(*swarm.position.T, bins=CELLS, range=[[0, SIDE]] * 2)[0]
    expected = COUNT / CELLS**2
    assert float(((found - expected) ** 2 / expected).sum()) < LIMIT
