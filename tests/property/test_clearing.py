"""The auction within a tick: exact payments, no gain from another value, nothing that hangs on the order of arrival."""

from collections.abc import Sequence
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from tegcore.units import GIB
from tegcore.wire.records import OrderFlag, Region, Shape, Traits
from zone_ledger import bundling
from zone_ledger.book.base import HostShape, Seat
from zone_ledger.book.fast import FastBook
from zone_ledger.book.reference import ReferenceBook
from zone_ledger.clearing import Bid, Lost, Ranks, Result, Waits, Won, clear_auction, groups, is_exact, is_wide
from zone_ledger.leases import Order, OrderKey, charge_ucr
from zone_ledger.placement import Scales, Trial, reservation_number
from zone_ledger.rules import LATEST, RULE_SETS, RuleSet, rule_set

ZONE_K = 2
RESERVE_UCR = 100
NO_SCALES = Scales(0, 0)
ZONE = Region(0, 2 * ZONE_K)
nested = st.sampled_from([ZONE, ZONE, Region(0, 3), Region(0, 2), Region(8, 3), Region(4, 2)])
values = st.integers(50, 600)


# --- rule 1 beside brute force --------------------------------------------------------------------------------------


def best_total(bids: Sequence[tuple[int, int]], free: Sequence[int]) -> int:
    """The greatest sum of values over all sets of bids that fit."""
    best = 0
    for chosen in product((0, 1), repeat=len(bids)):
        picked = [bid for bid, taken in zip(bids, chosen, strict=True) if taken]
        if fits([size for size, _ in picked], free):
            best = max(best, sum(value for _, value in picked))
    return best


def fits(sizes: Sequence[int], free: Sequence[int]) -> bool:
    room = 0
    for size in reversed(range(len(free))):
        room = 2 * room + free[size] - sum(1 for wanted in sizes if wanted == size)
        if room < 0:
            return False
    return True


small_bids = st.lists(st.tuples(st.integers(0, 3), st.integers(-3, 12)), min_size=1, max_size=7)
small_free = st.lists(st.integers(0, 3), min_size=4, max_size=4)


@settings(max_examples=400, deadline=None)
@given(small_bids, small_free)
def test_bundling_finds_the_best_set_and_what_each_costs_the_others(bids, free) -> None:
    cleared = bundling.clear([size for size, _ in bids], [value for _, value in bids], free)
    won = [bid for bid, wins in zip(bids, cleared.wins, strict=True) if wins]
    assert fits([size for size, _ in won], free)
    optimum = best_total([bid for bid in bids if bid[1] > 0], free)
    assert sum(value for _, value in won) == optimum
    for place, (size, value) in enumerate(bids):
        others = [bid for at, bid in enumerate(bids) if at != place and bid[1] > 0]
        if cleared.wins[place]:
            assert cleared.critical[place] == best_total(others, free) - (optimum - value)
            assert 0 <= cleared.critical[place] <= value
        elif fits([size], free):
            assert value <= max(0, cleared.critical[place])


def test_every_small_case() -> None:
    """All sets of up to four bids of two sizes and three values, on all free lists up to two blocks of each size."""
    kinds = list(product((0, 1), (1, 2, 4)))
    for count in range(1, 5):
        for bids in product(kinds, repeat=count):
            if list(bids) != sorted(bids):
                continue
            for free in product((0, 1, 2), (0, 1, 2)):
                cleared = bundling.clear([size for size, _ in bids], [value for _, value in bids], list(free))
                optimum = best_total(bids, free)
                won = sum(value for (_, value), wins in zip(bids, cleared.wins, strict=True) if wins)
                assert won == optimum, (bids, free)
                for at, (_, value) in enumerate(bids):
                    if cleared.wins[at]:
                        rest = best_total(bids[:at] + bids[at + 1 :], free)
                        assert cleared.critical[at] == rest - (optimum - value), (bids, free)


# --- both rules on a book -------------------------------------------------------------------------------------------


def order(
    number: int, region: Region, shape: Shape, limit_ucr: int, flags: OrderFlag = OrderFlag.NAMED, mem_bytes: int = 0
) -> Order:
    key = OrderKey(number, 1, 1)
    return Order(key, number, 1, region, shape, 0, mem_bytes, limit_ucr, 0, Traits(flags), 1, number)


def book_with(leases: Sequence[tuple[int, int, int]], make=FastBook):
    """A zone of two hosts of eight slots; leases are (size, slot, threshold) where they fit."""
    book = make(ZONE_K)
    book.set_reserve(0, RESERVE_UCR)
    for host in (1, 2):
        book.add_host(host, HostShape(Region(8 * host - 8, 3), 0, 64_000, 64 * GIB))
    for number, (size, slot, threshold) in enumerate(leases, 1):
        block = Region(slot >> size << size, size)
        if not book.leases_in(block):
            book.seat(number, Seat((block,), 0, 0, 0, threshold))
    return book


