"""The governor's parts against closed forms, and its refusal of telemetry that makes no sense."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor import voice as says
from governor.controller import (
    HOST_SILENT_TICKS,
    HOSTS_PER_BATCH_MAX,
    SLOT_W_MAX,
    Controller,
    Policy,
    sampled,
)
from governor.gp.posterior import Hyperparameters, Posterior
from governor.landau import Landau, free_energy, order_parameter
from governor.phase import Phase, Thresholds, classify, entropy_rate, reynolds
from tegcore.economics.energy import Energy
from tegcore.field.kernels import wendland_c4
from tegcore.field.potential import evaluate, kernel_between
from tegcore.units import GIB
from tegcore.wire.control import WorkloadSpec
from tegcore.wire.messages import SCHEMA, Digest, Motion, Sample, Telemetry
from tegcore.wire.records import (
    Fok,
    HostUp,
    Mint,
    NameIs,
    NameKind,
    Op,
    Record,
    Region,
    Tick,
    unpack_all,
)
from tegd.workload import shape_of
from zone_ledger.genesis import genesis_records
from zone_ledger.replay import new_engine
from zone_ledger.settings import LedgerSettings

POLICY = Policy(1000, 100, 10, 1000, 0, 3_600_000)
NAN = float("nan")


@pytest.mark.parametrize("count", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_the_order_parameter_is_the_global_minimum_at_a_hundred_thousand_random_places(count: int) -> None:
    """Against a minimiser that knows no algebra: the best of a fine grid, polished by golden sections."""
    source = np.random.default_rng(7)
    a, b, critical = (source.uniform(low, high, count) for low, high in ((0.01, 2), (0.1, 5), (1, 20)))
    reynolds_now, push = source.uniform(0, 60, count), source.uniform(-3, 3, count)
    push[:1000] = 0.0
    laws = [Landau(*row) for row in zip(a.tolist(), b.tolist(), critical.tolist(), strict=True)]
    g = np.array([order_parameter(*row) for row in zip(reynolds_now.tolist(), push.tolist(), laws, strict=True)])

    def energy(at):
        return a / 2 * (critical - reynolds_now) * at**2 + b / 4 * at**4 - push * at

    reach = 1 + np.sqrt(np.maximum(a * (reynolds_now - critical), 0) / b) + np.cbrt(np.abs(push) / b)
    best = np.zeros(count)
    for share in np.linspace(-1, 1, 401):
        best = np.where(energy(share * reach) < energy(best), share * reach, best)
    low, high = best - reach / 200, best + reach / 200
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(40):
        left, right = high - golden * (high - low), low + golden * (high - low)
        less = energy(left) < energy(right)
        low, high = np.where(less, low, left), np.where(less, right, high)
    assert (energy(g) <= energy((low + high) / 2) + 1e-9 * (1 + np.abs(energy(g)))).all()
    first = zip(g[:9], reynolds_now[:9], push[:9], laws[:9], strict=True)
    assert [free_energy(*row) for row in first] == pytest.approx(energy(g)[:9])


def test_the_symmetry_breaks_above_the_critical_number_only() -> None:
    law = Landau()
    assert order_parameter(law.critical - 1, 0.0, law) == 0
    assert order_parameter(law.critical + 2, 0.0, law) == pytest.approx(math.sqrt(law.a * 2 / law.b), rel=1e-12)
    assert order_parameter(law.critical + 2, 1e-9, law) > 0 > order_parameter(law.critical + 2, -1e-9, law)


@given(st.floats(0, 7.5), st.floats(-1, 1), st.floats(1e-7, 1e-5))
def test_below_the_transition_g_is_continuous_in_the_field(reynolds_now: float, push: float, nudge: float) -> None:
    law = Landau()
    assert abs(order_parameter(reynolds_now, push + nudge, law) - order_parameter(reynolds_now, push, law)) < 0.03


PHASES = [
    (Phase.LAMINAR, 0.0, 0.05, 0.0, Phase.STASIS),
    (Phase.LAMINAR, 0.0, 0.05, 0.5, Phase.DEATH),
    (Phase.LAMINAR, 30.0, 0.05, 0.5, Phase.DEATH),
    (Phase.STASIS, 2.0, 0.9, 0.0, Phase.LAMINAR),
    (Phase.LAMINAR, 9.0, 0.9, 0.5, Phase.TURBULENT),
    (Phase.TURBULENT, 7.0, 0.9, 0.0, Phase.TURBULENT),
    (Phase.LAMINAR, 7.0, 0.9, 0.0, Phase.LAMINAR),
    (Phase.STASIS, 0.0, 0.22, 0.0, Phase.STASIS),
    (Phase.LAMINAR, 0.0, 0.22, 0.0, Phase.LAMINAR),
]


@pytest.mark.parametrize(("before", "re", "entropy", "unmet", "after"), PHASES)
def test_phases_and_their_hysteresis(before: Phase, re: float, entropy: float, unmet: float, after: Phase) -> None:
    assert classify(before, re, entropy, unmet, Thresholds()) is after


def test_re_and_entropy_rate_by_their_definitions() -> None:
    assert reynolds(40, 80, 0.25) == pytest.approx(40 / 80 * 0.25 * 8)
    assert reynolds(5, 0, 1) == 0
    assert entropy_rate(300, 1200) == 0.25
    assert entropy_rate(1, 0) == 0


def dense_weights(posterior: Posterior, hyper: Hyperparameters, side: float, x, y, mean: float):
    """The same posterior from all observations at once, by its formula."""
    spacing = side / hyper.grid
    axis = (np.arange(hyper.grid) + 0.5) * spacing
    points = np.stack([part.ravel() for part in np.meshgrid(axis, axis)], axis=-1)

    def kernel(a, b):
        return wendland_c4(np.hypot(*(a[:, None, :] - b[None, :, :]).transpose(2, 0, 1)) / (3 * spacing))

    features = kernel(x, points)
    prior = (hyper.noise / hyper.signal) ** 2 * kernel(points, points)
    return np.linalg.solve(features.T @ features + prior, features.T @ (y - mean))


def test_the_posterior_is_the_dense_one() -> None:
    hyper, side = Hyperparameters(grid=6, forget_per_tick=1.0), 16.0
    draw = np.random.default_rng(1)
    x, y = draw.uniform(0, side, (200, 2)), draw.normal(size=200)
    y -= y.mean()
    posterior = Posterior(side, hyper)
    posterior.observe(x, y, 1)
    got = posterior.frame().weights.value.ravel()
    assert np.allclose(got, dense_weights(posterior, hyper, side, x, y, posterior.mean), atol=1e-6)


def test_a_smooth_field_is_found_again_within_its_noise() -> None:
    hyper, side = Hyperparameters(grid=16, noise=0.2, forget_per_tick=1.0), 32.0
    draw = np.random.default_rng(2)

    def truth(at):
        return 2.0 + np.sin(at[:, 0] / 5) + np.cos(at[:, 1] / 7)

    posterior = Posterior(side, hyper)
    for tick in range(20):
        x = draw.uniform(0, side, (200, 2))
        posterior.observe(x, truth(x) + draw.normal(scale=0.2, size=200), tick)
    held_out = draw.uniform(1, side - 1, (500, 2))
    error = evaluate(posterior.frame(), held_out).value.value - truth(held_out)
    assert float(np.sqrt(np.mean(error**2))) < 0.1


def test_intervals_hold_what_they_say() -> None:
    """Nine in ten held-out hosts of a field drawn from the process lie within the 90 % interval.

    With 500 of them that is 0.9 give or take 0.04 (3 sd), and their errors hang together: 0.06.
    """
    source = np.random.default_rng(4)
    hyper = Hyperparameters(noise=0.3)
    places = source.uniform(0, hyper.grid, (1500, 2))
    covariance = kernel_between(places, places) + 1e-9 * np.eye(1500)
    values = np.linalg.cholesky(covariance) @ source.normal(size=1500) + source.normal(0, hyper.noise, 1500)
    posterior = Posterior(float(hyper.grid), hyper)
    posterior.observe(places[:1000], values[:1000], 0)
    miss = evaluate(posterior.frame(), places[1000:]).value.value - values[1000:]
    within = np.abs(miss) < 1.645 * np.sqrt(posterior.variance(places[1000:]))
    assert within.mean() == pytest.approx(0.9, abs=0.06)


def test_the_dual_part_is_the_rate_of_the_field() -> None:
    posterior = Posterior(8.0, Hyperparameters(grid=4, forget_per_tick=0.5))
    draw = np.random.default_rng(3)
    x = draw.uniform(0, 8, (400, 2))
    bump = np.exp(-((x - 4) ** 2).sum(axis=1) / 8)
    for tick in range(0, 200, 5):
        posterior.observe(x, 0.01 * tick * bump, tick)
        frame = posterior.frame()
    sample = evaluate(frame, np.array([[4.0, 4.0], [1.0, 1.0]]))
    assert sample.value.rate[0] - sample.value.rate[1] == pytest.approx(0.01 * (1 - math.exp(-18 / 8)), rel=0.25)


def digest(tick: int, **changes: int) -> Digest:
    fields = {"slots": 16, "free_slots": 8, "leases": 4, "demand_slots": 0, "rent_ucr": 8000, "used_rent_ucr": 8000}
    fields |= {"reserve_ucr": 16000, "attempts": 0, "refused": 0, "refused_span": 0, "epoch": 1}
    return Digest(SCHEMA, "z", tick, tick, **(fields | changes))


def telemetry(host: str = "n1", cpu: float = 0.5, **changes: object) -> Telemetry:
    sample = {"memory": 0.2, "io": 0.1, "network": NAN, "accelerator": NAN, "heat": NAN, "fragmentation": NAN}
    fields = {"base": 0, "log2_slots": 2, "motion": Motion(3, 1, 2.0, 5, 1.0)}
    samples = [Sample(1, cpu, **sample, temperature_c=NAN, power_w=NAN)]
    return Telemetry(SCHEMA, host, 1, 1, **({"samples": samples} | fields | changes))


def governed(ticks: int, *heard: Telemetry) -> Controller:
    controller = Controller(100, POLICY, Hyperparameters(grid=4))
    for tick in range(1, ticks + 1):
        if tick % 5 == 1:
            for message in heard:
                controller.hear(message)
        controller.take(digest(tick), 4.0)
        controller.project()
        controller.decide()
    return controller


BAD = {
    "no samples": telemetry(samples=[]),
    "above one": telemetry(cpu=1.5),
    "below nothing": telemetry(cpu=-0.1),
    "infinite": telemetry(cpu=math.inf),
    "nothing known": telemetry(samples=[Sample(1, *[NAN] * 9)]),
    "attempts not finite": telemetry(motion=Motion(3, 1, math.nan, 5, 1.0)),
    "attempts below nothing": telemetry(motion=Motion(3, 1, -1.0, 5, 1.0)),
    "agents below nothing": telemetry(motion=Motion(-3, 1, 1.0, 5, 1.0)),
    "a place that is none": telemetry(base=3),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_telemetry_is_counted_and_changes_no_broadcast(case: str) -> None:
    good = governed(60, telemetry())
    with_bad = governed(60, telemetry(), BAD[case])
    assert with_bad.rejected == 12
    assert good.frame is not None
    assert with_bad.frame is not None
    assert np.array_equal(good.frame.weights.value, with_bad.frame.weights.value)
    assert good.decision == with_bad.decision


def test_without_telemetry_the_last_good_field_stands_and_says_how_old_it_is() -> None:
    controller = governed(60, telemetry())
    frame = controller.frame
    for tick in range(61, 301):
        controller.take(digest(tick), 4.0)
        controller.project()
        controller.decide()
    assert controller.frame is frame
    assert controller.decision is not None
    assert controller.decision.stale == 300 - 60


def test_an_epoch_sets_rates_once_and_never_an_older_one() -> None:
    controller = Controller(100, POLICY, Hyperparameters(grid=4))
    epochs = []
    for tick in range(1, 351):
        controller.take(digest(tick, epoch=7), 4.0)
        if decided := controller.decide():
            epochs.append(decided[1].epoch)
    assert epochs == [8, 9, 10, 11]


def test_paused_it_holds_g_at_nothing() -> None:
    controller = Controller(10, POLICY, Hyperparameters(grid=4), paused=True)
    controller.take(digest(10, used_rent_ucr=0, demand_slots=9), 4.0)
    decision, rates = controller.decide() or pytest.fail("no decision")
    assert (decision.g, decision.bound, rates.tax_permille, rates.subsidy_permille) == (0.0, "paused", 0, 0)


def test_a_deadlock_is_recognised_and_taxed() -> None:
    """Slots are held, little is used, demand is not met: heat death, g above 0, a tax."""
    controller = Controller(100, POLICY, Hyperparameters(grid=4))
    for tick in range(1, 301):
        controller.take(digest(tick, free_slots=0, used_rent_ucr=100, demand_slots=4), 4.0)
        decided = controller.decide()
        if decided:
            rates = decided[1]
    assert controller.phase is Phase.DEATH
    assert controller.decision is not None
    assert controller.decision.g > 0
    assert rates.tax_permille > 0
    assert controller.friction > POLICY.friction


def test_a_herd_is_recognised() -> None:
    """Everything is used, and every agent keeps trying to move: turbulence."""
    herd = telemetry(motion=Motion(60, 50, 60 * 8.0 * 5, 5, 1.0))
    controller = Controller(100, POLICY, Hyperparameters(grid=4))
    for tick in range(1, 301):
        controller.hear(herd)
        controller.take(digest(tick, used_rent_ucr=16000), 4.0)
        controller.decide()
    assert controller.phase is Phase.TURBULENT


def test_many_hosts_get_their_turn() -> None:
    names = [f"n{number}" for number in range(12_000)]
    turns = [sampled(names, tick) for tick in range(0, 15, 5)]
    assert all(len(turn) <= HOSTS_PER_BATCH_MAX for turn in turns)
    assert len(set().union(*turns)) > 11_900


def drawing(host: str, power_w: float, **changes: object) -> Telemetry:
    message = telemetry(host, **changes)
    return msgspec.structs.replace(message, samples=[msgspec.structs.replace(message.samples[0], power_w=power_w)])


MEASURING = POLICY._replace(energy=Energy(72_000, 1.5, (1.0, 2.0)))
"""A period of an hour and a peg of 3.6 MJ: a credit is a kilowatt-hour."""


def measured(*heard: Telemetry) -> dict[int, int]:
    controller = Controller(100, MEASURING, Hyperparameters(grid=4))
    controller.take(digest(1), 4.0)
    for message in heard:
        controller.hear(message)
    return {each.slot_class: each.reserve_ucr for each in controller.reserves()}


class TestReserves:
    def test_they_are_the_energy_of_the_mean_slot_of_each_class(self):
        hosts = (drawing("a", 400.0), drawing("b", 1200.0, base=4), drawing("c", 900.0, base=8, slot_class=1))
        assert measured(*hosts) == {0: 300_000, 1: 675_000}

    @given(st.lists(st.floats(1.0, 4 * SLOT_W_MAX), min_size=1, max_size=4), st.floats(1.1, 3.0))
    def test_more_heat_is_dearer_on_the_same_slots(self, watts, factor):
        calm, busy = (
            measured(*(drawing(f"n{at}", min(4 * SLOT_W_MAX, w * by), base=4 * at) for at, w in enumerate(watts)))[0]
            for by in (1.0, factor)
        )
        assert busy >= calm > 0

    @pytest.mark.parametrize("power_w", [NAN, 0.0, -5.0, math.inf, 4 * SLOT_W_MAX + 1])
    def test_a_sensor_that_says_nonsense_moves_none(self, power_w):
        assert measured(drawing("a", power_w)) == {}
        assert measured(drawing("a", power_w), drawing("b", 400.0, base=4)) == {0: 150_000}

    def test_a_host_that_is_silent_counts_no_more(self):
        controller = Controller(100, MEASURING, Hyperparameters(grid=4))
        controller.take(digest(1), 4.0)
        controller.hear(drawing("a", 400.0))
        controller.take(digest(2 + HOST_SILENT_TICKS), 4.0)
        assert controller.reserves() == []

    def test_as_rated_they_stay(self):
        assert governed(5, drawing("a", 400.0)).reserves() == []

    def test_a_ledger_takes_them_with_the_rates_of_an_epoch(self):
        engine = new_engine()
        for record in genesis_records(LedgerSettings(zone_k=2)):
            engine.apply(record)
        controller = Controller(100, MEASURING, Hyperparameters(grid=4))
        controller.take(digest(1), 4.0)
        controller.hear(drawing("a", 400.0))
        for record in unpack_all(says.rates(controller, "z", *controller.decide()).records):
            engine.apply(record)
        assert engine.state.reserves[0] == 150_000

    def test_new_work_goes_to_the_cool_host_and_back_when_the_hot_one_has_cooled(self):
        engine = new_engine()
        opening = genesis_records(LedgerSettings(zone_k=2, rated_w=(700.0, 700.0)))
        names = [
            NameIs.of(NameKind.TENANT, 1, "ada"),
            NameIs.of(NameKind.HOST, 1, "a"),
            NameIs.of(NameKind.HOST, 2, "b"),
        ]
        hosts = [
            Record(Op.HOST_UP, number, 1, 0, HostUp(4 * (number - 1), 2, number - 1, 8_000, 8 * GIB, 0))
            for number in (1, 2)
        ]
        for record in (*opening, *(Record(Op.NAME_IS, 0, 0, 0, name) for name in names), *hosts):
            engine.apply(record)
        engine.apply(Record(Op.MINT, 0, 0, 1000, Mint(1, 10**9)))
        controller, seats = Controller(100, MEASURING, Hyperparameters(grid=4)), []
        either = shape_of(WorkloadSpec(argv=("job",), slot_classes=(0, 1))).packed()
        for turn, watts in enumerate(((1600.0, 400.0), (400.0, 1600.0))):
            controller.take(digest(1 + 100 * turn), 4.0)
            for number, name in enumerate("ab"):
                controller.hear(drawing(name, watts[number], base=4 * number, slot_class=number))
            for record in unpack_all(says.rates(controller, "z", *controller.decide()).records):
                engine.apply(record)
            order = Fok(turn + 1, 1, Region(0, 4).packed(), either, 0, 0, 10**6, 10**7, 0, 0)
            engine.apply(Record(Op.FOK, 1, 1, turn + 1, order))
            engine.apply(Record(Op.TICK, 0, 0, 0, Tick(turn + 1, turn + 1)))
            seats.append(max(engine.state.leases.values(), key=lambda lease: lease.number).hosts)
        assert seats == [(2,), (1,)]
