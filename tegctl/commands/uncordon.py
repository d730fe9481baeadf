"""`tegctl uncordon`: let work on a slot again (operators)."""

import click

from tegcore.wire import control
from tegctl.render import show_json
from tegctl.session import Session, fresh_key


@click.command(name="uncordon")
@click.argument("slot", type=int)
@click.pass_obj
def command(session: Session, slot: int) -> None:
    """Let work on a slot again (operators)."""
    answer = session.ask("ledger", control.CordonSlot(slot=slot, on=False, key=fresh_key()))
    if session.output == "json":
        show_json("Cordoned", answer)
    else:
        click.echo(f"slot {slot} takes work again")
