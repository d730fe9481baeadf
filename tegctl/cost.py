"""What a workload will cost at most, said once when it is submitted to a market where prices move."""

import time
from collections.abc import Mapping
from typing import Any

import click

from tegcore.units import PERMILLE, TICKS_PER_HOUR, credits_text
from tegcore.wire import control
from tegctl.session import Session

LOOK_S, PAUSE_S = 2.0, 0.1
"""A limit that nobody named is known once it was told a price: for so long that is waited for."""
FIXED = (
    "prices are fixed: its --bid is the most that it pays, and gets it nothing sooner; "
    "`tegctl mode auction` (operators) lets bids compete"
)


def say(session: Session, name: str, ref: object, *, bids: bool = False) -> None:
    """One line on stderr in the auction; at fixed prices only to who bids, that a bid does little there."""
    until = time.monotonic() + LOOK_S
    while True:
        row = session.ask("tegd", control.Why(name=str(ref)))
        if row.get("market") != "auction":
            if bids and row.get("market") == "fixed":
                click.echo(f"note: {name} was submitted; {FIXED}", err=True)
            return
        if row["limit_ucr"] or row["life"] != "seeking" or time.monotonic() > until:
            break
        time.sleep(PAUSE_S)
    if row["limit_ucr"] and row["period_ticks"]:
        click.echo(f"{name} was submitted; it {most(row)} (`tegctl cancel {name}` ends it)", err=True)


def most(row: Mapping[str, Any]) -> str:
    """What a workload costs at most."""
    share = row["share_permille"]
    period_ucr = -(-row["limit_ucr"] * share // PERMILLE) if share else row["limit_ucr"] * row["slots"]
    text = f"costs at most {credits_text(-(-period_ucr * TICKS_PER_HOUR // row['period_ticks']))} credits an hour"
    if not row["named"]:
        text += " at today's prices"
    return text + (f", and {credits_text(row['budget_ucr'])} in all" if row["budget_ucr"] else "")
