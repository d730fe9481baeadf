"""`tegctl leases`: every lease with its job, and orders that wait for others to leave."""

from collections.abc import Mapping
from typing import Any

import click

from tegcore.errors import TegError
from tegcore.wire import control
from tegctl.render import Column, Fit, blocks, ends, hourly, money, plain, seconds, show
from tegctl.session import Session

COLUMNS = (
    Column("JOB", plain("job")),
    Column("LEASE", plain("lease")),
    Column("TENANT", plain("tenant"), Fit.SPARE),
    Column("HOST", lambda row: " ".join(row.get("seats", [])) or row["host"]),
    Column("SLOTS", blocks, Fit.SHORT),
    Column("STATE", lambda row: row["state"] + (f": {row['reason']}" if row.get("reason") else ""), Fit.SHORT),
    Column("ENDS IN", ends("ends_in_ticks"), Fit.SPARE),
    Column("MASS", lambda row: f"{row['mass']:.1f}" if row.get("mass") else "", Fit.SPARE),
    Column("CR/GPU-H", hourly("price_ucr")),
    Column("BID", hourly("limit_ucr"), Fit.SPARE),
    Column("PURSE", money("purse_ucr"), Fit.SPARE),
    Column("PAID", money("paid_ucr")),
)
LONG = (*COLUMNS, Column("RENEWED BY s", seconds("term_in_ticks")))
"""With the end of its term, by which its host has to have renewed it."""


def named(session: Session, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leases with the names of their jobs, as far as this machine's tegd knows them; of others the host and number."""
    try:
        works = session.ask("tegd", control.Workloads())
    except TegError:
        works = []
    names: dict[tuple[Any, ...], str] = {}
    names |= {(row["home"] or row.get("host", ""), row["lease"]): row["name"] for row in works if row["lease"]}
    names |= {(row.get("host", ""), row["ref"], "ref"): row["name"] for row in works if not row["home"]}
    return [row | {"job": _job(row, names)} for row in rows]


def _job(row: Mapping[str, Any], names: Mapping[tuple[Any, ...], str]) -> str:
    of_lease, of_ref = (row["host"], row.get("lease")), (row["host"], row.get("ref"), "ref")
    return names.get(of_lease) or names.get(of_ref) or f"{row['host']}:{row.get('ref', '')}"


@click.command(name="leases")
@click.option("-l", "--long", is_flag=True, help="With the end of its term, by which its host has to have renewed it.")
@click.pass_obj
def command(session: Session, *, long: bool) -> None:
    """Every lease with its job, and orders that wait for others to leave.

    ENDS IN is until its time limit (--time), or until it has to have left; `-` where nobody has said.
    """
    rows = named(session, session.ask("ledger", control.Leases()))
    show("Leases", rows, LONG if long else COLUMNS, session.output)
