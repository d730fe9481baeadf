"""Claim: micro-bidders bleed to death by gas, hoarders by rent; who buys the right stride lives (paper 3.5.3)."""

import numpy as np

from tegcore import rng
from tegcore.economics.stride import best_stride, stride_cost
from tegsim.claims.bootstrap import figure, mean_interval
from tegsim.claims.record import Claim, Plot, Series, Title, Verdict, concluded
from tegsim.claims.setting import Result, Setting
from tegsim.stride import AGENTS, Need, Survival

SHORTER_MAX = 80.0
"""Both extremes may live at most this long, in % of the best stride's life, to say that they bleed to death."""

PARTLY_MAX = 95.0
"""Above that one would not notice within a few lives."""

BEST_WITHIN = 2.0
"""The stride that lives longest has to be within this factor of the closed form."""

TITLE = Title(
    "strides",
    "Micro-bidders and hoarders die out",
    "3.5.3",
    "timid agents bleed to death via friction, greedy ones via the holding tax; the stick-slip stride survives",
    "reproduced if, with purses alike, those who buy a sixteenth and sixteen times the closed form's stride live at"
    f" most {SHORTER_MAX:.0f} % as long as the longest-lived, whose stride is within a factor of {BEST_WITHIN:.0f} of"
    f" it; partly up to {PARTLY_MAX:.0f} %",
)
FACTORS = tuple(2.0 ** (step / 2) for step in range(-10, 11))
EXTREMES = (FACTORS.index(1 / 16), FACTORS.index(16.0))
TOTAL_GIB = 16.0
FLAT_GIB = 1 << 20
"""On a host this large the price (15) hardly moves with what is bought: the closed form is for a flat price."""

PRICE_UCR = 1_000_000
GAS_UCR = 31_250
"""So that the closed form's stride is 1 GiB: sixteen of them meet the need; the extremes buy it at once, or by 256."""

POLICIES = ("bought in strides",)


def run(setting: Setting, _policy: str, seed: int) -> Result:
    """Lives of one period each on the real engine, purses alike: how long each stride's lasts, over the longest."""
    need = Need(TOTAL_GIB, FLAT_GIB, round(PRICE_UCR * 0.95 * FLAT_GIB), GAS_UCR, setting.sized(256, 512))
    strides = best_stride(GAS_UCR, TOTAL_GIB, PRICE_UCR, 0.0) * np.array(FACTORS)
    each = AGENTS // len(FACTORS)
    jitter = np.exp(0.05 * rng.normal(seed, "stride", 0, np.arange(AGENTS))[:, 0])
    given = np.resize(np.repeat(strides, each), AGENTS) * jitter
    paid = np.zeros(len(FACTORS))
    for life in range(setting.sized(2, 4)):
        population = Survival(need, given, 100 * seed + life)
        population.generation(0.0)
        paid += np.array([population.paid_ucr[at * each : (at + 1) * each].mean() for at in range(len(FACTORS))])
    return {"life": (100 * paid.min() / paid).tolist()}


def measure(setting: Setting) -> Claim:
    """See the module."""
    results = setting.runs(TITLE.name, POLICIES, run)[POLICIES[0]]
    micro, hoard = (
        figure(f"{name}: life, of the longest", [one["life"][at] for one in results], "%")
        for name, at in zip(("micro-bidder (1/16)", "hoarder (16)"), EXTREMES, strict=True)
    )
    longest = figure("longest-lived stride, over the closed form", [_longest(one) for one in results], "")
    right = longest.low >= 1 / BEST_WITHIN and longest.high <= BEST_WITHIN
    worst = max(micro.high, hoard.high)
    verdict = (
        Verdict.REPRODUCED
        if right and worst <= SHORTER_MAX
        else Verdict.PARTLY
        if right and worst <= PARTLY_MAX
        else Verdict.NOT
    )
    why = (
        f"with purses alike, those who buy a sixteenth of the best stride live {micro.value:.0f} % as long, those who"
        f" buy sixteen times as much {hoard.value:.0f} %; the longest-lived stride is {longest.value:.2f} times the"
        " closed form's. It is gas and the rent of idle memory that does it: the ledger taxes idle rent of slots, not"
        " of memory"
    )
    how = (
        f"{AGENTS} workloads on hosts of their own, whose need grows evenly to {TOTAL_GIB:.0f} GiB in a period, bought"
        " from the real engine in strides of 1/32 to 32 times sqrt(2 gas r / p) at a flat price; the need itself"
        f" costs everyone the same; {len(setting.seeds)} seeds"
    )
    ends = [mean_interval([one["life"][at] for one in results]) for at in range(len(FACTORS))]
    mean, low, high = ([end[part] for end in ends] for part in range(3))
    line = Series("lives on the engine", list(FACTORS), mean, low, high)
    law = [100 * _law(1.0) / _law(factor) for factor in FACTORS]
    theory = Series("closed form", list(FACTORS), law)
    plot = Plot(
        "strides",
        "Life by stride, purses alike",
        "stride over the closed form's",
        "life, % of the longest",
        [line, theory],
        log="x",
    )
    return concluded(TITLE, [hoard, micro, longest], [], verdict, why, how, [plot])


def _law(factor: float) -> float:
    """Cost of a period: the need itself, half of it held on average, then gas and idleness in units of s* = 1."""
    stride = best_stride(GAS_UCR, TOTAL_GIB, PRICE_UCR, 0.0) * factor
    return float(PRICE_UCR * TOTAL_GIB / 2) + stride_cost(stride, GAS_UCR, TOTAL_GIB, PRICE_UCR, 0.0)


def _longest(result: Result) -> float:
    return float(FACTORS[int(np.argmax(result["life"]))])
