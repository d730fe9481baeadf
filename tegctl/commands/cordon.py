"""`tegctl cordon`: keep new work off a slot (operators)."""

import click

from tegcore.wire import control
from tegctl.render import show_json
from tegctl.session import Session, fresh_key


@click.command(name="cordon")
@click.argument("slot", type=int)
@click.pass_obj
def command(session: Session, slot: int) -> None:
    """Keep new work off a slot (operators)."""
    answer = session.ask("ledger", control.CordonSlot(slot=slot, on=True, key=fresh_key()))
    if session.output == "json":
        show_json("Cordoned", answer)
    else:
        click.echo(f"slot {slot} is cordoned")
