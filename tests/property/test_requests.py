"""Whatever an operator asks for within the ranges of requests comes to commands that the journal can hold."""

from typing import Any, get_args

from hypothesis import given, settings
from hypothesis import strategies as st
from property.test_extremes import opening

from docs.ranges import Number, numbers
from tegcore.errors import RefusedError
from tegcore.wire import control
from tegcore.wire.records import pack_all, unpack_all
from zone_ledger import desk, snapshot
from zone_ledger.book.fast import FastBook
from zone_ledger.engine import Engine

ASKED = {
    control.MintCredits: {"tenant": "ada"},
    control.SetIncome: {"tenant": "ada"},
    control.AddTenant: {"tenant": "eve", "users": (0, 2**32 - 1)},
    control.RemoveTenant: {"tenant": "ada"},
    control.DrainHost: {"host": "n1", "on": True},
    control.CordonSlot: {"on": True},
    control.PinLease: {"on": True},
    control.SetMarket: {"market": "fixed"},
    control.SetTime: {},
}
"""What operators may ask a ledger for, with what is no number of it."""


def test_every_request_that_changes_a_ledger_is_drawn() -> None:
    engine = opened()
    for kind in set(get_args(control.AnyRequest)) - set(ASKED):
        words = {field: "x" for field in kind.__struct_fields__ if field in {"name", "tenant"}}
        if kind in {control.Submit, control.TopUpWorkload, control.PauseGovernor}:
            continue  # of other programs
        try:
            desk.commands(engine.state, kind(**words))
        except RefusedError as refusal:
            assert "does not answer" in str(refusal)  # noqa: PT017 - either it is a view or not of this program
        else:
            raise AssertionError(kind)


def opened() -> Engine:
    engine = Engine(FastBook)
    for record in opening():
        engine.apply(record)
    return engine


@st.composite
def requests(draw: st.DrawFn) -> control.AnyRequest:
    kind: Any = draw(st.sampled_from(list(ASKED)))
    fields: dict[str, Any] = {"key": 7}
    for each in numbers(kind):
        if len(each.path) == 1 and each.path != ("v",):
            fields[each.path[0]] = draw(_at_bounds(each))
    return kind(**(fields | ASKED[kind]))


def _at_bounds(number: Number) -> st.SearchStrategy[int]:
    assert number.low is not None
    assert number.high is not None
    low, high = int(number.low), int(number.high)
    return st.sampled_from([low, high, min(high, max(low, 1))]) | st.integers(low, high)


def carried_out(drawn: list[control.AnyRequest]) -> None:
    """A ledger's desk that was asked for all of it."""
    engine = opened()
    for request in drawn:
        try:
            commands = desk.commands(engine.state, request)
        except RefusedError:
            continue
        assert all(record.headed for record in commands)
        for record in unpack_all(pack_all(commands)):
            engine.apply(record)
        engine.state.running_hash()
    engine.check()
    snapshot.unpack(snapshot.pack(engine.state), FastBook)


several = st.lists(requests(), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(several)
def test_no_request_ends_a_ledger(drawn: list[control.AnyRequest]) -> None:
    carried_out(drawn)
