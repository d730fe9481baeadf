"""Plots of `claims.json` as SVG: the same bytes for the same data."""

import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from tegsim.claims.record import Plot, Series

STYLE: Any = {
    "svg.hashsalt": "teg",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(
        color=["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#8c6d31"]
    ),
}
"""Colours that colour-blind people can tell apart (Okabe and Ito); letters as outlines, whatever fonts there are."""

MARKERS = "osD^vPX*"
DASHES: list[Any] = [(0, (6, 3)), ":", "-."]
SIZE_INCHES = (7.2, 4.2)


def write(plot: Plot, folder: Path) -> Path:
    """Draw a plot into a file of its name."""
    path = folder / f"{plot.name}.svg"
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        FigureCanvasSVG(figure)
        _draw(plot, figure.subplots())
        figure.savefig(path, metadata={"Date": None, "Creator": None})
    return path


def _draw(plot: Plot, axes: Any) -> None:
    bars = [series for series in plot.series if series.style == "bars"]
    for place, series in enumerate(plot.series):
        if series.style == "bars":
            _bars(series, axes, bars.index(series), len(bars))
        elif series.style == "level":
            axes.axhline(series.y[0], color="#555555", linestyle=DASHES[place % 3], label=series.label)
        elif series.style == "mark":
            axes.axvline(series.x[0], color="#555555", linestyle=DASHES[place % 3], label=series.label)
        else:
            _line(series, axes, MARKERS[place % len(MARKERS)])
    for axis in plot.log:
        getattr(axes, f"set_{axis}scale")("symlog" if _has_zero(plot, axis) else "log", **_linear(plot, axis))
    if "y" in plot.log and _has_zero(plot, "y"):
        axes.set_ylim(bottom=0)
    if plot.ticks:
        axes.set_xticks(range(len(plot.ticks)), plot.ticks)
        axes.grid(visible=False, axis="x")
    axes.set_title(plot.title, loc="left", fontsize=11)
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(plot.y_label)
    if len(plot.series) > 1:
        axes.figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)


def _bars(series: Series, axes: Any, place: int, count: int) -> None:
    width = 0.8 / count
    x = [at + (place - (count - 1) / 2) * width for at in series.x]
    axes.bar(x, series.y, width=0.92 * width, label=series.label, yerr=_errors(series), capsize=3, ecolor="#333333")


def _line(series: Series, axes: Any, marker: str) -> None:
    points = series.style == "points"
    dense = len(series.x) > 40
    axes.plot(
        series.x,
        series.y,
        label=series.label,
        marker="" if dense and not points else marker,
        markersize=4.5,
        linestyle="" if points else "-",
        linewidth=1.6,
    )
    if series.low:
        axes.fill_between(series.x, series.low, series.high, alpha=0.18, color=axes.lines[-1].get_color(), linewidth=0)


def _errors(series: Series) -> list[list[float]] | None:
    if not series.low:
        return None
    down = [at - low for at, low in zip(series.y, series.low, strict=True)]
    up = [high - at for at, high in zip(series.y, series.high, strict=True)]
    return [down, up]


def _values(plot: Plot, axis: str) -> list[float]:
    if axis == "x":
        return [value for series in plot.series for value in series.x]
    return [value for series in plot.series for value in [*series.y, *series.low]]


def _has_zero(plot: Plot, axis: str) -> bool:
    return min(_values(plot, axis)) <= 0


def _linear(plot: Plot, axis: str) -> dict[str, float]:
    """A scale that has to show 0 is linear up to the smallest value above it."""
    if not _has_zero(plot, axis):
        return {}
    above = [value for value in _values(plot, axis) if value > 0]
    return {"linthresh": 10.0 ** math.floor(math.log10(min(above))) if above else 1.0}
