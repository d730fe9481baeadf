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
        name: figure(f"{name}: time until it is left, over that with g = 0", quotients, "")
        for name in SCENES
        if (quotients := _quotients(name, governed, free))
    }
    named = {name: figure(f"{name}: runs in which it is named in time", _named(name, governed), "%") for name in SCENES}
    seen = [
        figure(f"{name}: named after, where it is", [float(one[f"{name} seen"]) for one in found], "ticks")
        for name in SCENES
        if (found := [one for one in governed if one[f"{name} seen"] < TICKS[name]])
    ]
    all_named = all(share.low == 100 for share in named.values())
    halved = len(ratios) == len(SCENES) and all(ratio.high <= HALVED for ratio in ratios.values())
    sooner = any(ratio.high <= SOONER for ratio in ratios.values())
    verdict = Verdict.REPRODUCED if all_named and halved else Verdict.PARTLY if all_named and sooner else Verdict.NOT
    g = figure("deadlock: greatest g", [one["deadlock g"] for one in governed], "")
    why = (
        f"the deadlock is named in time in {named['deadlock'].value:.0f} % of the runs, the herd in"
        f" {named['herd'].value:.0f} %: who waits is told of room and no longer counts in Re, so a crowd that asks for"
        " a full zone is turbulent only by its own asking again, once a period. Where they are"
        f" named, they are left in {_text(ratios, 'deadlock')} and {_text(ratios, 'herd')} of the time that it takes"
        " with g = 0. What ends a deadlock is that purses drain: once they no longer carry their limits, those who"
        f" wait outbid them, and at g = {g.value:.1f} the holding tax hastens that a little. Holders pay the reserve"
        " until then, since a refused bid challenges only the cheapest block, one of them all. What ends a herd is"
        " that they wait"
    )
    how = (
        "16 slots, cores of ledger, daemon and governor as they are, tax and friction as shipped, periods and epochs"
        f" of {PERIOD_TICKS} ticks; deadlock: every slot held idle on a purse for {PURSE_PERIODS} periods at the limit"
        f" while 15 wait who bid three quarters; herd: 120 ask for a full zone; {len(setting.seeds)} seeds"
    )
    left = {
        policy: [
            figure(f"{policy}, {name}: ticks until it is left, 0 if never named", _left(name, results), "")
            for name in SCENES
        ]
        for policy, results in (("governor", governed), ("g = 0", free))
    }
    bars = [_bars(policy, figures) for policy, figures in left.items()]
    plot = Plot("phases", "How long a phase lasts once it is named", "scene", "ticks", bars, list(SCENES))
    return concluded(
        TITLE,
        [*ratios.values(), *named.values(), *seen, g, *left["governor"]],
        left["g = 0"],
        verdict,
        why,
        how,
        [plot],
    )


def _quotients(name: str, governed: list[Result], free: list[Result]) -> list[float]:
    """Time until it is left over that without the governor, of runs in which it was named in both."""
    pairs = zip(governed, free, strict=True)
    return [
        mine[f"{name} left"] / other[f"{name} left"]
        for mine, other in pairs
        if max(mine[f"{name} seen"], other[f"{name} seen"]) < TICKS[name]
    ]


def _left(name: str, results: list[Result]) -> list[float]:
    """Ticks until it was left, 0 where it was never named."""
    return [float(one[f"{name} left"]) if one[f"{name} seen"] < TICKS[name] else 0.0 for one in results]


def _named(name: str, results: list[Result]) -> list[float]:
    return [100.0 * (one[f"{name} seen"] <= SEEN_MAX) for one in results]


def _text(ratios: dict[str, Figure], name: str) -> str:
    return f"{ratios[name].value:.2f}" if name in ratios else "none"


def _bars(policy: str, figures: list[Figure]) -> Series:
    places = [float(at) for at in range(len(figures))]
    values = [figure.value for figure in figures]
    return Series(
        policy, places, values, [figure.low for figure in figures], [figure.high for figure in figures], "bars"
    )
