"""`tegctl unpin`: let LEASE be challenged again (operators)."""

import click

from tegcore.wire import control
from tegctl.switch import switch

command = switch(
    "unpin",
    "Let LEASE be challenged again (operators).",
    click.Argument(["lease"], type=click.IntRange(1, 2**62)),
    lambda value, key: control.PinLease(lease=value, on=False, key=key),
    "lease {} can be challenged",
)
