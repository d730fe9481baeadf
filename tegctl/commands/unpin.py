"""`tegctl unpin`: let a lease be challenged again (operators)."""

import click

from tegcore.wire import control
from tegctl.render import show_json
from tegctl.session import Session, fresh_key


@click.command(name="unpin")
@click.argument("lease", type=int)
@click.pass_obj
def command(session: Session, lease: int) -> None:
    """Let a lease be challenged again (operators)."""
    answer = session.ask("ledger", control.PinLease(lease=lease, on=False, key=fresh_key()))
    if session.output == "json":
        show_json("Pinned", answer)
    else:
        click.echo(f"lease {lease} can be challenged")
