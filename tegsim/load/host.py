"""One host: the program's own agent side, and around it an airlock side and a courier.

A run that is started runs at once; a save takes `SAVE_TICKS`, and fails where its job says so. What hosts say and hand
to each other arrives at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from tegcore import rng
from tegcore.field.geometry import slots_at
from tegcore.units import GIB, NS_PER_S, TICK_NS
from tegcore.wire.messages import Sample
from tegcore.wire.peer import NOT_YET, Answer, Begin, Brief, Drop, Report
from tegcore.wire.records import Record
from tegd import effects as asked
from tegd.agent import AgentSide, Place
from tegd.bidding import Usage
from tegd.effects import Effect, Run
from tegd.handover import Stay
from tegd.link import boot_after
from tegd.workload import Life, Workload
from tegsim.load.jobs import Job

SAVE_TICKS = 10
OUTCOME_ASKED = 143
"""Exit code of what was asked to end."""

NO_MARK = "it made no mark in time"
NOBODY = Answer(ok=False, reason=NOT_YET, message="it does not answer")
NAN = float("nan")
UID = 1000


@dataclass(slots=True)
class Piece:
    """A job on its way.

    Attributes:
        host: Name of its home.
        ref: Its number there.
        came: Tick in which it was submitted.
        seated: Tick in which it was first given its slots; -1: never.
        first: Tick in which it was first started; -1: never. On another host that is a second later.
        ended: Tick in which it was over; -1: it is not.
        starts: How often its first part was started.
        again: How often from the beginning, after the first.
        lost_ticks: Slot-ticks of work that was done and is not saved.
        saved: Work in its newest checkpoint, by rank.
        done: Whether it came to its end by itself.
        parts_done: Ranks that have.
    """

    job: Job
    host: str
    ref: int
    came: int
    first: int = -1
    ended: int = -1
    starts: int = 0
    again: int = 0
    lost_ticks: int = 0
    saved: dict[int, int] = field(default_factory=dict)
    done: bool = False
    parts_done: set[int] = field(default_factory=set)
    outcome: str = ""
    seated: int = -1

    @property
    def named(self) -> bool:
        """Whether a person named its bid."""
        return self.job.spec.limit_ucr > 0

    @property
    def slots(self) -> int:
        """How many it asks for."""
        return sum(1 << size for size in self.job.spec.sizes)


@dataclass(slots=True)
class Process:
    """A run on a host's airlock side.

    Attributes:
        name: On the airlock side: of its work and lease.
        since: Tick in which it was started.
        before: Ticks of work that its checkpoint brought.
        leaves: Tick in which it will have been saved and ended, or ended; -1: it runs on.
        saves: Whether it is being saved.
    """

    name: str
    work: Workload
    piece: Piece
    since: int
    before: int
    term_end_ns: int
    slots: int
    leaves: int = -1
    saves: bool = False

    def done(self, tick: int) -> int:
        """Ticks of work."""
        return self.before + tick - self.since


class Watcher(Protocol):
    """Who sees what happens on hosts."""

    def heard(self, host: "Host", record: Record) -> None:
        """An event is taken in."""

    def kept(self, host: "Host", work: Workload) -> None:
        """A workload is put on disk: it is not what it was."""

    def began(self, piece: Piece, tick: int) -> None:
        """The first part of a job was started."""

    def stopped(self, process: Process, cause: str, tick: int) -> None:
        """A run is over."""


class Host:
    """See the module.

    Args:
        place: What it introduces itself with.
        seed: Of its agents' draws.
        tokens: Of tenants.
        now_ns: Boot-time clock.
        watcher: Told what happens.

    Attributes:
        others: Every host, by name.
        pieces: Jobs that were submitted here, by ref.
        living: Of them, those that are not over.
        said: Questions to the ledger beyond what a cycle says.
        slots_busy: Slots with a run.
    """

    def __init__(self, place: Place, seed: int, tokens: dict[str, int], now_ns: int, watcher: Watcher) -> None:
        self.name, self.place, self._watcher = place.host, place, watcher
        self.agent = AgentSide(place, 1, seed, tokens, now_ns)
        self.agent.address = f"{place.host}:1"
        self.others: dict[str, Host] = {}
        self.pieces: dict[int, Piece] = {}
        self.living = self._ref = self.tick = self.slots_busy = 0
        self.now_ns = now_ns
        self.said: list[asked.AskPeers] = []
        self._processes: dict[str, Process] = {}
        self._usage: dict[str, Usage] = {}
        self._boot, self._seed = 1, seed
        take_in = self.agent.node._event

        def watched(record: Record, now_ns: int) -> list[Effect]:
            watcher.heard(self, record)
            return take_in(record, now_ns)

        setattr(self.agent.node, "_event", watched)  # noqa: B010 - an instance's own, no rule of the class is touched
        self.agent.ready()

    # --- people -----------------------------------------------------------------------------------------------------

    def submit(self, job: Job, tenant: str) -> Piece:
        """A job is accepted."""
        self._ref += 1
        work = Workload.accepted(self._ref, tenant, (UID, UID), self._ref, job.spec)
        work.submitted_tick = self.agent.node.tick
        piece = self.pieces[work.ref] = Piece(job, self.name, work.ref, self.tick)
        self.living += 1
        self.carry_out(self.agent.node.submitted(work))
        return piece

    # --- time -------------------------------------------------------------------------------------------------------

    def cycle(self, tick: int, now_ns: int, *, sensed: bool, flown: bool) -> None:
        """One cycle: what runs came to, then the agent side's own.

        Args:
            tick: Since time began.
            now_ns: Boot-time clock.
            sensed: A reading of the host is taken.
            flown: Ghosts fly; if not, each stays where it begins.
        """
        self.tick, self.now_ns = tick, now_ns
        for process in list(self._processes.values()):
            self._look_at(process)
        agent = self.agent
        if sensed:
            busy = min(1.0, self.slots_busy / (1 << self.place.log2_slots))
            agent.sensed(Sample(now_ns, 0.9 * busy, 0.5 * busy, 0.0, 0.0, NAN, NAN, NAN, NAN, NAN))
        if agent.wants_usage:
            self._usage = {name: self._used(process) for name, process in self._processes.items()}
        self.carry_out(agent.cycle(self._usage, now_ns) if flown else self._cycle_unflown())
        agent.node.order_ms.clear()
        agent.node.said.clear()

    def _cycle_unflown(self) -> list[Effect]:
        """`AgentSide.cycle` without the flight: where a ghost begins is drawn as there (9)."""
        node = self.agent.node
        if node.zone is not None:
            fresh = [ref for ref in node.ghosts() if ref not in node.slots]
            if fresh:
                side = float(1 << node.zone.zone_k)
                starts = rng.uniform_pairs(self._seed, "start", 0, fresh).T * side
                node.slots |= dict(zip(fresh, slots_at(starts).tolist(), strict=True))
        return node.step(self._usage, self.now_ns)

    def _used(self, process: Process) -> Usage:
        cores = process.work.spec.cpu_milli * process.slots / 1000
        return Usage(self.now_ns, 0, int((self.tick - process.since) * TICK_NS * cores))

    def _look_at(self, process: Process) -> None:
        work, tick = process.work, self.tick
        if process.leaves < 0 and process.done(tick) >= process.piece.job.ticks:
            process.piece.parts_done.add(work.rank)
            self._over(process, "exited", 0)
        elif 0 <= process.leaves <= tick:
            if process.saves and process.piece.job.fails:
                process.leaves, process.saves = -1, False
                failed = Run(process.name, "running", problem=NO_MARK, hook_failed=NO_MARK)
                self.carry_out(self.agent.node.run_changed(failed, self.now_ns))
                return
            if process.saves:
                process.piece.saved[work.rank] = process.done(process.leaves)
            self._over(process, "asked", OUTCOME_ASKED)
        elif process.term_end_ns <= self.now_ns:
            self._over(process, "term", OUTCOME_ASKED)

    def _over(self, process: Process, cause: str, exit_code: int) -> None:
        self.slots_busy -= process.slots
        del self._processes[process.name]
        saved = process.saves and cause == "asked"
        if cause != "exited" and not saved:
            kept = process.piece.saved.get(process.work.rank, 0)
            process.piece.lost_ticks += max(0, process.done(self.tick) - kept) * process.slots
        self._watcher.stopped(process, cause, self.tick)
        run = Run(process.name, "ended", cause, exit_code, saved, "", self.now_ns if saved else 0)
        self.carry_out(self.agent.node.run_changed(run, self.now_ns))

    def forget_ended(self) -> None:
        """Forget work that is over, as the daemon does with all but the latest thousand."""
        node = self.agent.node
        for ref in [ref for ref, work in node.workloads.items() if work.life is Life.ENDED and not work.owed]:
            work = node.workloads[ref]
            if node.runs.get(work.airlock_id) is None and work.stay in {Stay.NONE, Stay.GONE}:
                del node.workloads[ref], node.agents[ref]
                node.slots.pop(ref, None)
                self.agent.travel.forget(work)

    # --- what the core asks for -------------------------------------------------------------------------------------

    def carry_out(self, effects: Iterable[Effect]) -> None:
        """Carry out what the core asks for."""
        for effect in effects:
            match effect:
                case asked.Keep(work):
                    self._watcher.kept(self, work)
                case asked.Start(work):
                    self._start(work)
                case asked.Extend(work):
                    if (process := self._processes.get(work.airlock_id)) is not None:
                        process.term_end_ns = work.term_end_ns
                case asked.SaveAndEnd(work, save):
                    process = self._processes.get(work.airlock_id)
                    if process is not None and process.leaves < 0:
                        process.leaves, process.saves = self.tick + (SAVE_TICKS if save else 1), save
                case asked.SaveInPassing(work):
                    self._save_in_passing(work)
                case asked.Forget(airlock_id):
                    self.agent.node.runs.pop(airlock_id, None)
                case asked.Bound() | asked.Drop() | asked.Clear():
                    pass
                case _:
                    self._carry(effect)

    def _piece(self, work: Workload) -> Piece:
        return self.others[work.home or self.name].pieces[work.home_ref or work.ref]

    def _start(self, work: Workload) -> None:
        if not work.lease or work.airlock_id in self._processes:
            return
        piece, tick = self._piece(work), self.tick
        before = piece.saved.get(work.rank, 0) if work.resume else 0
        name, slots = work.airlock_id, work.slots_here
        self._processes[name] = Process(name, work, piece, tick, before, work.term_end_ns, slots)
        self.slots_busy += work.slots_here
        if work.rank == 0:
            piece.again += piece.starts > 0 and not work.resume
            piece.starts += 1
            self._watcher.began(piece, tick)
        self.carry_out(self.agent.node.run_changed(Run(work.airlock_id, "running"), self.now_ns))

    def _save_in_passing(self, work: Workload) -> None:
        if (process := self._processes.get(work.airlock_id)) is not None and process.leaves < 0:
            process.piece.saved[work.rank] = process.done(self.tick)
            run = Run(work.airlock_id, "running", saved=True, saved_ns=self.now_ns)
            self.carry_out(self.agent.node.run_changed(run, self.now_ns))

    # --- between hosts ----------------------------------------------------------------------------------------------

    def _carry(self, effect: Effect) -> None:
        travel = self.agent.travel
        match effect:
            case asked.AskPeers():
                self.said.append(effect)
            case asked.Rejoin():
                self._boot = boot_after(self._boot, 0)
                self.agent.rejoin(self._boot, self.now_ns)
            case asked.TellSeat(work, rank):
                token = work.token
                answer = self._ask(work.seats[rank], travel.brief(work, rank, "worker"))
                self.carry_out(travel.seat_answered(work.ref, token, rank, answer, self.now_ns))
            case asked.TellHome(work):
                report = travel.report(work)
                answer = self._ask(work.home, report)
                self.carry_out(travel.home_answered(work.ref, report, answer))
            case asked.TellBegin(work, rank):
                token = work.token
                answer = self._ask(work.seats[rank], Begin(work.ref, token, rank))
                self.carry_out(travel.begin_answered(work.ref, token, rank, ok=answer.ok))
            case asked.Fetch(work):
                self.carry_out(travel.fetched(work.ref, work.token, "", self.now_ns))
            case asked.Collect(work, number):
                token = work.token if work.home else work.last_token
                problem = "" if self._piece(work).saved else "there is no checkpoint"
                self.carry_out(travel.collected(work.ref, token, number, problem))
            case asked.Copy(work, source):
                self.carry_out(travel.copied(work.ref, source, ""))
            case asked.DropThere(work, host, rank, token):
                answer = self._ask(host, Drop(work.ref, token, rank))
                self.carry_out(travel.dropped(work.ref, host, rank, token, ok=answer.ok))
            case _:
                raise AssertionError(f"nobody carries out {type(effect).__name__}")

    def _ask(self, host: str, said: Brief | Report | Drop | Begin) -> Answer:
        if host != self.name and host not in self.agent.travel.peers:
            self.carry_out(self.agent.travel.unreached(host))
            return NOBODY
        return self.others[host].asked_by(self.name, said)

    def asked_by(self, sender: str, said: Brief | Report | Drop | Begin) -> Answer:
        """Answer another host, or this one."""
        travel = self.agent.travel
        match said:
            case Brief():
                self.carry_out(travel.ask_about(said.lease))
                refused = travel.refusal(sender, said)
                if refused is None:
                    self._ref += 1
                    self.carry_out(travel.briefed(sender, said, self._ref, UID, UID))
                return refused or travel.refusal(sender, said) or NOBODY
            case Report():
                effects, answer = travel.reported(sender, said, self.now_ns)
                self.carry_out(effects)
                return answer
            case Begin():
                effects, answer = travel.begin(sender, said.ref, said.token, said.rank)
                self.carry_out(effects)
                return answer
            case Drop():
                self.carry_out(travel.drop(sender, said.ref, said.token, said.rank))
                return Answer(ok=True)


def place_of(number: int, log2_slots: int) -> Place:
    """What a host introduces itself with."""
    return Place(f"h{number}", number << log2_slots, log2_slots, 0, 1000 << log2_slots, 4 * GIB << log2_slots)


assert NS_PER_S % TICK_NS == 0, "seconds are whole ticks"
