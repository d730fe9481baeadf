"""Motion of agents: Langevin dynamics (13) by symmetric splitting, over arrays, one row an agent.

    m dv = (-grad Phi(x + v Delta, tau + Delta) + q v x B - gamma v) dt + noise,     B = |grad H| z

Looking Delta ahead, linearised, is a force at x and a damping Delta Hess(Phi); only its positive part is used, because
on a hill it would pump (Theorem 4.2). So the friction is a tensor, and the noise fits it:

    G = gamma 1 + Delta Hess(Phi)+,     noise = sqrt(2 T G) dW

One step is drift (half), kick (half), rotation (half), Ornstein-Uhlenbeck (whole), rotation (half), kick (half), drift
(half). It reads the same backwards, so it is of second order in dt; all forces are those at the middle, so it asks for
them once. The rotation by q B dt / m is exact, so the magnetic part does no work; the Ornstein-Uhlenbeck part is exact,
so the noise fits the friction at any step. The loops over agents are `splitting`; what one agent's step is in plain
numbers: `reference`.
"""

import math
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tegcore.dynamics.splitting import drift, turn

Floats = NDArray[np.float64]

ROTATION_MAX = 0.5
"""|q B| dt / m is bounded by this, in radians a step."""


class Edges(Enum):
    """What becomes of an agent at the zone's edge."""

    REFLECTING = "reflecting"
    PERIODIC = "periodic"


class Swarm(NamedTuple):
    """Agents in flight: position and velocity, (n, 2), in slots and slots per tick; mass and charge, (n,)."""

    position: Floats
    velocity: Floats
    mass: Floats
    charge: Floats


class Forces(NamedTuple):
    """What acts on them.

    Attributes:
        gradient: grad Phi at tau + Delta, shape (n, 2).
        magnetic: B, shape (n,).
        friction: gamma, above 0.
        temperature: T of the broadcast.
        hessian: Second derivatives (xx, xy, yy) of Phi, shape (n, 3).
        look_ahead: Delta, in ticks.
    """

    gradient: Floats
    magnetic: Floats
    friction: float
    temperature: float
    hessian: Floats | None = None
    look_ahead: float = 0.0


def step(
    swarm: Swarm,
    forces_at: Callable[[Floats], Forces],
    dt: float,
    draws: Floats,
    side: float,
    edges: Edges = Edges.REFLECTING,
) -> Swarm:
    """One step of dt ticks.

    Args:
        swarm: Where they are.
        forces_at: What acts at positions, shape (n, 2), within the zone; asked once, half a drift ahead.
        dt: In ticks.
        draws: Standard normal, shape (n, 2).
        side: The zone is [0, side)^2.
        edges: What its edges do.

    Raises:
        ValueError: If the friction is not above 0: noise and stability rest on it.
    """
    position, velocity = (np.array(pairs, dtype=np.float64, order="C") for pairs in (swarm.position, swarm.velocity))
    edge = (side, math.nextafter(side, 0.0), edges is Edges.PERIODIC)
    drift(position, velocity, dt / 2, *edge)
    forces = forces_at(position)
    if not forces.friction > 0:
        raise ValueError(f"friction {forces.friction} is not above 0")
    hessian = np.zeros((len(velocity), 3)) if forces.hessian is None else forces.hessian
    turn(
        velocity,
        _rows(swarm.mass),
        _rows(swarm.charge),
        _rows(forces.gradient),
        _rows(forces.magnetic),
        _rows(hessian),
        forces.friction,
        forces.temperature,
        forces.look_ahead,
        dt,
        ROTATION_MAX,
        _rows(draws),
    )
    position = position.copy()
    drift(position, velocity, dt / 2, *edge)
    return swarm._replace(position=position, velocity=velocity)


def _rows(values: Floats) -> Floats:
    return np.ascontiguousarray(values, dtype=np.float64)
