"""What is kept of a zone and of a run of many."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

ADDED = (
    "leases",
    "work",
    "told_renewed",
    "told_settled",
    "power_cuts",
    "hosts_lost",
    "hosts_seated",
    "crashes",
    "checks",
    "events",
)
"""Counts of zones that are added up for people; `told_renewed`: terms renewed."""


class Zone(msgspec.Struct, frozen=True, kw_only=True):
    """One zone that is over.

    Attributes:
        story: What follows from scenario and seed alone.
        cpu_s: Processor time that it took.
        worker: Process that ran it.
        rss_mib: The most memory that this process had held by then.
    """

    number: int
    hosts: int
    rule: str
    what: str
    simulated_s: float
    story: dict[str, Any]
    cpu_s: float
    worker: int
    rss_mib: float


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run.

    Attributes:
        wall_s: Of all sittings together, if it was interrupted.
        rss_mib: The most that all processes together can have held: the sum of each one's most.
        digest: Over the story of every zone: the same for the same scenario, seed and code.
        failed: Zones in which something did not hold, and what.
        counts: See `ADDED`.
        machine: What it ran on, and the commit.
    """

    hosts: int
    slots: int
    zones: int
    hosts_per_zone: int
    scenario: str
    seed: int
    workers: int
    simulated_s: float
    wall_s: float
    cpu_s: float
    sittings: int
    rss_mib: float
    failed: list[str]
    counts: dict[str, int]
    digest: str
    machine: dict[str, Any]


def shares(hosts: int, per_zone: int) -> list[int]:
    """Hosts of each zone: all full but perhaps the last.

    >>> shares(1100, 500)
    [500, 500, 100]
    """
    full, rest = divmod(hosts, per_zone)
    return [per_zone] * full + [rest] * (rest > 0)


def digest(zones: Iterable[Zone]) -> str:
    """16 hex digits over what happened in zones, in order of their numbers."""
    told = blake2b(digest_size=8)
    for zone in sorted(zones, key=lambda each: each.number):
        told.update(msgspec.json.encode((zone.number, zone.hosts, zone.rule, zone.story), order="sorted"))
    return told.hexdigest()


def added(zones: Sequence[Zone]) -> dict[str, int]:
    """What happened in all zones together."""
    return {name: sum(zone.story["counts"].get(name, 0) for zone in zones) for name in ADDED}
