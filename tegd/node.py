"""The agent side's core: what each message, each happening on the airlock side and each cycle leads to.

`Node` keeps the workloads of this host and their agents. Every method takes what has happened and the time, and
returns effects: commands for the ledger go into the link's outbox, the rest is handed to the shell.
"""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from tegcore import rng
from tegcore.economics.fixed import friction_ucr
from tegcore.units import TICK_NS
from tegcore.wire.messages import Events, Welcome
from tegcore.wire.records import (
    Cancel,
    Expand,
    Fok,
    Market,
    Op,
    OrderFlag,
    Reason,
    Record,
    Region,
    Release,
    Renew,
    Stay,
    TopUp,
    Traits,
    unpack_all,
    unpack_blocks,
)
from tegd.bidding import Stride, Usage, expansion_bytes, predicted_bytes, use_permille
from tegd.effects import Bound, Effect, Extend, Forget, Keep, Rejoin, Run, SaveAndEnd, Start
from tegd.link import Link
from tegd.modes import Happening, Mode, next_mode
from tegd.seek import Search
from tegd.travel import Travel
from tegd.workload import ENDOW_PERIODS, Life, Waits, Workload

SILENCE_NS = 3_000_000_000
DEFAULT_LIMIT_FACTOR = 2
LEAVE_MARGIN_TICKS = 20
FUNDS_RETRY_TICKS = 100
CANNOT_EXECUTE = 126
ELSEWHERE = 1 << 40
"""Marks the ref of a quote that a seated workload asks for, to weigh what its rent would be elsewhere."""

TOP_UPS_KEPT_MAX = 32


@dataclass(slots=True)
class Agent:
    """What is not worth keeping over a restart."""

    search: Search = field(default_factory=Search)
    ordered_ns: int = 0
    renew_cycle: int = 0
    renew_seq: int = 0
    expand_seq: int = 0
    stride: Stride = field(default_factory=Stride)
    last_use: Usage | None = None
    period_use: Usage | None = None
    released: bool = False
    leave_tick: int = 0
    leaving_told: bool = False
    weighs: bool = False


