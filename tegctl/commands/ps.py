"""`tegctl ps`: the jobs of this host: name, user, state, reason, age, GPUs, host."""

from collections.abc import Mapping
from typing import Any

import click

from tegcore.errors import TegError
from tegcore.wire import control
from tegctl.render import Column, Fit, age, hourly, money, plain, show
from tegctl.session import Session


def where(row: Mapping[str, Any]) -> str:
    """The hosts that a job runs on; of another host's part, whose it is."""
    if row.get("home"):
        return f"of {row['home']}"
    hosts = row.get("hosts", [])
    return " ".join(hosts) if len(hosts) < 3 else f"{hosts[0]} +{len(hosts) - 1}"


def gpus(row: Mapping[str, Any]) -> str:
    """How many GPUs: a share of one as it was asked for."""
    return f"{row['share_permille'] / 1000:g}" if row.get("share_permille") else str(row["slots"])


COLUMNS = (
    Column("NAME", plain("name")),
    Column("USER", plain("user")),
    Column("STATE", plain("state")),
    Column("AGE", age("age_s")),
    Column("GPUS", gpus),
    Column("HOST", where),
    Column("REASON", plain("reason_text"), Fit.SHORT),
)
LONG = (
    Column("NAME", plain("name")),
    Column("STATE", plain("state")),
    Column("GPUS", gpus),
    Column("HOST", where),
    Column("LEASE", plain("lease")),
)
MONEY = (Column("CR/GPU-H", hourly("price_ucr")), Column("PAID", money("paid_ucr")))


@click.command(name="ps")
@click.option("-a", "--all", "ended", is_flag=True, help="Those that are over, too.")
@click.option("-l", "--long", is_flag=True, help="With their leases, and where money decides what they pay.")
@click.pass_obj
def command(session: Session, *, ended: bool, long: bool) -> None:
    """The jobs of this host: name, user, state, age, GPUs, host, and why they wait."""
    rows = session.ask("tegd", control.Workloads())
    living = [row for row in rows if row["life"] != "ended"]
    columns: tuple[Column, ...] = COLUMNS
    if long:
        paid = {row["lease"]: row for row in _leases(session)} if any(row["money"] for row in rows) else {}
        rows = [row | {"paid_ucr": paid.get(row["lease"], row).get("paid_ucr", 0)} for row in rows]
        living = [row for row in rows if row["life"] != "ended"]
        columns = LONG + MONEY * any(row["money"] for row in rows)
    show("Workloads", rows if ended else living, columns, session.output)
    over = len(rows) - len(living)
    if over and not ended and session.output != "json":
        click.echo(f"({over} more {'are' if over > 1 else 'is'} over: `tegctl ps -a`)", err=True)


def _leases(session: Session) -> list[dict[str, Any]]:
    """What the ledger says of leases, where it answers from here."""
    try:
        found: list[dict[str, Any]] = session.ask("ledger", control.Leases())
    except TegError:
        return []
    return found
