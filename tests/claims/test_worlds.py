"""Heat, memory, money, bids and phases of the claims' worlds, against closed forms and cases worked out by hand."""

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tegsim import fear, thermal
from tegsim.economy import TENANTS, economy, gini
from tegsim.fear import HOST_CONTAINERS, HOUR, TRIAL, Host, Overcommitted, best_margin, hindsight, shared, static
from tegsim.phases import PERIOD_TICKS, scene
from tegsim.shading import GRID, RESERVE_UCR, Crowd, Leased, drawn, equilibrium, first_price, gains, second_price
from tegsim.thermal import GPUS, HOSTS, Flight, Ghosts, Hall, Power, PricedHeat, Random, Scored, Uniform
from tegsim.traces import Container, Servers, containers, fan_law

POWER = Power((50.0, 250.0), (-20.0, 0.15), (30.0, 0.1))

# --- heat -----------------------------------------------------------------------------------------------------------


def policies() -> list[thermal.Policy]:
    scored = [Scored(thermal.coolest_first), Scored(thermal.least_recirculating)]
    return [Uniform(), Random(1), PricedHeat(), Ghosts(1, Flight()), Ghosts(1, Flight(20)), *scored]


def filled(jobs: list[int]) -> Hall:
    hall = Hall(POWER, 1)
    for host in jobs:
        hall.busy[host] += 1
        hall.use[host] += 0.7
    return hall


def test_the_published_curve() -> None:
    assert thermal.cop(15.0) == pytest.approx(2.0, abs=0.01)
    assert thermal.cop(25.0) == pytest.approx(4.73, abs=0.01)


def test_a_full_hall_is_as_hot_as_it_is_said_to_be() -> None:
    hall = Hall(POWER, 3)
    assert hall.rise_k(np.full(HOSTS, float(GPUS))).max() == pytest.approx(thermal.RISE_FULL_K)
    assert hall.inlets_c().max() == pytest.approx(thermal.INLET_MAX_C)


@pytest.mark.parametrize("at", range(7))
@pytest.mark.parametrize("taken", [0, 100, 250])
def test_whoever_places_gives_each_job_a_free_gpu(at: int, taken: int) -> None:
    hall = filled((list(range(HOSTS)) * GPUS)[:taken])
    chosen = policies()[at].place(hall, 256 - taken if taken == 250 else 30, 5)
    assert len(chosen) == (6 if taken == 250 else 30)
    assert (hall.busy + np.bincount(chosen, minlength=HOSTS)).max() <= GPUS


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_placement_beats_the_bound(seed: int) -> None:
    source = np.random.default_rng(seed)
    hall = filled(source.permutation(np.repeat(np.arange(HOSTS), GPUS))[:120].tolist())
    best = hall.least_rise_k()
    for _ in range(50):
        use = source.dirichlet(np.ones(HOSTS)) * hall.use.sum()
        if use.max() <= GPUS:
            assert hall.rise_k(use).max() >= best - 1e-9


def test_the_bound_of_two_ends_is_the_closed_form() -> None:
    """If each host warms itself alone, the least hottest inlet is where all inlets are alike."""
    hall = filled(list(range(HOSTS)) * 4)
    own = np.linspace(1.0, 1.2, HOSTS) * 1e-3
    hall.matrix = np.diag(own)
    base, slope = hall.power.host_w(np.zeros(1))[0], hall.power.gpu_w[1] * (1 + hall.power.fan_w[1])
    rise = hall.least_rise_k()
    use = np.clip((rise / own - base) / slope, 0.0, GPUS)
    assert use.sum() == pytest.approx(hall.use.sum(), rel=1e-6)


def test_the_same_work_whoever_places_it() -> None:
    jobs = thermal.load(6.0, 0.5, np.array([0.5, 1.0]), 1)
    ran = [
        thermal.run(policy, jobs, 6.0, POWER, 1) for policy in (Uniform(), PricedHeat(), Scored(thermal.coolest_first))
    ]
    assert len({round(one.other_kwh, 6) for one in ran}) == 1
    assert all(one.bound_kwh <= one.cooling_kwh for one in ran)
    assert ran[1].cooling_kwh < ran[0].cooling_kwh


# --- traces ---------------------------------------------------------------------------------------------------------


def test_traces_are_read_as_they_are_and_garbled_rows_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "memory.csv.gz"
    rows = ["value,timestamp_anon,container_ip", "0.5,570,a", "-0.1,627,a", "nonsense,684,a", "0.7,741,a", "0.2,513,b"]
    path.write_bytes(gzip.compress("\n".join(rows).encode()))
    first, second = containers(path)
    assert (first.start, first.levels.tolist()) == (1, [0.5, 0.0, 0.0, 0.7])
    assert (second.start, second.levels.tolist()) == (0, [0.2])


