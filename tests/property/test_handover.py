"""Work that passes between hosts, on a virtual clock: every pair of the tables, and a crash at each act.

Cores of three hosts, a ledger's engine behind its door, and between them a network that may lose a question, or its
answer, or a host at any act. Files are dictionaries. What must hold at every tick: no work runs in two places, no slot
is held twice, credits are conserved; and in the end each piece of work has done every unit once.
"""

import contextlib
import random
from copy import deepcopy
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tegcore.units import GIB, TICK_NS
from tegcore.wire.codec import encode
from tegcore.wire.control import Hook, WorkloadSpec
from tegcore.wire.messages import EVENTS_OF_RULES, SCHEMA, Ask, Events, Hello, Orders, Status
from tegcore.wire.peer import CANNOT, GONE, Answer, Begin, Brief, Report
from tegcore.wire.records import (
    Drain,
    Genesis,
    HostLost,
    Market,
    Mint,
    NameIs,
    NameKind,
    Op,
    Record,
    SetReserve,
    Tick,
    pack_all,
)
from tegcore.wire.signing import Key, host_key, tenant_token
from tegcore.wire.topics import Channel, Topic
from tegd.effects import (
    AskPeers,
    Clear,
    Collect,
    Copy,
    DropThere,
    Extend,
    Fetch,
    Forget,
    Keep,
    Run,
    SaveAndEnd,
    SaveInPassing,
    Start,
    TellBegin,
    TellHome,
    TellSeat,
)
from tegd.handover import STAY, TRIP, Stay, StayEvent, Trip, TripEvent, next_stay, next_trip
from tegd.link import Link
from tegd.modes import Happening
from tegd.node import Node
from tegd.travel import Travel
from tegd.workload import Life, Workload
from zone_ledger import voice
from zone_ledger.book.reference import ReferenceBook
from zone_ledger.door import Door
from zone_ledger.engine import Engine

SECRET = Key(b"s" * 32)
PERIOD, TERM_PERIODS, GRACE, NOTICE = 100, 2, 10, 60
UNITS = 400
LOST_TICKS = 70


# --- the tables -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trip", Trip)
@pytest.mark.parametrize("event", TripEvent)
def test_every_pair_of_a_trip(trip: Trip, event: TripEvent) -> None:
    after = next_trip(trip, event)
    assert after is TRIP.get((trip, event), trip)
    if trip in {Trip.NONE, Trip.OVER}:
        assert after is trip, "what is over, or never began, is moved by nothing"
    if after is Trip.OVER and trip is not Trip.OVER:
        assert trip is Trip.HEARING or event is TripEvent.LEASE_OVER, "nothing is decided while a seat may still run"


@pytest.mark.parametrize("stay", Stay)
@pytest.mark.parametrize("event", StayEvent)
def test_every_pair_of_a_stay(stay: Stay, event: StayEvent) -> None:
    after = next_stay(stay, event)
    order = list(Stay)
    assert order.index(after) >= order.index(stay), "a stay never goes back"
    if stay is Stay.SEATED and after is not stay:
        assert event is StayEvent.RUN_OVER, "a run that may be alive is never given up"
    if after is Stay.KEPT and stay is not Stay.KEPT:
        assert event is StayEvent.HEARD


def reachable(table: dict, start: object) -> set[object]:
    found, fresh = {start}, {start}
    while fresh:
        fresh = {after for (before, _), after in table.items() if before in fresh} - found
        found |= fresh
    return found


def test_every_state_is_reached_and_every_trip_and_stay_can_end() -> None:
    assert reachable(TRIP, Trip.TELLING) == set(Trip) - {Trip.NONE}
    assert reachable(STAY, Stay.FETCHING) == set(Stay) - {Stay.NONE}
    assert all(Trip.OVER in reachable(TRIP, trip) for trip in Trip if trip is not Trip.NONE)
    assert all(Stay.GONE in reachable(STAY, stay) for stay in Stay if stay is not Stay.NONE)


