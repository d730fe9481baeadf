"""What a reading means: headroom, how fast it is used up, how pages compress, and the sign that follows (DESIGN 7).

    headroom = available + free zRAM slots x (1 - 1 / ratio) + free disk swap - reserve

with the reserve kept twice, in memory and in slots, and no more slots counted than there are pages to fill them. The
trigger is the dual part: headroom over the rate at which those that run grow, against the time that freezing takes.
"""

from collections.abc import Mapping, Set
from types import MappingProxyType
from typing import Any, NamedTuple

from tegd.airlock import thinning
from tegd.airlock.phases import Phase, Sign
from tegd.airlock.readings import MIB, Life, Member, Reading, Settings, next_back, next_to_save, of
from tegd.airlock.thinning import Known, Part

RATIO_UNKNOWN = 1.5
"""How well pages are taken to compress before some were."""

RATIO_MIN = 1.5
"""Pages that compress less are not worth parking."""

RATIO_MAX = 8.0
"""Pages are not taken to compress better."""

ALONE = 0.75
"""Pages that went to zRAM say how one workload compresses when it had this share of them."""

SAMPLE_BYTES = 4 * MIB
"""Pages in zRAM below which its ratio says nothing."""

RATE_TAU_NS = 500_000_000
"""Growth is smoothed over this time."""

PRESSED_TAU_NS = 3_000_000_000
"""And forgotten over this one while memory holds little more than the reserve: what has to wait for pages would grow
faster."""

STILL_BYTES = MIB // 2
"""Growth below this a second is none."""

CALM_NS = 1_000_000_000
"""Nobody is thawed sooner after the last freeze, so that what it brought about can be seen."""

EASE = 4.0
"""Who was frozen is thawed when headroom would last this many times as long as freezing takes."""

ROOM_SHARE = 16
"""And when one part in this many of all memory is free beyond what froze it."""


class Growth(NamedTuple):
    """Of one workload: its demand at the last reading, and its smoothed rate in bytes a second, kept while frozen."""

    demand_bytes: int
    rate: float


_NONE: Mapping[str, Any] = MappingProxyType({})


class Airlock(NamedTuple):
    """What is kept between readings. All of it can be lost: the next readings bring it back.

    Attributes:
        phase: See `Phase`.
        sign: What the last reading meant.
        headroom_bytes: At the last reading.
        growth: Of each workload.
        outside: Of all else on the host.
        known: Of the parts of each workload that has several.
        ratio: How well the next page is taken to compress.
        stored: Of zRAM when the ratio was taken: pages and what they take.
        swapped: Of each workload, when the ratio was taken.
        ratios: How well the pages of each compressed, where those of one came alone.
        unparkable: Whose pages do not compress.
        frozen_ns: When someone was last frozen.
        at_ns: Of the last reading; 0: none.
        limits: What was last asked of each that has a bound.
        shielded: Whose pages stay in memory, of no use in zRAM.
        alerted: Whether an operator was told that no step is left.
    """

    phase: Phase = Phase.NORMAL
    sign: Sign = Sign.CALM
    headroom_bytes: int = 0
    growth: Mapping[str, Growth] = _NONE
    outside: Growth = Growth(0, 0.0)
    known: Mapping[str, Known] = _NONE
    ratio: float = RATIO_UNKNOWN
    stored: tuple[int, int] = (0, 0)
    swapped: Mapping[str, int] = _NONE
    ratios: Mapping[str, float] = _NONE
    unparkable: frozenset[str] = frozenset()
    frozen_ns: int = 0
    at_ns: int = 0
    limits: Mapping[str, int] = _NONE
    shielded: frozenset[str] = frozenset()
    alerted: bool = False

    def grows(self, member: Member) -> bool:
        """Whether a workload does."""
        return self.growth[member.name].rate > STILL_BYTES

    def fitting(self, member: Member, parts: list[Part], room_bytes: float) -> int:
        """How many of these parts of a workload, from the first on, fit into this room."""
        known = self.known.get(member.name, thinning.NOTHING)
        return thinning.fitting(parts, known, room_bytes, grows=self.grows(member))

    def rate(self, members: list[Member]) -> float:
        """By which these and all that is outside grow, in bytes a second."""
        rates = [self.outside.rate, *(self.growth[member.name].rate for member in members)]
        return sum(rate for rate in rates if rate > STILL_BYTES)


