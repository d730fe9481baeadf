"""No slot stands idle while work that fits waits: on the real stack, by what the work itself writes down."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from system.up import SHIPPED, TICK_S, Maker, Up

from tegcore.wire import control

pytestmark = pytest.mark.system

STAMP = 'date +%s.%N >> "$0"'
"""Work that writes down when it began."""
IDLE_S_MAX = 3.0
"""On a busy machine; the start itself counts. Before waits were answered by a wake-up it was 7 to 116 s."""


def times(path: Path) -> list[float]:
    return sorted(map(float, path.read_text().split())) if path.exists() else []


@pytest.mark.parametrize("market", ["fixed", "auction"])
def test_who_waits_starts_as_soon_as_slots_come_free(up: Maker, market: str) -> None:
    host = up(8, market)
    begun, freed = host.folder / "begun", host.folder / "freed"
    blocker = host.run("blocker", "--slots", "8", argv=("sh", "-c", f"sleep 12; {STAMP}", str(freed)))
    host.until(lambda: host.runs(blocker), 20)
    names = [host.run(f"w{number}", argv=("sh", "-c", f"{STAMP}; sleep 1", str(begun))) for number in range(6)]
    host.until(lambda: all("taken" in host.reasons(name) for name in names) or bool(times(freed)), 10)
    host.until(lambda: len(times(begun)) == len(names), 40)
    (free_s,) = times(freed)
    assert times(begun)[-1] - free_s < IDLE_S_MAX


def test_a_wide_job_behind_a_stream_of_small_ones_is_promised_a_start_and_gets_it(up: Maker) -> None:
    host = up(4, "fixed")
    small = 0

    def keep_busy() -> None:
        nonlocal small
        rows = host.ask("tegd", control.Workloads())
        for _ in range(8 - sum(row["life"] != "ended" and row["slots"] == 1 for row in rows)):
            small += 1
            host.run(f"small{small}", "--time", "4s", argv=("sleep", "3"))

    keep_busy()
    host.until(lambda: sum(row["life"] == "seated" for row in host.ask("tegd", control.Workloads())) == 4, 20)
    wide = host.run("wide", "--slots", "4", "--time", "10s", argv=("sleep", "2"))
    host.until(lambda: "promised" in host.reasons(wide) or host.life(wide) != "seeking", 20)

    def seated() -> bool:
        keep_busy()
        return host.life(wide) in {"seated", "leaving", "ended"}

    host.until(seated, 40)


class Stream:
    """One-slot jobs without an end: eight run, and some wait.

    Args:
        time: What each declares, as `--time` takes it; empty: nothing.
    """

    JOB_S, SLOTS, WAITING = 60, 8, 4

    def __init__(self, host: Up, time: str) -> None:
        self.host, self.options = host, ("--time", time) if time else ()
        self.count = 0
        self.tend()
        host.until(lambda: self._in("seated") == self.SLOTS, 60)

    def tend(self) -> None:
        """Submit more; the first ones are shorter, each by another time, so that slots come free one by one."""
        for _ in range(self.SLOTS + self.WAITING - self._in("seated", "seeking", "ordered", "waiting")):
            self.count += 1
            length_s = self.JOB_S * self.count // self.SLOTS if self.count < self.SLOTS else self.JOB_S
            self.host.run(f"small{self.count}", *self.options, argv=("sleep", str(length_s)))

    def _in(self, *lives: str) -> int:
        rows = self.host.ask("tegd", control.Workloads())
        return sum(row["name"].startswith("small") and row["life"] in lives for row in rows)

    def runs_until(self, holds: Callable[[], bool], limit_s: float) -> None:
        def tended() -> bool:
            self.tend()
            return holds()

        self.host.until(tended, limit_s)


def has_begun(host: Up, name: str) -> Callable[[], bool]:
    return lambda: host.life(name) in {"seated", "leaving", "ended"}


@pytest.mark.long
def test_a_wide_job_behind_jobs_that_declare_nothing_starts_within_fifteen_minutes(up: Maker) -> None:
    host = up(8, "fixed", SHIPPED)
    stream = Stream(host, "")
    wide = host.run("wide", "--slots", "8", argv=("sleep", "5"))
    stream.runs_until(has_begun(host, wide), 15 * 60)


@pytest.mark.long
def test_a_promised_start_is_told_and_kept_and_shorter_work_runs_before_it(up: Maker) -> None:
    host = up(8, "fixed", SHIPPED)
    stream = Stream(host, "62s")
    wide = host.run("wide", "--slots", "8", "--time", "10s", argv=("sleep", "5"))
    stream.runs_until(lambda: "promised" in host.reasons(wide), 60)
    promised_s = time.monotonic() + host.reasons(wide)["promised"]["missing"] * TICK_S
    begun = host.folder / "begun"
    short = host.run("short", "--time", "2s", argv=("sh", "-c", STAMP, str(begun)))
    stream.runs_until(has_begun(host, short), 60)
    assert host.life(wide) == "seeking"
    stream.runs_until(has_begun(host, wide), 120)
    assert time.monotonic() < promised_s + 1
