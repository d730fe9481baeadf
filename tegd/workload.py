"""A workload and its agent's life, as the daemon keeps it.

SEEKING holds nothing. ORDERED has a fill-or-kill order out. WAITING won a block that others have yet to leave. SEATED
has a lease, its work being started or running. LEAVING had notice, or is cancelled: its work is being saved and ended.
AWAY has a lease whose slots are another host's, or several hosts': what runs there is a part, a workload of its own on
that host, which knows its home.
PARKED has a budget or a purse of its own that does not cover one period, and waits for a top-up. ENDED is over.

Who pays: the tenant's account as it runs, or a purse that someone asked for. A budget bounds what it pays in its life,
from either. Only what has a budget or a purse can run out of money of its own.
"""

from enum import StrEnum
from functools import lru_cache
from typing import Self

import msgspec

from tegcore.units import PERMILLE
from tegcore.wire.control import Hook, WorkloadSpec
from tegcore.wire.peer import Source
from tegcore.wire.records import Reason, Region, Shape
from tegd.handover import Stay, Trip

HISTORY_MAX = 40
DEFAULT_LIMIT_FACTOR = 2
"""What a limit that nobody named is to the price, or to the reserve."""
HOOK_FAILED_MAX = 200
CANNOT_EXECUTE = 126
AT_ITS_TIME = "ended at its time limit"
"""Exit code of what could not be started, as a shell gives it."""


class Life(StrEnum):
    """Where a workload's agent is."""

    SEEKING = "seeking"
    ORDERED = "ordered"
    WAITING = "waiting"
    SEATED = "seated"
    LEAVING = "leaving"
    AWAY = "away"
    PARKED = "parked"
    ENDED = "ended"


LIFE: dict[Life, frozenset[Life]] = {
    Life.SEEKING: frozenset({Life.ORDERED, Life.SEATED, Life.AWAY, Life.PARKED, Life.ENDED}),
    Life.ORDERED: frozenset({Life.SEEKING, Life.WAITING, Life.SEATED, Life.AWAY, Life.ENDED}),
    Life.WAITING: frozenset({Life.SEEKING, Life.SEATED, Life.AWAY, Life.ENDED}),
    Life.AWAY: frozenset({Life.SEEKING, Life.PARKED, Life.ENDED}),
    Life.SEATED: frozenset({Life.SEEKING, Life.LEAVING, Life.PARKED, Life.ENDED}),
    Life.LEAVING: frozenset({Life.SEEKING, Life.SEATED, Life.PARKED, Life.ENDED}),
    Life.PARKED: frozenset({Life.SEEKING, Life.ENDED}),
    Life.ENDED: frozenset(),
}
"""What may follow what."""


class Waits(msgspec.Struct):
    """Why a workload waits: a reason, and the number that is missing, in the unit that the reason says."""

    reason: str = ""
    missing: int = 0
    price_ucr: int = 0
    until_tick: int = 0


class Low(msgspec.Struct):
    """What pays for a lease runs out; all 0: it does not. See `tegcore.wire.records.Low`."""

    reason: int = 0
    until_tick: int = 0
    missing_ucr: int = 0


class Word(msgspec.Struct):
    """What a seat said of its part at last: see `tegcore.wire.peer.Report`."""

    saves: int = 0
    over: bool = False
    ran: bool = False
    done: bool = False
    exit_code: int | None = None
    problem: str = ""
    base: int = -1
    log2: int = 0
    hook_failed: str = ""
    ready: bool = False


class Missing(msgspec.Struct):
    """A checkpoint of one rank without which a gang does not go on from where it was.

    Attributes:
        rank: Whose.
        tick: Since when it is missing.
        holder: Host that has it and does not answer; empty: nobody is known to have it.
        ranks: Where what was won has another number of hosts: how many the checkpoint is of; else 0.
        seats: How many that lease had.
    """

    rank: int
    tick: int
    holder: str = ""
    ranks: int = 0
    seats: int = 0


def shape_of(spec: WorkloadSpec) -> Shape:
    """The blocks that a piece of work asks for, of the classes that will do.

    Raises:
        ValueError: If it names a class below 0.
    """
    return _shape(tuple(spec.sizes), tuple(spec.slot_classes), spec.share_permille)


