"""`tegctl uncordon`: let work on SLOT again (operators)."""

import click

from tegcore.units import ZONE_K_MAX
from tegcore.wire import control
from tegctl.switch import switch

command = switch(
    "uncordon",
    "Let work on SLOT again (operators).",
    click.Argument(["slot"], type=click.IntRange(0, 4**ZONE_K_MAX - 1)),
    lambda value, key: control.CordonSlot(slot=value, on=False, key=key),
    "slot {} takes work again",
)
