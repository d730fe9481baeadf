"""`tegctl up`: the whole stack on this host, in the foreground."""

import contextlib
import os
import signal
import time

import click
from click.core import ParameterSource

from tegcore.errors import TegError
from tegcore.wire import control
from tegctl import sets as settings_of
from tegctl.session import Session
from tegctl.stack import Stack, StackSettings, size_of
from tegio.control import ControlClient

_SLOTS = 8
"""Of a host that is new, where nobody says how many."""
_SLOTS_MAX = 1 << 16


@click.command(name="up")
@click.option(
    "--slots",
    type=click.IntRange(1, _SLOTS_MAX),
    help=f"Slots of this host; default: as the state folder has it, {_SLOTS} in a new one.",
)
@click.option(
    "--market",
    type=click.Choice(["fixed", "auction"]),
    default="fixed",
    show_default=True,
    help="Of a fresh ledger; `tegctl mode` changes it later.",
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="[PROGRAM.]KEY=VALUE",
    help="A setting of ledger, governor or tegd, or of all that have such a key; repeatable.",
)
@click.option("--keep", is_flag=True, help="When it stops, leave jobs running that cannot be saved.")
@click.pass_obj
def command(session: Session, slots: int | None, market: str, sets: tuple[str, ...], *, keep: bool) -> None:
    """Run broker, ledger, governor and both sides of tegd until Ctrl-C.

    When it stops, or its terminal closes, jobs with a hook are saved, all others are ended, and it says which; the
    next start in the same state folder takes up what was saved, what waited, and what --keep left running. A second
    Ctrl-C ends all at once.

    TEG_BROKER=mqtt://HOST:PORT uses your broker instead of the built-in one. TEG_TEGD_KEY, TEG_ZONE_LEDGER_KEY and
    TEG_GOVERNOR_KEY set what --set does. What it keeps is in the state folder: the next start goes on with as many
    slots; a zone's size stays as its first start made it.
    """
    session.demand_here("up")
    there = size_of(session.state_dir)
    slots = slots or (there.slots if there else _SLOTS)
    log2 = (slots - 1).bit_length()
    zone_k = there.zone_k if there else max(1, -(-log2 // 2))
    if log2 > 2 * zone_k:
        what = (
            f"{slots}: the zone in {session.state_dir} has {1 << 2 * zone_k} slots at most, as its first start made it"
        )
        another = f"for another one: `tegctl --state FOLDER up --slots {slots}`"
        raise click.BadParameter(f"{what}; leave --slots out to go on with it, or {another}", param_hint="--slots")
    given = settings_of.by_program(sets)
    host, zone = settings_of.value_of(given["tegd"], "host"), settings_of.value_of(given["tegd"], "zone")
    settings = StackSettings(
        zone=zone or StackSettings.zone,
        broker=os.environ.get("TEG_BROKER", ""),
        ledger={"zone_k": zone_k, "market": market},
        governor={"zone_k": zone_k},
        host={"log2_slots": log2, "slots": slots} | ({"host": host} if host else {}),
        sets=given,
    )
    ending: list[int] = []
    stack = Stack(session.state_dir, settings, _say, lambda: len(ending) > 1)
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, lambda number, _: ending.append(number))
    stack.start()
    try:
        if there and click.get_current_context().get_parameter_source("market") is ParameterSource.COMMANDLINE:
            _say_of_market(stack.client("ledger"), market)
        _say(f"try: tegctl --state {session.state_dir} run -- echo hello")
        while not ending:
            stack.tend()
            time.sleep(0.1)
    finally:
        stack.stop(keep=keep)


def _say_of_market(ledger: ControlClient, wanted: str) -> None:
    """That a ledger which was made before keeps the market that it has, where another was asked for."""
    with contextlib.suppress(TegError):
        has = ledger.ask(control.LedgerView()).data["market"]
        if has != wanted:
            said = f"note: --market {wanted} has no effect on a ledger that was made before: its market is {has}"
            _say(f"{said}; `tegctl mode {wanted}` changes it")


def _say(line: str) -> None:
    """To the terminal, while there is one: one that was closed must not break off an orderly end."""
    try:
        click.echo(line)
    except OSError:
        with contextlib.suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
