"""The agent side without its broker, its airlock side, its disk and its sensors: one cycle, and all that can be heard.

Around `Node`: the flight of its ghosts, what is said in a cycle, and what each message leads to. What is to be kept is
on disk before what is said in the same cycle leaves.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from tegcore.backoff import Backoff
from tegcore.dynamics.mass import charge, mass
from tegcore.errors import DecodeError
from tegcore.field.requests import Mix, unpacked
from tegcore.wire.messages import (
    EVENTS_OF_RULES,
    SAMPLES_PER_MESSAGE_MAX,
    SCHEMA,
    AnyMessage,
    Ask,
    Beat,
    Events,
    Field,
    Heat,
    Hello,
    HostKind,
    Message,
    Motion,
    Peers,
    Rejected,
    Sample,
    Status,
    Telemetry,
    Welcome,
)
from tegcore.wire.records import Reason
from tegcore.wire.topics import Channel
from tegd.bidding import Usage
from tegd.calls import is_run, run_of
from tegd.effects import AskPeers, Effect, Run
from tegd.flight import Flight
from tegd.link import Link
from tegd.modes import Happening, Mode
from tegd.node import Node
from tegd.room import fragmentation
from tegd.travel import Travel
from tegd.workload import Workload

UNFORESEEN = "UNFORESEEN"
"""What is counted where an error was none of those that are refused: a fault of this program."""

HELLO_EVERY_CYCLES = 10
HELLO_CYCLES_MAX = 600
HEARD_EVERY_CYCLES = 20
"""The ledger hears of a host at least so often."""
STATUS_EVERY_CYCLES = 200
OFFERED_PERCENT = 95
"""Of a host's memory, the ledger promises less than this."""
USAGE_EVERY_CYCLES = 10
SLOTS_ENTRY = "TEG_SLOTS"
"""Of a workload's environment: the numbers of its slots on its host, from 0, as `0,1`."""


_mass = lru_cache(maxsize=1 << 14)(mass)
"""Asked for in every cycle, while what it follows from seldom changes."""


class Place(NamedTuple):
    """What a host introduces itself with; see `tegcore.wire.messages.Hello`."""

    host: str
    base: int
    log2_slots: int
    slot_class: int
    cpu_milli: int
    mem_bytes: int
    absent_mask: int = 0
    machine: int = 0


class Say(NamedTuple):
    """A message for the broker."""

    channel: Channel
    message: Message
    retain: bool = False


