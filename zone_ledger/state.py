"""All that the engine keeps, in one place: it is a function of the journal, and its hash says which.

Modules of the engine are functions over a `State`: `orders` (arrival, clearing, grants), `eviction` (who leaves, and
what becomes of the challenger), `settlement` (periods, purses, ends), and `engine` (dispatch, sessions, operators).
"""

import heapq
import struct
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import blake2b
from typing import Any, NamedTuple

from tegcore.units import UCR_MAX
from tegcore.wire.records import (
    INCOME_STANDING,
    WORD_MAX,
    Admit,
    Genesis,
    Market,
    Op,
    Reason,
    Record,
    Region,
    told_within,
)
from tegcore.wire.session import Outbox
from zone_ledger.accounts import Accounts
from zone_ledger.book.base import Book
from zone_ledger.leases import Counters, HostSession, Lease, Order, OrderKey, OrderState, Pays, Rates, Rents
from zone_ledger.placement import Scales
from zone_ledger.rows import HASH_BYTES, Rows
from zone_ledger.rules import LATEST, RuleSet, rule_set
from zone_ledger.runs import Runs
from zone_ledger.shares import Shares
from zone_ledger.terms import TermsOfAll
from zone_ledger.waiters import Promise, Queue

BIDS_KEPT_MAX = 1 << 16
PATIENCE_TICKS = 12_000
WOKEN_BIDS = 16
_FIELDS_OF_SET_1 = 8
"""Of Genesis: what its hashes know of."""


class Outcome(NamedTuple):
    """What became of a command: `missing` is what the reason says, `subject` the number that it made."""

    reason: Reason = Reason.OK
    missing: int = 0
    subject: int = 0


class Due(IntEnum):
    """What a lease has an appointment for."""

    BOUNDARY = 1
    SURE_END = 2
    TERM_OVER = 3
    """Its first term: from now on it can be displaced."""
    TIME_OVER = 4
    """The time that its owner declared."""


_RULES_OF_EVENTS = {Op.WITHDRAWN: 2, Op.LOW: 2, Op.WOKEN: 2, Op.PROMISED: 2}
"""The rule set that brought an event: hosts of an earlier one are not told it."""


