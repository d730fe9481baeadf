"""The field's kernel: Wendland's C4 function, compact and positive definite in the plane.

    phi(r) = (1 - r)^6 (35 r^2 + 18 r + 3) / 3  for r < 1,  else 0            (Wendland 1995, phi_{3,2})

with r the distance over the support. Compact, because cutting the sum of a wide kernel ruins it (DESIGN 4).
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def wendland_c4(distance: Floats) -> Floats:
    """phi, in [0, 1], of distances over the support; any shape."""
    square: Floats = np.maximum(0.0, 1.0 - distance) ** 2
    return square * square * square * ((35.0 * distance + 18.0) * distance + 3.0) / 3.0


def wendland_c4_slope(distance: Floats) -> Floats:
    """phi'(r) / r, which is finite at 0: the gradient is this times the offset over the support squared.

    phi'(r) = -56/3 r (1 - r)^5 (5 r + 1).
    """
    rest: Floats = np.maximum(0.0, 1.0 - distance)
    square = rest * rest
    return -56.0 / 3.0 * square * square * rest * (5.0 * distance + 1.0)


def wendland_c4_bend(distance: Floats) -> Floats:
    """s'(r) / r of the slope s = phi'(r) / r: 560 (1 - r)^4, the part of the second derivative that has a direction."""
    square: Floats = np.maximum(0.0, 1.0 - distance) ** 2
    return 560.0 * square * square
