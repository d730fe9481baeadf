"""What do the field, the agents and the governor cost, does it grow with the cluster, and how well is the field known?

make bench-physics                       # prints tables, writes build/bench/physics.json
make bench-physics THERMAL=DIR           # also the field of real servers' temperatures: DIR/*_usage_stats.tsv.gz

Times are CPU time, medians of several runs. Last come the crowds of `tegsim`: settling of a full load, and the herd.
"""

import argparse
import csv
import gzip
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.report import write
from governor.gp.fit import fitted, regressor
from governor.gp.posterior import Floats, Hyperparameters, Posterior
from tegcore.dynamics.langevin import Swarm, step
from tegcore.field.potential import FieldFrame, ahead, evaluate
from tegcore.wire.codec import encode
from tegcore.wire.messages import SCHEMA, Field, Heat
from tegcore.wire.signing import Key, host_key
from tegcore.wire.topics import Channel, Topic
from tegd.flight import LOOK_AHEAD_TICKS, Flight, forces
from tegsim.crowd import Laws
from tegsim.herd import shock
from tegsim.settling import settle

SIDE = 1024.0
NOISE = 0.2
HELD_OUT = 0.2
FULL_GP_HOSTS_MAX = 2000
INTERVAL_90 = 1.645
CELSIUS_IDLE, CELSIUS_CRITICAL = 20.0, 90.0


def cpu_s(work: Callable[[], object], repeats: int = 7) -> float:
    """CPU time of a call, median of several."""
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return median(taken)


def hosts(count: int, seed: int = 1) -> tuple[Floats, Floats]:
    """Places of hosts and their noisy S: aisles and a hot spot."""
    source = np.random.default_rng(seed)
    at = source.uniform(0, SIDE, (count, 2))
    hot = 2.0 * np.exp(-((at - 300.0) ** 2).sum(axis=1) / (2 * 150.0**2))
    return at, 1.0 + 0.5 * np.sin(at[:, 0] / 90.0) + hot + source.normal(0, NOISE, count)


def posterior(at: Floats, values: Floats, hyper: Hyperparameters, side: float = SIDE) -> Posterior:
    """What the governor knows after one batch."""
    made = Posterior(side, hyper)
    made.observe(at, values, 0)
    return made


def agents_us(frame: FieldFrame, count: int) -> float:
    """Us an agent and tick: both layers looked up, Langevin step."""
    source = np.random.default_rng(2)
    swarm = Swarm(source.uniform(0, SIDE, (count, 2)), np.zeros((count, 2)), np.ones(count), np.ones(count))
    draws, calls = source.normal(size=(count, 2)), max(1, 2000 // count)
    looked = ahead(frame, LOOK_AHEAD_TICKS)

    def fly() -> None:
        for _ in range(calls):
            step(swarm, lambda at: forces(looked, frame, 1.0, 0.5, at), 1.0, draws, SIDE)

    return 1e6 * cpu_s(fly) / calls / count


def host_us(frame: FieldFrame) -> float:
    """Us a tick for the three ghosts of one host, as its daemon moves them."""
    flight = Flight(1, 10)
    grid, weights = len(frame.weights.value), frame.weights.value.astype("<f4").tobytes()
    flight.field_came(Field(SCHEMA, "z", 0, grid, 3.0, frame.mean, NOISE, weights, bytes(len(weights)), 0, 0.5, 1.0))
    flight.heat_came(Heat(SCHEMA, "z", 0, 1, 0, weights))
    ticks = iter(range(10**9))

    def fly() -> None:
        for _ in range(200):
            flight.step([1, 2, 3], [1.0, 2.0, 3.0], [1.0, 1.0, 1.0], next(ticks))

    return 1e6 * cpu_s(fly) / 200


def message_bytes(frame: FieldFrame) -> int:
    """A field on the wire, signed."""
    value, rate = (part.astype("<f4").tobytes() for part in (frame.weights.value, frame.weights.rate))
    topic = Topic("zone", Channel.FIELD)
    field = Field(SCHEMA, "zone", 1, len(frame.weights.value), 3.0, frame.mean, NOISE, value, rate, 0, 0.5, 1.0)
    return len(encode(topic, field, host_key(Key(b"k" * 32), "governor")))


def error(at: Floats, values: Floats, side: float, seed: int = 3) -> dict[str, float]:
    """RMSE and coverage of 90 % intervals on held-out hosts, ours and, where feasible, scikit-learn's full process."""
    chosen = np.random.default_rng(seed).permutation(len(values))
    out, kept = np.split(chosen, [int(HELD_OUT * len(chosen))])
    hyper = fitted(at[kept], values[kept], side, Hyperparameters(), seed)
    ours = posterior(at[kept], values[kept], hyper, side)
    miss = evaluate(ours.frame(), at[out]).value.value - values[out]
    found = {"rmse": rms(miss), "coverage_90": covered(miss, np.sqrt(ours.variance(at[out])))}
    if len(kept) <= FULL_GP_HOSTS_MAX:
        full = regressor(at[kept], values[kept], side, hyper)
        guess, spread = full.predict(at[out], return_std=True)
        miss = guess + full.mean_ - values[out]
        found |= {"full_rmse": rms(miss), "full_coverage_90": covered(miss, spread)}
    return found


def rms(values: Floats) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(values**2)))


def covered(miss: Floats, spread: Floats) -> float:
    """Share of misses within the 90 % interval."""
    return float(np.mean(np.abs(miss) < INTERVAL_90 * spread))


