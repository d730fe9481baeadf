"""The order parameter g: the global minimum of Landau's free energy (16), repaired.

    F(g) = a/2 (Re_c - Re) g^2 + b/4 g^4 - H g

Above Re_c the symmetry breaks and g jumps; H > 0 on overheating and deadlock, H < 0 in stasis. The minimum is a real
root of b g^3 + a (Re_c - Re) g - H = 0, by the closed form of the depressed cubic; ties go to g > 0.
"""

import math
from typing import NamedTuple


class Landau(NamedTuple):
    """Coefficients: a, b > 0, and the critical Re."""

    a: float = 0.1
    b: float = 1.0
    critical: float = 8.0


def free_energy(g: float, reynolds: float, field: float, law: Landau) -> float:
    """F(g) (16)."""
    return law.a / 2 * (law.critical - reynolds) * g**2 + law.b / 4 * g**4 - field * g


def order_parameter(reynolds: float, field: float, law: Landau) -> float:
    """The g at which F is least."""
    roots = _cubic_roots(law.a * (law.critical - reynolds) / law.b, -field / law.b)
    return min(roots, key=lambda g: (free_energy(g, reynolds, field, law), -g))


def _cubic_roots(p: float, q: float) -> list[float]:
    """Real roots of t^3 + p t + q = 0."""
    if q == 0:
        return [0.0] if p >= 0 else [0.0, math.sqrt(-p), -math.sqrt(-p)]
    discriminant = (q / 2) ** 2 + (p / 3) ** 3
    if discriminant >= 0:
        root = math.sqrt(discriminant)
        # The larger of the two cubes is computed without cancellation, the other from their product.
        large = math.cbrt(-q / 2 - math.copysign(root, q))
        first = large - p / (3 * large) if large else 0.0
        return [first] if discriminant > 0 else [first, -first / 2]
    radius = 2 * math.sqrt(-p / 3)
    angle = math.acos(max(-1.0, min(1.0, 3 * q / (p * radius)))) / 3
    return [radius * math.cos(angle - 2 * math.pi * turn / 3) for turn in range(3)]
