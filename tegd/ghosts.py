"""How a ghost comes to a seat: quotes in rounds, an order, and what the ledger answers (DESIGN 5, "Ghost")."""

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

from tegcore import rng
from tegcore.wire.records import Op, Reason, Record, Region
from tegd.effects import Effect, Keep
from tegd.roster import Roster
from tegd.seek import clear_of, least_region
from tegd.workload import ENDOW_PERIODS, Life, Waits, Workload

DEFAULT_LIMIT_FACTOR = 2
FUNDS_RETRY_TICKS = 100
ASKED_PER_CYCLE_MAX = 128
"""Quotes that go out with one message, and that the ledger answers with one."""
RUNNING_MAX = 1200
"""Of a host's own work that has a seat, or is about to: the airlock side holds these and all parts of others' work."""


@dataclass
class Ghosts(Roster):
    """Those that seek, and those that have ordered."""

    def ghosts(self) -> list[int]:
        """Refs of those that seek, in order."""
        return [work.ref for work in self.in_order() if work.life is Life.SEEKING]

    def _ask(self) -> None:
        assert self.zone is not None
        self.busy = sum(work.life not in {Life.SEEKING, Life.PARKED, Life.ENDED} for work in self.workloads.values())
        room = min(RUNNING_MAX - self.busy, ASKED_PER_CYCLE_MAX)
        due = [ref for ref in self.ghosts() if self.agents[ref].search.may_ask(self.cycle)]
        if len(due) > max(0, room):
            after = bisect_right(due, self.asked_last)
            due = (due[after:] + due[:after])[: max(0, room)]
            self.asked_last = due[-1] if due else self.asked_last
        for ref in due:
            work = self.workloads[ref]
            self.link.quotes.append(Record(Op.FOK, 0, self.link.boot, 0, self._fok(work, self._region(work))))
            self.agents[ref].search.asked(self.cycle)

    def _region(self, work: Workload) -> Region:
        """Where a ghost looks now."""
        assert self.zone is not None
        if work.stays_home and self.travel is not None:
            return self.travel.own_region()
        search, zone_k = self.agents[work.ref].search, self.zone.zone_k
        region = search.region(self.slots.get(work.ref, 0), work.shape, zone_k)
        if not work.avoided:
            return region
        return clear_of(region, work.avoided_regions, least_region(work), zone_k, search.rounds) or region

    def _looks_widest(self, work: Workload) -> bool:
        """Whether it looks as far as it can, but for hosts that it avoids."""
        assert self.zone is not None
        zone_k, search = self.zone.zone_k, self.agents[work.ref].search
        return work.stays_home or search.region(0, work.shape, zone_k).log2 >= 2 * zone_k

    def _quoted(self, record: Record, now_ns: int) -> list[Effect]:
        body = record.body
        work = self.workloads.get(body.ref)
        if work is None or work.life is not Life.SEEKING or self.zone is None:
            return []
        agent, reason = self.agents[work.ref], Reason(body.reason)
        region = self._region(work)
        widest = self._looks_widest(work)
        if reason is Reason.PRICE and work.spec.limit_ucr == 0 and body.price_ucr:
            limit_ucr = DEFAULT_LIMIT_FACTOR * body.price_ucr
            if not work.spec.endow_ucr:
                work.endow_ucr = ENDOW_PERIODS * work.charge_ucr(limit_ucr)
            work.bid_up_to(limit_ucr)
            reason = Reason.OK if work.limit_ucr > body.price_ucr else reason
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

    def _order(self, work: Workload, region: Region, now_ns: int) -> None:
        """Bid. In the whole zone also when the quote was dearer: a bid that is not made challenges nobody's rent."""
        agent = self.agents[work.ref]
        if self.busy >= RUNNING_MAX:
            agent.search.put_off(self.cycle, FUNDS_RETRY_TICKS)
            return
        if self.link.put(Op.FOK, self._fok(work, region), now_ns):
            self.busy += 1
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
        self.clock_order(agent, now_ns)
        work.waits = Waits(reason.name, body.missing, body.price_ucr, body.retry_tick)
        if work.cancelled:
            return self.over(work, "cancelled")
        work.become(Life.SEEKING, self.tick, f"refused: {reason.name.lower()}")
        if reason in {Reason.NO_FIT, Reason.PRICE, Reason.STAYED}:
            self._round_failed(work, Region(0, 2 * self.zone.zone_k))
        elif body.retry_tick:
            agent.search.put_off(self.cycle, body.retry_tick - self.tick)
        else:
            agent.search.put_off(self.cycle, FUNDS_RETRY_TICKS)
        return [Keep(work)]

    def _waiting(self, body: Any, now_ns: int) -> list[Effect]:
        work = self.workloads.get(body.ref)
        if work is None or work.life is not Life.ORDERED:
            return []
        self.clock_order(self.agents[work.ref], now_ns)
        work.waits = Waits("EVICTING", 0, body.price_ucr, body.deadline_tick)
        work.become(Life.WAITING, self.tick, "won leased slots; their holders have notice")
        return []
