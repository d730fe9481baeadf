"""The phases of the cluster (DESIGN 8; paper 3.7.1), with hysteresis, and the field H that each calls for."""

from enum import Enum
from typing import NamedTuple

REYNOLDS_LENGTH_SLOTS = 8.0
REYNOLDS_VISCOSITY = 1.0


class Phase(Enum):
    """What the cluster is doing."""

    STASIS = "cold stasis"
    DEATH = "heat death"
    LAMINAR = "laminar"
    TURBULENT = "turbulent"


class Thresholds(NamedTuple):
    """One table: where phases begin, how far they reach back, and H of each.

    Attributes:
        entropy_low: S-dot below this is low.
        reynolds_high: Re above this is high.
        demand_unmet: Share of slots asked for and not had, above which demand is unmet.
        hysteresis: A quantity that was low or high stays so until it is past the threshold by this share.
    """

    entropy_low: float = 0.2
    reynolds_high: float = 8.0
    demand_unmet: float = 0.05
    hysteresis: float = 0.25


FIELD = {Phase.STASIS: -0.2, Phase.DEATH: 0.5, Phase.LAMINAR: 0.0, Phase.TURBULENT: 0.5}


def reynolds(agents: float, slots: float, attempts_per_agent_tick: float) -> float:
    """Re = (agents per slot) U L0 / nu0."""
    return agents / slots * attempts_per_agent_tick * REYNOLDS_LENGTH_SLOTS / REYNOLDS_VISCOSITY if slots else 0.0


def entropy_rate(used_rent_ucr: float, reserve_ucr: float) -> float:
    """S-dot = rent x measured use / (reserve x slots)."""
    return used_rent_ucr / reserve_ucr if reserve_ucr else 0.0


def classify(before: Phase, reynolds_now: float, entropy_now: float, unmet: float, at: Thresholds) -> Phase:
    """The phase now, given the one before."""
    was_low = before in {Phase.STASIS, Phase.DEATH}
    was_high = before is Phase.TURBULENT
    low = entropy_now < at.entropy_low * (1 + at.hysteresis * was_low)
    high = reynolds_now > at.reynolds_high * (1 - at.hysteresis * was_high)
    if low:
        return Phase.DEATH if unmet > at.demand_unmet else Phase.STASIS
    return Phase.TURBULENT if high else Phase.LAMINAR
