"""`tegctl drain`: keep new work off HOST, and have what it holds leave (operators)."""

import click

from tegcore.wire import control
from tegctl.switch import switch

command = switch(
    "drain",
    "Keep new work off HOST, and have what it holds leave (operators).",
    click.Argument(["host"]),
    lambda value, key: control.DrainHost(host=value, on=True, key=key),
    "{} is drained",
)
