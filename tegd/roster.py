"""This host's workloads and what is known of their agents: what those that seek, sit and leave share.

Those that are over are kept for people, the latest `ENDED_KEPT_MAX` of them.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from tegcore.units import TICKS_PER_S, credits_text
from tegcore.wire.messages import HostKind, Stock, Welcome
from tegcore.wire.records import TIME_TICKS_MAX, Fok, Market, Op, OrderFlag, Reason, Region, Release, Shorten, Traits
from tegd.bidding import Stride, Usage
from tegd.effects import Drop, Effect, Keep
from tegd.link import Link
from tegd.modes import Happening, Mode, next_mode
from tegd.seek import Search
from tegd.travel import Travel
from tegd.workload import Life, Waits, Workload

ENDED_KEPT_MAX = 1000
SAID_MAX = 256


@dataclass(slots=True)
class Agent:
    """What is not worth keeping over a restart.

    Attributes:
        ordered_ns: When its order that is out was sent, boot-time clock; 0: none is.
        ordered_log2: Of the region that its latest order looked in.
        renew_cycle: When it was last renewed.
        renew_seq, expand_seq: Numbers of its commands that wait for an answer; 0: none does.
        last_use: What its run was last seen to use.
        period_use: What it used when it was last renewed.
        released: Whether the ledger was told that its slots are clear.
        notice_tick: The deadline that its notice named, the same for every host of its lease; 0: it had none.
        deadline_tick: When it must have left, where that is still to come.
        leave_tick: When it is to be saved and ended.
        leaving_told: Whether the airlock side was asked to.
        weighs: Whether it is to ask what a seat elsewhere would cost.
        ordered_time_s: The time limit that its latest order declared; -1: it has placed none since this start.
        top_ups: Numbers of those on their way to its lease, by the number of their command.
    """

    search: Search = field(default_factory=Search)
    ordered_ns: int = 0
    ordered_log2: int = 0
    renew_cycle: int = 0
    renew_seq: int = 0
    expand_seq: int = 0
    stride: Stride = field(default_factory=Stride)
    last_use: Usage | None = None
    period_use: Usage | None = None
    released: bool = False
    notice_tick: int = 0
    deadline_tick: int = 0
    leave_tick: int = 0
    leaving_told: bool = False
    weighs: bool = False
    ordered_time_s: int = -1
    top_ups: dict[int, int] = field(default_factory=dict)


TWIN_TOLD_CYCLES = 1200
"""So long people are told of another machine of this name: the one that is turned away asks more often."""


@dataclass
class Roster:
    """One host's.

    Attributes:
        tokens: Token of each tenant that may submit here.
        zone: The ledger's settings, once welcomed.
        market: As the last beat said.
        mu_ucr: Static friction (14), as the governor's field says; while it is unknown, below 0, nobody moves.
        slots: The slot that each ghost is over.
        runs: State of each run on the airlock side, by its id there.
        told: Leases that the ledger has told of in this session and that are not over.
        order_ms: Round trips of orders since they were last taken away, in ms.
        said: Name and text of what people are to read in the log, until it is taken away.
        busy: How many have a seat or are about to, as of this cycle.
        asked_last: Who asked for a quote last: next time others are asked for first.
        travel: Work that sits elsewhere, and parts of others' that sit here. Without it, what this host has ordered is
            taken to run here wherever its slots are: nobody carries it.
        stock: What the zone has, as the ledger told last.
        offers: What this host offers when nobody is on it.
        twin_cycle: When the ledger last told of another machine of this host's name.
        forgotten: The ledger knows less than it acknowledged. It is not heard, and leases run to their terms; then
            another session begins.
        seen: The greatest numbers of a lease and of a token that this host was told.
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
    said: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=SAID_MAX))
    expansions: int = 0
    busy: int = 0
    asked_last: int = 0
    travel: Travel | None = None
    stock: Stock | None = None
    offers: HostKind | None = None
    twin_cycle: int = -TWIN_TOLD_CYCLES
    forgotten: bool = False
    seen: tuple[int, int] = (0, 0)
    behind_beats: int = 0

    @property
    def hears(self) -> bool:
        """Whether it is in a session with a ledger that knows all that it has acknowledged."""
        return self.zone is not None and not self.forgotten

    @property
    def has_a_twin(self) -> bool:
        """Whether another machine says that it is this host."""
        return self.cycle - self.twin_cycle < TWIN_TOLD_CYCLES

    def in_order(self) -> list[Workload]:
        """All workloads, by number."""
        return [self.workloads[ref] for ref in sorted(self.workloads)]

    def happen(self, happening: Happening) -> None:
        """Change the mode."""
        self.mode = next_mode(self.mode, happening)

    def known_stock(self) -> Stock | None:
        """What the zone has, this host among it; None while the ledger has not counted since it took this host in."""
        known = self.zone is not None and self.stock is not None and self.stock.tick > self.zone.tick
        return self.stock if known else None

    def release(self, lease: int, token: int, why: Reason, now_ns: int) -> None:
        """Say that a lease's slots on this host are clear."""
        self.link.put(Op.RELEASE, Release(lease, token, why), now_ns)

    def _by_lease(self, lease: int) -> Workload | None:
        """The workload, or the part of one, that sits on this host under a lease."""
        return next((work for work in self.workloads.values() if work.lease == lease and lease and work.here), None)

    def _fok(self, work: Workload, region: Region) -> Fok:
        spec, flags, endow_ucr = work.spec, OrderFlag.NONE, work.own_ucr or 0
        if work.hook is None:
            flags |= OrderFlag.UNSAVABLE
        if work.named:
            flags |= OrderFlag.NAMED
        if work.has_budget and not work.has_purse:
            flags |= OrderFlag.BUDGETED
        if work.stays_home and self.travel is not None:
            flags |= OrderFlag.CONFINED
        traits = Traits(flags, 0, min(255, spec.sla_priority), min(TIME_TICKS_MAX, spec.time_s * TICKS_PER_S))
        return Fok(
            work.ref,
            self.tokens.get(work.tenant, 0),
            region.packed(),
            work.shape.packed(),
            spec.cpu_milli,
            spec.mem_bytes,
            work.limit_ucr,
            endow_ucr,
            traits.packed(),
            0,
        )

    def shorten(self, work: Workload, lease: int, token: int, now_ns: int) -> None:
        """Have a lease end as the workload declares now, which is no later than its order said."""
        time_ticks = min(TIME_TICKS_MAX, work.spec.time_s * TICKS_PER_S)
        self.link.put(Op.SHORTEN, Shorten(lease, token, time_ticks), now_ns)

    def clock_order(self, agent: Agent, now_ns: int) -> None:
        """An order is answered: how long did that take?"""
        if agent.ordered_ns:
            self.order_ms.append((now_ns - agent.ordered_ns) / 1e6)
            agent.ordered_ns = 0

    def minds_money(self, work: Workload) -> bool:
        """Whether prices are of interest to who submitted it: at fixed prices only who named an amount has to know."""
        return self.market is not Market.FIXED or work.named or work.own_ucr is not None

    def edge_ucr(self, work: Workload) -> int:
        """What a period's money must exceed its cost by: in the auction a bid has to be above the price."""
        return 0 if self.market is Market.FIXED else work.charge_ucr(1)

    def tell(self, work: Workload, text: str) -> None:
        """Remember what happened, and have it logged: people may have to do something about it."""
        work.note(self.tick, text)
        self.said.append((work.name, text))

    def _park(self, work: Workload, missing_ucr: int) -> list[Effect]:
        """Its own money does not cover one period: who gave it can give more."""
        missing_ucr = max(1, missing_ucr)
        work.waits = Waits("BUDGET", missing_ucr)
        text = f"parked: its {work.money_word} is {credits_text(missing_ucr)} credits short of one more period"
        work.become(Life.PARKED, self.tick, text)
        self.said.append((work.name, text))
        return [Keep(work)]

    def _drop_old(self) -> list[Effect]:
        """Of those that are over, forget the oldest beyond what is kept."""
        ended = [ref for ref, work in sorted(self.workloads.items()) if work.life is Life.ENDED]
        old = [self.workloads[ref] for ref in ended[: max(0, len(ended) - ENDED_KEPT_MAX)]]
        for work in old:
            del self.workloads[work.ref], self.agents[work.ref]
            if self.travel is not None:
                self.travel.forget(work)
        return [Drop(work) for work in old]

    def seek_again(self, work: Workload, pause_cycles: int = 1) -> None:
        """Begin a search anew, after a pause."""
        self.agents[work.ref].search = Search(next_cycle=self.cycle + pause_cycles)

    def over(self, work: Workload, outcome: str) -> list[Effect]:
        """A workload has come to its end, whatever that was."""
        work.outcome = outcome
        work.become(Life.ENDED, self.tick, outcome)
        return [Keep(work)]
