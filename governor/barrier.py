"""The barrier (27), (28), repaired: Re is kept below Re_max whatever Landau's order parameter says.

    h = Re_max - Re - T_brake (R + D) - R T_hold,     R = dRe/dtau, T_brake = m / gamma_max

The brake is viscous, m dR/dtau = -gamma R + push, so from R it comes to rest after R m / gamma, not after the
force-limited m R^2 / (2 gamma) that is printed. Each micro-batch asks for the least friction with
dh/dtau + alpha h >= 0; where gamma_max does not give it, or h might not be above 0 after one more period with the gate
open, admission closes.

*Assumption*, wherever the bound is claimed: from a decision that closes admission on, what still pushes changes R by
at most D in all; while it is open, by at most D until the next decision, T_hold later. Then Re + T_brake R rises by at
most T_brake D after closing, and Re never passes Re_max.
"""

import math
from typing import NamedTuple


class Barrier(NamedTuple):
    """Its constants.

    Attributes:
        re_max: Re_max.
        push_max: D, per tick.
        mass: m, in ticks of gamma: how long Re goes on by itself at a friction of 1.
        friction_max: gamma_max.
        hold_ticks: T_hold, between two decisions.
        alpha: Share of h that may be given up in a tick.
    """

    re_max: float = 32.0
    push_max: float = 0.05
    mass: float = 40.0
    friction_max: float = 8.0
    hold_ticks: float = 5.0
    alpha: float = 0.05

    @property
    def brake_ticks(self) -> float:
        """T_brake."""
        return self.mass / self.friction_max


class Verdict(NamedTuple):
    """What the barrier asks for.

    Attributes:
        h: Margin (27); below 0 only where the assumption was broken.
        friction: The least that keeps it, 0 if any does; gamma_max while admission is closed.
        closed: Whether admission must be closed.
    """

    h: float
    friction: float
    closed: bool


def margin(reynolds: float, rate: float, at: Barrier) -> float:
    """The h of (27), repaired; a falling Re needs no brake."""
    rising = max(rate, 0.0)
    return at.re_max - reynolds - at.brake_ticks * (rising + at.push_max) - rising * at.hold_ticks


def judge(reynolds: float, rate: float, acceleration: float, at: Barrier) -> Verdict:
    """Decide for the next T_hold (28).

    Args:
        reynolds: Re now.
        rate: dRe/dtau, per tick.
        acceleration: What pushes R beside friction, as it was measured last, per tick squared.
        at: Constants.
    """
    h = margin(reynolds, rate, at)
    worst = max(rate, 0.0) + at.push_max
    closed = margin(reynolds + worst * at.hold_ticks, worst, at) < 0
    span = at.brake_ticks + at.hold_ticks
    wanted = at.mass * (rate + span * acceleration - at.alpha * h) / (span * rate) if rate > 0 else 0.0
    if closed or wanted > at.friction_max:
        return Verdict(h, at.friction_max, closed=True)
    return Verdict(h, max(wanted, 0.0), closed=False)


def printed_margin(reynolds: float, rate: float, at: Barrier) -> float:
    """The h that is printed (27): the distance of a brake of constant force. Kept to show that it is crossed."""
    return at.re_max - reynolds - at.mass * max(rate, 0.0) ** 2 / (2 * at.friction_max)


class MassFit:
    """m from what Re does: least squares of its acceleration on gamma R, with forgetting, within bounds.

    Args:
        mass: Believed before anything was seen.
        forget: Share of what is known that is left after a step.
    """

    LOW, HIGH = 1.0, 1000.0

    def __init__(self, mass: float, forget: float = 0.99) -> None:
        self._forget = forget
        self._square, self._product = 1e-3, -1e-3 / mass

    @property
    def mass(self) -> float:
        """The estimate of m."""
        return self.HIGH if self._product >= 0 else min(max(-self._square / self._product, self.LOW), self.HIGH)

    def see(self, friction: float, rate: float, acceleration: float) -> None:
        """One step: gamma, R before it, and (R after - R before) / dt. What is not finite is passed over."""
        drag = friction * rate
        if not (math.isfinite(drag) and math.isfinite(acceleration)):
            return
        self._square = self._forget * self._square + drag * drag
        self._product = self._forget * self._product + drag * acceleration
