"""Memory, zRAM and what each workload does over time: policies side by side, a figure a scenario."""

from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bench.oom.results import NAMES

STATES = {"r": ("runs", "#4c9f70"), "p": ("held in parts", "#e0b040"), "f": ("frozen", "#4878b0")}
KILLED, SAVED = "#c04040", "#202020"


def draw(runs: list[dict[str, Any]], folder: Path) -> list[Path]:
    """One SVG a scenario, of the first run under each policy."""
    folder.mkdir(parents=True, exist_ok=True)
    mpl.rcParams["svg.hashsalt"] = "teg"
    drawn = []
    for scenario, group in groupby(runs, key=lambda run: run["result"]["scenario"]):
        firsts = {run["result"]["policy"]: run for run in reversed(list(group)) if run["samples"]}
        if firsts:
            path = folder / f"oom-{scenario.lower()}.svg"
            figure(scenario, list(reversed(firsts.values()))).savefig(path, metadata={"Date": None})
            drawn.append(path)
    return drawn


def figure(scenario: str, runs: list[dict[str, Any]]) -> Figure:
    """A column a policy: memory above, workloads below."""
    count = len(runs[0]["workloads"])
    drawn = Figure(figsize=(3.2 * len(runs), 3.2 + 0.3 * count), layout="constrained")
    axes = drawn.subplots(2, len(runs), sharex=True, sharey="row", squeeze=False, height_ratios=(3, 0.5 + 0.4 * count))
    for column, run in enumerate(runs):
        _memory(axes[0][column], run)
        _lives(axes[1][column], run)
        axes[0][column].set_title(NAMES.get(run["result"]["policy"], run["result"]["policy"]), fontsize=10)
        axes[1][column].set_xlabel("s")
    axes[0][0].set_ylabel("MiB")
    axes[0][0].legend(fontsize=7, loc="upper right")
    keys: list[Patch | Line2D] = [Patch(color=color, label=label) for label, color in STATES.values()]
    for label, marker, color in (("ended, work lost", "x", KILLED), ("saved and ended", "s", SAVED)):
        keys.append(Line2D([], [], marker=marker, color=color, linestyle="", markersize=5, label=label))
    drawn.legend(handles=keys, loc="outside lower center", ncols=len(keys), fontsize=7)
    drawn.suptitle(scenario, fontsize=10)
    return drawn


def _memory(axis: Any, run: dict[str, Any]) -> None:
    times = [sample[0] for sample in run["samples"]]
    for column, label, color in (
        (1, "available", "#333333"),
        (2, "in zRAM", "#8060a0"),
        (3, "taken by zRAM", "#c090d0"),
    ):
        axis.plot(times, [sample[column] for sample in run["samples"]], label=label, color=color, linewidth=1)
    kills = [later[0] for sample, later in pairwise(run["samples"]) if later[5] > sample[5]]
    for at in kills:
        axis.axvline(at, color=KILLED, linewidth=1)
    axis.set_ylim(bottom=0)


def _lives(axis: Any, run: dict[str, Any]) -> None:
    names = [f"{work['name']}{' *' if work['role'] == 'strong' else ''}" for work in run["workloads"]]
    for number in range(len(names)):
        states = [(sample[0], sample[6][number][2]) for sample in run["samples"]]
        for state, spell in groupby(states, key=lambda one: one[1]):
            if state in STATES:
                times = [one[0] for one in spell]
                axis.barh(number, times[-1] - times[0] + 0.25, left=times[0], color=STATES[state][1], height=0.6)
        ends = [at for (at, state), (_, after) in pairwise(states) if state in STATES and after == "e"]
        for at in ends[:-1]:
            lost = run["result"]["lost_units"] > 0
            axis.plot(at, number, marker="x" if lost else "s", color=KILLED if lost else SAVED, markersize=5)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.invert_yaxis()
