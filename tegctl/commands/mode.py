"""`tegctl mode`: fixed prices, or the auction (operators)."""

import click

from tegcore.wire import control
from tegctl.switch import switch

command = switch(
    "mode",
    "Fixed prices, or the auction (operators).",
    click.Argument(["market"], type=click.Choice(["fixed", "auction"])),
    lambda value, key: control.SetMarket(market=value, key=key),
    "the market is {}",
)
