"""`tegctl cordon`: keep new work off SLOT (operators)."""

import click

from tegcore.wire import control
from tegctl.switch import switch

command = switch(
    "cordon",
    "Keep new work off SLOT (operators).",
    click.Argument(["slot"], type=int),
    lambda value, key: control.CordonSlot(slot=value, on=True, key=key),
    "slot {} is cordoned",
)
