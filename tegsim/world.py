"""A zone in memory: its ledger's engine behind its door, a node and a flight for each host, a governor.

The cores are those that the programs run, and they speak in the same frames. The network is perfect: what is said in a
tick is heard in it. Work does not run; each piece lasts so many ticks in its seat, and uses what it says.
"""

import dataclasses
from dataclasses import dataclass, field

import numpy as np

from governor import voice as says
from governor.controller import Controller, Policy
from tegcore import rng
from tegcore.clock import VirtualClock
from tegcore.dynamics.mass import charge, mass
from tegcore.units import GIB, TICK_NS
from tegcore.wire.codec import encode
from tegcore.wire.control import Hook, WorkloadSpec
from tegcore.wire.messages import EVENTS_OF_RULES, SCHEMA, Events, Heat, Hello, Message, Motion, Sample, Telemetry
from tegcore.wire.records import (
    Genesis,
    Market,
    Mint,
    NameIs,
    NameKind,
    Op,
    Record,
    SetRates,
    SetReserve,
    Tick,
    pack_all,
)
from tegcore.wire.signing import Key, host_key, tenant_token
from tegcore.wire.topics import Channel, Topic
from tegd.bidding import Usage
from tegd.effects import Effect, Forget, Run, SaveAndEnd, Start
from tegd.flight import Flight
from tegd.link import Link
from tegd.modes import Happening
from tegd.node import Node
from tegd.workload import Life, Workload
from zone_ledger import voice
from zone_ledger.book.fast import FastBook
from zone_ledger.door import Door
from zone_ledger.engine import Engine
from zone_ledger.heat import HeatMap

ZONE, TENANT = "sim", "sim"
SECRET = Key(b"simulated zone, simulated secret")
TELEMETRY_TICKS = 5
NAN = float("nan")
KILLED, TERMINATED = 137, 143
"""Exit codes of what was saved and ended, and of what was asked to end."""


@dataclass(frozen=True)
class Setting:
    """What a world is made of.

    Attributes:
        zone_k: The zone has 2^k x 2^k slots.
        host_log2: A host has 2^that.
        reserve_ucr: Of a slot and period.
    """

    zone_k: int = 3
    host_log2: int = 3
    seed: int = 1
    market: Market = Market.AUCTION
    period_ticks: int = 200
    epoch_ticks: int = 200
    reserve_ucr: int = 100_000
    mu_ucr: int = 10_000
    gas_ucr: int = 100
    mem_k_ucr: int = 100_000
    funds_ucr: int = 1 << 50


@dataclass(frozen=True)
class Piece:
    """A piece of work: where it is submitted, what it asks for, how long it lasts, what share of its seat it uses.

    Attributes:
        endow_periods: What is in its purse, in periods at its limit; 0: twice what it lasts, and two more.
    """

    host: int
    ticks: int
    limit_ucr: int = 300_000
    sizes: tuple[int, ...] = (0,)
    use: float = 1.0
    sla_priority: int = 1
    endow_periods: int = 0


@dataclass
class Place:
    """A host: its node, its ghosts' flight, what runs on it."""

    name: str
    node: Node
    flight: Flight
    heard: int = 0
    runs: dict[str, tuple[Workload, int]] = field(default_factory=dict)