def test_laws_are_fitted_by_least_squares(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv.gz"
    head = "name\ttimestamp\tpowerave\ttempave\tutilave"
    rows = [f"x\tt\t{50 + 2.5 * use}\t{30 + 0.1 * (50 + 2.5 * use)}\t{use}" for use in (0, 50, 100)]
    path.write_bytes(gzip.compress(("\ufeff" + "\n".join([head, *rows, "x\tt\t?\t\t"])).encode()))
    servers = Servers([path])
    assert servers.power_law() == pytest.approx((50, 250))
    assert servers.heat_law() == pytest.approx((30, 0.1))
    fans = tmp_path / "fan.csv"
    fans.write_text("server power,fan power\n100,10\n200,30\n")
    assert fan_law(fans) == pytest.approx((-10, 0.2))


# --- memory ---------------------------------------------------------------------------------------------------------


def steady(level: float, samples: int = TRIAL + 200) -> Container:
    return Container(0, np.full(samples, level))


def test_a_margin_is_where_more_risk_would_cost_more_than_more_memory() -> None:
    """Of ten, one needs twice as much: from loss x 1/10 > 1 x hours on, a user asks for all of it."""
    ratios = np.array([1.0] * 9 + [2.0])
    assert best_margin(ratios, 10.0, 99.0) == 0.0
    assert best_margin(ratios, 10.0, 101.0) == 1.0


@given(st.lists(st.floats(0.1, 5.0), min_size=1, max_size=20), st.floats(0.1, 50), st.floats(0.1, 1e4))
@settings(deadline=None)
def test_a_dearer_kill_never_lowers_the_margin(ratios: list[float], hours: float, loss: float) -> None:
    assert best_margin(np.array(ratios), hours, 2 * loss) >= best_margin(np.array(ratios), hours, loss) >= 0.0


def test_steady_use_frees_what_is_not_used() -> None:
    found = [steady(0.4)] * 4
    outcome, alpha = static(found, found, 100.0)
    assert (alpha, outcome.kills) == (0.0, 0.0)
    assert outcome.freed == pytest.approx(0.6)
    assert hindsight(found, 0.1) == pytest.approx(0.56)


@pytest.mark.parametrize(("freed", "fits"), [(0.5, True), (0.6, False)])
def test_a_host_serves_what_fits_beside_its_buffer(freed: float, fits: bool) -> None:
    """Sixteen that need 0.45 each fit in 0.95 x 0.5 of what they asked for, and not in 0.95 x 0.4 of it."""
    found = [steady(0.45)] * HOST_CONTAINERS
    teg, killed = (shared(host, found, freed, 1, 0.05) for host in (Host, Overcommitted))
    assert (teg.stalled == 0) == fits
    assert teg.kills == 0
    assert (killed.kills == 0) == fits


def test_the_future_changes_no_decision_before_it() -> None:
    """Causal: two traces that are alike up to a sample lead to the same holdings up to it."""
    rising = np.concatenate((np.full(TRIAL + 50, 0.3), np.full(50, 0.9)))
    falling = np.concatenate((np.full(TRIAL + 50, 0.3), np.full(50, 0.1)))
    held = []
    for levels in (rising, falling):
        host = Host([Container(0, levels)] * 2, 0.0)
        host.run(50, 1)
        held.append([(work.held, work.paid_ucr, work.at) for work in host.works])
    assert held[0] == held[1]


def test_what_stands_still_takes_longer_and_ends_where_it_would_have() -> None:
    """Two that need 0.6 of a request each, in turn, on a host for one and a bit: both end, one later."""
    host = Host([steady(0.6, TRIAL + 100)] * 2, 0.4)
    host.run(400, 1)
    assert [work.at for work in host.works] == [100, 100]
    assert sorted(work.lived for work in host.works)[1] > 150
    assert sum(work.lived - work.stalled for work in host.works) == 200


def test_users_of_an_hour_know_the_hour_before() -> None:
    found = [Container(0, np.tile(np.repeat([0.2, 0.4], HOUR), 5))] * 2
    outcome, alpha = fear.hourly(found, found, 1000.0)
    assert alpha == pytest.approx(1.0)
    assert outcome.kills == 0.0


# --- money ----------------------------------------------------------------------------------------------------------


def test_concentration_of_few() -> None:
    assert gini(np.ones(10)) == pytest.approx(0.0)
    assert gini(np.array([0.0] * 9 + [1.0])) == pytest.approx(0.9)
    assert gini(np.array([1.0, 3.0])) == pytest.approx(0.25)


def test_recycled_credits_add_up_to_all_that_was_minted() -> None:
    """Nothing burns where all of it comes back, but for a division's rest and what is due at the end."""
    recycled, burned = economy("all", 60, 1), economy("nobody", 60, 1)
    grown = recycled.money[-1] - recycled.money[0]
    assert grown == pytest.approx(59 * TENANTS * 1.2, rel=0.15)
    assert burned.money[-1] < recycled.money[-1]


# --- bids -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bidders", [2, 4])
def test_one_slot_at_first_prices_is_shaded_as_theory_says(bidders: int) -> None:
    """Evenly drawn values: (n - 1) / n of the value (Vickrey 1961)."""
    found = equilibrium(first_price([1]), Crowd((0,), bidders, 400), 6, 1)
    assert found[0] == pytest.approx(max(GRID[0], (bidders - 1) / bidders), abs=0.07)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_under_the_ledgers_rules_nothing_gains_over_the_truth(seed: int) -> None:
    crowd = Crowd((0, 2, 3), 12, 30)
    for paid in (second_price([0] * 6 + [1]), Leased(seed)):
        for gain in gains(paid, crowd, dict.fromkeys(crowd.sizes, 1.0), seed).values():
            assert gain.max() - gain[GRID.index(1.0)] <= 1e-3 * RESERVE_UCR


def test_a_leased_zone_is_left_as_it_was() -> None:
    paid = Leased(1)
    bids = drawn((0, 2, 4), 20, 1, 1)
    assert paid(bids, bids.worth) == paid(bids, bids.worth)


# --- phases ---------------------------------------------------------------------------------------------------------


def test_a_deadlock_is_named_at_the_first_epoch() -> None:
    passed = scene("deadlock", True, 2 * PERIOD_TICKS, 1)
    assert 0 <= passed.seen <= PERIOD_TICKS
    assert math.isclose(passed.g, 0.5, abs_tol=0.1)
