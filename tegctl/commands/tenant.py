"""`tegctl tenant`: who may spend whose credits."""

from collections.abc import Mapping
from typing import Any

import click

from tegcore.units import credits_text
from tegcore.wire import control
from tegctl.quantities import AMOUNT
from tegctl.render import Column, Fit, money, plain, show, show_json
from tegctl.session import Session, fresh_key


def _income(row: Mapping[str, Any]) -> str:
    rate_ucr = row.get("income_hour_ucr", 0)
    return "standing" if rate_ucr < 0 else credits_text(rate_ucr) if rate_ucr else ""


COLUMNS = (
    Column("TENANT", plain("tenant")),
    Column("USERS", lambda row: " ".join(row.get("users", [])), Fit.SHORT),
    Column("BALANCE", money("balance_ucr")),
    Column("INCOME/h", _income),
    Column("ESCROW", money("escrow_ucr")),
    Column("LEASES", plain("leases")),
)


@click.group(name="tenant")
def command() -> None:
    """Tenants: who they are, and what their accounts hold."""


@command.command(name="show")
@click.argument("tenant", default="")
@click.pass_obj
def show_tenants(session: Session, tenant: str) -> None:
    """TENANT, or all that you may see, with its users and its account."""
    rows = [row for row in session.ask("ledger", control.Tenants()) if tenant in {"", row["tenant"]}]
    show("Tenants", rows, COLUMNS, session.output)


@command.command(name="add")
@click.argument("tenant")
@click.option("--income", type=AMOUNT, metavar="CREDITS_PER_HOUR", help="Of its own; `tegctl mint --rate` changes it.")
@click.pass_obj
def add(session: Session, tenant: str, income: int | None) -> None:
    """Open an account for TENANT, now (operators)."""
    answer = session.ask("ledger", control.AddTenant(tenant=tenant, hour_ucr=income, key=fresh_key()))
    if session.output == "json":
        show_json("Tenant", answer)
    else:
        click.echo(f"{tenant} has an account; `tegctl mint {tenant} CREDITS` fills it")
