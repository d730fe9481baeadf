"""Claim: fill-or-kill orders for whole blocks leave nothing to deadlock about (paper 1.3, 3.3.2)."""

from collections.abc import Callable

import numpy as np

from tegcore.wire.records import Market
from tegsim.backfilling import Easy
from tegsim.claims.bootstrap import figure, mean_intervals
from tegsim.claims.record import Claim, Figure, Plot, Series, Title, Verdict, concluded
from tegsim.claims.setting import Result, Setting
from tegsim.gangs import MEAN_TICKS, SIZES_LOG2, SLOTS, FillOrKill, HoldAndWait, Policy, play, trace

DEADLOCKED_MIN = 50.0
"""Hold and wait has to deadlock in at least half of the runs, in %, else the worlds have nothing to prevent."""

USEFUL_LOSS_MAX = 0.0
"""Against strict order of arrival, which cannot deadlock either, no capacity may be lost, in points of useful share."""

EASY_LOSS_MAX = 2.0
"""At fixed prices at most so many points of useful share below EASY backfilling, which is told the same times."""

TITLE = Title(
    "deadlock",
    "Gangs that ask fill-or-kill do not deadlock",
    "1.3, 3.3.2",
    "a whale submits one fill-or-kill order: no hold and wait, no deadlock",
    f"reproduced if no run deadlocks where hold-and-wait does in at least {DEADLOCKED_MIN:.0f} % of them, and at load 1"
    " no less of the zone does useful work than under strict order of arrival, and at fixed prices at most"
    f" {EASY_LOSS_MAX:.0f} points less than under EASY backfilling (lower ends of the paired differences); partly if"
    " only the first holds",
)
POLICIES: dict[str, Callable[[int], Policy]] = {
    "TEG, auction": lambda seed: FillOrKill(seed, Market.AUCTION),
    "TEG, fixed prices": lambda seed: FillOrKill(seed, Market.FIXED),
    "EASY backfilling": lambda _: Easy(),
    "hold and wait": lambda seed: HoldAndWait(seed, strict=False),
    "hold and wait, patience": lambda seed: HoldAndWait(seed, strict=False, patience_ticks=MEAN_TICKS),
    "strict arrival order": lambda seed: HoldAndWait(seed, strict=True),
}
LOADS = (0.6, 0.8, 1.0, 1.2)
AT_LOAD = LOADS.index(1.0)


def run(setting: Setting, policy: str, seed: int) -> Result:
    """The trace of each load."""
    ticks = setting.sized(1500, 6000)
    ran = [play(POLICIES[policy](seed), trace(ticks, load, seed), ticks) for load in LOADS]
    return {
        "useful": [100 * one.useful for one in ran],
        "held": [100 * one.held for one in ran],
        "finished": [100 * one.finished for one in ran],
        "deadlocked": [100.0 * one.deadlocked for one in ran],
    }


def measure(setting: Setting) -> Claim:
    """See the module."""
    runs = setting.runs(TITLE.name, tuple(POLICIES), run)
    ours, fixed, easy, strict, waiting = (
        runs[name]
        for name in ("TEG, auction", "TEG, fixed prices", "EASY backfilling", "strict arrival order", "hold and wait")
    )
    ever = figure("runs that deadlock, any load", [max(result["deadlocked"]) for result in [*ours, *fixed]], "%")
    waits = figure(
        "hold and wait: runs that deadlock, any load", [max(result["deadlocked"]) for result in waiting], "%"
    )
    more = _above("useful share above strict arrival order, load 1", ours, strict)
    beside = _above("fixed prices: useful share above EASY backfilling, load 1", fixed, easy)
    safe = ever.high == 0 and waits.low >= DEADLOCKED_MIN
    whole = safe and more.low >= -USEFUL_LOSS_MAX and beside.low >= -EASY_LOSS_MAX
    verdict = Verdict.REPRODUCED if whole else Verdict.PARTLY if safe else Verdict.NOT
    why = (
        f"{ever.value:.0f} % of the runs deadlock, beside {waits.value:.0f} % where members hold and wait. A block is"
        " granted whole or not at all, so nothing is held by work that does not run. Against strict arrival order,"
        f" which cannot deadlock either, useful work differs by {more.value:+.1f} points of the zone. At fixed prices"
        " gangs wait in order of arrival, the first that does not fit has a promised start and shorter ones go before"
        f" it: useful work differs from EASY backfilling by {beside.value:+.1f} points. EASY starts"
        " them in the same tick and on any slots; the engine's gangs order a tick after they are told of room, and want"
        " aligned blocks"
    )
    sizes = ", ".join(str(1 << size) for size in SIZES_LOG2)
    how = (
        f"gangs of {sizes} slots on {SLOTS} slots, {MEAN_TICKS} ticks each on average, arriving at random; real engine,"
        " which is told how long each runs, as EASY is; work that is evicted goes on where it was;"
        f" {len(setting.seeds)} seeds"
    )
    shares = [
        figure(f"{name}: useful share, load 1", [result["useful"][AT_LOAD] for result in results], "%")
        for name, results in runs.items()
    ]
    held = figure("hold and wait: held by what does not run, load 1", [r["held"][AT_LOAD] for r in waiting], "%")
    plot = Plot(
        "deadlock",
        "Useful share of the zone by offered load",
        "slots asked for over slots that there are",
        "slots that do useful work, %",
        [_series(name, results) for name, results in runs.items()],
    )
    return concluded(TITLE, [ever, more, beside, *shares[:2]], [waits, held, *shares[2:]], verdict, why, how, [plot])


def _above(name: str, ours: list[Result], others: list[Result]) -> Figure:
    pairs = zip(ours, others, strict=True)
    return figure(name, [mine["useful"][AT_LOAD] - other["useful"][AT_LOAD] for mine, other in pairs], "points")


def _series(name: str, results: list[Result]) -> Series:
    mean, low, high = mean_intervals(np.array([result["useful"] for result in results]))
    return Series(name, list(LOADS), mean.tolist(), low.tolist(), high.tolist())
