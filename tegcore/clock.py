"""Time as an input: the protocol that shells implement, and the virtual clock of tests and the simulator."""

from typing import Protocol


class Clock(Protocol):
    """The boot-time clock of one machine: never steps, runs through suspend."""

    def now_ns(self) -> int:
        """Nanoseconds since boot."""


class VirtualClock:
    """A clock that moves only when told to.

    Args:
        now_ns: Where it starts.
    """

    def __init__(self, now_ns: int = 0) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        """Nanoseconds since the virtual boot."""
        return self._now_ns

    def advance(self, duration_ns: int) -> int:
        """Move on by a duration in ns and return the new time.

        Raises:
            ValueError: If the duration is negative: a boot-time clock does not run back.
        """
        if duration_ns < 0:
            raise ValueError(f"a boot-time clock does not run back: {duration_ns} ns")
        self._now_ns += duration_ns
        return self._now_ns