# --- a zone of hosts ------------------------------------------------------------------------------------------------


@dataclass
class Machine:
    """A host: a node over a store, an airlock with its runs, a disk with its files."""

    name: str
    number: int
    base: int
    node: Node
    boot: int = 1
    up: bool = True
    down_until: int = 0
    cut_until: int = 0
    store: dict[int, bytes] = field(default_factory=dict)
    runs: dict[str, dict] = field(default_factory=dict)
    shelves: dict[int, dict[tuple, int]] = field(default_factory=dict)
    own: dict[int, int] = field(default_factory=dict)
    last_ref: int = 0
    unfit: bool = False


class Lost(Exception):
    """A host died at an act."""


class Zone:
    """Three hosts of two slots. `fate` says, at each act and each question, what goes wrong."""

    def __init__(self, seed: int, wrongs: float, hosts: int = 3) -> None:
        self.engine, self.door = Engine(ReferenceBook), Door("z", SECRET)
        self.fate, self.wrongs, self.calm = random.Random(seed), wrongs, False
        self.now_ns, self.heard, self.keys = 10**12, {}, 100
        self.addresses: dict[str, str] = {}
        self.done: dict[str, list[int]] = {}
        self.acts: list[str] = []
        for key, (op, body) in enumerate(
            (
                (Op.GENESIS, Genesis(2, PERIOD, TERM_PERIODS, 40, GRACE, NOTICE, 100, Market.AUCTION)),
                (Op.NAME_IS, NameIs.of(NameKind.TENANT, 1, "ada")),
                (Op.SET_RESERVE, SetReserve(0, 100_000)),
                (Op.MINT, Mint(1, 10_000_000_000)),
            )
        ):
            self.engine.apply(Record(op, 0, 0, key, body))
        self.hosts = {f"h{number}": self._machine(number) for number in range(hosts)}

    def _machine(self, number: int) -> Machine:
        machine = Machine(f"h{number}", number, number << 1, None)  # type: ignore[arg-type]
        self._boot(machine)
        return machine

    def _boot(self, machine: Machine) -> None:
        machine.boot += 1
        link = Link(machine.name, machine.boot, self.now_ns)
        node = Node(machine.name, link, machine.number, {"ada": tenant_token(SECRET, "ada")})
        node.travel = Travel(node, 1)
        for raw in machine.store.values():
            node.submitted(msgspec.msgpack.decode(raw, type=Workload))
        node.runs = {name: run["state"] for name, run in machine.runs.items()}
        node.happen(Happening.LOADED)
        machine.node, machine.up = node, True
        for name, run in list(machine.runs.items()):
            self.tell(machine, name, run)
        self.carry_out(machine, node.airlock_back())

    def drain(self, name: str, on: bool) -> None:
        self.keys += 1
        number = self.engine.state.host_numbers[name]
        self.engine.apply(Record(Op.DRAIN, 0, 0, self.keys, Drain(number, int(on))))

    def submit(self, name: str, **spec) -> Workload:
        machine = self.hosts[name]
        machine.last_ref += 1
        made = WorkloadSpec(**({"argv": ("x",), "limit_ucr": 300_000, "hook": Hook()} | spec))
        work = Workload(machine.last_ref, f"w{machine.last_ref}", "ada", 0, 0, 0, made, ticket="t")
        work.limit_ucr, work.endow_ucr = made.limit_ucr, 40 * work.charge_ucr(made.limit_ucr)
        machine.store[work.ref] = msgspec.msgpack.encode(work)
        machine.node.submitted(work)
        return work

    def work(self, name: str, ref: int) -> Workload:
        return msgspec.msgpack.decode(self.hosts[name].store[ref], type=Workload)

    # --- what goes wrong --------------------------------------------------------------------------------------------

    def wrong(self, chance: float = 1.0) -> bool:
        return not self.calm and self.fate.random() < self.wrongs * chance

    def act(self, machine: Machine, what: str) -> None:
        """Every act passes here: the host may die before or after it."""
        self.acts.append(what)
        if self.wrong(0.3):
            self.die(machine)
            raise Lost

    def die(self, machine: Machine) -> None:
        machine.up, machine.down_until = False, self.tick + self.fate.randrange(1, 700)
        if self.fate.random() < 0.5:  # the daemon alone, or the whole machine
            for run in machine.runs.values():
                if run["state"] != "ended":
                    run.update(state="ended", cause="lost", code=None)
        else:
            machine.down_until = self.tick + self.fate.randrange(1, 60)

    @property
    def tick(self) -> int:
        return self.engine.state.tick

    def reaches(self, one: Machine, other: Machine) -> bool:
        cut = max(one.cut_until, other.cut_until) > self.tick and one is not other
        return one.up and other.up and not cut

    # --- time -------------------------------------------------------------------------------------------------------

    def cycle(self) -> None:
        self.now_ns += TICK_NS
        for machine in self.hosts.values():
            if not machine.up and machine.down_until <= self.tick:
                with contextlib.suppress(Lost):
                    self._boot(machine)
            if not self.calm and self.wrong(0.01):
                machine.cut_until = self.tick + self.fate.randrange(1, 500)
            self._airlock(machine)
            if machine.up:
                with contextlib.suppress(Lost):
                    self._daemon(machine)
        self._ledger()
        self.check()

    def _airlock(self, machine: Machine) -> None:
        """Runs work by themselves, also with the daemon gone; past its term a run is saved and ended."""
        for name, run in list(machine.runs.items()):
            if run["state"] == "ended":
                continue
            if run["term_end_ns"] <= self.now_ns:
                self.save(machine, run)
                run.update(state="ended", cause="term", code=137)
            else:
                run["units"] += 1
                self.done[run["piece"]].append(run["units"])
                if run["units"] >= UNITS:
                    run.update(state="ended", cause="exited", code=0)
            if run["state"] == "ended" and machine.up:
                self.tell(machine, name, run)

    def save(self, machine: Machine, run: dict) -> None:
        if run["hook"]:
            run["saved_ns"] = self.now_ns
            machine.own[run["ref"]] = run["units"]

    def tell(self, machine: Machine, name: str, run: dict) -> None:
        told = Run(name, run["state"], run["cause"], run["code"], saved=bool(run["saved_ns"]), saved_ns=run["saved_ns"])
        with contextlib.suppress(Lost):
            self.carry_out(machine, machine.node.run_changed(told, self.now_ns))

    def _daemon(self, machine: Machine) -> None:
        node = machine.node
        self.carry_out(machine, node.step({}, self.now_ns))
        if machine.cut_until > self.tick:
            return
        if node.zone is None:
            if node.cycle % 10 == 0:
                self.say(
                    machine,
                    Hello(SCHEMA, machine.name, machine.boot, machine.base, 1, 0, 4000, 8 * GIB, rules=EVENTS_OF_RULES),
                )
        elif (message := node.link.message(node.cycle, 20)) is not None:
            self.say(machine, message)
        if node.cycle % 50 == 0 and node.zone is not None:
            self.say(machine, Status(SCHEMA, machine.name, machine.boot, up=True, address="x"))

    def say(self, machine: Machine, message) -> None:
        channel = Channel.STATUS if isinstance(message, Status) else Channel.ORDERS
        topic = Topic("z", channel, machine.name)
        entry = self.door.read(self.engine.state, str(topic), encode(topic, message, host_key(SECRET, machine.name)))
        for record in entry.commands:
            self.engine.apply(record)
        state = self.engine.state
        number = state.host_numbers.get(machine.name, 0)
        self.heard[number] = self.tick
        if entry.greeted and number in state.hosts:
            machine.node.welcomed(voice.welcome(state, number))
        if entry.asked is not None:
            machine.node.travel.peers_told(voice.peers(state, entry.asked, self.addresses, SECRET))
        if isinstance(message, Orders):
            machine.quotes = [self.engine.quote(record) for record in entry.quotes]

    def _ledger(self) -> None:
        state = self.engine.state
        for number, session in state.hosts.items():
            if session.boot and session.up and self.tick - self.heard.get(number, 0) > LOST_TICKS:
                self.engine.apply(Record(Op.HOST_LOST, 0, 0, 0, HostLost(number, 1)))
        self.engine.apply(Record(Op.TICK, 0, 0, 0, Tick(state.tick + 1, state.tick + 1)))
        self.engine.check()
        for machine in self.hosts.values():
            number = state.host_numbers.get(machine.name, 0)
            if number not in state.hosts or not machine.up or machine.cut_until > self.tick:
                continue
            session, quotes = state.hosts[number], getattr(machine, "quotes", [])
            machine.quotes = []
            raw = session.outbox.pending(reserved=len(quotes))
            seq = session.inbox.last_seq
            events = Events(SCHEMA, machine.name, session.boot, state.tick, seq, raw, pack_all(quotes))
            with contextlib.suppress(Lost):
                self.carry_out(machine, machine.node.told_events(events, self.now_ns))
                machine.node.beaten(state.tick, state.market, self.now_ns)

    # --- effects ----------------------------------------------------------------------------------------------------

    def carry_out(self, machine: Machine, effects) -> None:
        """Durable first, as the shell does; then each act, at which the host may die."""
        for effect in effects:
            if isinstance(effect, Keep):
                machine.store[effect.workload.ref] = msgspec.msgpack.encode(effect.workload)
        for effect in effects:
            if isinstance(effect, Keep):
                continue
            self.act(machine, type(effect).__name__)
            self.do(machine, effect)

    def do(self, machine: Machine, effect) -> None:  # noqa: C901 - one case an effect
        node, travel = machine.node, machine.node.travel
        match effect:
            case Start(work):
                self.start(machine, work)
            case Extend(work) if work.airlock_id in machine.runs:
                machine.runs[work.airlock_id]["term_end_ns"] = max(
                    machine.runs[work.airlock_id]["term_end_ns"], work.term_end_ns
                )
            case SaveAndEnd(work, save) if work.airlock_id in machine.runs:
                run = machine.runs[work.airlock_id]
                if run["state"] != "ended":
                    if save:
                        self.save(machine, run)
                    run.update(state="ended", cause="asked", code=137)
                self.tell(machine, work.airlock_id, run)
            case SaveInPassing(work) if work.airlock_id in machine.runs:
                self.save(machine, machine.runs[work.airlock_id])
                self.tell(machine, work.airlock_id, machine.runs[work.airlock_id])
            case Forget(airlock_id):
                machine.runs.pop(airlock_id, None)
                node.runs.pop(airlock_id, None)
            case AskPeers(leases, hosts) if machine.cut_until <= self.tick and not self.wrong():
                self.say(machine, Ask(SCHEMA, machine.name, machine.boot, list(leases), list(hosts)))
            case TellSeat(work, rank):
                brief = travel.brief(work, rank, "root")
                answer = self.question(machine, work.seats[rank], brief)
                self.carry_out(machine, travel.seat_answered(work.ref, brief.token, rank, answer, self.now_ns))
            case TellHome(work):
                report = travel.report(work)
                answer = self.question(machine, work.home, report)
                self.carry_out(machine, travel.home_answered(work.ref, report, answer))
            case TellBegin(work, rank):
                token = work.token
                answer = self.question(machine, work.seats[rank], Begin(work.ref, token, rank))
                self.carry_out(machine, travel.begin_answered(work.ref, token, rank, ok=answer.ok))
            case Fetch(work):
                problem, gone = self.fetch(machine, work)
                self.carry_out(machine, travel.fetched(work.ref, work.token, problem, self.now_ns, gone))
            case Collect(work, number):
                token = work.token if work.home else work.last_token
                machine.shelves.setdefault(work.ref, {})[token, number, work.rank] = machine.own[work.ref]
                self.carry_out(machine, travel.collected(work.ref, token, number, ""))
            case Copy(work, source):
                problem, gone = self.bring(machine, (machine.name, work.ref), source, work.ref)
                self.carry_out(machine, travel.copied(work.ref, source, problem, gone=gone))
            case DropThere(work, host, rank, token):
                ok = self.reaches(machine, self.hosts[host]) and not self.wrong()
                if ok:
                    other = self.hosts[host]
                    self.carry_out(other, other.node.travel.drop(machine.name, work.ref, token, rank))
                self.carry_out(machine, travel.dropped(work.ref, host, rank, token, ok=ok))
            case Clear(work):
                machine.shelves.pop(work.ref, None)

    def start(self, machine: Machine, work: Workload) -> None:
        piece = f"{work.home or machine.name}.{work.home_ref or work.ref}"
        if work.airlock_id not in machine.runs and self.now_ns < work.term_end_ns:
            resumed = machine.own.get(work.ref, 0) if work.resume else 0
            run = {
                "state": "running",
                "cause": "",
                "code": None,
                "saved_ns": 0,
                "units": resumed,
                "piece": piece,
                "rank": work.rank,
                "ref": work.ref,
                "hook": work.spec.hook is not None,
                "term_end_ns": work.term_end_ns,
            }
            machine.runs[work.airlock_id] = run
            self.done.setdefault(piece, [])
        elif work.airlock_id not in machine.runs:
            failed = Run(work.airlock_id, "ended", "term", problem="past its term")
            machine.node.travel.never_ran(work.airlock_id)
            self.carry_out(machine, machine.node.run_changed(failed, self.now_ns))
            return
        self.tell(machine, work.airlock_id, machine.runs[work.airlock_id])

    def question(self, machine: Machine, host: str, said: Brief | Report | Begin) -> Answer:
        """Asked, taken in on disk, answered: each may fail, and the other may die at its act."""
        other, nobody = self.hosts[host], Answer(ok=False, reason="NOT_YET")
        if not self.reaches(machine, other) or self.wrong():
            return nobody
        travel = other.node.travel
        try:
            if isinstance(said, Report):
                effects, answer = travel.reported(machine.name, deepcopy(said), self.now_ns)
                self.carry_out(other, effects)
            elif isinstance(said, Begin):
                effects, answer = travel.begin(machine.name, said.ref, said.token, said.rank)
                self.carry_out(other, effects)
            else:
                self.carry_out(other, travel.ask_about(said.lease))
                refused = travel.refusal(machine.name, said)
                if refused is None and other.unfit:
                    refused = Answer(ok=False, reason=CANNOT, message="there is no such user on it")
                if refused is None:
                    other.last_ref += 1
                    self.carry_out(other, travel.briefed(machine.name, deepcopy(said), other.last_ref, 0, 0))
                answer = refused or travel.refusal(machine.name, said)
        except Lost:
            return nobody
        return nobody if self.wrong() else answer

    def fetch(self, machine: Machine, part: Workload) -> tuple[str, list]:
        gone = []
        for source in part.sources:
            problem, lacks = self.bring(machine, (part.home, part.home_ref), source, part.ref)
            gone += [source] * lacks
            if not problem:
                machine.own[part.ref] = machine.shelves[part.ref][source.token, source.number, source.rank]
                return "", gone
        return ("no holder answers" if part.sources else ""), gone

    def bring(self, machine: Machine, name: tuple[str, int], source, ref: int) -> tuple[str, bool]:
        """A checkpoint comes onto a shelf, from that of the workload or of a part of it; or why not, and is it gone."""
        other, key = self.hosts[source.holder or machine.name], (source.token, source.number, source.rank)
        if not self.reaches(machine, other) or self.wrong():
            return "it does not answer", False
        works = [msgspec.msgpack.decode(raw, type=Workload) for raw in other.store.values()]
        named = [work for work in works if (work.home or other.name, work.home_ref or work.ref) == name]
        held = [found for work in named if (found := other.shelves.get(work.ref, {}).get(key)) is not None]
        if not held:
            return GONE, True
        machine.shelves.setdefault(ref, {})[key] = held[0]
        return "", False

    # --- what must hold ---------------------------------------------------------------------------------------------

    def check(self) -> None:
        running: dict[tuple[str, int], str] = {}
        for machine in self.hosts.values():
            for run in machine.runs.values():
                if run["state"] == "running":
                    ranks = (run["piece"], run["rank"])
                    assert ranks not in running, f"{run['piece']} runs on {running[ranks]} and {machine.name}"
                    running[ranks] = machine.name


