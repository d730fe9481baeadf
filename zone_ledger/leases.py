"""What the ledger keeps of orders, leases and hosts between commands."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from tegcore.economics.fixed import friction_ucr, prorated_ucr
from tegcore.units import PERMILLE, PRICE_UCR_MAX
from tegcore.wire.records import OrderFlag, Reason, Region, Shape, Traits
from tegcore.wire.session import Inbox, Outbox
from zone_ledger.book.base import THRESHOLD_UCR_MAX


class LeaseState(IntEnum):
    """HELD until a notice, then EVICTING until its hosts are clear or its term has surely ended."""

    HELD = 1
    EVICTING = 2


class OrderState(IntEnum):
    """WAITING for a tick that clears it, or EVICTING: a block is reserved that others have yet to leave."""

    WAITING = 1
    EVICTING = 2


class Pays(IntEnum):
    """Whose money an order or a lease is paid with."""

    PURSE = 1
    """Its own endowment, moved into a purse."""
    ACCOUNT = 2
    """The tenant's account, as it runs; or, where that stands, the tenant's income."""


class OrderKey(NamedTuple):
    """What an order is known by, and how ties are broken: the least wins."""

    host: int
    boot: int
    seq: int


def charge_ucr(price_ucr: int, shape: Shape) -> int:
    """What a price per slot-period comes to for a shape, rounded up."""
    if shape.share_permille:
        return -(-price_ucr * shape.share_permille // PERMILLE)
    return price_ucr * shape.slots


def price_ucr(charge: int, shape: Shape) -> int:
    """The least price per slot-period that comes to a charge: rounded up."""
    if shape.share_permille:
        return -(-charge * PERMILLE // shape.share_permille)
    return -(-charge // shape.slots)


@dataclass(slots=True)
class Order:
    """A FOK that has not ended.

    Attributes:
        tenant: 0 for a tenant that the ledger does not know.
        arrived: Tick in which it came.
        blocks: What is reserved, once EVICTING; with `price_ucr`, `deadline` and the incumbents that have yet to leave.
        serial: Names its reservation in the book, negative.
        extended: The deadline was moved once, to the sure end of the incumbents' terms.
        rule: By which it was cleared, 0 while it was not, or at fixed prices.
        leaves: The lease that a MOVE leaves, 0 for a FOK: its slots count as free for this order.
        cap_ucr: Price cap (6) of its region.
        budget_ucr: Most that it may pay from the account, -1 for no bound.
        held_ucr: In escrow for it: its endowment, or its first period.
        notice_ucr: In escrow to pay for the notice of those that it displaces.
        won: Tick since when it waits for them to leave.
        spared_ucr: What it has paid for them.
        protected_until: What a MOVE that waits for its own old seat, too, keeps of that one's first term.
        since: Of a MOVE, tick since when the work of its old lease had waited.
    """

    key: OrderKey
    ref: int
    tenant: int
    region: Region
    shape: Shape
    cpu_milli: int
    mem_bytes: int
    limit_ucr: int
    endow_ucr: int
    traits: Traits
    arrived: int
    serial: int
    state: OrderState = OrderState.WAITING
    blocks: tuple[Region, ...] = ()
    price_ucr: int = 0
    deadline: int = 0
    incumbents: list[int] = field(default_factory=list)
    extended: bool = False
    rule: int = 0
    leaves: int = 0
    cap_ucr: int = PRICE_UCR_MAX
    pays: Pays = Pays.PURSE
    budget_ucr: int = -1
    held_ucr: int = 0
    notice_ucr: int = 0
    won: int = 0
    spared_ucr: int = 0
    protected_until: int = 0
    since: int = 0

    @property
    def named(self) -> bool:
        """Whether a person named its bid."""
        return bool(self.traits.flags & OrderFlag.NAMED)

    @property
    def confined(self) -> bool:
        """Whether its workload cannot run outside its region."""
        return bool(self.traits.flags & OrderFlag.CONFINED)

    @property
    def bid_ucr(self) -> int:
        """The most that it pays for a period."""
        return charge_ucr(self.limit_ucr, self.shape)

    @property
    def free_bid_ucr(self) -> int:
        """The most that it pays for a period where nobody must leave: the price cap (6) bounds it."""
        return charge_ucr(min(self.limit_ucr, self.cap_ucr), self.shape)


@dataclass(slots=True)
class Range:
    """A range of a host's memory or cpu, at the price (15) that it had when it was bought.

    Attributes:
        mem_bytes: 0 for cpu.
        price_ucr: Per period.
        since: Tick from which it is paid in this period.
    """

    host: int
    mem_bytes: int
    price_ucr: int
    since: int


@dataclass(slots=True)
class Lease:
    """Blocks held by a workload, and the money and the clock that it holds them by.

    Attributes:
        term_end: Last tick of the term, of the host that renewed last where there are several.
        clear: Hosts whose slots are clear: they said so, or their term has surely ended.
        heard: By host, the end of its own term, where hosts renew each for itself.
        budget_ucr: Most that it may pay from the account, -1 for no bound.
        covered: A standing income pays for the present period: nothing was escrowed for it.
        protected_until: In its first term, which ends in this tick, it cannot be displaced; 0 once that is over.
        noticed: Tick from which its challenger pays for it, 0 while none does.
        spared_ucr: What challengers have paid of the present period.
        low: Its host was told that money for it runs out.
        since: Tick since when its work had waited: its age, which it keeps when it comes back or moves.
        low_tick: Tick that it was told then: before, it has no notice because its account is dry.
        last_top_up: Number of the latest that it took in.
    """

    number: int
    token: int
    tenant: int
    origin: int
    ref: int
    blocks: tuple[Region, ...]
    hosts: tuple[int, ...]
    shape: Shape
    cpu_milli: int
    mem_bytes: int
    limit_ucr: int
    price_ucr: int
    mass_micro: int
    mu_ucr: int
    traits: Traits
    granted: int
    period_start: int
    term_end: int
    next_limit_ucr: int
    state: LeaseState = LeaseState.HELD
    pinned: bool = False
    purse_ucr: int = 0
    escrow_ucr: int = 0
    paid_ucr: int = 0
    ranges: list[Range] = field(default_factory=list)
    use_sum: int = 0
    use_count: int = 0
    challenge_ucr: int = 0
    deadline: int = 0
    why: Reason = Reason.OK
    challenger: OrderKey | None = None
    clear: set[int] = field(default_factory=set)
    tax_permille: int = 0
    subsidy_permille: int = 0
    heard: dict[int, int] = field(default_factory=dict)
    pays: Pays = Pays.PURSE
    budget_ucr: int = -1
    covered: bool = False
    protected_until: int = 0
    noticed: int = 0
    spared_ucr: int = 0
    low: bool = False
    since: int = 0
    low_tick: int = 0
    last_top_up: int = 0

    @property
    def friction_ucr(self) -> int:
        """Static friction mu m (14) of the whole lease, per period."""
        return friction_ucr(self.mu_ucr, self.mass_micro)

    @property
    def protected(self) -> bool:
        """Whether it cannot be displaced yet."""
        return self.protected_until > 0

    @property
    def threshold_ucr(self) -> int | None:
        """What displacing it costs (14), or None while it cannot be displaced."""
        if self.pinned or self.protected or self.state is LeaseState.EVICTING:
            return None
        most_ucr = charge_ucr(THRESHOLD_UCR_MAX, self.shape)
        return min(charge_ucr(self.limit_ucr, self.shape) + self.friction_ucr, most_ucr)

    @property
    def parties(self) -> set[int]:
        """The hosts that have to do with it: the one that ordered it, and those that it spans."""
        return {self.origin, *self.hosts}

    @property
    def savable(self) -> bool:
        """Whether its work can be saved before it leaves."""
        return not self.traits.flags & OrderFlag.UNSAVABLE

    @property
    def use_permille(self) -> int:
        """Mean measured use of the period; all of it while nothing was measured."""
        return self.use_sum // self.use_count if self.use_count else PERMILLE

    @property
    def rent_ucr(self) -> int:
        """What its slots cost a whole period."""
        return self.price_ucr * self.shape.slots

    @property
    def charge_ucr(self) -> int:
        """What its slots, memory and cpu cost a whole period."""
        return charge_ucr(self.price_ucr, self.shape) + self.ranges_ucr()

    @property
    def outgo_ucr(self) -> int:
        """What it takes from its tenant's account a period."""
        from_account = self.pays is Pays.ACCOUNT and not self.covered and self.state is LeaseState.HELD
        return self.charge_ucr if from_account else 0

    @property
    def used_rent_ucr(self) -> int:
        """The part of that which is for measured use."""
        return self.rent_ucr * self.use_permille // PERMILLE

    def ranges_ucr(self) -> int:
        """What its memory and cpu cost a whole period."""
        return sum(held.price_ucr for held in self.ranges)

    def ranges_due_ucr(self, tick: int, period_ticks: int) -> int:
        """What its memory and cpu cost from the start of the period to a tick."""
        return sum(
            prorated_ucr(held.price_ucr, tick - max(held.since, self.period_start), period_ticks)
            for held in self.ranges
        )


