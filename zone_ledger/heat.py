"""H_auction: the decayed value of bids per slot, over a 16 x 16 grid of the zone (DESIGN 4; paper 3.2.2).

Derived, never journaled: a ledger that starts anew starts cold.
"""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from tegcore.field.geometry import block_size, morton_decode
from tegcore.units import UCR_PER_CREDIT
from tegcore.wire.messages import HEAT_GRID
from tegcore.wire.records import Region

DECAY_PER_TICK = 0.99
FULL_EVERY_TICKS = 20
CHANGED_SHARE = 0.02
"""A cell is sent again once it differs by this share from what was sent last."""


class HeatMap:
    """Heat of one zone, in credits per slot-period.

    Args:
        zone_k: The zone has 2^k x 2^k slots.
    """

    def __init__(self, zone_k: int) -> None:
        self._cells_per_slot = HEAT_GRID / (1 << zone_k)
        self._slots_per_cell = max(1.0, self._cells_per_slot**-2)
        self.cells: NDArray[np.float64] = np.zeros((HEAT_GRID, HEAT_GRID))
        self._sent = np.zeros_like(self.cells)
        self.frame, self.delta = 0, 0

    def add(self, region: Region, value_ucr: int) -> None:
        """A bid's value, spread over the cells that the region touches, per slot of them."""
        (x, y), (width, height) = morton_decode(region.base), block_size(region.log2)
        scale = self._cells_per_slot
        columns = slice(int(x * scale), max(int(x * scale) + 1, int((x + width) * scale)))
        rows = slice(int(y * scale), max(int(y * scale) + 1, int((y + height) * scale)))
        self.cells[rows, columns] += value_ucr / UCR_PER_CREDIT / max(region.slots, self._slots_per_cell)

    def tick(self, bids: deque[tuple[Region, int]]) -> None:
        """One tick passes, in which these bids, (where, value in ucr), were answered; they are taken away."""
        while bids:
            self.add(*bids.popleft())
        self.cells *= DECAY_PER_TICK

    def message(self, tick: int) -> tuple[int, int, bytes] | None:
        """(frame, delta, cells) of this tick's message: a full frame every 20 ticks, else what changed, if anything."""
        if tick % FULL_EVERY_TICKS == 0:
            self.frame, self.delta = self.frame + 1, 0
            self._sent = self.cells.copy()
            return self.frame, 0, self.cells.astype("<f4").tobytes()
        changed = np.flatnonzero(np.abs(self.cells - self._sent) > CHANGED_SHARE * np.maximum(self._sent, 0.01))
        if self.frame == 0 or changed.size == 0:
            return None
        self.delta += 1
        pairs = np.zeros(changed.size, dtype=[("cell", "<u2"), ("value", "<f4")])
        pairs["cell"], pairs["value"] = changed, self.cells.ravel()[changed]
        self._sent.ravel()[changed] = self.cells.ravel()[changed]
        return self.frame, self.delta, pairs.tobytes()
