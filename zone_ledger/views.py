"""What people are shown of the ledger: built-in types only, every amount in ucr."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from tegcore.units import PERMILLE, TICKS_PER_HOUR, TICKS_PER_S
from tegcore.wire.records import Market, Reason
from zone_ledger.leases import HostSession, Lease, LeaseState, OrderState
from zone_ledger.state import State

NOTE_TICKS = 1200
"""So long people are told what was noticed of a host."""
LEAVES_FOR = {
    Reason.CHALLENGED: "someone bid more",
    Reason.BANKRUPT: "nothing is left to pay",
    Reason.BUDGET: "its budget is spent",
    Reason.DRAINED: "its host is drained",
    Reason.OPERATOR: "an operator ended it",
    Reason.CANCELLED: "it was cancelled",
    Reason.EXPIRED: "it was not renewed",
    Reason.HOST_GONE: "its host was lost",
    Reason.DONE: "its job is over",
    Reason.MOVED: "it left for a cheaper seat",
}
"""Why a lease is given up, in words; others by their own name."""


def sums(state: State) -> dict[str, int]:
    """Where every credit is."""
    money = state.accounts
    return {
        "minted": money.minted,
        "balances": money.balance_sum,
        "escrow": money.escrow,
        "evaporated": money.evaporated,
        "transferred_in": money.transferred_in,
        "transferred_out": money.transferred_out,
    }


def accounts(state: State, only: Collection[str] | None) -> list[dict[str, Any]]:
    """Balances, and what is in escrow for each tenant."""
    rows = []
    count, escrow_ucr = Counter(lease.tenant for lease in state.leases.values()), Counter[int]()
    for lease in state.leases.values():
        escrow_ucr[lease.tenant] += lease.purse_ucr + lease.escrow_ucr
    for order in state.orders.values():
        escrow_ucr[order.tenant] += order.held_ucr + order.notice_ucr
    for number, name in sorted(state.tenants.items(), key=lambda entry: entry[1]):
        if only is not None and name not in only:
            continue
        balance = state.accounts.balances[number]
        row = {"tenant": name, "balance_ucr": balance, "escrow_ucr": escrow_ucr[number], "leases": count[number]}
        rows.append(row)
    return rows


def leases(state: State, only: Collection[str] | None) -> list[dict[str, Any]]:
    """Leases, then orders that wait for others to leave."""
    rows = [lease_row(state, lease) for _, lease in sorted(state.leases.items())]
    for order in state.orders.values():
        if order.state is OrderState.EVICTING:
            row = {
                "lease": 0,
                "tenant": state.tenants[order.tenant],
                "host": state.hosts[order.key.host].name,
                "ref": order.ref,
                "state": "waiting",
                "reason": "holders are leaving",
                "blocks": [list(block) for block in order.blocks],
                "slots": order.shape.slots,
                "price_ucr": order.price_ucr,
                "limit_ucr": order.limit_ucr,
                "ends_in_ticks": None,
                "term_in_ticks": order.deadline - state.tick,
                "period_ticks": state.genesis.period_ticks,
            }
            rows.append(row)
    return [row for row in rows if only is None or row["tenant"] in only]


def lease_row(state: State, lease: Lease) -> dict[str, Any]:
    """One lease."""
    return {
        "lease": lease.number,
        "token": lease.token,
        "tenant": state.tenants[lease.tenant],
        "host": state.hosts[lease.origin].name,
        "seats": [state.hosts[host].name for host in lease.hosts],
        "ref": lease.ref,
        "state": "held" if lease.state is LeaseState.HELD else "leaving",
        "reason": "" if lease.state is LeaseState.HELD else LEAVES_FOR.get(lease.why, lease.why.name.lower()),
        "pinned": lease.pinned,
        "blocks": [list(block) for block in lease.blocks],
        "slots": lease.shape.slots,
        "share_permille": lease.shape.share_permille,
        "price_ucr": lease.price_ucr,
        "limit_ucr": lease.limit_ucr,
        "purse_ucr": lease.purse_ucr,
        "escrow_ucr": lease.escrow_ucr,
        "paid_ucr": lease.paid_ucr,
        "mass": lease.mass_micro / 1e6,
        "mem_bytes": sum(held.mem_bytes for held in lease.ranges),
        "use_permille": lease.use_permille,
        "granted_tick": lease.granted,
        "ends_in_ticks": _ends_in_ticks(state, lease),
        "term_in_ticks": lease.term_end - state.tick,
        "period_ticks": state.genesis.period_ticks,
    }


def _ends_in_ticks(state: State, lease: Lease) -> int | None:
    """When it is to be gone, or its declared time is over; None: nobody has said."""
    if lease.deadline:
        return lease.deadline - state.tick
    time_ticks = lease.traits.time_ticks
    return max(0, lease.granted + time_ticks - state.tick) if time_ticks else None


def host_state(host: HostSession) -> tuple[str, str]:
    """A host's state in a word or two, and why it is not simply up."""
    if not host.boot:
        return "awaited", "it has not introduced itself yet"
    drained = ", drained" * host.drained
    leaves = "; an operator drained it" if host.drained else ""
    if host.stale:
        return f"stale{drained}", f"it has taken in nothing for long, and is to begin anew{leaves}"
    if host.lost:
        return f"lost{drained}", f"it is silent; its leases end with their terms{leaves}"
    if not host.up:
        return f"down{drained}", f"its daemon has ended{leaves}"
    return f"up{drained}", "an operator drained it" * host.drained


