"""How a seat is held: its run, renewals, memory as it is needed, and whether a seat elsewhere would cost less."""

from dataclasses import dataclass
from typing import Any

from tegcore.economics.fixed import friction_ucr
from tegcore.units import TICK_NS, TICKS_PER_HOUR, UCR_MAX, credits_text
from tegcore.wire.records import Expand, Market, Op, Reason, Record, Region, Renew, TopUp, unpack_blocks
from tegd.bidding import Stride, Usage, expansion_bytes, predicted_bytes, use_permille
from tegd.effects import Bound, Effect, Extend, Keep, Start
from tegd.leaving import Leaving
from tegd.roster import Agent
from tegd.workload import DEFAULT_LIMIT_FACTOR, Life, Low, Waits, Workload

ELSEWHERE = 1 << 40
"""Marks the ref of a quote that a seated workload asks for, to weigh what its rent would be elsewhere."""
GROWTH_PERIODS = 4
"""Where the account pays without bound, memory may cost a period as much as its slots in so many, at its limit."""


@dataclass
class Seats(Leaving):
    """Those that sit here."""

    def _filled(self, body: Any, now_ns: int) -> list[Effect]:
        self.told.add(body.lease)
        self._keep_to_its_time(body, now_ns)
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
        work.keep_purse(body.purse_ucr)
        work.mass_micro, work.waits = body.mass_micro, Waits()
        if fresh:
            work.held_bytes = work.spec.mem_bytes * work.slots_here
            work.promised_tick, work.seats = -1, []
            agent.released, agent.renew_cycle, agent.leave_tick = False, self.cycle, 0
            work.paid_ucr, work.cost_ucr, work.low = 0, work.charge_ucr(work.price_ucr), Low()
            work.become(Life.SEATED, self.tick, f"seated{self.at_price(work)}")
        if work.cancelled:
            return self._leave(work, Reason.CANCELLED, self.tick)
        state = self.runs.get(work.airlock_id)
        if state is None:
            return [Keep(work), Start(work)]
        if state == "ended":
            return self.run_ended(work, Reason(work.why_leaving) or Reason.DONE, now_ns)
        return [Keep(work)]

    def _keep_to_its_time(self, body: Any, now_ns: int) -> None:
        """Its time limit was changed while its order was out: the lease is to end as it is now."""
        work = self.workloads.get(body.ref)
        if self.zone is None or body.origin_host != self.zone.host_id or work is None or work.lease:
            return
        if work.spec.time_s and self.agents[work.ref].ordered_time_s != work.spec.time_s:
            self.shorten(work, body.lease, body.token, now_ns)

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
        self.ask_memory(work, delta, now_ns)

    def ask_memory(self, work: Workload, delta_bytes: int, now_ns: int) -> None:
        """Buy memory for a seat of this host, or give some back; the answer says what it holds."""
        assert self.zone is not None
        ask = Expand(work.lease, work.token, self.zone.host_id, delta_bytes, max(1, self._growth_ucr(work)))
        self.agents[work.ref].expand_seq = self.link.put(Op.EXPAND, ask, now_ns)

    def _growth_ucr(self, work: Workload) -> int:
        """What more memory may cost a period, at most."""
        if work.has_purse:
            return work.purse_ucr
        if work.has_budget and not work.home:
            return work.budget_left_ucr
        return UCR_MAX if self.market is Market.FIXED else GROWTH_PERIODS * work.charge_ucr(work.limit_ucr)

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
        work = self._by_lease(body.lease)
        if self.travel is not None and (away := self.travel.away(body.lease)) is not None:
            self._account(away, body)
        if work is None:
            return []
        self._account(work, body)
        self.agents[work.ref].weighs = work.hook is not None and self.mu_ucr >= 0 and not work.home
        if body.challenge_ucr:
            amount = credits_text(body.challenge_ucr)
            work.note(self.tick, f"a rival's bid of {amount} credits per slot was refused, and sets its rent")
        return [Keep(work)] if work.has_budget else []

    @staticmethod
    def _account(work: Workload, body: Any) -> None:
        """What a period has cost, and what the next one will; a limit that nobody named follows the reserve."""
        work.price_ucr = body.next_price_ucr
        work.keep_purse(body.purse_ucr)
        work.paid_ucr += max(0, body.rent_ucr + body.memory_ucr + body.tax_ucr - body.subsidy_ucr)
        work.cost_ucr = work.charge_ucr(body.next_price_ucr) + body.memory_ucr + body.tax_ucr
        if body.reserve_ucr and not work.named:
            work.limit_ucr = max(DEFAULT_LIMIT_FACTOR * body.reserve_ucr, body.next_price_ucr)

    def at_price(self, work: Workload) -> str:
        """What people are told of the price of a seat."""
        if self.zone is None or not self.minds_money(work):
            return ""
        hour_ucr = -(-work.price_ucr * TICKS_PER_HOUR // self.zone.period_ticks)
        return f" at {credits_text(hour_ucr)} credits per GPU-hour"

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
        if quoted.reason not in {Reason.OK, Reason.PRICE}:
            return []
        force_ucr = work.charge_ucr(work.price_ucr) - work.charge_ucr(quoted.price_ucr)
        if quoted.slots_free < work.shape.slots or force_ucr <= friction_ucr(self.mu_ucr, work.mass_micro):
            return []
        here, there = credits_text(work.price_ucr), credits_text(quoted.price_ucr)
        work.note(self.tick, f"pays {here} credits per slot and period; elsewhere it would pay {there}")
        return self._leave(work, Reason.MOVED, self.tick)

    def _answered(self, body: Any) -> list[Effect]:
        effects: list[Effect] = []
        for work in self.workloads.values():
            agent = self.agents[work.ref]
            if body.command_seq in agent.top_ups:
                effects += self._top_up_answered(work, agent, body)
            if body.command_seq == agent.renew_seq:
                agent.renew_seq = 0
            if body.command_seq == agent.expand_seq:
                agent.expand_seq = 0
                work.waits = Waits(f"EXPAND {Reason(body.reason).name}", body.missing)
        return effects

    def _top_up(self, work: Workload, now_ns: int) -> list[Effect]:
        """Send what was added to its lease, again in each session until it is answered; without one, to its next."""
        agent = self.agents[work.ref]
        if work.lease:
            sent = set(agent.top_ups.values())
            for number, amount_ucr in work.unfilled:
                body = TopUp(work.lease, work.token, self.tokens.get(work.tenant, 0), amount_ucr, number)
                if number not in sent and (seq := self.link.put(Op.TOP_UP, body, now_ns)):
                    agent.top_ups[seq] = number
            return []
        if work.life not in {Life.SEEKING, Life.PARKED}:
            return []
        work.keep_unfilled()
        if work.life is Life.PARKED:
            work.become(Life.SEEKING, self.tick, "topped up: seeks again")
        return [Keep(work)]

    def _top_up_answered(self, work: Workload, agent: Agent, body: Any) -> list[Effect]:
        """Its lease has it, or the account could not give it. Where the lease had ended by then, it waits for that."""
        reason = Reason(body.reason)
        if reason in {Reason.LEASE, Reason.TOKEN}:
            return []
        number = agent.top_ups.pop(body.command_seq)
        amount_ucr = dict(work.unfilled).get(number, 0)
        work.unfilled = [entry for entry in work.unfilled if entry[0] != number]
        if reason is not Reason.OK and amount_ucr:
            work.budget_ucr -= amount_ucr if work.has_budget else 0
            why = f"the ledger says {reason.name}"
            if reason is Reason.FUNDS:
                why = f"the account of {work.tenant} is {credits_text(body.missing)} credits short of it"
            self.tell(work, f"its top-up was refused: {why}")
        return [Keep(work)]
