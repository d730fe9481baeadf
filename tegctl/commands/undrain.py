"""`tegctl undrain`: let work on HOST again (operators)."""

import click

from tegcore.wire import control
from tegctl.switch import switch

command = switch(
    "undrain",
    "Let work on HOST again (operators).",
    click.Argument(["host"]),
    lambda value, key: control.DrainHost(host=value, on=False, key=key),
    "{} takes work again",
)
