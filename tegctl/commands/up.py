"""`tegctl up`: the whole stack on this host, in the foreground."""

import os
import signal
import time

import click

from tegctl.session import Session
from tegctl.stack import Stack, StackSettings


@click.command(name="up")
@click.option(
    "--slots",
    type=click.IntRange(1, 1 << 16),
    default=8,
    show_default=True,
    help="Slots of this host, rounded up to a power of two.",
)
@click.option(
    "--market",
    type=click.Choice(["fixed", "auction"]),
    default="fixed",
    show_default=True,
    help="Of a fresh ledger; `tegctl mode` changes it later.",
)
@click.pass_obj
def command(session: Session, slots: int, market: str) -> None:
    """Run broker, ledger, governor and both sides of tegd until Ctrl-C.

    TEG_BROKER=mqtt://HOST:PORT uses your broker instead of the built-in one. What it keeps is in the state folder: a
    zone's size stays as its first start made it.
    """
    session.demand_here("up")
    log2 = (slots - 1).bit_length()
    settings = StackSettings(
        broker=os.environ.get("TEG_BROKER", ""),
        ledger={"zone_k": max(1, -(-log2 // 2)), "market": market},
        governor={"zone_k": max(1, -(-log2 // 2))},
        host={"log2_slots": log2},
    )
    stack = Stack(session.state_dir, settings, click.echo)
    ending: list[int] = []
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda number, _: ending.append(number))
    stack.start()
    try:
        click.echo(f"try: tegctl --state {session.state_dir} run -- echo hello")
        while not ending:
            stack.tend()
            time.sleep(0.1)
    finally:
        stack.stop()
