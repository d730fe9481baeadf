"""Clearing: what becomes of the orders of one tick (DESIGN 6).

*Fixed prices.* In the order of arrival, each takes its cheapest free block at its cost.

*Auction.* Local orders, which look in a part of the zone, are cleared first; then the *wide* ones, which have looked
wherever they can run, against what is left. Within each of the two, orders compete where their regions overlap; each
such group is cleared by one of two rules. Which phase an order is cleared in, by which rule, and whether this tick has
time for it depends on the book, the kinds of orders and their age, never on amounts. A group that is cleared by rule 2
takes as many as half a tick has time for; those that have waited longest come first. (Rule set 1 has one phase: there
one wide order made one group of all orders of its tick.)

Rule 1, where all that can bind is how many blocks fit: every order names the same region and one same class, one block
of whole slots, and the same cpu and memory per slot, which every kind of host can give to all of its slots; nobody has
a hold in the region. Then winners and payments are exactly Vickrey's, Clarke's and Groves' (`bundling`). Where memory
or cpu that is asked for has a price, the cost of a block depends on who else is on its host, bids do not add up, and
rule 2 applies.

Rule 2, everywhere else: by value per slot, ties by age, each takes its cheapest feasible blocks, free or leased, if its
bid exceeds the cost. A winner pays its critical value: the least bid with which it would still have won. It is found by
going down the ranks without the winner: while it would win at the next rank's bid, that bidder takes its place first,
and the cost is looked at again. (`Ranks` says how most of that is found without trying it.)

Since rule set 2, a bid that may not displace, or for which something free fitted when the tick began, competes for free
blocks alone; a lost one still challenges the rent of what it could have had. Which of the two a bid is follows from the
book and from who made it, never from amounts.

Under both rules, whether a bid wins rises with the bid, and what it pays does not depend on it, so no other value than
the true one gains anything within the tick. Everything that is tried on the book is undone before the next trial.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

from tegcore.units import PRICE_UCR_MAX
from tegcore.wire.records import Reason, Region
from zone_ledger import bundling
from zone_ledger.book.base import Book
from zone_ledger.leases import Order, charge_ucr, price_ucr
from zone_ledger.placement import Placement, Scales, Trial, reservation_number
from zone_ledger.rules import RuleSet

STEPS_OF_A_BID = 20
STEPS_OF_A_PLACE = 3
STEPS_OF_A_TRIAL = 12
"""What a bid costs in a rule-2 group, in steps of about a microsecond: by itself, and for each kind that is there one
step, or so many where it looks in a part of the zone, or where the book has no quick call for it."""
COUNTED_BIDS_MIN = 8
DIFFERS_MAX = 8
"""What differs in more places from all bids in theirs is not compared: it seldom comes together again."""
PARTED_LOG2_MAX = 3
"""Blocks of up to 2^this slots are compared slot by slot."""
Since = Callable[[Order], int]
"""Since which tick an order's work waits."""


class Withheld(NamedTuple):
    """Slots that are not offered while local orders are cleared, and while wide ones are."""

    local: AbstractContextManager[object] = nullcontext()
    wide: AbstractContextManager[object] = nullcontext()


@dataclass(slots=True)
class Won:
    """An order that gets its blocks, at a rent per slot-period."""

    order: Order
    placement: Placement
    price_ucr: int
    rule: int = 0


@dataclass(slots=True)
class Lost:
    """An order that does not; `placement` is what it could have had for more, if anything fits."""

    order: Order
    reason: Reason
    missing: int
    placement: Placement | None


@dataclass(slots=True)
class Waits:
    """An order that this tick has no room to clear."""

    order: Order


Result = Won | Lost | Waits


def may_displace(book: Book, order: Order) -> bool:
    """Whether an order may take slots that are leased: a person named its bid, and nowhere else is of use to it."""
    return order.named and is_wide(book, order)


def clear_fixed(book: Book, orders: Sequence[Order], scales: Scales, rules: RuleSet) -> list[Result]:
    """Fixed prices: first come, first served. Winners' blocks stay taken in the book."""
    return [offer_fixed(book, order, scales, rules) for order in orders]


