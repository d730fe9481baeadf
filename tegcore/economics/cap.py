"""The price cap (6): P_max = p0 / (S_phys + eps). It bounds bids for free slots where little room is left."""

from tegcore.field.dual import Dual
from tegcore.field.potential import S_MAX

EPSILON = 1.0
"""eps of (6): an idle region's cap is p0."""


def base_price(mean_reserve_ucr: float) -> float:
    """The default p0 = 2 S_max x mean reserve (DESIGN 4), in ucr per slot and period."""
    return 2.0 * S_MAX * mean_reserve_ucr


def price_cap(base: float, entropy: Dual) -> Dual:
    """P_max (6) and how it moves with tau, ucr per slot and period, at S_phys in [0, S_MAX]."""
    return base / (entropy + EPSILON)
