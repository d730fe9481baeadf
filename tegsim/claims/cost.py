"""Claim: a placement costs the same whatever the number of slots, where a scan's cost grows with it.

What is measured is processor time of this machine, so no two runs give the same figures; what is claimed is how it
grows. A placement is all that its agent and the zone's ledger do for it (`tegsim.placement_rig`), the book alone is one
grant and one release of its own quad-tree. Rivals decide for one request on a cluster of as many slots, eight to a
host: they are scans in compiled or array code, without queue, journal or wire.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from tegcore import rng
from tegcore.field.fragmentation import WHOLE, Hosts, Words
from tegcore.field.request_mix import derived
from tegcore.field.requests import Mix
from tegcore.units import GIB
from tegcore.wire.records import Region
from tegsim.claims.bootstrap import exponent, figure
from tegsim.claims.record import Claim, Figure, Plot, Series, Title, Verdict, concluded
from tegsim.claims.setting import Result, Setting
from tegsim.packing.cluster import Cluster, kinds_of
from tegsim.placement_rig import FULL, UNDER_WAY, UNDER_WAY_BUSY, Rig
from tegsim.policies.best_fit import BestFit
from tegsim.policies.descent import Descent
from tegsim.policies.fgd import Fgd
from tegsim.policies.filter_score import FilterScore
from zone_ledger.book.base import HostShape
from zone_ledger.book.fast import FastBook

EXPONENT_MAX = 0.1
"""Cost over slots to this power: 64 to a million slots then differ by less than a factor of 2.7."""

CPU_MS_MAX = 0.3
"""Of a whole placement, at every size: what the fastest batch scheduler takes on a machine with 64 hosts."""

SLURM_MS = {64: 0.30, 256: 1.31, 1024: 7.55, 4096: 25.9, 16384: 168.6}
"""Processor time of a job by hosts, Slurm 22.05 on a machine like this one (exponent 1.14): for orientation, it was
measured elsewhere and does more for a job than place it."""

TITLE = Title(
    "cost",
    "A placement costs the same at 64 slots and at a million",
    "2.1, 2.4, 3.3",
    "scheduling complexity falls from O(N) to O(1); the latency of a decision does not depend on N",
    f"reproduced if the processor time of a whole placement grows with slots to a power below {EXPONENT_MAX} (upper"
    f" end of the interval) and stays within {CPU_MS_MAX} ms at every size; partly if only the first holds",
)

ZONES_QUICK, ZONES_FULL = (3, 5, 7), (3, 4, 5, 6, 7)
"""k of 2^k x 2^k slots; 131,072 slots are no square zone: 65,536 and 262,144 stand beside it."""

LARGE = (8, 9, 10)
SEEDS_LARGE = 1
SCANS = ("filter and score, sampling", "best fit, a scan", "FGD, a scan", "TEG's potential, a scan")
REPEATS = 5


def run(setting: Setting, policy: str, seed: int) -> Result:
    """One size, `k=K`: us of a placement by stage, of the book, and of a decision of each scan."""
    zone_k = int(policy.removeprefix("k="))
    calm, busy = (
        _placements(zone_k, seed, under_way, setting.sized(30, 60)) for under_way in (UNDER_WAY, UNDER_WAY_BUSY)
    )
    stages = {stage: float(np.median([part[stage] for part in calm])) for stage in calm[0]}
    return {"whole": _whole(calm), "busy": _whole(busy), "book": _book_us(zone_k), "stages": stages} | {
        "scans": {name: _scan_us(name, zone_k, seed) for name in SCANS}
    }


def _placements(zone_k: int, seed: int, under_way: int, count: int) -> list[dict[str, float]]:
    """Processor time of a placement, in us by stage, a row a stretch of at least `count`."""
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(zone_k, Path(folder), seed, under_way)
        rig.run(20 + under_way)
        parts = []
        for _ in range(REPEATS):
            rig.run(max(count, 2 * under_way))
            parts.append(rig.cpu_us)
        rig.close()
    return parts


def _whole(parts: list[dict[str, float]]) -> float:
    return float(np.median([sum(part.values()) for part in parts]))


def _book_us(zone_k: int) -> float:
    """One grant and one release in a book that is as full as the rig's."""
    book = FastBook(zone_k)
    book.set_reserve(0, 1_000)
    for number in range(4**zone_k >> 3):
        book.add_host(number + 1, HostShape(Region(number << 3, 3), 0, 64_000, 512 * GIB))
    taken = int(4**zone_k * FULL)
    for lease in range(1, taken + 1):
        book.grant(lease, 0, 1 << 40, 1)
    for lease in range(1, taken + 1, 4):
        book.release(lease)
    calls = 2_000

    def once() -> None:
        for number in range(1 << 30, (1 << 30) + calls):
            book.grant(number, 1, 1 << 40, 1)
            book.release(number)

    return _median_us(once, calls)


