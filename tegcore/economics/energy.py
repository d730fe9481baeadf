"""The reserve of a slot: what its energy costs (DESIGN 3). Credits are anchored in joules."""

from typing import NamedTuple

from tegcore.units import PRICE_UCR_MAX, TICK_NS, UCR_PER_CREDIT


class Energy(NamedTuple):
    """What turns power into reserves.

    Attributes:
        period_ticks: Of the zone's ledger.
        pue: Power usage effectiveness of the site.
        scarcity: Price factor by slot class; 1 for those beyond.
    """

    period_ticks: int
    pue: float
    scarcity: tuple[float, ...] = ()

    def reserve_ucr(self, watts: float, joules_per_credit: float, slot_class: int = 0) -> int:
        """Energy of a slot in a period x PUE / joules per credit x scarcity of its class, in ucr, rounded up.

        >>> Energy(72_000, 1.0).reserve_ucr(1000.0, 3.6e6)
        1000000
        """
        joules = watts * (self.period_ticks * TICK_NS / 1e9) * self.pue
        factor = self.scarcity[slot_class] if slot_class < len(self.scarcity) else 1.0
        return min(PRICE_UCR_MAX, -int(-joules / joules_per_credit * factor * UCR_PER_CREDIT // 1))
