"""The state as bytes and back: what a snapshot holds.

Everything of `State` but what follows from the rest: the book is kept as its contents (hosts, cordons, seats with what
was promised) and built anew. msgpack by msgspec; a field that a later program adds comes last, with a default.
"""

import struct
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from tegcore.errors import JournalError
from tegcore.wire.records import Admit, Genesis, Market, OrderFlag
from zone_ledger.accounts import Accounts
from zone_ledger.book.base import Book, HostShape, Seat
from zone_ledger.leases import Counters, HostSession, Lease, Order, Rates
from zone_ledger.rules import rule_set
from zone_ledger.shares import Shares
from zone_ledger.soundness import Soundness
from zone_ledger.state import Outcome, State
from zone_ledger.terms import TermsOfAll
from zone_ledger.waiters import Promise, Waiter

FORMAT = 1


class _Seated(msgspec.Struct, array_like=True):
    number: int
    seat: Seat
    promised: dict[int, tuple[int, int]]


class _Contents(msgspec.Struct, array_like=True):
    """What `State` and its book are made of."""

    format: int
    genesis: Genesis
    market: Market
    zone: str
    tick: int
    tau: int
    accounts: Accounts
    rates: Rates
    admission: Admit | None
    tenants: dict[int, str]
    hosts: list[HostSession]
    leases: list[Lease]
    orders: list[Order]
    refs: list[tuple[int, int]]
    reserves: dict[int, int]
    counters: Counters
    operator_keys: list[tuple[int, Outcome]]
    last_lease: int
    last_token: int
    last_serial: int
    due: list[tuple[int, int, int]]
    shapes: list[tuple[int, HostShape]]
    cordoned: list[int]
    seats: list[_Seated]
    anchors: dict[int, tuple[int, int]] = {}
    caps: dict[int, int] = {}
    transfers: list[tuple[int, int]] = []
    subsidy_epoch_ucr: int = 0
    rules: int = 1
    incomes: dict[int, int] = {}
    waiters: list[Waiter] = []
    promise: Promise | None = None
    room: bool = False
    terms: TermsOfAll = msgspec.field(default_factory=TermsOfAll)
    shares: Shares = msgspec.field(default_factory=Shares)


def pack(state: State) -> bytes:
    """A state as bytes."""
    book = state.book
    contents = _Contents(
        FORMAT,
        state.genesis,
        state.market,
        state.zone,
        state.tick,
        state.tau,
        state.accounts,
        state.rates,
        state.admission,
        state.tenants,
        list(state.hosts.values()),
        list(state.leases.values()),
        list(state.orders.values()),
        sorted(state.refs),
        state.reserves,
        state.counters,
        list(state.operator_keys.items()),
        state.last_lease,
        state.last_token,
        state.last_serial,
        state.due,
        [(host.number, book.shape_of(host.number)) for host in state.hosts.values() if host.boot],
        book.cordoned(),
        [_Seated(*seated) for seated in book.seats()],
        state.anchors,
        state.caps,
        sorted(state.transfers),
        state.subsidy_epoch_ucr,
        state.rules.number,
        state.incomes,
        list(state.queue.waiters.values()),
        state.promise,
        state.room,
        state.terms,
        state.shares,
    )
    return msgspec.msgpack.encode(contents, enc_hook=_plain)


def unpack(payload: bytes, book_of: Callable[[int], Book]) -> State:
    """The state in bytes: all that reaches the book is proven before.

    Raises:
        JournalError: If they are of a format that this program does not read, or hold what no state has.
    """
    try:
        contents = msgspec.msgpack.decode(payload, type=_Contents, dec_hook=_typed)
    except msgspec.MsgspecError as error:
        raise JournalError(f"a snapshot does not decode: {error}", "remove it: the one before it will do") from None
    if contents.format > FORMAT:
        raise JournalError(f"a snapshot has format {contents.format}", "update the program")
    try:
        _prove(contents)
        return _restored(contents, book_of)
    except JournalError:
        raise
    except Exception as error:  # whatever does not go together in it: an older one, or the journal, will do
        what = f"a snapshot holds what no state has: {type(error).__name__}: {error}"
        raise JournalError(what, "remove it: the one before it will do") from None


def proven(payload: bytes, book_of: Callable[[int], Book], state_hash: bytes) -> State:
    """The state in bytes, if it is the one that has a hash.

    Raises:
        JournalError: If it is not, or as `unpack`.
    """
    state = unpack(payload, book_of)
    try:
        found = state.hash()
    except struct.error:
        found = b""
    if found != state_hash:
        raise JournalError("a snapshot leads to another state", "remove it: the one before it will do")
    return state


def _prove(contents: _Contents) -> None:
    sound = Soundness(contents.genesis)
    sound.reserves(contents.reserves)
    sound.hosts(contents.shapes)
    sound.cordons(contents.cordoned)
    for number, seat, promised in ((each.number, each.seat, each.promised) for each in contents.seats):
        sound.seat(number, seat, promised)
    seats = {each.number: each.seat for each in contents.seats}
    for lease in contents.leases:
        sound.lease(lease, seats.get(lease.number))
    for order in (*contents.orders, *(waiter.order for waiter in contents.waiters)):
        sound.order(order)
    if contents.promise is not None:
        sound.promise(contents.promise.blocks)


def _restored(contents: _Contents, book_of: Callable[[int], Book]) -> State:
    state = State(contents.genesis, _book(contents, book_of), contents.market, rules=rule_set(contents.rules))
    for name in (
        "zone",
        "tick",
        "tau",
        "accounts",
        "rates",
        "admission",
        "tenants",
        "reserves",
        "counters",
        "caps",
        "anchors",
    ):
        setattr(state, name, getattr(contents, name))
    for name in ("last_lease", "last_token", "last_serial", "due", "subsidy_epoch_ucr"):
        setattr(state, name, getattr(contents, name))
    for name in ("incomes", "promise", "room", "terms"):
        setattr(state, name, getattr(contents, name))
    state.hosts = {host.number: host for host in contents.hosts}
    state.tenant_numbers = {name: number for number, name in state.tenants.items()}
    state.host_numbers = {host.name: host.number for host in contents.hosts}
    for _, shape in contents.shapes:
        state.runs.add(shape.region)
    for lease in contents.leases:
        state.enter(lease)
    for order in contents.orders:
        if not state.rules.accounts_pay:
            order.held_ucr = order.endow_ucr
        state.take_in(order)
    state.queue.restore(contents.waiters)
    state.wait_by(contents.shares)  # after its leases, which it has counted
    state.refs = set(contents.refs)
    state.operator_keys = dict(contents.operator_keys)
    state.transfers = set(contents.transfers)
    state.rows = state.all_rows()
    state.running_hash()
    return state


def _book(contents: _Contents, book_of: Callable[[int], Book]) -> Book:
    book = book_of(contents.genesis.zone_k)
    for slot_class, reserve_ucr in contents.reserves.items():
        book.set_reserve(slot_class, reserve_ucr)
    withheld = {host.number for host in contents.hosts if host.withheld}
    for number, shape in contents.shapes:
        book.add_host(number, shape)
        book.drain(number, on=number in withheld)
    for slot in contents.cordoned:
        book.cordon(slot, on=True)
    for seated in contents.seats:
        book.seat(seated.number, seated.seat)
        for host, more in seated.promised.items():
            book.promise(seated.number, host, *more)
    return book


def _plain(value: Any) -> Any:
    if isinstance(value, deque):
        return list(value)
    raise NotImplementedError(type(value))


def _typed(kind: Any, value: Any) -> Any:
    if kind is OrderFlag:
        return OrderFlag(value)
    return deque(value)
