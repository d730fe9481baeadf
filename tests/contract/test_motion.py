"""The integrator over arrays against the one for one agent in plain numbers: the same motion, to rounding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tegcore.dynamics import reference
from tegcore.dynamics.langevin import Edges, Forces, Swarm, step

SIDE = 32.0


def forces_of(source, count):
    return Forces(
        source.normal(scale=3, size=(count, 2)),
        source.exponential(2, count),
        float(source.exponential(1) + 1e-3),
        float(source.exponential(1)),
        source.normal(scale=2, size=(count, 3)) * (source.random((count, 1)) > 0.1),
        float(source.choice([0.0, 0.5, 3.0])),
    )


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32 - 1), st.sampled_from(Edges), st.sampled_from([0.05, 1.0, 4.0]))
def test_each_row_moves_as_the_reference_says(seed, edges, dt):
    source, count = np.random.default_rng(seed), 7
    swarm = Swarm(
        source.uniform(0, SIDE, (count, 2)),
        source.normal(scale=4, size=(count, 2)),
        source.exponential(3, count) + 0.1,
        source.normal(scale=3, size=count),
    )
    forces, draws, asked = forces_of(source, count), source.normal(size=(count, 2)), []

    def forces_at(positions):
        asked.append(positions)
        return forces

    moved = step(swarm, forces_at, dt, draws, SIDE, edges)
    for row in range(count):
        agent = reference.Agent(
            complex(*swarm.position[row]), complex(*swarm.velocity[row]), swarm.mass[row], swarm.charge[row]
        )
        hessian = (forces.hessian[row, 0], forces.hessian[row, 1], forces.hessian[row, 2])
        force = reference.Force(
            complex(*forces.gradient[row]),
            forces.magnetic[row],
            forces.friction,
            forces.temperature,
            hessian,
            forces.look_ahead,
        )
        middle = reference.middle(agent, dt, SIDE, edges).position
        assert [middle.real, middle.imag] == pytest.approx(asked[0][row].tolist(), abs=1e-9)
        end = reference.step(agent, force, dt, complex(*draws[row]), SIDE, edges)
        assert [end.position.real, end.position.imag] == pytest.approx(moved.position[row].tolist(), abs=1e-9)
        assert [end.velocity.real, end.velocity.imag] == pytest.approx(moved.velocity[row].tolist(), abs=1e-9)
