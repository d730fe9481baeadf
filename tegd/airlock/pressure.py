"""Who gives way when a host's memory runs short (DESIGN 7; paper 3.6): a reading in, the next phase and requests out.

    headroom = available + free zRAM slots x (1 - 1 / ratio) + free disk swap - reserve

with the reserve kept twice, in memory and in slots. The trigger is the dual part: headroom over the rate at which those
that run grow. When it is less than what freezing takes, the weakest are frozen and parked, a workload of several
processes in parts (`thinning`); when even the strongest alone would use it up, all are held, and the weakest that can
be saved is saved, ended, and brought back when there is room. Work that fits is left alone. The phases are one table;
what a reading means is a `Sign`.

Nothing here is kept on disk: who is frozen, and why, is in the records of the workloads, and comes with each reading.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from tegd.airlock import thinning
from tegd.airlock.thinning import Known, Part

MIB = 1 << 20

CHUNK_BYTES = 8 * MIB
"""Parked at once: one write to memory.reclaim can block for seconds."""

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

PLENTY_SHARE = 4
"""Memory is plentiful while headroom is one part in this many of all of it, and again at half as much more."""

RETURN_NS = 3_000_000_000
"""Who was parked on disk comes back when there is room for it and for this long of the others' growth."""


class Phase(StrEnum):
    """Where the host is."""

    NORMAL = "normal"
    GLASSY = "glassy"
    SEALED = "sealed"
    SUSPENDED = "suspended"
    ESCAPING = "escaping"
    RESUMED = "resumed"


class Sign(StrEnum):
    """What a reading means."""

    SAVED = "saved"
    """The one that escapes is saved and ended, and there is room for the others."""
    MORE = "more"
    """It could not be saved, or there is still no room for the others."""
    BUSY = "busy"
    """A save is under way."""
    HELD = "held"
    """All are frozen, and one can be saved."""
    SPARE = "spare"
    """All are frozen, none can be saved, and one is expected to come to its end within what is left of the reserve."""
    STUCK = "stuck"
    """All are frozen, none can be saved, and none would come to its end."""
    DRY = "dry"
    """Even the strongest alone would use up the headroom before it could be frozen."""
    SHORT = "short"
    """Those that run would."""
    TIGHT = "tight"
    """Someone is at its memory.high, and throttled."""
    ROOM = "room"
    """There is room for the strongest of the frozen."""
    FULL = "full"
    """Nothing is short, and there is no room for them."""
    CALM = "calm"
    """Nothing is short, and nobody is frozen for memory."""


