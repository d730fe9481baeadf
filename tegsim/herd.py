"""A price shock (paper 3.2.2): a zone held to its last slot, ghosts all over it, and one corner that falls free.

Does the crowd run for it, how far beyond what fits, and how long until it has spread again?
"""

from typing import NamedTuple

import numpy as np

from tegcore import rng
from tegcore.dynamics.langevin import Floats
from tegcore.field.geometry import block_size, morton_decode
from tegcore.wire.records import Region
from tegsim.crowd import HOST_LOG2, Crowd, Laws

WARM_TICKS = 200
SETTLED_SHARE = 0.15
"""Of 10,000 ghosts some 600 are over the corner: 15 % are 3.6 standard deviations of chance."""


class Herd(NamedTuple):
    """What was seen, a tick each from the shock on.

    Attributes:
        crowding: Ghosts over the corner, over how many there would be if all were spread evenly, shape (ticks,).
        seated: Share of the corner that is taken, shape (ticks,).
        refused: Orders that came too late for what was quoted.
    """

    crowding: Floats
    seated: Floats
    refused: int

    @property
    def overshoot(self) -> float:
        """The most by which it was overcrowded: 0 for none."""
        return float(self.crowding.max() - 1.0)

    @property
    def settle_ticks(self) -> int:
        """After how long the crowding stayed within 15 % of even; all the ticks there are, if it never did."""
        away = np.flatnonzero(np.abs(self.crowding - 1.0) > SETTLED_SHARE)
        return int(away[-1]) + 1 if away.size else 0


def shock(zone_k: int, ghosts: int, ticks: int, seed: int, laws: Laws) -> Herd:
    """One run; ghosts are in the middle of their back-offs when a sixteenth of the zone falls free.

    Args:
        zone_k: Of the zone.
        ghosts: How many.
        ticks: How long it is watched.
        seed: Of all draws; runs under other laws start from the same places.
        laws: What they follow.
    """
    crowd = Crowd(zone_k, ghosts, seed, laws)
    hosts = [Region(base, HOST_LOG2) for base in range(0, 4**zone_k, 1 << HOST_LOG2)]
    crowd.hold(hosts)
    crowd.sleep(np.full(ghosts, WARM_TICKS))
    for _ in range(WARM_TICKS):
        crowd.step()
    phases = crowd.PERIOD_TICKS * rng.uniform(seed, "phase", 0, np.arange(ghosts))
    crowd.sleep(phases.astype(np.int64))
    corner = Region(5 << 2 * zone_k - 4, 2 * zone_k - 4)
    crowd.let_go(range(corner.base >> HOST_LOG2, corner.end >> HOST_LOG2), hosts)
    low = np.array(morton_decode(corner.base))
    high = low + block_size(corner.log2)
    seen = np.zeros((2, ticks))
    for tick in range(ticks):
        crowd.step()
        at = crowd.position[crowd.ghosts]
        inside = np.all((at >= low) & (at < high), axis=1).sum()
        seen[:, tick] = inside / (len(at) / 16), (ghosts - len(at)) / corner.slots
    return Herd(seen[0], seen[1], crowd.refused)
