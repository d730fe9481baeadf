"""The agent side's tables: every pair of mode and happening, every step of a workload's life."""

import itertools

import pytest

from tegcore.wire.control import WorkloadSpec
from tegcore.wire.records import Region, Shape
from tegd.modes import TRANSITIONS, Happening, Mode, next_mode
from tegd.seek import BACK_OFF_TICKS, ROUND_TICKS_MIN, Search
from tegd.workload import LIFE, Life, Workload


@pytest.mark.parametrize(("mode", "happening"), list(itertools.product(Mode, Happening)))
def test_every_pair_is_a_row_or_an_error_of_the_caller(mode: Mode, happening: Happening) -> None:
    if (mode, happening) in TRANSITIONS:
        assert next_mode(mode, happening) in Mode
    else:
        with pytest.raises(KeyError):
            next_mode(mode, happening)


def test_every_mode_ends_in_safe_and_safe_ends() -> None:
    assert all(next_mode(mode, Happening.STOP) is Mode.SAFE for mode in Mode)
    assert {happening for mode, happening in TRANSITIONS if mode is Mode.SAFE} == {Happening.STOP}


def test_the_ledger_heard_again_makes_limp_run() -> None:
    assert next_mode(next_mode(Mode.RUN, Happening.SILENCE), Happening.BEAT) is Mode.RUN


def test_every_life_can_end_and_the_end_is_the_end() -> None:
    assert all(Life.ENDED in after for life, after in LIFE.items() if life is not Life.ENDED)
    assert LIFE[Life.ENDED] == frozenset()


@pytest.mark.parametrize(("before", "after"), list(itertools.product(Life, Life)))
def test_a_workload_moves_along_the_table_only(before: Life, after: Life) -> None:
    work = Workload(1, "w", "t", 0, 0, 0, WorkloadSpec(argv=("x",)), life=before)
    if after in LIFE[before] or after is before:
        work.become(after, 5, "so")
        assert (work.life, work.history) == (after, [(5, "so")])
    else:
        with pytest.raises(AssertionError):
            work.become(after, 5, "so")


def test_a_budget_lowers_the_limit_to_what_it_holds() -> None:
    spec = WorkloadSpec(argv=("x",), sizes=(2,), limit_ucr=100, budget_ucr=1_000)
    work = Workload.accepted(1, "t", (0, 0), 0, spec)
    assert (work.own_ucr, work.limit_ucr) == (1_000, 100)
    work.lease_paid(799, 0)
    assert (work.own_ucr, work.limit_ucr) == (201, 50)
    work.topped_up(4_000)
    assert (work.own_ucr, work.limit_ucr) == (4_201, 100)
    work.lease_paid(9_000, 0)
    assert (work.own_ucr, work.limit_ucr) == (0, 0)


def test_a_purse_within_a_budget_is_never_more_than_it() -> None:
    work = Workload.accepted(1, "t", (0, 0), 0, WorkloadSpec(argv=("x",), endow_ucr=900, budget_ucr=1_000))
    work.lease_paid(700, 200)
    assert (work.endow_ucr, work.budget_left_ucr) == (200, 300)
    work.topped_up(50)
    assert (work.endow_ucr, work.budget_left_ucr) == (250, 350)
    work.lease_paid(200, 400)
    assert work.own_ucr == 150
    work.lease_paid(150, 0)
    assert (work.has_purse, work.own_ucr) == (True, 0), "an empty purse is no account that pays"


def test_a_search_widens_by_levels_then_backs_off_doubling_to_a_period() -> None:
    search, shape, period = Search(), Shape((1,)), 100
    regions, pauses, cycle = [], [], 0
    for _ in range(14):
        region = search.region(37, shape, 3)
        regions.append(region)
        assert search.may_ask(cycle)
        search.asked(cycle)
        assert not search.may_ask(cycle + ROUND_TICKS_MIN)
        search.failed(cycle, region, 3, period, jitter=0.5)
        if region.log2 == 6:
            pauses.append(search.next_cycle - cycle)
        cycle = max(search.next_cycle, cycle + ROUND_TICKS_MIN)
    assert [region.log2 for region in regions[:4]] == [2, 4, 6, 2]
    assert all(region.base <= 37 < region.end for region in regions)
    assert pauses == [BACK_OFF_TICKS, 2 * BACK_OFF_TICKS, 4 * BACK_OFF_TICKS, period]


def test_a_lost_answer_is_asked_again() -> None:
    search = Search()
    search.asked(10)
    assert not search.may_ask(20)
    assert search.may_ask(30)
    assert Region(0, 6).slots == 64