_ROWS: dict[Phase, dict[Sign, Phase]] = {
    Phase.NORMAL: {
        Sign.SPARE: Phase.RESUMED,
        Sign.DRY: Phase.SUSPENDED,
        Sign.SHORT: Phase.SEALED,
        Sign.TIGHT: Phase.GLASSY,
        Sign.BUSY: Phase.ESCAPING,
        Sign.HELD: Phase.SUSPENDED,
        Sign.STUCK: Phase.SUSPENDED,
        Sign.FULL: Phase.SEALED,
        Sign.ROOM: Phase.RESUMED,
    },
    Phase.GLASSY: {
        Sign.SPARE: Phase.RESUMED,
        Sign.DRY: Phase.SUSPENDED,
        Sign.SHORT: Phase.SEALED,
        Sign.CALM: Phase.NORMAL,
        Sign.BUSY: Phase.ESCAPING,
        Sign.HELD: Phase.SUSPENDED,
        Sign.STUCK: Phase.SUSPENDED,
        Sign.FULL: Phase.SEALED,
        Sign.ROOM: Phase.RESUMED,
    },
    Phase.SEALED: {
        Sign.SPARE: Phase.RESUMED,
        Sign.DRY: Phase.SUSPENDED,
        Sign.HELD: Phase.SUSPENDED,
        Sign.STUCK: Phase.SUSPENDED,
        Sign.BUSY: Phase.ESCAPING,
        Sign.ROOM: Phase.RESUMED,
        Sign.TIGHT: Phase.RESUMED,
        Sign.CALM: Phase.RESUMED,
    },
    Phase.SUSPENDED: {
        Sign.SPARE: Phase.RESUMED,
        Sign.HELD: Phase.ESCAPING,
        Sign.BUSY: Phase.ESCAPING,
        Sign.ROOM: Phase.RESUMED,
        Sign.TIGHT: Phase.RESUMED,
        Sign.CALM: Phase.RESUMED,
    },
    Phase.ESCAPING: {
        Sign.SPARE: Phase.RESUMED,
        Sign.SAVED: Phase.RESUMED,
        Sign.MORE: Phase.SUSPENDED,
        Sign.STUCK: Phase.SUSPENDED,
    },
    Phase.RESUMED: {
        Sign.SPARE: Phase.RESUMED,
        Sign.DRY: Phase.SUSPENDED,
        Sign.SHORT: Phase.SEALED,
        Sign.HELD: Phase.SUSPENDED,
        Sign.STUCK: Phase.SUSPENDED,
        Sign.BUSY: Phase.ESCAPING,
        Sign.FULL: Phase.SEALED,
        Sign.TIGHT: Phase.GLASSY,
        Sign.CALM: Phase.NORMAL,
    },
}
TABLE: dict[tuple[Phase, Sign], Phase] = {
    (phase, sign): _ROWS[phase].get(sign, phase) for phase in Phase for sign in Sign
}
"""Every phase under every sign; where a row says nothing, the host stays where it is."""


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
        rank: The least gives way first; of equals the smaller, then the name that comes first.
        life: See `Life`.
        resident_bytes: Its own pages in memory.
        swapped_bytes: Its pages in swap.
        savable: It has a hook, or was dumped and restored when it started.
        failed: Its last save went wrong, not long ago.
        throttled: It is at its memory.high.
        image_bytes: PARKED: what it needs to come back.
        bound_bytes: What its lease has bought, kept to by its memory.high; 0: no bound; `UNBOUND`: not ours to bound.
        parts: Its processes that can be held by themselves; none while they were not looked at.
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
        poll_ns: Longest time between readings while anything is short.
    """

    reserve_bytes: int
    poll_ns: int = 100_000_000


def reserve_bytes(total_bytes: int) -> int:
    """The 5 % of DESIGN 7, and on a small host enough for what saves and its own tools need."""
    return max(total_bytes // 20, 24 * MIB)


class Act(StrEnum):
    """What a workload's machine, or an operator, is asked."""

    SEAL = "seal"
    THIN = "thin"
    HOLD = "hold"
    PARK = "park"
    SAVE = "save"
    THAW = "thaw"
    RESTORE = "restore"
    LIMIT = "limit"
    SHIELD = "shield"
    EXPOSE = "expose"
    ALERT = "alert"


class Request(NamedTuple):
    """One act, on whom, how many bytes, which parts. It may be carried out twice.

    Attributes:
        act: See `Act`.
        name: The workload.
        bytes: PARK: so many. LIMIT: its bound, 0 for none.
        parts: THIN: those that are held, and no others.
    """

    act: Act
    name: str
    bytes: int = 0
    parts: tuple[tuple[int, int], ...] = ()


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


def step(airlock: Airlock, reading: Reading, settings: Settings, freeze_ns: int) -> tuple[Airlock, list[Request]]:
    """Take a reading.

    Args:
        airlock: As it stands.
        reading: Newer than the last.
        settings: Of the host.
        freeze_ns: What freezing takes, as measured.
    """
    airlock = _measured(airlock, reading, settings)
    means = sign(airlock, reading, settings, freeze_ns)
    airlock = airlock._replace(phase=TABLE[airlock.phase, means], sign=means)
    airlock, requests = _DOES[airlock.phase](airlock, reading, settings, freeze_ns)
    if any(request.act in (Act.SEAL, Act.HOLD) or airlock.sign is Sign.SHORT for request in requests):
        airlock = airlock._replace(frozen_ns=reading.at_ns)
    limits = _limits(airlock, reading)
    asked = [Request(Act.LIMIT, name, to) for name, to in limits.items() if airlock.limits.get(name) != to]
    shielded = _shielded(airlock, reading)
    asked += [Request(Act.SHIELD, name) for name in sorted(shielded - airlock.shielded)]
    asked += [Request(Act.EXPOSE, m.name) for m in reading.members if m.name in airlock.shielded - shielded]
    airlock = airlock._replace(limits=limits, shielded=shielded)
    return airlock, asked + (requests or _sample(airlock, reading, settings))


