"""Claim: the auction's heat is a barrier that keeps a crowd from running for one cheap corner (paper 3.2.2)."""

import numpy as np

from tegsim.claims.bootstrap import figure, mean_intervals
from tegsim.claims.record import Claim, Plot, Series, Title, Verdict, concluded
from tegsim.claims.setting import Result, Setting
from tegsim.crowd import Laws
from tegsim.herd import shock

PREVENTED_RATIO = 0.5
"""Overcrowding with the heat layer over that without: half is the least that could be called prevention."""

DAMPED_RATIO = 0.9
"""Below this it is damped by more than seeds differ among themselves."""

TITLE = Title(
    "herd",
    "The heat layer prevents a thundering herd",
    "3.2.2",
    "a high bidding heat is a repulsive hill, preventing the thundering herd proactively",
    f"reproduced if overcrowding of a corner that falls free is at most {PREVENTED_RATIO} of that without the heat"
    f" layer (upper end of the interval); partly if it is at most {DAMPED_RATIO}",
)
LAWS = {
    "with heat": Laws(),
    "without heat": Laws(heat=False),
    "no field at all": Laws(field=False, heat=False),
}
EVERY_TICKS = 10


def run(setting: Setting, policy: str, seed: int) -> Result:
    """A corner falls free: how many are over it."""
    zone_k, ghosts, ticks = setting.sized((6, 2500, 600), (7, 10_000, 1200))
    seen = shock(zone_k, ghosts, ticks, seed, LAWS[policy])
    return {
        "overshoot": seen.overshoot,
        "settle": seen.settle_ticks,
        "refused": seen.refused,
        "crowding": seen.crowding[::EVERY_TICKS].tolist(),
    }


def measure(setting: Setting) -> Claim:
    """See the module."""
    runs = setting.runs(TITLE.name, tuple(LAWS), run)
    ours, without, off = runs.values()
    pairs = list(zip(ours, without, strict=True))
    ratio = figure("overcrowding, over that without heat", [a["overshoot"] / b["overshoot"] for a, b in pairs], "")
    verdict = (
        Verdict.REPRODUCED
        if ratio.high <= PREVENTED_RATIO
        else Verdict.PARTLY
        if ratio.high <= DAMPED_RATIO
        else Verdict.NOT
    )
    figures = {
        name: [
            figure(f"{name}: most above an even spread", [100 * result["overshoot"] for result in results], "%"),
            figure(
                f"{name}: ticks until spread within 15 % again", [float(result["settle"]) for result in results], ""
            ),
            figure(f"{name}: orders that came too late", [float(result["refused"]) for result in results], ""),
        ]
        for name, results in runs.items()
    }
    chance = sum(result["overshoot"] for result in off) / len(off)
    why = (
        f"with heat the corner is overcrowded {ratio.value:.2f} times as much as without; with no field at all, chance"
        f" alone makes it {100 * chance:.0f} % too crowded at its worst. The heat layer follows bids, so its hill rises"
        " only once the first have bid: it damps the run and does not forestall it"
    )
    how = (
        "a zone held to its last slot, ghosts all over it in the middle of their back-offs, and a sixteenth of it that"
        " falls free; real book, heat map, field and laws of flight"
        f"; {len(setting.seeds)} seeds, the same starts under each law"
    )
    plot = Plot(
        "herd",
        "Crowd over a corner that falls free at tick 0",
        "ticks of 50 ms",
        "ghosts over it, 1 = evenly spread",
        [_series(name, results) for name, results in runs.items()],
    )
    baselines = [*figures["without heat"], *figures["no field at all"]]
    return concluded(TITLE, [ratio, *figures["with heat"]], baselines, verdict, why, how, [plot])


def _series(name: str, results: list[Result]) -> Series:
    mean, low, high = mean_intervals(np.array([result["crowding"] for result in results]))
    ticks = [float(at * EVERY_TICKS) for at in range(len(mean))]
    return Series(name, ticks, mean.tolist(), low.tolist(), high.tolist())
