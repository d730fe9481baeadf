"""Who gives way when a host's memory runs short (DESIGN 7; paper 3.6): a reading in, the next phase and requests out.

What a reading means is a `Sign` (`signs`), the phases are one table (`phases`). When headroom would last for less than
what freezing takes, the weakest are frozen and parked, a workload of several processes in parts (`thinning`); when even
the strongest alone would use it up, all are held, and the weakest that can be saved is saved, ended, and brought back
when there is room. Work that fits is left alone.

Nothing here is kept on disk: who is frozen, and why, is in the records of the workloads, and comes with each reading.
"""

from enum import StrEnum
from typing import NamedTuple

from tegd.airlock.phases import TABLE, Phase, Sign
from tegd.airlock.readings import MIB, UNBOUND, Life, Member, Reading, Settings, next_back, next_to_save, of
from tegd.airlock.signs import (
    EASE,
    RATIO_MIN,
    RATIO_UNKNOWN,
    ROOM_SHARE,
    SAMPLE_BYTES,
    Airlock,
    Growth,
    has_room,
    lead_s,
    measured,
    modest,
    notice_bytes,
    parts_back,
    sign,
)

RATIO_USELESS = 1.1
"""Pages that compress less take as much memory in zRAM as they leave."""

CHUNK_BYTES = 8 * MIB
"""Parked at once: one write to memory.reclaim can block for seconds."""

PLENTY_SHARE = 4
"""Memory is plentiful while headroom is one part in this many of all of it, and again at half as much more."""

RETURN_NS = 3_000_000_000
"""Who was parked on disk comes back when there is room for it and for this long of the others' growth."""


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


def step(airlock: Airlock, reading: Reading, settings: Settings, freeze_ns: int) -> tuple[Airlock, list[Request]]:
    """Take a reading.

    Args:
        airlock: As it stands.
        reading: Newer than the last.
        settings: Of the host.
        freeze_ns: What freezing takes, as measured.
    """
    airlock = measured(airlock, reading, settings)
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
    """Pages that gain nothing in zRAM stay out of it, where they would take slots from those that do.

    While one is saved, the kernel is to make room for it with pages that compress well, its own for the most part. Who
    has the host for itself is left to the kernel.
    """
    there = of(reading, Life.RUNNING, Life.SEALED, Life.HELD)
    if reading.swap_free_bytes or len(there) + len(of(reading, Life.SAVING)) < 2:
        return frozenset()
    saves = airlock.phase in (Phase.SUSPENDED, Phase.ESCAPING)
    worth = {m.name: RATIO_MIN if saves and m.life in (Life.SEALED, Life.HELD) else RATIO_USELESS for m in there}
    return frozenset(name for name, least in worth.items() if airlock.ratios.get(name, RATIO_UNKNOWN) < least)


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


# --- what each phase does -------------------------------------------------------------------------------------------


def _at_ease(airlock: Airlock, reading: Reading, _settings: Settings, _freeze_ns: int) -> tuple[Airlock, list[Request]]:
    """Nobody is frozen for memory; the strongest that is parked comes back when there is room for all of it."""
    airlock = airlock._replace(alerted=False)
    parked = of(reading, Life.PARKED)
    if not parked or of(reading, Life.OTHER):
        return airlock, []
    running = of(reading, Life.RUNNING)
    room = reading.available_bytes - _settings.reserve_bytes if running else airlock.headroom_bytes
    fits = room > parked[-1].image_bytes + airlock.rate(running) * RETURN_NS / 1e9
    return airlock, [Request(Act.RESTORE, parked[-1].name)] if fits else []


def _seal(airlock: Airlock, reading: Reading, settings: Settings, freeze_ns: int) -> tuple[Airlock, list[Request]]:
    """Hold the weakest, in parts before whole, as few as will do, the strongest never whole; park what is held."""
    if airlock.sign is not Sign.SHORT:
        return airlock, _park(airlock, reading, settings, of(reading, Life.SEALED))
    running, lead = of(reading, Life.RUNNING), lead_s(settings, freeze_ns)
    requests: list[Request] = []
    for number, member in enumerate(running):
        if len(member.run) > 1:
            room = airlock.headroom_bytes - airlock.rate(running[number + 1 :]) * EASE * lead
            count = max(1, airlock.fitting(member, member.run, room))
            airlock = _slowed(airlock, member, count / len(member.run))
            requests += [_thin(member, count)] if count < len(member.run) else []
            if airlock.headroom_bytes >= notice_bytes(airlock, running[number:], lead):
                break
        if member is not running[-1]:
            requests.append(Request(Act.SEAL, member.name))
            if airlock.headroom_bytes >= notice_bytes(airlock, running[number + 1 :], lead):
                break
    return airlock, requests or _park(airlock, reading, settings, of(reading, Life.SEALED))


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
    requests = [Request(Act.HOLD, member.name) for member in of(reading, Life.RUNNING)]
    if airlock.sign is Sign.STUCK and not airlock.alerted:
        requests.append(Request(Act.ALERT, of(reading, Life.SEALED, Life.HELD)[0].name))
        airlock = airlock._replace(alerted=True)
    return airlock, requests


def _escape(airlock: Airlock, reading: Reading, settings: Settings, _freeze_ns: int) -> tuple[Airlock, list[Request]]:
    """Save the weakest, once; whoever runs meanwhile is held; the held make room for the save where it is short."""
    requests = [Request(Act.HOLD, member.name) for member in of(reading, Life.RUNNING)]
    victim = next_to_save(reading)
    if airlock.sign is Sign.HELD and victim is not None:
        return airlock, [*requests, Request(Act.SAVE, victim.name)]
    if reading.available_bytes < settings.reserve_bytes:
        requests += _park(airlock, reading, settings, of(reading, Life.HELD))
    return airlock, requests


def _resume(airlock: Airlock, reading: Reading, settings: Settings, freeze_ns: int) -> tuple[Airlock, list[Request]]:
    """Those that were held run on; of those that gave way the strongest, while there is room for it or parts of it."""
    held = of(reading, Life.HELD)
    if airlock.sign is Sign.SPARE:
        last = modest(airlock, reading, settings)
        assert last is not None
        thin = [_thin(last, 1)] if len(last.run) > 1 or (last.parts and not last.run) else []
        return airlock, [*thin, Request(Act.THAW, last.name)]
    if held:
        return airlock, [Request(Act.THAW, member.name) for member in held]
    back = next_back(reading)
    if back is None:
        return airlock, []
    if back.life is Life.RUNNING:
        count = parts_back(airlock, reading, settings, freeze_ns, back)
        return airlock, [_thin(back, len(back.run) + count)] if count else []
    if has_room(airlock, reading, settings, freeze_ns, back):
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


# --- pages ------------------------------------------------------------------------------------------------------------


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
    """Before memory is short, a chunk of each goes out, so that it is known how well its pages compress."""
    running = [member for member in of(reading, Life.RUNNING) if member.resident_bytes > CHUNK_BYTES]
    soon = airlock.rate(running) * RETURN_NS / 1e9 + reading.total_bytes // ROOM_SHARE
    spare = reading.available_bytes - settings.reserve_bytes
    late = spare < 0 and reading.zram_stored_bytes >= SAMPLE_BYTES
    unseen = [m for m in running if m.name not in airlock.ratios and m.swapped_bytes < 2 * CHUNK_BYTES]
    if late or spare > soon or not unseen or reading.zram_free_bytes < settings.reserve_bytes:
        return []
    most = max(unseen, key=lambda member: airlock.growth[member.name].rate)
    return [Request(Act.PARK, most.name, CHUNK_BYTES)]
