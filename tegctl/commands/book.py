"""`tegctl book`: every slot with its holder and its price."""

import click

from tegcore.wire import control
from tegctl.render import money, plain, show
from tegctl.session import Session

COLUMNS = (
    ("SLOT", lambda row: row["slot"]),
    ("HOST", plain("host")),
    ("CLASS", lambda row: row["class"]),
    ("RESERVE", money("reserve_ucr")),
    ("LEASE", plain("lease")),
    ("TENANT", plain("tenant")),
    ("PRICE", money("price_ucr")),
    ("TO DISLODGE", money("threshold_ucr")),
)


@click.command(name="book")
@click.pass_obj
def command(session: Session) -> None:
    """Every slot with its holder and its price."""
    show("Slots", session.ask("ledger", control.BookView()), COLUMNS, session.output)
