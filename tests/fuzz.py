"""`make fuzz`: the properties of what comes through the doors, for as long as one likes, with new draws each time.

Each is drawn from the tables of ranges, so that a new field is drawn without being named. What fails is shown shrunk,
as the property's own test would show it; add it there as an example.
"""

import faulthandler
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy
from property import test_doors, test_extremes, test_requests, test_snapshots

BATCH = 100

DOORS: dict[str, tuple[SearchStrategy[Any], Callable[[Any], None]]] = {
    "records": (test_extremes.histories, lambda drawn: test_extremes.without_end(*drawn)),
    "ledger": (test_doors.several(test_doors.TO_LEDGER), test_doors.ledger_after),
    "host": (test_doors.several(test_doors.TO_HOST), test_doors.host_after),
    "governor": (test_doors.several(test_doors.TO_GOVERNOR), test_doors.governor_after),
    "requests": (test_requests.several, test_requests.carried_out),
    "snapshots": (test_snapshots.changes, test_snapshots.recovered_from),
}


def fuzz(strategy: SearchStrategy[Any], check: Callable[[Any], None], seconds: float) -> int:
    """Draw and check until the time is over; how often."""
    times = 0

    def counted(drawn: Any) -> None:
        nonlocal times
        times += 1
        check(drawn)

    end_s = time.monotonic() + seconds
    run = settings(max_examples=BATCH, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    while time.monotonic() < end_s:
        run(given(strategy)(counted))()
    return times


def main() -> None:
    """Fuzz each door for some seconds: `fuzz.py SECONDS [DOOR ...]`."""
    faulthandler.enable()
    logging.disable()
    seconds, names = float(sys.argv[1]), sys.argv[2:] or list(DOORS)
    for name in names:
        print(f"{name}: {fuzz(*DOORS[name], seconds)} drawn in {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
