"""`tegctl agents`: every workload of this host and where its agent is."""

import click

from tegcore.wire import control
from tegctl.render import blocks, mebibytes, money, plain, show
from tegctl.session import Session

_MONEY = frozenset({"PRICE", "LIMIT", "PURSE"})
COLUMNS = (
    ("NAME", plain("name")),
    ("TENANT", plain("tenant")),
    ("LIFE", plain("life")),
    ("AT", lambda row: f"of {row['home']}" if row["home"] else " ".join(row["seats"])),
    ("RUN", plain("run")),
    ("SLOTS", blocks),
    ("PRICE", money("price_ucr")),
    ("LIMIT", money("limit_ucr")),
    ("PURSE", money("purse_ucr")),
    ("MEM MiB", mebibytes("mem_bytes")),
    ("ROUNDS", plain("rounds")),
    ("NOTE", plain("note")),
    ("OUTCOME", plain("outcome")),
)


@click.command(name="agents")
@click.pass_obj
def command(session: Session) -> None:
    """Every workload of this host and where its agent is."""
    rows = session.ask("tegd", control.Workloads())
    priced = any(row.get("minds_money") for row in rows)
    show("Workloads", rows, [column for column in COLUMNS if priced or column[0] not in _MONEY], session.output)
