"""A deadlock and a herd in a simulated zone, with the governor's rates or without: are they seen, and do they pass?

*Deadlock*: every slot is held by work that does nothing, on a purse for a few periods, while others wait who bid less.
*Herd*: every slot is busy, and a crowd asks for it over and over. The cores of all programs run as they are (`World`).
"""

from typing import NamedTuple

from governor.phase import Phase
from tegsim.world import Piece, Setting, World

PERIOD_TICKS = 100
HOLDER_UCR, WAITING_UCR = 400_000, 300_000
HELD_TICKS = 5000
PURSE_PERIODS = 5
"""What holders of a deadlock can pay, in periods at their limit."""

WAITING, HERD = 15, 120


class Passed(NamedTuple):
    """What was seen.

    Attributes:
        seen: Ticks until the phase that the scene is of was named, -1 if it never was.
        left: Ticks from then until it had passed, all those that there were if it had not.
        reynolds: Re as last decided.
        g: The greatest order parameter.
    """

    seen: int
    left: int
    reynolds: float
    g: float


PHASES = {"deadlock": Phase.DEATH, "herd": Phase.TURBULENT}


def scene(name: str, governed: bool, ticks: int, seed: int) -> Passed:
    """Play a scene.

    Args:
        name: `deadlock` or `herd`.
        governed: Whether g follows (16); else it is held at 0.
        ticks: How long.
        seed: Of flights and back-offs.
    """
    world = World(Setting(zone_k=2, seed=seed, period_ticks=PERIOD_TICKS, epoch_ticks=PERIOD_TICKS))
    world.governor.paused = not governed
    hosts = len(world.places)
    slots = 4**world.setting.zone_k
    idle = name == "deadlock"
    for number in range(slots):
        use, periods = (0.0, PURSE_PERIODS) if idle else (1.0, 0)
        world.submit(Piece(number % hosts, HELD_TICKS, HOLDER_UCR, use=use, endow_periods=periods))
    while len(world.engine.state.leases) < slots:  # who is seated first cannot be displaced for a term
        world.tick()
    for number in range(WAITING if idle else HERD):
        world.submit(Piece(number % hosts, HELD_TICKS, WAITING_UCR))
    seen = left = -1
    reynolds, g = 0.0, 0.0
    for tick in range(ticks):
        world.tick()
        named = world.governor.phase is PHASES[name]
        decision = world.governor.decision
        reynolds, g = (decision.reynolds, max(g, decision.g)) if decision else (reynolds, g)
        if named and seen < 0:
            seen = tick
        elif seen >= 0 and not named:
            left = tick - seen
            break
    return Passed(seen, left if left >= 0 else ticks - max(seen, 0), reynolds, g)
