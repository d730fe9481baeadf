"""Runs of slots: who overlaps whom, and what is free first, as counting slot by slot finds it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tegcore.wire.records import Region
from zone_ledger.runs import Runs

SLOTS = 64
regions = st.integers(0, 4).flatmap(
    lambda log2: st.integers(0, (SLOTS >> log2) - 1).map(lambda place: Region(place << log2, log2))
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(regions, st.integers(0, 5)), max_size=60))
def test_runs_are_what_counting_slots_finds(drawn) -> None:
    runs, held = Runs(SLOTS), set[Region]()
    for region, log2 in drawn:
        meets = sorted((other.base, other.end) for other in held if other.base < region.end and region.base < other.end)
        assert runs.overlap(region) == meets
        if region in held:
            runs.remove(region)
            held.remove(region)
        elif not meets:
            runs.add(region)
            held.add(region)
        taken = {slot for other in held for slot in range(other.base, other.end)}
        bases = range(0, SLOTS, 1 << log2)
        free = [base for base in bases if taken.isdisjoint(range(base, base + (1 << log2)))]
        assert runs.first_free(log2) == (free[0] if free else -1)
