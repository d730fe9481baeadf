"""No slot stands idle while work that fits waits: on the real stack, by what the work itself writes down."""

from pathlib import Path

import pytest
from system.up import Maker

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
