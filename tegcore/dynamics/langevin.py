"""Motion of agents: Langevin dynamics (13) by symmetric splitting, over arrays, one row an agent.

    m dv = (-grad Phi + q v x B - gamma v) dt + sqrt(2 gamma T) dW,     B = |grad H| z

One step is drift (half), kick (half), rotation (half), Ornstein-Uhlenbeck (whole), rotation (half), kick (half), drift
(half). It reads the same backwards, so it is of second order in dt; all forces are those at the middle, so it asks for
them once. The rotation by q B dt / m is exact, so the magnetic part does no work; the Ornstein-Uhlenbeck part is exact,
so the noise fits the friction at any step.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ROTATION_MAX = 0.5
"""|q B| dt / m is bounded by this, in radians a step."""


class Swarm(NamedTuple):
    """Agents in flight: position and velocity, (n, 2), in slots and slots per tick; mass and charge, (n,)."""

    position: Floats
    velocity: Floats
    mass: Floats
    charge: Floats


class Forces(NamedTuple):
    """What acts on them: grad Phi, shape (n, 2); B, shape (n,); friction, above 0, and temperature of the broadcast."""

    gradient: Floats
    magnetic: Floats
    friction: float
    temperature: float


def step(swarm: Swarm, forces_at: Callable[[Floats], Forces], dt: float, draws: Floats, side: float) -> Swarm:
    """One step of dt ticks.

    Args:
        swarm: Where they are.
        forces_at: What acts at positions, shape (n, 2), within the zone; asked once, half a drift ahead.
        dt: In ticks.
        draws: Standard normal, shape (n, 2).
        side: The zone is [0, side)^2; its edges reflect.

    Raises:
        ValueError: If the friction is not above 0: noise and stability rest on it.
    """
    swarm = _drifted(swarm, dt / 2, side)
    forces = forces_at(swarm.position)
    if not forces.friction > 0:
        raise ValueError(f"friction {forces.friction} is not above 0")
    mass = swarm.mass[:, None]
    kick = forces.gradient / mass * (dt / 2)
    angle = np.clip(swarm.charge * forces.magnetic * dt / swarm.mass, -ROTATION_MAX, ROTATION_MAX) / 2
    velocity = _rotated(swarm.velocity - kick, angle)
    decay = np.exp(-forces.friction * dt / mass)
    velocity = decay * velocity + np.sqrt(forces.temperature / mass * (1 - decay**2)) * draws
    velocity = _rotated(velocity, angle) - kick
    return _drifted(swarm._replace(velocity=velocity), dt / 2, side)


def _rotated(velocity: Floats, angle: Floats) -> Floats:
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y = velocity[:, 0], velocity[:, 1]
    return np.stack((cosine * x + sine * y, cosine * y - sine * x), axis=-1)


def _drifted(swarm: Swarm, dt: float, side: float) -> Swarm:
    """Free flight for dt, reflected at the zone's edges."""
    folded = np.mod(swarm.position + swarm.velocity * dt, 2 * side)
    beyond = folded > side
    position = np.minimum(np.where(beyond, 2 * side - folded, folded), np.nextafter(side, 0.0))
    return swarm._replace(position=position, velocity=np.where(beyond, -swarm.velocity, swarm.velocity))
