"""`tegctl mode`: fixed prices or the auction (operators)."""

import click

from tegcore.wire import control
from tegctl.render import show_json
from tegctl.session import Session, fresh_key


@click.command(name="mode")
@click.argument("market", type=click.Choice(["fixed", "auction"]))
@click.pass_obj
def command(session: Session, market: str) -> None:
    """Fixed prices or the auction (operators)."""
    answer = session.ask("ledger", control.SetMarket(market=market, key=fresh_key()))
    if session.output == "json":
        show_json("Mode", answer)
    else:
        click.echo(f"the market is {market}")
