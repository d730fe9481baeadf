"""Public traces that claims replay: read as they are published, rows that do not parse passed over."""

import csv
import gzip
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SAMPLE_S = 57.0
"""Time between two samples of a container (gentd26)."""


class Container(NamedTuple):
    """What a container used: levels at even times, shape (n,), gaps held at the last; the first sample's number."""

    start: int
    levels: Floats


def containers(path: Path) -> list[Container]:
    """Every container of a trace, in the order of their names; samples are numbered from the trace's first.

    Args:
        path: A gzipped table with `value`, `timestamp_anon` (s) and `container_ip`, in any order of rows.
    """
    seen: dict[str, dict[int, float]] = defaultdict(dict)
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            level = _number(row.get("value"))
            at = _number(row.get("timestamp_anon"))
            if level is not None and at is not None:
                seen[row["container_ip"]][round(at / SAMPLE_S)] = max(0.0, level)
    first = min((min(levels) for levels in seen.values()), default=0)
    return [_even(levels, first) for _, levels in sorted(seen.items())]


def _even(levels: dict[int, float], first: int) -> Container:
    places = np.array(sorted(levels))
    known = np.array([levels[place] for place in places.tolist()])
    at = np.searchsorted(places, np.arange(places[0], places[-1] + 1), side="right") - 1
    return Container(int(places[0]) - first, known[at])


class Servers:
    """Hourly means of GPU servers: use of their GPUs, 0 to 1, power of each, W, and its temperature, deg C.

    Args:
        paths: Gzipped tables with `powerave`, `tempave` and `utilave` (%).
    """

    def __init__(self, paths: list[Path]) -> None:
        rows: list[tuple[float, float, float]] = []
        for path in paths:
            with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as lines:
                for row in csv.DictReader(lines, delimiter="\t"):
                    read = [_number(row.get(name)) for name in ("utilave", "powerave", "tempave")]
                    if None not in read:
                        use, power, heat = (value for value in read if value is not None)
                        rows.append((use / 100, power, heat))
        self.use, self.power_w, self.heat_c = np.array(rows).reshape(-1, 3).T

    def power_law(self) -> tuple[float, float]:
        """Idle power and what full use adds, W a GPU: least squares of power over use."""
        return _line(self.use, self.power_w)

    def heat_law(self) -> tuple[float, float]:
        """Temperature without power, deg C, and what a watt adds: least squares of temperature over power."""
        return _line(self.power_w, self.heat_c)


def fan_law(path: Path) -> tuple[float, float]:
    """Fan power of a server as a line over the server's: (W, W per W)."""
    with path.open(encoding="utf-8", newline="") as lines:
        rows = [(float(row["server power"]), float(row["fan power"])) for row in csv.DictReader(lines)]
    server, fan = np.array(rows).T
    return _line(server, fan)


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    slope, start = np.polyfit(x, y, 1)
    return float(start), float(slope)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if np.isfinite(value) else None