@dataclass
class Node:
    """This host's agents.

    Attributes:
        tokens: Token of each tenant that may submit here.
        zone: The ledger's settings, once welcomed.
        market: As the last beat said.
        mu_ucr: Static friction (14), as the governor's field says; while it is unknown, below 0, nobody moves.
        order_ms: Round trips of orders since they were last taken away, in ms.
        travel: Work that sits elsewhere, and parts of others' that sit here. Without it, what this host has ordered is
            taken to run here wherever its slots are: nobody carries it.
    """

    host: str
    link: Link
    seed: int
    tokens: Mapping[str, int]
    mode: Mode = Mode.BOOT
    zone: Welcome | None = None
    market: Market = Market.FIXED
    mu_ucr: int = -1
    tick: int = 0
    cycle: int = 0
    beat_ns: int = 0
    workloads: dict[int, Workload] = field(default_factory=dict)
    agents: dict[int, Agent] = field(default_factory=dict)
    slots: dict[int, int] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    told: set[int] = field(default_factory=set)
    order_ms: list[float] = field(default_factory=list)
    expansions: int = 0
    travel: Travel | None = None

    # --- modes and messages -----------------------------------------------------------------------------------------

    def happen(self, happening: Happening) -> None:
        """Change the mode."""
        self.mode = next_mode(self.mode, happening)

    def welcomed(self, welcome: Welcome) -> None:
        """The ledger has given this host its number and place."""
        if welcome.boot == self.link.boot:
            self.zone, self.tick = welcome, welcome.tick
            self.link.anchored(welcome.tick)

    def beaten(self, tick: int, market: int, now_ns: int) -> None:
        """The ledger ticks."""
        self.tick, self.beat_ns, self.market = max(self.tick, tick), now_ns, Market(market)
        self.happen(Happening.BEAT)

    def field_came(self, mu_ucr: int) -> None:
        """The governor's field says how much static friction there is."""
        self.mu_ucr = mu_ucr

    def disowned(self, boot: int) -> list[Effect]:
        """The ledger does not go on with a session: if it is this one, another must begin, under a new boot.

        What was sent under an earlier boot and comes late is rejected as well, and says nothing of this one.
        """
        if boot != self.link.boot or self.zone is None:
            return []
        self.zone = None
        self.happen(Happening.DISOWNED)
        return [Rejoin()]

    def rejoin(self, link: Link) -> None:
        """Begin a session anew: the ledger will tell all that it knows, and whatever waited is asked again."""
        self.link = link
        self.told.clear()
        for agent in self.agents.values():
            agent.renew_seq = agent.expand_seq = 0
            agent.released = False

    def submitted(self, workload: Workload) -> list[Effect]:
        """Take in a workload that is on disk already."""
        self.workloads[workload.ref] = workload
        self.agents[workload.ref] = Agent()
        return []

    def told_events(self, message: Events, now_ns: int) -> list[Effect]:
        """Take in a message of the ledger; what comes before its Welcome will come again."""
        if message.boot != self.link.boot or self.zone is None:
            return []
        self.tick = max(self.tick, message.tick)
        effects: list[Effect] = []
        for record in self.link.take(message):
            effects += self._event(record, now_ns)
        for record in unpack_all(message.quotes):
            if record.op is Op.QUOTED:
                if record.body.ref & ELSEWHERE:
                    effects += self._weighed(record.body)
                else:
                    effects += self._quoted(record, now_ns)
        return effects

    def _event(self, record: Record, now_ns: int) -> list[Effect]:
        body = record.body
        match record.op:
            case Op.FILLED:
                return self._filled(body, now_ns)
            case Op.REFUSED:
                return self._refused(body, now_ns)
            case Op.EVICTING:
                return self._waiting(body, now_ns)
            case Op.NOTICE:
                return self._noticed(body, now_ns)
            case Op.RENEWED:
                return self._renewed(body)
            case Op.EXPANDED:
                return self._expanded(body)
            case Op.SETTLED:
                return self._settled(body)
            case Op.ENDED:
                return self._lease_ended(body, now_ns)
            case Op.SYNCED:
                return self._synced(now_ns)
            case Op.ANSWER:
                return self._answered(body)
            case _:
                return []

    def _by_lease(self, lease: int) -> Workload | None:
        """The workload, or the part of one, that sits on this host under a lease."""
        return next((work for work in self.workloads.values() if work.lease == lease and lease and work.here), None)

    # --- seeking ----------------------------------------------------------------------------------------------------

    def ghosts(self) -> list[int]:
        """Refs of those that seek, in order."""
        return [ref for ref, work in sorted(self.workloads.items()) if work.life is Life.SEEKING]

    def _fok(self, work: Workload, region: Region) -> Fok:
        spec = work.spec
        flags = OrderFlag.NONE if spec.hook else OrderFlag.UNSAVABLE
        traits = Traits(flags, 0, min(255, spec.sla_priority))
        return Fok(
            work.ref,
            self.tokens.get(work.tenant, 0),
            region.packed(),
            work.shape.packed(),
            spec.cpu_milli,
            spec.mem_bytes,
            work.limit_ucr,
            work.endow_ucr,
            traits.packed(),
            0,
        )

    def _ask(self) -> None:
        assert self.zone is not None
        for ref in self.ghosts():
            work, agent = self.workloads[ref], self.agents[ref]
            if agent.search.may_ask(self.cycle):
                region = self._region(work)
                self.link.quotes.append(Record(Op.FOK, 0, self.link.boot, 0, self._fok(work, region)))
                agent.search.asked(self.cycle)

    def _region(self, work: Workload) -> Region:
        """Where a ghost looks now."""
        assert self.zone is not None
        if work.stays_home and self.travel is not None:
            return self.travel.own_region()
        return self.agents[work.ref].search.region(self.slots.get(work.ref, 0), work.shape, self.zone.zone_k)

    def _quoted(self, record: Record, now_ns: int) -> list[Effect]:
        body = record.body
        work = self.workloads.get(body.ref)
        if work is None or work.life is not Life.SEEKING or self.zone is None:
            return []
        agent, reason = self.agents[work.ref], Reason(body.reason)
        region = self._region(work)
        widest = work.stays_home or region.log2 >= 2 * self.zone.zone_k
        if reason is Reason.PRICE and work.spec.limit_ucr == 0 and body.price_ucr:
            work.limit_ucr = DEFAULT_LIMIT_FACTOR * body.price_ucr
            work.endow_ucr = work.spec.endow_ucr or ENDOW_PERIODS * work.charge_ucr(work.limit_ucr)
            reason = Reason.OK
        work.waits = Waits(reason.name, body.missing, body.price_ucr)
        if reason is Reason.OK or (reason is Reason.PRICE and widest):
            self._order(work, region, now_ns)
        elif reason in {Reason.NO_FIT, Reason.PRICE}:
            self._round_failed(work, Region(0, 2 * self.zone.zone_k) if widest else region)
        elif reason is Reason.BANKRUPT:
            return self._park(work, body.missing)
        else:
            agent.search.put_off(self.cycle, FUNDS_RETRY_TICKS)
        return []

    def _park(self, work: Workload, missing_ucr: int) -> list[Effect]:
        work.waits = Waits("BANKRUPT", missing_ucr)
        work.become(Life.PARKED, self.tick, "bankrupt: parked until it is topped up")
        return [Keep(work)]

    def _order(self, work: Workload, region: Region, now_ns: int) -> None:
        """Bid. In the whole zone also when the quote was dearer: a bid that is not made challenges nobody's rent."""
        agent = self.agents[work.ref]
        if self.link.put(Op.FOK, self._fok(work, region), now_ns):
            agent.ordered_ns, agent.search.asked_cycle = now_ns, None
            work.become(Life.ORDERED, self.tick, f"ordered {work.shape.slots} slots in {region.slots}")

    def _round_failed(self, work: Workload, region: Region) -> None:
        assert self.zone is not None
        search = self.agents[work.ref].search
        jitter = float(rng.uniform(self.seed, "back-off", self.cycle, [work.ref])[0])
        search.failed(self.cycle, region, self.zone.zone_k, self.zone.period_ticks, jitter)

    def _refused(self, body: Any, now_ns: int) -> list[Effect]:
        work = self.workloads.get(body.ref)
        if work is None or work.life not in {Life.ORDERED, Life.WAITING} or self.zone is None:
            return []
        agent, reason = self.agents[work.ref], Reason(body.reason)
        self._clock_order(agent, now_ns)
        work.waits = Waits(reason.name, body.missing, body.price_ucr, body.retry_tick)
        if work.cancelled:
            return self._over(work, "cancelled")
        work.become(Life.SEEKING, self.tick, f"refused: {reason.name.lower()}")
        if reason in {Reason.NO_FIT, Reason.PRICE, Reason.STAYED}:
            self._round_failed(work, Region(0, 2 * self.zone.zone_k))
        elif body.retry_tick:
            agent.search.put_off(self.cycle, body.retry_tick - self.tick)
        else:
            agent.search.put_off(self.cycle, FUNDS_RETRY_TICKS)
        return [Keep(work)]

    def _clock_order(self, agent: Agent, now_ns: int) -> None:
        if agent.ordered_ns:
            self.order_ms.append((now_ns - agent.ordered_ns) / 1e6)
            agent.ordered_ns = 0

    def _waiting(self, body: Any, now_ns: int) -> list[Effect]:
        work = self.workloads.get(body.ref)
        if work is None or work.life is not Life.ORDERED:
            return []
        self._clock_order(self.agents[work.ref], now_ns)
        work.waits = Waits("EVICTING", 0, body.price_ucr, body.deadline_tick)
        work.become(Life.WAITING, self.tick, "won leased slots; their holders have notice")
        return []

    # --- seated -----------------------------------------------------------------------------------------------------

    def _filled(self, body: Any, now_ns: int) -> list[Effect]:
        self.told.add(body.lease)
        if self.travel is not None and self.zone is not None:
            travelling = self.travel.filled(body, now_ns)
            if travelling is not None:
                return travelling
        work = self.workloads.get(body.ref)
        if self.zone is None or body.origin_host != self.zone.host_id:
            return []
        if work is None or work.life is Life.ENDED or (work.lease and work.lease != body.lease):
            self.release(body.lease, body.token, Reason.CANCELLED, now_ns)
            return []
        agent = self.agents[work.ref]
        self._clock_order(agent, now_ns)
        fresh = work.lease != body.lease
        work.term_end_ns = self.link.at_ns(body.term_end_tick)
        work.lease, work.token, work.price_ucr = body.lease, body.token, body.price_ucr
        work.blocks = tuple((block.base, block.log2) for block in unpack_blocks(body.blocks0, body.blocks1))
        work.purse_ucr, work.mass_micro, work.waits = body.purse_ucr, body.mass_micro, Waits()
        if fresh:
            work.held_bytes = work.spec.mem_bytes * work.slots_here
            agent.released, agent.renew_cycle, agent.leave_tick = False, self.cycle, 0
            work.become(Life.SEATED, self.tick, f"seated at {work.price_ucr} ucr per slot-period")
        if work.cancelled:
            return self._leave(work, Reason.CANCELLED, self.tick)
        state = self.runs.get(work.airlock_id)
        if state is None:
            return [Keep(work), Start(work)]
        if state == "ended":
            return self._run_ended(work, Reason(work.why_leaving) or Reason.DONE, now_ns)
        return [Keep(work)]

    def release(self, lease: int, token: int, why: Reason, now_ns: int) -> None:
        """Say that a lease's slots on this host are clear."""
        self.link.put(Op.RELEASE, Release(lease, token, why), now_ns)

    def _renewed(self, body: Any) -> list[Effect]:
        work = self._by_lease(body.lease)
        if work is None or self.zone is None or work.life is not Life.SEATED:
            return []
        sent_ns = self.link.sent_ns(body.command_seq)
        if sent_ns is None:
            return []
        self.agents[work.ref].renew_seq = 0
        work.term_end_ns = max(work.term_end_ns, sent_ns + self.zone.term_ticks * TICK_NS)
        return [Extend(work)]

    def _renew(self, work: Workload, agent: Agent, now_ns: int) -> None:
        assert self.zone is not None
        if agent.renew_seq or self.cycle - agent.renew_cycle < self.zone.renew_ticks:
            return
        use = 1000
        if agent.period_use and agent.last_use:
            cpu_milli = work.spec.cpu_milli * work.slots_here
            use = use_permille(agent.period_use, agent.last_use, cpu_milli, work.held_bytes)
        agent.period_use = agent.last_use
        own = int(len(work.seats) > 1)
        agent.renew_seq = self.link.put(Op.RENEW, Renew(work.lease, work.token, work.limit_ucr, use, own), now_ns)
        agent.renew_cycle = self.cycle

    def _expand(self, work: Workload, agent: Agent, before: Usage | None, use: Usage, now_ns: int) -> None:
        if before is None or agent.expand_seq or self.zone is None:
            return
        floor = work.spec.mem_bytes * work.slots_here
        delta = expansion_bytes(work.held_bytes, predicted_bytes(before, use), floor, agent.stride.size_bytes)
        if floor == 0 or delta == 0:
            return
        ask = Expand(work.lease, work.token, self.zone.host_id, delta, max(1, work.purse_ucr))
        agent.expand_seq = self.link.put(Op.EXPAND, ask, now_ns)

    def _expanded(self, body: Any) -> list[Effect]:
        work = self._by_lease(body.lease)
        if work is None:
            return []
        self.agents[work.ref].expand_seq = 0
        reason = Reason(body.reason)
        if reason is Reason.OK:
            self._learn(self.agents[work.ref].stride, body, body.held_bytes - work.held_bytes)
            work.held_bytes = body.held_bytes
            self.expansions += 1
            work.note(self.tick, f"holds {body.held_bytes >> 20} MiB")
            return [Bound(work)]
        work.waits = Waits(f"EXPAND {reason.name}", body.missing, body.price_ucr)
        return []

    def _learn(self, stride: Stride, body: Any, delta_bytes: int) -> None:
        if delta_bytes > 0 and self.zone is not None:
            stride.bought(delta_bytes, body.price_ucr, body.gas_ucr, self.tick, self.zone.period_ticks)
        else:
            stride.gave_back()

    def _settled(self, body: Any) -> list[Effect]:
        if self.travel is not None:
            self.travel.settled(body)
        work = self._by_lease(body.lease)
        if work is None:
            return []
        work.price_ucr, work.purse_ucr = body.next_price_ucr, body.purse_ucr
        self.agents[work.ref].weighs = work.spec.hook is not None and self.mu_ucr >= 0 and not work.home
        if body.challenge_ucr:
            work.note(self.tick, f"a challenge of {body.challenge_ucr} ucr per slot was refused")
        return []

    def _weigh(self, work: Workload, agent: Agent) -> None:
        """Ask, once a period, what the cheapest seat in the zone would cost."""
        assert self.zone is not None
        agent.weighs = False
        fok = self._fok(work, Region(0, 2 * self.zone.zone_k))._replace(ref=work.ref | ELSEWHERE)
        self.link.quotes.append(Record(Op.FOK, 0, self.link.boot, 0, fok))

    def _weighed(self, quoted: Any) -> list[Effect]:
        """Leave by one's own will only where the price force exceeds static friction (DESIGN 5; paper 3.4.2)."""
        work = self.workloads.get(quoted.ref & ~ELSEWHERE)
        if work is None or work.life is not Life.SEATED or not quoted.price_ucr or self.mu_ucr < 0:
            return []
        force_ucr = work.charge_ucr(work.price_ucr) - work.charge_ucr(quoted.price_ucr)
        if quoted.slots_free < work.shape.slots or force_ucr <= friction_ucr(self.mu_ucr, work.mass_micro):
            return []
        work.note(self.tick, f"rent is {work.price_ucr} ucr per slot-period; elsewhere it would be {quoted.price_ucr}")
        return self._leave(work, Reason.MOVED, self.tick)

    # --- leaving ----------------------------------------------------------------------------------------------------

    def _noticed(self, body: Any, now_ns: int) -> list[Effect]:
        work = self._by_lease(body.lease)
        if work is None and self.travel is not None:
            self.travel.noticed(body, now_ns)
        if work is None or work.token != body.token or work.life is not Life.SEATED:
            return []
        return self._leave(work, Reason(body.why), body.deadline_tick)

    def _leave(self, work: Workload, why: Reason, deadline_tick: int) -> list[Effect]:
        """Save at once where there is a hook; what cannot be saved runs on until its notice is nearly over."""
        agent = self.agents[work.ref]
        work.why_leaving = why
        work.become(Life.LEAVING, self.tick, f"has to leave: {why.name.lower()}")
        agent.leaving_told = False
        at_once = work.spec.hook is not None or why is Reason.CANCELLED
        agent.leave_tick = self.tick if at_once else deadline_tick - LEAVE_MARGIN_TICKS
        return [Keep(work), *self._leave_when_due(work, agent)]

    def _leave_when_due(self, work: Workload, agent: Agent) -> list[Effect]:
        if agent.leaving_told or self.tick < agent.leave_tick:
            return []
        agent.leaving_told = True
        return [SaveAndEnd(work, save=work.spec.hook is not None and not work.cancelled)]

    def run_changed(self, run: Run, now_ns: int) -> list[Effect]:
        """The airlock side says where a run is."""
        self.runs[run.airlock_id] = run.state
        ref, _, token = run.airlock_id.partition(".")
        work = self.workloads.get(int(ref)) if ref.isdigit() else None
        if work is None or str(work.token) != token:
            return [Forget(run.airlock_id)] if run.state == "ended" else []
        work.resume = work.resume or run.saved
        travelling = self.travel.run_changed(work, run) if self.travel is not None else []
        if run.state == "ended":
            work.exit_code = run.exit_code
            if run.cause == "start_failed":
                work.outcome, work.exit_code = f"cannot be executed: {run.problem}", CANNOT_EXECUTE
            return [*travelling, *self._run_ended(work, _why_ended(work, run.cause), now_ns)]
        return [*travelling, *self._runs_on(work, run, now_ns)]

    def _runs_on(self, work: Workload, run: Run, now_ns: int) -> list[Effect]:
        told = self.agents[work.ref].leaving_told
        if run.problem and told and work.life is Life.LEAVING and run.state in {"running", "frozen"}:
            return self._stay(work, run.problem, now_ns)
        return []

    def airlock_back(self) -> list[Effect]:
        """The airlock side has told all its runs: ask again for what it may not have heard."""
        effects: list[Effect] = []
        for _, work in sorted(self.workloads.items()):
            state = self.runs.get(work.airlock_id)
            if work.life is Life.SEATED and (state or self.travel is None or self.travel.may_start(work)):
                effects += [Extend(work), Bound(work)] if state else [Start(work)]
            elif work.life is Life.LEAVING and state not in {None, "ended"} and self.agents[work.ref].leaving_told:
                effects.append(SaveAndEnd(work, save=work.spec.hook is not None and not work.cancelled))
        return effects

    def _run_ended(self, work: Workload, why: Reason, now_ns: int) -> list[Effect]:
        agent = self.agents[work.ref]
        if work.lease and not agent.released:
            agent.released = bool(self.link.put(Op.RELEASE, Release(work.lease, work.token, why), now_ns))
        work.why_leaving = why
        if work.life is Life.SEATED:
            work.become(Life.LEAVING, self.tick, work.outcome or f"run over ({why.name.lower()}), {work.exit_code}")
        return [Keep(work)]

    def _stay(self, work: Workload, problem: str, now_ns: int) -> list[Effect]:
        """It can neither be saved nor leave: the incumbent stays, if someone waits for its seat."""
        if work.why_leaving != Reason.CHALLENGED:
            return []
        self.link.put(Op.STAY, Stay(work.lease, work.token), now_ns)
        work.become(Life.SEATED, self.tick, f"cannot be saved, and stays: {problem}")
        return [Keep(work)]

    def _lease_ended(self, body: Any, now_ns: int) -> list[Effect]:
        self.told.discard(body.lease)
        why, work = Reason(body.why), self._by_lease(body.lease)
        travelling = self._travel_ended(body, why, now_ns)
        if work is None or work.token != body.token or work.home:
            return travelling
        airlock_id = work.airlock_id
        effects: list[Effect] = []
        if self.runs.get(airlock_id) == "ended":
            effects.append(Forget(airlock_id))
        elif airlock_id in self.runs:
            effects.append(SaveAndEnd(copy(work), save=work.spec.hook is not None))
        work.note(
            self.tick, f"lease over ({why.name.lower()}), paid {body.paid_ucr} ucr, {body.returned_ucr} came back"
        )
        work.budget(body.returned_ucr)
        work.unseat()
        return [*effects, *self._after_lease(work, why)]

    def _travel_ended(self, body: Any, why: Reason, now_ns: int) -> list[Effect]:
        """What the end of a lease means for what sits elsewhere, or is a part of what does."""
        if self.travel is None:
            return []
        for work in self.workloads.values():
            if work.trip and (work.lease, work.token) == (body.lease, body.token):
                paid = f"paid {body.paid_ucr} ucr, {body.returned_ucr} came back"
                work.note(self.tick, f"lease over ({why.name.lower()}), {paid}")
                work.budget(body.returned_ucr)
        return self.travel.lease_over(body.lease, why, now_ns)

    def seek_again(self, work: Workload, pause_cycles: int = 1) -> None:
        """Begin a search anew, after a pause."""
        self.agents[work.ref].search = Search(next_cycle=self.cycle + pause_cycles)

    def _after_lease(self, work: Workload, why: Reason) -> list[Effect]:
        work.why_leaving = 0
        self.seek_again(work)
        if work.cancelled:
            return self._over(work, "cancelled")
        if why is Reason.DONE:
            return self._over(work, work.outcome or f"exit code {work.exit_code}")
        if not work.spec.hook:
            return self._over(work, f"ended, as its grant said: {why.name.lower()}")
        if why is Reason.BANKRUPT:
            return self._park(work, work.charge_ucr(work.limit_ucr))
        work.become(Life.SEEKING, self.tick, f"seeks a new seat after {why.name.lower()}")
        return [Keep(work)]

    def _over(self, work: Workload, outcome: str) -> list[Effect]:
        work.outcome = outcome
        work.become(Life.ENDED, self.tick, outcome)
        return [Keep(work)]

    def _synced(self, now_ns: int) -> list[Effect]:
        """All leases of this host have been told: what is not among them is over."""
        effects: list[Effect] = []
        for work in self.workloads.values():
            gone = work.lease and work.lease not in self.told
            if gone and self.travel is not None and (work.trip or work.home):
                if not work.lease_why:
                    effects += self.travel.lease_over(work.lease, Reason.EXPIRED, now_ns)
            elif gone:
                run, airlock_id = self.runs.get(work.airlock_id), work.airlock_id
                if run == "ended":
                    effects.append(Forget(airlock_id))
                elif run:
                    effects.append(SaveAndEnd(copy(work), save=work.spec.hook is not None))
                done = run == "ended" and work.why_leaving in {0, Reason.DONE} and work.exit_code is not None
                work.unseat()
                effects += self._after_lease(work, Reason.DONE if done else Reason.EXPIRED)
            elif work.life in {Life.ORDERED, Life.WAITING}:
                work.become(Life.SEEKING, self.tick, "seeks again: the daemon started anew")
                effects.append(Keep(work))
        self.happen(Happening.SYNCED)
        return effects

    def _answered(self, body: Any) -> list[Effect]:
        for work in self.workloads.values():
            agent = self.agents[work.ref]
            if body.command_seq == agent.renew_seq:
                agent.renew_seq = 0
            if body.command_seq == agent.expand_seq:
                agent.expand_seq = 0
                work.waits = Waits(f"EXPAND {Reason(body.reason).name}", body.missing)
        return []

    # --- people -----------------------------------------------------------------------------------------------------

    def cancel(self, work: Workload, now_ns: int) -> list[Effect]:
        """Its owner wants it over."""
        work.cancelled = True
        match work.life:
            case Life.SEEKING | Life.PARKED:
                return self._over(work, "cancelled")
            case Life.ORDERED | Life.WAITING:
                self.link.put(Op.CANCEL, Cancel(work.ref), now_ns)
                return [Keep(work)]
            case Life.SEATED:
                return self._leave(work, Reason.CANCELLED, self.tick)
            case Life.AWAY if self.travel is not None:
                return [Keep(work), *self.travel.cancel(work, now_ns)]
            case _:
                return [Keep(work)]

    def top_up(self, work: Workload, amount_ucr: int, key: int, now_ns: int) -> list[Effect]:
        """More credits, once a key: into the purse of a seat, or for the next endowment."""
        if key in work.top_ups:
            return []
        work.top_ups = [*work.top_ups, key][-TOP_UPS_KEPT_MAX:]
        if work.lease:
            body = TopUp(work.lease, work.token, self.tokens.get(work.tenant, 0), amount_ucr)
            self.link.put(Op.TOP_UP, body, now_ns)
        else:
            work.budget(work.endow_ucr + amount_ucr)
        if work.life is Life.PARKED:
            work.become(Life.SEEKING, self.tick, "topped up: seeks again")
        return [Keep(work)]

    # --- time -------------------------------------------------------------------------------------------------------

    def step(self, usage: Mapping[str, Usage], now_ns: int) -> list[Effect]:
        """One cycle: quotes, renewals, expansions, leavings that are due."""
        self.cycle += 1
        if self.mode is Mode.RUN and now_ns - self.beat_ns > SILENCE_NS:
            self.happen(Happening.SILENCE)
        if self.zone is None or self.mode not in {Mode.RUN, Mode.LIMP}:
            return []
        if self.mode is Mode.RUN:
            self._ask()
        effects: list[Effect] = self.travel.step(now_ns) if self.travel is not None else []
        for ref, work in sorted(self.workloads.items()):
            agent = self.agents[ref]
            if work.life is Life.LEAVING:
                effects += self._leave_when_due(work, agent)
                if self.runs.get(work.airlock_id) == "ended" and not agent.released:
                    effects += self._run_ended(work, Reason(work.why_leaving), now_ns)
            if work.life is not Life.SEATED:
                continue
            self._renew(work, agent, now_ns)
            if agent.weighs and self.mode is Mode.RUN:
                self._weigh(work, agent)
            use = usage.get(work.airlock_id)
            if use is not None and (agent.last_use is None or use.at_ns > agent.last_use.at_ns):
                before, agent.last_use = agent.last_use, use
                agent.period_use = agent.period_use or use
                self._expand(work, agent, before, use, now_ns)
        return effects

    def motion(self) -> tuple[int, int, float, float]:
        """(agents, ghosts, attempted displacement in slots, mean mass) since it was last asked, for Re (DESIGN 8)."""
        living = [work for work in self.workloads.values() if work.life not in {Life.ENDED, Life.AWAY}]
        ghosts = [work for work in living if not work.lease]
        attempts = 0.0
        for work in living:
            search = self.agents[work.ref].search
            attempts += search.attempts_slots
            search.attempts_slots = 0.0
        masses = [work.mass_micro / 1e6 if work.lease else 1.0 for work in living]
        return len(living), len(ghosts), attempts, sum(masses) / len(masses) if masses else 0.0


def _why_ended(work: Workload, cause: str) -> Reason:
    """Why a lease is given back: work that came to its end by itself is done, whoever wanted it to leave."""
    if cause in {"exited", "start_failed"}:
        return Reason.DONE
    if cause == "asked" and work.life is Life.LEAVING:
        return Reason(work.why_leaving)
    return Reason.EXPIRED