shapes = st.sampled_from([Shape((0,)), Shape((1,)), Shape((2,)), Shape((3,)), Shape((1, 0)), Shape((0,), 1, 300)])
named = OrderFlag.NAMED
flags = st.sampled_from([OrderFlag.NONE, named, named, named | OrderFlag.CONFINED])
memory = st.sampled_from([0, 0, 2 * GIB, 8 * GIB, 20 * GIB])
bids = st.tuples(nested, shapes, values, flags, memory).filter(lambda bid: bid[1].sizes[0] <= bid[0].log2)
plain_bids = st.tuples(st.just(ZONE), st.sampled_from([Shape((size,)) for size in range(4)]), values, flags)
leased = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 15), st.integers(0, 4_000)), max_size=6)
rule_sets = st.sampled_from([rules for _, rules in sorted(RULE_SETS.items())])
auctions = st.one_of(
    st.tuples(leased, st.lists(bids, min_size=1, max_size=7), rule_sets),
    st.tuples(st.just([]), st.lists(plain_bids, min_size=1, max_size=7), rule_sets),
)
NOW = rule_set(LATEST)
PRICED = Scales(400, 0, whole_cost=True)
"""Memory at a price of the order of a reserve: 20 of 60.8 GiB cost some 160 ucr."""
scales_now = st.sampled_from([NO_SCALES, PRICED])
auctions_now = auctions.filter(lambda auction: auction[2] == NOW)
"""Rule set 1 forgets rivals of other regions where a lease or memory joins them: it stays as journals have it."""


def orders_of(drawn) -> list[Order]:
    return [order(number, *bid) for number, bid in enumerate(drawn, 1)]


def held(leases, asked: Sequence[Order], rules: RuleSet = NOW, scales: Scales = NO_SCALES) -> dict[int, Result]:
    results = clear_auction(book_with(leases), asked, scales, rules)
    return {result.order.ref: result for result in results}


def paid(result: Won) -> int:
    """What a winner pays a period, for its slots and its memory."""
    return charge_ucr(result.price_ucr, result.order.shape) + result.placement.extras_ucr


def with_limit(asked: Sequence[Order], number: int, limit_ucr: int) -> list[Order]:
    changed = list(asked)
    old = asked[number - 1]
    changed[number - 1] = order(number, old.region, old.shape, limit_ucr, old.traits.flags, old.mem_bytes)
    return changed


@settings(max_examples=150, deadline=None)
@given(auctions_now, scales_now)
def test_a_winner_pays_the_least_limit_with_which_it_would_have_won(auction, scales) -> None:
    leases, drawn, rules = auction
    asked = orders_of(drawn)
    for number, result in held(leases, asked, rules, scales).items():
        if not isinstance(result, Won):
            continue
        low, high = 0, result.order.limit_ucr
        while high - low > 1:
            middle = (low + high) // 2
            won = isinstance(held(leases, with_limit(asked, number, middle), rules, scales)[number], Won)
            low, high = (low, middle) if won else (middle, high)
        shape = result.order.shape
        least, rounding = charge_ucr(high, shape), charge_ucr(1, shape)
        assert charge_ucr(high - 1, shape) <= paid(result) <= least + rounding, "the critical limit, rounded up"


