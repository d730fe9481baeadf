"""One agent's Langevin step (13), in plain numbers, slow and clear: what `langevin.step` must do to each row.

A velocity is a complex number, so the magnetic part is a factor exp(-i angle), and the friction tensor's axes are the
directions of its eigenvectors.
"""

import cmath
import math
from typing import NamedTuple

from tegcore.dynamics.langevin import ROTATION_MAX, Edges


class Agent(NamedTuple):
    """One agent: position and velocity as complex numbers x + iy."""

    position: complex
    velocity: complex
    mass: float
    charge: float


class Force(NamedTuple):
    """What acts on it; see `langevin.Forces`."""

    gradient: complex
    magnetic: float
    friction: float
    temperature: float
    hessian: tuple[float, float, float]
    look_ahead: float


def middle(agent: Agent, dt: float, side: float, edges: Edges) -> Agent:
    """The agent half a drift ahead, where its forces are asked for."""
    return _drifted(agent, dt / 2, side, edges)


def step(agent: Agent, force: Force, dt: float, draws: complex, side: float, edges: Edges) -> Agent:
    """One step of dt ticks; `force` is that at `middle`, `draws` two standard normal numbers."""
    agent = middle(agent, dt, side, edges)
    kick = force.gradient / agent.mass * dt / 2
    angle = max(-ROTATION_MAX, min(ROTATION_MAX, agent.charge * force.magnetic * dt / agent.mass))
    half_turn = cmath.exp(-0.5j * angle)
    velocity = (agent.velocity - kick) * half_turn
    velocity = _damped(velocity, agent.mass, force, dt, draws)
    velocity = velocity * half_turn - kick
    return _drifted(agent._replace(velocity=velocity), dt / 2, side, edges)


def _damped(velocity: complex, mass: float, force: Force, dt: float, draws: complex) -> complex:
    xx, xy, yy = force.hessian
    axis = cmath.exp(0.5j * math.atan2(2 * xy, xx - yy))
    radius = math.hypot((xx - yy) / 2, xy)
    new = 0j
    for direction, curvature in ((axis, (xx + yy) / 2 + radius), (axis * 1j, (xx + yy) / 2 - radius)):
        friction = force.friction + force.look_ahead * max(0.0, curvature)
        decay = math.exp(-friction * dt / mass)
        noise = math.sqrt(force.temperature / mass * (1 - decay**2))
        new += direction * (decay * _along(velocity, direction) + noise * _along(draws, direction))
    return new


def _along(vector: complex, direction: complex) -> float:
    return (vector * direction.conjugate()).real


def _drifted(agent: Agent, dt: float, side: float, edges: Edges) -> Agent:
    place, speed = [], []
    for position, velocity in (
        (agent.position.real, agent.velocity.real),
        (agent.position.imag, agent.velocity.imag),
    ):
        at = position + velocity * dt
        if edges is Edges.PERIODIC:
            at %= side
        else:
            at %= 2 * side
            if at > side:
                at, velocity = 2 * side - at, -velocity  # noqa: PLW2901
        place.append(min(at, math.nextafter(side, 0.0)))
        speed.append(velocity)
    return agent._replace(position=complex(*place), velocity=complex(*speed))