def offer_fixed(book: Book, order: Order, scales: Scales, rules: RuleSet) -> Won | Lost:
    """The cheapest free block at its cost, if there is one within what an order pays; a winner's stays taken."""
    trial = Trial(book, order)
    placement = trial.place(leased=False, scales=scales)
    any_price = rules.accounts_pay and not order.named
    most_ucr = charge_ucr(order.cap_ucr, order.shape) if any_price else order.free_bid_ucr
    if placement is None:
        taken = rules.named_displace and book.is_leased(order.region)
        return Lost(order, Reason.TAKEN if taken else Reason.NO_FIT, order.shape.slots, None)
    if most_ucr < placement.total_ucr:
        trial.undo()
        reason = Reason.CAP if any_price else Reason.PRICE
        return Lost(order, reason, max(1, _short(order, placement.total_ucr)), None)
    return Won(order, placement, price_ucr(placement.cost_ucr, order.shape))


def is_wide(book: Book, order: Order) -> bool:
    """Whether an order looks wherever its work can run."""
    return order.confined or order.region.log2 == 2 * book.zone_k


def _arrived(order: Order) -> int:
    return order.arrived


def clear_auction(
    book: Book,
    orders: Sequence[Order],
    scales: Scales,
    rules: RuleSet,
    since: Since = _arrived,
    withheld: Withheld = Withheld(),  # noqa: B008 - immutable
) -> list[Result]:
    """The auction. Winners' blocks stay taken in the book: free parts reserved, displaced leases locked.

    What the wide orders of a tick compete for, free blocks or leased ones too, and by which rule they are cleared,
    follows from the book as it was when the tick began; which blocks there are, from what local orders left of it.
    """
    if not rules.wide_last:
        return [
            result
            for group in groups(orders)
            for result in Group(book, group, scales, rules, lambda order: (order.arrived, order.key)).clear()
        ]

    def age(order: Order) -> Age:
        return since(order), order.arrived, order.key

    def span(order: Order) -> Region:
        """Memory and cpu of a host are its own, whichever of its slots ask for them."""
        hosts = book.hosts_of(Region(order.region.base, 0)) if order.cpu_milli or order.mem_bytes else ()
        return max([order.region, *map(book.region_of, hosts)], key=lambda run: run.log2)

    wide = [order for order in orders if is_wide(book, order)]
    local = [order for order in orders if not is_wide(book, order)]
    last = [Group(book, group, scales, rules, age) for group in groups(wide, span)]
    results: list[Result] = []
    with withheld.local:
        for group in groups(local, span):
            results.extend(Group(book, group, scales, rules, age).clear())
    with withheld.wide:
        for one in last:
            results.extend(one.clear())
    return results


def _region(order: Order) -> Region:
    return order.region


def groups(orders: Sequence[Order], span: Callable[[Order], Region] = _region) -> list[list[Order]]:
    """Orders whose regions overlap, directly or through others; runs are nested or apart, so the largest names each.

    Args:
        orders: Of one tick.
        span: Where an order looks, and what else of the book can keep it from what it finds.
    """
    found: list[tuple[Region, list[Order]]] = []
    runs = [(span(order), order) for order in orders]
    for run, order in sorted(runs, key=lambda one: (one[0].base, -one[0].log2, one[1].key)):
        if found and run.base < found[-1][0].end:
            found[-1][1].append(order)
        else:
            found.append((run, [order]))
    return [group for _, group in found]


def _short(order: Order, total_ucr: int) -> int:
    return price_ucr(total_ucr, order.shape) - order.limit_ucr


Age = tuple[object, ...]
"""What goes before what, where nothing else says it: the least first."""


