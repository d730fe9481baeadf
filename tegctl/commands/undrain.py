"""`tegctl undrain`: let work on a host again (operators)."""

import click

from tegcore.wire import control
from tegctl.render import show_json
from tegctl.session import Session, fresh_key


@click.command(name="undrain")
@click.argument("host")
@click.pass_obj
def command(session: Session, host: str) -> None:
    """Let work on a host again (operators)."""
    answer = session.ask("ledger", control.DrainHost(host=host, on=False, key=fresh_key()))
    if session.output == "json":
        show_json("Drained", answer)
    else:
        click.echo(f"{host} takes work again")
