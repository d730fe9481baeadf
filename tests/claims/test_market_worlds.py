"""Gangs and whales, by cases that can be worked out by hand."""

import pytest

from tegcore.wire.records import Market
from tegsim.backfilling import Easy
from tegsim.gangs import MEAN_TICKS, SLOTS, FillOrKill, Gang, HoldAndWait, Moves, Policy, play, trace
from tegsim.whale import WORK_TICKS, Stream, on_the_engine, slot_by_slot

RICH = 100_000
TICKS = 2000


def pair() -> list[Gang]:
    """Two gangs of half the zone and one of all of it, at once."""
    return [Gang(0, 5, 50, RICH), Gang(0, 5, 50, RICH), Gang(0, 5, 50, RICH)]


def policies(seed: int = 1) -> list[Policy]:
    return [
        FillOrKill(seed, Market.AUCTION),
        FillOrKill(seed, Market.FIXED),
        HoldAndWait(seed, strict=True),
        Easy(),
    ]


class Watched:
    """A policy, and when each gang began."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.began: dict[int, int] = {}

    def arrive(self, number: int, gang: Gang) -> None:
        self._policy.arrive(number, gang)

    def done(self, number: int) -> None:
        self._policy.done(number)

    def tick(self, now: int) -> Moves:
        moves = self._policy.tick(now)
        self.began |= dict.fromkeys(moves.begun, now)
        return moves


def began(policy: Policy, gangs: list[Gang]) -> list[int]:
    watched = Watched(policy)
    play(watched, gangs, 400)
    return [watched.began[number] for number in range(len(gangs))]


BACKFILLED = [
    Gang(0, 5, 100, RICH),  # half the zone until 100
    Gang(1, 6, 50, RICH),  # all of it: at 100
    Gang(2, 5, 90, RICH),  # ends before that: at once
    Gang(3, 5, 10, RICH),  # no room before the second is over
    Gang(4, 2, 100, RICH),
]


def test_shorter_gangs_go_before_the_first_and_do_not_delay_it() -> None:
    assert began(Easy(), BACKFILLED) == [0, 100, 2, 150, 150]


def test_slots_that_the_first_leaves_over_are_for_longer_gangs() -> None:
    gangs = [Gang(0, 5, 100, RICH), Gang(0, 3, 200, RICH), Gang(1, 5, 50, RICH), Gang(2, 4, 500, RICH)]
    assert began(Easy(), gangs) == [0, 0, 100, 2]


def test_at_fixed_prices_gangs_start_as_under_easy_but_for_the_tick_of_an_answer() -> None:
    ours, easy = (began(policy, BACKFILLED) for policy in (FillOrKill(1, Market.FIXED), Easy()))
    assert all(0 <= mine - other <= 2 for mine, other in zip(ours, easy, strict=True)), (ours, easy)


@pytest.mark.parametrize("at", range(4))
def test_who_does_not_hold_while_waiting_runs_them_all(at: int) -> None:
    ran = play(policies()[at], pair(), TICKS)
    assert ran.finished == 1.0
    assert not ran.deadlocked
    assert ran.useful == pytest.approx(3 * 32 * 50 / (SLOTS * TICKS))


def test_a_patience_lets_go_of_what_is_held() -> None:
    """It may not help: when all let go at once and ask again, they are where they were."""
    ran = play(HoldAndWait(1, strict=False, patience_ticks=MEAN_TICKS), pair(), TICKS)
    assert 0.9 < ran.held < 1.0


def test_members_that_hold_while_waiting_block_each_other_for_ever() -> None:
    """96 members ask for 64 slots in no order: no gang gets all of its 32, but by a chance below 1e-6."""
    ran = play(HoldAndWait(1, strict=False), pair(), TICKS)
    assert ran.deadlocked
    assert (ran.finished, ran.useful, ran.held) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("load", [0.5, 1.0])
def test_a_trace_asks_for_what_it_says(load: int) -> None:
    gangs = trace(50_000, load, 3)
    asked = sum(gang.ticks << gang.size for gang in gangs) / (SLOTS * 50_000)
    assert asked == pytest.approx(load, rel=0.1)


@pytest.mark.parametrize("mu_ucr", [0, 2000])
def test_alone_the_whale_does_all_its_work(mu_ucr: int) -> None:
    nobody = Stream([], [], 0, 1)
    assert on_the_engine(nobody, mu_ucr).done == 1.0
    assert slot_by_slot(nobody).done == 1.0


def peers(bid: float) -> Stream:
    """A block of its own size every 10 ticks, from tick 100 on, at one bid."""
    return Stream(list(range(100, 1200, 10)), [bid] * 110, 5, 120)


def test_a_little_more_displaces_it_only_without_inertia() -> None:
    assert on_the_engine(peers(2.1), 2000).moved == 0
    assert on_the_engine(peers(2.1), 0).moved > 0


def test_much_more_displaces_it_in_spite_of_inertia() -> None:
    """A structural shift (14): 2 + 2.2 reserves stand in the way, and eight are more than that."""
    assert on_the_engine(peers(8.0), 2000).moved > 0


def test_less_than_it_bids_never_displaces_it() -> None:
    for mu_ucr in (0, 2000):
        lived = on_the_engine(peers(1.5), mu_ucr)
        assert (lived.done, lived.moved) == (1.0, 0)
    assert slot_by_slot(peers(1.5)).moved == 0


def test_slot_by_slot_shrimps_that_bid_more_for_most_of_the_zone_starve_it() -> None:
    shrimps = Stream([100] * 40, [2.5] * 40, 0, 10_000)
    assert slot_by_slot(shrimps).done == pytest.approx(101 / WORK_TICKS, abs=0.01)
    assert on_the_engine(shrimps, 0).done == 1.0