def _cluster(zone_k: int, seed: int) -> tuple[Cluster, Mix]:
    count = 4**zone_k >> 3
    rows = np.arange(count)
    busy = np.stack([rng.uniform(seed, "busy", device, rows) < FULL for device in range(8)], axis=1)
    free = np.where(busy, 0, WHOLE).astype(np.int32)
    hosts = Hosts(
        free,
        np.full(count, 8, dtype=np.int32),
        (free.sum(axis=1) * 12).astype(np.int64),
        np.full(count, 512 * GIB, dtype=np.int64),
        np.zeros(count, dtype=np.int32),
        np.zeros(count, dtype=np.int32),
    )
    classes = [
        (gpus, share, 8_000 * gpus, 0, 1)
        for gpus in (1, 2, 4)
        for share in ((470, 810, WHOLE) if gpus == 1 else (WHOLE,))
    ]
    return Cluster(hosts), Mix(np.array(classes, dtype=np.int64), np.array([9.0, 9.0, 18.0, 2.0, 1.0]))


def _scan_us(name: str, zone_k: int, seed: int) -> float:
    """A decision, looked up anew: what a scan that keeps scores would keep is thrown away."""
    cluster, mix = _cluster(zone_k, seed)
    request: Words = mix.classes[0]
    made: dict[str, Callable[[], FilterScore | BestFit | Fgd | Descent]] = {
        SCANS[0]: lambda: FilterScore(seed),
        SCANS[1]: BestFit,
        SCANS[2]: lambda: Fgd(mix),
        SCANS[3]: lambda: Descent(derived(mix, kinds_of(cluster.full)), seed),
    }
    policy = made[name]()
    policy.begin(cluster)

    def once() -> None:
        if not isinstance(policy, FilterScore):
            policy.begin(cluster)
        policy.choose(cluster, request)

    return _median_us(once, 1)


def _median_us(spend: Callable[[], None], count: int) -> float:
    times = []
    for _ in range(7):
        begun = time.process_time_ns()
        spend()
        times.append((time.process_time_ns() - begun) / 1e3 / count)
    return float(np.median(times))


def crossing(hosts: list[float], ours: list[float], theirs: list[float]) -> float | None:
    """Hosts above which a rival stays dearer than we are, between measured sizes on logarithms; None if it is not."""
    gap = np.log(theirs) - np.log(ours)
    if gap[-1] <= 0:
        return None
    below = np.flatnonzero(gap <= 0)
    if not below.size:
        return hosts[0]
    at = int(below[-1])
    part = -gap[at] / (gap[at + 1] - gap[at])
    return float(np.exp(np.log(hosts[at]) + part * (np.log(hosts[at + 1]) - np.log(hosts[at]))))


