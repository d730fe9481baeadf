"""`tegctl pin`: protect LEASE from challengers (operators)."""

import click

from tegcore.wire import control
from tegctl.switch import switch

command = switch(
    "pin",
    "Protect LEASE from challengers (operators).",
    click.Argument(["lease"], type=click.IntRange(1, 2**62)),
    lambda value, key: control.PinLease(lease=value, on=True, key=key),
    "lease {} is pinned",
)
