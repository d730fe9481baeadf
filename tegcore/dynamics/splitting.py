# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The two halves of a Langevin step (13), in place, one agent after another: what comes before its forces, and after.

The hot path of agents: Python that Cython compiles. `tegcore.dynamics.reference` writes a step out in complex numbers.
"""

import cython

if not cython.compiled:
    from math import cos, exp, hypot, sin, sqrt

    def fmod(x: float, period: float) -> float:
        """As the processor's, which leaves the sign to `folded`."""
        return x % period


def drift(
    position: cython.double[:, ::1],
    velocity: cython.double[:, ::1],
    dt: cython.double,
    side: cython.double,
    last: cython.double,
    periodic: cython.bint,
) -> None:
    """Free flight for dt, up to the zone's edges and back, or round.

    Args:
        position: In [0, side), shape (n, 2), written.
        velocity: Shape (n, 2), written where an edge reflects.
        dt: In ticks.
        side: The zone is [0, side)^2.
        last: The last number below `side`.
        periodic: The edges are joined.
    """
    period: cython.double = side if periodic else 2.0 * side
    row: cython.Py_ssize_t
    axis: cython.Py_ssize_t
    at: cython.double
    for row in range(position.shape[0]):
        for axis in range(2):
            at = fmod(position[row, axis] + velocity[row, axis] * dt, period)
            if at < 0.0:
                at += period
            if at > side:
                at = period - at
                velocity[row, axis] = -velocity[row, axis]
            position[row, axis] = min(at, last)


def turn(
    velocity: cython.double[:, ::1],
    mass: cython.double[::1],
    charge: cython.double[::1],
    gradient: cython.double[:, ::1],
    magnetic: cython.double[::1],
    hessian: cython.double[:, ::1],
    friction: cython.double,
    temperature: cython.double,
    look_ahead: cython.double,
    dt: cython.double,
    rotation_max: cython.double,
    draws: cython.double[:, ::1],
) -> None:
    """Kick (half), rotation (half), Ornstein-Uhlenbeck (whole), rotation (half), kick (half).

    The middle part is exact for a constant friction tensor G = gamma 1 + Delta Hess(Phi)+: v exp(-G dt / m), and noise
    that fits it. A function f of G is (f+ + f-)/2 + (f+ - f-)/2 (Hess - mean) / radius, eigenvalues mean +- radius.

    Args:
        velocity: Shape (n, 2), written.
        mass: Shape (n,).
        charge: Shape (n,).
        gradient: Of Phi, shape (n, 2).
        magnetic: B, shape (n,).
        hessian: xx, xy, yy, shape (n, 3).
        friction: gamma.
        temperature: T.
        look_ahead: Delta, in ticks.
        dt: In ticks.
        rotation_max: Bound of |q B| dt / m, in radians.
        draws: Standard normal, shape (n, 2).
    """
    row: cython.Py_ssize_t
    x: cython.double
    y: cython.double
    kick_x: cython.double
    kick_y: cython.double
    angle: cython.double
    cosine: cython.double
    sine: cython.double
    mean: cython.double
    half: cython.double
    radius: cython.double
    stiff: cython.double
    soft: cython.double
    along: cython.double
    across: cython.double
    noise_x: cython.double
    noise_y: cython.double
    for row in range(velocity.shape[0]):
        kick_x = gradient[row, 0] / mass[row] * (dt / 2.0)
        kick_y = gradient[row, 1] / mass[row] * (dt / 2.0)
        angle = min(rotation_max, max(-rotation_max, charge[row] * magnetic[row] * dt / mass[row])) / 2.0
        cosine, sine = cos(angle), sin(angle)
        x, y = velocity[row, 0] - kick_x, velocity[row, 1] - kick_y
        x, y = cosine * x + sine * y, cosine * y - sine * x

        mean = (hessian[row, 0] + hessian[row, 2]) / 2.0
        half = (hessian[row, 0] - hessian[row, 2]) / 2.0
        radius = hypot(half, hessian[row, 1])
        along = half / radius if radius > 0.0 else 0.0
        across = hessian[row, 1] / radius if radius > 0.0 else 0.0
        stiff = exp(-(friction + look_ahead * max(mean + radius, 0.0)) * dt / mass[row])
        soft = exp(-(friction + look_ahead * max(mean - radius, 0.0)) * dt / mass[row])
        x, y = (
            ((stiff + soft) * x + (stiff - soft) * (along * x + across * y)) / 2.0,
            ((stiff + soft) * y + (stiff - soft) * (across * x - along * y)) / 2.0,
        )
        stiff = sqrt(temperature / mass[row] * (1.0 - stiff * stiff))
        soft = sqrt(temperature / mass[row] * (1.0 - soft * soft))
        noise_x, noise_y = draws[row, 0], draws[row, 1]
        x += ((stiff + soft) * noise_x + (stiff - soft) * (along * noise_x + across * noise_y)) / 2.0
        y += ((stiff + soft) * noise_y + (stiff - soft) * (across * noise_x - along * noise_y)) / 2.0

        velocity[row, 0] = cosine * x + sine * y - kick_x
        velocity[row, 1] = cosine * y - sine * x - kick_y