@settings(max_examples=150, deadline=None)
@given(auctions_now, scales_now, st.data())
def test_no_other_value_gains_anything(auction, scales, data) -> None:
    leases, drawn, rules = auction
    asked = orders_of(drawn)
    number = data.draw(st.integers(1, len(asked)))
    worth_ucr = asked[number - 1].limit_ucr

    def gain(result: Result) -> int:
        """In what is paid, memory among it, where prices are rounded up."""
        return charge_ucr(worth_ucr, result.order.shape) - paid(result) if isinstance(result, Won) else 0

    rounded = charge_ucr(1, asked[number - 1].shape) - 1 if scales == PRICED else 0
    rounded += bool(asked[number - 1].shape.share_permille)
    honest = gain(held(leases, asked, rules, scales)[number])
    assert honest >= -rounded
    for said in (0, worth_ucr // 2, worth_ucr - 1, worth_ucr + 1, 2 * worth_ucr, 10_000, data.draw(values)):
        assert gain(held(leases, with_limit(asked, number, said), rules, scales)[number]) <= honest + rounded


@settings(max_examples=150, deadline=None)
@given(auctions, st.randoms(use_true_random=False))
def test_the_order_of_arrival_within_a_tick_changes_nothing(auction, shuffler) -> None:
    leases, drawn, rules = auction
    asked = orders_of(drawn)
    before = {ref: outcome(result) for ref, result in held(leases, asked, rules).items()}
    shuffler.shuffle(asked)
    results = clear_auction(book_with(leases), asked, NO_SCALES, rules)
    assert {result.order.ref: outcome(result) for result in results} == before


def outcome(result: Result) -> object:
    if isinstance(result, Won):
        return result.placement, result.price_ucr, result.rule
    return result.reason, result.missing if isinstance(result, Lost) else 0


@settings(max_examples=150, deadline=None)
@given(auctions)
def test_what_is_granted_is_disjoint_paid_for_and_whole(auction) -> None:
    """No winner pays less than the cost or more than its bid; who is displaced is displaced whole and by one bid."""
    leases, drawn, rules = auction
    book = book_with(leases)
    seats = {number: book.seat_of(number) for number in book.leases_in(ZONE)}
    granted: set[int] = set()
    gone: set[int] = set()
    for result in clear_auction(book, orders_of(drawn), NO_SCALES, rules):
        if not isinstance(result, Won):
            continue
        shape, placement = result.order.shape, result.placement
        charge = -(-result.price_ucr * shape.share_permille // 1000) if shape.share_permille else result.price_ucr
        charge *= 1 if shape.share_permille else shape.slots
        assert charge <= result.order.bid_ucr
        assert placement.cost_ucr <= charge
        thresholds = sum(seats[number].threshold_ucr or 0 for number in placement.displaced)
        assert placement.cost_ucr >= thresholds, "a lease in the way is paid for whole"
        slots = {slot for block in placement.blocks for slot in range(block.base, block.end)}
        assert shape.share_permille or not granted & slots
        granted |= slots if not shape.share_permille else set()
        touched = {number for number, seat in seats.items() for b in seat.blocks if slots & set(range(b.base, b.end))}
        assert touched == set(placement.displaced)
        assert not gone & touched
        gone |= touched
    book.check()


@settings(max_examples=80, deadline=None)
@given(auctions, scales_now)
def test_both_books_clear_alike(auction, scales) -> None:
    leases, drawn, rules = auction
    answers = []
    for make in (FastBook, ReferenceBook):
        results = clear_auction(book_with(leases, make), orders_of(drawn), scales, rules)
        answers.append([(result.order.ref, outcome(result)) for result in results])
    assert answers[0] == answers[1]


@settings(max_examples=100, deadline=None)
@given(auctions)
def test_the_rule_does_not_hang_on_amounts(auction) -> None:
    leases, drawn, _ = auction
    for group in groups(orders_of(drawn)):
        other = [order(o.ref, o.region, o.shape, 2 * o.limit_ucr + 7, o.traits.flags, o.mem_bytes) for o in group]
        book = book_with(leases)
        assert is_exact(book, group, NO_SCALES) == is_exact(book, other, NO_SCALES)
        if is_exact(book, group, NO_SCALES):
            assert not book.leases_in(group[0].region)


@given(st.integers(1, 5), st.integers(200, 500))
@settings(max_examples=20, deadline=None)
def test_priced_memory_is_never_cleared_by_rule_1(count, limit_ucr) -> None:
    asked = [order(number, ZONE, Shape((0,)), limit_ucr, mem_bytes=GIB) for number in range(1, count + 1)]
    assert is_exact(book_with([]), asked, NO_SCALES)
    assert not is_exact(book_with([]), asked, Scales(1_000, 0))
    book = book_with([])
    won = [result for result in clear_auction(book, asked, Scales(1_000, 0), NOW) if isinstance(result, Won)]
    for result in won:
        total = result.price_ucr + result.placement.extras_ucr
        assert total <= result.order.bid_ucr + 1
        assert book.seat_of(reservation_number(result.order.serial, 0)).mem_bytes == GIB


def test_who_takes_what_a_rival_of_another_region_needs_too_pays_for_it() -> None:
    """A lease over both regions, or memory of the host of both, can be had by one of them alone."""
    confined, left, right = named | OrderFlag.CONFINED, Region(0, 2), Region(4, 2)
    between = order(9, ZONE, Shape((0,), 1, 300), 900)
    apart = order(9, Region(0, 3), Shape((0,), 1, 300), 900)
    by_lease = [order(1, left, Shape((0,)), 600, confined), order(2, right, Shape((0,)), 500, confined), between]
    assert held([(3, 0, 0)], by_lease)[1].price_ucr == 500
    by_memory = [
        order(1, left, Shape((0,)), 600, named, 40 * GIB),
        order(2, right, Shape((0,)), 500, named, 40 * GIB),
        apart,
    ]
    assert held([], by_memory)[1].price_ucr == 500


def test_what_a_bidder_could_have_had_is_told() -> None:
    asked = [order(1, ZONE, Shape((4,)), 500), order(2, ZONE, Shape((4,)), 300), order(3, ZONE, Shape((4,)), 90)]
    results = held([], asked)
    assert isinstance(results[1], Won)
    assert results[1].price_ucr == 300
    assert isinstance(results[2], Lost)
    assert results[2].missing == 201
    assert results[3].missing == 411


def test_no_bidder_is_asked_to_fit_where_nothing_is() -> None:
    everything = [(3, 0, 1_000), (3, 8, 1_000)]
    results = held(everything, [order(1, ZONE, Shape((0,)), 500)])
    assert isinstance(results[1], Lost)


@settings(max_examples=150, deadline=None)
@given(auctions.filter(lambda auction: auction[2].named_displace))
def test_only_a_named_bid_displaces_and_only_where_nothing_free_fits(auction) -> None:
    leases, drawn, rules = auction
    before = book_with(leases)
    for result in clear_auction(book_with(leases), orders_of(drawn), NO_SCALES, rules):
        if isinstance(result, Won) and result.placement.displaced:
            order = result.order
            assert order.named
            assert order.confined or order.region == ZONE
            assert Trial(before, order).look(leased=False, scales=NO_SCALES) is None


@settings(max_examples=150, deadline=None)
@given(leased, bids, st.lists(bids, max_size=4), st.booleans())
def test_what_is_chosen_is_the_cheapest_with_its_memory(leases, asked, others, may_displace) -> None:
    """By looking at each block: for orders of one block, memory that others hold there being dear."""
    book = book_with(leases)
    for other in orders_of(others):
        Trial(book, order(other.ref + 50, other.region, other.shape, 0, mem_bytes=other.mem_bytes)).place(
            leased=False, scales=NO_SCALES
        )
    wanted = order(1, *asked)
    if len(wanted.shape.sizes) > 1:
        return
    size = wanted.shape.sizes[0]
    totals = []
    for base in range(wanted.region.base, wanted.region.end, 1 << size):
        alone = order(1, Region(base, size), *asked[1:])
        found = Trial(book, alone).look(leased=may_displace, scales=PRICED)
        totals += [(found.total_ucr, base)] if found else []
    chosen = Trial(book, wanted).look(leased=may_displace, scales=PRICED)
    assert (chosen.total_ucr if chosen else None) == min((total for total, _ in totals), default=None)


# --- local orders first, then wide ones -----------------------------------------------------------------------------


def apart(asked: Sequence[Order]) -> tuple[list[Order], list[Order]]:
    book = book_with([])
    return [one for one in asked if not is_wide(book, one)], [one for one in asked if is_wide(book, one)]


@settings(max_examples=150, deadline=None)
@given(auctions_now)
def test_wide_orders_change_nothing_for_local_ones(auction) -> None:
    leases, drawn, _ = auction
    asked = orders_of(drawn)
    local, _ = apart(asked)
    alone = {ref: outcome(result) for ref, result in held(leases, local).items()}
    together = {ref: outcome(result) for ref, result in held(leases, asked).items()}
    assert {ref: together[ref] for ref in alone} == alone


local_bids = st.tuples(
    st.sampled_from([Region(0, 3), Region(0, 2), Region(8, 3)]), st.sampled_from([Shape((0,)), Shape((1,))]), values
)


@settings(max_examples=150, deadline=None)
@given(st.lists(local_bids, max_size=5), st.lists(plain_bids, min_size=1, max_size=6))
def test_wide_orders_get_the_best_set_that_local_ones_left_room_for(local_drawn, wide_drawn) -> None:
    """By brute force over all sets, with what each costs the others (an empty zone: rule 1)."""
    wide = [order(number, *bid) for number, bid in enumerate(wide_drawn, 1)]
    local = [order(100 + number, *bid) for number, bid in enumerate(local_drawn)]
    wide = [one for one in wide if one.region == ZONE and not one.confined]
    book = book_with([])
    clear_auction(book, local, NO_SCALES, NOW)
    free = book.largest_free(ZONE, 0)
    results = held([], [*local, *wide])
    worth = {one.ref: one.bid_ucr - RESERVE_UCR * one.shape.slots for one in wide}
    bids = {ref: (one.shape.sizes[0], worth[ref]) for one in wide for ref in [one.ref] if worth[one.ref] > 0}
    optimum = best_total(list(bids.values()), free)
    winners = [one for one in wide if isinstance(results[one.ref], Won)]
    assert sum(worth[one.ref] for one in winners) == optimum
    for one in winners:
        others = best_total([bid for ref, bid in bids.items() if ref != one.ref], free) - (optimum - worth[one.ref])
        price = -(-others // one.shape.slots) + RESERVE_UCR
        assert results[one.ref].price_ucr == price


@settings(max_examples=100, deadline=None)
@given(auctions_now)
def test_a_winner_still_wins_a_little_above_its_price_and_loses_a_little_below(auction) -> None:
    leases, drawn, rules = auction
    asked = orders_of(drawn)
    for number, result in held(leases, asked).items():
        if isinstance(result, Won) and not result.order.shape.share_permille:
            price = result.price_ucr
            assert isinstance(held(leases, with_limit(asked, number, price + 1), rules)[number], Won)
            assert not isinstance(held(leases, with_limit(asked, number, price - 1), rules)[number], Won)


@settings(max_examples=100, deadline=None)
@given(auctions_now, st.randoms(use_true_random=False), st.integers(1, 3))
def test_what_a_tick_has_no_time_for_is_what_has_waited_least_whatever_it_bids(auction, drawn_at, most) -> None:
    leases, drawn, _ = auction
    asked = orders_of(drawn)
    ages = {one.key: drawn_at.randrange(5) for one in asked}
    few = NOW._replace(group_bids_max=most)

    def late(orders: Sequence[Order]) -> set[int]:
        results = clear_auction(book_with(leases), orders, NO_SCALES, few, lambda one: ages[one.key])
        return {result.order.ref for result in results if isinstance(result, Waits)}

    waits = late(asked)
    assert late([order(o.ref, o.region, o.shape, 2 * o.limit_ucr + 7, o.traits.flags, o.mem_bytes) for o in asked]) == (
        waits
    )
    wide = [one for one in asked if is_wide(book_with([]), one)]
    if any(one.region == ZONE for one in wide) and waits & {one.ref for one in wide}:
        first = sorted(wide, key=lambda one: (ages[one.key], one.key))
        assert waits & {one.ref for one in wide} == {one.ref for one in first[most:]}


def test_many_kinds_are_fewer_bids() -> None:
    alike = [order(number, ZONE, Shape((0,)), 500) for number in range(1, 1_500)]
    asked = [order(number, ZONE, Shape((0,)), 500, mem_bytes=number) for number in range(1, 1_500)]
    late = []
    for orders in (alike, asked):
        results = clear_auction(book_with([(0, 0, 900)]), orders, NO_SCALES, NOW)
        late.append(sum(isinstance(result, Waits) for result in results))
    assert 1_499 - late[0] == NOW.group_bids_max
    assert 40 < 1_499 - late[1] < 100


def test_of_equal_bids_the_one_that_has_waited_longest_wins() -> None:
    """By either rule, also where it is wide and the others are many."""
    for leases in ([], [(3, 8, 0)]):
        asked = [order(number, ZONE, Shape((0,)), 500) for number in range(1, 18)] + [order(99, ZONE, Shape((3,)), 500)]
        results = clear_auction(book_with(leases), asked, NO_SCALES, NOW, lambda one: -one.ref)
        won = {result.order.ref for result in results if isinstance(result, Won)}
        assert 99 in won
        assert won == {99} if leases else won == {99, *range(10, 18)}


many = st.lists(
    st.tuples(
        st.sampled_from([ZONE, ZONE, ZONE, Region(0, 3), Region(8, 3), Region(4, 2)]),
        st.sampled_from([Shape((0,)), Shape((0,)), Shape((1,)), Shape((2,)), Shape((0,), 1, 300), Shape((1, 0))]),
        values,
        st.sampled_from([OrderFlag.NONE, OrderFlag.NONE, named]),
        memory,
    ).filter(lambda bid: bid[1].sizes[0] <= bid[0].log2),
    min_size=5,
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(leased, many, st.booleans())
def test_what_is_found_once_for_all_of_a_kind_is_what_trying_finds(leases, drawn, priced) -> None:
    scales = Scales(1_000, 0) if priced else NO_SCALES
    found = []
    for shortened in (True, False):
        book = book_with(leases)
        asked = sorted(orders_of(drawn), key=lambda one: (-one.limit_ucr, one.key))
        ranks = Ranks([Bid(book, one, scales, NOW) for one in asked], NOW)
        ranks._shortened = shortened
        found.append([(result.order.ref, outcome(result)) for result in ranks.settle()])
    assert found[0] == found[1]
