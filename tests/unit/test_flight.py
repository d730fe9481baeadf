"""Flight of a host's ghosts: where they start, what pulls them, and what is passed over."""

import numpy as np
import pytest

from tegcore.field.potential import STALE_TICKS
from tegcore.wire.messages import SCHEMA, Field, Heat
from tegd.flight import Flight

K, GRID = 3, 16


def field(weights: np.ndarray, tau: int = 0, **changes) -> Field:
    fields = {"mean": 0.0, "noise": 0.1, "rates": np.zeros(GRID * GRID, "<f4").tobytes()}
    fields |= {"stale": 0, "temperature": 0.0, "friction": 1.0, "lengthscale": 1.5, "grid": GRID}
    return Field(SCHEMA, "z", tau, weights=weights.astype("<f4").tobytes(), **(fields | changes))


def slope() -> np.ndarray:
    """A hill on the right."""
    return np.tile(np.linspace(0, 4, GRID), (GRID, 1))


def mean_x(flight: Flight, ghosts: list[int], ticks: range) -> float:
    for tick in ticks:
        slots = flight.step(ghosts, [2.0] * len(ghosts), [1.0] * len(ghosts), tick)
    assert set(slots) == set(ghosts)
    assert all(0 <= slot < 4**K for slot in slots.values())
    return float(np.mean([flight._at[ref][0][0] for ref in ghosts]))


def test_ghosts_start_all_over_the_zone_and_the_same_each_time() -> None:
    ghosts = list(range(1, 2001))
    first, again = Flight(1, K), Flight(1, K)
    slots = first.step(ghosts, [1.0] * 2000, [1.0] * 2000, 0)
    assert slots == again.step(ghosts, [1.0] * 2000, [1.0] * 2000, 0)
    assert len(set(slots.values())) == 4**K
    assert Flight(2, K).step(ghosts, [1.0] * 2000, [1.0] * 2000, 0) != slots


def test_they_descend_the_field_and_a_stale_one_pulls_no_more() -> None:
    ghosts = list(range(1, 301))
    pulled, left = Flight(1, K), Flight(1, K)
    pulled.field_came(field(slope(), tau=0))
    left.field_came(field(slope(), tau=0))
    assert mean_x(pulled, ghosts, range(60)) < 2.0
    assert mean_x(left, ghosts, range(STALE_TICKS, STALE_TICKS + 60)) == pytest.approx(4.0, abs=0.5)


def test_heat_repels_by_frames_and_deltas_in_order_only() -> None:
    ghosts = list(range(1, 301))
    flight = Flight(1, K)
    flight.field_came(field(np.zeros((GRID, GRID))))
    cells = slope() * 2
    flight.heat_came(Heat(SCHEMA, "z", 0, 5, 0, cells.astype("<f4").tobytes()))
    assert mean_x(flight, ghosts, range(40)) < 3.0
    pair = np.array([(0, 9.0)], dtype=[("cell", "<u2"), ("value", "<f4")]).tobytes()
    for late in (
        Heat(SCHEMA, "z", 0, 5, 2, pair),
        Heat(SCHEMA, "z", 0, 4, 1, pair),
        Heat(SCHEMA, "z", 0, 5, 1, pair[:3]),
    ):
        flight.heat_came(late)
        assert flight._cells[0] == 0
    flight.heat_came(Heat(SCHEMA, "z", 0, 5, 1, pair))
    assert flight._cells[0] == 9


BAD = {
    "not finite": field(np.full((GRID, GRID), np.nan)),
    "mean not finite": field(slope(), mean=float("inf")),
    "another size": field(slope()[:3]),
    "a grid that is none": field(slope(), grid=0),
    "half a number": field(slope(), rates=b"123"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_field_that_makes_no_sense_is_passed_over(case: str) -> None:
    flight = Flight(1, K)
    flight.field_came(BAD[case])
    assert not flight._physical.weights.value.any()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_heat_that_is_not_finite_is_passed_over_and_moves_nobody_out_of_the_world(bad: float) -> None:
    flight = Flight(1, K)
    frame = np.zeros(flight._cells.size, "<f4")
    flight.heat_came(Heat(SCHEMA, "z", 0, 1, 0, frame.tobytes()))
    for cells in (np.where(np.arange(frame.size) == 7, bad, frame).astype("<f4"), np.full(frame.size, bad, "<f4")):
        flight.heat_came(Heat(SCHEMA, "z", 1, 2, 0, cells.tobytes()))
    pair = np.array([(3, bad)], dtype=[("cell", "<u2"), ("value", "<f4")]).tobytes()
    flight.heat_came(Heat(SCHEMA, "z", 1, 1, 1, pair))
    assert not flight._cells.any()
    assert 0 <= flight.step([1], [1.0], [1.0], 1)[1] < 1 << 2 * K


def test_who_is_seated_is_forgotten() -> None:
    flight = Flight(1, K)
    flight.step([1, 2], [1.0, 1.0], [1.0, 1.0], 0)
    assert flight.step([], [], [], 1) == {}
    assert flight._at == {}
