"""The desk: what people ask of the ledger over its control socket, as commands and views."""

import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tegcore.errors import RefusedError
from tegcore.ids import is_name
from tegcore.tenancy import Users
from tegcore.units import TICKS_PER_HOUR, TICKS_PER_S, UCR_MAX, credits_text
from tegcore.wire import control
from tegcore.wire.records import (
    INCOME_STANDING,
    TIME_TICKS_MAX,
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
    SetTime,
    TenantSet,
    TenantUser,
)
from zone_ledger import views
from zone_ledger.state import State
from zone_ledger.terms import TENANTS_SET_MAX, USERS_MAX

KEY_SHIFT = 40


@dataclass(frozen=True)
class Asker:
    """Who asks: the tenants that the user may spend as, its own first, and whether the user operates."""

    tenants: tuple[str, ...]
    operator: bool


_View = Callable[[State, Collection[str] | None], Any]
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
    Reason.REGION: (
        "no host has that slot: nothing was changed",
        "`tegctl book` lists the slots that there are; give one of those",
    ),
    Reason.STATE: (
        "the job is leaving its slots already: nothing was changed",
        "if it starts again by itself, give the command then; `tegctl why NAME` says so",
    ),
    Reason.LIMIT: (
        f"no room for more than {TENANTS_SET_MAX} tenants, and {USERS_MAX} users of each: nothing was changed",
        "let the users of a group spend as one tenant: `tegctl tenant add GROUP --user NAME`",
    ),
    Reason.RANGE: (
        "more than the scheduler (zone-ledger) can count: nothing was changed",
        "ask for less; `tegctl tenant show` shows what each account has",
    ),
    Reason.LEASE: (
        "there is no lease of that number: nothing was changed",
        "`tegctl leases` lists the leases (which job holds which slots)",
    ),
    Reason.HOST_GONE: (
        "nothing was heard of that host yet: nothing was changed",
        "start tegd there (`systemctl start tegd`); once `tegctl hosts` shows it up, give the command again",
    ),
}


def is_view(request: control.AnyRequest) -> bool:
    """Whether a request changes nothing."""
    return type(request) in _VIEWS


def view(state: State, asker: Asker, request: control.AnyRequest) -> Any:
    """The answer to a request that changes nothing: operators see all, others their own."""
    return _VIEWS[type(request)](state, None if asker.operator else asker.tenants)


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
        case control.RemoveTenant():
            return _tenant_removed(state, request)
        case control.SetIncome():
            return _income(state, request)
        case control.DrainHost():
            number = state.host_numbers.get(request.host)
            if number is None:
                known = ", ".join(sorted(state.host_numbers)) or "none yet"
                raise RefusedError(
                    f"there is no host {request.host!r}: nothing was changed", f"the hosts there are: {known}"
                )
            return [Record(Op.DRAIN, 0, 0, request.key, Drain(number, int(request.on)))]
        case control.CordonSlot():
            last = (1 << 2 * state.genesis.zone_k) - 1
            if request.slot > last:
                hint = f"give a number from 0 to {last}; `tegctl book` lists the slots of each host"
                raise RefusedError(f"there is no slot {request.slot} in this zone: nothing was changed", hint)
            return [Record(Op.CORDON, 0, 0, request.key, Cordon(request.slot, int(request.on)))]
        case control.PinLease() | control.SetTime():
            return [_lease_changed(request)]
        case control.SetMarket():
            market = {"fixed": Market.FIXED, "auction": Market.AUCTION}.get(request.market)
            if market is None:
                raise RefusedError(f"there is no mode {request.market!r}", "modes: fixed, auction")
            return [Record(Op.MODE, 0, 0, request.key, SetMode(market))]
        case _:
            raise RefusedError(f"the zone ledger does not answer {type(request).__name__}")


def _lease_changed(request: control.PinLease | control.SetTime) -> Record:
    if isinstance(request, control.PinLease):
        return Record(Op.PIN, 0, 0, request.key, Pin(request.lease, int(request.on)))
    time_ticks = min(TIME_TICKS_MAX, request.time_s * TICKS_PER_S)
    return Record(Op.SET_TIME, 0, 0, request.key, SetTime(request.lease, time_ticks))


def users(state: State, table: Mapping[str, Collection[int]]) -> Users:
    """Who may spend as whom, by the settings' table and what was changed by command."""
    changed = {state.tenants[number]: terms.users for number, terms in state.terms.by_tenant.items()}
    return Users(table, changed)


def with_users(tenants: list[dict[str, Any]], users: Users, name_of: Callable[[int], str]) -> list[dict[str, Any]]:
    """Tenants with their users: those that are listed, else the one that is called so."""
    rows = []
    for row in tenants:
        listed = [name_of(uid) for uid in users.of(row["tenant"])]
        rows.append(row | {"users": listed or [row["tenant"]]})
    return rows


def account_opened(state: State, name: str) -> list[Record]:
    """The command that opens an account, if there is none yet."""
    if name in state.tenant_numbers:
        return []
    return [Record(Op.NAME_IS, 0, 0, 0, NameIs.of(NameKind.TENANT, len(state.tenants) + 1, name))]


def name_hint(name: str) -> str:
    """What a name may be, and the nearest that is one."""
    rule = "use lower-case letters, digits, '-', '_' and '.'"
    return f"{rule}, as {name.lower()!r}" if is_name(name.lower()) else rule


