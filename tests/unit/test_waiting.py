"""Who is told that there is room, in what order, and what is kept for whom, by examples checked by hand."""

from collections.abc import Callable

import pytest
from worlds import NOTICE, PERIOD, RESERVE, TERM, Zone

from tegcore.units import GIB
from tegcore.wire.records import (
    Cancel,
    Drain,
    HostLost,
    HostUp,
    Market,
    Op,
    OrderFlag,
    Reason,
    Record,
    Region,
    SetMode,
    SetTime,
    Shape,
    Shorten,
    TenantSet,
    Traits,
)
from zone_ledger import snapshot, views, waiting
from zone_ledger.book.base import Book
from zone_ledger.book.fast import FastBook
from zone_ledger.book.reference import ReferenceBook

ROOT = Region(0, 4).packed()
TIME = 100


def traits(time_ticks: int = 0) -> int:
    return Traits(OrderFlag.NONE, 0, 0, time_ticks).packed()


def ask(
    zone: Zone, ref: int, size: int = 0, limit: int = 2_000, host: int = 1, time_ticks: int = 0, **changes: int
) -> None:
    zone.fok(ref, limit, host=host, size=size, endow=-1, region=ROOT, traits=traits(time_ticks), **changes)


def full(market: Market = Market.FIXED, time_ticks: int = 0) -> Zone:
    zone = Zone(market)
    for ref in range(1, 5):
        ask(zone, ref, time_ticks=time_ticks)
    zone.ticks()
    assert len(zone.state.leases) == 4
    return zone


def woken(zone: Zone, host: int = 1) -> list[int]:
    return [body.ref for body in zone.told(Op.WOKEN, host)]


def promised(zone: Zone, host: int = 1) -> list[tuple[int, int]]:
    return [(body.ref, body.start_tick) for body in zone.told(Op.PROMISED, host)]


def free(zone: Zone, ref: int, why: Reason = Reason.DONE) -> None:
    zone.release(zone.lease(ref), why)
    zone.ticks()


@pytest.mark.parametrize("market", Market)
def test_who_waits_is_told_in_the_tick_in_which_a_slot_comes_free(market: Market) -> None:
    zone = full(market)
    ask(zone, 9)
    zone.ticks(50)
    assert not woken(zone)
    free(zone, 1)
    assert woken(zone) == [9]
    ask(zone, 9)
    zone.ticks()
    assert zone.lease(9)