def settle(zone: Zone, cycles: int = 6000) -> None:
    zone.calm = True
    for machine in zone.hosts.values():
        machine.cut_until = machine.down_until = 0
    for _ in range(cycles):
        zone.cycle()
        works = [
            msgspec.msgpack.decode(raw, type=Workload) for host in zone.hosts.values() for raw in host.store.values()
        ]
        if all(work.life is Life.ENDED for work in works) and not zone.engine.state.leases:
            return
    raise AssertionError([(work.name, work.home, work.life, work.trip, work.stay, work.history[-5:]) for work in works])


def run_through(zone: Zone, cycles: int) -> None:
    for number in range(cycles):
        if number % 150 == 40:
            names = sorted(zone.hosts)
            victim = names[zone.fate.randrange(len(names))]
            for name in names:
                if name in zone.engine.state.host_numbers:
                    zone.drain(name, name == victim)
        zone.cycle()
    for name in zone.hosts:
        if name in zone.engine.state.host_numbers:
            zone.drain(name, False)


def test_nothing_goes_wrong_when_nothing_does() -> None:
    zone = Zone(1, 0.0)
    works = [zone.submit(name, checkpoint_every_s=3) for name in ("h0", "h1", "h0")]
    run_through(zone, 700)
    settle(zone)
    for work, name in zip(works, ("h0", "h1", "h0"), strict=True):
        kept = zone.work(name, work.ref)
        assert (kept.life, kept.exit_code) == (Life.ENDED, 0)
        assert zone.done[f"{name}.{work.ref}"] == list(range(1, UNITS + 1)), "each unit once: every move was in order"
    assert zone.engine.state.accounts.escrow == 0
    assert {"TellSeat", "TellHome", "Fetch", "Collect", "Copy", "DropThere", "Clear"} <= set(zone.acts)


