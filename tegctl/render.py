"""What answers look like: tables for people, JSON with a schema version for programs.

A table is as wide as it needs to be where the output is no terminal. On a terminal it keeps within its width: columns
that may be shortened are, down to `SHORT_MIN`, then columns that may be left out are left out. Names and amounts are
never cut: where they are too long for a line, the first column has a line of its own.
"""

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

import click

from tegcore.units import MIB, TICKS_PER_HOUR, TICKS_PER_S, UCR_PER_CREDIT, credits_text

SCHEMA = 1
SHORT_MIN = 10
_GAP = "  "


class Fit(Enum):
    """What may be done to a column where the table is too wide."""

    WHOLE = "nothing"
    SHORT = "its text may end in …"
    SPARE = "it may be left out"


class Column(NamedTuple):
    """One column of a table."""

    name: str
    read: Callable[[Mapping[str, Any]], Any]
    fit: Fit = Fit.WHOLE


AnyColumn = Column | tuple[str, Callable[[Mapping[str, Any]], Any]]


def money(key: str) -> Callable[[Mapping[str, Any]], str]:
    """A column of credits; empty for 0."""
    return lambda row: credits_text(row[key]) if row.get(key) else ""


def hourly(key: str) -> Callable[[Mapping[str, Any]], str]:
    """A column of prices per slot-period, in credits per GPU-hour, rounded up; empty for 0."""

    def read(row: Mapping[str, Any]) -> str:
        if not row.get(key) or not row.get("period_ticks"):
            return ""
        hour_ucr = -(-row[key] * TICKS_PER_HOUR // row["period_ticks"])
        step_ucr = UCR_PER_CREDIT // (100 if hour_ucr >= UCR_PER_CREDIT else 10_000)
        return credits_text(-(-hour_ucr // step_ucr) * step_ucr)

    return read


def plain(key: str) -> Callable[[Mapping[str, Any]], Any]:
    """A column as it is; empty for 0 and nothing."""
    return lambda row: row.get(key) or ""


def mebibytes(key: str) -> Callable[[Mapping[str, Any]], str]:
    """A column of bytes, in MiB."""
    return lambda row: f"{row[key] // MIB}" if row.get(key) else ""


def seconds(key: str) -> Callable[[Mapping[str, Any]], str]:
    """A column of ticks, in seconds."""
    return lambda row: f"{row[key] / 20:.1f}" if row.get(key) else ""


def age(key: str) -> Callable[[Mapping[str, Any]], str]:
    """A column of seconds as people say them: `45s`, `12m`, `3h05`, `2d04h`."""
    return lambda row: "" if row.get(key) is None else _said(row[key])


def ends(key: str) -> Callable[[Mapping[str, Any]], str]:
    """A column of ticks until an end, as people say them; `-` where nobody has said when."""
    return lambda row: "-" if row.get(key) is None else _said(row[key] // TICKS_PER_S)


def _said(length_s: int) -> str:
    minutes, hours = length_s // 60, length_s // 3600
    if minutes < 1:
        return f"{length_s}s"
    if hours < 1:
        return f"{minutes}m"
    return f"{hours}h{minutes % 60:02}" if hours < 24 else f"{hours // 24}d{hours % 24:02}h"


def blocks(row: Mapping[str, Any]) -> str:
    """Where slots are: first to last of each block."""
    return " ".join(
        f"{base}" if log2 == 0 else f"{base}-{base + (1 << log2) - 1}" for base, log2 in row.get("blocks", [])
    )


def show(kind: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[AnyColumn], output: str) -> None:
    """Print rows as `output` says: `table` or `json`."""
    if output == "json":
        show_json(kind, rows)
        return
    on_terminal = sys.stdout.isatty()
    if on_terminal and not rows:
        click.echo("(none)")
        return
    for line in table(rows, columns, terminal_columns() if on_terminal else 0):
        click.echo(line)


def terminal_columns() -> int:
    """How wide the terminal is."""
    return shutil.get_terminal_size().columns


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[AnyColumn], width: int = 0) -> list[str]:
    """The lines of a table, names first.

    Args:
        rows: What it shows.
        columns: In order.
        width: Most letters of a line; 0: as many as it takes.
    """
    shown = [Column(*column) for column in columns]
    cells = [[str(column.read(row)) for column in shown] for row in rows]
    lines = [[column.name for column in shown], *cells]
    while width:
        over = _widths_sum(lines) - width
        spare = [place for place, column in enumerate(shown) if column.fit is Fit.SPARE]
        if over <= 0:
            break
        if over > sum(max(0, each - SHORT_MIN) for each in _shortable(shown, lines).values()) and spare:
            del shown[spare[-1]]
            for line in lines:
                del line[spare[-1]]
            continue
        _shorten(lines, _shortable(shown, lines), over)
        break
    over = _widths_sum(lines) - width if width else 0
    if over > len(lines[0]) - 1:
        return _on_two_lines(lines)
    return [_joined(line, _widths(lines), _GAP if over <= 0 else " ") for line in lines]


def _widths(lines: list[list[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*lines, strict=True)]


def _widths_sum(lines: list[list[str]]) -> int:
    return sum(_widths(lines)) + len(_GAP) * (len(lines[0]) - 1)


def _joined(line: list[str], widths: list[int], gap: str = _GAP) -> str:
    return gap.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _shortable(columns: list[Column], lines: list[list[str]]) -> dict[int, int]:
    widths = _widths(lines)
    return {place: widths[place] for place, column in enumerate(columns) if column.fit is Fit.SHORT}


def _shorten(lines: list[list[str]], widths: dict[int, int], over: int) -> None:
    """Take so many letters from columns, the widest first."""
    for place, width in sorted(widths.items(), key=lambda each: -each[1]):
        room = max(min(width, SHORT_MIN), width - over)
        over -= width - room
        for line in lines:
            if len(line[place]) > room:
                line[place] = line[place][: room - 1].rstrip() + "…"


def _on_two_lines(lines: list[list[str]]) -> list[str]:
    """The first column on a line of its own, the others below it; what is too wide even so goes over."""
    widths = _widths([line[1:] for line in lines])
    return [part for line in lines for part in (line[0], f"{_GAP}{_joined(line[1:], widths)}")]


def show_json(kind: str, items: Any) -> None:
    """Print the answer for programs."""
    body = {"schema": SCHEMA, "kind": kind, "items": items}
    click.echo(json.dumps(body, default=repr))
