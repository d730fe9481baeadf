"""Which runs of slots were given to hosts, absent slots among them: two hosts never have a part of the same run."""

from bisect import bisect_left, insort
from dataclasses import dataclass, field

from tegcore.wire.records import Region


@dataclass(slots=True)
class Runs:
    """The runs of a zone, in order of their place.

    Attributes:
        slots: Of the zone.
    """

    slots: int
    _runs: list[tuple[int, int]] = field(default_factory=list)
    _searched: dict[int, int] = field(default_factory=dict, compare=False)

    def add(self, region: Region) -> None:
        """A host has it."""
        insort(self._runs, (region.base, region.end))

    def remove(self, region: Region) -> None:
        """Nobody has it any more."""
        self._runs.remove((region.base, region.end))
        self._searched.clear()

    def overlap(self, region: Region) -> list[tuple[int, int]]:
        """(base, end) of the runs that have a slot of a region, by place."""
        first = bisect_left(self._runs, (region.base, 0))
        if first and self._runs[first - 1][1] > region.base:
            first -= 1
        return self._runs[first : bisect_left(self._runs, (region.end, 0))]

    def first_free(self, log2: int) -> int:
        """Base of the first aligned run of 2^log2 slots of which nobody has any, -1 if there is none."""
        base = self._searched.get(log2, 0)
        while base + (1 << log2) <= self.slots:
            taken = self.overlap(Region(base, log2))
            if not taken:
                self._searched[log2] = base
                return base
            base = max(base + (1 << log2), -(-taken[-1][1] >> log2) << log2)
        self._searched[log2] = base
        return -1
