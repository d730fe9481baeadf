"""The loop's memory side: reads the host, asks `pressure` what to do, and asks it of the workloads' own machines.

What was decided, and on which figures, is kept for people: the last `HISTORY_MAX` decisions, and each as a line of log.
"""

import sys
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

from tegcore.errors import ConfigError
from tegd.airlock import pressure, proof
from tegd.airlock.adapters.hands import Hands
from tegd.airlock.adapters.memory import GroupMemory, GroupReader, MemoryReader
from tegd.airlock.adapters.parts import PartReader
from tegd.airlock.adapters.reclaim import expose, shield, unbound
from tegd.airlock.adapters.room import Room
from tegd.airlock.adapters.units import Slice
from tegd.airlock.core import Input, Kind
from tegd.airlock.model import Cause, Held, Proof, Spec, Status, Then, Way, Workload
from tegd.airlock.phases import Phase, Sign
from tegd.airlock.pressure import Act, Request
from tegd.airlock.readings import MIB, UNBOUND, Life, Member, Reading, Settings, reserve_bytes
from tegd.airlock.settings import AirlockSettings, Mode
from tegd.airlock.signs import Airlock
from tegd.airlock.thinning import Part
from tegd.airlock.transitions import State

HISTORY_MAX = 256
ACTS_NOTED_MAX = 32
"""Of one decision: a host may hold hundreds at once."""
LINES_MAX = 1024
"""Lines of log that wait to be written; more are not said."""
UNITS_MAX = 1024
REST_NS = 250_000_000
REST_NS_MAX = 1_000_000_000
REST_SHARE = 250
"""While nothing is short, a look takes at most one part in this many, if that leaves one a second."""
ALERT_NS = 100_000_000
URGENT_NS = 40_000_000
LOOK_SHARE = 5
"""A look takes at most one part in this many of its thread's time, however slow the machine."""
FIND_NS = 1_000_000_000
RETRY_NS = 10_000_000_000
"""A save that failed, or a start that did, is tried again after this."""
SAVE_NS = 600_000_000_000
HOOK_NS = 60_000_000_000
"""A program that has no handler for its hook yet is given this long before it is asked to prove it."""
NOTICE_NS = 0
CALM_S = 30
"""Memory is plenty when headroom would last this long, and is half of all there is."""
ROOM_SPARE_BYTES = 16 * MIB

_INPUTS = {
    Act.SEAL: Input(Kind.SEAL),
    Act.HOLD: Input(Kind.HOLD),
    Act.THAW: Input(Kind.RELEASE),
    Act.SAVE: Input(Kind.SAVE, then=Then.PARK),
    Act.RESTORE: Input(Kind.RESTORE),
}


class Parks(Protocol):
    """What pushes pages of a group out."""

    def park(self, folder: Path, count: int) -> None:
        """Push this many bytes out, by and by."""

    def limit(self, folder: Path, count: int) -> None:
        """Set a group's memory.high by and by; 0: to none."""


