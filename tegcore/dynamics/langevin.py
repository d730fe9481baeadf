"""Motion of agents: Langevin dynamics (13) by symmetric splitting, over arrays, one row an agent.

    m dv = (-grad Phi(x + v Delta, tau + Delta) + q v x B - gamma v) dt + noise,     B = |grad H| z

Looking Delta ahead, linearised, is a force at x and a damping Delta Hess(Phi); only its positive part is used, because
on a hill it would pump (Theorem 4.2). So the friction is a tensor, and the noise fits it:

    G = gamma 1 + Delta Hess(Phi)+,     noise = sqrt(2 T G) dW

One step is drift (half), kick (half), rotation (half), Ornstein-Uhlenbeck (whole), rotation (half), kick (half), drift
(half). It reads the same backwards, so it is of second order in dt; all forces are those at the middle, so it asks for
them once. The rotation by q B dt / m is exact, so the magnetic part does no work; the Ornstein-Uhlenbeck part is exact,
so the noise fits the friction at any step. What one agent's step is, without arrays: `reference`.
"""

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
    swarm = _drifted(swarm, dt / 2, side, edges)
    forces = forces_at(swarm.position)
    if not forces.friction > 0:
        raise ValueError(f"friction {forces.friction} is not above 0")
    kick = forces.gradient / swarm.mass[:, None] * (dt / 2)
    angle = np.clip(swarm.charge * forces.magnetic * dt / swarm.mass, -ROTATION_MAX, ROTATION_MAX) / 2
    velocity = _rotated(swarm.velocity - kick, angle)
    velocity = _damped(velocity, swarm.mass, forces, dt, draws)
    velocity = _rotated(velocity, angle) - kick
    return _drifted(swarm._replace(velocity=velocity), dt / 2, side, edges)


def _damped(velocity: Floats, mass: Floats, forces: Forces, dt: float, draws: Floats) -> Floats:
    """The Ornstein-Uhlenbeck part, exact for a constant friction tensor G: v exp(-G dt / m) + noise that fits it."""
    scale, spread = dt / mass, forces.temperature / mass
    if forces.hessian is None or forces.look_ahead == 0:
        decay = np.exp(-forces.friction * scale)
        kept: Floats = decay[:, None] * velocity + np.sqrt(spread * (1 - decay**2))[:, None] * draws
        return kept
    xx, xy, yy = forces.hessian.T
    mean, half = (xx + yy) / 2, (xx - yy) / 2
    radius = np.hypot(half, xy)
    # Eigenvalues mean +- radius; a function f of the tensor is (f+ + f-)/2 + (f+ - f-)/2 (Hess - mean) / radius.
    stiff, soft = (
        np.exp(-(forces.friction + forces.look_ahead * np.maximum(mean + sign * radius, 0.0)) * scale)
        for sign in (1, -1)
    )
    there = radius > 0
    per_radius = np.where(there, 1.0 / np.where(there, radius, 1.0), 0.0)
    axes = (half * per_radius, xy * per_radius)
    return _applied(stiff, soft, axes, velocity) + _applied(
        np.sqrt(spread * (1 - stiff**2)), np.sqrt(spread * (1 - soft**2)), axes, draws
    )


def _applied(stiff: Floats, soft: Floats, axes: tuple[Floats, Floats], vector: Floats) -> Floats:
    """The symmetric tensor with eigenvalues `stiff` and `soft` along the axes of the Hessian, times a vector."""
    same, apart = (stiff + soft) / 2, (stiff - soft) / 2
    x, y = vector[:, 0], vector[:, 1]
    along, across = apart * axes[0], apart * axes[1]
    return _pairs((same + along) * x + across * y, across * x + (same - along) * y)


def _rotated(velocity: Floats, angle: Floats) -> Floats:
    cosine, sine = np.cos(angle), np.sin(angle)
    x, y = velocity[:, 0], velocity[:, 1]
    return _pairs(cosine * x + sine * y, cosine * y - sine * x)


def _pairs(x: Floats, y: Floats) -> Floats:
    """Rows (x, y): `np.stack`, which costs more than all of its use here where agents are few."""
    pairs = np.empty((len(x), 2))
    pairs[:, 0], pairs[:, 1] = x, y
    return pairs


def _drifted(swarm: Swarm, dt: float, side: float, edges: Edges) -> Swarm:
    """Free flight for dt, up to the zone's edges and back, or round."""
    last = np.nextafter(side, 0.0)
    if edges is Edges.PERIODIC:
        return swarm._replace(position=np.minimum(np.mod(swarm.position + swarm.velocity * dt, side), last))
    folded = np.mod(swarm.position + swarm.velocity * dt, 2 * side)
    beyond = folded > side
    position = np.minimum(np.where(beyond, 2 * side - folded, folded), last)
    return swarm._replace(position=position, velocity=np.where(beyond, -swarm.velocity, swarm.velocity))