def _tenant_added(state: State, request: control.AddTenant) -> list[Record]:
    name = request.tenant
    if not is_name(name):
        raise RefusedError(f"{name!r} cannot name a tenant: nothing was changed", name_hint(name))
    if request.key in state.operator_keys:
        return []
    number = state.tenant_numbers.get(name, len(state.tenants) + 1)
    terms = state.terms.of(number)
    changes = request.weight is not None or request.hour_ucr is not None or bool(request.users)
    if number in state.terms.by_tenant and not terms.closed and not changes:
        raise RefusedError(
            f"there is a tenant {name!r} already: nothing was changed",
            f"use it as it is; `tegctl mint {name} 100` gives it credits, --user, --weight or --income change it",
        )
    bodies: list[tuple[Op, Any]] = [(Op.TENANT_SET, TenantSet(number, request.weight or terms.weight, 0))]
    if request.hour_ucr is not None:
        bodies.append((Op.INCOME, Income(number, _rate_ucr(state, request.hour_ucr))))
    bodies += [(Op.TENANT_USER, TenantUser(number, uid, 1)) for uid in request.users]
    return [*account_opened(state, name), *_keyed(bodies, request.key)]


def _tenant_removed(state: State, request: control.RemoveTenant) -> list[Record]:
    if request.key in state.operator_keys:
        return []
    number = state.tenant_numbers.get(request.tenant)
    if number is None:
        raise RefusedError(
            f"there is no tenant {request.tenant!r}: nothing was changed",
            "`tegctl tenant show` lists all tenants; look at the name",
        )
    if request.users:
        return _keyed([(Op.TENANT_USER, TenantUser(number, uid, 0)) for uid in request.users], request.key)
    if state.terms.is_closed(number):
        raise RefusedError(
            f"tenant {request.tenant!r} is closed already: nothing was changed",
            f"nothing; to open it again: `tegctl tenant add {request.tenant}`",
        )
    return _keyed([(Op.TENANT_SET, TenantSet(number, state.terms.of(number).weight, 1))], request.key)


def _demand_tenant(state: State, name: str) -> None:
    """Refuse a name that may be mistyped.

    Raises:
        RefusedError: If no tenant is called so, with the nearest that is.
    """
    if name in state.tenant_numbers:
        return
    near = difflib.get_close_matches(name, state.tenant_numbers, n=1)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    raise RefusedError(
        f"there is no tenant {name!r}: nothing was changed{meant}",
        f"`tegctl tenant show` lists all tenants; to open an account for a new one: `tegctl tenant add {name}`",
    )


def _keyed(bodies: list[tuple[Op, Any]], key: int) -> list[Record]:
    """The commands that one request comes to, each with a key of its own that follows from the request's."""
    return [Record(op, 0, 0, key ^ place << KEY_SHIFT, body) for place, (op, body) in enumerate(bodies)]


def _mint(state: State, request: control.MintCredits) -> list[Record]:
    if request.amount_ucr > state.room_ucr:
        minted = credits_text(state.accounts.minted)
        left = credits_text(state.room_ucr)
        what = f"more than the scheduler (zone-ledger) can count: it has minted {minted} credits; nothing was added"
        raise RefusedError(what, f"mint {left} credits or less")
    if not request.opens:
        _demand_tenant(state, request.tenant)
    opened = account_opened(state, request.tenant)
    number = state.tenant_numbers.get(request.tenant, len(state.tenants) + 1)
    return [*opened, Record(Op.MINT, 0, 0, request.key, Mint(number, request.amount_ucr))]


def _income(state: State, request: control.SetIncome) -> list[Record]:
    if request.tenant and not is_name(request.tenant):
        raise RefusedError(f"{request.tenant!r} cannot name a tenant: nothing was changed", name_hint(request.tenant))
    rate_ucr = _rate_ucr(state, request.hour_ucr)
    if not request.tenant:
        return [Record(Op.INCOME, 0, 0, request.key, Income(0, rate_ucr))]
    if not request.opens:
        _demand_tenant(state, request.tenant)
    opened = account_opened(state, request.tenant)
    number = state.tenant_numbers.get(request.tenant, len(state.tenants) + 1)
    return [*opened, Record(Op.INCOME, 0, 0, request.key, Income(number, rate_ucr))]


def _rate_ucr(state: State, hour_ucr: int) -> int:
    """An income is counted by the period, rounded down; an hour's that comes to nothing is refused."""
    period_ucr = min(UCR_MAX, hour_ucr * state.genesis.period_ticks // TICKS_PER_HOUR)
    rate_ucr = INCOME_STANDING if hour_ucr < 0 else period_ucr
    if hour_ucr > 0 and not rate_ucr:
        least = credits_text(-(-TICKS_PER_HOUR // state.genesis.period_ticks))
        raise RefusedError(
            "so low a rate comes to no credits at all: nothing was changed",
            f"set {least} credits an hour or more, or 0 for none",
        )
    return rate_ucr


def refusal(reason: Reason, missing: int) -> RefusedError:
    """What a command's reason is for people."""
    if reason in _REFUSALS:
        return RefusedError(*_REFUSALS[reason])
    number = f", {missing} missing" if missing else ""
    what = f"the scheduler (zone-ledger) refused it ({reason.name.lower()}{number}): nothing was changed"
    return RefusedError(
        what, "see that tegctl and zone-ledger are of the same version: `tegctl --version`, `zone-ledger --version`"
    )