@pytest.mark.parametrize("hook", [None, Hook()])
def test_work_that_another_host_cannot_run_is_not_lost_by_leaving(hook: Hook | None) -> None:
    """It goes on where it was submitted, as soon as there is room."""
    zone = Zone(1, 0.0)
    for name in ("h1", "h2"):
        zone.hosts[name].unfit = True
    work = zone.submit("h0", hook=hook)
    for _ in range(100):
        zone.cycle()
    if hook is not None:
        zone.drain("h0", True)
        for _ in range(400):
            zone.cycle()
        assert zone.work("h0", work.ref).life is not Life.ENDED
        zone.drain("h0", False)
    settle(zone)
    kept = zone.work("h0", work.ref)
    assert (kept.life, kept.exit_code) == (Life.ENDED, 0), kept.history
    assert zone.done[f"h0.{work.ref}"] == list(range(1, UNITS + 1))


def test_a_part_whose_hook_failed_is_known_at_home_and_begins_anew_elsewhere() -> None:
    zone = Zone(1, 0.0)
    for _ in range(30):
        zone.cycle()
    zone.drain("h0", True)
    work = zone.submit("h0", checkpoint_every_s=3)
    for _ in range(100):
        zone.cycle()
    parts = [(host, part) for host in zone.hosts.values() for part in host.node.workloads.values() if part.home]
    ((seat, part),) = parts
    failed = Run(part.airlock_id, "running", hook_failed="no mark")
    zone.carry_out(seat, seat.node.run_changed(failed, zone.now_ns))
    for _ in range(60):
        zone.cycle()
    kept = zone.work("h0", work.ref)
    assert (kept.life, kept.hook_failed, kept.hook) == (Life.AWAY, "no mark", None)
    zone.drain("h0", False)
    zone.drain(seat.name, True)
    for _ in range(30):
        zone.cycle()
    assert seat.runs[part.airlock_id]["state"] == "running", "it has until its notice is over"
    settle(zone)
    kept = zone.work("h0", work.ref)
    assert (kept.life, kept.exit_code) == (Life.ENDED, 0), kept.history
    done = zone.done[f"h0.{work.ref}"]
    assert done.count(1) == 2, "from its beginning, although it was saved in passing before"


