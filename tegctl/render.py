"""What answers look like: tables for people, JSON with a schema version for programs."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from tegcore.units import MIB, credits_text

SCHEMA = 1

Column = tuple[str, Callable[[Mapping[str, Any]], Any]]


def money(key: str) -> Callable[[Mapping[str, Any]], str]:
    """A column of credits; empty for 0."""
    return lambda row: credits_text(row[key]) if row.get(key) else ""


def plain(key: str) -> Callable[[Mapping[str, Any]], Any]:
    """A column as it is; empty for 0 and nothing."""
    return lambda row: row.get(key) or ""


def mebibytes(key: str) -> Callable[[Mapping[str, Any]], str]:
    """A column of bytes, in MiB."""
    return lambda row: f"{row[key] // MIB}" if row.get(key) else ""


def seconds(key: str) -> Callable[[Mapping[str, Any]], str]:
    """A column of ticks, in seconds."""
    return lambda row: f"{row[key] / 20:.1f}" if row.get(key) else ""


def blocks(row: Mapping[str, Any]) -> str:
    """Where slots are: first to last of each block."""
    return " ".join(
        f"{base}" if log2 == 0 else f"{base}-{base + (1 << log2) - 1}" for base, log2 in row.get("blocks", [])
    )


def show(kind: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], output: str) -> None:
    """Print rows as `output` says: `table` or `json`."""
    if output == "json":
        show_json(kind, rows)
        return
    cells = [[str(read(row)) for _, read in columns] for row in rows]
    names = [name for name, _ in columns]
    if not sys.stdout.isatty():
        widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
        for line in (names, *cells):
            click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        return
    from rich.console import Console

    Console().print(table(rows, columns) if rows else "(none)")


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> Any:
    """Rows as a table of rich."""
    from rich.table import Table

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for name, _ in columns:
        drawn.add_column(name)
    for row in rows:
        drawn.add_row(*(str(read(row)) for _, read in columns))
    return drawn


def show_json(kind: str, items: Any) -> None:
    """Print the answer for programs."""
    body = {"schema": SCHEMA, "kind": kind, "items": items}
    click.echo(json.dumps(body, default=repr))