class Guard:
    """One host's.

    Args:
        settings: Mode, slice, units.
        units: The slice.
        hands: What knows the groups, and how long freezing takes.
        memory: Reads the host.
        reclaimer: Parks.
    """

    def __init__(
        self, settings: AirlockSettings, units: Slice, hands: Hands, memory: MemoryReader, reclaimer: Parks
    ) -> None:
        self._settings = settings
        self._units = units
        self._hands = hands
        self._memory = memory
        self._groups = GroupReader()
        self._parts = PartReader()
        self._reclaimer = reclaimer
        self._airlock = Airlock()
        self._host = memory.host()
        self._room = Room()
        self._images: dict[str, int] = {}
        self._demands: dict[str, int] = {}
        self._highs: dict[str, int] = {}
        self._problems: dict[str, str] = {}
        self._find_ns = self._look_ns = 0
        self._last_asked: tuple[Phase, frozenset[Request]] = (Phase.NORMAL, frozenset())
        self._lines: SimpleQueue[str] = SimpleQueue()
        self.history: deque[dict[str, Any]] = deque(maxlen=HISTORY_MAX)
        self.due_ns = 0
        threading.Thread(target=self._say, name="say", daemon=True).start()

    def found(self, known: Mapping[str, Workload], now_ns: int) -> list[Workload]:
        """Units of the slice that run and are not known yet, once a second."""
        if now_ns < self._find_ns:
            return []
        self._find_ns = now_ns + FIND_NS
        fresh = [name for name in self._units.names() if name not in known]
        left = max(0, UNITS_MAX - sum(bool(entry.spec.unit) for entry in known.values()))
        self._problems.pop("units", None)
        if len(fresh) > left:
            self._problems["units"] = f"{self._settings.slice}: {UNITS_MAX} units are looked after, not all of them"
        return [entry for name in fresh[:left] if (entry := self._adopted(name, now_ns)) is not None]

    def look(self, known: Mapping[str, Workload], now_ns: int) -> list[tuple[str, Input]]:
        """Take a reading and decide; what the workloads are to be told."""
        if now_ns < self.due_ns:
            return []
        begun_ns = time.thread_time_ns()
        self._host = self._memory.host()
        members = tuple(
            self._member(entry, now_ns)
            for entry in known.values()
            if entry.status.state is not State.ENDED and not entry.spec.watchdog
        )
        self._demands = {member.name: member.demand_bytes for member in members}
        reading = Reading(now_ns, *self._host, members)
        poll_ns = max(URGENT_NS, LOOK_SHARE * self._look_ns)
        limits = Settings(reserve_bytes(self._host.total_bytes), poll_ns)
        freeze_ns = self._hands.freeze_ns
        before = self._airlock.phase
        self._airlock, requests = pressure.step(self._airlock, reading, limits, freeze_ns)
        self._note(before, reading, requests, freeze_ns)
        self._look_ns += (time.thread_time_ns() - begun_ns - self._look_ns) // 4
        self.due_ns = now_ns + max(self._pause_ns(reading), LOOK_SHARE * self._look_ns)
        if self._settings.mode is Mode.OBSERVE:
            return []
        if self._settings.prove and not requests and self._is_plenty(reading):
            return self._prove(known, now_ns)
        for request in requests:
            if request.act is Act.SAVE:
                self._images[request.name] = next(m.demand_bytes for m in members if m.name == request.name)
            if (group := self._hands.group(known[request.name])) is not None:
                self._move_pages(request, group)
        return [(request.name, told) for request in requests if (told := _told(request)) is not None]

    def _move_pages(self, request: Request, group: Path) -> None:
        """What changes where a group's pages are, and no workload's state."""
        match request.act:
            case Act.PARK:
                self._reclaimer.park(group, request.bytes)
            case Act.LIMIT:
                self._reclaimer.limit(group, request.bytes)
            case Act.SHIELD:
                shield(group)
            case Act.EXPOSE:
                expose(group)

    def let_go(self, known: Mapping[str, Workload]) -> None:
        """Nobody is to be bound, or kept out of swap, by an airlock that is not there."""
        for entry in known.values():
            if (group := self._hands.group(entry)) is not None:
                expose(group)
                if not entry.spec.unit and entry.status.bound_bytes:
                    unbound(group)

    def told(self, workload: Workload, events: Collection[str], now_ns: int) -> None:
        """What people are to know of a comeback, in the history of decisions and the log."""
        name, status = workload.spec.workload, workload.status
        if "again" in events:
            why = "it ended after the mark of a save in passing, and is started again from its checkpoint"
        elif "parked" in events and status.problem:
            why = status.problem
        else:
            return
        acts = [f"{'start' if 'again' in events else 'keep'} {name}"]
        self.history.append({"at_ns": now_ns, "phase": self._airlock.phase, "acts": acts, "why": why})
        self._tell(f"{name}: {why}")

    def forget(self, workload: Workload) -> None:
        """A workload that is no more."""
        name = workload.spec.workload
        if (group := self._hands.group(workload)) is not None:
            self._groups.forget(group)
        self._parts.forget(name)
        for table in (self._images, self._highs):
            table.pop(name, None)
        for about in (name, f"{name} room"):
            self._problems.pop(about, None)
        if workload.spec.hook is not None:
            checkpoint = Path(workload.spec.hook.checkpoint)
            self._room.forget(checkpoint)
            self._room.forget(checkpoint.parent)

    def view(self) -> dict[str, Any]:
        """How the host stands, for people."""
        return {
            "mode": self._settings.mode,
            "slice": self._settings.slice,
            "phase": self._airlock.phase,
            "sign": self._airlock.sign,
            "headroom_bytes": self._airlock.headroom_bytes,
            "ratio": round(self._airlock.ratio, 3),
            "freeze_ns": self._hands.freeze_ns,
            **self._host._asdict(),
            "problems": self._problems,
            "prove": self._settings.prove,
        }

    def _adopted(self, name: str, now_ns: int) -> Workload | None:
        unit = self._units.unit(name)
        if unit is None:
            return None
        try:
            said = self._settings.of_unit(name, unit.environment)
            self._problems.pop(name, None)
        except ConfigError as error:
            self._problems[name] = str(error)
            said = AirlockSettings().of_unit(name, {})
        returns = name.endswith(".service")
        if not returns and said.hook is not None:
            self._problems[name] = f"{name}: not saved by its hook: systemd starts no scope again, make it a service"
        spec = Spec(
            workload=name,
            lease=0,
            token=0,
            argv=(),
            env={},
            cwd=unit.cwd,
            uid=unit.uid,
            gid=unit.gid,
            hook=said.hook if returns else None,
            notice_ns=NOTICE_NS,
            save_ns=SAVE_NS,
            resume=False,
            resume_args=said.resume,
            rank=said.rank,
            unit=name,
            group=str(unit.group),
            dump=said.dump and returns and self._hands.can_dump,
            watchdog="WATCHDOG_USEC" in unit.environment,
        )
        self._tell(f"{name}: found, rank {said.rank:g}, {'with' if spec.hook else 'without'} a hook")
        return Workload(spec, Status(State.RUNNING, now_ns, 0, unit.main.pid, unit.main.start_ticks))

    def _member(self, entry: Workload, now_ns: int) -> Member:
        spec, status = entry.spec, entry.status
        group = self._hands.group(entry) if status.state is not State.PARKED else None
        held = self._groups.group(group) if group is not None else GroupMemory(0, 0, 0)
        if group is not None and spec.workload not in self._highs:
            expose(group)
        throttled = held.high_events > self._highs.get(spec.workload, held.high_events)
        self._highs[spec.workload] = held.high_events
        recent = now_ns - status.since_ns < RETRY_NS
        parts: tuple[Part, ...] = ()
        if group is not None and (status.parts or self._crowded()):
            demand = held.resident_bytes + held.swapped_bytes
            parts = self._parts.parts(spec.workload, group, status.pid, demand, frozenset(status.parts), now_ns)
        return Member(
            name=spec.workload,
            rank=spec.rank,
            life=Life.OTHER if status.state is State.PARKED and status.problem and recent else life(status),
            resident_bytes=held.resident_bytes,
            swapped_bytes=held.swapped_bytes,
            savable=entry.way is not None and self._armed(entry, held.resident_bytes + held.swapped_bytes),
            failed=bool(status.problem) and recent and not _has_next_rung(entry),
            throttled=throttled,
            image_bytes=self._image_bytes(entry) if status.state is State.PARKED else 0,
            parts=parts,
            bound_bytes=UNBOUND if spec.unit else status.bound_bytes,
            submitted=spec.submitted,
        )

    def _crowded(self) -> bool:
        """Whether memory is so short that parts are worth a look."""
        half = self._host.total_bytes // 2
        return self._airlock.phase is not Phase.NORMAL or self._airlock.headroom_bytes < half

    def _image_bytes(self, entry: Workload) -> int:
        """What it held when it was saved; after a restart of ours, the size of its checkpoint or image."""
        if entry.spec.workload not in self._images:
            self._images[entry.spec.workload] = self._hands.saved_bytes(entry)
        return self._images[entry.spec.workload]

    def _armed(self, entry: Workload, demand_bytes: int) -> bool:
        """Whether the disk has room for a save of it: for what it holds, or for a checkpoint as large as its last."""
        name, hook, needed = entry.spec.workload, entry.spec.hook, demand_bytes
        folder = self._hands.saves_to(entry)
        free = self._room.free_bytes(folder)
        if free < needed + ROOM_SPARE_BYTES and hook is not None and entry.way is Way.HOOK and entry.status.saved_ns:
            last_bytes = self._room.file_bytes(Path(hook.checkpoint))
            needed = min(needed, last_bytes * 5 // 4) if last_bytes else needed
        armed = free >= needed + ROOM_SPARE_BYTES
        said = f"{name}: not to be saved while {folder} has {free // MIB} MiB free, of {needed // MIB} MiB and a spare"
        if armed:
            self._problems.pop(f"{name} room", None)
        else:
            self._problems[f"{name} room"] = said
        return armed

    def _is_plenty(self, reading: Reading) -> bool:
        airlock = self._airlock
        growth = airlock.rate([member for member in reading.members if member.life is Life.RUNNING])
        half = airlock.headroom_bytes * 2 > reading.total_bytes
        return airlock.phase is Phase.NORMAL and half and airlock.headroom_bytes > growth * CALM_S

    def _prove(self, known: Mapping[str, Workload], now_ns: int) -> list[tuple[str, Input]]:
        """One that is to show that it can be saved: its image and the copy that is tried are to fit beside the rest."""
        spare = self._airlock.headroom_bytes // 2

        def count(entry: Workload) -> int:
            return self._demands.get(entry.spec.workload, spare + 1)

        def fits(entry: Workload) -> bool:
            demand = count(entry)
            ready = self._hands.answers_its_hook(entry) or now_ns - entry.status.since_ns > HOOK_NS
            return demand <= spare and ready and self._armed(entry, demand)

        entry = proof.candidate(known.values(), count, fits, now_ns)
        return [(entry.spec.workload, Input(Kind.SAVE, then=Then.PROVE))] if entry is not None else []

    def _pause_ns(self, reading: Reading) -> int:
        airlock = self._airlock
        if airlock.phase in (Phase.SUSPENDED, Phase.RESUMED) or airlock.sign in (Sign.SHORT, Sign.DRY):
            return URGENT_NS
        running = [member for member in reading.members if member.life is Life.RUNNING]
        if airlock.headroom_bytes < airlock.rate(running):
            return URGENT_NS
        calm = airlock.phase is Phase.NORMAL and airlock.headroom_bytes * 10 > 3 * reading.total_bytes
        return min(REST_NS_MAX, max(REST_NS, REST_SHARE * self._look_ns)) if calm else ALERT_NS

    def _note(self, before: Phase, reading: Reading, requests: list[Request], freeze_ns: int) -> None:
        airlock = self._airlock
        asked = frozenset(request for request in requests if request.act is not Act.PARK)
        if before is airlock.phase and (not asked or (airlock.phase, asked) == self._last_asked):
            return
        self._last_asked = (airlock.phase, asked)
        running = [member for member in reading.members if member.life is Life.RUNNING]
        growth = airlock.rate(running)
        why = (
            f"{airlock.sign}: headroom {airlock.headroom_bytes / MIB:.0f} MiB, growth {growth / MIB:.1f} MiB/s, "
            f"available {reading.available_bytes / MIB:.0f} MiB, "
            f"zRAM free {reading.zram_free_bytes / MIB:.0f} MiB at ratio {airlock.ratio:.2f}, "
            f"freezing takes {freeze_ns / 1e6:.0f} ms"
        )
        acts = [f"{request.act} {request.name}" for request in sorted(asked)]
        if len(acts) > ACTS_NOTED_MAX:
            acts = [*acts[:ACTS_NOTED_MAX], f"and {len(acts) - ACTS_NOTED_MAX} more"]
        only = " (observed only)" if self._settings.mode is Mode.OBSERVE and acts else ""
        self.history.append({"at_ns": reading.at_ns, "phase": airlock.phase, "acts": acts, "why": why + only})
        self._tell(f"{before} -> {airlock.phase}: {', '.join(acts) or 'nothing to do'}{only}; {why}")

    def _tell(self, line: str) -> None:
        if self._lines.qsize() < LINES_MAX:
            self._lines.put(line)

    def _say(self) -> None:
        """In a thread: nothing urgent waits for who reads the log, or ends with it."""
        while True:
            with suppress(OSError):
                print(f"tegd-airlock: {self._lines.get()}", file=sys.stderr, flush=True)


def _has_next_rung(entry: Workload) -> bool:
    """Whether the way in which it would be saved next is another than the one that failed."""
    return entry.status.proof is Proof.UNTRIED and entry.way is not entry.status.by


def _told(request: Request) -> Input | None:
    """What a request is to the workload's own machine."""
    return Input(Kind.THIN, parts=request.parts) if request.act is Act.THIN else _INPUTS.get(request.act)


def life(status: Status) -> Life:
    """Where a workload is, as far as memory goes."""
    if status.state in (State.SAVING, State.FLUSHING):
        return Life.SAVING if status.then is Then.PARK else Life.OTHER
    if status.state is State.KILLING and status.cause is Cause.MEMORY:
        return Life.SAVING
    if status.state is State.FROZEN:
        return {Held.MEMORY: Life.SEALED, Held.SAVE: Life.HELD}.get(status.held, Life.OTHER)
    return {State.RUNNING: Life.RUNNING, State.PARKED: Life.PARKED}.get(status.state, Life.OTHER)