class AgentSide:
    """One host's agent side under one boot.

    Args:
        place: Of the host.
        boot: Number of this start.
        seed: Of the random streams.
        tokens: Token of each tenant that may submit here.
        now_ns: Boot-time clock.
        slots_as: Entries of the environment beside `TEG_SLOTS` that say the same.

    Attributes:
        address: HOST:PORT at which this host hears others; empty: it hears none.
        not_taken_in: Messages that were read and not taken in, by name of the reason, or `UNFORESEEN`.
        flaw: What was wrong with the latest of them.
    """

    def __init__(
        self,
        place: Place,
        boot: int,
        seed: int,
        tokens: Mapping[str, int],
        now_ns: int,
        slots_as: tuple[str, ...] = (),
    ) -> None:
        self._place = place
        self._slots_as = slots_as
        self._seed = seed
        self._flight: Flight | None = None
        self._mix: Mix | None = None
        self._samples: deque[Sample] = deque(maxlen=SAMPLES_PER_MESSAGE_MAX)
        self._telemetry_seq = 0
        self._hello_cycle = 0
        self._away = False
        self._hellos = Backoff(HELLO_EVERY_CYCLES, HELLO_CYCLES_MAX, HELLO_CYCLES_MAX, seed ^ place.machine)
        self.node = Node(place.host, Link(place.host, boot, now_ns), seed, tokens)
        self.node.offers = HostKind(
            place.slot_class, place.log2_slots, place.cpu_milli, place.mem_bytes * OFFERED_PERCENT // 100
        )
        self.travel = self.node.travel = Travel(self.node, place.log2_slots)
        self.address = ""
        self.not_taken_in: Counter[str] = Counter()
        self.flaw = ""

    # --- what is heard ----------------------------------------------------------------------------------------------

    def ready(self) -> None:
        """The store is read and the airlock side answers."""
        self.node.happen(Happening.LOADED)

    def loaded(self, works: Iterable[Workload]) -> None:
        """What was on disk."""
        for work in works:
            self.node.submitted(work)

    def met(self, entries: Iterable[dict[str, Any]], now_ns: int) -> list[Effect]:
        """The airlock side has told all that it holds: take it in, and ask for what it may not have heard."""
        entries, effects = list(filter(is_run, entries)), []
        self.node.runs = {entry["workload"]: entry["state"] for entry in entries}
        for entry in entries:
            effects += self.changed(entry, now_ns)
        return effects + self.node.airlock_back()

    def changed(self, entry: dict[str, Any], now_ns: int) -> list[Effect]:
        """The airlock side has told of a run; units that others started are not this side's."""
        return self.node.run_changed(run_of(entry), now_ns) if is_run(entry) else []

    def refused(self, verb: str, airlock_id: str, reason: str, problem: str, now_ns: int) -> list[Effect]:
        """A request was not taken: a refused start is the run's end, all else shows in what is told of the run."""
        if verb != "start":
            return []
        cause = "term" if reason == "past_term" else "start_failed"
        if cause == "term":
            self.travel.never_ran(airlock_id)
        return self.node.run_changed(Run(airlock_id, "ended", cause, problem=problem), now_ns)

    def heard(self, message: AnyMessage, now_ns: int) -> list[Effect]:
        """A message came from the ledger or the governor; who is about to end takes none in.

        What is no event, or leads to what nobody foresaw, ends no host: it is counted, and where it came with the
        session, another begins, in which what may have been missed is told anew.
        """
        if self.node.mode is Mode.SAFE:
            return []
        try:
            return self._taken_in(message, now_ns)
        except Exception as error:
            self.not_taken_in[Reason.UNDECODABLE.name if isinstance(error, DecodeError) else UNFORESEEN] += 1
            self.flaw = f"{type(message).__name__}: {type(error).__name__}: {error}"
            return self.node.disowned(self.node.link.boot) if isinstance(message, Events | Welcome) else []

    def _taken_in(self, message: AnyMessage, now_ns: int) -> list[Effect]:
        match message:
            case Welcome():
                self.node.welcomed(message)
            case Peers():
                if message.boot == self.node.link.boot:
                    self.travel.peers_told(message)
            case Events():
                return self.node.told_events(message, now_ns)
            case Rejected():
                return self._rejected(message)
            case Beat():
                self.node.beaten(message.tick, message.market, now_ns)
            case Field():
                if self._flight is not None:
                    self._flight.field_came(message)
                self.node.field_came(message.mu_ucr)
            case Heat():
                if message.delta == 0 and (mix := unpacked(message.mix)) is not None:
                    self._mix = mix
                self.node.stock = message.stock or self.node.stock
                if self._flight is not None:
                    self._flight.heat_came(message)
        return []

    def _rejected(self, message: Rejected) -> list[Effect]:
        """The ledger did not take something in. Of two machines of one name the later one asks ever less often."""
        if message.reason == Reason.STALE_BOOT:
            return self.node.disowned(message.boot)
        if message.reason == Reason.HISTORY and message.boot == self.node.link.boot:
            self.node.forget()
        if message.reason == Reason.TWIN:
            self.node.twin_cycle = self.node.cycle
            if message.boot == self.node.link.boot and self.node.zone is None:
                self._hello_cycle = self.node.cycle + round(self._hellos.pause())
        return []

    def rejoin(self, boot: int, now_ns: int) -> None:
        """Another session with the ledger begins, under a new boot."""
        self.node.rejoin(Link(self._place.host, boot, now_ns))

    def sensed(self, sample: Sample, times: int = 1) -> None:
        """A reading of the host, that stands for so many; to it is added what of its room nobody could use."""
        self._samples.extend([msgspec.structs.replace(sample, fragmentation=self._fragmentation())] * times)

    def _fragmentation(self) -> float:
        node, place = self.node, self._place
        if node.zone is None or self._mix is None or not len(self._mix.often):
            return float("nan")
        seated = [work for work in node.workloads.values() if work.lease and work.here]
        offered = (place.log2_slots, place.slot_class, place.cpu_milli, place.mem_bytes)
        return fragmentation(node.zone.base, *offered, seated, self._mix, place.absent_mask)

    # --- a cycle ----------------------------------------------------------------------------------------------------

    @property
    def wants_usage(self) -> bool:
        """Whether the airlock side is to be asked in this cycle what runs use."""
        return bool(self.node.runs) and self.node.cycle % USAGE_EVERY_CYCLES == 0

    def cycle(self, usage: Mapping[str, Usage], now_ns: int) -> list[Effect]:
        """One cycle: fly, then step."""
        node = self.node
        if node.zone is not None:
            if self._flight is None:
                self._flight = Flight(self._seed, node.zone.zone_k)
            ghosts = node.ghosts()
            works = [node.workloads[ref] for ref in ghosts]
            masses = [_mass(work.spec.mem_bytes, work.endow_ucr, work.shape.slots) for work in works]
            charges = [charge(work.spec.sla_priority, 0.0) for work in works]
            node.slots = self._flight.step(ghosts, masses, charges, node.tick)
        return node.step(usage, now_ns)

    def sayings(self) -> list[Say]:
        """What is to be said in this cycle, once its effects are carried out."""
        node, said = self.node, []
        if node.zone is None and node.mode is Mode.SYNC and node.cycle >= self._hello_cycle:
            self._hello_cycle = node.cycle + HELLO_EVERY_CYCLES
            place, machine = self._place[:-1], self._place.machine
            more = {"rules": EVENTS_OF_RULES, "machine": machine, "lease": node.seen[0], "token": node.seen[1]}
            hello = Hello(SCHEMA, place[0], node.link.boot, *place[1:], **more)
            said.append(Say(Channel.ORDERS, hello))
        elif node.hears and (orders := node.link.message(node.cycle, HEARD_EVERY_CYCLES)):
            said.append(Say(Channel.ORDERS, orders))
        if node.zone is not None and (node.cycle % STATUS_EVERY_CYCLES == 0 or node.forgotten is not self._away):
            self._away = node.forgotten
            said.append(self.presence())
        if len(self._samples) == SAMPLES_PER_MESSAGE_MAX and node.zone is not None:
            said.append(Say(Channel.TELEMETRY, self._telemetry(node.zone.base)))
            self._samples.clear()
        return said

    def goodbye(self, *, stopping: bool) -> Say:
        """What is said of this host when it goes, by itself or by the broker in its name."""
        if stopping:
            self.node.happen(Happening.STOP)
        return Say(Channel.STATUS, self._status(up=False), retain=True)

    def presence(self) -> Say:
        """That this host is there, and where: said now and then, and when the broker comes.

        While the ledger has lost what it knew of this host, it is not there: nothing is to be seated on it.
        """
        return Say(Channel.STATUS, self._status(up=not self.node.forgotten), retain=True)

    def _status(self, *, up: bool) -> Status:
        address = self.address if up else ""
        return Status(SCHEMA, self._place.host, self.node.link.boot, up, address, self._place.machine)

    def question(self, asked: AskPeers) -> Say:
        """A question for the ledger: who leases are shared with, and how hosts are reached."""
        leases, hosts = list(asked.leases), list(asked.hosts)
        return Say(Channel.ORDERS, Ask(SCHEMA, self._place.host, self.node.link.boot, leases, hosts))

    def told(self, work: Workload) -> dict[str, str]:
        """What a seated workload finds in its environment: its slots here, and in each part of a gang the others."""
        slots = ",".join(map(str, work.slots_within(work.base, self._place.log2_slots)))
        return dict.fromkeys((SLOTS_ENTRY, *self._slots_as), slots) | self._gang(work)

    def _gang(self, work: Workload) -> dict[str, str]:
        if not work.home or len(work.seats) < 2:
            return {}
        first, peers = work.seats[0], self.travel.peers
        known = self.address if first == self._place.host else ""
        master = known or (peers[first].address if first in peers else "")
        host = master.rpartition(":")[0].strip("[]")
        return {"TEG_RANK": str(work.rank), "TEG_WORLD": str(len(work.seats)), "TEG_MASTER": host or first}

    def _telemetry(self, base: int) -> Telemetry:
        self._telemetry_seq += 1
        agents, ghosts, attempts, mean_mass = self.node.motion()
        return Telemetry(
            SCHEMA,
            self._place.host,
            self.node.link.boot,
            self._telemetry_seq,
            base,
            self._place.log2_slots,
            list(self._samples),
            Motion(agents, ghosts, attempts, SAMPLES_PER_MESSAGE_MAX, mean_mass),
            self._place.slot_class,
        )
