"""`tegctl cordon`: keep new work off SLOT (operators)."""

import click

from tegcore.units import ZONE_K_MAX
from tegcore.wire import control
from tegctl.switch import switch

command = switch(
    "cordon",
    "Keep new work off SLOT (operators).",
    click.Argument(["slot"], type=click.IntRange(0, 4**ZONE_K_MAX - 1)),
    lambda value, key: control.CordonSlot(slot=value, on=True, key=key),
    "slot {} is cordoned",
)
