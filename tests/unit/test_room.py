"""Fragmentation on its way: orders counted by the ledger, told with the heat, and what of a host's room they leave."""

from types import SimpleNamespace

import numpy as np
import pytest

from tegcore.field.requests import Mix, unpacked
from tegcore.units import GIB
from tegcore.wire.control import WorkloadSpec
from tegcore.wire.messages import BYTES_MAX, SCHEMA, Heat, Sample
from tegcore.wire.records import Fok, Region, Shape
from tegd.agent import AgentSide, Place
from tegd.room import fragmentation
from tegd.telemetry.model import NAN
from tegd.workload import Life, Workload
from zone_ledger.demand import TOLD_MAX, Demand


def order(shape: Shape, cpu_milli: int = 0) -> Fok:
    return Fok(1, 1, Region(0, 4).packed(), shape.packed(), cpu_milli, 0, 1, 1, 0, 0)


def seat(base: int, log2: int, share: int = 0, cpu_milli: int = 0) -> Workload:
    spec = WorkloadSpec(argv=("true",), sizes=(log2,), share_permille=share, cpu_milli=cpu_milli)
    return Workload(1, "w", "ada", 0, 0, 1, spec, Life.SEATED, lease=1, blocks=((base, log2),))


def lost(works, mix, cpu_milli=16_000):
    return fragmentation(64, 3, 0, cpu_milli, 64 * GIB, works, mix)


HALVES = Mix(np.array([[1, 500, 0, 0, 1]]), np.array([1.0]))
EIGHTS = Mix(np.array([[8, 1000, 8_000, 0, 1]]), np.array([1.0]))


def test_the_ledger_tells_its_orders_by_class_and_within_a_message() -> None:
    demand = Demand()
    for _ in range(3):
        demand.see(order(Shape((3, 0)), 2_000))
    demand.see(order(Shape((0,), 2, 250), 500))
    demand.see(order(Shape((0,)))._replace(shape=0xFF))
    mix = unpacked(demand.packed())
    assert mix is not None
    assert mix.classes.tolist() == [[8, 1000, 16_000, 0, 1], [1, 250, 500, 0, 2]]
    assert mix.often.tolist() == pytest.approx([0.75, 0.25], abs=1e-3)
    for size in range(9):
        for share in range(0, 999, 100):
            demand.see(order(Shape((0,), 1 + size, 1 + share)))
    assert len(demand.packed()) < BYTES_MAX[Heat] - 2048
    assert len(unpacked(demand.packed()).often) == TOLD_MAX


def test_an_empty_host_and_a_full_one_are_not_fragmented() -> None:
    assert lost([], HALVES) == 0
    assert lost([], EIGHTS) == 0
    assert lost([seat(64, 3)], HALVES) == 0


def test_what_a_lease_leaves_is_lost_to_those_who_need_more() -> None:
    one = [seat(66, 0)]
    assert lost(one, HALVES) == 0
    assert lost(one, EIGHTS) == 1
    assert lost([seat(64, 0, share=700)], HALVES) == pytest.approx(300 / 7300)
    assert lost([seat(0, 0)], EIGHTS) == 0, "a block elsewhere takes nothing here"


def test_slots_without_cores_are_lost_and_an_order_larger_than_the_host_would_take_it_whole() -> None:
    assert lost([seat(64, 0, cpu_milli=16_000)], Mix(np.array([[1, 1000, 1_000, 0, 1]]), np.array([1.0]))) == 1
    gang = Mix(np.array([[64, 1000, 128_000, 0, 1]]), np.array([1.0]))
    assert lost([], gang) == 0
    assert lost([seat(64, 0)], gang) == 1


@pytest.mark.parametrize("row", [(0, 1000, 0, 0, 1), (1, 0, 0, 0, 1), (1, 1001, 0, 0, 1), (1, 1, -1, 0, 1)])
def test_a_mix_of_what_nobody_can_ask_for_is_not_taken_in(row) -> None:
    raw = np.zeros(1, dtype=[("class", "<i8", 5), ("often", "<f8")])
    raw["class"], raw["often"] = row, 1.0
    assert unpacked(raw.tobytes()) is None
    raw["class"], raw["often"] = (1, 1, 0, 0, 1), float("nan")
    assert unpacked(raw.tobytes()) is None


def test_a_host_says_so_once_it_has_heard_of_orders() -> None:
    side = AgentSide(Place("h", 64, 3, 0, 16_000, 64 * GIB), 1, 1, {}, 0)
    reading = Sample(0, 0.1, 0.1, 0.0, 0.0, NAN, NAN, NAN, NAN, NAN)
    side.sensed(reading)
    assert np.isnan(side._samples[-1].fragmentation)
    demand = Demand()
    demand.see(order(Shape((3,))))
    side.heard(Heat(SCHEMA, "z", 1, 1, 0, bytes(1024), demand.packed()), 0)
    side.node.zone = SimpleNamespace(base=64)
    side.sensed(reading)
    assert side._samples[-1].fragmentation == 0
    side.node.workloads[1] = seat(66, 0)
    side.sensed(reading)
    assert side._samples[-1].fragmentation == 1
    side.heard(Heat(SCHEMA, "z", 2, 2, 0, bytes(1024), b"x"), 0)
    side.sensed(reading)
    assert side._samples[-1].fragmentation == 1, "what cannot be read changes nothing"
