"""A snapshot that is not what a ledger wrote is refused before compiled code sees it, whatever its checksum says."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from checked_book import CheckedBook
from hypothesis import example, given, settings
from hypothesis import strategies as st
from worlds import HERE, Zone

from tegcore.errors import JournalError
from tegcore.wire.records import Cordon, Op, Record, Region, Shape, Tick
from zone_ledger import snapshot
from zone_ledger.book.fast import FastBook
from zone_ledger.engine import Engine
from zone_ledger.state import State

ODD = (-(2**63), -1, 0, 1, 2, 3, 7, 8, 16, 64, 255, 256, 2**16, 2**20, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, 2**64 - 1)


def written() -> bytes:
    """Of a zone in which much is there: leases, an eviction that waits, a share, waiters, cordons, caps."""
    zone = Zone(book=FastBook)
    zone.fill()
    zone.pass_first_term()
    zone.fok(9, 2_000_000, host=2, traits=HERE.value)
    zone.fok(11, 2_000, host=2, region=Region(8, 2).packed(), shape=Shape((0,), 2, 300).packed())
    zone.fok(12, 2_000, host=2, region=Region(8, 2).packed(), shape=Shape((1,), 2).packed(), mem_bytes=1 << 20)
    zone.ticks(2)
    zone.fok(14, 2_000, host=2, size=2, region=Region(0, 4).packed(), shape=Shape((2,), 2).packed())
    zone.ticks(2)
    zone.system(Op.CORDON, Cordon(11, 1))
    zone.fok(13, 2_000, host=2)
    return snapshot.pack(zone.state)


WRITTEN = written()
HASH = snapshot.unpack(WRITTEN, FastBook).hash()


def leaves(fields: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands."""
    inside = enumerate(fields) if isinstance(fields, list) else fields.items() if isinstance(fields, dict) else ()
    for place, inner in inside:
        yield (*at, place)
        yield from leaves(inner, (*at, place))


def with_changed(*changes: tuple[tuple[Any, ...], Any]) -> bytes:
    fields = msgspec.msgpack.decode(WRITTEN)
    for (*path, last), value in changes:
        inside = fields
        with suppress(KeyError, IndexError, TypeError):  # what another change took away
            for place in path:
                inside = inside[place]
            inside[last] = value
    return msgspec.msgpack.encode(fields)


def where(wanted: Any) -> tuple[Any, ...]:
    """The first place of a value."""
    fields = msgspec.msgpack.decode(WRITTEN)
    for at in leaves(fields):
        inside = fields
        for place in at:
            inside = inside[place]
        if inside == wanted:
            return at
    raise AssertionError(f"no {wanted}")


PLACES = list(leaves(msgspec.msgpack.decode(WRITTEN)))
SHAPE = where([[0, 2], 0, 4000, 8 << 30, 0])


def restored(payload: bytes, book: Any = FastBook) -> State | None:
    """As recovery does it: None where it goes on to an older one."""
    try:
        return snapshot.proven(payload, book, HASH)
    except JournalError:
        return None


def test_a_snapshot_of_much_is_restored() -> None:
    state = restored(WRITTEN)
    assert state is not None
    assert any(order.incumbents for order in state.orders.values())
    assert state.book.cordoned()
    assert state.leases
    assert state.queue.waiters


@pytest.mark.parametrize(
    "change",
    [
        ((*SHAPE, 1), 200),
        ((*SHAPE, 1), -1),
        ((*SHAPE, 0, 0), 2**40),
        ((*SHAPE, 0, 0), -4),
        ((*SHAPE, 0, 1), 60),
        ((*SHAPE, 0, 1), 3),
        ((*SHAPE, 4), 2**64 - 1),
    ],
)
def test_what_no_host_has_is_refused(change: tuple[tuple[Any, ...], Any]) -> None:
    assert restored(with_changed(change)) is None


changes = st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(ODD)), min_size=1, max_size=2)


def recovered_from(changed: list[tuple[tuple[Any, ...], int]]) -> None:
    """Recovery from a snapshot with these changes, and what would follow if it passed.

    Where every position is checked first: what corrupts memory is found where it does.
    """
    for book in (CheckedBook, FastBook):
        _recovered(restored(with_changed(*changed), book))


def _recovered(state: State | None) -> None:
    if state is None:
        return
    engine = Engine(FastBook)
    engine.state = state
    with suppress(Exception):  # its numbers may be wrong: what counts is that the process goes on
        for _ in range(8):
            engine.apply(Record(Op.TICK, 0, 0, 0, Tick(state.tick + 1, state.tick + 1)))
        state.book.check()


@settings(max_examples=300, deadline=None)
@example([((*where([[8, 2], 1, 4000, 8 << 30, 0]), 4), 3)])
@given(changes)
def test_no_snapshot_reaches_compiled_code_unproven(changed: list[tuple[tuple[Any, ...], int]]) -> None:
    recovered_from(changed)
