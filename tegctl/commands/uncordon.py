"""`tegctl uncordon`: let work on SLOT again (operators)."""

import click

from tegcore.wire import control
from tegctl.switch import switch

command = switch(
    "uncordon",
    "Let work on SLOT again (operators).",
    click.Argument(["slot"], type=int),
    lambda value, key: control.CordonSlot(slot=value, on=False, key=key),
    "slot {} takes work again",
)
