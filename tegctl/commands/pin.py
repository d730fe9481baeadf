"""`tegctl pin`: protect a lease from challengers (operators)."""

import click

from tegcore.wire import control
from tegctl.render import show_json
from tegctl.session import Session, fresh_key


@click.command(name="pin")
@click.argument("lease", type=int)
@click.pass_obj
def command(session: Session, lease: int) -> None:
    """Protect a lease from challengers (operators)."""
    answer = session.ask("ledger", control.PinLease(lease=lease, on=True, key=fresh_key()))
    if session.output == "json":
        show_json("Pinned", answer)
    else:
        click.echo(f"lease {lease} is pinned")
