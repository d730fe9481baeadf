"""The cyclic executive: one call a period, on absolute deadlines of the boot-time clock, never faster.

A cycle that runs over its period delays the next; periods that have passed meanwhile are skipped and counted, not made
up for. Lateness is kept in a bounded window of the latest cycles.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tegcore.clock import Clock
from tegcore.units import NS_PER_S

WINDOW_CYCLES = 20_000


class Quantiles(NamedTuple):
    """Median and 99th percentile, and how many were counted."""

    p50: float
    p99: float
    cycles: int


class Window:
    """The latest measurements of something, and their quantiles."""

    def __init__(self, count_max: int = WINDOW_CYCLES) -> None:
        self._values: deque[float] = deque(maxlen=count_max)

    def add(self, value: float) -> None:
        """Keep one more; the oldest goes when the window is full."""
        self._values.append(value)

    def quantiles(self) -> Quantiles:
        """NaN while nothing was measured."""
        ordered = sorted(self._values)
        if not ordered:
            return Quantiles(float("nan"), float("nan"), 0)
        last = len(ordered) - 1
        return Quantiles(ordered[last // 2], ordered[round(last * 0.99)], len(ordered))


class Executive:
    """Runs a cycle at a fixed rate until it is stopped.

    Args:
        clock: The boot-time clock.
        period_ns: Time between the starts of cycles.
        cycle: What is done in each, given the time; awaited before the next.
        sleep: How to wait, in seconds.

    Attributes:
        skipped: Periods that passed without a cycle.
        lateness_ms: By how much cycles started after their deadline.
    """

    def __init__(
        self,
        clock: Clock,
        period_ns: int,
        cycle: Callable[[int], Awaitable[None]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._period_ns = period_ns
        self._cycle = cycle
        self._sleep = sleep
        self._stopping = False
        self.skipped = 0
        self.lateness_ms = Window()

    def stop(self) -> None:
        """End after the cycle that is under way."""
        self._stopping = True

    async def run(self) -> None:
        """Cycle until stopped; an exception of the cycle ends it."""
        deadline_ns = self._clock.now_ns()
        while not self._stopping:
            now_ns = self._clock.now_ns()
            if now_ns < deadline_ns:
                await self._sleep((deadline_ns - now_ns) / NS_PER_S)
                continue
            self.lateness_ms.add((now_ns - deadline_ns) / 1e6)
            started_ns = now_ns
            await self._cycle(now_ns)
            missed = (self._clock.now_ns() - deadline_ns) // self._period_ns
            self.skipped += max(0, missed)
            deadline_ns = max(deadline_ns + self._period_ns * (1 + max(0, missed)), started_ns + self._period_ns)
