"""The field: its kernel, one evaluation against a plain sum, its dual part, its superposition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tegcore.field import kernel_sum, reference
from tegcore.field.dual import Dual, dual
from tegcore.field.kernels import wendland_c4, wendland_c4_slope
from tegcore.field.potential import (
    S_MAX,
    STALE_TICKS,
    SUPPORT_SPACINGS,
    FieldFrame,
    aged,
    ahead,
    clipped,
    evaluate,
    flat_frame,
    interpolation_matrix,
    superposed,
)

SIDE, GRID = 32.0, 16
SEEDS = st.integers(0, 2**32 - 1)


def some_frame(seed, mean=1.0, side=SIDE, grid=GRID):
    source = np.random.default_rng(seed)
    weights, rates = source.normal(size=(2, grid, grid))
    return FieldFrame(side, mean, Dual(weights, rates), tau=1000)


def parts(sample):
    """Value, rate, gradient and second derivatives."""
    return (sample.value.value, sample.value.rate, sample.gradient, sample.hessian)


def plain_sum(frame, position):
    """(8) as it is printed, over every grid point."""
    value, rate = frame.mean, 0.0
    for row, column in np.ndindex(frame.weights.value.shape):
        point = (np.array([column, row]) + 0.5) * frame.spacing
        distance = np.linalg.norm(position - point) / (SUPPORT_SPACINGS * frame.spacing)
        kernel = float(wendland_c4(np.array(distance)))
        value += frame.weights.value[row, column] * kernel
        rate += frame.weights.rate[row, column] * kernel
    return value, rate


class TestKernel:
    def test_is_one_at_its_centre_and_falls_to_nothing_at_its_support(self):
        distances = np.linspace(0, 1, 200)
        values = wendland_c4(distances)
        assert values[0] == 1
        assert (np.diff(values) < 0).all()
        assert (wendland_c4(np.array([1.0, 1.5, 1e9])) == 0).all()
        assert (wendland_c4_slope(np.array([1.0, 1.5, 1e9])) == 0).all()

    @settings(deadline=None)
    @given(st.floats(1e-3, 1.2))
    def test_slope_is_its_derivative(self, distance):
        step = 1e-6
        ends = wendland_c4(np.array([distance - step, distance + step]))
        slope = distance * float(wendland_c4_slope(np.array(distance)))
        assert (ends[1] - ends[0]) / (2 * step) == pytest.approx(slope, abs=1e-8)

    def test_joins_nothing_four_times_smoothly(self):
        """C4: near the support it falls as the sixth power of what is left, so four derivatives vanish there."""
        rest = np.array([1e-2, 5e-3])
        near, nearer = wendland_c4(1 - rest)
        assert np.log2(near / nearer) == pytest.approx(6, abs=0.05)

    @settings(deadline=None, max_examples=20)
    @given(SEEDS, st.integers(2, 60))
    def test_is_positive_definite_in_the_plane(self, seed, count):
        points = np.random.default_rng(seed).uniform(0, 3, (count, 2))
        offsets = points[:, None] - points[None]
        gram = wendland_c4(np.hypot(offsets[..., 0], offsets[..., 1]))
        assert np.linalg.eigvalsh(gram).min() > -1e-12 * count


class TestEvaluate:
    @settings(deadline=None, max_examples=30)
    @given(SEEDS, st.floats(0, SIDE, exclude_max=True), st.floats(0, SIDE, exclude_max=True))
    def test_is_the_sum_over_the_whole_grid(self, seed, x, y):
        frame = some_frame(seed)
        sample = evaluate(frame, np.array([[x, y]]))
        value, rate = plain_sum(frame, np.array([x, y]))
        assert sample.value.value[0] == pytest.approx(value, abs=1e-12)
        assert sample.value.rate[0] == pytest.approx(rate, abs=1e-12)

    @settings(deadline=None, max_examples=30)
    @given(SEEDS)
    def test_gradient_is_the_derivative_of_the_value(self, seed):
        frame = some_frame(seed)
        positions = np.random.default_rng(seed).uniform(0, SIDE, (50, 2))
        gradient = evaluate(frame, positions).gradient
        step = 1e-5
        for axis, shift in enumerate(np.eye(2) * step):
            ahead, behind = (evaluate(frame, positions + sign * shift).value.value for sign in (1, -1))
            assert gradient[:, axis] == pytest.approx((ahead - behind) / (2 * step), abs=1e-8)

    @settings(deadline=None, max_examples=20)
    @given(SEEDS, st.integers(1, 20))
    def test_a_place_reads_the_same_alone_and_among_others(self, seed, count):
        frame = some_frame(seed)
        positions = np.random.default_rng(seed).uniform(0, SIDE, (count, 2))
        together = evaluate(frame, positions)
        alone = [evaluate(frame, positions[row : row + 1]) for row in range(count)]
        for row, sample in enumerate(alone):
            for whole, single in zip(parts(together), parts(sample), strict=True):
                assert (whole[row] == single[0]).all()

    @settings(deadline=None, max_examples=30)
    @given(SEEDS)
    def test_second_derivatives_are_those_of_the_gradient(self, seed):
        frame = some_frame(seed)
        positions = np.random.default_rng(seed).uniform(0, SIDE, (50, 2))
        hessian = evaluate(frame, positions).hessian
        step = 1e-5
        for axis, shift in enumerate(np.eye(2) * step):
            ends = [evaluate(frame, positions + sign * shift).gradient for sign in (1, -1)]
            assert hessian[:, axis : axis + 2] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-7)

    @settings(deadline=None, max_examples=30)
    @given(SEEDS, st.integers(1, 20), st.integers(1, 3), st.booleans())
    def test_the_compiled_sum_is_the_plain_one(self, seed, grid, layers, outside):
        """Also at places far outside the grid, and with fewer points than a support holds."""
        source = np.random.default_rng(seed)
        weights = source.normal(size=(layers, grid, grid))
        positions = source.uniform(-5 if outside else 0, grid + 5 * outside, (30, 2))
        sums = np.full((2, 30, layers, 6), np.nan)
        kernel_sum.kernel_sum(weights, positions, sums[0])
        reference.kernel_sum(weights, positions, sums[1])
        assert sums[0] == pytest.approx(sums[1], abs=1e-11)

    @settings(deadline=None, max_examples=30)
    @given(SEEDS, st.integers(1, 12), st.booleans())
    def test_what_places_say_of_a_field_is_the_same_compiled_and_plain(self, seed, grid, outside):
        source = np.random.default_rng(seed)
        positions = source.uniform(-5 if outside else 0, grid + 5 * outside, (30, 2))
        values, work = source.normal(size=30), np.empty((kernel_sum.NEAR, kernel_sum.NEAR))
        information, evidence = np.ones((2, grid**2, grid**2)), np.ones((2, grid**2))
        kernel_sum.kernel_normal(positions, values, grid, information[0], evidence[0], work)
        reference.kernel_normal(positions, values, grid, information[1], evidence[1], work)
        assert information[0] == pytest.approx(information[1], abs=1e-11)
        assert evidence[0] == pytest.approx(evidence[1], abs=1e-11)

    def test_is_smooth_across_the_edges_of_grid_cells(self):
        """Terms come and go only where they are zero."""
        frame = some_frame(5)
        edges = np.arange(1, GRID) * frame.spacing
        for offset in (0.0, frame.spacing / 2):
            here = np.stack((edges + offset, np.full(len(edges), 13.3)), axis=-1)
            below, above = evaluate(frame, here - 1e-9), evaluate(frame, here + 1e-9)
            assert below.value.value == pytest.approx(above.value.value, abs=1e-7)
            assert below.gradient == pytest.approx(above.gradient, abs=1e-7)

    def test_no_place_gives_no_sample(self):
        sample = evaluate(some_frame(1), np.zeros((0, 2)))
        assert [part.shape for part in parts(sample)] == [(0,), (0,), (0, 2), (0, 3)]

    @settings(deadline=None, max_examples=20)
    @given(SEEDS, st.floats(0.01, 100))
    def test_stretching_the_zone_stretches_the_field(self, seed, scale):
        small, large = some_frame(seed), some_frame(seed, side=SIDE * scale)
        positions = np.random.default_rng(seed).uniform(0, SIDE, (20, 2))
        here, there = evaluate(small, positions), evaluate(large, positions * scale)
        assert there.value.value == pytest.approx(here.value.value, abs=1e-9)
        assert there.gradient * scale == pytest.approx(here.gradient, abs=1e-8)

    def test_a_flat_field_pulls_nowhere(self):
        positions = np.random.default_rng(0).uniform(0, SIDE, (50, 2))
        sample = evaluate(flat_frame(SIDE, 2.5, 0), positions)
        assert (sample.value.value == 2.5).all()
        assert (sample.gradient == 0).all()
        assert (sample.value.rate == 0).all()


class TestInterpolation:
    @settings(deadline=None, max_examples=20)
    @given(SEEDS, st.sampled_from([4, 8, 16]))
    def test_the_field_of_the_weights_takes_the_given_values_at_the_grid(self, seed, grid):
        cells = np.random.default_rng(seed).uniform(0, 5, (grid, grid))
        weights = (interpolation_matrix(grid) @ cells.ravel()).reshape(grid, grid)
        frame = FieldFrame(SIDE, 0.0, dual(weights), 0)
        rows, columns = np.indices((grid, grid))
        points = (np.stack((columns.ravel(), rows.ravel()), axis=-1) + 0.5) * frame.spacing
        assert evaluate(frame, points).value.value == pytest.approx(cells.ravel(), abs=1e-9)

    def test_single_precision_weights_lose_nothing_that_matters(self):
        """What goes over the wire is float32: the field moves by less than a thousandth of its range."""
        cells = np.random.default_rng(3).uniform(0, S_MAX, (GRID, GRID))
        exact = (interpolation_matrix(GRID) @ cells.ravel()).reshape(GRID, GRID)
        positions = np.random.default_rng(4).uniform(0, SIDE, (500, 2))
        fields = [
            evaluate(FieldFrame(SIDE, 0.0, dual(weights), 0), positions).value.value
            for weights in (exact, exact.astype("<f4").astype(np.float64))
        ]
        assert np.abs(fields[0] - fields[1]).max() < 1e-3 * S_MAX


class TestDualPart:
    def test_the_rate_is_how_fast_the_value_changes_with_tau(self):
        frame = some_frame(7, mean=4.0)
        positions = np.random.default_rng(0).uniform(0, SIDE, (50, 2))
        sample = evaluate(frame, positions)
        later = evaluate(ahead(frame, 0.5), positions).value
        assert later.value == pytest.approx(sample.value.at(0.5).value, abs=1e-12)
        assert later.rate == pytest.approx(sample.value.rate, abs=1e-12)

    def test_a_looked_ahead_value_stays_where_entropy_lives(self):
        """However long a rate is believed."""
        sample = evaluate(ahead(some_frame(7, mean=4.0), 1e6), np.random.default_rng(0).uniform(0, SIDE, (50, 2)))
        value = clipped(sample.value)
        assert ((value.value >= 0) & (value.value <= S_MAX)).all()
        assert (value.rate[(value.value == 0) | (value.value == S_MAX)] == 0).all()

    def test_a_field_is_carried_on_by_its_rates_and_fades_with_age(self):
        frame = some_frame(7)
        assert np.array_equal(aged(frame, 1000).weights.value, frame.weights.value)
        assert np.array_equal(aged(frame, 900).weights.value, frame.weights.value)
        soon, trust = aged(frame, 1010), 1 - 10 / STALE_TICKS
        assert soon.weights.value == pytest.approx(trust * (frame.weights.value + trust * 10 * frame.weights.rate))
        half = aged(frame, 1000 + STALE_TICKS // 2)
        carried = frame.weights.value + 0.5 * STALE_TICKS / 2 * frame.weights.rate
        assert half.weights.value == pytest.approx(0.5 * carried)
        gone = aged(frame, 1000 + STALE_TICKS)
        assert not gone.weights.value.any()
        assert not gone.weights.rate.any()
        assert gone.mean == frame.mean

    def test_the_older_a_field_the_more_a_host_believes_its_own_telemetry(self):
        frame = some_frame(7, mean=4.0)
        means = [aged(frame, 1000 + age, local=2.0).mean for age in (0, STALE_TICKS // 4, STALE_TICKS, 9 * STALE_TICKS)]
        assert means == pytest.approx([4.0, 3.5, 2.0, 2.0])


@settings(deadline=None, max_examples=20)
@given(SEEDS, st.floats(0, 10), st.floats(0, 10))
def test_superposition_weighs_value_rate_and_gradient_alike(seed, physical_weight, heat_weight):
    """(7) holds for sums of fields and for fields of sums."""
    physical, heat = some_frame(seed), some_frame(seed + 1, mean=0.5)
    positions = np.random.default_rng(seed).uniform(0, SIDE, (20, 2))
    apart = superposed(evaluate(physical, positions), evaluate(heat, positions), physical_weight, heat_weight)
    as_one = FieldFrame(
        SIDE,
        physical_weight * physical.mean + heat_weight * heat.mean,
        physical_weight * physical.weights + heat_weight * heat.weights,
        0,
    )
    for left, right in zip(parts(apart), parts(evaluate(as_one, positions)), strict=True):
        assert left == pytest.approx(right, abs=1e-10)
