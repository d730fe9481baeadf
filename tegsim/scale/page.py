"""The page of scale runs: text and plot from `runs.json` beside it, and from nothing else."""

from pathlib import Path

import msgspec

from tegsim.claims.bootstrap import exponent
from tegsim.claims.page import number
from tegsim.claims.record import Plot, Series
from tegsim.scale.record import Run

HEAD = """# A hundred thousand hosts

Written by `make scale HOSTS=n OUT=docs/scale` from [runs.json](runs.json). A cluster of this size is nowhere to be
had; what is run here is the code of the programs, in the [simulator](../reference/simulator.md).

"""

HOW = """
## What is run

Hosts come in zones, each with a ledger, a governor and {per_zone} hosts of 8 slots: the scenario `{scenario}`.
Ledger, door, book, clearing, journal (SQLite), agent sides, airlock sides and governor
are the programs' own, and every message between them is signed, carried and decoded as on the wire. Hosts lose
power and come back, ledgers die and recover from their journals, agent sides
die, messages are lost and overtaken. All checkers of `make sim` are on: credits conserved, no slot leased or held
twice, no work past its term, nothing acknowledged lost, replay equal. In large
zones the dearest of them (all sums of the book anew, hashes of the whole state) are made every few dozen ticks
instead of every tick. Afterwards faults stop, and all must agree, as ever.

Zones exchange nothing yet (credits between ledgers are not carried by anything), so a zone is run to its end before
the next begins, {workers} side by side. The wall time of a larger cluster
therefore grows as the number of its zones; memory does not grow.

What is simplified: while nothing is to be done on a host but work that runs in its seat, it takes a second as one
cycle, sends telemetry once a second instead of four times, and hears the latest
of broadcasts only. Whatever happens to it wakes it. Hosts that seek, order, move or save run all their 20 cycles a
second.

## Run it again

```
make scale HOSTS=100000      # killed at any moment, the same command goes on from the last zone that was over
```

A zone that is over is kept under `build/scale`, by a key of scenario, seed and code. `digest` in the JSON is over
what happened in every zone: however often a run is interrupted, it is the same
(`tests/sim/test_scale.py`).
"""


TABLE = """| hosts | slots | zones | simulated | leases | renewals | power cuts | wall | cpu | memory | violations |
|---|---|---|---|---|---|---|---|---|---|---|
"""
"""Memory: of all processes together."""


def joined(folder: Path, fresh: Run) -> list[Run]:
    """The runs of a folder's `runs.json` and a fresh one, which takes the place of one of its size."""
    path = folder / "runs.json"
    known = msgspec.json.decode(path.read_bytes(), type=list[Run]) if path.is_file() else []
    kept = {run.hosts: run for run in known} | {fresh.hosts: fresh}
    return [kept[hosts] for hosts in sorted(kept)]


def write(folder: Path, runs: list[Run]) -> None:
    """Write `runs.json` and the page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "runs.json").write_bytes(msgspec.json.format(msgspec.json.encode(runs), indent=1) + b"\n")
    (folder / "README.md").write_text(page(runs))


def page(runs: list[Run]) -> str:
    """The page, as Markdown."""
    rows = [TABLE, *map(_row, runs)]
    last = runs[-1]
    how = HOW.format(per_zone=last.hosts_per_zone, scenario=last.scenario, workers=last.workers)
    return "".join([HEAD, *rows, _growth(runs), "\n![Time by hosts](wall.svg)\n", how])


def plot(runs: list[Run]) -> Plot:
    """Wall and processor time by hosts."""
    hosts = [float(run.hosts) for run in runs]
    series = [
        Series("wall time", hosts, [run.wall_s for run in runs]),
        Series("processor time", hosts, [run.cpu_s for run in runs]),
    ]
    return Plot("wall", "Time that a run takes", "hosts", "s", series, log="xy")


def _row(run: Run) -> str:
    counts = run.counts
    cells = [
        f"{run.hosts:,}",
        f"{run.slots:,}",
        f"{run.zones:,}",
        f"{number(run.simulated_s)} s",
        f"{counts['leases']:,}",
        f"{counts['told_renewed']:,}",
        f"{counts['power_cuts']:,}",
        f"{number(run.wall_s)} s",
        f"{number(run.cpu_s)} s",
        f"{number(run.rss_mib)} MiB",
        str(len(run.failed)),
    ]
    return f"| {' | '.join(cells)} |\n"


def _growth(runs: list[Run]) -> str:
    if len(runs) < 2:
        return ""
    hosts = [run.hosts for run in runs]
    wall, cpu = exponent(hosts, [run.wall_s for run in runs]), exponent(hosts, [run.cpu_s for run in runs])
    last = runs[-1]
    return (
        f"\nFrom {hosts[0]:,} to {hosts[-1]:,} hosts wall time grows as hosts^{wall:.2f}, processor time as "
        f"hosts^{cpu:.2f} (least squares on logarithms). At {last.hosts:,} hosts a simulated second of the whole "
        f"cluster takes {number(last.cpu_s / last.simulated_s)} s of processor time, a lease "
        f"{number(1000 * last.cpu_s / max(1, last.counts['leases']))} ms, all that goes on beside it included. "
        f"Measured on {last.machine['cores']} cores ({last.machine['cpu']}), commit {last.machine['commit']}, "
        "on a machine that did other work at the same time.\n"
    )
