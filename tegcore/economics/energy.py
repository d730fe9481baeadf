"""The reserve of a slot: what its energy costs (DESIGN 3). Credits are anchored in joules."""

from tegcore.units import PRICE_UCR_MAX, UCR_PER_CREDIT


def reserve_ucr(watts: float, period_s: float, pue: float, joules_per_credit: float, scarcity: float = 1.0) -> int:
    """Energy of a slot in a period x PUE / joules per credit x scarcity of its class, in ucr, rounded up.

    >>> reserve_ucr(1000.0, 3600.0, 1.0, 3.6e6)
    1000000
    """
    energy_credits = watts * period_s * pue / joules_per_credit * scarcity
    return min(PRICE_UCR_MAX, -int(-energy_credits * UCR_PER_CREDIT // 1))