class Group:
    """Orders that compete with each other, and how they are cleared, which is settled when this is made."""

    def __init__(
        self, book: Book, orders: Sequence[Order], scales: Scales, rules: RuleSet, age: Callable[[Order], Age]
    ) -> None:
        self._book, self._scales, self._rules = book, scales, rules
        self._exact = is_exact(book, orders, scales)
        self._late: Sequence[Order] = ()
        self._ranked: list[Bid] = []
        if self._exact:
            self._orders = sorted(orders, key=age if rules.wide_last else _by_key)
            return
        by_age = sorted(orders, key=age)
        most = _admitted(book, by_age, rules)
        self._orders, self._late = by_age[:most], by_age[most:]
        if rules.wide_last:
            self._orders.sort(key=lambda order: (-order.limit_ucr, age(order)))
        else:
            self._orders.sort(key=lambda order: (-order.limit_ucr, order.key))
        self._ranked = [Bid(book, order, scales, rules) for order in self._orders]

    def clear(self) -> list[Result]:
        """What becomes of each."""
        if self._exact:
            return _clear_exactly(self._book, self._orders, self._scales, self._rules)
        return [*(Waits(order) for order in self._late), *Ranks(self._ranked, self._rules).settle()]


def _by_key(order: Order) -> Age:
    return order.key


def _admitted(book: Book, by_age: Sequence[Order], rules: RuleSet) -> int:
    """How many orders a tick has time for: what clearing takes grows with their number, and with that of their kinds.

    For each winner the ranks are gone down until its kind's next has its place (`Ranks`), which is as far as there are
    kinds, or half of all ranks where none has a next.
    """
    most = min(len(by_age), rules.group_bids_max)
    if not rules.group_steps_max:
        return most
    kinds: set[object] = set()
    weight = 0
    for place in range(most):
        order = by_age[place]
        kinds.add((order.shape, order.region, order.cpu_milli, order.mem_bytes, order.leaves, order.cap_ucr))
        whole = order.region.log2 == 2 * book.zone_k
        weight += STEPS_OF_A_TRIAL if not _is_plain(order) else 1 if whole else STEPS_OF_A_PLACE
        if (place + 1) * STEPS_OF_A_BID + len(kinds) * weight // 2 > rules.group_steps_max:
            return place
    return most


def _is_plain(order: Order) -> bool:
    whole = len(order.shape.sizes) == 1 and not order.shape.share_permille
    return whole and not order.cpu_milli and not order.mem_bytes and not order.leaves


# --- rule 1 ---------------------------------------------------------------------------------------------------------


def is_exact(book: Book, group: Sequence[Order], scales: Scales) -> bool:
    """Whether rule 1 applies to a group."""
    first = group[0]
    region, classes, cpu_milli, mem_bytes = first.region, first.shape.classes, first.cpu_milli, first.mem_bytes
    if classes & (classes - 1):
        return False
    for order in group:
        shape = order.shape
        if len(shape.sizes) != 1 or shape.share_permille or shape.classes != classes or order.region != region:
            return False
        if order.cpu_milli != cpu_milli or order.mem_bytes != mem_bytes or order.leaves:
            return False
    if (cpu_milli and scales.cpu_k_ucr) or (mem_bytes and scales.mem_k_ucr):
        return False
    if cpu_milli or mem_bytes:
        for slots, cpu_offered, mem_offered in book.host_kinds():
            if slots * cpu_milli > cpu_offered or slots * mem_bytes >= mem_offered * 95 // 100:
                return False
    return not book.is_leased(region)


def _clear_exactly(book: Book, ranked: Sequence[Order], scales: Scales, rules: RuleSet) -> list[Result]:
    first = ranked[0]
    slot_class = first.shape.classes.bit_length() - 1
    reserve_ucr = book.class_reserve(slot_class)
    sizes = [order.shape.sizes[0] for order in ranked]
    values = [order.free_bid_ucr - (reserve_ucr << size) for order, size in zip(ranked, sizes, strict=True)]
    free = book.largest_free(first.region, slot_class)
    cleared = bundling.clear(sizes, values, free, earlier_first=rules.wide_last)
    largest_first = sorted(range(len(ranked)), key=lambda at: (-sizes[at], -values[at], at))
    largest = max((size for size, count in enumerate(free) if count), default=-1)
    results: list[Result] = []
    for at in largest_first:
        order = ranked[at]
        total_ucr = cleared.critical[at] + (reserve_ucr << sizes[at])
        if cleared.wins[at]:
            placement = Trial(book, order).place(leased=False, scales=scales)
            assert placement is not None, "what bundling found does not fit"
            rent_ucr = price_ucr(max(placement.cost_ucr, total_ucr - placement.extras_ucr), order.shape)
            results.append(Won(order, placement, min(order.limit_ucr, order.cap_ucr, rent_ucr), rule=1))
        elif sizes[at] <= largest:
            placement = Placement((), total_ucr, (), 0)
            results.append(Lost(order, Reason.PRICE, max(1, _short(order, total_ucr + 1)), placement))
        else:
            results.append(Lost(order, Reason.NO_FIT, order.shape.slots, None))
    return results


