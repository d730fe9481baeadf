"""`tegctl ps`: the jobs of this host: name, user, state, reason, age, GPUs, host."""

from collections.abc import Mapping
from typing import Any

import click

from tegcore.errors import RefusedError, TegError
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


def chosen(
    rows: list[dict[str, Any]], names: tuple[str, ...], users: tuple[str, ...], states: tuple[str, ...], host: str
) -> list[dict[str, Any]]:
    """The rows that are meant: each condition that is given has to hold.

    Raises:
        RefusedError: If a name is none of them.
    """
    known = {word for row in rows for word in (row["name"], str(row["ref"]))}
    if unknown := [name for name in names if name not in known]:
        raise RefusedError(
            f"there is no job {unknown[0]!r} on this host", "`tegctl ps -a` lists your jobs, with those that are over"
        )
    numbers = set(names) - {row["name"] for row in rows}
    return [
        row
        for row in rows
        if (not names or row["name"] in names or str(row["ref"]) in numbers)
        and (not users or row.get("user") in users or row["tenant"] in users)
        and (not states or row["state"] in states)
        and (not host or host in row.get("hosts", []))
    ]


def filters(verb: click.decorators.FC) -> click.decorators.FC:
    """The options that choose jobs."""
    user = click.option("-u", "--user", "users", multiple=True, help="Of that user or tenant; repeatable.")
    state = click.option("-t", "--state", "states", type=click.Choice(STATES), multiple=True, help="Repeatable.")
    return user(state(click.option("-w", "--host", default="", help="On that host.")(verb)))


STATES = (
    "pending",
    "starting",
    "running",
    "suspended",
    "preempted",
    "saving",
    "cancelling",
    "ending",
    "completed",
    "failed",
    "cancelled",
)
_OVER = {"completed", "failed", "cancelled"}


@click.command(name="ps")
@click.argument("names", nargs=-1)
@click.option("-a", "--all", "ended", is_flag=True, help="Those that are over, too.")
@click.option("-l", "--long", is_flag=True, help="With their leases, and where money decides what they pay.")
@filters
@click.pass_obj
def command(
    session: Session,
    names: tuple[str, ...],
    users: tuple[str, ...],
    states: tuple[str, ...],
    host: str,
    *,
    ended: bool,
    long: bool,
) -> None:
    """The jobs of this host, or those NAMES: user, state, age, GPUs, host, and why they wait."""
    rows = chosen(session.ask("tegd", control.Workloads()), names, users, states, host)
    every = ended or bool(names) or bool(_OVER & set(states))
    shown = [row for row in rows if every or row["life"] != "ended"]
    columns: tuple[Column, ...] = COLUMNS
    if long:
        money_counts = any(row["minds_money"] for row in shown)
        paid = {row["lease"]: row.get("paid_ucr", 0) for row in _leases(session)} if money_counts else {}
        shown = [row | {"paid_ucr": paid.get(row["lease"], row.get("paid_ucr", 0))} for row in shown]
        columns = LONG + MONEY * money_counts
    show("Workloads", shown, columns, session.output)
    over = len(rows) - len(shown)
    if over and session.output != "json":
        click.echo(f"({over} more {'are' if over > 1 else 'is'} over: `tegctl ps -a`)", err=True)


def _leases(session: Session) -> list[dict[str, Any]]:
    """What the ledger says of leases, where it answers from here."""
    try:
        found: list[dict[str, Any]] = session.ask("ledger", control.Leases())
    except TegError:
        return []
    return found
