"""A reading of a host's memory, its workloads in it, and who of them gives way, is saved and comes back first."""

from enum import StrEnum
from typing import NamedTuple

from tegd.airlock import thinning
from tegd.airlock.thinning import Part

MIB = 1 << 20


class Life(StrEnum):
    """Where a workload is, as far as memory goes."""

    RUNNING = "running"
    SEALED = "sealed"
    """Frozen to give way."""
    HELD = "held"
    """Frozen until another is saved."""
    SAVING = "saving"
    """Being saved, or saved and being ended, to come back."""
    PARKED = "parked"
    """Saved to disk and ended; it wants to come back."""
    OTHER = "other"
    """Starting, ending, or frozen by someone else: left alone."""


UNBOUND = -1


class Member(NamedTuple):
    """A workload under the airlock.

    Attributes:
        name: Its id.
        rank: The least gives way first; of equals the later, the smaller, then the name that comes first.
        life: See `Life`.
        resident_bytes: Its own pages in memory.
        swapped_bytes: Its pages in swap.
        savable: It has a hook, or was dumped and restored when it started.
        failed: Its last save went wrong, not long ago.
        throttled: It is at its memory.high.
        image_bytes: PARKED: what it needs to come back.
        bound_bytes: What its lease has bought, kept to by its memory.high; 0: no bound; `UNBOUND`: not ours to bound.
        parts: Its processes that can be held by themselves; none while they were not looked at.
        submitted: When it was submitted, in ticks of its zone.
    """

    name: str
    rank: float
    life: Life
    resident_bytes: int = 0
    swapped_bytes: int = 0
    savable: bool = False
    failed: bool = False
    throttled: bool = False
    image_bytes: int = 0
    bound_bytes: int = UNBOUND
    parts: tuple[Part, ...] = ()
    submitted: int = 0

    @property
    def demand_bytes(self) -> int:
        """All its own pages, wherever they are."""
        return self.resident_bytes + self.swapped_bytes

    @property
    def run(self) -> list[Part]:
        """Its parts that are not held, oldest first."""
        return thinning.oldest_first(self.parts, held=False)

    @property
    def oldest(self) -> list[Part]:
        """The oldest of its parts, the first of those that are not held."""
        return [*self.run, *self.waiting][:1]

    @property
    def waiting(self) -> list[Part]:
        """Its parts that are held, oldest first."""
        return thinning.oldest_first(self.parts, held=True)


class Reading(NamedTuple):
    """What a poll saw.

    Attributes:
        at_ns: When, on the boot-time clock.
        total_bytes: MemTotal.
        available_bytes: MemAvailable.
        zram_free_bytes: Free slots of zRAM.
        zram_stored_bytes: Pages in zRAM, as they were.
        zram_used_bytes: Memory that they take there.
        swap_free_bytes: Free disk swap.
        swap_used_bytes: Used disk swap.
        members: All workloads.
    """

    at_ns: int
    total_bytes: int
    available_bytes: int
    zram_free_bytes: int
    zram_stored_bytes: int
    zram_used_bytes: int
    swap_free_bytes: int
    swap_used_bytes: int
    members: tuple[Member, ...]

    @property
    def demand_bytes(self) -> int:
        """What the host's programs hold, wherever it is."""
        taken = self.total_bytes - self.available_bytes - self.zram_used_bytes
        return taken + self.zram_stored_bytes + self.swap_used_bytes


class Settings(NamedTuple):
    """Of a host.

    Attributes:
        reserve_bytes: Kept free in memory, and half as much again in swap slots.
        poll_ns: Longest time between readings while headroom would last less than a second.
    """

    reserve_bytes: int
    poll_ns: int = 100_000_000


def reserve_bytes(total_bytes: int) -> int:
    """The 5 % of DESIGN 7, and on a small host enough for what saves and its own tools need."""
    return max(total_bytes // 20, 24 * MIB)


def of(reading: Reading, *lives: Life) -> list[Member]:
    """Those that are there, weakest first."""
    found = [member for member in reading.members if member.life in lives]
    return sorted(found, key=_weakness)


def _weakness(member: Member) -> tuple[float, int, int, str]:
    return member.rank, -member.submitted, member.demand_bytes, member.name


def gave_way(reading: Reading) -> list[Member]:
    """Those that are frozen to give way, and those of which parts are held."""
    thinned = [member for member in of(reading, Life.RUNNING) if member.waiting]
    return [*of(reading, Life.SEALED), *thinned]


def next_back(reading: Reading) -> Member | None:
    """Who is let run on first: one that runs without any of its parts, else the strongest that gave way or is held."""
    idle = [member for member in of(reading, Life.RUNNING) if member.waiting and not member.run]
    if idle:
        return idle[-1]
    names = {member.name for member in gave_way(reading)}
    back = [m for m in of(reading, Life.RUNNING, Life.SEALED, Life.HELD) if m.name in names or m.life is Life.HELD]
    return back[-1] if back else None


def next_to_save(reading: Reading) -> Member | None:
    """The weakest of the frozen that can be saved: one that gave way before one that is held; never the only one."""
    frozen = of(reading, Life.SEALED) + of(reading, Life.HELD)
    if len(frozen) + len(of(reading, Life.RUNNING)) < 2:
        return None
    return next((member for member in frozen if member.savable and not member.failed), None)