@dataclass(slots=True)
class State:
    """The ledger between two commands.

    Attributes:
        rules: The rule set that holds now.
        refs: (host, ref) of every order and lease.
        incomes: By tenant, what it is minted a period, or `INCOME_STANDING`; 0: who has no rate of its own.
        queue: Work whose orders found no room.
        shares: What tenants have used of late.
        promise: Slots that are kept for one of it.
        room: Whether room may have appeared since those that wait were last looked at.
        terms: Of tenants, as operators set them by command.
        short_of_money: Tenants of which a lease was told that their account runs dry: derived.
        asked_ucr: By tenant, the first periods that its account holds for orders: derived.
        anchors: By class, the reserve as it was set and the peg (joules per credit) that held then.
        caps: Price cap (6) on free slots by packed region, ucr per slot-period.
        transfers: (zone, number) of every transfer that came in: each is credited once.
        subsidy_epoch_ucr: Minted as subsidy in this epoch.
        bids: Where the latest bids pressed, and their value in ucr, for the heat layer: derived, and not part of what
            is kept.
        stirred: Hosts that were told something since this was last emptied: derived, like `bids`.
        rents: Of all leases: derived from them.
        waiting: The orders that the next tick clears, as they came: derived.
        deadlines: (deadline, serial, key) of orders that wait for others to leave; what is no longer so is passed over.
            Derived.
        runs: The hosts' runs of slots: derived.
        held_by: Numbers of the leases that each host has to do with: derived from them.
        save_ticks: How many leases name so long a save: derived from them.
        rows: What `running_hash` keeps of the rest: derived from it. Whoever changes a host, a lease, an order or a cap
            marks it here.
    """

    genesis: Genesis
    book: Book
    market: Market
    zone: str = ""
    tick: int = 0
    tau: int = 0
    accounts: Accounts = field(default_factory=Accounts)
    rates: Rates = field(default_factory=Rates)
    admission: Admit | None = None
    tenants: dict[int, str] = field(default_factory=dict)
    hosts: dict[int, HostSession] = field(default_factory=dict)
    tenant_numbers: dict[str, int] = field(default_factory=dict)
    host_numbers: dict[str, int] = field(default_factory=dict)
    leases: dict[int, Lease] = field(default_factory=dict)
    orders: dict[OrderKey, Order] = field(default_factory=dict)
    refs: set[tuple[int, int]] = field(default_factory=set)
    reserves: dict[int, int] = field(default_factory=dict)
    counters: Counters = field(default_factory=Counters)
    operator_keys: dict[int, Outcome] = field(default_factory=dict)
    last_lease: int = 0
    last_token: int = 0
    last_serial: int = 0
    due: list[tuple[int, int, int]] = field(default_factory=list)
    anchors: dict[int, tuple[int, int]] = field(default_factory=dict)
    caps: dict[int, int] = field(default_factory=dict)
    transfers: set[tuple[int, int]] = field(default_factory=set)
    subsidy_epoch_ucr: int = 0
    bids: deque[tuple[Region, int]] = field(default_factory=lambda: deque(maxlen=BIDS_KEPT_MAX))
    stirred: set[int] = field(default_factory=set)
    rents: Rents = field(default_factory=Rents)
    waiting: dict[OrderKey, Order] = field(default_factory=dict)
    deadlines: list[tuple[int, int, OrderKey]] = field(default_factory=list)
    held_by: dict[int, set[int]] = field(default_factory=dict)
    save_ticks: Counter[int] = field(default_factory=Counter)
    runs: Runs = field(init=False)
    rows: Rows = field(default_factory=Rows)
    rules: RuleSet = field(default_factory=lambda: rule_set(LATEST))
    incomes: dict[int, int] = field(default_factory=dict)
    short_of_money: set[int] = field(default_factory=set)
    queue: Queue = field(default_factory=Queue)
    shares: Shares = field(default_factory=Shares)
    promise: Promise | None = None
    room: bool = False
    terms: TermsOfAll = field(default_factory=TermsOfAll)
    asked_ucr: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.runs = Runs(slots=1 << 2 * self.genesis.zone_k)

    @property
    def term_ticks(self) -> int:
        """Length of a term."""
        return self.genesis.term_periods * self.genesis.period_ticks

    @property
    def scales(self) -> Scales:
        """K of (15) now."""
        return Scales(self.rates.mem_k_ucr, self.rates.cpu_k_ucr, self.rules.whole_cost)

    @property
    def patience_ticks(self) -> int:
        """After so long, work without a promised start is kept slots."""
        return self.genesis.patience_ticks or PATIENCE_TICKS

    @property
    def woken_bids(self) -> int:
        """So many of those that wait are woken at once in the auction."""
        return self.genesis.woken_bids or WOKEN_BIDS

    def wait_by(self, shares: Shares) -> None:
        """Let those that wait go by these shares from now on."""
        waiters = self.queue.waiters
        self.shares, self.queue = shares, Queue(by_tenant=shares.on)
        self.queue.restore(waiters.values())

    @property
    def room_ucr(self) -> int:
        """What can still come into this ledger by mint or transfer, so that every sum of money is a 64-bit word."""
        most_ucr = UCR_MAX if self.rules.accounts_pay else WORD_MAX
        return max(0, most_ucr - self.accounts.minted - self.accounts.transferred_in)

    def income_of(self, tenant: int) -> int:
        """What a tenant is minted a period, or `INCOME_STANDING`."""
        return self.incomes.get(tenant, self.incomes.get(0, INCOME_STANDING))

    @property
    def notice_ticks_max(self) -> int:
        """The longest notice that any lease has: a save may take longer than the zone's, but no longer than a term."""
        return max(self.genesis.notice_ticks, min(self.term_ticks, max(self.save_ticks, default=0)))

    def sure_end(self, lease: Lease) -> int:
        """First tick by which a lease has surely ended on every host's own clock: term x 1.01 + grace (DESIGN 3)."""
        return lease.term_end + -(-self.term_ticks // 100) + self.genesis.grace_ticks

    def sure_end_of(self, lease: Lease, host: int) -> int:
        """The same on one host's clock, where hosts renew each for itself."""
        if not lease.heard:
            return self.sure_end(lease)
        beyond = self.sure_end(lease) - lease.term_end
        return lease.heard.get(host, lease.granted + self.term_ticks) + beyond

    def appoint(self, tick: int, due: Due, lease: int) -> None:
        """Look at a lease in a later tick."""
        heapq.heappush(self.due, (tick, due, lease))

    def emit(self, host: int, op: Op, body: Any) -> None:
        """Tell a host something, in its order, once. A host whose outbox is full is not heard until its next boot."""
        session = self.hosts.get(host)
        if session is None or session.boot == 0 or session.stale or session.rules < _RULES_OF_EVENTS.get(op, 0):
            return
        self.rows.hosts.mark(host)
        if session.outbox.full:
            session.stale, session.outbox = True, Outbox()
            return
        session.outbox.put(Record(op, host, session.boot, 0, told_within(op, body)))
        self.stirred.add(host)

    def tell(self, lease: Lease, op: Op, body: Any) -> None:
        """Tell the host that ordered a lease, and each that it spans."""
        for host in dict.fromkeys((lease.origin, *lease.hosts)):
            self.emit(host, op, body)

    def refresh_threshold(self, lease: Lease) -> None:
        """Let the book know what displacing a lease costs now."""
        self.book.set_threshold(lease.number, lease.threshold_ucr)

    def enter(self, lease: Lease) -> None:
        """A lease begins."""
        self.leases[lease.number] = lease
        self.shares.begins(lease, self.tick)
        if lease.low and lease.budget_ucr < 0 and lease.pays is Pays.ACCOUNT:
            self.short_of_money.add(lease.tenant)
        for host in lease.parties:
            self.held_by.setdefault(host, set()).add(lease.number)
        self.save_ticks[lease.traits.save_ticks] += 1
        self.changed(lease)

    def strike(self, lease: Lease) -> None:
        """A lease is over."""
        del self.leases[lease.number]
        self.shares.ends(lease, self.tick)
        for host in lease.parties:
            self.held_by[host].remove(lease.number)
            if not self.held_by[host]:
                del self.held_by[host]
        self.save_ticks[lease.traits.save_ticks] -= 1
        if not self.save_ticks[lease.traits.save_ticks]:
            del self.save_ticks[lease.traits.save_ticks]
        self.rents.forget(lease.number)
        self.rows.leases.mark(lease.number)

    def take_in(self, order: Order) -> None:
        """An order waits: for a tick that clears it, or for others to leave."""
        self.orders[order.key] = order
        if order.pays is Pays.ACCOUNT:
            self.asked_ucr[order.tenant] += order.held_ucr
        if order.state is OrderState.WAITING:
            self.waiting[order.key] = order
            self.rows.orders.mark(order.key)
        else:
            self.await_exit(order, order.deadline)

    def await_exit(self, order: Order, deadline: int) -> None:
        """An order waits for others to leave, until a deadline."""
        order.state, order.deadline = OrderState.EVICTING, deadline
        self.waiting.pop(order.key, None)
        heapq.heappush(self.deadlines, (deadline, order.serial, order.key))
        self.rows.orders.mark(order.key)

    def orders_due(self) -> list[Order]:
        """The orders whose deadline has come, as they came."""
        due = {}
        while self.deadlines and self.deadlines[0][0] <= self.tick:
            deadline, serial, key = heapq.heappop(self.deadlines)
            order = self.orders.get(key)
            if order is not None and order.deadline == deadline:
                due[serial] = order
        return [order for _, order in sorted(due.items())]

    def let_go(self, order: Order) -> None:
        """An order has become a lease, or was refused."""
        del self.orders[order.key]
        if order.pays is Pays.ACCOUNT:
            self.asked_ucr[order.tenant] -= order.held_ucr
        self.waiting.pop(order.key, None)
        self.rows.orders.mark(order.key)

    def changed(self, lease: Lease) -> None:
        """A lease has another price or another measured use."""
        self.rents.count(lease)
        self.rows.leases.mark(lease.number)

    def leases_of(self, host: int) -> list[Lease]:
        """Leases that a host has to do with, in order of their numbers."""
        return [self.leases[number] for number in sorted(self.held_by.get(host, ()))]

    def running_hash(self) -> bytes:
        """16 bytes over all of it but the book's own contents, the same on every machine; costs what has changed."""
        self.rows.accounts.mark_all(self.accounts.changed)
        self.accounts.changed.clear()
        return self._summed(self.rows)

    def running_hash_anew(self) -> bytes:
        """The same from all that is there, whatever was marked."""
        return self._summed(self.all_rows())

    def all_rows(self) -> Rows:
        """Rows in which everything is marked."""
        rows = Rows()
        rows.accounts.mark_all(self.accounts.balances)
        rows.hosts.mark_all(self.hosts)
        rows.leases.mark_all(self.leases)
        rows.orders.mark_all(self.orders)
        rows.caps.mark_all(self.caps)
        rows.transfers.mark_all(self.transfers)
        rows.waiters.mark_all(self.queue.waiters)
        return rows

    def _summed(self, rows: Rows) -> bytes:
        money, rates = self.accounts, self.rates
        few = [
            *self.genesis[:_FIELDS_OF_SET_1],
            self.market,
            self.tick,
            self.tau,
            money.minted,
            money.escrow,
            money.evaporated,
            money.transferred_in,
            money.transferred_out,
            rates.epoch,
            rates.mu_ucr,
            rates.tax_permille,
            rates.subsidy_permille,
            rates.subsidy_ucr_max,
            rates.gas_ucr,
            rates.burn_permille,
            rates.mem_k_ucr,
            rates.cpu_k_ucr,
            rates.peg,
            *(self.admission or Admit(0, 0)),
            self.last_lease,
            self.last_token,
            self.last_serial,
            self.subsidy_epoch_ucr,
            *_counted(word for pair in sorted(self.reserves.items()) for word in pair),
            *_counted(word for kind, anchor in sorted(self.anchors.items()) for word in (kind, *anchor)),
            *_counted(sorted(self.operator_keys)),
            *_counted(self.book.cordoned()),
        ]
        if self.rules.accounts_pay:
            few += [self.rules.number, *_counted(word for pair in sorted(self.incomes.items()) for word in pair)]
            few += [*self.genesis[_FIELDS_OF_SET_1:], self.room, *self._promise_words()]
            few += [*self.terms.words(), *self.shares.words()]
        digest = blake2b(struct.pack(f"<{len(few)}q", *few), digest_size=HASH_BYTES)
        digest.update(rows.accounts.settled(self._account_row))
        digest.update(rows.hosts.settled(self._placed_row))
        digest.update(rows.leases.settled(self._seated_row))
        digest.update(rows.orders.settled(self._order_row))
        digest.update(rows.caps.settled(self._cap_row))
        digest.update(rows.transfers.settled(list))
        if self.rules.accounts_pay:
            digest.update(rows.waiters.settled(self._waiter_row))
        return digest.digest()

    def _promise_words(self) -> list[int]:
        if self.promise is None:
            return [0]
        key, start_tick, blocks = self.promise
        return [1, *key, start_tick, *_counted(word for block in blocks for word in block)]

    def _waiter_row(self, key: tuple[int, int]) -> list[int] | None:
        waiter = self.queue.waiters.get(key)
        if waiter is None:
            return None
        order = waiter.order
        asked = [*order.region, order.shape.packed(), order.cpu_milli, order.mem_bytes, order.limit_ucr, *order.traits]
        return [*key, waiter.since, waiter.asked, waiter.ready, waiter.woken, *asked, order.serial, *order.key]

    def _account_row(self, tenant: int) -> list[int]:
        return [tenant, self.accounts.balances[tenant]]

    def _cap_row(self, region: int) -> list[int]:
        return [region, self.caps[region]]

    def _placed_row(self, number: int) -> list[int]:
        """A host with its place and what it brought."""
        row = self._host_row(number)
        if self.hosts[number].boot:
            region, *shape = self.book.shape_of(number)
            row += [*region, *shape]
        return row

    def _seated_row(self, number: int) -> list[int] | None:
        """A lease with all that can tell what will become of it."""
        lease = self.leases.get(number)
        if lease is None:
            return None
        shape = [lease.shape.classes, lease.shape.share_permille, lease.cpu_milli, lease.mem_bytes, *lease.traits[:3]]
        terms = [lease.mu_ucr, lease.next_limit_ucr, lease.tax_permille, lease.subsidy_permille, lease.why]
        blocks = _counted(word for block in lease.blocks for word in block)
        leaving = [*_counted(sorted(lease.clear)), *(lease.challenger or OrderKey(0, 0, 0))]
        counts = [len(lease.ranges), len(lease.heard)]
        row = [*self._lease_row(number), *counts, *shape, *terms, *blocks, *leaving]
        if self.rules.accounts_pay:
            row += [lease.pays, lease.budget_ucr, lease.covered, lease.protected_until, lease.noticed]
            row += [lease.spared_ucr, lease.low, lease.low_tick, lease.since, lease.traits.time_ticks]
            row += [lease.last_top_up]
        return row

    def _order_row(self, key: OrderKey) -> list[int] | None:
        order = self.orders.get(key)
        if order is None:
            return None
        asked = [order.ref, order.tenant, *order.region, order.shape.packed(), order.cpu_milli, order.mem_bytes]
        money = [order.limit_ucr, order.endow_ucr, order.price_ucr, order.cap_ucr, *order.traits[:3]]
        clock = [order.arrived, order.serial, order.state, order.deadline, order.extended, order.rule, order.leaves]
        blocks = _counted(word for block in order.blocks for word in block)
        row = [*key, *asked, *money, *clock, *blocks, *_counted(order.incumbents)]
        if self.rules.accounts_pay:
            row += [order.pays, order.budget_ucr, order.held_ucr, order.notice_ucr, order.protected_until]
            row += [order.traits.time_ticks, order.won, order.spared_ucr, order.since]
        return row

    def hash(self) -> bytes:
        """16 bytes over all of it, the book's contents among it, the same on every machine; looks at everything."""
        digest = blake2b(digest_size=16)
        digest.update(self.book.state_hash())
        for part in (
            self._sums(),
            *map(self._host_row, sorted(self.hosts)),
            *map(self._lease_row, sorted(self.leases)),
        ):
            digest.update(struct.pack(f"<{len(part)}q", *part))
        for _, order in sorted(self.orders.items()):
            row = [
                *order.key,
                order.ref,
                order.endow_ucr,
                order.state,
                order.deadline,
                order.price_ucr,
                *order.incumbents,
            ]
            digest.update(struct.pack(f"<{len(row)}q", *row))
        return digest.digest()

    def _sums(self) -> list[int]:
        money, rates = self.accounts, self.rates
        return [
            *self.genesis[:_FIELDS_OF_SET_1],
            self.market,
            self.tick,
            self.tau,
            *(amount for pair in sorted(money.balances.items()) for amount in pair),
            money.minted,
            money.escrow,
            money.evaporated,
            money.transferred_in,
            money.transferred_out,
            rates.epoch,
            rates.mu_ucr,
            self.last_lease,
            self.last_token,
            self.last_serial,
            *sorted(self.operator_keys),
            *self._later_sums(),
        ]

    def _later_sums(self) -> list[int]:
        """What journals of the first format know nothing of: nothing while there is none of it."""
        caps = [word for pair in sorted(self.caps.items()) for word in pair]
        transfers = [word for pair in sorted(self.transfers) for word in pair]
        later = [*caps, *transfers, *([self.subsidy_epoch_ucr] if self.subsidy_epoch_ucr else [])]
        if self.rules.accounts_pay:
            later += [*self.genesis[_FIELDS_OF_SET_1:], self.room, len(self.queue.waiters), *self._promise_words()]
            later += [self.rules.number, *(word for pair in sorted(self.incomes.items()) for word in pair)]
            later += [*self.terms.words(), *self.shares.words()]
        return later

    def _host_row(self, number: int) -> list[int]:
        host = self.hosts[number]
        flags = [host.up, host.stale, host.drained]
        lost = [1] if host.lost else []
        row = [number, host.boot, *flags, host.inbox.last_seq, host.outbox.last_seq, host.outbox.acked, *lost]
        return [*row, host.rules] if self.rules.accounts_pay else row

    def _lease_row(self, number: int) -> list[int]:
        lease = self.leases[number]
        ranges = [word for held in lease.ranges for word in (held.host, held.mem_bytes, held.price_ucr, held.since)]
        fixed = [lease.token, lease.tenant, lease.origin, lease.ref, lease.limit_ucr, lease.price_ucr, lease.mass_micro]
        clock = [lease.granted, lease.period_start, lease.term_end, lease.deadline, lease.state, lease.pinned]
        money = [lease.purse_ucr, lease.escrow_ucr, lease.paid_ucr, lease.use_sum, lease.use_count, lease.challenge_ucr]
        heard = [word for pair in sorted(lease.heard.items()) for word in pair]
        return [number, *fixed, *clock, *money, *ranges, *heard]


def _counted(words: Iterable[int]) -> list[int]:
    """Words behind their number, so that what follows them cannot be taken for one of them."""
    listed = list(words)
    return [len(listed), *listed]