@dataclass(slots=True)
class Rents:
    """The rents of all leases together, kept as leases change: a tick tells them, however many leases there are.

    Attributes:
        rent_ucr: Sum of `Lease.rent_ucr`.
        used_ucr: Sum of `Lease.used_rent_ucr`.
        outgo_ucr: By tenant, the sum of `Lease.outgo_ucr` where it is above 0.
    """

    rent_ucr: int = 0
    used_ucr: int = 0
    outgo_ucr: dict[int, int] = field(default_factory=dict)
    _counted: dict[int, tuple[int, int, int, int]] = field(default_factory=dict)

    def count(self, lease: Lease) -> None:
        """A lease is new, or its price or its measured use is another."""
        self.forget(lease.number)
        counted = lease.rent_ucr, lease.used_rent_ucr, lease.tenant, lease.outgo_ucr
        self._counted[lease.number] = counted
        self._add(1, *counted)

    def forget(self, number: int) -> None:
        """A lease has ended."""
        self._add(-1, *self._counted.pop(number, (0, 0, 0, 0)))

    def _add(self, sign: int, rent_ucr: int, used_ucr: int, tenant: int, outgo_ucr: int) -> None:
        self.rent_ucr += sign * rent_ucr
        self.used_ucr += sign * used_ucr
        if outgo_ucr:
            self.outgo_ucr[tenant] = self.outgo_ucr.get(tenant, 0) + sign * outgo_ucr
            if not self.outgo_ucr[tenant]:
                del self.outgo_ucr[tenant]


