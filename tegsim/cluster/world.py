"""A simulated cluster from a scenario and a seed: its parts, its work, and its faults.

A run has two halves. In the storm, faults happen as the seed has it and every safety check is on. Then all faults are
over, whatever died is started, and within a given time ledger, agents, airlock sides and fields must agree.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from governor.barrier import Barrier
from governor.controller import Policy
from tegcore.errors import JournalError
from tegcore.units import GIB, MIB, NS_PER_S
from tegcore.wire import control
from tegcore.wire.control import WorkloadSpec
from tegcore.wire.records import (
    Cordon,
    Drain,
    Evict,
    Market,
    Op,
    Pin,
    Record,
    SetMode,
    Transfer,
)
from tegcore.wire.signing import Key, Keyring, governor_key, host_key, members_key, tenant_token
from tegd.agent import Place
from tegd.generations import Generation
from tegd.workload import Workload
from tegsim.cluster.airlock import AirlockPart
from tegsim.cluster.checkers import Checkers, ViolationError, disagreement
from tegsim.cluster.courier import Saved
from tegsim.cluster.governor import GovernorPart
from tegsim.cluster.host import AgentPart
from tegsim.cluster.ledger import LedgerPart
from tegsim.cluster.machine import Body, Habit, Machine
from tegsim.kernel import Clock, Kernel, Part, Stream
from tegsim.network import Network, Weather
from tegsim.scenario import Mood, Name, Scenario, Span, moods
from zone_ledger import desk
from zone_ledger.settings import LedgerSettings
from zone_ledger.state import Outcome

ZONE, TENANTS = "sim", ("ada", "bob")
SECRET = Key(b"simulated zone, simulated secret")
FUNDS_UCR = 200_000_000
LOOK_NS = NS_PER_S // 4
LARGE_HOSTS = 16
"""Clusters with more hosts are looked around once a second, and have funds for each so many hosts."""
BOUNDARIES_MAX = 12
"""A doomed part dies at one of so many boundaries from then on."""

RESERVE_W = 700.0
MEMORY_BYTES = GIB
GOVERNOR_KEYS = 1 << 40


@dataclass
class Host:
    """A machine and what runs on it."""

    name: str
    base: int
    slots: int
    machine: Machine
    agent: AgentPart
    airlock: AirlockPart


@dataclass
class Result:
    """What came of a run.

    Attributes:
        seed: Of it.
        rule: Invariant that did not hold; empty: all held.
        what: What was seen.
        simulated_s: How long it lasted in the simulated world.
        settled_s: How long after the storm all agreed.
        faults: Which were on.
        counts: Of what happened, for people.
        state_hash: Of the ledger's state at the end.
    """

    seed: int
    rule: str = ""
    what: str = ""
    simulated_s: float = 0.0
    settled_s: float = 0.0
    faults: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    state_hash: str = ""


class Cluster:
    """See the module.

    Args:
        scenario: What it is made of.
        seed: Of all draws.
        folder: For disks; nothing else may be there.
    """

    def __init__(self, scenario: Scenario, seed: int, folder: Path) -> None:
        self.scenario = scenario
        self.kernel = Kernel(seed)
        self._draws = self.kernel.stream("cluster")
        self.moods = moods(scenario, self.kernel.stream("moods"))
        self.checkers = Checkers(self)
        self.network = Network(self.kernel, self._weather())
        self.storming = True
        self.market_changed = False
        self._habits: dict[tuple[str, int], Habit] = {}
        self._agents: dict[str, AgentPart] = {}
        self._submitted: list[tuple[Host, int]] = []
        self._keys = 1 << 20
        self._transfers = self._power_cuts = 0
        self._drained: set[int] = set()
        self._cordoned: set[int] = set()
        zone = scenario.zone
        self.ledger = LedgerPart(
            self.kernel,
            self.network,
            self._clock(),
            self._ledger_settings(),
            SECRET,
            folder / "ledger",
            self.checkers,
        )
        self.governor = GovernorPart(
            self.kernel,
            self.network,
            self._clock(),
            zone=ZONE,
            side=float(1 << zone.zone_k),
            keyring=Keyring(members_key(SECRET, ZONE), governor_key(SECRET, ZONE)),
            epoch_ticks=zone.epoch_ticks,
            policy=Policy(20_000, 100, 10, 100_000, 0, 3_600_000),
            barrier=Barrier(re_max=self._within(scenario.re_max)),
            watcher=self.checkers,
        )
        count = round(self._within(scenario.hosts))
        self.hosts = [self._host(number, folder) for number in range(count)]
        for host in self.hosts:
            host.agent.courier.others = {other.name: other.agent for other in self.hosts}
        self._machines = {host.name: host.machine for host in self.hosts}

    # --- what it is made of -----------------------------------------------------------------------------------------

    def _within(self, span: Span) -> float:
        return self._draws.between(*span)

    def _clock(self) -> Clock:
        drift = self.moods.get(Name.DRIFT)
        ppm = int(drift.share * (2 * self._draws.draw() - 1)) if drift else 0
        return Clock(self.kernel, self._draws.whole(1, 10**6) * NS_PER_S, ppm)

    def _weather(self) -> Weather:
        def share(name: Name) -> float:
            return self.moods[name].share if name in self.moods else 0.0

        return Weather(share(Name.LOSS), share(Name.DOUBLES), share(Name.DAMAGE), share(Name.LATE))

    def _ledger_settings(self) -> LedgerSettings:
        zone = self.scenario.zone
        given = {
            "zone": ZONE,
            "zone_k": zone.zone_k,
            "market": "auction" if self._draws.chance(zone.auction) else "fixed",
            "period_ticks": zone.period_ticks,
            "term_periods": zone.term_periods,
            "renew_ticks": zone.renew_ticks,
            "grace_ticks": zone.grace_ticks,
            "notice_ticks": zone.notice_ticks,
            "epoch_ticks": zone.epoch_ticks,
            "rated_w": (RESERVE_W,),
            "joules_per_credit": RESERVE_W * 1.3 * zone.period_ticks / 20 / 0.1,
            "mu_credits": 0.02,
            "mem_k_credits": 0.1,
            "snapshot_records": round(self._within(zone.snapshot_records)),
            "keep_batches": round(self._within(zone.keep_batches)) if self._draws.chance(0.3) else 0,
        }
        return msgspec.convert(given, LedgerSettings)

    def _host(self, number: int, folder: Path) -> Host:
        name, slots = f"h{number}", 1 << self.scenario.log2_slots
        clock = self._clock()
        machine = Machine(
            name,
            self.kernel,
            clock,
            Body(float(slots), MEMORY_BYTES * slots),
            self.kernel.stream(f"machine {name}"),
            lambda run: self._habit(name, int(run.partition(".")[0])),
        )
        machine.on_begin = partial(self.checkers.began, name)
        place = Place(name, number * slots, self.scenario.log2_slots, 0, 1000 * slots, MEMORY_BYTES * slots)
        agent = AgentPart(
            self.kernel,
            self.network,
            machine,
            zone=ZONE,
            place=place,
            seed=self.kernel.seed * 1000 + number,
            tokens={tenant: tenant_token(SECRET, tenant) for tenant in TENANTS},
            keyring=Keyring(members_key(SECRET, ZONE), None, {name: host_key(SECRET, name)}.get),
            watcher=self.checkers,
        )
        airlock = AirlockPart(self.kernel, machine, folder / name, agent.told)
        agent.airlock, agent.rests = airlock, self.scenario.rest
        self._agents[name] = agent
        airlock.on_up = agent.reconnected
        starts = self.moods.get(Name.STARTS)
        airlock.stubborn = airlock.start_fails = starts.share if starts else 0.0
        return Host(name, number * slots, slots, machine, agent, airlock)

    def _habit(self, host: str, ref: int) -> Habit:
        """How the work behaves that a host knows by a number; a part behaves like its whole."""
        if (work := self.stored(host, ref)) is not None and work.home:
            host, ref = work.home, work.home_ref
        return self._habits[host, ref]

    def stored(self, host: str, ref: int) -> Workload | None:
        """A workload, or a part of one, as its host has it on disk."""
        raw = self._agents[host].store.works.get(ref)
        return msgspec.msgpack.decode(raw, type=Workload) if raw is not None else None

    def brought(self, host: str, ref: int) -> tuple[Generation, Saved] | None:
        """What a part was brought to go on from."""
        return self._agents[host].courier.origins.get(ref)

    def machine(self, name: str) -> Machine:
        """The machine of a host."""
        return self._machines[name]

    @property
    def parts(self) -> list[Part]:
        """All programs."""
        return [self.ledger, self.governor, *(part for host in self.hosts for part in (host.airlock, host.agent))]

    # --- a run ------------------------------------------------------------------------------------------------------

    def run(self) -> Result:
        """Storm, then settle; what came of it."""
        result = Result(self.kernel.seed, faults=tuple(sorted(map(str, self.moods))))
        try:
            self._storm()
            result.settled_s = self._settle()
            self._judge()
            if not any(host.machine.ran for host in self.hosts):
                raise ViolationError("nothing exercised", "no work ever ran, so that little was put to the test")
        except ViolationError as broken:
            result.rule, result.what = broken.rule, str(broken)
        except JournalError as error:
            result.rule, result.what = "a journal can always be read", str(error)
        except AssertionError as error:
            result.rule, result.what = "no program breaks an invariant of its own", _where(error)
        finally:
            result.simulated_s = self.kernel.now_ns / NS_PER_S
            result.counts = self._counts()
            if self.ledger.ledger is not None:
                result.state_hash = self.ledger.engine.state.hash().hex()
            self.close()
        return result

    def begin(self, *, governed: bool = True) -> None:
        """Start all programs, the governor among them or not, with money on the accounts."""
        for part in self.parts if governed else [part for part in self.parts if part is not self.governor]:
            part.restart_ns = lambda: NS_PER_S // 10
            part.start()
        self._open_accounts()

    def _storm(self) -> None:
        self.begin()
        self._plan_work()
        self._plan_faults()
        self._look()
        self.kernel.run_until(int(self._within(self.scenario.storm_s) * NS_PER_S))

    def _settle(self) -> float:
        """Seconds from the end of the storm until all agree.

        Raises:
            ViolationError: If they do not in time.
        """
        self._calm()
        begun_ns = self.kernel.now_ns
        quarrel = ""
        while self.kernel.now_ns - begun_ns < self.scenario.settle_s * NS_PER_S:
            self.kernel.run_until(self.kernel.now_ns + LOOK_NS)
            quarrel = disagreement(self)
            if not quarrel:
                return (self.kernel.now_ns - begun_ns) / NS_PER_S
        raise ViolationError("all agree once nothing fails", quarrel)

    def _judge(self) -> None:
        """Once more, at rest: the journal leads to where the ledger is."""
        ledger = self.ledger
        ledger.engine.check()
        ledger.kill()
        ledger.start()
        assert ledger.journal is not None, "it runs"
        self.checkers.journal(ledger.journal, ledger.engine)

    def close(self) -> None:
        """End all programs."""
        for part in self.parts:
            part.restart_ns = lambda: -1
            part.kill()

    def _look(self) -> None:
        self.checkers.look()
        self.kernel.after(LOOK_NS if len(self.hosts) <= LARGE_HOSTS else NS_PER_S, self._look)

    def _counts(self) -> dict[str, int]:
        counts = {"events": self.kernel.events, "messages": self.network.carried, "checks": self.checkers.checks}
        counts |= {"crashes": sum(part.crashes for part in self.parts), "disk_faults": self.ledger.disk.faults}
        counts |= {"work": len(self._submitted), "ran": sum(host.machine.ran for host in self.hosts)}
        counts |= {"hosts_lost": self.ledger.lost, "power_cuts": self._power_cuts}
        counts |= {f"told_{op.name.lower()}": times for op, times in sorted(self.checkers.told.items())}
        counts |= {"hosts_seated": self.checkers.hosts_seated, "leases": self.ledger.leases_granted}
        return counts

    # --- work -------------------------------------------------------------------------------------------------------

    def _open_accounts(self) -> None:
        for number, tenant in enumerate(TENANTS):
            self._mint(tenant, FUNDS_UCR * -(-len(self.hosts) // LARGE_HOSTS), key=1 + number)

    def _plan_work(self) -> None:
        work, draws = self.scenario.work, self.kernel.stream("work")
        storm_ns = int(self.scenario.storm_s[0] * NS_PER_S)
        for _ in range(round(draws.between(*work.count))):
            host = draws.one_of(self.hosts)
            spec, habit = self._piece(draws)
            tenant = draws.one_of(TENANTS)
            self.kernel.after(int(draws.draw() * storm_ns), partial(self._submit, host, tenant, spec, habit))

    def _piece(self, draws: Stream) -> tuple[WorkloadSpec, Habit]:
        work, hooks = self.scenario.work, self.moods.get(Name.HOOKS)
        wrong = hooks.share if hooks else 0.0
        sizes = tuple(draws.whole(work.sizes_min, work.sizes) for _ in range(2 if draws.chance(0.1) else 1))
        slots = sum(1 << size for size in sizes)
        limit_ucr = int(100_000 * draws.between(*work.limit))
        mem_bytes = int(draws.between(*work.mem_mib)) * MIB if draws.chance(0.5) else 0
        spec = WorkloadSpec(
            argv=("simulated",),
            env={"CORES": str(slots)},
            sizes=sizes,
            cpu_milli=1000,
            mem_bytes=mem_bytes,
            limit_ucr=limit_ucr if draws.chance(0.85) else 0,
            endow_ucr=int(limit_ucr * slots * draws.between(*work.periods)),
            sla_priority=draws.whole(0, 5),
            hook=control.Hook() if draws.chance(work.savable) else None,
            here=draws.chance(work.here),
        )
        if work.checkpoint_s[1]:
            spec = replace(spec, checkpoint_every_s=round(draws.between(*work.checkpoint_s)))
        habit = Habit(
            int(draws.between(*work.lasts_s) * NS_PER_S),
            mem_bytes,
            draws.between(*work.grows_mib_per_s) * MIB if draws.chance(0.4) else 0.0,
            draws.between(*work.use),
            int(draws.between(*work.hook_s) * NS_PER_S),
            wrong,
            int(draws.between(0.01, 0.2) * NS_PER_S),
            wrong,
        )
        return spec, habit

    def submit(self, host: Host, tenant: str, spec: WorkloadSpec, habit: Habit) -> int:
        """Run this; returns its number, or 0 if nobody answers."""
        if ref := host.agent.submit(tenant, spec):
            self._habits[host.name, ref] = habit
            self._submitted.append((host, ref))
        return ref

    def _submit(self, host: Host, tenant: str, spec: WorkloadSpec, habit: Habit) -> None:
        """People try again until it is taken."""
        if not self.submit(host, tenant, spec, habit) and self.storming:
            self.kernel.after(NS_PER_S // 2, partial(self._submit, host, tenant, spec, habit))

    # --- operators and owners ---------------------------------------------------------------------------------------

    def _key(self) -> int:
        self._keys += 1
        return self._keys

    def _order(self, records_of: Callable[[], list[Record]], told: Callable[[Outcome], None] = lambda _: None) -> None:
        """An operator asks, and asks the same again until it is told what came of it."""

        def heard(outcome: Outcome | None) -> None:
            if outcome is not None:
                told(outcome)
            else:
                self.kernel.after(NS_PER_S // 3, lambda: self._order(records_of, told))

        self.ledger.ask(records_of, heard)

    def _mint(self, tenant: str, amount_ucr: int, key: int) -> None:
        request = control.MintCredits(tenant=tenant, amount_ucr=amount_ucr, key=key)
        self.checkers.expected.mints[key] = amount_ucr
        self._order(
            lambda: desk.commands(self.ledger.engine.state, request),
            told=lambda _: self.checkers.answered(key, amount_ucr),
        )

    def command(self, op: Op, body: object) -> None:
        """An operator asks for this, until it is told what came of it."""
        key = self._key()
        self._order(lambda: [Record(op, 0, 0, key, body)])

    def _transfer(self, draws: Stream) -> None:
        """Credits from another zone, which says so again under other keys until it is sure."""
        self._transfers += 1
        number, zone, amount_ucr = self._transfers, draws.whole(1, 3), draws.whole(1, 10**7)
        self.checkers.expected.transfers[zone, number] = amount_ucr
        body = Transfer(number, 1, zone, amount_ucr)
        for _ in range(draws.whole(1, 3)):
            self.kernel.after(draws.wait_ns(1.0), partial(self.command, Op.TRANSFER_IN, body))

    def _operate(self, draws: Stream, _mood: Mood) -> None:
        if not self.ledger.well:
            return
        state = self.ledger.engine.state
        leases = sorted(state.leases)
        match draws.whole(0, 8):
            case 0:
                self._mint(draws.one_of(TENANTS), draws.whole(1, 10**8), self._key())
            case 1 | 2:
                self._transfer(draws)
            case 3 if state.hosts:
                host = draws.whole(1, len(state.hosts))
                self._drained.add(host)
                self.command(Op.DRAIN, Drain(host, draws.whole(0, 1)))
            case 4:
                slot = draws.whole(0, (len(self.hosts) << self.scenario.log2_slots) - 1)
                self._cordoned.add(slot)
                self.command(Op.CORDON, Cordon(slot, draws.whole(0, 1)))
            case 5 if leases:
                self.command(Op.PIN, Pin(draws.one_of(leases), draws.whole(0, 1)))
            case 6 if leases:
                self.command(Op.EVICT, Evict(draws.one_of(leases)))
            case 7:
                self.market_changed = True
                self.command(Op.MODE, SetMode(draws.one_of((Market.FIXED, Market.AUCTION))))
            case _:
                self.command(Op.TRANSFER_OUT, Transfer(self._key(), 1, 9, draws.whole(1, 10**6)))

    def _own(self, draws: Stream, _mood: Mood) -> None:
        if not self._submitted:
            return
        host, ref = draws.one_of(self._submitted)
        if draws.chance(0.3):
            host.agent.with_work(ref, lambda node, work, now_ns: node.cancel(work, now_ns))
        else:
            key, amount_ucr = self._key(), draws.whole(1, 2_000_000)
            for _ in range(draws.whole(1, 2)):
                host.agent.with_work(ref, lambda node, work, _: node.top_up(work, amount_ucr, key))

    # --- faults -----------------------------------------------------------------------------------------------------

    def _plan_faults(self) -> None:
        for name, mood in self.moods.items():
            if name in _HAPPENING:
                self._again(_HAPPENING[name], self.kernel.stream(f"fault {name}"), mood)

    def _again(self, happen: "_Happen", draws: Stream, mood: Mood) -> None:
        def now() -> None:
            if self.storming:
                happen(self, draws, mood)
                self._again(happen, draws, mood)

        self.kernel.after(draws.wait_ns(mood.every_s), now)

    def _for_a_while(self, draws: Stream, mood: Mood, undo: Callable[[], None]) -> None:
        self.kernel.after(int(draws.between(*mood.lasts_s) * NS_PER_S), undo)

    def _die(self, part: Part, draws: Stream, mood: Mood) -> None:
        pause_ns = int(draws.between(*mood.lasts_s) * NS_PER_S)
        part.restart_ns = lambda: pause_ns
        if draws.chance(0.15):
            part.kill()
        else:
            part.doom(draws.whole(1, BOUNDARIES_MAX))

    def _client(self, draws: Stream) -> str:
        return draws.one_of([f"{ZONE}-ledger", f"{ZONE}-governor", *(host.name for host in self.hosts)])

    def _part_ways(self, draws: Stream, mood: Mood) -> None:
        ways = self.network.ways(self._client(draws))
        chosen = draws.one_of((ways[:1], ways[1:], ways))
        for way in chosen:
            way.parted = True

        def joined() -> None:
            for way in chosen:
                way.parted = False

        self._for_a_while(draws, mood, joined)

    def _clog(self, draws: Stream, mood: Mood) -> None:
        way = draws.one_of(self.network.ways(self._client(draws)))
        way.clogged = True
        self._for_a_while(draws, mood, lambda: self.network.release(way))

    def _broker(self, draws: Stream, mood: Mood) -> None:
        if self.network.broker_up:
            self.network.set_broker(up=False)
            keeps = draws.chance(mood.share)
            self._for_a_while(draws, mood, lambda: self.network.set_broker(up=True, keeps=keeps))

    def _fail_disk(self, draws: Stream, mood: Mood) -> None:
        self.ledger.disk.failing = mood.share
        self._for_a_while(draws, mood, lambda: setattr(self.ledger.disk, "failing", 0.0))

    def _slow_disk(self, draws: Stream, mood: Mood) -> None:
        slow_ns = int(mood.share * NS_PER_S)
        self.ledger.write_ns = lambda: int(draws.draw() * slow_ns)
        self._for_a_while(draws, mood, lambda: setattr(self.ledger, "write_ns", lambda: 1_000_000))

    def _kill_ledger(self, draws: Stream, mood: Mood) -> None:
        self.ledger.power_cut = draws.chance(mood.share)
        self._die(self.ledger, draws, mood)

    def _kill_governor(self, draws: Stream, mood: Mood) -> None:
        self.checkers.forget_governor()
        self._die(self.governor, draws, mood)

    def _power(self, draws: Stream, mood: Mood) -> None:
        host = draws.one_of(self.hosts)
        down_ns = int(draws.between(*mood.lasts_s) * NS_PER_S)
        for part in (host.agent, host.airlock):
            part.restart_ns = lambda: down_ns
            part.kill()
        host.machine.power_cut()
        self._power_cuts += 1

    def _pause(self, draws: Stream, mood: Mood) -> None:
        agent = draws.one_of(self.hosts).agent
        agent.paused = agent.up
        self._for_a_while(draws, mood, agent.unpause)

    def _step_clock(self, draws: Stream, mood: Mood) -> None:
        clock = draws.one_of(self.hosts).machine.clock
        clock.wall_offset_ns += int((2 * draws.draw() - 1) * mood.share * 3600 * NS_PER_S)

    def _calm(self) -> None:
        """All faults are over: what is down is started, what was drained or cordoned is offered again."""
        self.storming = False
        self.network.weather = Weather()
        for way in (way for ways in self.network._ways.values() for way in ways):
            way.parted = False
            self.network.release(way)
        if not self.network.broker_up:
            self.network.set_broker(up=True)
        self.ledger.disk.failing = 0.0
        self.ledger.write_ns = lambda: 1_000_000
        for host in self.hosts:
            host.agent.unpause()
        for part in self.parts:
            part.doom(0)
            part.restart_ns = lambda: NS_PER_S // 10
            part.start()
        for number in sorted(self._drained):
            self.command(Op.DRAIN, Drain(number, 0))
        for slot in sorted(self._cordoned):
            self.command(Op.CORDON, Cordon(slot, 0))


_Happen = Callable[[Cluster, Stream, Mood], None]


def _agent_dies(cluster: Cluster, draws: Stream, mood: Mood) -> None:
    cluster._die(draws.one_of(cluster.hosts).agent, draws, mood)


def _airlock_dies(cluster: Cluster, draws: Stream, mood: Mood) -> None:
    cluster._die(draws.one_of(cluster.hosts).airlock, draws, mood)


_HAPPENING: dict[Name, _Happen] = {
    Name.PARTITION: Cluster._part_ways,
    Name.CLOG: Cluster._clog,
    Name.CUT: lambda cluster, draws, _: cluster.network.cut(cluster._client(draws)),
    Name.BROKER: Cluster._broker,
    Name.DISK: Cluster._fail_disk,
    Name.SLOW_DISK: Cluster._slow_disk,
    Name.LEDGER: Cluster._kill_ledger,
    Name.GOVERNOR: Cluster._kill_governor,
    Name.AGENT: _agent_dies,
    Name.AIRLOCK: _airlock_dies,
    Name.POWER: Cluster._power,
    Name.PAUSE: Cluster._pause,
    Name.STEP: Cluster._step_clock,
    Name.OPERATOR: Cluster._operate,
    Name.OWNER: Cluster._own,
}
"""Faults that happen now and then; the others are how the world is."""


def _where(error: AssertionError) -> str:
    at: Any = error.__traceback__
    while at.tb_next is not None:
        at = at.tb_next
    code = at.tb_frame.f_code
    return f"{Path(code.co_filename).name}:{at.tb_lineno} {code.co_name}: {error}"
