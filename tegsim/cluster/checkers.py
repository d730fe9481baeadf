"""What must hold whatever fails, and, once nothing fails any more, what must be agreed upon.

Safety is looked at in every tick of the ledger and at every look around the hosts; each check names the invariant that
it holds the cluster to, and knows nothing of how the programs keep it. Times are true time, that no program can read.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain, combinations
from typing import TYPE_CHECKING

from governor.controller import Controller
from tegcore.units import NS_PER_S
from tegcore.wire.records import Market, Op, Record, unpack_all
from tegd import generations
from tegd.airlock.model import Held
from tegd.airlock.model import Workload as Run
from tegd.airlock.transitions import State as RunState
from tegd.handover import Stay
from tegd.modes import Mode
from tegd.node import Node
from tegd.workload import Life, Workload
from tegsim.cluster.machine import Process
from tegsim.kernel import REST_CYCLES
from zone_ledger.engine import Engine
from zone_ledger.journal.store import Journal
from zone_ledger.leases import Lease, charge_ucr
from zone_ledger.placement import Trial
from zone_ledger.replay import replay
from zone_ledger.state import State

if TYPE_CHECKING:
    from tegsim.cluster.courier import Saved
    from tegsim.cluster.host import AgentPart
    from tegsim.cluster.ledger import LedgerPart
    from tegsim.cluster.world import Cluster

DEEP_EVERY_TICKS = 16
"""Ticks between two checks that compute all sums of the engine anew; more of them for more than `HOSTS_DEEP` hosts."""

HOSTS_DEEP = 64

REPLAY_EVERY_LIVES = 3
"""Lives of the ledger between two that are compared with a replay of the whole journal."""

HOSTS_HASHED = 16
"""With so many hosts every batch is hashed, with more of them fewer: a hash is over all of the state."""

WOKEN_NS = 3 * NS_PER_S // 2
"""After so long awake a host has heard a whole frame of heat."""

STILL_NS_MAX = 2 * NS_PER_S
"""A process that is not to be held is held no longer than this (DESIGN 7)."""

NOT_KEPT = frozenset({"book", "bids", "stirred", "genesis", "admission", "rows", "deadlines", "short_of_money"})
"""Parts of a ledger's state that are compared by the hashes, or are derived."""


LOOK_AT_WAITERS_TICKS = 5
IDLE_TICKS_MAX = 20
"""Free slots that fit work which waits are told to it within a second."""


MOMENT_NS = 5 * NS_PER_S // 4
"""Ranks that save for one request are asked within so long, unless one of them is cut off."""
TOLD = "missing since"
"""What a home says of a checkpoint without which its gang goes on from an older one."""


class ViolationError(BaseException):
    """Something does not hold that must; no exception that a program guards against, so that none swallows it.

    Args:
        rule: Its name.
        what: What was seen.
    """

    def __init__(self, rule: str, what: str) -> None:
        super().__init__(f"{rule}: {what}")
        self.rule = rule


def hold(rule: str, fine: bool, what: object) -> None:
    """See that something holds."""
    if not fine:
        raise ViolationError(rule, str(what))


_Ranks = dict[int, "tuple[generations.Generation, Saved] | None"]
"""What the ranks of a lease were begun from; None: from nothing."""


@dataclass
class Expected:
    """What operators have asked for, whatever became of it: amounts by key, transfers by (zone, number)."""

    mints: dict[int, int] = field(default_factory=dict)
    transfers: dict[tuple[int, int], int] = field(default_factory=dict)


