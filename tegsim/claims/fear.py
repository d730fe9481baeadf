"""Claim: just-in-time bids end the fear premium and free about a quarter of stranded capacity (paper 2.5)."""

import numpy as np

from tegsim.claims.bootstrap import figure, mean_interval, mean_intervals
from tegsim.claims.record import Claim, Figure, Plot, Series, Title, Verdict, concluded
from tegsim.claims.setting import Result, Setting
from tegsim.fear import (
    HOST_CONTAINERS,
    HOUR,
    TRIAL,
    Host,
    Overcommitted,
    halves,
    hindsight,
    hourly,
    long_enough,
    shared,
    static,
)
from tegsim.traces import Container, containers

FREED_MIN = 25.0
"""In % of what was requested: the paper's figure."""

PARTLY_MIN = 10.0
"""Less is within what a mere 10 % off every request would free."""

STALLED_MAX = 0.1
"""Container-time in which work may stand still, in %: about a minute and a half a day, as much as a restart costs."""

TITLE = Title(
    "fear",
    "Just-in-time bids free stranded memory",
    "2.5",
    "the fear premium goes to 0, which releases about 25 % of stranded capacity",
    f"reproduced if hosts with at least {FREED_MIN:.0f} % less memory than was requested (lower end) serve the same"
    f" work without a kill and with work standing still for at most {STALLED_MAX} % of container-time; partly from"
    f" {PARTLY_MIN:.0f} %",
)
MEMORY = "gentd26/pod_memory_util_anon.csv.gz"
GPU_MEMORY = "gentd26/pod_gpu_memory_used_bytes_anon.csv.gz"
TRACES = (MEMORY, GPU_MEMORY)
POLICIES = ("TEG", "overcommitted", "users")
LOSS_HOURS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
"""What a kill loses, in hours of rent: users of static requests choose by it."""

USUAL_LOSS = LOSS_HOURS.index(100.0)
HEADROOMS = (0.0, 0.05, 0.2, 0.5, 1.0)
"""What a user of TEG may add to the predicted working set; the daemon adds 5 %."""


def run(setting: Setting, policy: str, seed: int) -> Result:
    """Hosts with less and less memory; or users of static requests, by what a kill loses them."""
    path = setting.file(MEMORY)
    gpus = setting.file(GPU_MEMORY)
    assert path is not None
    assert gpus is not None
    found = long_enough(containers(path))
    if policy == "users":
        return _users(found, long_enough(containers(gpus)), seed)
    host = Host if policy == "TEG" else Overcommitted
    shares = [0.05 * step for step in range(2, setting.sized(10, 12))]
    ran = [shared(host, found, freed, seed, 0.05) for freed in shares]
    result: Result = {
        "freed": [100 * one.freed for one in ran],
        "kills": [one.kills for one in ran],
        "stalled": [100 * one.stalled for one in ran],
    }
    if policy == "TEG":
        tried = [shared(Host, found, FREED_MIN / 100, seed, headroom) for headroom in HEADROOMS]
        result["costs"] = [one.cost + LOSS_HOURS[USUAL_LOSS] * one.stalled for one in tried]
    return result


def _users(found: list[Container], on_gpus: list[Container], seed: int) -> Result:
    known, replayed = halves(found, seed)
    life = [static(known, replayed, loss) for loss in LOSS_HOURS]
    hours = [hourly(known, replayed, loss) for loss in LOSS_HOURS]
    peaks = np.array([one.levels.max() for one in replayed])
    use = sum(float(one.levels.sum()) for one in on_gpus)
    return {
        "quota freed": [100 * float(one.freed) for one, _ in life],
        "quota kills": [one.kills for one, _ in life],
        "quota margin": [100 * alpha for _, alpha in life],
        "first price freed": [100 * float(one.freed) for one, _ in hours],
        "first price kills": [one.kills for one, _ in hours],
        "first price margin": [100 * alpha for _, alpha in hours],
        "hindsight": [100 * hindsight(replayed, margin) for margin in (0.0, 0.1, 0.2)],
        "asked": float(np.median(100 * (1 / np.maximum(0.05, peaks) - 1))),
        "gpu": 100 * (1 - use / sum(len(one.levels) * float(one.levels.max()) for one in on_gpus)),
    }


