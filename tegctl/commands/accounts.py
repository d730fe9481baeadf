"""`tegctl accounts`: balances, and what is in escrow."""

import click

from tegcore.wire import control
from tegctl.render import money, plain, show
from tegctl.session import Session

COLUMNS = (
    ("TENANT", plain("tenant")),
    ("BALANCE", money("balance_ucr")),
    ("ESCROW", money("escrow_ucr")),
    ("LEASES", plain("leases")),
)


@click.command(name="accounts")
@click.pass_obj
def command(session: Session) -> None:
    """Balances, and what is in escrow."""
    show("Accounts", session.ask("ledger", control.Accounts()), COLUMNS, session.output)
