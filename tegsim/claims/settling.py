"""Claim: unplaced work finds its seats in O(log N) rounds, whatever the size of the zone (paper 3.4.1, (10))."""

import numpy as np

from tegsim.claims.bootstrap import exponent, figure, mean_interval
from tegsim.claims.record import Claim, Plot, Series, Title, Verdict, concluded
from tegsim.claims.setting import Result, Setting
from tegsim.crowd import Laws
from tegsim.settling import settle

LOG_RATIO_MAX = 1.25
"""Rounds over log2 N may be at most this much higher in the largest zone than in the smallest: rounds that grew as
N^0.25 would have made it twice as high from 256 to 65,536 slots, so the rule tells the two apart, with some room."""

LOCAL_GAIN_MIN = 0.01
"""The field has to seat at least 1 % more of the work near where it started than no field does: below that it is of no
use to those who pay for it."""

TITLE = Title(
    "settling",
    "Work finds its seat in O(log N) rounds",
    "3.4.1 (10)",
    "a global equilibrium in O(log N) time, effectively independent of the cluster's size",
    "reproduced if rounds until the last is seated, over log2 N, are in the largest zone at most"
    f" {LOG_RATIO_MAX} times those in the smallest, and the field seats at least {LOCAL_GAIN_MIN:.0%} more of the work"
    " within 64 slots of its start than no field; partly if only the first holds",
)
LAWS = {
    "field and widening": Laws(),
    "no field": Laws(field=False, heat=False),
    "random walk": Laws(field=False, heat=False, widening=False),
}
TICKS_MAX = 400


def run(setting: Setting, policy: str, seed: int) -> Result:
    """A full load in an empty zone, at each size."""
    seen = [settle(zone_k, TICKS_MAX, seed, LAWS[policy]) for zone_k in range(4, setting.sized(7, 9))]
    return {
        "slots": [run.ghosts for run in seen],
        "all": [run.rounds[2] for run in seen],
        "most": [run.rounds[1] for run in seen],
        "local": [run.local for run in seen],
        "unseated": [run.unseated / run.ghosts for run in seen],
    }


def measure(setting: Setting) -> Claim:
    """See the module."""
    runs = setting.runs(TITLE.name, tuple(LAWS), run)
    ours, off, walk = runs.values()
    slots = np.array(ours[0]["slots"])
    logs = np.log2(slots)
    per_log = np.array([result["all"] for result in ours]) / logs
    ratio = figure("rounds over log2 N, largest zone over smallest", list(per_log[:, -1] / per_log[:, 0]), "")
    gain = [mine["local"][-1] - other["local"][-1] for mine, other in zip(ours, off, strict=True)]
    local_gain = mean_interval(gain)
    fast = ratio.high <= LOG_RATIO_MAX
    useful = local_gain[1] >= LOCAL_GAIN_MIN
    powers = [exponent(slots, [float(rounds) for rounds in result["all"]]) for result in ours]
    verdict = Verdict.REPRODUCED if fast and useful else Verdict.PARTLY if fast else Verdict.NOT
    largest = f"{slots[-1]:,} slots"
    at_end = [
        figure("exponent p, were they to grow as N^p", powers, ""),
        figure(f"rounds until the last is seated, {largest}", [float(result["all"][-1]) for result in ours], "rounds"),
        figure(f"rounds for 99 %, {largest}", [float(result["most"][-1]) for result in ours], "rounds"),
        figure("seated within 64 slots of the start", [100 * result["local"][-1] for result in ours], "%"),
    ]
    why = (
        f"rounds until the last is seated, over log2 N, change by a factor of {ratio.value:.2f} from {slots[0]:,} to"
        f" {largest}: they grow as N^{mean_interval(powers)[0]:.2f}, since the last of more is a rarer case; for 99"
        f" % of them {at_end[2].value:.1f} rounds do. It is the widening of regions that does it: with the field off"
        " much the same is seen, and the field changes the share that is seated within 64 slots of its start by"
        f" {100 * local_gain[0]:+.1f} points"
    )
    controls = [
        figure("no field: rounds until the last is seated", [float(result["all"][-1]) for result in off], "rounds"),
        figure("no field: seated within 64 slots of the start", [100 * result["local"][-1] for result in off], "%"),
        figure("random walk: without a seat at the end", [100 * result["unseated"][-1] for result in walk], "%"),
    ]
    how = (
        f"zones of {slots[0]:,} to {largest}, as many ghosts as slots, the daemon's laws of flight and search on the"
        f" real book; up to {TICKS_MAX} ticks; a random walk takes the slot below it or none;"
        f" {len(setting.seeds)} seeds"
    )
    lines = [_series(name, runs[name]) for name in ("field and widening", "no field")]
    plot = Plot("settling", "Rounds until the last is seated", "slots (as many ghosts)", "rounds", lines, log="x")
    return concluded(TITLE, [ratio, *at_end], controls, verdict, why, how, [plot])


def _series(name: str, results: list[Result]) -> Series:
    slots = [float(count) for count in results[0]["slots"]]
    ends = [mean_interval([float(result["all"][at]) for result in results]) for at in range(len(slots))]
    mean, low, high = ([end[part] for end in ends] for part in range(3))
    return Series(name, slots, mean, low, high)
