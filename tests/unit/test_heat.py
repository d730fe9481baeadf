"""The ledger's heat: what is bid is found again in the cells, and messages carry it exactly or within their share."""

from collections import deque

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tegcore.units import UCR_PER_CREDIT
from tegcore.wire.records import Region
from zone_ledger.heat import CHANGED_SHARE, FULL_EVERY_TICKS, HeatMap


@given(st.integers(1, 10), st.data())
def test_a_bids_value_is_neither_lost_nor_doubled(zone_k: int, data: st.DataObject) -> None:
    """Heat is per slot: summed over all slots of the zone it is what was bid."""
    log2 = data.draw(st.integers(0, 2 * zone_k))
    base = data.draw(st.integers(0, (1 << 2 * zone_k - log2) - 1)) << log2
    value_ucr = data.draw(st.integers(1, 10**9))
    heat = HeatMap(zone_k)
    heat.add(Region(base, log2), value_ucr)
    assert np.isclose(heat.cells.mean() * 4**zone_k, value_ucr / UCR_PER_CREDIT)


def test_a_reader_of_frames_and_deltas_knows_the_cells() -> None:
    heat, seen = HeatMap(6), np.zeros(256)
    source = np.random.default_rng(1)
    for tick in range(FULL_EVERY_TICKS, 4 * FULL_EVERY_TICKS):
        heat.tick(deque([(Region(int(source.integers(256)) << 4, 4), int(source.integers(1, 10**7)))]))
        message = heat.message(tick)
        if message and message[1] == 0:
            seen = np.frombuffer(message[2], "<f4").astype(float)
        elif message:
            pairs = np.frombuffer(message[2], dtype=[("cell", "<u2"), ("value", "<f4")])
            seen[pairs["cell"]] = pairs["value"]
        assert np.allclose(seen, heat.cells.ravel(), rtol=2 * CHANGED_SHARE, atol=2 * CHANGED_SHARE * 0.01)
