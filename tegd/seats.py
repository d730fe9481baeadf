"""How a seat is held: its run, renewals, memory as it is needed, and whether a seat elsewhere would cost less."""

from dataclasses import dataclass
from typing import Any

from tegcore.economics.fixed import friction_ucr
from tegcore.units import TICK_NS
from tegcore.wire.records import Expand, Op, Reason, Record, Region, Renew, unpack_blocks
from tegd.bidding import Stride, Usage, expansion_bytes, predicted_bytes, use_permille
from tegd.effects import Bound, Effect, Extend, Keep, Start
from tegd.leaving import Leaving
from tegd.roster import Agent
from tegd.workload import Life, Waits, Workload

ELSEWHERE = 1 << 40
"""Marks the ref of a quote that a seated workload asks for, to weigh what its rent would be elsewhere."""


@dataclass
class Seats(Leaving):
    """Those that sit here."""

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
        self.clock_order(agent, now_ns)
        fresh = work.lease != body.lease
        work.term_end_ns = self.link.at_ns(body.term_end_tick)
        work.lease, work.token, work.price_ucr = body.lease, body.token, body.price_ucr
        work.blocks = tuple((block.base, block.log2) for block in unpack_blocks(body.blocks0, body.blocks1))
        work.base = self.zone.base
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
            return self.run_ended(work, Reason(work.why_leaving) or Reason.DONE, now_ns)
        return [Keep(work)]

    def _renewed(self, body: Any) -> list[Effect]:
        work = self._by_lease(body.lease)
        if work is None or self.zone is None or work.life is not Life.SEATED:
            return []
        self.agents[work.ref].renew_seq = 0
        sent_ns = self.link.sent_ns(body.command_seq)
        if sent_ns is None:
            return []
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

    def _answered(self, body: Any) -> list[Effect]:
        for work in self.workloads.values():
            agent = self.agents[work.ref]
            if body.command_seq == agent.renew_seq:
                agent.renew_seq = 0
            if body.command_seq == agent.expand_seq:
                agent.expand_seq = 0
                work.waits = Waits(f"EXPAND {Reason(body.reason).name}", body.missing)
        return []
