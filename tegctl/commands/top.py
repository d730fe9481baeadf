"""`tegctl top`: the whole zone, live."""

import sys
import time
from collections.abc import Mapping
from typing import Any

import click

from tegcore.wire import control
from tegctl import zone_view
from tegctl.commands import leases
from tegctl.render import Column, Fit, blocks, ends, hourly, plain, show_json, table, terminal_columns
from tegctl.session import Session

_WORDS = {"held": "running", "leaving": "leaving", "waiting": "pending"}


def _state(row: Mapping[str, Any]) -> str:
    """What a job is doing, as far as the ledger knows it."""
    word = _WORDS.get(row["state"], row["state"])
    return f"{word}: {row['reason']}" if row.get("reason") else word


JOBS = (
    Column("JOB", plain("job")),
    Column("TENANT", plain("tenant")),
    Column("STATE", _state, Fit.SHORT),
    Column("GPUS", plain("slots")),
    Column("HOST", lambda row: " ".join(row.get("seats", [])) or row["host"]),
    Column("SLOTS", blocks, Fit.SPARE),
    Column("ENDS IN", ends("ends_in_ticks"), Fit.SPARE),
)
PRICED = (*JOBS, Column("CR/GPU-H", hourly("price_ucr")))


@click.command(name="top")
@click.option("--every", type=click.FloatRange(0.2, 60), default=1.0, show_default=True, help="Seconds between looks.")
@click.option("--once", is_flag=True, help="Look once; also where the output is no terminal.")
@click.pass_obj
def command(session: Session, every: float, *, once: bool) -> None:
    """Hosts and jobs of the zone, as they are now."""
    if session.output == "json":
        show_json("Zone", _look(session))
        return
    if once or not sys.stdout.isatty():
        for line in _drawn(_look(session), terminal_columns() if sys.stdout.isatty() else 0):
            click.echo(line)
        return
    from rich.live import Live
    from rich.text import Text

    with Live(screen=True, auto_refresh=False) as live:
        while True:
            lines = [*_drawn(_look(session), live.console.width), "", "Ctrl-C ends"]
            live.update(Text("\n".join(lines), no_wrap=True), refresh=True)
            time.sleep(every)


def _look(session: Session) -> dict[str, Any]:
    """One look at one moment of the ledger."""
    zone: dict[str, Any] = session.ask("ledger", control.ZoneView())
    zone["held"] = leases.named(session, zone["held"])
    zone["held"].sort(key=lambda row: -row.get("price_ucr", 0))
    return zone


def _drawn(zone: dict[str, Any], width: int) -> list[str]:
    priced = zone["market"] != "fixed"
    hosts = zone_view.HOST_COLUMNS if priced else zone_view.PLAIN_COLUMNS
    jobs = PRICED if priced else JOBS
    held = table(zone["held"], jobs, width) if zone["held"] else ["(no jobs of yours hold slots)"]
    return [*zone_view.headline(zone, width), "", *table(zone["hosts"], hosts, width), "", *held]