@pytest.mark.parametrize("stood_s", [5, 3600])
def test_work_starts_at_once_on_a_host_that_said_nothing_while_the_ledger_stood_still(stood_s: int) -> None:
    """Its guess of the ledger's ticks is early by all that time: the term seems over before it began."""
    zone = Zone(1, 0.0)
    for _ in range(30):
        zone.cycle()
    zone.drain("h0", True)
    zone.now_ns += stood_s * 10**9
    work = zone.submit("h0", hook=None)
    settle(zone)
    kept = zone.work("h0", work.ref)
    assert (kept.life, kept.exit_code) == (Life.ENDED, 0), kept.history
    assert zone.done[f"h0.{work.ref}"] == list(range(1, UNITS + 1))
    assert zone.acts.count("Start") == 1


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(692, 0.3)  # heard again, the seat waited with its last word for longer than its home did
@example(7284413, 0.3)  # told of its end, the seat told of its last save, and its home took the end back
@given(st.integers(0, 2**32), st.sampled_from([0.02, 0.1, 0.3]))
def test_whatever_dies_or_is_cut_no_work_is_lost_or_runs_twice(seed: int, wrongs: float) -> None:
    zone = Zone(seed, wrongs)
    works = [zone.submit(name, checkpoint_every_s=3) for name in ("h0", "h1")]
    run_through(zone, 1500)
    settle(zone)
    for work, name in zip(works, ("h0", "h1"), strict=True):
        kept = zone.work(name, work.ref)
        assert kept.life is Life.ENDED
        assert kept.exit_code == 0, kept.history
        done = zone.done[f"{name}.{work.ref}"]
        assert sorted(set(done)) == list(range(1, UNITS + 1)), "no unit was passed over"
        assert done[-1] == UNITS
    assert zone.engine.state.accounts.escrow == 0


