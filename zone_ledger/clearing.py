"""Clearing: what becomes of the orders of one tick (DESIGN 6).

*Fixed prices.* In the order of arrival, each takes its cheapest free block at its cost.

*Auction.* Orders compete where their regions overlap; each such group is cleared by one of two rules. Which one depends
on the book and the kinds of its orders, never on amounts.

Rule 1, where all that can bind is how many blocks fit: every order names the same region and one same class, one block
of whole slots, and the same cpu and memory per slot, which every kind of host can give to all of its slots; nobody has
a hold in the region. Then winners and payments are exactly Vickrey's, Clarke's and Groves' (`bundling`). Where memory
or cpu that is asked for has a price, the cost of a block depends on who else is on its host, bids do not add up, and
rule 2 applies.

Rule 2, everywhere else: by value per slot, ties by key, each takes its cheapest feasible blocks, free or leased, if its
bid exceeds the cost. A winner pays its critical value: the least bid with which it would still have won. It is found by
going down the ranks without the winner: while it would win at the next rank's bid, that bidder takes its place first,
and the cost is looked at again.

Since rule set 2, a bid that may not displace, or for which something free fitted when the tick began, competes for free
blocks alone; a lost one still challenges the rent of what it could have had. Which of the two a bid is follows from the
book and from who made it, never from amounts.

Under both rules, whether a bid wins rises with the bid, and what it pays does not depend on it, so no other value than
the true one gains anything within the tick. Everything that is tried on the book is undone before the next trial.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tegcore.wire.records import Reason, Region
from zone_ledger import bundling
from zone_ledger.book.base import Book
from zone_ledger.leases import Order, charge_ucr, price_ucr
from zone_ledger.placement import Placement, Scales, Trial, reservation_number
from zone_ledger.rules import RuleSet

GROUP_BIDS_MAX = 256
"""A rule-2 group takes this many bids a tick; more wait."""


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
    return order.named and (order.confined or order.region.log2 == 2 * book.zone_k)


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


def clear_auction(book: Book, orders: Sequence[Order], scales: Scales, rules: RuleSet) -> list[Result]:
    """The auction. Winners' blocks stay taken in the book: free parts reserved, displaced leases locked."""
    results: list[Result] = []
    for group in groups(orders):
        if is_exact(book, group, scales):
            results.extend(_clear_exactly(book, group, scales))
            continue
        admitted = sorted(group, key=lambda order: (order.arrived, order.key)) if len(group) > GROUP_BIDS_MAX else group
        results.extend(Waits(order) for order in admitted[GROUP_BIDS_MAX:])
        ranked = [Bid(book, order, scales, rules) for order in sorted(admitted[:GROUP_BIDS_MAX], key=_rank)]
        for place, bid in enumerate(ranked):
            results.append(_settle_one(bid, ranked, place))
    return results


def groups(orders: Sequence[Order]) -> list[list[Order]]:
    """Orders whose regions overlap, directly or through others; runs are nested or apart, so the largest names each."""
    found: list[tuple[Region, list[Order]]] = []
    for order in sorted(orders, key=lambda order: (order.region.base, -order.region.log2, order.key)):
        if found and order.region.base < found[-1][0].end:
            found[-1][1].append(order)
        else:
            found.append((order.region, [order]))
    return [group for _, group in found]


def _rank(order: Order) -> tuple[int, object]:
    return -order.limit_ucr, order.key


def _short(order: Order, total_ucr: int) -> int:
    return price_ucr(total_ucr, order.shape) - order.limit_ucr


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


def _clear_exactly(book: Book, group: Sequence[Order], scales: Scales) -> list[Result]:
    first = group[0]
    slot_class = first.shape.classes.bit_length() - 1
    reserve_ucr = book.class_reserve(slot_class)
    ranked = sorted(group, key=lambda order: order.key)
    sizes = [order.shape.sizes[0] for order in ranked]
    values = [order.free_bid_ucr - (reserve_ucr << size) for order, size in zip(ranked, sizes, strict=True)]
    free = book.largest_free(first.region, slot_class)
    cleared = bundling.clear(sizes, values, free)
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