# --- rule 2 ---------------------------------------------------------------------------------------------------------


Taken = tuple[object, ...]
"""What a bid took, in parts: where two sets of bids took the same parts, they leave the book equal."""


class Bid:
    """An order at its place in the ranks, and the quickest way to try it on the book.

    An order for one block of whole slots that asks for no memory or cpu is *plain*: while its block is free it is tried
    by the book's quick calls; all else goes through a `Trial`.

    Attributes:
        leased: Whether it competes for what is leased, too.
        base, end: What it spans: no bid apart from that can change what it costs.
        kind: All that says what it finds on a book; only the limit is not in it.
        free_cost_ucr: What any free block costs it, if they all cost the same; else -1.
    """

    __slots__ = (
        "base",
        "book",
        "end",
        "free_cost_ucr",
        "free_ucr",
        "kind",
        "leased",
        "limit_ucr",
        "order",
        "plain",
        "scales",
        "spot",
        "total_ucr",
        "trial",
        "where",
    )

    def __init__(self, book: Book, order: Order, scales: Scales, rules: RuleSet) -> None:
        shape = order.shape
        self.book, self.order, self.scales = book, order, scales
        self.total_ucr = order.bid_ucr
        self.plain = _is_plain(order)
        self.free_ucr = order.free_bid_ucr
        self.limit_ucr = order.limit_ucr
        self.where = (shape.classes, order.region.base, order.region.log2)
        self.spot = reservation_number(order.serial, 0)
        self.trial: Trial | None = None
        self.leased = not rules.named_displace or (
            may_displace(book, order) and Trial(book, order).look(leased=False, scales=scales) is None
        )
        self.kind = (shape, order.region, order.cpu_milli, order.mem_bytes, order.leaves, order.cap_ucr, self.leased)
        one_class = self.plain and not self.leased and shape.classes & (shape.classes - 1) == 0
        self.free_cost_ucr = book.class_reserve(shape.classes.bit_length() - 1) << shape.sizes[0] if one_class else -1
        self.base, self.end = order.region.base, order.region.end
        if rules.named_displace:
            self._reach()

    def _reach(self) -> None:
        """Widen what it spans to all that it can take of others: memory of a host, leases that go beyond its region."""
        order, book = self.order, self.book
        leases = set(book.leases_in(order.region)) if self.leased and order.region.log2 < 2 * book.zone_k else set()
        runs = [block for lease in leases | {order.leaves} - {0} for block in book.seat_of(lease).blocks]
        if order.cpu_milli or order.mem_bytes:
            runs += [book.region_of(host) for host in book.hosts_of(Region(order.region.base, 0))]
        for run in runs:
            self.base, self.end = min(self.base, run.base), max(self.end, run.end)

    def cost_ucr(self) -> int:
        """What its blocks would cost now, with memory and cpu; -1 where they do not fit."""
        if self.plain and self.leased:
            return self.book.price(self.order.shape.sizes[0], *self.where)
        if self.free_cost_ucr >= 0:
            found = self.book.grant(self.spot, self.order.shape.sizes[0], PRICE_UCR_MAX, -1, *self.where)
            if found >= 0:
                self.book.release(self.spot)
                return self.free_cost_ucr
        placement = Trial(self.book, self.order).look(leased=self.leased, scales=self.scales)
        return -1 if placement is None else placement.total_ucr

    def take(self) -> Taken | None:
        """Take its blocks if it bids more than they cost; what that was."""
        if self.plain:
            size = self.order.shape.sizes[0]
            base = self.book.grant(self.spot, size, self.free_ucr - 1, -1, *self.where)
            if base >= 0:
                return tuple(range(base, base + (1 << size))) if size <= PARTED_LOG2_MAX else ((base, size),)
            if self.leased and not 0 <= self.book.price(size, *self.where) < self.total_ucr:
                return None
        trial = Trial(self.book, self.order)
        placement = trial.place(leased=self.leased, scales=self.scales)
        if placement is None:
            return None
        if not exceeds(self.order, placement):
            trial.undo()
            return None
        self.trial = trial
        return _parts(self.order, placement)

    def give_back(self) -> None:
        """Undo `take`."""
        if self.trial is None:
            self.book.release(self.spot)
        else:
            self.trial.undo()
            self.trial = None


