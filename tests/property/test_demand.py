"""The mix of late orders, whatever they ask for."""

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from property.test_extremes import BARE_FOK, values

from tegcore.field.requests import unpacked
from tegcore.wire.records import Fok, Op, Shape, bounds_of
from zone_ledger.demand import TOLD_MAX, Demand


def fok(**changes: Any) -> Fok:
    return BARE_FOK._replace(**changes)


@settings(max_examples=200, deadline=None)
@example([fok(cpu_milli=2**62, shape=Shape((20,)).packed())])
@example([fok(mem_bytes=1 << 50, shape=Shape((20,)).packed())])
@given(st.lists(st.builds(Fok, *[values(*field) for field in bounds_of(Op.FOK)]), max_size=100))
def test_no_order_ends_what_is_told_of_late_orders(orders: list[Fok]) -> None:
    demand = Demand()
    for order in orders:
        demand.see(order)
    mix = unpacked(demand.packed())
    assert mix is not None
    assert len(mix.often) <= TOLD_MAX
