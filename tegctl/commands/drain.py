"""`tegctl drain`: keep new work off a host and have what it holds leave (operators)."""

import click

from tegcore.wire import control
from tegctl.render import show_json
from tegctl.session import Session, fresh_key


@click.command(name="drain")
@click.argument("host")
@click.pass_obj
def command(session: Session, host: str) -> None:
    """Keep new work off a host and have what it holds leave (operators)."""
    answer = session.ask("ledger", control.DrainHost(host=host, on=True, key=fresh_key()))
    if session.output == "json":
        show_json("Drained", answer)
    else:
        click.echo(f"{host} is drained")
