"""How a ghost comes to a seat: quotes in rounds, an order, and what the ledger answers (DESIGN 5, "Ghost")."""

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

from tegcore import rng
from tegcore.wire.records import Market, Op, Reason, Record, Region
from tegd.effects import Effect, Keep
from tegd.roster import Agent, Roster
from tegd.seek import clear_of, least_region
from tegd.workload import Life, Waits, Workload

FUNDS_RETRY_TICKS = 100
_NO_ROOM = frozenset({Reason.NO_FIT, Reason.TAKEN, Reason.SHARE, Reason.KEPT})
"""Answers after which it looks farther; to an order that looked everywhere: the ledger tells when there is room."""
_NOT_HERE = _NO_ROOM | {Reason.PRICE, Reason.STAYED}
"""Answers after which it looks farther, and then waits a while."""
_NO_MONEY = frozenset({Reason.BUDGET, Reason.ENDOWMENT, Reason.BANKRUPT})
"""Its own money does not do: nothing changes that but a top-up."""
_NOT_GRANTED = {
    Reason.NO_FIT: "no room for it was found",
    Reason.TAKEN: "others have the room for it",
    Reason.PRICE: "slots cost more than it bids",
    Reason.STAYED: "the jobs on the slots that it won could not be moved away",
    Reason.SHARE: "others' turn comes first, by their shares",
    Reason.CAPACITY: "another job took the host memory first",
    Reason.FUNDS: "its account is short",
    Reason.BUDGET: "its budget is short",
    Reason.ENDOWMENT: "its own money is short",
    Reason.BANKRUPT: "its money is short",
    Reason.BUSY: "the scheduler had too much to decide at once",
    Reason.ADMISSION: "admission is closed",
    Reason.CAP: "slots cost more than the highest price allowed",
    Reason.DRAINED: "its host is being drained",
    Reason.CANCELLED: "the order was withdrawn",
    Reason.LIMIT: "the scheduler holds as many jobs as it can",
    Reason.READ_ONLY: "the scheduler cannot write to its disk",
}
"""What the history says of an order that was refused; of other reasons their name."""
ASKED_PER_CYCLE_MAX = 128
"""Quotes that go out with one message, and that the ledger answers with one."""
ORDERS_OUT_MAX = 256
"""While so many orders wait for their answer nobody else asks: who is told of room must find a place to order it."""
RUNNING_MAX = 1200
"""Of a host's own work that has a seat, or is about to: the airlock side holds these and all parts of others' work."""