def with_failures(
    rows: list[dict[str, Any]],
    failures: Mapping[str, Mapping[str, int]],
    notes: Mapping[str, tuple[int, str]],
    tick: int,
) -> list[dict[str, Any]]:
    """Rows of hosts with how often something of each was not taken in, and what people are to be told of it."""
    told = []
    for row in rows:
        more: dict[str, Any] = {"failures": dict(failures.get(row["host"], {}))}
        seen, text = notes.get(row["host"], (-NOTE_TICKS, ""))
        if tick - seen < NOTE_TICKS:
            text = f"{text} ({(tick - seen) // TICKS_PER_S} s ago)"
            more["reason"] = f"{row['reason']}; {text}" if row["reason"] else text
        told.append(row | more)
    return told


def hosts(state: State) -> list[dict[str, Any]]:
    """Hosts with their place and what is promised of them."""
    rows = []
    seated: dict[int, list[Lease]] = {}
    for lease in state.leases.values():
        for number in lease.hosts:
            seated.setdefault(number, []).append(lease)
    for number, host in sorted(state.hosts.items()):
        prices = [lease.price_ucr for lease in seated.get(number, [])]
        row: dict[str, Any] = {"host": host.name, "number": number, "up": host.up, "drained": host.drained}
        row |= dict(zip(("state", "reason"), host_state(host), strict=True))
        row |= {"leases": len(prices), "price_ucr": sum(prices) // len(prices) if prices else 0}
        if host.boot:
            use, region = state.book.use_of(number), state.book.region_of(number)
            summary = state.book.summary(region)
            row |= {
                "base": region.base,
                "slots": summary.present,
                "free": summary.free,
                "leased": summary.leased,
                "withheld": summary.withheld,
                "cpu_milli": use.cpu_milli,
                "cpu_max_milli": use.cpu_max_milli,
                "mem_bytes": use.mem_bytes,
                "mem_max_bytes": use.mem_max_bytes,
            }
        rows.append(row)
    return rows


def book(state: State) -> list[dict[str, Any]]:
    """Every present slot with its holder and its price."""
    rows = []
    held = {
        slot: lease
        for lease in state.leases.values()
        for block in lease.blocks
        for slot in range(block.base, block.end)
    }
    for number, host in sorted(state.hosts.items()):
        if not host.boot:
            continue
        region = state.book.region_of(number)
        shape = state.book.shape_of(number)
        absent = shape.absent_bits
        for slot in range(region.base, region.end):
            if absent >> (slot - region.base) & 1:
                continue
            lease = held.get(slot)
            rows.append(
                {
                    "slot": slot,
                    "host": host.name,
                    "class": shape.slot_class,
                    "reserve_ucr": state.reserves.get(shape.slot_class, 0),
                    "lease": lease.number if lease else 0,
                    "tenant": state.tenants[lease.tenant] if lease else "",
                    "price_ucr": lease.price_ucr if lease else 0,
                    "threshold_ucr": lease.threshold_ucr if lease else 0,
                }
            )
    return rows


def ledger(state: State) -> dict[str, Any]:
    """Sums, rates and counts."""
    counters = state.counters
    return {
        "zone": state.zone,
        "tick": state.tick,
        "tau": state.tau,
        "market": Market(state.market).name.lower(),
        "credits": sums(state),
        "state_hash": state.hash().hex(),
        "leases": len(state.leases),
        "orders_open": len(state.orders),
        "orders": {Reason(code).name.lower(): count for code, count in sorted(counters.outcomes.items())},
        "leases_granted": counters.leases,
        "evictions": counters.evictions,
        "evicting_orders": counters.evicting,
        "inertia_refusals": counters.inertia_refusals,
        "bankruptcies": counters.bankruptcies,
        "expansions": counters.expansions,
        "rates": {name: getattr(state.rates, name) for name in state.rates.__slots__},
    }


def zone(state: State, only: Collection[str] | None) -> dict[str, Any]:
    """What a screen of the whole zone shows, of one tick; of leases those of a tenant, if only those may be seen."""
    rows = hosts(state)
    return {
        "zone": state.zone,
        "tick": state.tick,
        "period_ticks": state.genesis.period_ticks,
        "market": Market(state.market).name.lower(),
        "slots": sum(row.get("slots", 0) for row in rows),
        "free": sum(row.get("free", 0) for row in rows),
        "leases": len(state.leases),
        "orders_open": len(state.orders),
        "waiting": sum(waiter.ready for waiter in state.queue.waiters.values()),
        "escrow_ucr": state.accounts.escrow,
        "hosts": rows,
        "held": leases(state, only),
    }


def tenants(state: State, only: Collection[str] | None) -> list[dict[str, Any]]:
    """Tenants with what the ledger keeps of them; an income below 0 is a standing one.

    A share is a tenant's part of the weights of all tenants that are open. Where shares decide who goes first,
    `use_slot_ticks` is what it has held of late and `used_permille` its part of all that.
    """
    rows, terms = [], state.terms
    weights = {number: terms.of(number).weight for number in state.tenants if not terms.is_closed(number)}
    all_weights = sum(weights.values())
    uses = {number: state.shares.slot_ticks(number, state.tick) for number in state.shares.by_tenant}
    all_uses = sum(uses.values())
    for row in accounts(state, only):
        number = state.tenant_numbers[row["tenant"]]
        rate_ucr = state.income_of(number)
        hour_ucr = rate_ucr * TICKS_PER_HOUR // state.genesis.period_ticks if rate_ucr > 0 else rate_ucr
        row |= {"number": number, "income_hour_ucr": hour_ucr, "weight": terms.of(number).weight}
        share = weights.get(number, 0) * PERMILLE // max(1, all_weights)
        row |= {"share_permille": share, "closed": terms.is_closed(number)}
        if state.shares.on:
            use = uses.get(number, 0)
            row |= {"use_slot_ticks": use, "used_permille": use * PERMILLE // max(1, all_uses)}
        rows.append(row)
    return rows
