"""Claim: the governor sees deadlock and herd as phases, and dissolves them by its rates (paper 1.4, 3.7)."""

from tegsim.claims.bootstrap import figure
from tegsim.claims.record import Claim, Figure, Plot, Series, Title, Verdict, concluded
from tegsim.claims.setting import Result, Setting
from tegsim.phases import PERIOD_TICKS, PHASES, PURSE_PERIODS, scene

SEEN_MAX = 3 * PERIOD_TICKS
"""Ticks: a phase has to be named within three of the governor's epochs."""

HALVED = 0.5
"""Left in half of the time that it takes without: the least that "dissolves" could mean."""

SOONER = 0.95
"""Sooner by more than seeds differ."""

TITLE = Title(
    "phases",
    "The governor sees and dissolves deadlock and herd",
    "1.4, 3.7",
    "macro-order parameters induce a phase transition, physically dissolving deadlocks",
    f"reproduced if in every run both are named within {SEEN_MAX} ticks and, under the governor, left in at most"
    f" {HALVED} of the time that it takes with g = 0; partly if both are named and one is left sooner (at most"
    f" {SOONER})",
)
POLICIES = ("governor", "g = 0")
SCENES = tuple(PHASES)
TICKS = {"deadlock": 2400, "herd": 800}


def run(_setting: Setting, policy: str, seed: int) -> Result:
    """Both scenes."""
    found: Result = {}
    for name in SCENES:
        passed = scene(name, policy == "governor", TICKS[name], seed)
        found[f"{name} seen"] = passed.seen if passed.seen >= 0 else TICKS[name]
        found[f"{name} left"] = passed.left
        found[f"{name} g"] = passed.g
    return found


def measure(setting: Setting) -> Claim:
    """See the module."""
    governed, free = setting.runs(TITLE.name, POLICIES, run).values()
    ratios = {
        name: figure(
            f"{name}: time until it is left, over that with g = 0",
            [mine[f"{name} left"] / other[f"{name} left"] for mine, other in zip(governed, free, strict=True)],
            "",
        )
        for name in SCENES
    }
    seen = [
        figure(f"{name}: named after", [float(one[f"{name} seen"]) for one in governed], "ticks") for name in SCENES
    ]
    named = all(one[f"{name} seen"] <= SEEN_MAX for one in governed for name in SCENES)
    halved = all(ratio.high <= HALVED for ratio in ratios.values())
    sooner = any(ratio.high <= SOONER for ratio in ratios.values())
    verdict = Verdict.REPRODUCED if named and halved else Verdict.PARTLY if named and sooner else Verdict.NOT
    g = figure("deadlock: greatest g", [one["deadlock g"] for one in governed], "")
    why = (
        f"both are named within {max(figure.high for figure in seen):.0f} ticks, at the first epoch. The deadlock is"
        f" left in {ratios['deadlock'].value:.2f} of the time that it takes with g = 0, the herd in"
        f" {ratios['herd'].value:.2f}. What ends a deadlock is that purses drain: once they no longer carry their"
        f" limits, those who wait outbid them, and at g = {g.value:.1f} the holding tax hastens that a little. Holders"
        " pay the reserve until then, since a refused bid challenges only the cheapest block, one of them all. What"
        " ends a herd is that ghosts back off"
    )
    how = (
        "16 slots, cores of ledger, daemon and governor as they are, tax and friction as shipped, periods and epochs"
        f" of {PERIOD_TICKS} ticks; deadlock: every slot held idle on a purse for {PURSE_PERIODS} periods at the limit"
        f" while 15 wait who bid three quarters; herd: 120 ask for a full zone; {len(setting.seeds)} seeds"
    )
    left = {
        policy: [
            figure(f"{policy}, {name}: ticks until it is left", [float(one[f"{name} left"]) for one in results], "")
            for name in SCENES
        ]
        for policy, results in (("governor", governed), ("g = 0", free))
    }
    bars = [_bars(policy, figures) for policy, figures in left.items()]
    plot = Plot("phases", "How long a phase lasts once it is named", "scene", "ticks", bars, list(SCENES))
    return concluded(TITLE, [*ratios.values(), *seen, g, *left["governor"]], left["g = 0"], verdict, why, how, [plot])


def _bars(policy: str, figures: list[Figure]) -> Series:
    places = [float(at) for at in range(len(figures))]
    values = [figure.value for figure in figures]
    return Series(
        policy, places, values, [figure.low for figure in figures], [figure.high for figure in figures], "bars"
    )
