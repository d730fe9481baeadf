"""How long do slots stand idle that someone waits for? On the real stack, by what the work itself writes down.

A blocker holds all eight slots for S seconds; N jobs of one second each wait behind it. `last_start_s` is from the end
of the blocker to the last start of the first eight of them, `makespan_s` to the end of all, `ideal_s` what it would be
if work started at once. The same with the ledger or the broker ended and started anew while they wait, and in a zone of
four hosts, where the work waits on three.

make bench-waiting             # prints a table, writes build/bench/waiting.json; twelve minutes on an idle machine
"""

import itertools
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from system.zone import TENANTS, Zone

from bench.report import write
from tegcore.wire import control
from tegctl.session import Session, fresh_key
from tegctl.stack import Stack, StackSettings
from tegio.paths import private_dir

SLOTS = 8
ROWS = ((10, 1), (30, 8), (40, 1), (60, 1), (40, 20))
"""(S, N)."""
FEW_ROWS = ((10, 8), (40, 20))
MARKETS = ("fixed", "auction")
PARTS = ("", "ledger", "broker")
"""What is ended while they wait."""
STAMP = 'date +%s.%N >> "$0"'
START_S_MAX, END_S_MAX = 20.0, 120.0
JOB_S = 1.0


class OneHost:
    """What `tegctl up` brings up, as shipped; `blockers`: into how many jobs the blocker is parted."""

    blockers = 1

    def __init__(self, folder: Path, market: str) -> None:
        self.stack = Stack(
            folder,
            StackSettings(ledger={"zone_k": 2, "market": market}, governor={"zone_k": 2}, host={"log2_slots": 3}),
        )
        self.stack.start()
        self.session = Session(self.stack.state_dir, "json")

    def submit(self, slots: int, number: int, *argv: str) -> None:
        """Submit a job."""
        _submit(self.session, slots, number, argv)

    def running(self) -> int:
        """How many run."""
        return _running(self.session)

    def tend(self) -> None:
        """Start what died again."""
        self.stack.tend()

    def end(self, part: str) -> None:
        """End a part; it is started again."""
        os.kill(self.stack.pid(part), signal.SIGTERM)

    def stop(self) -> None:
        """End everything."""
        self.stack.stop()


class FourHosts:
    """A zone of four hosts of two slots behind mosquitto; work waits on three of them in turn."""

    blockers = 4

    def __init__(self, folder: Path, market: str) -> None:
        self.zone = Zone(folder, ("a", "b", "c", "d"), log2_slots=1, market=market)
        self.zone.start()
        self.sessions = [host.session for host in list(self.zone.hosts.values())[:3]]

    def submit(self, slots: int, number: int, *argv: str) -> None:
        """Submit a job."""
        _submit(self.sessions[number % 3], slots, number, argv, TENANTS[0])

    def running(self) -> int:
        """How many run."""
        return sum(_running(host.session) for host in self.zone.hosts.values())

    def tend(self) -> None:
        """Nothing to do: what is ended is started again at once."""

    def end(self, part: str) -> None:
        """End a part; it is started again."""
        which = getattr(self.zone, part)
        which.stop()
        which.start()

    def stop(self) -> None:
        """End everything."""
        self.zone.stop()


Rig = OneHost | FourHosts


def _submit(session: Session, slots: int, number: int, argv: tuple[str, ...], tenant: str = "") -> None:
    size = (slots - 1).bit_length()
    spec = control.WorkloadSpec(argv=argv, name=f"job{number}", sizes=(size,), tenant=tenant)
    session.ask("tegd", control.Submit(spec=spec, key=fresh_key()))


def _running(session: Session) -> int:
    return sum(row["run"] == "running" for row in session.ask("tegd", control.Workloads()))


def measure(rig: Rig, folder: Path, hold_s: int, jobs: int, part: str) -> dict[str, float]:
    """One row, in s."""
    begun, freed, ended = folder / "begun", folder / "freed", folder / "ended"
    holds = ("sh", "-c", f"sleep {hold_s}; {STAMP}", str(freed))
    for number in range(rig.blockers):
        rig.submit(SLOTS // rig.blockers, 1000 + number, *holds)
    _until(rig, lambda: rig.running() == rig.blockers, START_S_MAX)
    began_s = time.monotonic()
    job = ("sh", "-c", f'{STAMP}; sleep {JOB_S}; date +%s.%N >> "$1"', str(begun), str(ended))
    for number in range(jobs):
        rig.submit(1, number, *job)
    if part:
        _until(rig, lambda: time.monotonic() - began_s > hold_s / 2, END_S_MAX)
        rig.end(part)
    _until(rig, lambda: len(_times(ended)) == jobs, hold_s + END_S_MAX)
    free_s, starts_s = _times(freed)[-1], _times(begun)
    return {
        "first_start_s": round(starts_s[0] - free_s, 3),
        "last_start_s": round(starts_s[min(jobs, SLOTS) - 1] - free_s, 3),
        "makespan_s": round(_times(ended)[-1] - free_s, 3),
        "ideal_s": -(-jobs // SLOTS) * JOB_S,
    }


def _times(path: Path) -> list[float]:
    return sorted(map(float, path.read_text().split())) if path.exists() else []


def _until(rig: Rig, holds: Callable[[], bool], limit_s: float) -> None:
    end_s = time.monotonic() + limit_s
    while True:
        rig.tend()
        try:
            if holds():
                return
        except Exception as error:
            last: object = error
        else:
            last = "not yet"
        assert time.monotonic() < end_s, f"not within {limit_s} s: {last}"
        time.sleep(0.2)


def row(kind: type[Rig], market: str, part: str, hold_s: int, jobs: int) -> dict[str, Any]:
    """Bring one up, measure a row, take it down."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rig = kind(private_dir(folder / "rig"), market)
        try:
            figures = measure(rig, folder, hold_s, jobs, part)
        finally:
            rig.stop()
    hosts = 1 if kind is OneHost else 4
    return {"hosts": hosts, "market": market, "ended": part, "hold_s": hold_s, "jobs": jobs} | figures


def main() -> None:
    """Measure, print, write."""
    rows: list[dict[str, Any]] = []
    kinds: tuple[type[Rig], ...] = (OneHost, FourHosts)
    for kind, market, part in itertools.product(kinds, MARKETS, PARTS):
        for hold_s, jobs in ROWS if kind is OneHost and not part else FEW_ROWS:
            rows.append(row(kind, market, part, hold_s, jobs))
            print(json.dumps(rows[-1]), flush=True)
    write("waiting", {"rows": rows})


if __name__ == "__main__":
    main()