class Bid:
    """An order at its place in the ranks, and the quickest way to try it on the book.

    An order for one block of whole slots that asks for no memory or cpu is *plain*: while its block is free it is tried
    by the book's quick calls; all else goes through a `Trial`.

    Attributes:
        leased: Whether it competes for what is leased, too.
        base, end: What it spans: no bid apart from that can change what it costs.
    """

    __slots__ = (
        "base",
        "book",
        "end",
        "free_ucr",
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
        one = len(shape.sizes) == 1 and not shape.share_permille
        self.plain = one and not order.cpu_milli and not order.mem_bytes and not order.leaves
        self.free_ucr = order.free_bid_ucr
        self.limit_ucr = order.limit_ucr
        self.where = (shape.classes, order.region.base, order.region.log2)
        self.spot = reservation_number(order.serial, 0)
        self.trial: Trial | None = None
        self.leased = not rules.named_displace or (
            may_displace(book, order) and Trial(book, order).look(leased=False, scales=scales) is None
        )
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
        placement = Trial(self.book, self.order).look(leased=self.leased, scales=self.scales)
        return -1 if placement is None else placement.total_ucr

    def take(self) -> bool:
        """Take its blocks if it bids more than they cost."""
        if self.plain:
            size = self.order.shape.sizes[0]
            if self.book.grant(self.spot, size, self.free_ucr - 1, -1, *self.where) >= 0:
                return True
            if self.leased and not 0 <= self.book.price(size, *self.where) < self.total_ucr:
                return False
        trial = Trial(self.book, self.order)
        placement = trial.place(leased=self.leased, scales=self.scales)
        if placement is None:
            return False
        if not exceeds(self.order, placement):
            trial.undo()
            return False
        self.trial = trial
        return True

    def give_back(self) -> None:
        """Undo `take`."""
        if self.trial is None:
            self.book.release(self.spot)
        else:
            self.trial.undo()
            self.trial = None


def exceeds(order: Order, placement: Placement) -> bool:
    """Whether an order bids more than a placement costs; for what is free the price cap bounds what it may bid."""
    return (order.bid_ucr if placement.displaced else order.free_bid_ucr) > placement.total_ucr


def _settle_one(bid: Bid, ranked: Sequence[Bid], place: int) -> Won | Lost:
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
    critical_ucr = _critical_ucr(bid, ranked, place + 1, placement.total_ucr)
    rent_ucr = max(placement.cost_ucr, critical_ucr - placement.extras_ucr)
    again = trial.place(leased=bid.leased, scales=bid.scales)
    assert again == placement, "the book did not come back as it was"
    most_ucr = order.limit_ucr if placement.displaced else min(order.limit_ucr, order.cap_ucr)
    return Won(order, placement, min(most_ucr, price_ucr(rent_ucr, order.shape)), rule=2)


def _that_matter(bid: Bid, ranked: Sequence[Bid], start: int) -> list[Bid]:
    """Rivals from a rank down that can change what a bid costs: those that span a part of what it spans, or of theirs.

    Going up from the last rank, what matters so far is always within one run; with more than matters, nothing changes.
    """
    base, end = bid.base, bid.end
    found: list[Bid] = []
    for place in range(len(ranked) - 1, start - 1, -1):
        rival = ranked[place]
        if rival.base < end and base < rival.end:
            found.append(rival)
            base, end = min(base, rival.base), max(end, rival.end)
    found.reverse()
    return found


def _critical_ucr(bid: Bid, ranked: Sequence[Bid], start: int, cost_ucr: int) -> int:
    """The least bid for the period with which an order would still win, from its own rank down."""
    shape = bid.order.shape
    slots = 0 if shape.share_permille else shape.slots
    placed: list[Bid] = []
    for rival in _that_matter(bid, ranked, start):
        rival_ucr = rival.limit_ucr * slots if slots else charge_ucr(rival.limit_ucr, shape)
        if cost_ucr >= rival_ucr:
            break
        if not rival.take():
            continue
        placed.append(rival)
        mine_ucr = bid.cost_ucr()
        if mine_ucr < 0 or mine_ucr >= rival_ucr:
            cost_ucr = rival_ucr
            break
        cost_ucr = mine_ucr
    for rival in reversed(placed):
        rival.give_back()
    return cost_ucr
