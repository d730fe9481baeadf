"""The whole zone at a glance: what the ledger promises of each host, and what the governor heard of it."""

from collections.abc import Mapping
from typing import Any

from tegcore.errors import TegError
from tegcore.units import credits_text
from tegcore.wire import control
from tegctl.render import Column, money, plain
from tegctl.session import Session


def state_of(row: Mapping[str, Any]) -> str:
    """A host's state in a word or two."""
    here = "up" if row["up"] else "lost"
    return f"{here}, drained" if row["drained"] else here


def _number(key: str, form: str) -> Column:
    return key, lambda row: format(row[key], form) if row.get(key) is not None else ""


HOST_COLUMNS: tuple[Column, ...] = (
    ("HOST", plain("host")),
    ("STATE", state_of),
    ("SLOTS", plain("slots")),
    ("FREE", lambda row: row.get("free", "")),
    ("LEASES", plain("leases")),
    ("RENT/SLOT", money("price_ucr")),
    ("TEMP C", _number("temperature_c", ".0f")[1]),
    ("ENTROPY", _number("entropy", ".3f")[1]),
    ("CPU", lambda row: f"{row.get('cpu_milli', 0) / 1000:g}/{row.get('cpu_max_milli', 0) / 1000:g}"),
    ("MEM GiB", lambda row: f"{row.get('mem_bytes', 0) / 2**30:.1f}/{row.get('mem_max_bytes', 0) / 2**30:.1f}"),
)


def hosts(session: Session) -> list[dict[str, Any]]:
    """Every host; what the governor knows of it is left out where the governor does not answer."""
    rows: list[dict[str, Any]] = session.ask("ledger", control.Hosts())
    try:
        heard = session.ask("governor", control.HostsView())
    except TegError:
        heard = {}
    return [row | heard.get(row["host"], {}) for row in rows]


def headline(ledger: Mapping[str, Any], rows: list[dict[str, Any]]) -> str:
    """The zone in a line."""
    up = sum(row["up"] for row in rows)
    slots, free = (sum(row.get(key, 0) for row in rows) for key in ("slots", "free"))
    escrow = credits_text(ledger["credits"]["escrow"])
    return (
        f"{ledger['zone']}: tick {ledger['tick']}, {ledger['market']}; {up} of {len(rows)} hosts up; "
        f"{free} of {slots} slots free; {ledger['leases']} leases, {ledger['orders_open']} orders; {escrow} in escrow"
    )
