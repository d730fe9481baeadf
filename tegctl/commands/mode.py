"""`tegctl mode`: which prices hold; fixed prices, or the auction (operators)."""

import click

from tegcore.wire import control
from tegctl.render import show_json
from tegctl.session import Session, fresh_key


@click.command(name="mode")
@click.argument("market", required=False, type=click.Choice(["fixed", "auction"]))
@click.pass_obj
def command(session: Session, market: str | None) -> None:
    """Set the market to fixed prices, or to the auction (operators); without an argument: which of them it is."""
    if market is None:
        there = session.ask("ledger", control.LedgerView())["market"]
        other = "fixed" if there == "auction" else "auction"
        answer, text = {"market": there}, f"the market is {there}; `tegctl mode {other}` changes it (operators)"
    else:
        answer = session.ask("ledger", control.SetMarket(market=market, key=fresh_key()))
        text = f"the market is {market}"
    if session.output == "json":
        show_json("Mode", answer)
    else:
        click.echo(text)
