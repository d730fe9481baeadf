"""The desk: what people ask of the ledger over its control socket, as commands and views."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tegcore.errors import RefusedError
from tegcore.ids import is_name
from tegcore.units import TICKS_PER_HOUR, UCR_MAX, credits_text
from tegcore.wire import control
from tegcore.wire.records import (
    INCOME_STANDING,
    Cordon,
    Drain,
    Income,
    Market,
    Mint,
    NameIs,
    NameKind,
    Op,
    Pin,
    Reason,
    Record,
    SetMode,
)
from zone_ledger import views
from zone_ledger.state import State


@dataclass(frozen=True)
class Asker:
    """Who asks: the tenant that the user is, and whether the user operates."""

    tenant: str
    operator: bool


_View = Callable[[State, str | None], Any]
_VIEWS: dict[type[Any], _View] = {
    control.Accounts: views.accounts,
    control.Leases: views.leases,
    control.Hosts: lambda state, _: views.hosts(state),
    control.BookView: lambda state, _: views.book(state),
    control.LedgerView: lambda state, _: views.ledger(state),
    control.ZoneView: views.zone,
    control.Tenants: views.tenants,
}

_REFUSALS = {
    Reason.REGION: ("no host has brought that slot", "`tegctl book` lists the slots that there are"),
    Reason.LEASE: ("there is no such lease", "`tegctl leases` lists them"),
    Reason.HOST_GONE: ("that host has not introduced itself since the ledger was made", "is tegd running there?"),
}


def is_view(request: control.AnyRequest) -> bool:
    """Whether a request changes nothing."""
    return type(request) in _VIEWS


def view(state: State, asker: Asker, request: control.AnyRequest) -> Any:
    """The answer to a request that changes nothing: operators see all, others their own."""
    return _VIEWS[type(request)](state, None if asker.operator else asker.tenant)


def commands(state: State, request: control.AnyRequest) -> list[Record]:
    """The commands that an operator's request comes to.

    Raises:
        RefusedError: If it names what is not there.
    """
    match request:
        case control.MintCredits():
            return _mint(state, request)
        case control.AddTenant():
            return _tenant_added(state, request)
        case control.SetIncome():
            return _income(state, request)
        case control.DrainHost():
            number = state.host_numbers.get(request.host)
            if number is None:
                known = ", ".join(sorted(state.host_numbers)) or "none yet"
                raise RefusedError(f"there is no host {request.host!r}", f"hosts: {known}")
            return [Record(Op.DRAIN, 0, 0, request.key, Drain(number, int(request.on)))]
        case control.CordonSlot():
            last = (1 << 2 * state.genesis.zone_k) - 1
            if request.slot > last:
                raise RefusedError(f"there is no slot {request.slot} in this zone", f"a number from 0 to {last}")
            return [Record(Op.CORDON, 0, 0, request.key, Cordon(request.slot, int(request.on)))]
        case control.PinLease():
            return [Record(Op.PIN, 0, 0, request.key, Pin(request.lease, int(request.on)))]
        case control.SetMarket():
            market = {"fixed": Market.FIXED, "auction": Market.AUCTION}.get(request.market)
            if market is None:
                raise RefusedError(f"there is no mode {request.market!r}", "modes: fixed, auction")
            return [Record(Op.MODE, 0, 0, request.key, SetMode(market))]
        case _:
            raise RefusedError(f"the zone ledger does not answer {type(request).__name__}")


def with_users(tenants: list[dict[str, Any]], users: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    """Tenants with their users: as the settings say, else the one that is called so."""
    return [row | {"users": users.get(row["tenant"]) or [row["tenant"]]} for row in tenants]


def account_opened(state: State, name: str) -> list[Record]:
    """The command that opens an account, if there is none yet."""
    if name in state.tenant_numbers:
        return []
    return [Record(Op.NAME_IS, 0, 0, 0, NameIs.of(NameKind.TENANT, len(state.tenants) + 1, name))]


def _tenant_added(state: State, request: control.AddTenant) -> list[Record]:
    name = request.tenant
    if not is_name(name):
        raise RefusedError(f"{name!r} cannot name a tenant", "lower-case letters, digits, '-', '_', '.'")
    if not (opened := account_opened(state, name)):
        raise RefusedError(f"there is a tenant {name!r} already", "`tegctl tenant show` lists them")
    if request.hour_ucr is None:
        return opened
    return _income(state, control.SetIncome(tenant=name, hour_ucr=request.hour_ucr, key=request.key))


def _mint(state: State, request: control.MintCredits) -> list[Record]:
    if state.accounts.minted + request.amount_ucr > UCR_MAX:
        minted = credits_text(state.accounts.minted)
        raise RefusedError("that is more than this ledger can count", f"it has minted {minted} credits")
    opened = account_opened(state, request.tenant)
    number = state.tenant_numbers.get(request.tenant, len(state.tenants) + 1)
    return [*opened, Record(Op.MINT, 0, 0, request.key, Mint(number, request.amount_ucr))]


def _income(state: State, request: control.SetIncome) -> list[Record]:
    """An income is counted by the period, rounded down; an hour's that comes to nothing is refused."""
    if request.tenant and not is_name(request.tenant):
        raise RefusedError(f"{request.tenant!r} cannot name a tenant", "lower-case letters, digits, '-', '_', '.'")
    period_ucr = min(UCR_MAX, request.hour_ucr * state.genesis.period_ticks // TICKS_PER_HOUR)
    rate_ucr = INCOME_STANDING if request.hour_ucr < 0 else period_ucr
    if request.hour_ucr > 0 and not rate_ucr:
        raise RefusedError("that comes to nothing a period", "set a higher rate, or 0 for none")
    if not request.tenant:
        return [Record(Op.INCOME, 0, 0, request.key, Income(0, rate_ucr))]
    opened = account_opened(state, request.tenant)
    number = state.tenant_numbers.get(request.tenant, len(state.tenants) + 1)
    return [*opened, Record(Op.INCOME, 0, 0, request.key, Income(number, rate_ucr))]


def refusal(reason: Reason, missing: int) -> RefusedError:
    """What a command's reason is for people."""
    if reason in _REFUSALS:
        return RefusedError(*_REFUSALS[reason])
    number = f": {missing} missing" if missing else ""
    return RefusedError(f"refused: {reason.name.lower()}{number}")
