# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Sums of Wendland's C4 kernel over a grid: a field at places, with its derivatives, and what places say of a field.

The hot path of agents and governor: Python that Cython compiles. `tegcore.field.reference` writes it out over arrays.

With o the offset from a grid point in spacings, r = |o| / 3, s = phi'(r) / r and t = s'(r) / r = 560 (1 - r)^4:

    phi = (1 - r)^6 (35 r^2 + 18 r + 3) / 3,   grad = s o / 9,   Hess = (s 1 + t o o' / 9) / 9
"""

import cython

if not cython.compiled:
    from math import floor, sqrt


def kernel_sum(
    weights: cython.double[:, :, ::1], positions: cython.double[:, ::1], out: cython.double[:, :, ::1]
) -> None:
    """Sum the layers at positions, in units of the grid's spacing.

    Args:
        weights: Shape (layers, n, n), row y, column x; point (0, 0) lies at (0.5, 0.5).
        positions: Shape (count, 2), (x, y).
        out: Shape (count, layers, 6), written: value, d/dx, d/dy, d2/dx2, d2/dxdy, d2/dy2.
    """
    layers: cython.Py_ssize_t = weights.shape[0]
    side: cython.Py_ssize_t = weights.shape[1]
    place: cython.Py_ssize_t
    layer: cython.Py_ssize_t
    row: cython.Py_ssize_t
    column: cython.Py_ssize_t
    entry: cython.Py_ssize_t
    x: cython.double
    y: cython.double
    dx: cython.double
    dy: cython.double
    square: cython.double
    r: cython.double
    rest: cython.double
    fourth: cython.double
    phi: cython.double
    s: cython.double
    t: cython.double
    weight: cython.double
    for place in range(positions.shape[0]):
        for layer in range(layers):
            for entry in range(6):
                out[place, layer, entry] = 0.0
        x = positions[place, 0] - 0.5
        y = positions[place, 1] - 0.5
        for row in range(
            max(0, cython.cast(cython.Py_ssize_t, floor(y)) - 2),
            min(side, cython.cast(cython.Py_ssize_t, floor(y)) + 4),
        ):
            dy = y - row
            for column in range(
                max(0, cython.cast(cython.Py_ssize_t, floor(x)) - 2),
                min(side, cython.cast(cython.Py_ssize_t, floor(x)) + 4),
            ):
                dx = x - column
                square = (dx * dx + dy * dy) / 9.0
                if square >= 1.0:
                    continue
                r = sqrt(square)
                rest = 1.0 - r
                fourth = rest * rest * rest * rest
                phi = fourth * rest * rest * ((35.0 * r + 18.0) * r + 3.0) / 3.0
                s = -56.0 / 27.0 * fourth * rest * (5.0 * r + 1.0)
                t = 560.0 / 81.0 * fourth
                for layer in range(layers):
                    weight = weights[layer, row, column]
                    out[place, layer, 0] += weight * phi
                    out[place, layer, 1] += weight * s * dx
                    out[place, layer, 2] += weight * s * dy
                    out[place, layer, 3] += weight * (s + t * dx * dx)
                    out[place, layer, 4] += weight * t * dx * dy
                    out[place, layer, 5] += weight * (s + t * dy * dy)


NEAR = 6
"""Grid points along a side of the square that can be within the support."""


def kernel_normal(
    positions: cython.double[:, ::1],
    values: cython.double[::1],
    side: cython.Py_ssize_t,
    information: cython.double[:, ::1],
    evidence: cython.double[::1],
    work: cython.double[:, ::1],
) -> None:
    """Add K'K and K'v, where K is the kernel between places and the points of a grid, n of them along a side.

    Args:
        positions: Shape (count, 2), in units of the grid's spacing.
        values: v, shape (count,).
        side: n.
        information: Shape (n^2, n^2), added to.
        evidence: Shape (n^2,), added to.
        work: Shape (NEAR, NEAR), overwritten.
    """
    place: cython.Py_ssize_t
    row: cython.Py_ssize_t
    column: cython.Py_ssize_t
    other_row: cython.Py_ssize_t
    other: cython.Py_ssize_t
    point: cython.Py_ssize_t
    top: cython.Py_ssize_t
    left: cython.Py_ssize_t
    bottom: cython.Py_ssize_t
    right: cython.Py_ssize_t
    x: cython.double
    y: cython.double
    square: cython.double
    r: cython.double
    rest: cython.double
    phi: cython.double
    for place in range(positions.shape[0]):
        x = positions[place, 0] - 0.5
        y = positions[place, 1] - 0.5
        left = cython.cast(cython.Py_ssize_t, floor(x)) - 2
        top = cython.cast(cython.Py_ssize_t, floor(y)) - 2
        right, bottom = min(side, left + NEAR), min(side, top + NEAR)
        left, top = max(0, left), max(0, top)
        for row in range(top, bottom):
            for column in range(left, right):
                square = ((x - column) * (x - column) + (y - row) * (y - row)) / 9.0
                phi = 0.0
                if square < 1.0:
                    r = sqrt(square)
                    rest = (1.0 - r) * (1.0 - r)
                    phi = rest * rest * rest * ((35.0 * r + 18.0) * r + 3.0) / 3.0
                work[row - top, column - left] = phi
        for row in range(top, bottom):
            for column in range(left, right):
                phi = work[row - top, column - left]
                if phi == 0.0:
                    continue
                point = row * side + column
                evidence[point] += phi * values[place]
                for other_row in range(top, bottom):
                    for other in range(left, right):
                        information[point, other_row * side + other] += phi * work[other_row - top, other - left]
