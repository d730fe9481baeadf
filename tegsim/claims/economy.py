"""Claim: credits that evaporate keep prices steady and wealth spread; recycled ones inflate (paper 3.5.3)."""

import numpy as np

from tegsim.claims.bootstrap import figure, mean_intervals
from tegsim.claims.record import Claim, Plot, Series, Title, Verdict, concluded
from tegsim.claims.setting import Result, Setting
from tegsim.economy import INCOME_RESERVES, JOB_PERIODS, OWNERS, TENANTS, TERMS, economy

STEADY_MAX = 15.0
"""Money in the last quarter may differ from the quarter before by this much, in %: prices do not drift away."""

INFLATION_MIN = 25.0
"""Where credits are recycled, money has to grow by this much over the same quarter, in %, to call it inflation."""

GINI_RISE_MAX = 0.05
"""Concentration may rise by this much from start to end: more would be seen in who can bid at all."""

TITLE = Title(
    "economy",
    "Evaporation prevents inflation and concentration",
    "3.5.3",
    "recycled tokens lead to inflation and heat death; evaporation keeps the system open",
    f"reproduced if with evaporation money changes by at most {STEADY_MAX:.0f} % over the last quarter and the Gini"
    f" coefficient rises by at most {GINI_RISE_MAX}, while recycled to all alike money grows by at least"
    f" {INFLATION_MIN:.0f} %; partly if all but the Gini holds",
)
POLICIES = {"evaporated": "nobody", "recycled to all alike": "all", "recycled to owners": "owners"}
EVERY = 5


def run(setting: Setting, policy: str, seed: int) -> Result:
    """Periods of one economy."""
    seen = economy(POLICIES[policy], setting.sized(600, 800), seed)
    quarter = len(seen.money) // 4
    last, before = (float(np.mean(part)) for part in (seen.money[-quarter:], seen.money[-2 * quarter : -quarter]))
    return {
        "drift": 100 * (last / before - 1),
        "rise": float(seen.gini[-quarter:].mean() - seen.gini[0]),
        "gini": seen.gini[::EVERY].tolist(),
        "money": seen.money[::EVERY].tolist(),
        "price": seen.price[::EVERY].tolist(),
    }


def measure(setting: Setting) -> Claim:
    """See the module."""
    runs = setting.runs(TITLE.name, tuple(POLICIES), run)
    drifts = {
        name: figure(f"{name}: money, last quarter over the one before", [one["drift"] for one in results], "%")
        for name, results in runs.items()
    }
    rises = {
        name: figure(f"{name}: Gini coefficient, rise from the start", [one["rise"] for one in results], "")
        for name, results in runs.items()
    }
    prices = [
        figure(f"{name}: rent of a slot at the end", [one["price"][-1] for one in results], "reserves")
        for name, results in runs.items()
    ]
    ginis = [
        figure(f"{name}: Gini coefficient at the end", [one["gini"][-1] for one in results], "")
        for name, results in runs.items()
    ]
    ours, alike = drifts["evaporated"], drifts["recycled to all alike"]
    steady = ours.low >= -STEADY_MAX and ours.high <= STEADY_MAX and alike.low >= INFLATION_MIN
    spread = rises["evaporated"].high <= GINI_RISE_MAX
    verdict = Verdict.NOT if not steady else Verdict.REPRODUCED if spread else Verdict.PARTLY
    why = (
        f"money changes by {ours.value:+.1f} % over the last quarter where it evaporates, and by {alike.value:+.0f} %"
        f" where it comes back to all alike. The Gini coefficient goes by {rises['evaporated'].value:+.2f} with"
        f" evaporation and by {rises['recycled to owners'].value:+.2f} where owners of hosts are paid: it is whom it"
        " is paid to that concentrates wealth, since recycled to all alike it spreads even more"
    )
    how = (
        f"{TENANTS} tenants, each with an income of {INCOME_RESERVES} reserves a period and a fortune of its own at"
        f" the start, for {1 << 2 * TERMS.zone_k} slots, {JOB_PERIODS} periods at a time, bidding what their account"
        f" carries; real engine and accounts; owners: {OWNERS} of them; {len(setting.seeds)} seeds"
    )
    plots = [
        _plot("economy-price", "Rent of a slot", "reserves", runs, "price"),
        _plot("economy-gini", "Concentration of wealth", "Gini coefficient", runs, "gini"),
    ]
    figures = [ours, rises["evaporated"], prices[0], ginis[0]]
    names = list(POLICIES)[1:]
    rest = [*(drifts[name] for name in names), *(rises[name] for name in names), *prices[1:], *ginis[1:]]
    return concluded(TITLE, figures, rest, verdict, why, how, plots)


def _plot(name: str, title: str, label: str, runs: dict[str, list[Result]], what: str) -> Plot:
    lines = []
    for policy, results in runs.items():
        mean, low, high = mean_intervals(np.array([one[what] for one in results]))
        periods = [float(EVERY * at) for at in range(len(mean))]
        lines.append(Series(policy, periods, mean.tolist(), low.tolist(), high.tolist()))
    return Plot(name, title, "periods", label, lines, log="y" if what == "price" else "")