@pytest.mark.parametrize("act", ["TellSeat", "TellHome", "Fetch", "Collect", "Copy", "DropThere", "Start", "Clear"])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_each_act_costs_no_work(act: str, whole: bool, after: bool) -> None:
    """The host that is at the act dies, with its runs or without, before it or after it; it returns two seconds on."""
    zone = Zone(5, 0.0)
    work = zone.submit("h0", checkpoint_every_s=3)
    zone.cycle()
    left = [1]
    do = Zone.do

    def dying(self: Zone, machine: Machine, effect) -> None:
        if type(effect).__name__ != act or not left[0]:
            return do(self, machine, effect)
        left[0] -= 1
        if after:
            do(self, machine, effect)
        machine.up, machine.down_until = False, self.tick + 40
        for run in machine.runs.values():
            if whole and run["state"] != "ended":
                run.update(state="ended", cause="lost", code=None)
        raise Lost

    Zone.do = dying  # type: ignore[method-assign]
    try:
        run_through(zone, 700)
        settle(zone)
    finally:
        Zone.do = do  # type: ignore[method-assign]
    assert left == [0], "the act never came"
    kept = zone.work("h0", work.ref)
    assert (kept.life, kept.exit_code) == (Life.ENDED, 0), kept.history
    assert sorted(set(zone.done[f"h0.{work.ref}"])) == list(range(1, UNITS + 1))
    assert zone.engine.state.accounts.escrow == 0
