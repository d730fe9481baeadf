"""`tegctl top`: the whole zone, live."""

import sys
import time
from typing import Any

import click

from tegcore.wire import control
from tegctl import zone_view
from tegctl.commands import leases
from tegctl.render import show, show_json, table
from tegctl.session import Session


@click.command(name="top")
@click.option("--every", type=click.FloatRange(0.2, 60), default=1.0, show_default=True, help="Seconds between looks.")
@click.option("--once", is_flag=True, help="Look once; also where the output is no terminal.")
@click.pass_obj
def command(session: Session, every: float, *, once: bool) -> None:
    """Hosts and leases of the zone, as they are now."""
    if session.output == "json":
        ledger, hosts, held = _look(session)
        show_json("Zone", {"ledger": ledger, "hosts": hosts, "leases": held})
        return
    if once or not sys.stdout.isatty():
        ledger, hosts, held = _look(session)
        click.echo(zone_view.headline(ledger, hosts))
        show("Hosts", hosts, zone_view.HOST_COLUMNS, session.output)
        show("Leases", held, leases.COLUMNS, session.output)
        return
    from rich.console import Group
    from rich.live import Live

    with Live(screen=True, auto_refresh=False) as live:
        while True:
            ledger, hosts, held = _look(session)
            held.sort(key=lambda row: -row.get("price_ucr", 0))
            shown = (table(hosts, zone_view.HOST_COLUMNS), "", table(held, leases.COLUMNS), "", "Ctrl-C ends")
            live.update(Group(zone_view.headline(ledger, hosts), "", *shown), refresh=True)
            time.sleep(every)


def _look(session: Session) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    ledger: dict[str, Any] = session.ask("ledger", control.LedgerView())
    return ledger, zone_view.hosts(session), session.ask("ledger", control.Leases())