def thermal(path: Path, days: int = 64) -> tuple[Floats, Floats]:
    """S of a real server's mean GPU temperature, hour by hour, laid out in the plane as (hour of day, day)."""
    with gzip.open(path, "rt", encoding="utf-8-sig") as lines:
        rows = [row for row in csv.reader(lines, delimiter="\t") if len(row) == 14 and row[5][:1].isdigit()]
    hours = np.array([np.datetime64(row[1]) for row in rows]).astype("datetime64[h]").astype(np.int64)
    share = np.clip(
        (np.array([float(row[5]) for row in rows]) - CELSIUS_IDLE) / (CELSIUS_CRITICAL - CELSIUS_IDLE), 0, 1
    )
    at = np.stack((hours % 24 * days / 24.0, (hours - hours.min()) // 24), axis=-1) + 0.5
    recent = at[:, 1] >= at[:, 1].max() - days
    at[:, 1] -= at[:, 1].max() - days
    return at[recent], -np.log1p(-np.minimum(share[recent], 0.999))


def table(title: str, rows: dict[str, dict[str, Any]]) -> None:
    """Print figures, a row each."""
    shown = Table(title=title, title_justify="left")
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    for column in ("", *columns):
        shown.add_column(column, justify="right")
    for name, row in rows.items():
        shown.add_row(name, *(f"{row[column]:.4g}" if column in row else "" for column in columns))
    Console().print(shown)


def costs() -> dict[str, Any]:
    """Times, and whether they stay as they are from 100 hosts to a million."""
    frames = {count: posterior(*hosts(count), Hyperparameters()).frame() for count in (100, 10_000, 100_000, 1_000_000)}
    runs = [{count: agents_us(frame, 1000) for count, frame in frames.items()} for _ in range(9)]
    by_hosts = {count: median(run[count] for run in runs[2:]) for count in frames}
    frame = frames[10_000]
    by_agents = {count: agents_us(frame, count) for count in (1, 10, 1_000, 100_000)}
    refit = {count: _refit_s(count) for count in (1_000, 10_000, 100_000)}
    at, values = hosts(5000)
    warm = posterior(at, values, Hyperparameters())
    figures = {
        "agent_us": by_agents,
        "agent_us_batch": by_agents[100_000],
        "agent_us_by_hosts": by_hosts,
        "flatness_1e2_to_1e6": by_hosts[1_000_000] / by_hosts[100],
        "host_agents_us": host_us(frame),
        "refit_s": refit,
        "refit_100k_s": refit[100_000],
        "ingest_5000_ms": 1e3 * cpu_s(lambda: warm.observe(at, values, 0)),
        "message_bytes": message_bytes(frame),
    }
    table("us an agent and tick, by agents in a batch", {"us": {f"{count:,}": us for count, us in by_agents.items()}})
    table(
        "us an agent and tick, by hosts behind the field", {"us": {f"{count:,}": us for count, us in by_hosts.items()}}
    )
    table("refit from nothing, s, by hosts", {"s": {f"{count:,}": taken for count, taken in refit.items()}})
    single = ("host_agents_us", "ingest_5000_ms", "message_bytes", "flatness_1e2_to_1e6")
    table("one of each", {name: {"": figures[name]} for name in single})
    return figures


def _refit_s(count: int) -> float:
    at, values = hosts(count)
    return cpu_s(lambda: posterior(at, values, Hyperparameters()).frame(), 3)


def errors(folder: Path | None) -> dict[str, Any]:
    """How well the field is known."""
    found = {f"{count:,} hosts": error(*hosts(count), SIDE) for count in (100, 1_000, 2_000, 10_000)}
    for path in sorted(folder.glob("*_usage_stats.tsv.gz")) if folder else []:
        found[path.name.split("_")[0]] = error(*thermal(path), 64.0)
    table("field on held-out hosts (noise of a host: 0.2)", found)
    return found


def crowds(largest_k: int) -> dict[str, Any]:
    """Settling of a full load and the herd, with their controls."""
    controls = {
        "all laws": Laws(),
        "field off": Laws(field=False, heat=False),
        "random walk": Laws(field=False, heat=False, widening=False),
    }
    settling: dict[str, Any] = {}
    for zone_k in range(5, largest_k + 1):
        if zone_k in {5, 7, 8, 10}:
            for name, laws in controls.items():
                seen = settle(zone_k, 400, 1, laws)
                rounds = dict(zip(("half", "99 %", "all"), seen.rounds, strict=True))
                settling[f"{seen.ghosts:,} {name}"] = {
                    "log2 N": 2.0 * zone_k,
                    **rounds,
                    "local": seen.local,
                    "unseated": seen.unseated,
                    "ticks": seen.ticks,
                }
    table("rounds to seat a full load", settling)
    herd: dict[str, Any] = {}
    for name, laws in {"no heat layer": Laws(heat=False), **controls}.items():
        runs = [shock(7, 10_000, 1200, seed, laws) for seed in (1, 2, 3)]
        herd[name] = {
            "overshoot": median(run.overshoot for run in runs),
            "settle ticks": median(run.settle_ticks for run in runs),
        }
    table("10,000 ghosts and a corner of 1,024 slots that falls free: medians of 3 runs", herd)
    return {"settling": settling, "herd": herd}


def main() -> None:
    """Measure, print, write."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--thermal", type=Path, help="folder of *_usage_stats.tsv.gz")
    arguments.add_argument("--largest-k", type=int, default=10, help="settling up to 2^k x 2^k slots")
    chosen = arguments.parse_args()
    figures = costs()
    figures["field"] = errors(chosen.thermal)
    write("physics", figures | crowds(chosen.largest_k))


if __name__ == "__main__":
    main()
