"""Claim: inertia keeps expensive, long-running work in its seat against a stream of fresh bids (paper 3.5.1, (14))."""

from collections.abc import Callable

from tegcore.economics.fixed import friction_ucr, mass_micro
from tegsim.claims.bootstrap import figure, mean_interval
from tegsim.claims.record import Claim, Figure, Plot, Series, Title, Verdict, concluded
from tegsim.claims.setting import Result, Setting
from tegsim.tenants import Terms
from tegsim.whale import (
    HORIZON_TICKS,
    MEM_BYTES,
    WHALE_LIMIT,
    WHALE_LOG2,
    WORK_TICKS,
    Lived,
    Stream,
    on_the_engine,
    slot_by_slot,
    stream,
)

MU_UCR = 2000
"""mu as shipped: `mu_credits` of the governor's settings, at the reserve of the ledger's."""

KEPT_MIN = 95.0
"""With inertia the whale has to do this much of its work, in %, in time: the rest is what chance may cost."""

MOVED_RATIO_MAX = 0.2
"""Inertia has to spare it at least four in five displacements, else it is not inertia that protects it."""

TITLE = Title(
    "starvation",
    "Inertia protects a whale from a stream of fresh bids",
    "3.5.1 (14)",
    "an incumbent can only be evicted by a structural shift; market jitter cannot displace it",
    f"reproduced if with inertia the whale does at least {KEPT_MIN:.0f} % of its work in time under each stream, and"
    f" inertia spares it at least {1 - MOVED_RATIO_MAX:.0%} of the displacements that there are without; partly if only"
    " the first holds",
)
POLICIES: dict[str, Callable[[Stream], Lived]] = {
    "inertia": lambda others: on_the_engine(others, MU_UCR),
    "no inertia": lambda others: on_the_engine(others, 0),
    "slot by slot": slot_by_slot,
}
STREAMS = ("shrimps", "peers")
RUNS_PER_SEED = 5


def run(_setting: Setting, policy: str, seed: int) -> Result:
    """Each stream, several times."""
    found: Result = {}
    for kind in STREAMS:
        lived = [POLICIES[policy](stream(kind, 100 * seed + again)) for again in range(RUNS_PER_SEED)]
        found[f"{kind} done"] = 100 * sum(one.done for one in lived) / RUNS_PER_SEED
        found[f"{kind} moved"] = sum(one.moved for one in lived) / RUNS_PER_SEED
        found[f"{kind} served"] = 100 * sum(one.served for one in lived) / RUNS_PER_SEED
    return found


def measure(setting: Setting) -> Claim:
    """See the module."""
    runs = setting.runs(TITLE.name, tuple(POLICIES), run)
    figures = {name: _figures(name, results) for name, results in runs.items()}
    moved, moved_without = ([_moved(result) for result in runs[name]] for name in ("inertia", "no inertia"))
    spared = sum(moved) / max(1e-9, sum(moved_without))
    kept = min(figures["inertia"][f"{kind} done"].low for kind in STREAMS)
    protects = spared <= MOVED_RATIO_MAX and sum(moved_without) > 0
    verdict = Verdict.NOT if kept < KEPT_MIN else Verdict.REPRODUCED if protects else Verdict.PARTLY
    endow_ucr = (int(WHALE_LIMIT * Terms().reserve_ucr) << WHALE_LOG2) * (HORIZON_TICKS // Terms().period_ticks)
    whale = mass_micro(MEM_BYTES, endow_ucr, 1 << WHALE_LOG2)
    friction = friction_ucr(MU_UCR, whale) / (1 << WHALE_LOG2) / Terms().reserve_ucr
    rigid = figures["no inertia"]["shrimps moved"].value
    why = (
        f"with inertia the whale is displaced {mean_interval(moved)[0]:.1f} times in its life, over both streams,"
        f" without {mean_interval(moved_without)[0]:.1f} times. Against shrimps inertia is not even needed ({rigid:.1f}"
        " displacements without): a lease is one rigid body, and one who wants a slot of it would have to outbid all of"
        " it; where each slot is let by itself, shrimps starve the whale"
    )
    how = (
        f"half of 64 slots needed for {WORK_TICKS} ticks, others bidding 1 to 3 reserves beside the whale's 2,"
        f" {HORIZON_TICKS} ticks in all; real engine with friction as shipped, which at 16 GiB a slot is"
        f" {friction:.1f} reserves; work saved at each displacement;"
        f" {len(setting.seeds)} seeds of {RUNS_PER_SEED} streams each"
    )
    done = [
        Series(
            name,
            [0.0, 1.0],
            [figures[name][f"{kind} done"].value for kind in STREAMS],
            [figures[name][f"{kind} done"].low for kind in STREAMS],
            [figures[name][f"{kind} done"].high for kind in STREAMS],
            "bars",
        )
        for name in POLICIES
    ]
    plot = Plot(
        "starvation",
        "Work that the whale got done in time",
        "who else bids",
        "share of its work, %",
        done,
        list(STREAMS),
    )
    baselines = [*figures["no inertia"].values(), *figures["slot by slot"].values()]
    return concluded(TITLE, list(figures["inertia"].values()), baselines, verdict, why, how, [plot])


def _moved(result: Result) -> float:
    return float(sum(result[f"{kind} moved"] for kind in STREAMS))


def _figures(name: str, results: list[Result]) -> dict[str, Figure]:
    words = (("done", "work done in time", "%"), ("moved", "displacements", ""), ("served", "room used by others", "%"))
    return {
        f"{kind} {key}": figure(f"{name}, {kind}: {text}", [result[f"{kind} {key}"] for result in results], unit)
        for key, text, unit in words
        for kind in STREAMS
    }
