"""The field: its kernel, one evaluation against a plain sum, its dual part, its superposition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tegcore.field.kernels import wendland_c4, wendland_c4_slope
from tegcore.field.potential import (
    S_MAX,
    STALE_TICKS,
    SUPPORT_SPACINGS,
    FieldFrame,
    aged,
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
    return FieldFrame(side, mean, weights, rates, tau=1000)


def plain_sum(frame, position):
    """(8) as it is printed, over every grid point."""
    value, rate = frame.mean, 0.0
    for row, column in np.ndindex(frame.weights.shape):
        point = (np.array([column, row]) + 0.5) * frame.spacing
        distance = np.linalg.norm(position - point) / (SUPPORT_SPACINGS * frame.spacing)
        kernel = float(wendland_c4(np.array(distance)))
        value += frame.weights[row, column] * kernel
        rate += frame.rates[row, column] * kernel
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
        assert sample.value[0] == pytest.approx(value, abs=1e-12)
        assert sample.rate[0] == pytest.approx(rate, abs=1e-12)

    @settings(deadline=None, max_examples=30)
    @given(SEEDS)
    def test_gradient_is_the_derivative_of_the_value(self, seed):
        frame = some_frame(seed)
        positions = np.random.default_rng(seed).uniform(0, SIDE, (50, 2))
        gradient = evaluate(frame, positions).gradient
        step = 1e-5
        for axis, shift in enumerate(np.eye(2) * step):
            ahead, behind = evaluate(frame, positions + shift).value, evaluate(frame, positions - shift).value
            assert gradient[:, axis] == pytest.approx((ahead - behind) / (2 * step), abs=1e-8)

    @settings(deadline=None, max_examples=20)
    @given(SEEDS, st.integers(1, 20))
    def test_a_place_reads_the_same_alone_and_among_others(self, seed, count):
        frame = some_frame(seed)
        positions = np.random.default_rng(seed).uniform(0, SIDE, (count, 2))
        together = evaluate(frame, positions)
        alone = [evaluate(frame, positions[row : row + 1]) for row in range(count)]
        for row, sample in enumerate(alone):
            for whole, single in zip(together, sample, strict=True):
                assert (whole[row] == single[0]).all()

    def test_is_smooth_across_the_edges_of_grid_cells(self):
        """Terms come and go only where they are zero."""
        frame = some_frame(5)
        edges = np.arange(1, GRID) * frame.spacing
        for offset in (0.0, frame.spacing / 2):
            here = np.stack((edges + offset, np.full(len(edges), 13.3)), axis=-1)
            below, above = evaluate(frame, here - 1e-9), evaluate(frame, here + 1e-9)
            assert below.value == pytest.approx(above.value, abs=1e-7)
            assert below.gradient == pytest.approx(above.gradient, abs=1e-7)

    def test_no_place_gives_no_sample(self):
        sample = evaluate(some_frame(1), np.zeros((0, 2)))
        assert (sample.value.shape, sample.rate.shape, sample.gradient.shape) == ((0,), (0,), (0, 2))

    @settings(deadline=None, max_examples=20)
    @given(SEEDS, st.floats(0.01, 100))
    def test_stretching_the_zone_stretches_the_field(self, seed, scale):
        small, large = some_frame(seed), some_frame(seed, side=SIDE * scale)
        positions = np.random.default_rng(seed).uniform(0, SIDE, (20, 2))
        here, there = evaluate(small, positions), evaluate(large, positions * scale)
        assert there.value == pytest.approx(here.value, abs=1e-9)
        assert there.gradient * scale == pytest.approx(here.gradient, abs=1e-8)

    def test_a_flat_field_pulls_nowhere(self):
        positions = np.random.default_rng(0).uniform(0, SIDE, (50, 2))
        sample = evaluate(flat_frame(SIDE, 2.5, 0), positions)
        assert (sample.value == 2.5).all()
        assert (sample.gradient == 0).all()
        assert (sample.rate == 0).all()


class TestInterpolation:
    @settings(deadline=None, max_examples=20)
    @given(SEEDS, st.sampled_from([4, 8, 16]))
    def test_the_field_of_the_weights_takes_the_given_values_at_the_grid(self, seed, grid):
        cells = np.random.default_rng(seed).uniform(0, 5, (grid, grid))
        weights = (interpolation_matrix(grid) @ cells.ravel()).reshape(grid, grid)
        frame = FieldFrame(SIDE, 0.0, weights, np.zeros_like(weights), 0)
        rows, columns = np.indices((grid, grid))
        points = (np.stack((columns.ravel(), rows.ravel()), axis=-1) + 0.5) * frame.spacing
        assert evaluate(frame, points).value == pytest.approx(cells.ravel(), abs=1e-9)

    def test_single_precision_weights_lose_nothing_that_matters(self):
        """What goes over the wire is float32: the field moves by less than a thousandth of its range."""
        cells = np.random.default_rng(3).uniform(0, S_MAX, (GRID, GRID))
        exact = (interpolation_matrix(GRID) @ cells.ravel()).reshape(GRID, GRID)
        positions = np.random.default_rng(4).uniform(0, SIDE, (500, 2))
        fields = [
            evaluate(FieldFrame(SIDE, 0.0, weights, np.zeros_like(exact), 0), positions).value
            for weights in (exact, exact.astype("<f4").astype(np.float64))
        ]
        assert np.abs(fields[0] - fields[1]).max() < 1e-3 * S_MAX


class TestDualPart:
    def test_the_rate_is_how_fast_the_value_changes_with_tau(self):
        frame = some_frame(7, mean=4.0)
        later = frame._replace(weights=frame.weights + 0.5 * frame.rates)
        positions = np.random.default_rng(0).uniform(0, SIDE, (50, 2))
        sample = evaluate(frame, positions)
        assert evaluate(later, positions).value == pytest.approx(sample.value + 0.5 * sample.rate, abs=1e-12)

    def test_a_field_is_carried_on_by_its_rates_and_fades_with_age(self):
        frame = some_frame(7)
        assert np.array_equal(aged(frame, 1000).weights, frame.weights)
        assert np.array_equal(aged(frame, 900).weights, frame.weights)
        soon, trust = aged(frame, 1010), 1 - 10 / STALE_TICKS
        assert soon.weights == pytest.approx(trust * (frame.weights + trust * 10 * frame.rates))
        half = aged(frame, 1000 + STALE_TICKS // 2)
        carried = frame.weights + 0.5 * STALE_TICKS / 2 * frame.rates
        assert half.weights == pytest.approx(0.5 * carried)
        gone = aged(frame, 1000 + STALE_TICKS)
        assert not gone.weights.any()
        assert not gone.rates.any()
        assert gone.mean == frame.mean


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
        physical_weight * physical.rates + heat_weight * heat.rates,
        0,
    )
    for left, right in zip(apart, evaluate(as_one, positions), strict=True):
        assert left == pytest.approx(right, abs=1e-10)