class World:
    """One zone; see the module.

    Args:
        setting: What it is made of.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.clock = VirtualClock(10**12)
        self.engine, self._door = Engine(FastBook), Door(ZONE, SECRET)
        self._heat = HeatMap(setting.zone_k)
        policy = Policy(setting.mu_ucr, setting.gas_ucr, 10, setting.mem_k_ucr, 0, 3_600_000)
        self.governor = Controller(setting.epoch_ticks, policy)
        self.pieces: dict[tuple[int, int], Piece] = {}
        self._found()
        count = 4**setting.zone_k >> setting.host_log2
        self.places = [self._place(number) for number in range(count)]
        self._counted = dataclasses.replace(self.engine.state.counters)

    def _found(self) -> None:
        setting, now = self.setting, 0
        genesis = Genesis(setting.zone_k, setting.period_ticks, 3, 40, 40, 60, setting.epoch_ticks, setting.market)
        rates = SetRates(1, setting.mu_ucr, 0, 0, 0, setting.gas_ucr, 10, setting.mem_k_ucr, 0, 3_600_000)
        bodies = (
            (Op.GENESIS, genesis),
            (Op.NAME_IS, NameIs.of(NameKind.ZONE, 0, ZONE)),
            (Op.NAME_IS, NameIs.of(NameKind.TENANT, 1, TENANT)),
            (Op.SET_RATES, rates),
            (Op.SET_RESERVE, SetReserve(0, setting.reserve_ucr)),
            (Op.MINT, Mint(1, setting.funds_ucr)),
        )
        for now, (op, body) in enumerate(bodies):
            self.engine.apply(Record(op, 0, 0, now, body))

    def _place(self, number: int) -> Place:
        name = f"h{number}"
        node = Node(name, Link(name, 1, self.clock.now_ns()), self.setting.seed, {TENANT: tenant_token(SECRET, TENANT)})
        node.happen(Happening.LOADED)
        place = Place(name, node, Flight(self.setting.seed + number, self.setting.zone_k))
        base, log2 = number << self.setting.host_log2, self.setting.host_log2
        hello = Hello(SCHEMA, name, 1, base, log2, 0, 1000 << log2, 4 * GIB << log2, rules=EVENTS_OF_RULES)
        self._hear(place, hello)
        return place

    def submit(self, piece: Piece) -> Workload:
        """A piece of work comes to its host."""
        node = self.places[piece.host].node
        ref = len(self.pieces) + 1
        slots = sum(1 << size for size in piece.sizes)
        periods = piece.endow_periods or 2 + 2 * piece.ticks // self.setting.period_ticks
        spec = WorkloadSpec(
            argv=("simulated",),
            cpu_milli=1000,
            sizes=piece.sizes,
            limit_ucr=piece.limit_ucr,
            endow_ucr=piece.limit_ucr * slots * periods,
            hook=Hook(),
            sla_priority=piece.sla_priority,
        )
        work = Workload.accepted(ref, TENANT, (0, 0), ref, spec)
        self.pieces[piece.host, ref] = piece
        node.submitted(work)
        return work

    # --- a tick -----------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """50 ms pass."""
        now_ns = self.clock.advance(TICK_NS)
        for place in self.places:
            self._fly(place)
            self._carry_out(place, place.node.step(self._usage(place), now_ns))
            if place.node.zone is not None and (message := place.node.link.message(place.node.cycle)):
                self._hear(place, message)
        state = self.engine.state
        self.engine.apply(Record(Op.TICK, 0, 0, 0, Tick(state.tick + 1, state.tau + 1)))
        for place in self.places:
            self._end_what_is_done(place)
            self._tell(place)
        self._govern()

    def run(self, ticks: int) -> None:
        """So many ticks pass."""
        for _ in range(ticks):
            self.tick()

    def _fly(self, place: Place) -> None:
        node = place.node
        works = [node.workloads[ref] for ref in node.ghosts()]
        masses = [mass(work.spec.mem_bytes, work.endow_ucr, work.shape.slots) for work in works]
        charges = [charge(work.spec.sla_priority, 0.0) for work in works]
        node.slots = place.flight.step(node.ghosts(), masses, charges, node.tick)

    def _usage(self, place: Place) -> dict[str, Usage]:
        now_ns = self.clock.now_ns()
        used = {}
        for airlock_id, (work, since) in place.runs.items():
            share = self._piece(place, work).use
            cores = work.spec.cpu_milli * work.shape.slots / 1000
            cpu_ns = int((self.engine.state.tick - since) * TICK_NS * share * cores)
            used[airlock_id] = Usage(now_ns, 0, cpu_ns)
        return used

    def _piece(self, place: Place, work: Workload) -> Piece:
        return self.pieces[self.places.index(place), work.ref]

    def _hear(self, place: Place, message: Message) -> None:
        topic = Topic(ZONE, Channel.ORDERS, place.name)
        state = self.engine.state
        entry = self._door.read(state, str(topic), encode(topic, message, host_key(SECRET, place.name)))
        assert entry.rejected is None, entry.rejected
        for record in entry.commands:
            if record.op is Op.RELEASE:
                self._give_back_elsewhere(record)
            self.engine.apply(record)
        if entry.greeted:
            place.heard = state.host_numbers[place.name]
            place.node.welcomed(voice.welcome(state, place.heard))
        quotes = [self.engine.quote(record) for record in entry.quotes]
        if quotes:
            self._tell(place, quotes)

    def _give_back_elsewhere(self, release: Record) -> None:
        """The other hosts that a lease spans let go of it with the one that ordered it: work is not moved in here."""
        lease = self.engine.state.leases.get(release.body.lease)
        if lease is None or lease.origin != release.actor:
            return
        for place in self.places:
            if place.heard in lease.hosts and place.heard != lease.origin:
                place.node.link.put(Op.RELEASE, release.body, self.clock.now_ns())

    def _tell(self, place: Place, quotes: list[Record] | None = None) -> None:
        state = self.engine.state
        session = state.hosts[place.heard]
        quotes = quotes or []
        raw = session.outbox.pending(reserved=len(quotes))
        events = Events(SCHEMA, place.name, 1, state.tick, session.inbox.last_seq, raw, pack_all(quotes))
        self._carry_out(place, place.node.told_events(events, self.clock.now_ns()))
        place.node.beaten(state.tick, state.market, self.clock.now_ns())

    def _carry_out(self, place: Place, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Start(work):
                    place.runs.setdefault(work.airlock_id, (work, self.engine.state.tick))
                    self._became(place, Run(work.airlock_id, "running"))
                case SaveAndEnd(work) if work.airlock_id in place.runs:
                    del place.runs[work.airlock_id]
                    code = KILLED if effect.save else TERMINATED
                    self._became(place, Run(work.airlock_id, "ended", cause="asked", saved=effect.save, exit_code=code))
                case Forget(airlock_id):
                    place.runs.pop(airlock_id, None)
                    place.node.runs.pop(airlock_id, None)

    def _became(self, place: Place, run: Run) -> None:
        self._carry_out(place, place.node.run_changed(run, self.clock.now_ns()))

    def _end_what_is_done(self, place: Place) -> None:
        for airlock_id, (work, since) in list(place.runs.items()):
            if self.engine.state.tick - since >= self._piece(place, work).ticks:
                del place.runs[airlock_id]
                self._became(place, Run(airlock_id, "ended", cause="exited", exit_code=0))

    # --- the governor -----------------------------------------------------------------------------------------------

    def _govern(self) -> None:
        state, governor = self.engine.state, self.governor
        if state.tick % TELEMETRY_TICKS == 0:
            for place in self.places:
                governor.hear(self._telemetry(place))
        governor.take(voice.digest(state, self._counted), float(1 << self.setting.zone_k))
        self._counted = dataclasses.replace(state.counters)
        if closing := governor.watch():
            self.engine.apply(says.admission_record(state.tick, closing))
        if decided := governor.decide():
            for record in says.rate_records(decided[0].epoch, decided[1], governor.caps(), governor.reserves()):
                self.engine.apply(record)
        if frame := governor.project():
            message = says.field(governor, ZONE, frame)
            for place in self.places:
                place.flight.field_came(message)
                place.node.field_came(message.mu_ucr)
        self._heat.tick(state.bids)
        if heat := self._heat.message(state.tick):
            for place in self.places:
                place.flight.heat_came(Heat(SCHEMA, ZONE, state.tick, *heat))

    def _telemetry(self, place: Place) -> Telemetry:
        setting, tick = self.setting, self.engine.state.tick
        slots = 1 << setting.host_log2
        busy = min(1.0, sum(work.shape.slots for work, _ in place.runs.values()) / slots)
        sample = Sample(tick, 0.9 * busy, 0.5 * busy, 0.0, 0.0, NAN, NAN, NAN, NAN, NAN)
        motion = Motion(*place.node.motion()[:3], TELEMETRY_TICKS, 1.0)
        base = self.places.index(place) << setting.host_log2
        return Telemetry(SCHEMA, place.name, 1, tick, base, setting.host_log2, [sample], motion)

    # --- what is to be seen -----------------------------------------------------------------------------------------

    def lives(self) -> dict[Life, int]:
        """How many pieces of work are where in life."""
        found = [work.life for place in self.places for work in place.node.workloads.values()]
        return {life: found.count(life) for life in Life}


def crowd(world: World, count: int, **fields: object) -> None:
    """Submit so many pieces, to hosts drawn at random, with limits from one to four times the reserve."""
    setting = world.setting
    hosts = (rng.uniform(setting.seed, "host", 0, np.arange(count)) * len(world.places)).astype(int)
    limits = setting.reserve_ucr * (1 + 3 * rng.uniform(setting.seed, "limit", 0, np.arange(count)))
    for host, limit in zip(hosts.tolist(), limits.astype(int).tolist(), strict=True):
        world.submit(Piece(**({"host": host, "ticks": 100, "limit_ucr": limit} | fields)))