def measure(setting: Setting) -> Claim:
    """See the module."""
    small = setting.runs(TITLE.name, [f"k={zone_k}" for zone_k in setting.sized(ZONES_QUICK, ZONES_FULL)], run)
    done = dict(small)
    if not setting.quick:
        first = setting._replace(seeds=setting.seeds[:SEEDS_LARGE])
        done |= first.runs(TITLE.name, [f"k={zone_k}" for zone_k in LARGE], run)
    slots = [float(4 ** int(name.removeprefix("k="))) for name in done]
    mean = {name: float(np.mean([result["whole"] for result in results])) for name, results in done.items()}
    whole = [mean[name] for name in done]
    busy = [float(np.mean([result["busy"] for result in results])) / 1e3 for results in done.values()]
    grown = _exponents(slots, done, "whole")
    book = _exponents(slots, done, "book")
    dearest = max(zip(whole, slots, strict=True))
    flat = grown.high < EXPONENT_MAX
    cheap = dearest[0] <= CPU_MS_MAX * 1e3
    verdict = Verdict.NOT if not flat else Verdict.REPRODUCED if cheap else Verdict.PARTLY
    ours = [
        grown,
        *(
            figure(f"a placement, {int(at):,} slots", [result["whole"] / 1e3 for result in results], "ms")
            for at, results in zip(slots, done.values(), strict=True)
        ),
    ]
    last = list(done.values())[-1]
    ours += [
        figure(f"a placement of {UNDER_WAY_BUSY} at once, {int(at):,} slots", [r["busy"] / 1e3 for r in results], "ms")
        for at, results in zip(slots, done.values(), strict=True)
    ]
    ours += [
        figure(f"of it {stage}, {int(slots[-1]):,} slots", [result["stages"][stage] / 1e3 for result in last], "ms")
        for stage in last[0]["stages"]
    ]
    ours += [
        book,
        *(
            figure(f"the book alone: grant and release, {int(at):,} slots", [r["book"] for r in results], "us")
            for at, results in zip(slots, done.values(), strict=True)
        ),
    ]
    hosts = [at / 8 for at in slots]
    baselines, crossed = [], []
    for name in SCANS:
        curve = [float(np.mean([result["scans"][name] for result in results])) for results in done.values()]
        half = len(slots) // 2
        baselines.append(
            _one(f"{name}: exponent over the larger half", round(exponent(slots[half:], curve[half:]), 3), "")
        )
        baselines.append(
            figure(f"{name}: a decision, {int(slots[-1]):,} slots", [r["scans"][name] / 1e3 for r in last], "ms")
        )
        crossed.append((name, crossing(hosts, whole, curve)))
    crossed.append(("Slurm 22.05", _over_slurm(hosts, whole)))
    baselines += [_one(f"Slurm 22.05, {at:,} hosts (elsewhere)", cost, "ms") for at, cost in SLURM_MS.items()]
    said = "; ".join(f"{name}: {f'{at:,.0f} hosts' if at else 'not within what was measured'}" for name, at in crossed)
    why = (
        f"from {int(slots[0]):,} to {int(slots[-1]):,} slots a placement costs {min(whole) / 1e3:.2f} to"
        f" {dearest[0] / 1e3:.2f} ms of processor time, exponent {grown.value:.3f};"
        + (
            ""
            if cheap
            else f" that is more than {CPU_MS_MAX} ms, by stages as listed; with {UNDER_WAY_BUSY} under way at once,"
            f" which share commits, {min(busy):.2f} to {max(busy):.2f} ms;"
        )
        + f" dearer than we are from here on: {said}. Not in it is what the ledger does each tick whatever is placed,"
        " which grows with what has changed, neither with hosts nor with leases (`make bench-ledger`: idle), and the"
        " settling of each lease once a period"
    )
    how = (
        f"zones {FULL:.0%} full of leases of 1, 2 and 4 slots, {UNDER_WAY} agents under way at any size; flight,"
        " quotes, order and release, signatures, door, engine, SQLite with synchronous=FULL, a commit a tick;"
        " no broker. Processor time, medians of five stretches, on a machine that does much else meanwhile, which makes"
        f" it dearer."
        f" Sizes above 16,384 slots by {SEEDS_LARGE} seed, others by {len(setting.seeds)}"
    )
    return concluded(TITLE, ours, baselines, verdict, why, how, [_plot(hosts, done)])


def _one(name: str, value: float, unit: str) -> Figure:
    return Figure(name, value, value, value, unit)


def _exponents(slots: list[float], done: dict[str, list[Result]], what: str) -> Figure:
    """Exponent with an interval: sizes are drawn anew with their seeds, straight lines through each draw."""
    points = [(at, result[what]) for at, results in zip(slots, done.values(), strict=True) for result in results]
    draws = rng.uniform(0, "cost bootstrap", 0, np.arange(500 * len(points))).reshape(500, -1)
    found = []
    for picks in (draws * len(points)).astype(int):
        x, y = zip(*(points[pick] for pick in picks), strict=True)
        if len(set(x)) > 2:
            found.append(exponent(list(x), list(y)))
    low, high = np.quantile(found, [0.025, 0.975])
    value = exponent([at for at, _ in points], [cost for _, cost in points])
    label = "a placement" if what == "whole" else "the book alone"
    return Figure(
        f"{label}: power of slots that its cost grows by",
        round(value, 4),
        round(float(low), 4),
        round(float(high), 4),
        "",
    )


def _over_slurm(hosts: list[float], ours: list[float]) -> float | None:
    shared = [at for at in SLURM_MS if hosts[0] <= at <= hosts[-1]]
    if len(shared) < 2:
        return None
    mine = np.exp(np.interp(np.log(shared), np.log(hosts), np.log(ours)))
    return crossing([float(at) for at in shared], mine.tolist(), [1e3 * SLURM_MS[at] for at in shared])


def _of_scan(name: str, result: Result) -> float:
    return float(result["scans"][name])


def _plot(hosts: list[float], done: dict[str, list[Result]]) -> Plot:
    def line(name: str, of: Callable[[Result], float]) -> Series:
        return Series(
            name, hosts, [float(np.mean([of(result) for result in results])) / 1e3 for results in done.values()]
        )

    lines = [line("TEG, whole placement", lambda result: float(result["whole"]))]
    lines.append(line("TEG, the book alone", lambda result: float(result["book"])))
    lines += [line(name, partial(_of_scan, name)) for name in SCANS]
    lines.append(
        Series("Slurm 22.05 (elsewhere)", [float(at) for at in SLURM_MS], list(SLURM_MS.values()), style="points")
    )
    return Plot("cost", "Processor time of a placement", "hosts of eight slots", "ms", lines, log="xy")
