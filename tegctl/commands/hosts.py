"""`tegctl hosts`: every host of the zone, with what is promised of it."""

import click

from tegcore.wire import control
from tegctl.render import mebibytes, plain, show
from tegctl.session import Session

COLUMNS = (
    ("HOST", plain("host")),
    ("UP", lambda row: "yes" if row["up"] else "no"),
    ("DRAINED", lambda row: "yes" if row["drained"] else ""),
    ("SLOTS", plain("slots")),
    ("FREE", plain("free")),
    ("LEASED", plain("leased")),
    ("WITHHELD", plain("withheld")),
    ("CPU", lambda row: f"{row.get('cpu_milli', 0) / 1000:g}/{row.get('cpu_max_milli', 0) / 1000:g}"),
    ("MEM MiB", mebibytes("mem_bytes")),
    ("OF MiB", mebibytes("mem_max_bytes")),
)


@click.command(name="hosts")
@click.pass_obj
def command(session: Session) -> None:
    """Every host of the zone, with what is promised of it."""
    show("Hosts", session.ask("ledger", control.Hosts()), COLUMNS, session.output)