def sign(airlock: Airlock, reading: Reading, settings: Settings, freeze_ns: int) -> Sign:
    """What a reading means to the airlock as it stands.

    A workload that has the host for itself is never held whole: nobody else can make room for it.
    """
    running, frozen = of(reading, Life.RUNNING), of(reading, Life.SEALED, Life.HELD)
    if of(reading, Life.SAVING):
        return Sign.BUSY
    if airlock.phase is Phase.ESCAPING:
        needed = airlock.rate(of(reading, Life.HELD)) * EASE * lead_s(settings, freeze_ns)
        enough = airlock.headroom_bytes > needed and not any(member.failed for member in frozen)
        return Sign.SAVED if enough else Sign.MORE
    if frozen and not running:
        return _held(airlock, reading, settings, freeze_ns)
    lead = lead_s(settings, freeze_ns)
    if running and len(running) + len(frozen) > 1 and len(running[-1].run) < 2:
        above = airlock.headroom_bytes + _last_bytes(reading, settings)
        if above < max(-(settings.reserve_bytes // 4), airlock.rate(running[-1:]) * lead):
            return Sign.DRY
    short = airlock.headroom_bytes < notice_bytes(airlock, running, lead) or _cramped(airlock, running)
    if short and (len(running) > 1 or any(len(member.run) > 1 for member in running)):
        return Sign.SHORT
    return _eased(airlock, reading, settings, freeze_ns)


def _cramped(airlock: Airlock, running: list[Member]) -> bool:
    """Whether the oldest part of a workload may not come to its end beside the others."""
    crowds = [member for member in running if len(member.run) > 1]
    return any(airlock.fitting(member, member.run[:1], airlock.headroom_bytes) == 0 for member in crowds)


def _eased(airlock: Airlock, reading: Reading, settings: Settings, freeze_ns: int) -> Sign:
    """Nothing is short: what that means to those who gave way, the strongest first."""
    back = next_back(reading)
    if back is None:
        throttled = any(member.throttled for member in of(reading, Life.RUNNING))
        return Sign.TIGHT if throttled else Sign.CALM
    if back.life is Life.RUNNING:
        return Sign.ROOM if parts_back(airlock, reading, settings, freeze_ns, back) else Sign.FULL
    return Sign.ROOM if has_room(airlock, reading, settings, freeze_ns, back) else Sign.FULL


def _last_bytes(reading: Reading, settings: Settings) -> int:
    """The reserve is what a save needs: where nobody could be saved, most of it is there to be used."""
    others = of(reading, Life.RUNNING, Life.SEALED, Life.HELD)
    can_save = len(others) > 1 and any(member.savable for member in others[:-1])
    return 0 if can_save else settings.reserve_bytes * 2 // 3


def _held(airlock: Airlock, reading: Reading, settings: Settings, freeze_ns: int) -> Sign:
    frozen = of(reading, Life.SEALED, Life.HELD)
    if len(frozen) == 1 or has_room(airlock, reading, settings, freeze_ns, frozen[-1]):
        return Sign.ROOM
    if next_to_save(reading) is not None:
        return Sign.HELD
    return Sign.STUCK if modest(airlock, reading, settings) is None else Sign.SPARE


def modest(airlock: Airlock, reading: Reading, settings: Settings) -> Member | None:
    """The strongest that is frozen and expected to come to its end, or one part of it, in what is left."""
    left = airlock.headroom_bytes + _last_bytes(reading, settings)
    frozen = of(reading, Life.SEALED, Life.HELD) if left > 0 else []
    fits = (m for m in reversed(frozen) if (airlock.fitting(m, m.oldest, left) if m.parts else not airlock.grows(m)))
    return next(fits, None)


def has_room(airlock: Airlock, reading: Reading, settings: Settings, freeze_ns: int, back: Member) -> bool:
    """Whether one that is frozen may run on, with those that run."""
    if len(of(reading, Life.RUNNING, Life.SEALED, Life.HELD)) == 1:
        return True
    if reading.at_ns - airlock.frozen_ns < CALM_NS:
        return False
    growth = airlock.rate([*of(reading, Life.RUNNING), back])
    margin = reading.total_bytes // ROOM_SHARE
    return airlock.headroom_bytes > margin + growth * EASE * lead_s(settings, freeze_ns)


def parts_back(airlock: Airlock, reading: Reading, settings: Settings, freeze_ns: int, back: Member) -> int:
    """How many of the parts that wait, oldest first, may run on; one where none of its others runs."""
    least = 0 if back.run else 1
    if reading.at_ns - airlock.frozen_ns < CALM_NS:
        return least
    others = [member for member in of(reading, Life.RUNNING) if member.name != back.name]
    growth = airlock.rate(others) * EASE * lead_s(settings, freeze_ns)
    room = airlock.headroom_bytes - growth - reading.total_bytes // ROOM_SHARE / 2
    return max(least, airlock.fitting(back, [*back.run, *back.waiting], room) - len(back.run))


# --- the trigger -----------------------------------------------------------------------------------------------------


def lead_s(settings: Settings, freeze_ns: int) -> float:
    """What passes from the moment that headroom falls below a line until all that run are frozen."""
    return (settings.poll_ns + freeze_ns) / 1e9


def notice_bytes(airlock: Airlock, running: list[Member], lead: float) -> float:
    """What those that run take until the weaker are frozen, and the strongest then until it could be.

    Where that still fits, nobody is held: the next reading comes in time.

    Args:
        airlock: With the growth of each.
        running: Weakest first.
        lead: See `lead_s`.
    """
    return (airlock.rate(running) + airlock.rate(running[-1:])) * lead


def headroom_bytes(reading: Reading, ratio: float, settings: Settings, shielded: Set[str]) -> int:
    """Memory that can still be had before the reserve.

    Args:
        reading: What was seen.
        ratio: How well the next page compresses; 1 or more.
        settings: Of the host.
        shielded: Whose pages fill no slots.
    """
    kept = sum(member.resident_bytes for member in reading.members if member.name in shielded)
    pages = reading.total_bytes - reading.zram_used_bytes - kept
    slots = reading.zram_free_bytes + reading.swap_free_bytes - settings.reserve_bytes // 2
    spare = max(0, min(slots, pages))
    zram = min(spare, reading.zram_free_bytes)
    return reading.available_bytes + int(zram * (1.0 - 1.0 / ratio)) + spare - zram - settings.reserve_bytes


def measured(airlock: Airlock, reading: Reading, settings: Settings) -> Airlock:
    """Headroom, the growth of each and of all else, and how pages compress."""
    elapsed_ns = reading.at_ns - airlock.at_ns if airlock.at_ns else 0
    growth = {}
    known = {
        member.name: thinning.learned(airlock.known.get(member.name, thinning.NOTHING), member.parts, reading.at_ns)
        for member in reading.members
    }
    for member in reading.members:
        before = airlock.growth.get(member.name, Growth(member.demand_bytes, 0.0))
        runs = member.life is Life.RUNNING
        after = _grown(before, member.demand_bytes, elapsed_ns)
        if reading.available_bytes < settings.reserve_bytes * 3 // 2:
            kept = before.rate * max(0.0, 1.0 - elapsed_ns / PRESSED_TAU_NS)
            after = after._replace(rate=max(after.rate, kept))
        growth[member.name] = after if runs else before
    outside = reading.demand_bytes - sum(member.demand_bytes for member in reading.members)
    airlock = _compressed(airlock, reading)._replace(
        growth=growth,
        known=known,
        outside=_grown(airlock.outside, outside, elapsed_ns),
        at_ns=reading.at_ns,
    )
    return airlock._replace(headroom_bytes=headroom_bytes(reading, airlock.ratio, settings, airlock.shielded))


def _grown(before: Growth, demand_bytes: int, elapsed_ns: int) -> Growth:
    if elapsed_ns <= 0:
        return Growth(demand_bytes, before.rate)
    weight = min(1.0, elapsed_ns / RATE_TAU_NS)
    rate = (demand_bytes - before.demand_bytes) / elapsed_ns * 1e9
    return Growth(demand_bytes, before.rate + weight * (rate - before.rate))


def _compressed(airlock: Airlock, reading: Reading) -> Airlock:
    """The worst of three ratios: of all that is in zRAM, of what came last, and of what is in memory yet."""
    stored, used = reading.zram_stored_bytes, reading.zram_used_bytes
    swapped = {member.name: member.swapped_bytes for member in reading.members}
    if stored < SAMPLE_BYTES:
        ratio = min(RATIO_UNKNOWN, _ratio_of_rest(airlock, reading, RATIO_UNKNOWN))
        return airlock._replace(ratio=ratio, stored=(stored, used), swapped=swapped)
    if abs(stored - airlock.stored[0]) < SAMPLE_BYTES:
        return airlock._replace(ratio=min(airlock.ratio, _ratio_of_rest(airlock, reading, airlock.ratio)))
    more, taken = stored - airlock.stored[0], used - airlock.stored[1]
    last = max(1.0, more / max(1, taken)) if more > 0 else float("inf")
    ratios = {name: ratio for name, ratio in airlock.ratios.items() if name in swapped}
    came = {name: max(0, now - airlock.swapped.get(name, 0)) for name, now in swapped.items()}
    most = max(came, key=lambda name: came[name], default="")
    if more > 0 and came.get(most, 0) > ALONE * max(more, sum(came.values())):
        ratios[most] = min(last, RATIO_MAX)
    airlock = airlock._replace(stored=(stored, used), swapped=swapped, ratios=ratios)
    ratio = max(1.0, min(stored / max(1, used), last))
    ratio = min(ratio, _ratio_of_rest(airlock, reading, ratio))
    sealed = {member.name for member in of(reading, Life.SEALED) if member.swapped_bytes >= SAMPLE_BYTES}
    known = airlock.unparkable.intersection(swapped)
    unparkable = known | sealed if ratio < RATIO_MIN else known - sealed
    return airlock._replace(ratio=ratio, unparkable=unparkable)


def _ratio_of_rest(airlock: Airlock, reading: Reading, ratio: float) -> float:
    """How well all that is in memory would compress, each workload as its own pages did.

    Of one whose pages were not seen to, nothing is known, however well those of others compress.
    """
    total = sum(member.resident_bytes for member in reading.members)
    if total == 0:
        return ratio
    unseen = min(ratio, RATIO_UNKNOWN)
    taken = sum(member.resident_bytes / airlock.ratios.get(member.name, unseen) for member in reading.members)
    return total / taken