@dataclass
class Checkers:
    """All of them, of one cluster.

    Attributes:
        expected: What operators have asked for.
        checks: How many were made.
        told: Events that hosts took in, by what they say.
        barrier_assumed: Whether Re has moved as the barrier's bound assumes.
    """

    cluster: "Cluster"
    expected: Expected = field(default_factory=Expected)
    checks: int = 0
    told: Counter[Op] = field(default_factory=Counter)
    barrier_assumed: bool = True
    re_worst: float = 0.0
    _hashes: dict[int, bytes] = field(default_factory=dict)
    _durable: int = 0
    _heard: dict[tuple[str, int], int] = field(default_factory=dict)
    _told: dict[tuple[str, int], set[int]] = field(default_factory=dict)
    _known: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    _minted: set[int] = field(default_factory=set)
    _watched: tuple[int, float, float] | None = None
    _closed: bool = False
    _pushed: float = 0.0
    _escrowed: set[int] = field(default_factory=set)
    _in_vain: dict[tuple[int, int], int] = field(default_factory=dict)
    _gangs: dict[tuple[str, int], dict[int, "_Ranks"]] = field(default_factory=dict)
    _whole: dict[tuple[str, int], generations.Generation] = field(default_factory=dict)

    # --- the ledger -------------------------------------------------------------------------------------------------

    def matched(self, ledger: "LedgerPart") -> None:
        """A tick of the ledger is over; it may not be on disk yet."""
        assert ledger.ledger is not None, "it runs"
        state, engine = ledger.engine.state, ledger.engine
        self.checks += 1
        if ledger.ledger.matched % max(1, len(state.hosts) // HOSTS_HASHED) == 0:
            self._hashes[ledger.ledger.matched] = state.hash()
        self._conserved(state)
        self._prices(state)
        self._no_slot_twice(state)
        self._fenced(state)
        if state.tick % LOOK_AT_WAITERS_TICKS == 0:
            self._nobody_waits_in_vain(state)
        if state.tick % (DEEP_EVERY_TICKS * max(1, len(state.hosts) // HOSTS_DEEP)) == 0:
            engine.check()

    def _nobody_waits_in_vain(self, state: State) -> None:
        """Work that asked for slots is told of free ones that fit it, unless they are promised or held for others.

        Looked at anew from what is free in the book, not by who was told.
        """
        waiting = [waiter for waiter in state.queue.waiters.values() if waiter.ready]
        spoken_for = state.promise is not None or any(waiter.woken for waiter in waiting)
        idle: dict[tuple[int, int], int] = {}
        for waiter in waiting if not spoken_for else ():
            placement = Trial(state.book, waiter.order).look(leased=False, scales=state.scales)
            affordable = state.market is Market.FIXED and not waiter.order.named
            if placement is None or (not affordable and waiter.order.free_bid_ucr <= placement.total_ucr):
                continue
            since = idle[waiter.key] = self._in_vain.get(waiter.key, state.tick)
            what = f"{waiter.key} has waited since tick {since} for {placement.blocks}, which is free"
            hold("no slot is idle while work that fits waits", state.tick - since <= IDLE_TICKS_MAX, what)
        self._in_vain = idle

    def durable(self, number: int) -> None:
        """A batch is on disk: whatever is said from now on rests on it."""
        hold("acknowledged is never lost", number == self._durable + 1, f"batch {number} after {self._durable}")
        self._durable = number
        for key in [key for key in self._hashes if key < number]:
            del self._hashes[key]

    def recovered(self, ledger: "LedgerPart") -> None:
        """The ledger has come back to what its disk holds."""
        journal, engine = ledger.journal, ledger.engine
        assert journal is not None, "it runs"
        assert ledger.snapshots is not None, "it runs"
        number, state = journal.last_number, engine.state
        hold("acknowledged is never lost", number >= self._durable, f"batch {number} after {self._durable}")
        hold("snapshots prove", not ledger.snapshots.broken, ledger.snapshots.broken)
        if number in self._hashes:
            hold("replay is equal", state.hash() == self._hashes[number], f"batch {number} leads elsewhere")
        self._durable = number
        self._hashes = {number: state.hash()}
        if not journal.first.number and ledger.life % REPLAY_EVERY_LIVES == 0:
            self._equal(engine, replay(journal.read()))
        self._nothing_acknowledged_is_lost(state)
        engine.check()

    def _equal(self, recovered: Engine, replayed: Engine) -> None:
        """By a snapshot and by the whole journal one comes to the same, in every field."""
        hold("replay is equal", recovered.state.hash() == replayed.state.hash(), "by snapshot and by journal")
        running = recovered.state.running_hash() == replayed.state.running_hash()
        hold("replay is equal", running, "the running hash differs by snapshot and by journal")
        for name in State.__slots__:
            if name not in NOT_KEPT:
                one, other = getattr(recovered.state, name), getattr(replayed.state, name)
                same = sorted(one) == sorted(other) if name == "due" else one == other
                hold("replay is equal", same, f"{name} differs by snapshot and by journal")

    def _nothing_acknowledged_is_lost(self, state: State) -> None:
        for host, (boot, acked, heard) in sorted(self._known.items()):
            if not (acked or heard):
                continue
            number = state.host_numbers.get(host, 0)
            hold("acknowledged is never lost", number > 0, f"{host} is not known any more")
            session = state.hosts[number]
            if session.boot == boot and not session.stale:
                hold("acknowledged is never lost", session.inbox.last_seq >= acked, f"{host}: command {acked}")
                hold("acknowledged is never lost", session.outbox.last_seq >= heard, f"{host}: event {heard}")

    def answered(self, key: int, amount_ucr: int) -> None:
        """An operator was told that credits were minted."""
        self._minted.add(key)
        self.expected.mints[key] = amount_ucr

    def _conserved(self, state: State) -> None:
        """Credits by their parts, and against what operators have asked for."""
        money = state.accounts
        balances = sum(money.balances.values())
        escrow = sum(lease.purse_ucr + lease.escrow_ucr for lease in state.leases.values())
        escrow += sum(order.held_ucr + order.notice_ucr for order in state.orders.values())
        came, went = money.minted + money.transferred_in, money.evaporated + money.transferred_out
        hold("credits are conserved", came == balances + escrow + went, f"{came} != {balances} + {escrow} + {went}")
        minted = sum(amount for key, amount in self.expected.mints.items() if key in state.operator_keys)
        covered = state.counters.covered_ucr
        asked = f"asked for {minted}, and incomes covered {covered}"
        hold("credits are conserved", money.minted == minted + covered, f"minted {money.minted}, {asked}")
        credited = sum(self.expected.transfers[transfer] for transfer in state.transfers)
        hold("credits are conserved", money.transferred_in == credited, f"{money.transferred_in} came in, {credited}")
        for key in self._minted:
            hold("acknowledged is never lost", key in state.operator_keys, f"mint {key}")

    def _prices(self, state: State) -> None:
        """No rent is above its limit, or below the reserve; at fixed prices it is the reserve."""
        for lease in state.leases.values():
            if lease.granted != state.tick:
                continue
            reserve = state.book.reserve_of(lease.blocks, lease.shape.share_permille)
            rent = charge_ucr(lease.price_ucr, lease.shape)
            whole = -(-reserve // lease.shape.slots) * lease.shape.slots if not lease.shape.share_permille else rent
            hold("rents are right", lease.price_ucr <= lease.limit_ucr, f"{lease.price_ucr} > {lease.limit_ucr}")
            hold("rents are right", rent >= reserve, f"rent {rent} below the reserve {reserve}")
            if state.market is Market.FIXED and not self.cluster.market_changed:
                hold("rents are right", rent == whole, f"rent {rent} at a fixed reserve of {whole}")

    def _no_slot_twice(self, state: State) -> None:
        held: dict[int, int] = {}
        for lease in state.leases.values():
            for block in lease.blocks:
                for slot in range(block.base, block.end):
                    held[slot] = held.get(slot, 0) + (lease.shape.share_permille or 1000)
                    hold("no slot is leased twice", held[slot] <= 1000, f"slot {slot}, tick {state.tick}")

    def _fenced(self, state: State) -> None:
        """What runs on any host runs under a lease that the ledger still knows, and no two on one slot."""
        by_token = {lease.token: lease for lease in state.leases.values()}
        held: dict[int, str] = {}
        for host in self.cluster.hosts:
            if not host.machine.processes:
                continue
            own = range(host.base, host.base + host.slots)
            for name, process in host.machine.processes.items():
                if not process.runs:
                    continue
                token = int(name.rpartition(".")[2])
                lease = by_token.get(token)
                where = f"{host.name}: {name} runs in tick {state.tick}, and its lease is over"
                if lease is None:
                    raise ViolationError("no work runs past its sure end", where)
                self._occupied(lease, f"{host.name}: {name}", own, held)

    def _occupied(self, lease: Lease, name: str, own: range, held: dict[int, str]) -> None:
        slots = [slot for block in lease.blocks for slot in range(block.base, block.end) if slot in own]
        hold("work runs where its slots are", bool(slots), f"{name} has slots {lease.blocks}")
        for slot in slots:
            hold("no slot is held twice", slot not in held, f"slot {slot}: {name} and {held.get(slot)}")
            held[slot] = name

    # --- hosts ------------------------------------------------------------------------------------------------------

    def booted(self, part: "AgentPart") -> None:
        """An agent side has begun a life: it has what was accepted."""
        assert part.agent is not None, "it runs"
        node = part.agent.node
        for ref in part.accepted:
            hold("acknowledged is never lost", ref in node.workloads, f"{part.host}: workload {ref}")
        known = self._known.get(part.host)
        hold("boots rise", known is None or node.link.boot > known[0], f"{part.host}: {node.link.boot} after {known}")
        self._known[part.host] = (node.link.boot, 0, 0)

    def heard(self, part: "AgentPart", record: Record) -> None:
        """An agent takes in an event."""
        assert part.agent is not None, "it runs"
        boot = part.agent.node.link.boot
        key = (part.host, boot)
        self.told[record.op] += 1
        last = self._heard.get(key, 0)
        hold("events are delivered once, in order", record.seq == last + 1, f"{key}: event {record.seq} after {last}")
        self._heard[key] = record.seq
        if record.op is Op.FILLED:
            told = self._told.setdefault(key, set())
            hold("events are delivered once, in order", record.body.token not in told, f"{key}: {record.body}")
            told.add(record.body.token)

    @property
    def hosts_seated(self) -> int:
        """Hosts that were told of a lease at least once."""
        return len({host for host, _ in self._told})

    def look(self) -> None:
        """Look around the hosts, a few times a second."""
        self.checks += 1
        for host in self.cluster.hosts:
            agent = host.agent.agent
            if agent is not None:
                link = agent.node.link
                self._known[host.name] = (link.boot, link.outbox.acked, link.inbox.last_seq)
                self._given_back_is_free(host.name, agent.node)
            if host.airlock.up:
                self._nothing_left_frozen(host.name, host.airlock.workloads.values(), host.machine.clock.now_ns())

        self._whole_stays_whole()

    def _given_back_is_free(self, host: str, node: Node) -> None:
        """Where RELEASE is acknowledged, the lease is over, unless other hosts have to give back their part."""
        ledger = self.cluster.ledger.ledger
        if ledger is None or len(node.link.outbox):
            return
        for work in node.workloads.values():
            lease = ledger.state.leases.get(work.lease)
            if work.life is not Life.LEAVING or not node.agents[work.ref].released or lease is None:
                continue
            alone = len(lease.hosts) == 1 and lease.token == work.token
            hold("a seat that is given back is free", not alone, f"{host}: lease {lease.number} of {work.name}")

    def _nothing_left_frozen(self, host: str, runs: Iterable[Run], now_ns: int) -> None:
        machine = self.cluster.machine(host)
        for run in runs:
            process, status = machine.processes.get(run.spec.workload), run.status
            if process is None or not process.alive or not process.stopped:
                continue
            held_ns = machine.kernel.now_ns - process.stopped_since_ns
            within = status.term_end_ns > now_ns + NS_PER_S
            about_term = status.state is RunState.FROZEN and status.held is Held.TERM and within
            running = status.state in {RunState.RUNNING, RunState.SAVING}
            if (running or about_term) and held_ns > STILL_NS_MAX:
                what = f"{host}: {run.spec.workload} is {status.state} and has been stopped for {held_ns / 1e9:.1f} s"
                raise ViolationError("nothing stays frozen within its term", what)

    # --- gangs ------------------------------------------------------------------------------------------------------

    def began(self, host: str, process: Process) -> None:
        """A process begins: if it is a rank of a gang, all ranks of its lease go on from one save, or from nothing.

        And that is none before the one they went on from last, unless their home has told why.
        """
        part = self.cluster.stored(host, int(process.name.partition(".")[0]))
        if part is None or not part.home or not part.in_gang:
            return
        leases = self._gangs.setdefault((part.home, part.home_ref), {})
        ranks = leases.setdefault(part.token, {})
        if part.rank in ranks:
            return
        brought = self.cluster.brought(host, part.ref) if process.done_ns else None
        ranks[part.rank] = brought
        rule, where = "a gang goes on from one save of all its ranks", f"{part.home}: {part.name}, lease {part.lease}"
        from_ = {rank: found[0] if found else generations.BEGINNING for rank, found in ranks.items()}
        hold(rule, len(set(from_.values())) == 1, f"{where}: {from_}")
        for one, other in combinations([found[1] for found in ranks.values() if found], 2):
            hold(rule, self._are_of_one_moment(one, other), f"{where}: {one} and {other}")
        earlier = [found for token, began in leases.items() if token < part.token for found in began.values() if found]
        newest = max((generation for generation, _ in earlier), default=generations.BEGINNING)
        if from_[part.rank] < newest:
            work = self.cluster.stored(part.home, part.home_ref)
            assert work is not None, "it has seats"
            said = bool(work.missing or work.hook_failed) or any(TOLD in text for _, text in work.history)
            what = f"{where}: {from_[part.rank]} after {newest}, and nobody was told: {work.history}"
            hold("what a gang went on from is kept until there is a newer one, or it is told", said, what)

    def _whole_stays_whole(self) -> None:
        """What all ranks of a gang have saved lies on some disk, whole, until they have saved anew or it is over.

        Looked at on the disks, which outlive whoever is down. Where a seat's bound was reached, as its home was away,
        that is not asked.
        """
        kept: dict[tuple[str, int], set[tuple[int, int, int]]] = {}
        parts: dict[tuple[str, int], list[Workload]] = {}
        for host in self.cluster.hosts if self._gangs else ():
            for ref, shelf in host.agent.courier.shelves.items():
                if (work := self.cluster.stored(host.name, ref)) is not None:
                    name = (work.home or host.name, work.home_ref or ref)
                    kept.setdefault(name, set()).update(shelf)
                    parts.setdefault(name, []).append(work)
        for name in self._gangs:
            work = self.cluster.stored(*name)
            bounded = any(len(part.kept) >= generations.KEPT_MAX for part in parts.get(name, []))
            if work is None or work.life is Life.ENDED or work.hook_failed or bounded:
                self._whole.pop(name, None)
                continue
            world = max((len(part.seats) for part in parts.get(name, ())), default=2)
            held = {key[:2] for key in kept.get(name, ())}
            full = [g for g in held if {rank for *there, rank in kept[name] if tuple(there) == g} >= set(range(world))]
            newest, before = max(full, default=generations.BEGINNING), self._whole.get(name, generations.BEGINNING)
            what = f"{name}: {before} was whole, and {newest} is the newest that is; {sorted(kept.get(name, ()))}"
            hold("a whole generation stays until there is a newer one", newest >= before, what)
            self._whole[name] = newest

    def _are_of_one_moment(self, one: "Saved", other: "Saved") -> bool:
        """Whether two ranks saved for one request: between the two asks neither was asked for another save.

        Who is cut off may be asked late.
        """
        first, last = sorted((one, other), key=lambda saved: saved.asked_ns)
        if last.asked_ns - first.asked_ns <= MOMENT_NS:
            return True
        again = (asked for asked in self._asks(first) if first.asked_ns < asked <= last.asked_ns)
        before = (asked for asked in self._asks(last) if first.asked_ns <= asked < last.asked_ns)
        return not any(again) and not any(before)

    def _asks(self, saved: "Saved") -> list[int]:
        host, run = saved.made_by
        return self.cluster.machine(host).asks_ns.get(run, [])

    def begun_by(self, home: str, ref: int) -> list[dict[int, float]]:
        """What the ranks of a gang went on from, lease by lease: seconds of work, by rank."""
        leases = sorted(self._gangs.get((home, ref), {}).items())
        return [
            {rank: found[1].done_ns / NS_PER_S if found else 0.0 for rank, found in ranks.items()}
            for _, ranks in leases
        ]

    # --- the governor -----------------------------------------------------------------------------------------------

    def governed(self, controller: Controller) -> None:
        """Re stays below its bound as long as what pushes it stays within what the bound assumes (27), (28).

        Assumed: while admission is open, dRe/dtau rises by at most D from one decision to the next; from closing on it
        falls as the brake has it, but for at most D in all.
        """
        watched = controller._watched
        if watched is None or watched == self._watched:
            return
        barrier, (tick, re_now, rate) = controller.barrier, watched
        self.re_worst = max(self.re_worst, re_now)
        if self._watched is not None:
            before_tick, _, before = self._watched
            kept = math.exp(-(tick - before_tick) / barrier.brake_ticks) if self._closed else 1.0
            push = rate - max(0.0, before) * kept
            self._pushed = self._pushed + max(0.0, push) if self._closed else push
            self.barrier_assumed = self.barrier_assumed and self._pushed <= barrier.push_max
        self._closed = controller.verdict.closed
        self._watched = watched
        hold("the barrier holds", not self.barrier_assumed or re_now <= barrier.re_max, f"Re {re_now}")
        closed = controller.verdict.closed or re_now < barrier.re_max
        hold("the barrier holds", closed, f"Re {re_now:.2f} of at most {barrier.re_max:.2f}, and admission is open")

    def forget_governor(self) -> None:
        """It began anew: what it had seen of Re is gone."""
        self._watched = None

    # --- the end ----------------------------------------------------------------------------------------------------

    def journal(self, source: Journal, live: Engine) -> None:
        """The whole journal leads to where the ledger is, and each host's commands stand in it once."""
        if source.first.number:
            return
        last: dict[tuple[int, int], int] = {}
        for record in chain.from_iterable(unpack_all(batch.records) for batch in source.read()):
            if record.actor and record.op not in {Op.HOST_UP, Op.ACKED}:
                key = (record.actor, record.boot)
                hold("a command is applied once", record.seq == last.get(key, 0) + 1, record)
                last[key] = record.seq
        self._equal(live, replay(source.read()))


def disagreement(cluster: "Cluster") -> str:
    """What ledger, agents, airlock sides and fields do not agree upon now; nothing, if they do."""
    ledger = cluster.ledger
    if not ledger.well or not cluster.governor.up:
        return "the ledger cannot write" if ledger.up else "a part is down"
    state = ledger.engine.state
    return next(
        filter(
            None,
            chain(_of_sessions(cluster, state), _of_leases(cluster, state), _of_runs(cluster), _of_fields(cluster)),
        ),
        "",
    )


def _of_sessions(cluster: "Cluster", state: State) -> Iterable[str]:
    for host in cluster.hosts:
        node = host.agent.node
        if node is None or not host.airlock.up:
            yield f"{host.name} is down"
            return
        session = state.hosts.get(state.host_numbers.get(host.name, 0))
        if node.mode is not Mode.RUN:
            yield f"{host.name} is in mode {node.mode.value}"
        elif session is None or session.boot != node.link.boot:
            yield f"{host.name} is under boot {node.link.boot}, and the ledger knows another"
        elif not state.tick - 8 - (REST_CYCLES if host.agent.resting else 0) <= node.tick <= state.tick:
            yield f"{host.name} is at tick {node.tick} of {state.tick}"
        elif len(node.link.outbox) > 24 or len(session.outbox) > 24:
            yield f"{host.name}: much is not acknowledged"


def _of_leases(cluster: "Cluster", state: State) -> Iterable[str]:
    held = {}
    for host in cluster.hosts:
        node = host.agent.node
        assert node is not None, "it is up"
        for work in node.workloads.values():
            if work.lease and not (work.lease_why and (work.trip or work.home)):
                held[work.token] = f"{host.name}: {work.name}"
                lease = state.leases.get(work.lease)
                if lease is None or lease.token != work.token:
                    yield f"{host.name}: {work.name} is seated under {work.lease}, which is over"
    for lease in state.leases.values():
        if lease.token not in held:
            yield f"lease {lease.number} of {state.hosts[lease.origin].name} is held by nobody"
        if lease.deadline and lease.deadline + 100 < state.tick and lease.challenger is None:
            yield f"lease {lease.number} had to leave by tick {lease.deadline}"


def _of_runs(cluster: "Cluster") -> Iterable[str]:
    for host in cluster.hosts:
        node, runs = host.agent.node, host.airlock.workloads
        assert node is not None, "it is up"
        for work in node.workloads.values():
            run = runs.get(work.airlock_id)
            placed = work.life is Life.SEATED and (not work.home or work.stay is Stay.SEATED)
            if placed and (run is None or node.runs.get(work.airlock_id) != run.status.state):
                seen = run.status.state if run is not None else "nothing"
                yield f"{host.name}: {work.name} is {node.runs.get(work.airlock_id)}, and its run is {seen}"
        tokens = {work.airlock_id for work in node.workloads.values() if work.lease}
        for name, run in runs.items():
            if name not in tokens and run.status.state is not RunState.ENDED:
                yield f"{host.name}: run {name} is of no lease"


def _of_fields(cluster: "Cluster") -> Iterable[str]:
    fields, heats = set(), set()
    for host in cluster.hosts:
        if host.agent.resting or (host.agent.rests and cluster.kernel.now_ns - host.agent.awake_since_ns < WOKEN_NS):
            continue
        flight = host.agent.agent._flight if host.agent.agent is not None else None
        if flight is None:
            yield f"{host.name} has no field"
            return
        fields.add(flight._physical.tau)
        heats.add(flight._frame)
    if len(fields) > 1:
        yield f"hosts fly on fields of {sorted(fields)}"
    if len(heats) > 1:
        yield f"hosts fly on heat {sorted(heats)}"