@dataclass(slots=True)
class HostSession:
    """A host as the ledger knows it.

    Attributes:
        boot: 0 before its first HOST_UP.
        up: Whether its last will has not spoken since.
        stale: Its outbox overflowed: it is not heard until it comes up under a new boot.
        lost: It is gone or silent, and offered nothing until it is heard again.
        rules: The latest rule set whose events it reads; 0: those of set 1.
    """

    number: int
    name: str
    boot: int = 0
    up: bool = False
    stale: bool = False
    drained: bool = False
    inbox: Inbox = field(default_factory=Inbox)
    outbox: Outbox = field(default_factory=Outbox)
    lost: bool = False
    rules: int = 0

    @property
    def withheld(self) -> bool:
        """Whether nothing new may be seated on it."""
        return self.drained or self.lost


@dataclass(slots=True)
class Rates:
    """What SET_RATES sets; in force from each lease's next boundary."""

    epoch: int = 0
    mu_ucr: int = 0
    tax_permille: int = 0
    subsidy_permille: int = 0
    subsidy_ucr_max: int = 0
    gas_ucr: int = 0
    burn_permille: int = 0
    mem_k_ucr: int = 0
    cpu_k_ucr: int = 0
    peg: int = 0


@dataclass(slots=True)
class Counters:
    """What has happened since the journal began; the governor and people look at differences.

    Attributes:
        outcomes: Orders that ended, by reason; OK for those filled.
        evicting: Orders that had to wait for others to leave.
        evictions: Leases that got notice because of a stronger bid.
        inertia_refusals: Orders that bid more than the standing limits in their way, but not more than friction on top.
        bankruptcies: Leases whose purse ran out.
        attempts: FOK and MOVE.
        refused: Of them, refused for want of fit or price.
        refused_span: Sum over those of min(region side, 8 slots).
        demand_slots: Sum over those of the slots asked for.
        by_rule: Leases granted by each rule of clearing; 0: at fixed prices.
        withdrawn: Evictions that were taken back.
        covered_ucr: What standing incomes covered.
        woken: How often work that waits was told of room.
        promises: How often slots were kept for work that waits.
    """

    outcomes: dict[int, int] = field(default_factory=dict)
    leases: int = 0
    evicting: int = 0
    evictions: int = 0
    inertia_refusals: int = 0
    bankruptcies: int = 0
    expansions: int = 0
    attempts: int = 0
    refused: int = 0
    refused_span: int = 0
    demand_slots: int = 0
    by_rule: dict[int, int] = field(default_factory=dict)
    withdrawn: int = 0
    covered_ucr: int = 0
    woken: int = 0
    promises: int = 0
