"""`tegctl verify`: replay the ledger's journal and compare hashes and sums."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from tegcore.errors import Exit, JournalError, UnavailableError
from tegcore.units import credits_text
from tegcore.wire import control
from tegctl.render import show_json
from tegctl.session import Session


@click.command(name="verify")
@click.argument("journal", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.pass_obj
def command(session: Session, journal: Path | None) -> None:
    """Replay JOURNAL, or that of the running ledger, whose state hash must then be reached."""
    session.demand_here("verify")
    live: dict[str, Any] = {}
    with contextlib.suppress(UnavailableError):
        live = session.ask("ledger", control.LedgerView())
    path = journal or Path(live.get("journal", session.state_dir / "ledger" / "journal.sqlite"))
    result = verified(path, None if journal else live)
    if session.output == "json":
        show_json("Verified", result)
        return
    credits_now = {name: credits_text(amount) for name, amount in result["credits"].items() if amount}
    click.echo(f"{path}: {result['batches']} batches to tick {result['tick']}, every checksum right")
    click.echo(f"  state hash {result['state_hash']}" + (", as the ledger says" if result["replay_hash_equal"] else ""))
    click.echo("  credits conserved: " + ", ".join(f"{name} {amount}" for name, amount in credits_now.items()))


def verified(path: Path, live: dict[str, Any] | None) -> dict[str, Any]:
    """What a replay of a journal gives, up to where the running ledger was when it was asked.

    Raises:
        JournalError: If the replay does not come out right.
    """
    argv = [sys.executable, "-m", "zone_ledger.main", "verify", str(path)]
    if live:
        argv += ["--at-batch", str(live["batches"]), "--expect-hash", live["state_hash"]]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    if done.returncode != Exit.OK:
        what, _, hint = done.stderr.strip().partition("\n  try: ")
        last = what.splitlines()[-1].removeprefix("error: ") if what else f"exit code {done.returncode}"
        raise JournalError(last, hint or "`zone-ledger verify` by hand, as the user that the journal belongs to")
    result: dict[str, Any] = json.loads(done.stdout)
    return result