def measure(setting: Setting) -> Claim:
    """See the module."""
    teg, killed, users = setting.runs(TITLE.name, POLICIES, run).values()
    ours = figure(f"memory freed, no kill, standing still at most {STALLED_MAX} %", [_freed(one) for one in teg], "%")
    plain = figure("overcommitted, OOM killer: freed without a kill", [_unkilled(one) for one in killed], "%")
    margin = [100 * HEADROOMS[int(np.argmin(one["costs"]))] for one in teg]
    verdict = Verdict.REPRODUCED if ours.low >= FREED_MIN else Verdict.PARTLY if ours.low >= PARTLY_MIN else Verdict.NOT
    usual = {name: figure(text, [one[name][USUAL_LOSS] for one in users], unit) for name, text, unit in _USERS}
    bound, ten, twenty = ([one["hindsight"][at] for one in users] for at in range(3))
    why = (
        f"hosts can have {ours.value:.0f} % less memory than was requested before work stands still for more than"
        f" {STALLED_MAX} % of its time, and none is killed. Much of that is pooling: hosts that simply overcommit have"
        f" no kill up to {plain.value:.0f} % either, and what TEG adds is that beyond it work waits, where an OOM"
        " killer ends it (and is taken to cost five minutes, not the work that is lost). A user who loses 100 hours'"
        f" rent by a kill adds {usual['quota margin'].value:.0f} % to a static request,"
        f" {usual['first price margin'].value:.0f} % to an hourly one at first prices, and under TEG"
        f" {mean_interval(margin)[0]:.0f} % beyond the predicted working set is cheapest, at the replay's grain of 57"
        " s. GPU memory comes whole with its slot, so of it TEG frees none"
    )
    how = (
        f"causal replay of measured memory use ({MEMORY}), after a trial of {TRIAL // HOUR} hours, {HOST_CONTAINERS}"
        " containers a host, drawn by seed; purchases, stride and price by the daemon's and the ledger's own laws, 5"
        " % of each host never sold. The airlock is modelled (frozen work leaves a third behind): that it does not"
        " kill is by construction here, and measured on real kernels by `make bench-oom`. Users know the past of half"
        f" of the containers, and are replayed on the others; {len(setting.seeds)} seeds"
    )
    baselines = [
        plain,
        figure("hindsight: each had asked for its own peak", bound, "%"),
        figure("hindsight and 10 %", ten, "%"),
        figure("hindsight and 20 %", twenty, "%"),
        *usual.values(),
        figure("as requested: margin over own peak, median", [one["asked"] for one in users], "%"),
        figure("GPU memory: between peak and mean use, not freed", [one["gpu"] for one in users], "%"),
    ]
    at_25 = teg[0]["freed"].index(next(share for share in teg[0]["freed"] if share > FREED_MIN - 0.1))
    more: list[Figure] = [
        figure("standing still at 25 % freed", [one["stalled"][at_25] for one in teg], "% of time"),
        figure("cheapest margin of a user", margin, "%"),
    ]
    return concluded(TITLE, [ours, *more], baselines, verdict, why, how, _plots(teg, killed, users))


_USERS = (
    ("quota freed", "static request, kill = 100 h rent: freed", "%"),
    ("quota kills", "static request: kills per 1,000 container-hours", ""),
    ("quota margin", "static request: margin that users choose", "%"),
    ("first price freed", "first price, hourly: freed", "%"),
    ("first price kills", "first price, hourly: kills per 1,000 container-hours", ""),
    ("first price margin", "first price, hourly: margin that users choose", "%"),
)


def _freed(result: Result) -> float:
    """The most that was freed, of what was tried, before work stood still for too long."""
    fine = [
        share
        for share, stalled, kills in zip(result["freed"], result["stalled"], result["kills"], strict=True)
        if stalled <= STALLED_MAX and kills == 0
    ]
    return max(fine, default=0.0)


def _unkilled(result: Result) -> float:
    return max(
        (share for share, kills in zip(result["freed"], result["kills"], strict=True) if kills == 0), default=0.0
    )


def _plots(teg: list[Result], killed: list[Result], users: list[Result]) -> list[Plot]:
    hindsights = [mean_interval([one["hindsight"][at] for one in users])[0] for at in range(3)]
    marks = [
        Series(f"hindsight, {also}: {freed:.0f} %", [freed], [], style="mark")
        for freed, also in zip(hindsights, ("own peak", "10 % more", "20 % more"), strict=True)
    ]
    x = [float(share) for share in teg[0]["freed"]]
    ends = [
        _series("overcommitted, OOM killer", x, killed, "kills"),
        _series("TEG, airlock", x, teg, "kills"),
        *(
            _users_line(name, label, users)
            for name, label in (("quota", "static"), ("first price", "hourly, first price"))
        ),
    ]
    kills = Plot(
        "fear-kills",
        "Kills by memory freed (users: by what a kill loses them, 1 to 3,000 h of rent)",
        "memory freed, % of what was requested",
        "kills per 1,000 container-hours",
        [*ends, *marks],
        log="y",
    )
    stalled = Plot(
        "fear-stalled",
        "Work that stands still, by memory freed",
        "memory freed, % of what was requested",
        "container-time standing still, %",
        [
            _series("TEG: no memory, or frozen", x, teg, "stalled"),
            _series("overcommitted: restarting", x, killed, "stalled"),
            Series(f"limit of the rule: {STALLED_MAX} %", [], [STALLED_MAX], style="level"),
        ],
        log="y",
    )
    return [kills, stalled]


def _series(label: str, x: list[float], results: list[Result], what: str) -> Series:
    mean, low, high = mean_intervals(np.array([one[what] for one in results]))
    return Series(label, x, mean.tolist(), low.tolist(), high.tolist())


def _users_line(name: str, label: str, users: list[Result]) -> Series:
    freed, _, _ = mean_intervals(np.array([one[f"{name} freed"] for one in users]))
    kills, low, high = mean_intervals(np.array([one[f"{name} kills"] for one in users]))
    return Series(f"users: {label}", freed.tolist(), kills.tolist(), low.tolist(), high.tolist())
