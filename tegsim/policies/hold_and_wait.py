"""First in, first out, with hold and wait: how gangs are served where nobody grants them all or nothing.

Gangs queue in order of arrival. Each takes whole devices as they come free, on any host, keeps what it has, and runs
once it has all; several may be gathering at once. Two that each hold what the other needs wait for ever: that is a
deadlock, and `deadlocked` says so.
"""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from tegcore.field.fragmentation import WHOLE, Words
from tegsim.packing.cluster import Choice, Cluster


@dataclass(slots=True)
class Gang:
    """A gang that is gathering, or runs.

    Attributes:
        name: The caller's.
        wanted: Whole devices that it needs in all.
        held: What it has, host by host.
    """

    name: int
    wanted: int
    held: list[Choice] = field(default_factory=list)

    @property
    def has(self) -> int:
        """Devices that it holds."""
        return sum(len(choice.devices) for choice in self.held)


class HoldAndWait:
    """The queue.

    Args:
        cluster: Whose devices it hands out.
        gathering_max: Gangs that may gather at once; 1 is head of line alone.
    """

    def __init__(self, cluster: Cluster, gathering_max: int) -> None:
        self._cluster, self._gathering_max = cluster, gathering_max
        self._waiting: deque[Gang] = deque()
        self.gathering: list[Gang] = []
        self.running: dict[int, Gang] = {}

    def submit(self, name: int, devices: int) -> None:
        """A gang joins the end of the queue."""
        self._waiting.append(Gang(name, devices))

    def step(self) -> list[int]:
        """Hand out what is free, a device to each gathering gang in turn; the gangs that now run."""
        while len(self.gathering) < self._gathering_max and self._waiting:
            self.gathering.append(self._waiting.popleft())
        moved = True
        while moved:
            moved = False
            for gang in self.gathering:
                free = np.flatnonzero((self._cluster.free.free == WHOLE).any(axis=1))
                if free.size and gang.has < gang.wanted:
                    choice = self._cluster.tightest(int(free[0]), _one(self._cluster))
                    self._cluster.place(_one(self._cluster), choice)
                    gang.held.append(choice)
                    moved = True
        started = [gang for gang in self.gathering if gang.has == gang.wanted]
        self.gathering = [gang for gang in self.gathering if gang.has < gang.wanted]
        self.running |= {gang.name: gang for gang in started}
        return [gang.name for gang in started]

    def finish(self, name: int) -> None:
        """A gang ends and gives back all that it had."""
        for choice in self.running.pop(name).held:
            self._cluster.remove(_one(self._cluster), choice)

    @property
    def deadlocked(self) -> bool:
        """Whether gangs hold devices, none runs, and nothing is free: nothing will ever change."""
        full = not (self._cluster.free.free == WHOLE).any()
        return full and not self.running and len(self.gathering) > 0


def _one(cluster: Cluster) -> Words:
    return np.array([1, WHOLE, 0, 0, (1 << int(cluster.free.model.max()) + 1) - 1], dtype=np.int64)