@dataclass
class Ghosts(Roster):
    """Those that seek, and those that have ordered."""

    def ghosts(self) -> list[int]:
        """Refs of those that seek, in order."""
        return [work.ref for work in self.in_order() if work.life is Life.SEEKING]

    def _ask(self) -> list[Effect]:
        """Who has waited longest asks first. Whose own money is all gone has nothing to ask with."""
        assert self.zone is not None
        effects: list[Effect] = []
        self.busy = sum(work.life not in {Life.SEEKING, Life.PARKED, Life.ENDED} for work in self.workloads.values())
        out = sum(work.life is Life.ORDERED for work in self.workloads.values())
        room = min(RUNNING_MAX - self.busy, ORDERS_OUT_MAX - out, ASKED_PER_CYCLE_MAX)
        due = [ref for ref in self.ghosts() if self.agents[ref].search.may_ask(self.cycle)]
        if self.travel is not None:
            due = [ref for ref in due if not self.travel.held_back(self.workloads[ref])]
        if len(due) > max(0, room):
            after = bisect_right(due, self.asked_last)
            due = (due[after:] + due[:after])[: max(0, room)]
            self.asked_last = due[-1] if due else self.asked_last
        for ref in due:
            work = self.workloads[ref]
            if work.own_ucr == 0:
                effects += self._park(work, work.cost_ucr + self.edge_ucr(work))
                continue
            self.link.quotes.append(Record(Op.FOK, 0, self.link.boot, 0, self._fok(work, self._region(work))))
            self.agents[ref].search.asked(self.cycle)
        return effects

    def _region(self, work: Workload) -> Region:
        """Where a ghost looks now."""
        assert self.zone is not None
        if (own := self._own_region(work)) is not None:
            return own
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

    def _own_region(self, work: Workload) -> Region | None:
        """The only region in which it can run, if there is one."""
        return self.travel.own_region() if work.stays_home and self.travel is not None else None

    def _quoted(self, record: Record, now_ns: int) -> list[Effect]:
        body = record.body
        work = self.workloads.get(body.ref)
        if work is None or work.life is not Life.SEEKING or self.zone is None:
            return []
        agent, reason = self.agents[work.ref], Reason(body.reason)
        region = self._region(work)
        widest = self._looks_widest(work)
        if body.price_ucr:
            work.cost_ucr = work.charge_ucr(body.price_ucr)
            work.derive_limit(body.price_ucr)
        short_ucr = self._own_falls_short(work, body.price_ucr)
        if reason is Reason.PRICE and not work.named and not short_ucr:
            reason = Reason.OK
        if widest or reason not in _NO_ROOM or not work.waits.reason:  # a narrow look says nothing of the zone
            work.waits = Waits(reason.name, body.missing, body.price_ucr)
        if reason is Reason.PRICE and widest and short_ucr:
            return self._park(work, short_ucr)
        if reason is Reason.OK or (reason in _NO_ROOM | {Reason.PRICE} and widest):
            self._order(work, region, now_ns)
        elif reason in _NOT_HERE:
            self._round_failed(work, Region(0, 2 * self.zone.zone_k) if widest else region)
        elif reason in _NO_MONEY:
            return self._park(work, body.missing + self.edge_ucr(work))
        else:
            agent.search.put_off(self.cycle, FUNDS_RETRY_TICKS)
        return []

    def _own_falls_short(self, work: Workload, price_ucr: int) -> int:
        """What its own money lacks to take free slots at this price; 0: nothing. Of a named bid the ledger says it."""
        if work.own_ucr is None or work.named or work.limit_ucr >= price_ucr + (self.market is not Market.FIXED):
            return 0
        return max(1, work.charge_ucr(price_ucr) + self.edge_ucr(work) - work.own_ucr)

    def _order(self, work: Workload, region: Region, now_ns: int) -> None:
        """Bid. In the whole zone also where it will be refused: only so it is known to wait, and sets rents."""
        agent = self.agents[work.ref]
        if self.busy >= RUNNING_MAX:
            agent.search.put_off(self.cycle, FUNDS_RETRY_TICKS)
            return
        if self.link.put(Op.FOK, self._fok(work, region), now_ns):
            self.busy += 1
            agent.ordered_ns, agent.ordered_log2, agent.search.asked_cycle = now_ns, region.log2, None
            agent.ordered_time_s = work.spec.time_s
            work.become(Life.ORDERED, self.tick, f"ordered {_slots(work.shape.slots)} in {region.slots}")

    def _round_failed(self, work: Workload, region: Region) -> None:
        assert self.zone is not None
        search = self.agents[work.ref].search
        jitter = float(rng.uniform(self.seed, "back-off", self.cycle, [work.ref])[0])
        search.failed(self.cycle, region, self.zone.zone_k, self.zone.period_ticks, jitter)

    def _no_room(self, work: Workload, agent: Agent) -> None:
        """An order found no room: where it looked everywhere, the ledger remembers it; else it looks farther."""
        assert self.zone is not None
        if work.stays_home or agent.ordered_log2 >= 2 * self.zone.zone_k:
            self._wait_for_room(work)
        else:
            self._round_failed(work, Region(0, agent.ordered_log2))

    def _wait_for_room(self, work: Workload) -> None:
        assert self.zone is not None
        jitter = float(rng.uniform(self.seed, "back-off", self.cycle, [work.ref])[0])
        search, root = self.agents[work.ref].search, Region(0, 2 * self.zone.zone_k)
        search.wait_for_room(self.cycle, root, self.zone.period_ticks, jitter)

    def _woken(self, body: Any, now_ns: int) -> list[Effect]:
        """There is room, held for a moment: order it, wherever it is."""
        work = self.workloads.get(body.ref)
        if work is None or self.zone is None or work.life is not Life.SEEKING:
            return []
        if self.travel is not None and self.travel.held_back(work):
            return []
        self._order(work, self._own_region(work) or Region(0, 2 * self.zone.zone_k), now_ns)
        return []

    def _promised(self, body: Any) -> list[Effect]:
        work = self.workloads.get(body.ref)
        if work is None or work.life not in {Life.SEEKING, Life.ORDERED}:
            return []
        work.promised_tick = body.start_tick if body.slots else -1
        if not body.slots:
            work.note(self.tick, "no slots are kept for it any more: a higher bid can have them")
            return [Keep(work)]
        when = f"from tick {body.start_tick} on" if body.start_tick else "as soon as they drain"
        work.note(self.tick, f"{_slots(body.slots)} {'are' if body.slots != 1 else 'is'} kept for it {when}")
        return [Keep(work)]

    def _refused(self, body: Any, now_ns: int) -> list[Effect]:
        work = self.workloads.get(body.ref)
        if work is None or work.life not in {Life.ORDERED, Life.WAITING} or self.zone is None:
            return []
        agent, reason = self.agents[work.ref], Reason(body.reason)
        self.clock_order(agent, now_ns)
        work.waits = Waits(reason.name, body.missing, body.price_ucr, body.retry_tick)
        if work.cancelled:
            return self.over(work, "cancelled")
        work.become(Life.SEEKING, self.tick, f"not granted: {_NOT_GRANTED.get(reason, reason.name.lower())}")
        if reason in _NO_MONEY:
            return self._park(work, body.missing + self.edge_ucr(work))
        if reason in _NO_ROOM:
            self._no_room(work, agent)
        elif reason in _NOT_HERE:
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


def _slots(count: int) -> str:
    return f"{count} slot{'s' * (count != 1)}"
