"""The whole zone at a glance: what the ledger promises of each host, and what the governor heard of it."""

import textwrap
from collections.abc import Mapping
from typing import Any

from tegcore.errors import TegError
from tegcore.units import credits_text
from tegcore.wire import control
from tegctl.render import Column, Fit, hourly, plain
from tegctl.session import Session


def _number(key: str, form: str) -> Any:
    return lambda row: format(row[key], form) if row.get(key) is not None else ""


def _state(row: Mapping[str, Any]) -> str:
    return str(row.get("state") or ("up" if row["up"] else "lost"))


PLAIN_COLUMNS: tuple[Column, ...] = (
    Column("HOST", plain("host")),
    Column("STATE", _state),
    Column("GPUS", plain("slots")),
    Column("FREE", lambda row: row.get("free", "")),
    Column("JOBS", plain("leases")),
    Column("CPU", lambda row: f"{row.get('cpu_milli', 0) / 1000:g}/{row.get('cpu_max_milli', 0) / 1000:g}"),
    Column("MEM GiB", lambda row: f"{row.get('mem_bytes', 0) / 2**30:.1f}/{row.get('mem_max_bytes', 0) / 2**30:.1f}"),
)
HOST_COLUMNS: tuple[Column, ...] = (*PLAIN_COLUMNS, Column("CR/GPU-H", hourly("price_ucr")))
PHYSICS_COLUMNS: tuple[Column, ...] = (
    *HOST_COLUMNS,
    Column("TEMP C", _number("temperature_c", ".0f"), Fit.SPARE),
    Column("ENTROPY", _number("entropy", ".3f"), Fit.SPARE),
    Column("FAILURES", lambda row: sum(row.get("failures", {}).values()) or "", Fit.SPARE),
    Column("REASON", plain("reason"), Fit.SPARE),
)


def hosts(session: Session) -> list[dict[str, Any]]:
    """Every host; what the governor knows of it is left out where the governor does not answer."""
    zone = session.ask("ledger", control.ZoneView())
    try:
        heard = session.ask("governor", control.HostsView())
    except TegError:
        heard = {}
    period = {"period_ticks": zone["period_ticks"]}
    return [row | heard.get(row["host"], {}) | period for row in zone["hosts"]]


def headline(zone: Mapping[str, Any], width: int) -> list[str]:
    """The zone in a line, or in as many as it takes."""
    up = sum(row["up"] for row in zone["hosts"])
    parts = [
        f"{zone['zone']}: {up} of {len(zone['hosts'])} hosts up",
        f"{zone['free']} of {zone['slots']} GPUs free",
        f"{zone['leases']} job{'s hold' if zone['leases'] != 1 else ' holds'} slots",
        f"{zone['waiting']} waiting",
        f"tick {zone['tick']}",
    ]
    if zone["market"] != "fixed":
        parts.append(f"auction, {credits_text(zone['escrow_ucr'])} credits in escrow")
    line = "; ".join(parts)
    return textwrap.wrap(line, width) if width else [line]
