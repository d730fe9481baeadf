"""Whatever a record holds within its bounds, the engine takes it in or refuses it: nothing that is journaled ends it.

Fields are drawn from the table of bounds itself, so that a new record or field is drawn without being named here.
"""

from typing import Any

from checked_book import CheckedBook
from hypothesis import example, given, settings
from hypothesis import strategies as st
from property.test_engine import fillable, opening

from tegcore.units import UCR_MAX
from tegcore.wire.records import (
    BODIES,
    HOST_OPS,
    Bounds,
    Cordon,
    Fok,
    HostUp,
    Mint,
    NameIs,
    NameKind,
    Op,
    OrderFlag,
    Record,
    Region,
    SetMode,
    SetRates,
    Shape,
    Tick,
    bounds_of,
    pack_all,
    unpack_all,
)
from zone_ledger import snapshot
from zone_ledger.book.fast import FastBook
from zone_ledger.book.reference import ReferenceBook
from zone_ledger.engine import Engine
from zone_ledger.rules import RULE_SETS

OPS = sorted(op for op in BODIES if op < Op.FILLED and op is not Op.RULES)
KEYS = st.integers(5, 2**40) | st.integers(5, 2**40) | st.integers(0, 2**64 - 1)
BOOTS = st.sampled_from([1, 1, 1, 1, 0, 2, 2**53, 2**62, 2**63, 2**64 - 1])
LIKELY = (0, 1, 2, 4, 8, 256, Region(0, 4).packed(), Shape((0,)).packed(), Shape((1, 0)).packed(), OrderFlag.NAMED)


NUMBERS = frozenset({"host", "ident", "lease", "ref", "tenant", "token", "slot"})
"""Fields that name something: most draws name what may be there."""


def values(name: str, bounds: Bounds) -> st.SearchStrategy[int]:
    """A field's extremes, numbers that mean something, and anything between."""
    edges = [int(at) for at in (bounds.low, bounds.high, *LIKELY) if bounds.low <= at <= bounds.high]
    drawn = st.sampled_from(edges) | st.integers(bounds.low, bounds.high)
    return st.sampled_from([1, 1, 1, 2, 2, 3]) | st.sampled_from([1, 1, 2]) | drawn if name in NUMBERS else drawn


@st.composite
def records(draw: st.DrawFn) -> Record:
    op = draw(st.sampled_from(OPS))
    body = BODIES[op]._make([draw(values(*field)) for field in bounds_of(op)])
    return Record(op, draw(st.sampled_from([1, 1, 2, 3, 0])), draw(BOOTS), draw(KEYS), body)


@st.composite
def orders(draw: st.DrawFn) -> Record:
    """Orders that mostly can be filled, but for one field or two."""
    body = draw(fillable())
    for name, bounds in draw(st.lists(st.sampled_from(bounds_of(Op.FOK)), max_size=2)):
        body = body._replace(**{name: draw(values(name, bounds))})
    return Record(draw(st.sampled_from([Op.FOK, Op.FOK, Op.MOVE])), draw(st.sampled_from([1, 2])), 1, 0, body)


def operator(op: Op, body: object, seq: int) -> Record:
    return Record(op, 0, 0, seq, body)


BARE_FOK = Fok(1, 1, Region(0, 4).packed(), Shape((0,)).packed(), 0, 0, 200_000, 0, 0, 0)
DEAR_MEMORY = SetRates(2, UCR_MAX, 1_000_000, 1_000_000, UCR_MAX, UCR_MAX, 1000, UCR_MAX, UCR_MAX, 0)

ENDED_IT = (
    [Record(Op.HOST_UP, 1, 2**63, 0, HostUp(0, 2, 0, 8_000, 1 << 33, 0, 2))],
    [operator(Op.MINT, Mint(1, 5), 2**63)],
    [operator(Op.MINT, Mint(1, UCR_MAX), 11), operator(Op.MINT, Mint(2, UCR_MAX), 12)],
    [operator(Op.CORDON, Cordon(2**62, 1), 11)],
    [Record(Op.NAME_IS, 0, 0, 0, NameIs(NameKind.TENANT, 3, -1, 0, 0, 0, 0, 0, 0, 0))],
    [
        Record(Op.NAME_IS, 0, 0, 0, NameIs.of(NameKind.HOST, 0, "n0")),
        Record(Op.HOST_UP, 0, 1, 0, HostUp(4, 2, 0, 8_000, 1 << 33, 0, 2)),
    ],
    [Record(Op.TICK, 0, 0, 0, Tick(2**53, 2**53))],
    [
        operator(Op.SET_RATES, DEAR_MEMORY, 11),
        operator(Op.MODE, SetMode(0), 12),
        Record(Op.FOK, 1, 1, 0, BARE_FOK._replace(mem_bytes=1 << 30, cpu_milli=1_000)),
    ],
    [Record(Op.FOK, 1, 1, 0, BARE_FOK._replace(shape=Shape((1,)).packed(), cpu_milli=2**62))],
)
"""What did, once each."""


def told(engine: Engine, record: Record, *, in_session: bool) -> Record:
    """A record as it would be journaled: of a host that is here, the next of its session."""
    session = engine.state.hosts.get(record.actor)
    if record.op in HOST_OPS and session is not None and in_session:
        record = record._replace(boot=session.boot, seq=session.inbox.last_seq + 1)
    (read,) = unpack_all(record.packed())
    return read


def lived_through(book: Any, rules: int, drawn: list[Record], market: int) -> Engine:
    """An engine after these records, a tick after each, and some ticks more."""
    engine = Engine(book, rules)
    for record in opening():
        opened = record._replace(body=record.body._replace(market=market)) if record.op is Op.GENESIS else record
        engine.apply(opened)
    for place, record in enumerate([*drawn, *[None] * 12]):
        if record is not None:
            engine.apply(told(engine, record, in_session=place % 4 != 3))
        tick = engine.state.tick + 1
        engine.apply(Record(Op.TICK, 0, 0, 0, Tick(tick, tick)))
        engine.state.running_hash()
    return engine


def without_end(drawn: list[Record], market: int, rules: int) -> None:
    """All books take these records in or refuse them, and all that follows from them can be kept and told."""
    engines = [lived_through(book, rules, drawn, market) for book in (ReferenceBook, FastBook, CheckedBook)]
    for engine in engines:
        engine.check()
        for session in engine.state.hosts.values():
            pack_all(unpack_all(session.outbox.pending()))
        restored = snapshot.unpack(snapshot.pack(engine.state), type(engine.state.book))
        assert restored.hash() == engine.state.hash()
        assert restored.running_hash_anew() == engine.state.running_hash_anew()
    assert len({engine.state.hash() for engine in engines}) == 1


def each_that_ended_it(test):
    """The property, with every record that ended an engine once as an example."""
    for drawn in ENDED_IT:
        test = example((drawn, 1, 1))(example((drawn, 1, 2))(test))
    return test


histories = st.tuples(
    st.lists(records() | orders(), min_size=1, max_size=25), st.sampled_from([0, 1]), st.sampled_from(sorted(RULE_SETS))
)


@settings(max_examples=150, deadline=None)
@each_that_ended_it
@given(histories)
def test_no_record_within_its_bounds_ends_the_engine(history: tuple[list[Record], int, int]) -> None:
    without_end(*history)
