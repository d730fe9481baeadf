"""Claim: the field evens out heat, and that saves about 30 % of cooling energy (paper 2.6)."""

from collections.abc import Callable

from tegsim.claims.bootstrap import figure
from tegsim.claims.record import Claim, Figure, Plot, Series, Title, Verdict, concluded
from tegsim.claims.setting import Result, Setting
from tegsim.thermal import (
    GPUS,
    HOSTS,
    RISE_FULL_K,
    Cooled,
    Flight,
    Ghosts,
    Policy,
    Power,
    PricedHeat,
    Random,
    Scored,
    Uniform,
    coolest_first,
    least_recirculating,
    load,
)
from tegsim.thermal import run as cooled
from tegsim.traces import Servers, fan_law

SAVED_MIN = 25.0
"""In %, against an even spread: the paper says about 30, from a rise of the COP from 2.5 to 3.5 (28.6 %)."""

PARTLY_MIN = 5.0
"""Less than this an operator would not see beside the weather."""

TITLE = Title(
    "cooling",
    "Placement by the field saves cooling energy",
    "2.6",
    "homogenised heat moves the COP from 2.5 to 3.5: about 30 % of cooling energy",
    f"reproduced if the chillers take at least {SAVED_MIN:.0f} % less than with an even spread of the same work (lower"
    f" end of the interval, half load); partly from {PARTLY_MIN:.0f} %",
)
FANS = "fan/server_fan_power.csv"
SERVERS = ("gpuserver/cbsugpu05_usage_stats.tsv.gz", "gpuserver/cbsugpu08_usage_stats.tsv.gz")
TRACES = (*SERVERS, FANS)
POLICIES: dict[str, Callable[[int], Policy]] = {
    "TEG as built": lambda seed: Ghosts(seed, Flight()),
    "TEG, 10 s of flight first": lambda seed: Ghosts(seed, Flight(200)),
    "TEG, cold flight, heat alone": lambda seed: Ghosts(seed, Flight(200, 0.02, heat_only=True)),
    "TEG, classes priced by heat": lambda _seed: PricedHeat(),
    "even spread": lambda _seed: Uniform(),
    "random": Random,
    "coolest first": lambda _seed: Scored(coolest_first),
    "MinHR": lambda _seed: Scored(least_recirculating),
}
LOADS = (0.3, 0.5, 0.6)
HALF = LOADS.index(0.5)
BUSY_USE_MIN = 0.2
"""Hours in which a real GPU was used more than this are what jobs' use is drawn from."""


def run(setting: Setting, policy: str, seed: int) -> Result:
    """A day of the same work at each load."""
    paths = [path for name in SERVERS if (path := setting.file(name))]
    fans = setting.file(FANS)
    assert fans is not None
    servers = Servers(paths)
    power = Power(servers.power_law(), fan_law(fans), servers.heat_law())
    hours = setting.sized(8.0, 24.0)
    uses = servers.use[servers.use > BUSY_USE_MIN]
    ran: list[Cooled] = []
    for share in LOADS:
        jobs = load(hours, share, uses, seed)
        ran.append(cooled(POLICIES[policy](seed), jobs, hours, power, seed))
    return {
        "cooling": [one.cooling_kwh for one in ran],
        "other": [one.other_kwh for one in ran],
        "bound": [one.bound_kwh for one in ran],
        "cop": [one.cop for one in ran],
    }


def measure(setting: Setting) -> Claim:
    """See the module."""
    runs = setting.runs(TITLE.name, tuple(POLICIES), run)
    even = runs["even spread"]
    saved = {name: _saved(name, results, even, "cooling") for name, results in runs.items() if name != "even spread"}
    bound = _saved("linear programme, the bound", even, even, "bound")
    ours = saved["TEG as built"][HALF]
    verdict = Verdict.REPRODUCED if ours.low >= SAVED_MIN else Verdict.PARTLY if ours.low >= PARTLY_MIN else Verdict.NOT
    cop = figure("even spread: mean COP", [result["cop"][HALF] for result in even], "")
    best = max(saved[name][HALF].value for name in POLICIES if "flight" in name)
    reached = figure(
        "TEG as built: share of what the bound saves",
        [
            100 * (other["cooling"][HALF] - mine["cooling"][HALF]) / (other["cooling"][HALF] - other["bound"][HALF])
            for mine, other in zip(runs["TEG as built"], even, strict=True)
        ],
        "%",
    )
    why = (
        f"TEG saves {ours.value:+.1f} % beside an even spread, and at best {best:+.1f} % with longer and colder"
        f" flight; no placement of this work could save more than {bound[HALF].value:.0f} %, and MinHR, which knows"
        f" where heat comes back, saves {saved['MinHR'][HALF].value:.0f} %. A ghost asks where it starts and takes the"
        " first free slot there, so at half load the field is hardly felt; and S_phys tells where it is warm, which"
        " is where work is already, not whose heat comes back to the hottest inlet. With slot classes"
        " by recirculation, at reserves to match, the ledger's own choice of the cheapest slot saves"
        f" {saved['TEG, classes priced by heat'][HALF].value:.0f} %: prices can carry heat, the field as it is does not"
    )
    how = (
        f"{HOSTS} hosts of {GPUS} GPUs; power and temperature fitted to real servers, fans to published data; COP of"
        " the HP Utility Data Center; a recirculation matrix drawn by seed, not measured, that warms the hottest"
        f" inlet by {RISE_FULL_K:.0f} K at full load; jobs of one GPU, four hours on average, in a day's wave, never"
        f" moved; {len(setting.seeds)} seeds"
    )
    lines = [_line(name, figures) for name, figures in saved.items()] + [_line("the bound", bound)]
    plot = Plot(
        "cooling",
        "Cooling energy saved against an even spread",
        "GPUs in use on average, %",
        "energy of the chillers saved, %",
        lines,
    )
    others = [saved[name][HALF] for name in saved if not name.startswith("TEG")]
    rest = [saved[name][HALF] for name in saved if name.startswith("TEG") and name != "TEG as built"]
    return concluded(TITLE, [ours, *rest, reached], [bound[HALF], *others, cop], verdict, why, how, [plot])


def _saved(name: str, results: list[Result], even: list[Result], what: str) -> list[Figure]:
    """Saving at each load, in %, against an even spread of the same work."""
    return [
        figure(
            f"{name}: cooling energy saved",
            [100 * (1 - mine[what][at] / other["cooling"][at]) for mine, other in zip(results, even, strict=True)],
            "%",
        )
        for at in range(len(LOADS))
    ]


def _line(name: str, figures: list[Figure]) -> Series:
    x = [100 * share for share in LOADS]
    return Series(name, x, [f.value for f in figures], [f.low for f in figures], [f.high for f in figures])
