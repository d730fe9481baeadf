"""The machine's boot-time clock: never steps, runs through suspend."""

import time


class SystemClock:
    """See `tegcore.clock.Clock`."""

    def now_ns(self) -> int:
        """Nanoseconds since boot."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
