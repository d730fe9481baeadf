"""Claim: second prices make the truth the best bid, where first prices breed shading (paper 2.2, 3.5.3)."""

import numpy as np

from tegsim.claims.bootstrap import figure, mean_intervals
from tegsim.claims.record import Claim, Figure, Plot, Series, Title, Verdict, concluded
from tegsim.claims.setting import Result, Setting
from tegsim.shading import (
    GRID,
    RESERVE_UCR,
    ZONE_LOG2,
    Crowd,
    Leased,
    Paid,
    equilibrium,
    first_price,
    gains,
    second_price,
    welfare,
)

REGRET_MAX = 1.0
"""Best lie over the truth, in % of a reserve per slot and auction: the grain of a bid is far below that."""

TRUTH_MIN = 0.99
"""Best responses have to stay within 1 % of the truth: the grid's step is 2.5 %."""

SHADED_MAX = 0.9
"""First prices count as shaded if bids come down by a tenth of what lies above the reserve."""

LOSS_MIN = 1.0
"""Shading counts as inefficient if it costs 1 % of what the winners' blocks are worth."""

TITLE = Title(
    "auction",
    "Second prices make honest bids the best bids",
    "2.2, 2.5, 3.5.3",
    "first-price auctions incentivise bid shading, leading to inefficient allocation; Vickrey's align with the truth",
    f"reproduced if under both rules of the ledger no factor gains more than {REGRET_MAX:.0f} % of a reserve over the"
    f" truth and best responses end at {TRUTH_MIN} or above, while first prices end at {SHADED_MAX} or below and lose"
    f" {LOSS_MIN:.0f} % of the winners' worth or more; partly if all but that loss holds",
)
SIZES = (0, 2, 3, 4)
EMPTY = [0] * ZONE_LOG2 + [1]
POLICIES = ("TEG, empty zone", "TEG, leased zone", "first price")


def _rule(policy: str, seed: int) -> Paid:
    match policy:
        case "TEG, empty zone":
            return second_price(EMPTY)
        case "TEG, leased zone":
            return Leased(seed)
        case _:
            return first_price(EMPTY)


def run(setting: Setting, policy: str, seed: int) -> Result:
    """Gains of each factor while all others are honest, and where best responses lead."""
    slow = policy == "TEG, leased zone"
    crowd = Crowd(SIZES, 24, setting.sized(30, 80) if slow else setting.sized(200, 400))
    paid = _rule(policy, seed)
    at_truth = gains(paid, crowd, dict.fromkeys(SIZES, 1.0), 7000 + seed)
    factors = equilibrium(paid, crowd, setting.sized(4, 5 if slow else 10), seed)
    return {
        "gain": np.mean([100 * gain / RESERVE_UCR for gain in at_truth.values()], axis=0).tolist(),
        "regret": max(100 * float(gain.max() - gain[GRID.index(1.0)]) / RESERVE_UCR for gain in at_truth.values()),
        "factors": [factors[size] for size in SIZES],
        "welfare": 100 * welfare(paid, crowd, factors, 9000 + seed),
    }


def measure(setting: Setting) -> Claim:
    """See the module."""
    runs = setting.runs(TITLE.name, POLICIES, run)
    figures = {name: _figures(name, results) for name, results in runs.items()}
    first = figures["first price"]
    honest = all(
        figures[name]["regret"].high <= REGRET_MAX and figures[name]["factor"].low >= TRUTH_MIN for name in POLICIES[:2]
    )
    shaded = first["factor"].high <= SHADED_MAX
    loss = 100 - first["welfare"].value
    costly = 100 - first["welfare"].high >= LOSS_MIN
    verdict = Verdict.NOT if not (honest and shaded) else Verdict.REPRODUCED if costly else Verdict.PARTLY
    why = (
        f"the best lie gains {max(figures[name]['regret'].value for name in POLICIES[:2]):.2g} % of a reserve under the"
        f" ledger's rules and {first['regret'].value:.0f} % under first prices, where bids end at"
        f" {first['factor'].value:.2f} of the truth. But since all shade much alike, that costs only {loss:.2g} % of"
        " the winners' worth: what first prices spoil is the price as a signal more than who wins. The truth is best"
        " within a tick and for the value alone; what naming another region gains, `make bench-ledger` measures"
    )
    how = (
        f"24 bidders for blocks of {', '.join(str(1 << size) for size in SIZES)} slots on {1 << ZONE_LOG2}, values of 1"
        " to 4 reserves; the ledger's own winners and prices (exact in an empty zone, by value per slot where half of"
        " it is leased), best responses by size on a grid of 2.5 %;"
        f" {len(setting.seeds)} seeds"
    )
    lines = []
    for name, results in runs.items():
        mean, low, high = mean_intervals(np.array([result["gain"] for result in results]))
        lines.append(Series(name, list(GRID), mean.tolist(), low.tolist(), high.tolist()))
    plot = Plot(
        "auction",
        "What a bidder gains while all others are honest",
        "its bid above the reserve, over its true value above it",
        "gain, % of a reserve, slot and auction",
        lines,
    )
    ours = [figure for name in POLICIES[:2] for figure in figures[name].values()]
    return concluded(TITLE, ours, list(first.values()), verdict, why, how, [plot])


def _figures(name: str, results: list[Result]) -> dict[str, Figure]:
    factors = [sum(result["factors"]) / len(SIZES) for result in results]
    return {
        "regret": figure(f"{name}: most that a lie gains", [result["regret"] for result in results], "% of a reserve"),
        "factor": figure(f"{name}: where best responses end, 1 = truth", factors, ""),
        "welfare": figure(f"{name}: winners' worth there, of honest", [result["welfare"] for result in results], "%"),
    }
