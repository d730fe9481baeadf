"""`tegctl tenant`: who may spend whose credits."""

from collections.abc import Mapping
from typing import Any

import click

from tegcore.errors import RefusedError
from tegcore.units import TICKS_PER_HOUR, credits_text
from tegcore.wire import control
from tegcore.wire.records import TENANT_WEIGHT_MAX
from tegctl.quantities import AMOUNT
from tegctl.render import Column, Fit, money, plain, show, show_json
from tegctl.session import Session, fresh_key
from tegio.users import user_number


def _income(row: Mapping[str, Any]) -> str:
    rate_ucr = row.get("income_hour_ucr", 0)
    return "standing" if rate_ucr < 0 else credits_text(rate_ucr) if rate_ucr else ""


def _share(row: Mapping[str, Any]) -> str:
    return "closed" if row.get("closed") else f"{row.get('share_permille', 0) / 10:.1f} %"


def _used(row: Mapping[str, Any]) -> str:
    if "used_permille" not in row:
        return ""
    return f"{row['used_permille'] / 10:.1f} %, {row['use_slot_ticks'] / TICKS_PER_HOUR:.1f} h"


class User(click.ParamType[int]):
    """A user by name or number, as a number."""

    name = "user"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See `click.ParamType.convert`."""
        uid = value if isinstance(value, int) else user_number(value)
        if uid is None or uid >= 1 << 32:
            what = f"there is no user {value!r} on this machine"
            self.fail(f"{what}: look at the name, or give the number that `id -u {value}` says elsewhere", param, ctx)
        return uid


COLUMNS = (
    Column("TENANT", plain("tenant")),
    Column("USERS", lambda row: " ".join(row.get("users", [])), Fit.SHORT),
    Column("BALANCE", money("balance_ucr")),
    Column("INCOME/h", _income),
    Column("WEIGHT", plain("weight")),
    Column("SHARE", _share),
    Column("USED", _used, Fit.SHORT),
    Column("ESCROW", money("escrow_ucr"), Fit.SPARE),
    Column("LEASES", plain("leases")),
)


@click.group(name="tenant")
def command() -> None:
    """Tenants: who may spend whose credits, and what their accounts hold."""


@command.command(name="show")
@click.argument("tenant", default="")
@click.pass_obj
def show_tenants(session: Session, tenant: str) -> None:
    """TENANT, or all that you may see: users, account, weight; SHARE is its part of all weights.

    USED, where shares decide who goes first: its part of what all have used of late, and that in GPU-hours.
    """
    rows = [row for row in session.ask("ledger", control.Tenants()) if tenant in {"", row["tenant"]}]
    if tenant and not rows:
        what = f"there is no tenant {tenant!r}, or you may not see it"
        raise RefusedError(what, "`tegctl tenant show` lists all that you may see; look at the name")
    show("Tenants", rows, COLUMNS, session.output)


@command.command(name="add")
@click.argument("tenant")
@click.option("--user", "users", type=User(), multiple=True, metavar="USER", help="May spend as it; repeatable.")
@click.option("--weight", type=click.IntRange(1, TENANT_WEIGHT_MAX), help="For its share (SHARE); 1 unless set.")
@click.option("--income", type=AMOUNT, metavar="CREDITS_PER_HOUR", help="Of its own; `tegctl mint --rate` changes it.")
@click.pass_obj
def add(session: Session, tenant: str, users: tuple[int, ...], weight: int | None, income: int | None) -> None:
    """Open an account for TENANT, or change what it has; every host knows it at once (operators).

    Without --user, the user of that name may spend as it.
    """
    request = control.AddTenant(tenant=tenant, hour_ucr=income, weight=weight, users=users, key=fresh_key())
    answer = session.ask("ledger", request)
    told = [f"its weight is {weight}"] if weight is not None else []
    told += [f"its income is {credits_text(income)} credits an hour"] if income is not None else []
    told += [f"{len(users)} more may spend as it"] if users else []
    told = told or [f"`tegctl mint {tenant} CREDITS` fills it"]
    _say(session, answer, f"{tenant} has an account; {', '.join(told)}")


@command.command(name="remove")
@click.argument("tenant")
@click.option("--user", "users", type=User(), multiple=True, metavar="USER", help="Only that user; repeatable.")
@click.pass_obj
def remove(session: Session, tenant: str, users: tuple[int, ...]) -> None:
    """Close TENANT, or keep users from spending as it; what runs goes on (operators).

    Its account stays, and `tegctl tenant add` opens it again.
    """
    answer = session.ask("ledger", control.RemoveTenant(tenant=tenant, users=users, key=fresh_key()))
    closed = f"{tenant} is closed: it takes no new work, what runs goes on"
    _say(session, answer, f"{tenant} has lost {len(users)} of its users; what runs goes on" if users else closed)


def _say(session: Session, answer: Any, text: str) -> None:
    if session.output == "json":
        show_json("Tenant", answer)
    else:
        click.echo(text)