def test_a_slot_that_comes_free_as_a_first_term_ends_is_told_too() -> None:
    """A first term that ended in the same tick made the ledger forget that there was room."""
    zone = full()
    ask(zone, 9)
    zone.ticks(TERM // 2)
    zone.renew_all()
    zone.ticks(zone.lease(2).protected_until - zone.state.tick - 1)
    free(zone, 1)
    assert zone.lease(2).protected_until == 0
    assert woken(zone) == [9]


def test_at_fixed_prices_the_oldest_is_told_and_nobody_overtakes_it() -> None:
    zone = full()
    for ref in (9, 10, 11):
        ask(zone, ref)
        zone.ticks()
    free(zone, 1)
    assert woken(zone) == [9]
    ask(zone, 12, host=2)
    zone.ticks()
    assert zone.lease(12) is None, "the room is held for who was told"
    ask(zone, 9)
    zone.ticks()
    assert zone.lease(9)
    free(zone, 2)
    free(zone, 3)
    assert woken(zone) == [9, 10, 11]


def test_who_does_not_answer_is_passed_by_after_a_second() -> None:
    zone = full()
    ask(zone, 9)
    ask(zone, 10)
    zone.ticks()
    free(zone, 1)
    zone.ticks(waiting.HOLD_TICKS)
    assert woken(zone) == [9, 10]
    zone.ticks(waiting.HOLD_TICKS)
    ask(zone, 9)
    zone.ticks()
    assert zone.lease(9), "it keeps its place when it asks again"


def test_who_is_cancelled_is_not_waited_for() -> None:
    zone = full()
    ask(zone, 9)
    ask(zone, 10)
    zone.ticks()
    free(zone, 1)
    zone.command(Op.CANCEL, Cancel(9))
    zone.ticks()
    assert woken(zone) == [9, 10]


def test_work_that_comes_back_keeps_its_age() -> None:
    zone = full()
    ask(zone, 9)
    zone.ticks(10)
    free(zone, 4, Reason.DRAINED)
    ask(zone, 9)
    zone.ticks()
    assert zone.lease(9)
    ask(zone, 10)
    zone.ticks(5)
    zone.release(zone.lease(9), Reason.CHALLENGED)
    ask(zone, 9)
    zone.ticks()
    assert zone.lease(9), "it waited before the other did"


def test_a_small_one_is_told_where_a_larger_one_does_not_fit() -> None:
    zone = full()
    ask(zone, 9, size=2)
    zone.ticks()
    ask(zone, 10)
    zone.ticks()
    free(zone, 1)
    assert woken(zone) == [10]


def test_a_declared_end_promises_a_start_and_shorter_work_goes_before_it() -> None:
    zone = full(time_ticks=TIME)
    end = zone.state.tick + TIME + NOTICE
    ask(zone, 9, size=2)
    zone.ticks(2)
    assert promised(zone) == [(9, end)], "once it has lost, before the next tick clears orders"
    free(zone, 1)
    ask(zone, 10, time_ticks=TIME + NOTICE)
    zone.ticks()
    assert zone.lease(10) is None, "it would end too late"
    ask(zone, 11, time_ticks=20)
    zone.ticks()
    assert zone.lease(11), "it ends in time"
    for ref in (11, 2, 3, 4):
        free(zone, ref)
    assert woken(zone)[-1] == 9
    ask(zone, 9, size=2)
    zone.ticks()
    assert zone.lease(9)
    zone.ticks()
    assert zone.state.promise is None


def test_a_view_says_when_a_job_ends_as_declared_and_apart_from_it_when_its_term_does() -> None:
    zone = full(time_ticks=TIME)
    ask(zone, 9, size=0)
    zone.ticks(3)
    first = views.leases(zone.state, None)[0]
    assert first["ends_in_ticks"] == TIME - 3
    assert first["term_in_ticks"] == zone.lease(1).term_end - zone.state.tick
    endless = views.leases(full().state, None)[0]
    assert endless["ends_in_ticks"] is None
    assert endless["term_in_ticks"] > 0
    zone.operate(Op.DRAIN, Drain(1, 1))
    assert views.leases(zone.state, None)[0]["ends_in_ticks"] == NOTICE, "it is to be gone by then"


HALF = {"shape": Shape((0,), share_permille=500).packed()}


def one_endless() -> Zone:
    """One slot is held for ever, the others for a declared time."""
    zone = Zone(Market.FIXED)
    for ref in range(1, 5):
        ask(zone, ref, time_ticks=TIME if ref > 1 else 0)
    zone.ticks()
    return zone


def test_who_comes_later_is_told_only_of_room_that_the_promise_of_the_same_tick_leaves() -> None:
    """The younger was told of a slot that was promised to the older in the same breath, and then refused it."""
    zone = one_endless()
    end = zone.state.tick + TIME + NOTICE
    ask(zone, 9, size=2)
    ask(zone, 10)
    ask(zone, 11, time_ticks=20)
    zone.ticks()
    free(zone, 1)
    assert promised(zone) == [(9, end)]
    assert woken(zone) == [11]


def test_what_the_older_were_told_of_is_not_promised_to_the_younger() -> None:
    """Half a slot has no promise of its own, so the first promise was made in the tick in which it was told."""
    zone = one_endless()
    ask(zone, 10, **HALF)
    ask(zone, 9, size=2)
    zone.ticks()
    free(zone, 1)
    assert woken(zone) == [10]
    ask(zone, 10, **HALF)
    zone.ticks()
    assert zone.lease(10), "it waited before the other did"
    assert promised(zone) == [], "the block is held by work that did not say until when"


def test_a_promise_counts_on_the_ends_of_those_that_were_just_told() -> None:
    zone = one_endless()
    ask(zone, 10, time_ticks=2 * TIME, **HALF)
    ask(zone, 9, size=2)
    zone.ticks()
    free(zone, 1)
    assert woken(zone) == [10]
    [(ref, start)] = promised(zone)
    ask(zone, 10, time_ticks=2 * TIME, **HALF)
    zone.ticks()
    lease = zone.lease(10)
    assert (ref, start) == (9, lease.granted + lease.traits.time_ticks + NOTICE)


def test_a_promise_moves_on_while_its_slots_are_held_for_longer() -> None:
    zone = full(time_ticks=TIME)
    ask(zone, 9, size=2)
    zone.ticks()
    for ref in (1, 2, 3):
        free(zone, ref)
    lease = zone.lease(4)
    for _ in range(6):
        zone.ticks(40)
        if lease.number in zone.state.leases:
            zone.renew_all()
            ask(zone, 9, size=2)
    assert Reason(zone.told(Op.NOTICE)[-1].why) is Reason.TIME, "asked to save at its limit"
    assert len(promised(zone)) > 1
    assert zone.state.promise is not None
    assert zone.lease(10) is None


def test_without_declared_ends_slots_are_kept_for_who_was_passed_over_for_long() -> None:
    zone = full()
    zone.state.genesis = zone.state.genesis._replace(patience_ticks=300)
    ask(zone, 9, size=2)
    ask(zone, 10)
    zone.ticks(100)
    free(zone, 1)
    assert woken(zone) == [10]
    ask(zone, 10)
    zone.ticks()
    for _ in range(8):
        zone.renew_all()
        zone.ticks(40)
        ask(zone, 9, size=2)
    assert promised(zone) == [(9, 0)]
    ask(zone, 11)
    zone.ticks()
    for ref in (2, 3, 4, 10):
        free(zone, ref)
    assert 11 not in woken(zone)
    assert woken(zone)[-1] == 9


def test_who_has_a_promise_is_told_though_older_work_of_its_kind_may_not_have_the_slots() -> None:
    """Older work that came back stood before it, could not have what was kept, and kept it from being tried."""
    zone = full()
    zone.state.genesis = zone.state.genesis._replace(patience_ticks=300)
    ask(zone, 8, size=2, host=2)
    ask(zone, 9, size=2)
    zone.ticks()
    zone.system(Op.HOST_LOST, HostLost(2, 1))
    for _ in range(11):
        zone.renew_all()
        zone.ticks(40)
        ask(zone, 9, size=2)
    assert promised(zone) == [(9, 0)]
    zone.engine.apply(Record(Op.HOST_UP, 2, 2, 0, HostUp(8, 2, 1, 4000, 8 * GIB, 0, 2)))
    zone.ticks()
    for ref in (1, 2, 3, 4):
        free(zone, ref)
    assert (woken(zone), woken(zone, 2)) == ([9], [])


def test_in_the_auction_the_highest_limits_are_told_and_the_losers_count() -> None:
    zone = full(Market.AUCTION)
    zone.state.genesis = zone.state.genesis._replace(woken_bids=2)
    for ref, limit in ((9, 2_500), (10, 4_000), (11, 3_000)):
        ask(zone, ref, limit=limit)
        zone.ticks()
    free(zone, 1)
    assert woken(zone) == [10, 11]
    ask(zone, 10, limit=4_000)
    ask(zone, 11, limit=3_000)
    zone.ticks()
    assert zone.lease(10).price_ucr == 3_000


@pytest.mark.parametrize("how", ["host up", "undrained"])
def test_room_that_a_host_brings_wakes_who_waits(how: str) -> None:
    zone = full()
    ask(zone, 9)
    zone.ticks()
    if how == "undrained":
        zone.operate(Op.DRAIN, Drain(1, 1))
        free(zone, 1, Reason.DRAINED)
        assert not woken(zone)
        zone.operate(Op.DRAIN, Drain(1, 0))
    else:
        zone.engine.apply(Record(Op.HOST_UP, 2, 2, 0, HostUp(8, 2, 0, 4000, 8 * GIB, 0, 2)))
    zone.ticks()
    assert woken(zone) == [9]


def test_nobody_of_a_silent_host_is_waited_for() -> None:
    zone = full()
    ask(zone, 9, host=2)
    ask(zone, 10)
    zone.ticks()
    zone.system(Op.HOST_LOST, HostLost(2, 1))
    free(zone, 1)
    assert (woken(zone, 2), woken(zone)) == ([], [10])


def test_who_is_not_there_any_more_is_forgotten() -> None:
    zone = full()
    ask(zone, 9)
    zone.ticks(waiting.FORGET_TICKS_MIN + 2 * PERIOD)
    assert (1, 9) not in zone.state.queue.waiters


def test_those_that_wait_are_kept_over_a_restart() -> None:
    zone = full()
    for ref in (9, 10):
        ask(zone, ref)
    ask(zone, 11, size=2)
    zone.ticks()
    free(zone, 1)
    restored = snapshot.unpack(snapshot.pack(zone.state), FastBook)
    assert restored.hash() == zone.state.hash()
    assert restored.running_hash() == zone.state.running_hash()
    assert sorted(restored.queue.waiters) == sorted(zone.state.queue.waiters)
    assert [waiter.key for waiter in restored.queue.woken()] == [waiter.key for waiter in zone.state.queue.woken()]


def test_what_a_freed_slot_costs_does_not_grow_with_those_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    zone = full()
    for ref in range(9, 209):
        ask(zone, ref)
    zone.ticks()
    hold = waiting._hold
    monkeypatch.setattr(waiting, "_hold", lambda *args: (tried.append(args[1]), hold(*args))[1])
    free(zone, 1)
    assert woken(zone) == [9]
    assert len(tried) <= 3


def test_when_a_host_is_back_its_oldest_work_is_served_before_what_asks_first() -> None:
    """The youngest took all slots after a restart, for it happened to ask before the others."""
    zone = full()
    ask(zone, 9)
    zone.ticks()
    ask(zone, 10, size=2)
    zone.ticks()
    for ref in (1, 2, 3, 4):
        zone.release(zone.lease(ref), Reason.EXPIRED)
    zone.engine.apply(Record(Op.HOST_UP, 1, 2, 0, HostUp(0, 2, 0, 4000, 8 * GIB, 0, 2)))
    zone.ticks()
    assert {1, 2, 3, 4} & set(woken(zone)) or 9 in woken(zone)
    zone.boots[1], zone.sent[1] = 2, 0
    ask(zone, 10, size=2)
    zone.ticks()
    assert zone.lease(10) is None
    for ref in woken(zone):
        ask(zone, ref)
    zone.ticks()
    assert zone.lease(9) or len(zone.state.leases) == 4


def test_a_named_bid_is_told_when_a_first_term_ends_that_protected_what_it_would_displace() -> None:
    zone = full(Market.AUCTION)
    named = Traits(OrderFlag.NAMED).packed()
    zone.renew_all()
    zone.fok(9, 900_000, host=2, endow=-1, region=ROOT, traits=named)
    zone.ticks()
    for _ in range(6):
        zone.renew_all()
        zone.ticks(40)
    assert woken(zone, 2) == [9]


def test_a_new_order_does_not_take_what_comes_free_in_its_own_tick() -> None:
    zone = full()
    ask(zone, 9)
    zone.ticks()
    zone.release(zone.lease(1))
    ask(zone, 10, host=2)
    zone.ticks()
    assert zone.lease(10) is None
    assert woken(zone) == [9]


def shorten(zone: Zone, ref: int, time_ticks: int) -> Reason:
    lease = zone.lease(ref)
    return zone.command(Op.SHORTEN, Shorten(lease.number, lease.token, time_ticks)).reason


def test_who_gives_time_back_ends_then_and_who_was_promised_a_start_is_told_of_an_earlier_one() -> None:
    zone = full(time_ticks=10 * TIME)
    granted = zone.lease(1).granted
    ask(zone, 9, size=2)
    zone.ticks(2)
    assert promised(zone) == [(9, granted + 10 * TIME + NOTICE)]
    for ref in range(1, 5):
        assert shorten(zone, ref, TIME) is Reason.OK
    assert promised(zone)[-1] == (9, granted + TIME + NOTICE)
    assert snapshot.unpack(snapshot.pack(zone.state), FastBook).running_hash() == zone.state.running_hash()
    zone.renew_all()
    zone.ticks(granted + TIME - zone.state.tick)
    assert {Reason(notice.why) for notice in zone.told(Op.NOTICE)} == {Reason.TIME}
    assert len(zone.told(Op.NOTICE)) == 4
    assert shorten(zone, 1, TIME // 2) is Reason.STATE, "it is leaving"


def test_a_holder_takes_no_more_time_than_it_declared_but_an_operator_gives_it() -> None:
    zone = full(time_ticks=TIME)
    lease = zone.lease(1)
    ask(zone, 9, size=2)
    zone.ticks(2)
    assert shorten(zone, 1, TIME + 1) is Reason.TIME
    assert [Reason(answer.reason) for answer in zone.told(Op.ANSWER)] == [Reason.TIME]
    assert zone.operate(Op.SET_TIME, SetTime(lease.number, 4 * TIME)).reason is Reason.OK
    assert zone.operate(Op.SET_TIME, SetTime(99, TIME)).reason is Reason.LEASE
    assert promised(zone)[-1] == (9, lease.granted + 4 * TIME + NOTICE), "who waits behind it is told so"
    zone.renew_all()
    zone.ticks(TIME + 1)
    assert lease.state.name == "HELD", "its first end is passed over"
    zone.renew_all()
    assert zone.operate(Op.SET_TIME, SetTime(lease.number, TIME)).reason is Reason.OK
    zone.ticks()
    assert Reason(zone.told(Op.NOTICE)[-1].why) is Reason.TIME, "what has run for longer ends at once"


def test_a_lease_without_an_end_is_given_one() -> None:
    zone = full()
    assert shorten(zone, 1, TIME) is Reason.OK
    zone.renew_all()
    zone.ticks(TIME)
    assert [notice.lease for notice in zone.told(Op.NOTICE)] == [zone.lease(1).number]


def auction_full(time_ticks: int = 0) -> Zone:
    zone = full(Market.AUCTION, time_ticks=time_ticks)
    zone.state.genesis = zone.state.genesis._replace(patience_ticks=100)
    return zone


def pass_over(zone: Zone, ticks: int = 120) -> None:
    for _ in range(ticks // 40):
        zone.renew_all()
        zone.ticks(40)


def test_in_the_auction_slots_are_kept_for_the_oldest_at_the_highest_limit() -> None:
    zone = auction_full()
    ask(zone, 9, size=2)
    zone.ticks()
    ask(zone, 10)
    pass_over(zone)
    free(zone, 1)
    assert promised(zone) == [(9, 0)]
    assert woken(zone) == [], "the equal that came later does not take what drains"
    ask(zone, 11, host=2)
    zone.ticks()
    assert zone.lease(11) is None
    for ref in (2, 3, 4):
        free(zone, ref)
    assert set(woken(zone)) == {9, 10}, "all that would have it bid in one tick"
    ask(zone, 10)
    ask(zone, 9, size=2)
    zone.ticks()
    assert zone.lease(9).price_ucr == 1_250, "what who lost would have paid for one slot, and the reserve of the rest"
    assert zone.state.promise.key == (1, 10), "and now it is the oldest"


def test_in_the_auction_a_higher_limit_takes_what_is_kept() -> None:
    zone = auction_full()
    ask(zone, 9, size=2)
    pass_over(zone)
    free(zone, 1)
    assert zone.state.promise is not None
    ask(zone, 10, limit=4_000)
    zone.ticks()
    assert zone.state.promise is None
    assert [body.slots for body in zone.told(Op.PROMISED)] == [4, 0]
    assert woken(zone)[-1] == 10
    ask(zone, 10, limit=4_000)
    zone.ticks()
    assert zone.lease(10)
    assert zone.state.promise is not None, "the next that drains is kept for it"


def test_in_the_auction_who_answers_late_finds_the_room_that_its_limit_is_worth() -> None:
    zone = full(Market.AUCTION)
    for ref, host in ((9, 2), (10, 1)):
        ask(zone, ref, host=host)
        zone.ticks()
    free(zone, 1)
    assert (woken(zone, 2), woken(zone)) == ([9], [10])
    ask(zone, 10)
    zone.ticks()
    assert zone.lease(10) is None, "it is younger, and the other has a second to answer"
    ask(zone, 9, host=2)
    zone.ticks()
    assert zone.lease(9)


def test_in_the_auction_who_looks_around_does_not_take_what_those_that_were_told_would_have() -> None:
    zone = full(Market.AUCTION)
    ask(zone, 9)
    zone.ticks()
    free(zone, 1)
    zone.fok(10, 2_000, host=2, endow=-1, region=Region(0, 2).packed())
    ask(zone, 9)
    zone.ticks()
    assert zone.lease(9)
    assert zone.lease(10) is None


def test_what_a_promise_of_fixed_prices_rests_on_ends_when_the_auction_begins() -> None:
    zone = full(time_ticks=TIME)
    ask(zone, 9, size=2)
    zone.ticks(2)
    assert zone.state.promise is not None
    zone.operate(Op.MODE, SetMode(Market.AUCTION))
    zone.ticks()
    assert zone.state.promise is None


def test_slots_are_not_kept_for_who_cannot_have_them_though_they_are_free() -> None:
    zone = Zone(Market.FIXED)
    ask(zone, 1, mem_bytes=6 * GIB)
    for ref in (2, 3, 4):
        ask(zone, ref, time_ticks=TIME)
    zone.ticks()
    ask(zone, 9, size=1, mem_bytes=2 * GIB)
    zone.ticks(2)
    assert promised(zone) == [], "who holds the memory is not among those that leave"
    for ref in (2, 3, 4):
        free(zone, ref)
    assert woken(zone) == [], "memory is short as long as the first holds it"
    ask(zone, 10, size=1)
    zone.ticks(3)
    assert zone.lease(10), "and what nobody can have is not kept from those who can"


def test_at_fixed_prices_a_bid_below_the_price_is_told_so_and_holds_no_room() -> None:
    zone = full()
    named = Traits(OrderFlag.NAMED).packed()
    zone.fok(9, RESERVE - 1, endow=-1, region=ROOT, traits=named)
    zone.ticks()
    ask(zone, 10)
    zone.ticks()
    assert [Reason(refused.reason) for refused in zone.told(Op.REFUSED)] == [Reason.PRICE, Reason.TAKEN]
    free(zone, 1)
    assert woken(zone) == [10]


def test_who_is_told_leaves_its_promise_to_the_next_that_does_not_fit() -> None:
    """The younger and longer one was told of slots before the wide one between them had a promise."""
    zone = Zone(Market.FIXED)
    ask(zone, 1, size=2, time_ticks=10 * TIME)
    zone.ticks()
    ask(zone, 9, time_ticks=2 * TIME)
    zone.ticks(2)
    assert [ref for ref, _ in promised(zone)] == [9]
    ask(zone, 10, size=2, time_ticks=2 * TIME)
    ask(zone, 11, time_ticks=4 * TIME)
    ask(zone, 12, time_ticks=TIME)
    zone.ticks(2)
    free(zone, 1)
    assert woken(zone) == [9, 12], "the long one would delay the wide one, which has the next promise"
    assert promised(zone)[-1][0] == 10
    zone.ticks(3)
    ask(zone, 9, time_ticks=2 * TIME)
    zone.ticks()
    assert zone.lease(9), "who was told has its slots, also where they are promised to the next by now"


def test_who_comes_new_has_its_promise_at_once() -> None:
    zone = full(time_ticks=TIME)
    zone.ticks(7)
    ask(zone, 9, size=2)
    zone.ticks(2)
    assert [ref for ref, _ in promised(zone)] == [9]


@pytest.mark.parametrize("market", list(Market))
@pytest.mark.parametrize("book", [ReferenceBook, FastBook])
def test_who_comes_back_stands_in_no_line_of_before(market: Market, book: Callable[[int], Book]) -> None:
    """Made anew, a waiter counted its entries anew, and those of before were valid again: it was seated twice."""
    zone = Zone(market, book=book)
    for ref in range(1, 4):
        ask(zone, ref, mem_bytes=2 * GIB)
    zone.ticks()
    for ref in (8, 9):
        ask(zone, ref, mem_bytes=3 * GIB)
        zone.ticks()
    ask(zone, 9, mem_bytes=GIB)
    zone.ticks()
    free(zone, 9, Reason.DRAINED)
    ask(zone, 10, mem_bytes=GIB)
    zone.ticks()
    ask(zone, 9, mem_bytes=GIB)
    zone.ticks()
    for ref in (1, 2, 3):
        zone.release(zone.lease(ref))
    zone.ticks()
    assert sorted(woken(zone)) == [8, 9]


def test_a_bid_that_was_lowered_stands_where_it_is_now_after_a_restart_too() -> None:
    zone = full(Market.AUCTION)
    zone.state.genesis = zone.state.genesis._replace(woken_bids=1)
    for ref, limit in ((8, 9_500), (9, 9_000)):
        ask(zone, ref, limit=limit)
        zone.ticks()
    zone.command(Op.CANCEL, Cancel(9))
    for ref, limit in ((9, 2_100), (10, 5_000)):
        ask(zone, ref, limit=limit)
        zone.ticks()
    free(zone, 1)
    ask(zone, 8, limit=9_500)
    zone.ticks()
    free(zone, 2)
    assert woken(zone) == [8, 10]


@pytest.mark.parametrize("market", list(Market))
@pytest.mark.parametrize("waiting", [5, 50])
def test_a_closed_tenants_jobs_that_wait_hold_no_room_from_others(market: Market, waiting: int) -> None:
    zone = full(market)
    for ref in range(100, 100 + waiting):
        ask(zone, ref, host=2, limit=3_000)
    ask(zone, 9)
    zone.ticks()
    zone.operate(Op.TENANT_SET, TenantSet(2, 1, 1))
    zone.ticks(2)
    free(zone, 1)
    zone.ticks()
    assert woken(zone) == [9]


@pytest.mark.parametrize("market", list(Market))
def test_who_is_told_and_cannot_pay_lets_the_next_be_told_at_once(market: Market) -> None:
    zone = full(market)
    for ref in range(100, 140):
        ask(zone, ref, host=2, limit=3_000)
    zone.ticks()
    ask(zone, 9)
    zone.ticks()
    free(zone, 1)
    first = woken(zone, 2)[0]
    ask(zone, first, host=2, limit=3_000, tenant=99)
    zone.ticks(2)
    assert woken(zone, 2)[-1] != first


def test_a_promise_rests_on_hosts_that_have_the_memory() -> None:
    zone = Zone(Market.FIXED)
    zone.engine.apply(Record(Op.HOST_UP, 2, 2, 0, HostUp(8, 2, 0, 4000, 64 * GIB, 0, 2)))
    zone.boots[2], zone.sent[2] = 2, 0
    for ref in range(1, 9):
        ask(zone, ref, time_ticks=TIME if ref < 5 else 2 * TIME)
    zone.ticks()
    ask(zone, 20, size=2, mem_bytes=4 * GIB)
    zone.ticks(2)
    assert zone.state.promise is not None
    assert zone.state.promise.blocks == (Region(8, 2),), "the first host has 8 GiB in all"


def test_an_overdue_start_is_told_once() -> None:
    zone = full(time_ticks=TIME)
    ask(zone, 9, size=2, host=2)
    zone.ticks(2)
    zone.system(Op.HOST_LOST, HostLost(1, 0))
    zone.ticks(TIME + 2 * NOTICE)
    assert len(promised(zone, 2)) <= 3


def test_who_may_displace_is_told_though_who_may_not_asks_for_the_same() -> None:
    zone = full(Market.AUCTION)
    ask(zone, 9, limit=9_000)
    zone.fok(10, 8_000, endow=-1, region=ROOT, traits=Traits(OrderFlag.NAMED).packed())
    zone.ticks(2)
    for _ in range(TERM // 40 + 2):
        zone.renew_all()
        zone.ticks(40)
    assert 10 in woken(zone)


def test_who_may_not_have_what_is_kept_is_told_so_and_how_long_it_could_run() -> None:
    zone = full(time_ticks=TIME)
    ask(zone, 9, size=2)
    zone.ticks(2)
    free(zone, 1)
    ask(zone, 10)
    zone.ticks()
    refused = zone.told(Op.REFUSED)[-1]
    assert (refused.ref, Reason(refused.reason)) == (10, Reason.KEPT)
    assert zone.state.promise is not None
    assert refused.missing == zone.state.promise.start_tick - zone.state.tick - NOTICE
    ask(zone, 10, time_ticks=refused.missing - 8)
    zone.ticks()
    assert zone.lease(10)