@lru_cache(maxsize=1024)
def _shape(sizes: tuple[int, ...], slot_classes: tuple[int, ...], share_permille: int) -> Shape:
    """There are few shapes, and each is asked for in every cycle."""
    mask = sum(1 << slot_class for slot_class in set(slot_classes))
    return Shape(tuple(sorted(sizes, reverse=True)), mask, share_permille)


class Workload(msgspec.Struct):
    """One workload, or a part of another host's; all of it is kept on disk.

    Attributes:
        ref: Its number, unique on this host for ever.
        limit_ucr: What it bids: as a person named it, or as derived from the price it was told last; no more than what
            its own money pays for one period.
        endow_ucr: What is left for its purse, if it has one.
        budget_ucr: What it may pay in its life, if it has a budget; top-ups add to it.
        spent_ucr: What its leases that are over have paid.
        paid_ucr: What its present lease has paid, as far as it was settled.
        cost_ucr: What a period costs, as it was told last.
        low: What the ledger says of the money for its lease.
        hook_failed: Why its hook is of no use: a save or its proof failed; empty: none did.
        submitted_tick: When it was submitted: its age, kept for ever.
        term_end_ns: Boot-time clock; 0 without a lease.
        resume: Whether it continues from a checkpoint when it starts next.
        cancelled: Whether its owner wants it over.
        cancelled_by: Who said so, as this host calls the user; empty: not known.
        files: Names of its input files, in its folder's `files`.
        ticket: Who shows it may read its files.
        sources: Its checkpoints that are whole, as far as they are known.
        saves: How many were made under the present lease.
        trip: At home, where it is with the lease that sits elsewhere.
        seats: Hosts of its lease, in order of rank.
        taken: Ranks that have their brief.
        words: By rank, what its seats said.
        lease_why: Why its last lease ended, while a last word is awaited.
        last_token: Of its last lease that sat elsewhere.
        strayed: Whether its newest checkpoint is among `sources`, and not in its own folder.
        owed: (host, rank, token) of parts that are over and hold what may still be needed.
        fetch_failures: How often its newest checkpoint could not be had.
        home: Name of its home, for a part of another host's workload.
        home_ref: Its number there.
        stay: Where its seat is with it.
        rank: Its place among the seats.
        part_slots: How many slots it has here; 0: all of its shape.
        ran: Whether it was ever started here.
        base: First slot of this host when it was seated here.
        homebound: Whether another host said that it can never run it: it runs where it was submitted, or waits.
        homebound_why: Which host, and what it said.
        promised_tick: Since when slots are kept for it: the tick in which they are free as declared, 0: when they
            drain; -1: none are.
        basis: The generation that all ranks of its present lease begin from; None: not chosen yet.
        begun: Ranks that were told to begin.
        missing: Whose checkpoint it lacks to go on from its newest save.
        kept: Of a part: numbers of the checkpoints of its lease that are kept here.
        asked: Of a part of a gang: numbers of the saves that it was asked for and has yet to make, the first in front;
            0: of none that all ranks were asked for.
        asked_ns: No later than when it was asked for that.
        saved_ns: Of a part: when the last save was made that was looked at.
        gone: Of a part: what it was to fetch, and its holder does not have.
        together: Of a part: whether it starts when its home says that every rank is ready.
        avoided: Hosts that could not run it: first slot, log2 of how many, and why.
        top_ups: Keys of the latest top-ups.
        last_top_up: Number of the latest that was meant for a lease.
        unfilled: Those that no lease is known to have taken in: their numbers and amounts, ucr. A budget counts them
            already.
        history: The latest of what happened, for people.
    """

    ref: int
    name: str
    tenant: str
    uid: int
    gid: int
    key: int
    spec: WorkloadSpec
    life: Life = Life.SEEKING
    limit_ucr: int = 0
    endow_ucr: int = 0
    lease: int = 0
    token: int = 0
    blocks: tuple[tuple[int, int], ...] = ()
    price_ucr: int = 0
    purse_ucr: int = 0
    mass_micro: int = 0
    term_end_ns: int = 0
    held_bytes: int = 0
    resume: bool = False
    cancelled: bool = False
    top_ups: list[int] = msgspec.field(default_factory=list)
    why_leaving: int = 0
    exit_code: int | None = None
    outcome: str = ""
    waits: Waits = msgspec.field(default_factory=Waits)
    history: list[tuple[int, str]] = msgspec.field(default_factory=list)
    files: tuple[str, ...] = ()
    ticket: str = ""
    sources: list[Source] = msgspec.field(default_factory=list)
    saves: int = 0
    trip: Trip = Trip.NONE
    seats: list[str] = msgspec.field(default_factory=list)
    slots_by_rank: list[int] = msgspec.field(default_factory=list)
    taken: list[int] = msgspec.field(default_factory=list)
    words: dict[int, Word] = msgspec.field(default_factory=dict)
    lease_why: int = 0
    last_token: int = 0
    strayed: bool = False
    owed: list[tuple[str, int, int]] = msgspec.field(default_factory=list)
    fetch_failures: int = 0
    home: str = ""
    home_ref: int = 0
    stay: Stay = Stay.NONE
    rank: int = 0
    part_slots: int = 0
    ran: bool = False
    homebound: bool = False
    base: int = 0
    promised_tick: int = -1
    avoided: dict[str, tuple[int, int, str]] = msgspec.field(default_factory=dict)
    budget_ucr: int = 0
    spent_ucr: int = 0
    paid_ucr: int = 0
    cost_ucr: int = 0
    low: Low = msgspec.field(default_factory=Low)
    hook_failed: str = ""
    submitted_tick: int = 0
    cancelled_by: str = ""
    homebound_why: str = ""
    last_top_up: int = 0
    unfilled: list[tuple[int, int]] = msgspec.field(default_factory=list)
    basis: tuple[int, int] | None = None
    begun: list[int] = msgspec.field(default_factory=list)
    missing: Missing | None = None
    kept: list[int] = msgspec.field(default_factory=list)
    asked: list[int] = msgspec.field(default_factory=list)
    asked_ns: int = 0
    saved_ns: int = 0
    gone: list[Source] = msgspec.field(default_factory=list)
    together: bool = False

    @property
    def hook(self) -> Hook | None:
        """Its checkpoint hook, if it has one that is of use: one that failed protects nothing."""
        return None if self.hook_failed else self.spec.hook

    @property
    def named(self) -> bool:
        """Whether a person named its bid."""
        return self.spec.limit_ucr > 0

    @property
    def in_gang(self) -> bool:
        """Whether its lease, or the one that it is a part of, is over several hosts."""
        return len(self.seats) > 1

    @property
    def has_budget(self) -> bool:
        """Whether what it pays in its life is bounded."""
        return self.spec.budget_ucr > 0

    @property
    def has_purse(self) -> bool:
        """Whether it pays from a purse of its own."""
        return self.spec.endow_ucr > 0 or self.endow_ucr > 0

    @property
    def budget_left_ucr(self) -> int:
        """What its budget has left."""
        return max(0, self.budget_ucr - self.spent_ucr - self.paid_ucr)

    @property
    def own_ucr(self) -> int | None:
        """What is left of its own money; None where the tenant's account alone pays, without bound."""
        if self.has_purse:
            return self.endow_ucr
        return self.budget_left_ucr if self.has_budget else None

    @property
    def expects_money(self) -> bool:
        """Whether what is added is for the lease that it has, or that its order may be about to get."""
        return bool(self.lease) or self.life in {Life.ORDERED, Life.WAITING}

    @property
    def money_word(self) -> str:
        """What people call its own money."""
        return "purse (--endow)" if self.has_purse else "budget"

    @property
    def stays_home(self) -> bool:
        """Whether it can sit on the host of its submission only."""
        hook = self.hook
        return self.spec.here or self.homebound or (hook is not None and ("/" in hook.checkpoint or "/" in hook.mark))

    @property
    def avoided_regions(self) -> list[Region]:
        """Where the hosts are that could not run it."""
        return [Region(base, log2) for base, log2, _ in self.avoided.values()]

    @property
    def slots_here(self) -> int:
        """How many slots it has on this host."""
        return self.part_slots or self.shape.slots

    @property
    def here(self) -> bool:
        """Whether its lease's slots on this host are its own to renew and to clear."""
        return self.life in {Life.SEATED, Life.LEAVING}

    @classmethod
    def accepted(cls, ref: int, tenant: str, user: tuple[int, int], key: int, spec: WorkloadSpec) -> Self:
        """A workload as it begins; `user` is uid and gid."""
        work = cls(ref, spec.name or f"w{ref}", tenant, *user, key, spec)
        work.budget_ucr = spec.budget_ucr
        work.endow_ucr = min(spec.endow_ucr, spec.budget_ucr) if work.has_budget else spec.endow_ucr
        work.bid_up_to(spec.limit_ucr)
        return work

    @property
    def came_to_its_end(self) -> bool:
        """Whether it is over, or its command has ended by itself: what is wanted of it later changes nothing."""
        return self.life is Life.ENDED or (self.life is Life.LEAVING and self.why_leaving == Reason.DONE)

    @property
    def shape(self) -> Shape:
        """What it asks for."""
        return shape_of(self.spec)

    @property
    def airlock_id(self) -> str:
        """What its present run is called on the airlock side: one run a lease."""
        return f"{self.ref}.{self.token}"

    def slots_within(self, base: int, log2_slots: int) -> list[int]:
        """Its slots among the 2^log2_slots of a host from `base` on, in order, counted from 0."""
        ends = ((first - base, first + (1 << log2) - base) for first, log2 in self.blocks)
        return sorted(slot for begin, end in ends for slot in range(max(0, begin), min(1 << log2_slots, end)))

    def charge_ucr(self, price_ucr: int) -> int:
        """What a price per slot-period comes to for its shape."""
        share = self.spec.share_permille
        return -(-price_ucr * share // PERMILLE) if share else price_ucr * self.shape.slots

    def keep_purse(self, purse_ucr: int) -> None:
        """What the ledger says is left of its purse; what an account has set aside for a period is none."""
        self.purse_ucr = purse_ucr if self.has_purse else 0

    def lease_paid(self, paid_ucr: int, returned_ucr: int) -> None:
        """A lease is over: what it has paid in all, and what came back from its purse, if it had one."""
        purse = self.has_purse
        self.spent_ucr, self.paid_ucr = self.spent_ucr + paid_ucr, 0
        if purse:
            self.endow_ucr = min(returned_ucr, self.budget_left_ucr) if self.has_budget else returned_ucr
        self.bid_up_to(self.spec.limit_ucr or self.limit_ucr)

    def top_up_lease(self, amount_ucr: int) -> None:
        """More for the lease that it has, or is about to get: kept until that has taken it in."""
        self.last_top_up += 1
        self.unfilled.append((self.last_top_up, amount_ucr))
        self.budget_ucr += amount_ucr if self.has_budget else 0

    def keep_unfilled(self) -> None:
        """It has no lease: what none has taken in is for its next purse."""
        if self.has_purse:
            self.endow_ucr += sum(amount_ucr for _, amount_ucr in self.unfilled)
        self.unfilled = []
        self.bid_up_to(self.spec.limit_ucr or self.limit_ucr)

    def topped_up(self, amount_ucr: int) -> None:
        """More for its next seat."""
        if self.has_budget:
            self.budget_ucr += amount_ucr
        if self.has_purse:
            self.endow_ucr += amount_ucr
        self.bid_up_to(self.spec.limit_ucr or self.limit_ucr)

    def bid_up_to(self, price_ucr: int) -> None:
        """Its limit is this price per slot-period, or what its own money pays for one period, if that is less."""
        own, share = self.own_ucr, self.spec.share_permille
        if own is None:
            self.limit_ucr = price_ucr
            return
        within = own * PERMILLE // share if share else own // self.shape.slots
        self.limit_ucr = min(price_ucr, within)

    def derive_limit(self, price_ucr: int) -> None:
        """What it bids where the price, or the least one that there is, is this: it follows up and down."""
        self.bid_up_to(self.spec.limit_ucr or DEFAULT_LIMIT_FACTOR * price_ucr)

    def begin_anew(self) -> None:
        """Nothing of what it has done is left: it starts from its beginning."""
        self.resume = self.strayed = False
        self.sources, self.missing = [], None
        self.exit_code, self.outcome = None, ""

    def become(self, life: Life, tick: int, text: str) -> None:
        """Move on in life."""
        assert life in LIFE[self.life] or life is self.life, f"{self.name}: {self.life} cannot become {life}"
        self.life = life
        self.note(tick, text)

    def note(self, tick: int, text: str) -> None:
        """Remember what happened, for people."""
        self.history.append((tick, text))
        del self.history[:-HISTORY_MAX]

    def unseat(self) -> None:
        """Forget the lease."""
        self.last_token = self.token or self.last_token
        self.lease = self.token = self.price_ucr = self.purse_ucr = self.term_end_ns = self.held_bytes = 0
        self.blocks = ()
