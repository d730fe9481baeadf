# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Weighted sums of Wendland's C4 kernel about places on a grid, with first and second derivatives.

The hot path of the field: Python that Cython compiles. It is written out over arrays in `tegcore.field.reference`.

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