def _shielded(airlock: Airlock, reading: Reading) -> frozenset[str]:
    """While one is saved, the kernel is to make room for it with pages that compress, its own for the most part."""
    if airlock.phase not in (Phase.SUSPENDED, Phase.ESCAPING) or reading.swap_free_bytes:
        return frozenset()
    frozen = _of(reading, Life.SEALED, Life.HELD)
    return frozenset(m.name for m in frozen if airlock.ratios.get(m.name, RATIO_UNKNOWN) < RATIO_MIN)


def _limits(airlock: Airlock, reading: Reading) -> dict[str, int]:
    """Those that run keep to what was bought for them while memory is not plentiful.

    Who is frozen has no bound: its pages would go out at once, and it would be throttled when it is thawed.
    """
    plenty = reading.total_bytes // PLENTY_SHARE
    if any(airlock.limits.values()):
        plenty += plenty // 2
    bounds = airlock.headroom_bytes < plenty
    ours = [member for member in reading.members if member.bound_bytes != UNBOUND and member.life is not Life.PARKED]
    return {m.name: m.bound_bytes if bounds and m.life is Life.RUNNING else 0 for m in ours}


def sign(airlock: Airlock, reading: Reading, settings: Settings, freeze_ns: int) -> Sign:
    """What a reading means to the airlock as it stands.

    A workload that has the host for itself is never held whole: nobody else can make room for it.
    """
    running, frozen = _of(reading, Life.RUNNING), _of(reading, Life.SEALED, Life.HELD)
    if _of(reading, Life.SAVING):
        return Sign.BUSY
    if airlock.phase is Phase.ESCAPING:
        needed = airlock.rate(_of(reading, Life.HELD)) * EASE * _lead_s(settings, freeze_ns)
        enough = airlock.headroom_bytes > needed and not any(member.failed for member in frozen)
        return Sign.SAVED if enough or _next_to_save(reading) is None else Sign.MORE
    if frozen and not running:
        return _held(airlock, reading, settings, freeze_ns)
    lead_s = _lead_s(settings, freeze_ns)
    if running and len(running) + len(frozen) > 1 and len(running[-1].run) < 2:
        above = airlock.headroom_bytes + _last_bytes(reading, settings)
        if above < max(-(settings.reserve_bytes // 4), airlock.rate(running[-1:]) * lead_s):
            return Sign.DRY
    short = airlock.headroom_bytes < airlock.rate(running) * 2 * lead_s or _cramped(airlock, running)
    if short and (len(running) > 1 or any(len(member.run) > 1 for member in running)):
        return Sign.SHORT
    return _eased(airlock, reading, settings, freeze_ns)


def _cramped(airlock: Airlock, running: list[Member]) -> bool:
    """Whether the oldest part of a workload may not come to its end beside the others."""
    crowds = [member for member in running if len(member.run) > 1]
    return any(airlock.fitting(member, member.run[:1], airlock.headroom_bytes) == 0 for member in crowds)


def _eased(airlock: Airlock, reading: Reading, settings: Settings, freeze_ns: int) -> Sign:
    """Nothing is short: what that means to those who gave way, the strongest first."""
    back = _next_back(reading)
    if back is None:
        throttled = any(member.throttled for member in _of(reading, Life.RUNNING))
        return Sign.TIGHT if throttled else Sign.CALM
    if back.life is Life.RUNNING:
        return Sign.ROOM if _parts_back(airlock, reading, settings, freeze_ns, back) else Sign.FULL
    return Sign.ROOM if _has_room(airlock, reading, settings, freeze_ns, back) else Sign.FULL


def _last_bytes(reading: Reading, settings: Settings) -> int:
    """The reserve is what a save needs: where nobody could be saved, most of it is there to be used."""
    others = _of(reading, Life.RUNNING, Life.SEALED, Life.HELD)
    can_save = len(others) > 1 and any(member.savable for member in others[:-1])
    return 0 if can_save else settings.reserve_bytes * 2 // 3


def _held(airlock: Airlock, reading: Reading, settings: Settings, freeze_ns: int) -> Sign:
    frozen = _of(reading, Life.SEALED, Life.HELD)
    if len(frozen) == 1 or _has_room(airlock, reading, settings, freeze_ns, frozen[-1]):
        return Sign.ROOM
    if _next_to_save(reading) is not None:
        return Sign.HELD
    return Sign.STUCK if _modest(airlock, reading, settings) is None else Sign.SPARE


def _modest(airlock: Airlock, reading: Reading, settings: Settings) -> Member | None:
    """The strongest that is frozen and expected to come to its end, or one part of it, in what is left."""
    left = airlock.headroom_bytes + _last_bytes(reading, settings)
    frozen = _of(reading, Life.SEALED, Life.HELD) if left > 0 else []
    fits = (m for m in reversed(frozen) if (airlock.fitting(m, m.oldest, left) if m.parts else not airlock.grows(m)))
    return next(fits, None)


def _has_room(airlock: Airlock, reading: Reading, settings: Settings, freeze_ns: int, back: Member) -> bool:
    if len(_of(reading, Life.RUNNING, Life.SEALED, Life.HELD)) == 1:
        return True
    if reading.at_ns - airlock.frozen_ns < CALM_NS:
        return False
    growth = airlock.rate([*_of(reading, Life.RUNNING), back])
    margin = reading.total_bytes // ROOM_SHARE
    return airlock.headroom_bytes > margin + growth * EASE * _lead_s(settings, freeze_ns)


def _parts_back(airlock: Airlock, reading: Reading, settings: Settings, freeze_ns: int, back: Member) -> int:
    """How many of the parts that wait, oldest first, may run on; one where none of its others runs."""
    least = 0 if back.run else 1
    if reading.at_ns - airlock.frozen_ns < CALM_NS:
        return least
    others = [member for member in _of(reading, Life.RUNNING) if member.name != back.name]
    growth = airlock.rate(others) * EASE * _lead_s(settings, freeze_ns)
    room = airlock.headroom_bytes - growth - reading.total_bytes // ROOM_SHARE / 2
    return max(least, airlock.fitting(back, [*back.run, *back.waiting], room) - len(back.run))


# --- what each phase does -------------------------------------------------------------------------------------------


def _at_ease(airlock: Airlock, reading: Reading, _settings: Settings, _freeze_ns: int) -> tuple[Airlock, list[Request]]:
    """Nobody is frozen for memory; the strongest that is parked comes back when there is room for all of it."""
    airlock = airlock._replace(alerted=False)
    parked = _of(reading, Life.PARKED)
    if not parked or _of(reading, Life.OTHER):
        return airlock, []
    running = _of(reading, Life.RUNNING)
    room = reading.available_bytes - _settings.reserve_bytes if running else airlock.headroom_bytes
    fits = room > parked[-1].image_bytes + airlock.rate(running) * RETURN_NS / 1e9
    return airlock, [Request(Act.RESTORE, parked[-1].name)] if fits else []


def _seal(airlock: Airlock, reading: Reading, settings: Settings, freeze_ns: int) -> tuple[Airlock, list[Request]]:
    """Hold the weakest, in parts before whole, as few as will do, the strongest never whole; park what is held."""
    if airlock.sign is not Sign.SHORT:
        return airlock, _park(airlock, reading, settings, _of(reading, Life.SEALED))
    running, lead_s = _of(reading, Life.RUNNING), _lead_s(settings, freeze_ns)
    notice_s = 2 * lead_s
    requests: list[Request] = []
    for number, member in enumerate(running):
        if len(member.run) > 1:
            room = airlock.headroom_bytes - airlock.rate(running[number + 1 :]) * EASE * lead_s
            count = max(1, airlock.fitting(member, member.run, room))
            airlock = _slowed(airlock, member, count / len(member.run))
            requests += [_thin(member, count)] if count < len(member.run) else []
            if airlock.headroom_bytes >= airlock.rate(running[number:]) * notice_s:
                break
        if member is not running[-1]:
            requests.append(Request(Act.SEAL, member.name))
            if airlock.headroom_bytes >= airlock.rate(running[number + 1 :]) * notice_s:
                break
    return airlock, requests or _park(airlock, reading, settings, _of(reading, Life.SEALED))


def _thin(member: Member, count: int) -> Request:
    """Hold all parts but so many of those that run."""
    held = [*member.run, *member.waiting][count:]
    return Request(Act.THIN, member.name, parts=tuple(part.key for part in held))


def _slowed(airlock: Airlock, member: Member, share: float) -> Airlock:
    """With this share of a workload's growth, as fewer of its parts run."""
    growth = airlock.growth[member.name]
    slower = Growth(growth.demand_bytes, growth.rate * share)
    return airlock._replace(growth={**airlock.growth, member.name: slower})


def _suspend(airlock: Airlock, reading: Reading, _settings: Settings, _freeze_ns: int) -> tuple[Airlock, list[Request]]:
    """Hold all that run; where nobody can be saved, say that no step is left."""
    requests = [Request(Act.HOLD, member.name) for member in _of(reading, Life.RUNNING)]
    if airlock.sign is Sign.STUCK and not airlock.alerted:
        requests.append(Request(Act.ALERT, _of(reading, Life.SEALED, Life.HELD)[0].name))
        airlock = airlock._replace(alerted=True)
    return airlock, requests


def _escape(airlock: Airlock, reading: Reading, settings: Settings, _freeze_ns: int) -> tuple[Airlock, list[Request]]:
    """Save the weakest, once; whoever runs meanwhile is held; the held make room for the save where it is short."""
    requests = [Request(Act.HOLD, member.name) for member in _of(reading, Life.RUNNING)]
    victim = _next_to_save(reading)
    if airlock.sign is Sign.HELD and victim is not None:
        return airlock, [*requests, Request(Act.SAVE, victim.name)]
    if reading.available_bytes < settings.reserve_bytes:
        requests += _park(airlock, reading, settings, _of(reading, Life.HELD))
    return airlock, requests


def _resume(airlock: Airlock, reading: Reading, settings: Settings, freeze_ns: int) -> tuple[Airlock, list[Request]]:
    """Those that were held run on; of those that gave way the strongest, while there is room for it or parts of it."""
    held = _of(reading, Life.HELD)
    if airlock.sign is Sign.SPARE:
        modest = _modest(airlock, reading, settings)
        assert modest is not None
        thin = [_thin(modest, 1)] if len(modest.run) > 1 or (modest.parts and not modest.run) else []
        return airlock, [*thin, Request(Act.THAW, modest.name)]
    if held:
        return airlock, [Request(Act.THAW, member.name) for member in held]
    back = _next_back(reading)
    if back is None:
        return airlock, []
    if back.life is Life.RUNNING:
        count = _parts_back(airlock, reading, settings, freeze_ns, back)
        return airlock, [_thin(back, len(back.run) + count)] if count else []
    if _has_room(airlock, reading, settings, freeze_ns, back):
        return airlock._replace(frozen_ns=reading.at_ns), [Request(Act.THAW, back.name)]
    return airlock, []


_DOES = {
    Phase.NORMAL: _at_ease,
    Phase.GLASSY: _at_ease,
    Phase.SEALED: _seal,
    Phase.SUSPENDED: _suspend,
    Phase.ESCAPING: _escape,
    Phase.RESUMED: _resume,
}


# --- who -------------------------------------------------------------------------------------------------------------


def _of(reading: Reading, *lives: Life) -> list[Member]:
    """Those that are there, weakest first."""
    found = [member for member in reading.members if member.life in lives]
    return sorted(found, key=lambda member: (member.rank, member.demand_bytes, member.name))


def _gave_way(reading: Reading) -> list[Member]:
    """Those that are frozen to give way, and those of which parts are held."""
    thinned = [member for member in _of(reading, Life.RUNNING) if member.waiting]
    return [*_of(reading, Life.SEALED), *thinned]


def _next_back(reading: Reading) -> Member | None:
    """Who is let run on first: one that runs without any of its parts, else the strongest that gave way or is held."""
    idle = [member for member in _of(reading, Life.RUNNING) if member.waiting and not member.run]
    if idle:
        return idle[-1]
    names = {member.name for member in _gave_way(reading)}
    back = [m for m in _of(reading, Life.RUNNING, Life.SEALED, Life.HELD) if m.name in names or m.life is Life.HELD]
    return back[-1] if back else None


def _next_to_save(reading: Reading) -> Member | None:
    """The weakest of the frozen that can be saved: one that gave way before one that is held; never the only one."""
    frozen = _of(reading, Life.SEALED) + _of(reading, Life.HELD)
    if len(frozen) + len(_of(reading, Life.RUNNING)) < 2:
        return None
    return next((member for member in frozen if member.savable and not member.failed), None)


def _park(airlock: Airlock, reading: Reading, settings: Settings, frozen: list[Member]) -> list[Request]:
    """A chunk of the weakest whose pages compress, where memory is short and slots are left above the reserve."""
    slots = reading.zram_free_bytes + reading.swap_free_bytes
    if slots < settings.reserve_bytes or reading.available_bytes > 3 * settings.reserve_bytes:
        return []
    worth = [
        member
        for member in frozen
        if member.resident_bytes > SAMPLE_BYTES
        and member.name not in airlock.unparkable
        and airlock.ratios.get(member.name, RATIO_UNKNOWN) >= RATIO_MIN
    ]
    return [Request(Act.PARK, member.name, CHUNK_BYTES) for member in worth[:1]]


def _sample(airlock: Airlock, reading: Reading, settings: Settings) -> list[Request]:
    """Before memory is short, a chunk of whoever grows most goes out, so that it is known how well pages compress."""
    running = [member for member in _of(reading, Life.RUNNING) if member.resident_bytes > CHUNK_BYTES]
    soon = airlock.rate(running) * RETURN_NS / 1e9 + reading.total_bytes // ROOM_SHARE
    known = reading.zram_stored_bytes >= SAMPLE_BYTES or reading.zram_free_bytes < settings.reserve_bytes
    if known or not running or reading.available_bytes - settings.reserve_bytes > soon:
        return []
    most = max(running, key=lambda member: airlock.growth[member.name].rate)
    return [Request(Act.PARK, most.name, CHUNK_BYTES)]


# --- the trigger -----------------------------------------------------------------------------------------------------


def _lead_s(settings: Settings, freeze_ns: int) -> float:
    """What passes from the moment that headroom falls below a line until all that run are frozen."""
    return (settings.poll_ns + freeze_ns) / 1e9


def headroom_bytes(reading: Reading, ratio: float, settings: Settings) -> int:
    """Memory that can still be had before the reserve.

    Args:
        reading: What was seen.
        ratio: How well the next page compresses; 1 or more.
        settings: Of the host.
    """
    spare = max(0, reading.zram_free_bytes + reading.swap_free_bytes - settings.reserve_bytes // 2)
    zram = min(spare, reading.zram_free_bytes)
    return reading.available_bytes + int(zram * (1.0 - 1.0 / ratio)) + spare - zram - settings.reserve_bytes


def _measured(airlock: Airlock, reading: Reading, settings: Settings) -> Airlock:
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
    return airlock._replace(headroom_bytes=headroom_bytes(reading, airlock.ratio, settings))


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
        return airlock._replace(ratio=RATIO_UNKNOWN, stored=(stored, used), swapped=swapped)
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
    sealed = {member.name for member in _of(reading, Life.SEALED) if member.swapped_bytes >= SAMPLE_BYTES}
    unparkable = airlock.unparkable | sealed if ratio < RATIO_MIN else airlock.unparkable - sealed
    return airlock._replace(ratio=ratio, unparkable=unparkable)


def _ratio_of_rest(airlock: Airlock, reading: Reading, ratio: float) -> float:
    """How well all that is in memory would compress, each workload as its own pages did."""
    total = sum(member.resident_bytes for member in reading.members)
    if total == 0:
        return ratio
    taken = sum(member.resident_bytes / airlock.ratios.get(member.name, ratio) for member in reading.members)
    return total / taken
