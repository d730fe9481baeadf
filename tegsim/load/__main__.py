"""`python -m tegsim.load`: run loads on a small zone; what came of each is a line of JSON."""

import itertools
import json
import os
import sys
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # two threads on busy cores take twenty times as long

import click

from tegsim.load.jobs import Load
from tegsim.load.run import run
from tegsim.load.zone import Setting
from zone_ledger.audit import Audit
from zone_ledger.rules import LATEST


@click.command()
@click.option("--market", multiple=True, default=["fixed", "auction"], show_default=True)
@click.option("--offered", multiple=True, type=float, default=[0.3, 1.0, 3.0], show_default=True)
@click.option("--tenants", multiple=True, type=int, default=[1], show_default=True)
@click.option("--hooks", multiple=True, type=float, default=[0.0], show_default=True, help="Share of jobs with one.")
@click.option("--named", multiple=True, type=float, default=[0.0], show_default=True, help="Share with a named bid.")
@click.option(
    "--failing", multiple=True, type=float, default=[0.0], show_default=True, help="Share of hooks that fail."
)
@click.option("--seed", multiple=True, type=int, default=[1], show_default=True)
@click.option("--seconds", default=7200, show_default=True, help="How long jobs come.")
@click.option("--mean", "mean_s", default=120.0, show_default=True, help="Mean length of a job, s.")
@click.option("--hosts", default=2, show_default=True)
@click.option("--slots", "log2_slots", default=3, show_default=True, help="log2 of a host's slots.")
@click.option("--alive", default=32, show_default=True, help="Most work of a host that is not over.")
@click.option("--drain", default=7200.0, show_default=True, help="How long at most all is let come to its end, s.")
@click.option("--governed/--ungoverned", default=True, show_default=True)
@click.option("--flown/--unflown", default=False, show_default=True, help="Whether ghosts fly.")
def main(
    market: tuple[str, ...],
    offered: tuple[float, ...],
    tenants: tuple[int, ...],
    hooks: tuple[float, ...],
    named: tuple[float, ...],
    failing: tuple[float, ...],
    seed: tuple[int, ...],
    seconds: int,
    mean_s: float,
    hosts: int,
    log2_slots: int,
    alive: int,
    drain: float,
    governed: bool,
    flown: bool,
) -> None:
    """Run every combination of what may be given several times."""
    for one_market, load, owners, hooked, bid, broken, drawn in itertools.product(
        market, offered, tenants, hooks, named, failing, seed
    ):
        setting = Setting(one_market, hosts, log2_slots, governed=governed, flown=flown, alive=alive)
        wanted = Load(load, seconds, mean_s, owners, hooked, bid, failing=broken)
        audit, begun_s = Audit(LATEST), time.process_time()
        found = run(setting, wanted, drawn, drain, audit.batch)
        spent_s = time.process_time() - begun_s
        agrees = {name: audit.result()[name] == found["ucr"][name] for name in ("minted", "escrow", "evaporated")}
        pace = {"processor_s": round(spent_s, 1), "simulated_s_a_second": round(found["seconds"] / spent_s)}
        json.dump({**found, "audit_agrees": all(agrees.values()), **pace}, sys.stdout)
        click.echo()
        sys.stdout.flush()


if __name__ == "__main__":
    main()
