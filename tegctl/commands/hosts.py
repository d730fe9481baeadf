"""`tegctl hosts`: every host of the zone, with what is promised of it and what was heard of it."""

import click

from tegcore.errors import RefusedError
from tegctl import zone_view
from tegctl.render import show
from tegctl.session import Session


@click.command(name="hosts")
@click.argument("names", nargs=-1)
@click.option("-t", "--state", default="", help="Those in that state: up, drained, lost, down.")
@click.pass_obj
def command(session: Session, names: tuple[str, ...], state: str) -> None:
    """Every host of the zone, or those NAMES: state and why, GPUs, jobs, price, temperature, entropy."""
    rows = zone_view.hosts(session)
    if unknown := sorted(set(names) - {row["host"] for row in rows}):
        raise RefusedError(f"there is no host {unknown[0]!r}", "`tegctl hosts` lists all hosts")
    rows = [row for row in rows if not names or row["host"] in names]
    shown = [row for row in rows if not state or state in str(row.get("state", "")).split(", ")]
    show("Hosts", shown, zone_view.PHYSICS_COLUMNS, session.output)
