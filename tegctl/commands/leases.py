"""`tegctl leases`: every lease, and orders that wait for others to leave."""

import click

from tegcore.wire import control
from tegctl.render import blocks, money, plain, seconds, show
from tegctl.session import Session

COLUMNS = (
    ("LEASE", plain("lease")),
    ("TENANT", plain("tenant")),
    ("HOST", plain("host")),
    ("SEATS", lambda row: " ".join(row.get("seats", []))),
    ("STATE", plain("state")),
    ("SLOTS", blocks),
    ("PRICE", money("price_ucr")),
    ("LIMIT", money("limit_ucr")),
    ("PURSE", money("purse_ucr")),
    ("PAID", money("paid_ucr")),
    ("MASS", lambda row: f"{row['mass']:.1f}" if row.get("mass") else ""),
    ("ENDS IN s", seconds("ends_in_ticks")),
)


@click.command(name="leases")
@click.pass_obj
def command(session: Session) -> None:
    """Every lease, and orders that wait for others to leave."""
    show("Leases", session.ask("ledger", control.Leases()), COLUMNS, session.output)