class Ranks:
    """The bids of a group by rank, and what each wins and pays.

    A winner's critical value is what going down the ranks without it comes to. Two things make that short:

    - Where there is room for all that can come in its way, it pays what its block costs.
    - What follows from a rank on depends on the kind of who is left out and on what of the book is not as it is with
      all bids in their places. Winners are left out from the last to the first, and what was found is kept: as a rule
      the next of its kind takes the place of who is left out, and from there on all is as without that one.
    """

    def __init__(self, ranked: Sequence[Bid], rules: RuleSet) -> None:
        self._ranked = ranked
        self._shortened = rules.wide_last
        self._taken: list[Taken | None] = [None] * len(ranked)
        self._matter: dict[object, list[int]] = {}
        self._known: dict[object, dict[object, int]] = {}
        self._ample: dict[object, bool] = {}

    def settle(self) -> list[Won | Lost]:
        """What becomes of each, by rank; winners' blocks stay taken in the book."""
        if self._shortened:
            self._look_for_room()
        placements = [self._settle_one(place, bid) for place, bid in enumerate(self._ranked)]
        critical_ucr = [0] * len(placements)
        for place in range(len(placements) - 1, -1, -1):
            placement = placements[place]
            if isinstance(placement, Placement):
                self._ranked[place].give_back()
                critical_ucr[place] = self._critical_ucr(place, placement.total_ucr)
        results: list[Won | Lost] = []
        for place, found in enumerate(placements):
            if isinstance(found, Lost):
                results.append(found)
                continue
            bid = self._ranked[place]
            assert bid.take() == self._taken[place], "the book did not come back as it was"
            order, rent_ucr = bid.order, max(found.cost_ucr, critical_ucr[place] - found.extras_ucr)
            most_ucr = order.limit_ucr if found.displaced else min(order.limit_ucr, order.cap_ucr)
            results.append(Won(order, found, min(most_ucr, price_ucr(rent_ucr, order.shape)), rule=2))
        return results

    def _settle_one(self, place: int, bid: Bid) -> Placement | Lost:
        """What a bid takes at its rank, or why it takes nothing."""
        order, trial = bid.order, Trial(bid.book, bid.order)
        placement = trial.look(leased=bid.leased, scales=bid.scales)
        if placement is None and not bid.leased:
            rival = trial.look(leased=True, scales=bid.scales)
            taken = bid.book.is_leased(order.region)
            return Lost(order, Reason.TAKEN if taken else Reason.NO_FIT, order.shape.slots, rival)
        if placement is None:
            return Lost(order, Reason.NO_FIT, order.shape.slots, None)
        if not exceeds(order, placement):
            reason = Reason.PRICE if order.bid_ucr <= placement.total_ucr else Reason.CAP
            return Lost(order, reason, max(1, _short(order, placement.total_ucr + 1)), placement)
        self._taken[place] = bid.take()
        assert self._taken[place] is not None, "what was looked at is not there"
        return placement

    def _look_for_room(self) -> None:
        """Which kinds find a free block whatever their rivals take: there are more than these can spoil.

        To count free blocks costs as much as there are in the region: that pays where it spares several bids.
        """
        counts = Counter(bid.kind for bid in self._ranked)
        free_in: dict[object, list[int]] = {}
        for bid in self._ranked:
            if bid.kind in self._ample:
                continue
            self._ample[bid.kind] = False
            if bid.free_cost_ucr < 0 or counts[bid.kind] < COUNTED_BIDS_MIN:
                continue
            region, size = bid.order.region, bid.order.shape.sizes[0]
            slot_class = bid.order.shape.classes.bit_length() - 1
            free = free_in.get((region, slot_class))
            if free is None:
                free = free_in[region, slot_class] = bid.book.largest_free(region, slot_class)
            blocks = sum(count << at - size for at, count in enumerate(free) if at >= size)
            spoilt = sum(_spoilt(self._ranked[place].order, size) for place in self._that_matter(bid))
            self._ample[bid.kind] = spoilt <= blocks

    def _that_matter(self, bid: Bid) -> list[int]:
        """Ranks of bids that can change what a bid costs: those that span a part of what it spans, or of theirs.

        Going up from the last rank, what matters so far is always within one run; with more than matters, nothing
        changes.
        """
        name = (bid.base, bid.end)
        found = self._matter.get(name)
        if found is None:
            base, end = name
            found = []
            for place in range(len(self._ranked) - 1, -1, -1):
                rival = self._ranked[place]
                if rival.base < end and base < rival.end:
                    found.append(place)
                    base, end = min(base, rival.base), max(end, rival.end)
            found.reverse()
            self._matter[name] = found
        return found

    def _critical_ucr(self, left_out: int, cost_ucr: int) -> int:
        """The least bid for the period with which an order would still win, from its own rank down."""
        bid = self._ranked[left_out]
        if self._shortened and self._ample[bid.kind]:
            return cost_ucr
        shape = bid.order.shape
        slots = 0 if shape.share_permille else shape.slots
        matter = self._that_matter(bid)
        known: dict[object, int] = self._known.setdefault(bid.kind, {})
        passed: list[object] = []
        placed: list[Bid] = []
        failed: set[object] = set()
        differs: dict[object, int] = {}
        _count(differs, self._taken[left_out], -1)
        for at in range(bisect_right(matter, left_out), len(matter)):
            place = matter[at]
            rival = self._ranked[place]
            rival_ucr = rival.limit_ucr * slots if slots else charge_ucr(rival.limit_ucr, shape)
            if cost_ucr >= rival_ucr:
                break
            if self._shortened and len(differs) <= DIFFERS_MAX:
                name: object = (place, frozenset(differs.items()))
                if name in known:
                    cost_ucr = known[name]
                    break
                passed.append(name)
            taken = None if rival.kind in failed else rival.take()
            if self._shortened and taken != self._taken[place]:
                _count(differs, taken, 1)
                _count(differs, self._taken[place], -1)
            if taken is None:
                if self._shortened and len(rival.order.shape.sizes) == 1:
                    failed.add(rival.kind)
                continue
            placed.append(rival)
            mine_ucr = bid.cost_ucr()
            if mine_ucr < 0 or mine_ucr >= rival_ucr:
                cost_ucr = rival_ucr
                break
            cost_ucr = mine_ucr
        for rival in reversed(placed):
            rival.give_back()
        for name in passed:
            known[name] = cost_ucr
        return cost_ucr


def _count(differs: dict[object, int], taken: Taken | None, by: int) -> None:
    for part in taken or ():
        count = differs.get(part, 0) + by
        if count:
            differs[part] = count
        else:
            del differs[part]


def _spoilt(order: Order, size: int) -> int:
    """How many free blocks of a size an order can spoil at most."""
    return sum(1 << max(0, one - size) for one in order.shape.sizes)


def _parts(order: Order, placement: Placement) -> Taken:
    """What a placement took of the book, slot by slot where that is few."""
    needs = (order.cpu_milli, order.mem_bytes)
    if placement.displaced or order.shape.share_permille or max(order.shape.sizes) > PARTED_LOG2_MAX:
        return ((placement.blocks, placement.displaced, order.shape.share_permille, *needs),)
    slots = [slot for block in placement.blocks for slot in range(block.base, block.end)]
    return tuple([(slot, *needs) for slot in slots] if any(needs) else slots)


def exceeds(order: Order, placement: Placement) -> bool:
    """Whether an order bids more than a placement costs; for what is free the price cap bounds what it may bid."""
    return (order.bid_ucr if placement.displaced else order.free_bid_ucr) > placement.total_ucr
