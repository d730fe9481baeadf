"""How a ghost seeks a seat: rounds of quotes in growing regions around where it is (DESIGN 5; paper 3.4.1, (10)).

A round is one quote and its answer, at most one per four ticks. A round that finds nothing widens the region by one
level of the quad-tree. In the root it bids even where the quote is dearer than its limit: only bids that are made keep
rents honest (DESIGN 3, "Rent"). When the root has no room the ledger remembers the ghost and tells it when there is
some; it asks again by itself once a period, in case that was lost. When the root is too dear it backs off, 20 ticks
doubling to one period, with jitter, and begins again from where it is then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tegcore.field.geometry import enclosing
from tegcore.wire.records import Region, Shape
from tegd.workload import Workload

ROUND_TICKS_MIN = 4
ANSWER_TICKS_MAX = 20
BACK_OFF_TICKS = 20


def widened(size: int, level: Any, zone_k: int) -> Any:
    """log2 of the region in which a block of 2^size slots is sought at a level, an integer or an array of them."""
    return np.minimum(2 * zone_k, size + (size & 1) + 2 * level)


def pause_ticks(failures: Any, period_ticks: int, jitter: Any) -> Any:
    """How long to back off after the root has failed `failures` times before; `jitter` is drawn from [0, 1)."""
    pause = np.minimum(BACK_OFF_TICKS << np.minimum(failures, 16), period_ticks)
    return pause // 2 + np.floor(jitter * pause)


def clear_of(region: Region, avoided: Sequence[Region], least: int, zone_k: int, turn: int) -> Region | None:
    """A region with none of these hosts in it: this one, or a part of it, or of the smallest above that has one.

    Args:
        region: Where a ghost would look.
        avoided: Regions of hosts.
        least: log2 of the smallest region that is of use.
        zone_k: The zone has 2^k x 2^k slots.
        turn: Of several parts, each has its turn.

    Returns:
        None where the zone has no such region.
    """
    while True:
        if parts := _clear_parts(region, avoided, least):
            return parts[turn % len(parts)]
        if region.log2 >= 2 * zone_k:
            return None
        region = enclosing(region.base, region.log2 + 1)


def least_region(work: Workload) -> int:
    """log2 of the smallest region that holds all blocks of a workload."""
    return (work.shape.slots - 1).bit_length()


def _clear_parts(region: Region, avoided: Sequence[Region], least: int) -> list[Region]:
    """The largest aligned runs within a region that hold none of these hosts."""
    inside = [host for host in avoided if host.base < region.end and region.base < host.end]
    if region.log2 < least:
        return []
    if not inside:
        return [region]
    if region.log2 == least or any(host.log2 >= region.log2 for host in inside):
        return []
    halves = (enclosing(base, region.log2 - 1) for base in (region.base, region.base + region.slots // 2))
    return [part for half in halves for part in _clear_parts(half, inside, least)]


@dataclass(slots=True)
class Search:
    """One ghost's search, in cycles of the daemon.

    Attributes:
        level: Quad-tree level above the smallest region that holds the shape.
        rounds: Quotes answered since it began.
        next_cycle: Not before this.
        asked_cycle: When the quote that is out was sent, if one is out.
        failures: Times that the root failed.
        attempts_slots: Attempted displacement not yet reported, for Re.
    """

    level: int = 0
    rounds: int = 0
    next_cycle: int = 0
    asked_cycle: int | None = None
    failures: int = 0
    attempts_slots: float = 0.0

    def region(self, slot: int, shape: Shape, zone_k: int) -> Region:
        """Where to look from a slot at the present level."""
        return enclosing(slot, int(widened(shape.sizes[0], self.level, zone_k)))

    def may_ask(self, cycle: int) -> bool:
        """Whether a quote is due: none is out, or its answer was lost."""
        free = self.asked_cycle is None or cycle - self.asked_cycle >= ANSWER_TICKS_MAX
        return free and cycle >= self.next_cycle

    def asked(self, cycle: int) -> None:
        """A quote was sent."""
        self.asked_cycle, self.next_cycle = cycle, cycle + ROUND_TICKS_MIN

    def failed(self, cycle: int, region: Region, zone_k: int, period_ticks: int, jitter: float) -> None:
        """A round found nothing: widen, or back off once the root has failed. `jitter` is a draw from [0, 1)."""
        self.rounds, self.asked_cycle = self.rounds + 1, None
        self.attempts_slots += min(1 << (region.log2 + 1) // 2, 8)
        if region.log2 < 2 * zone_k:
            self.level += 1
            return
        self.next_cycle = cycle + int(pause_ticks(self.failures, period_ticks, jitter))
        self.level, self.failures = 0, self.failures + 1

    def wait_for_room(self, cycle: int, region: Region, period_ticks: int, jitter: float) -> None:
        """The root has no room: the ledger will tell of some. `jitter` is a draw from [0, 1)."""
        self.rounds, self.asked_cycle, self.level = self.rounds + 1, None, 0
        self.attempts_slots += min(1 << (region.log2 + 1) // 2, 8)
        self.next_cycle = cycle + period_ticks // 2 + int(jitter * (period_ticks // 2))

    def put_off(self, cycle: int, ticks: int) -> None:
        """Look again after some ticks, at the same place and level."""
        self.asked_cycle, self.next_cycle = None, cycle + max(ROUND_TICKS_MIN, ticks)
