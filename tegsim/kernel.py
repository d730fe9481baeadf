"""The simulator's kernel: virtual time, a queue of events, and draws, all from one seed.

An event is a call at a time. Events of one time run in the order in which they were put, so that a seed is one history
on every machine. A *part* is a program that can die: what was put for a life that is over does not run. Wherever a part
has an effect it passes a *boundary*; a part that is doomed dies at one of its next boundaries, which is what a kill
between two instructions looks like from outside.
"""

import heapq
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from tegcore import rng
from tegcore.units import NS_PER_S

DRAWN_AT_ONCE = 512
REST_CYCLES = 20
"""Cycles that a host with nothing to do takes as one, if it may: the ledger still hears of it once a second."""

Act = Callable[[], None]
T = TypeVar("T")


class CrashError(Exception):
    """A part dies here."""


class Stream:
    """A named stream of draws.

    Args:
        seed: Of the run.
        name: Of the stream: streams do not touch each other.
    """

    __slots__ = ("_block", "_drawn", "_name", "_seed")

    def __init__(self, seed: int, name: str) -> None:
        self._seed = seed
        self._name = name
        self._block = 0
        self._drawn: list[float] = []

    def draw(self) -> float:
        """The next number of [0, 1)."""
        if not self._drawn:
            self._drawn = rng.uniform(self._seed, self._name, self._block, np.arange(DRAWN_AT_ONCE)).tolist()
            self._block += 1
        return self._drawn.pop()

    def chance(self, share: float) -> bool:
        """Whether something of this probability happens."""
        return share > 0 and self.draw() < share

    def between(self, low: float, high: float) -> float:
        """A number of [low, high)."""
        return low + (high - low) * self.draw()

    def whole(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int(self.draw() * (high - low + 1))

    def one_of(self, choices: Sequence[T]) -> T:
        """One of some."""
        return choices[int(self.draw() * len(choices))]

    def wait_ns(self, mean_s: float) -> int:
        """How long until something happens that happens once in `mean_s` on average."""
        return int(-math.log1p(-self.draw()) * mean_s * NS_PER_S)


class Kernel:
    """Time and what is to happen in it.

    Args:
        seed: Of all draws.

    Attributes:
        now_ns: True time, that no part can read.
        events: How many have run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.now_ns = 0
        self.events = 0
        self._queue: list[tuple[int, int, Act]] = []
        self._put = 0

    def stream(self, name: str) -> Stream:
        """A stream of draws of its own."""
        return Stream(self.seed, name)

    def after(self, delay_ns: int, act: Act) -> None:
        """Have something happen, not before now."""
        self._put += 1
        heapq.heappush(self._queue, (self.now_ns + max(0, delay_ns), self._put, act))

    def run_until(self, end_ns: int) -> None:
        """Let time pass."""
        queue = self._queue
        while queue and queue[0][0] <= end_ns:
            self.now_ns, _, act = heapq.heappop(queue)
            self.events += 1
            act()
        self.now_ns = max(self.now_ns, end_ns)


class Clock:
    """A machine's clocks: one since its boot, that never steps but may run fast or slow, and one on the wall.

    Args:
        kernel: True time.
        offset_ns: What the first showed at the start.
        drift_ppm: How much faster it runs than true time, in millionths.

    Attributes:
        wall_offset_ns: Of the wall clock from true time: it may be set.
    """

    def __init__(self, kernel: Kernel, offset_ns: int, drift_ppm: int) -> None:
        self._kernel = kernel
        self._offset_ns = offset_ns
        self._drift_ppm = drift_ppm
        self.wall_offset_ns = 1_000_000_000 * NS_PER_S

    def now_ns(self) -> int:
        """See `tegcore.clock.Clock`."""
        now_ns = self._kernel.now_ns
        return self._offset_ns + now_ns + now_ns * self._drift_ppm // 1_000_000

    def wall_s(self) -> int:
        """What the wall clock shows."""
        return (self._kernel.now_ns + self.wall_offset_ns) // NS_PER_S

    def true_ns(self, duration_ns: int) -> int:
        """How long a duration on the boot-time clock lasts."""
        return duration_ns - duration_ns * self._drift_ppm // 1_000_000


class Part:
    """A program that can die and be started again.

    Args:
        kernel: Time.
        name: Of the part.

    Attributes:
        up: Whether it runs.
        life: How many times it was started.
        crashes: How many times it died.
        where: The boundaries that it died at.
    """

    def __init__(self, kernel: Kernel, name: str) -> None:
        self.kernel = kernel
        self.name = name
        self.up = False
        self.life = 0
        self.crashes = 0
        self.where: list[str] = []
        self.restart_ns: Callable[[], int] = lambda: NS_PER_S // 10
        self._doom = 0
        self._within = False

    def start(self) -> None:
        """Begin a life."""
        if self.up:
            return
        self.up, self._doom = True, 0
        self.life += 1
        self.guard(self.begin)

    def doom(self, boundaries: int) -> None:
        """Let it die at so many boundaries from now."""
        if self.up:
            self._doom = boundaries

    def kill(self) -> None:
        """Let it die now, between two events."""
        if self.up:
            self._died("at rest")

    def boundary(self, what: str) -> None:
        """An effect is had next, or was had."""
        if self._doom:
            self._doom -= 1
            if self._doom == 0:
                raise CrashError(what)

    def after(self, delay_ns: int, act: Act) -> None:
        """Have something happen in this life of the part, if it lasts that long."""
        life = self.life

        def in_this_life() -> None:
            if self.up and self.life == life:
                self.guard(act)

        self.kernel.after(delay_ns, in_this_life)

    def guard(self, act: Act) -> None:
        """Do something that the part may die of; within it, more of the kind is a part of the same."""
        if self._within:
            act()
            return
        self._within = True
        try:
            act()
        except CrashError as crash:
            self._died(str(crash))
        finally:
            self._within = False

    def _died(self, where: str) -> None:
        if not self.up:
            return
        self.up = False
        self.crashes += 1
        self.where.append(where)
        self.ended()
        if (pause_ns := self.restart_ns()) >= 0:
            self.kernel.after(pause_ns, self.start)

    # --- what a part is ---------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """What it does when it is started."""

    def ended(self) -> None:
        """What is left of it when it has died."""
