"""How many rounds seat a full load in an empty zone (paper 3.4.1, (10)), and who sits near where it started."""

from typing import NamedTuple

import numpy as np

from tegsim.crowd import Crowd, Laws

LOCAL_LOG2 = 6
"""A seat found in a region of at most 64 slots is local: 8 slots a side, L0 of Re (DESIGN 8)."""


class Settled(NamedTuple):
    """What was seen.

    Attributes:
        ghosts: How many there were: one for each slot.
        unseated: Of them, without a seat at the end.
        ticks: Until all had one, or until the end.
        rounds: Quotes that half, 99 % and all of them needed at most.
        local: Share that found its seat in a region of at most 64 slots.
    """

    ghosts: int
    unseated: int
    ticks: int
    rounds: tuple[int, int, int]
    local: float


def settle(zone_k: int, ticks_max: int, seed: int, laws: Laws) -> Settled:
    """One run, until all are seated or the time is up."""
    crowd = Crowd(zone_k, 4**zone_k, seed, laws)
    while crowd.ghosts.size and crowd.tick < ticks_max:
        crowd.step()
    half, most, every = (int(part) for part in np.percentile(crowd.rounds, [50, 99, 100], method="higher"))
    local = float(np.mean((crowd.seat_log2 >= 0) & (crowd.seat_log2 <= LOCAL_LOG2)))
    return Settled(crowd.rounds.size, crowd.ghosts.size, crowd.tick, (half, most, every), local)
