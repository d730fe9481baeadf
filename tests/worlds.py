"""Small worlds for tests: one engine, few hosts and tenants, no processes."""

from collections.abc import Callable

from tegcore.units import GIB
from tegcore.wire.records import (
    Fok,
    Genesis,
    HostUp,
    Market,
    Mint,
    NameIs,
    NameKind,
    Op,
    OrderFlag,
    Reason,
    Record,
    Region,
    Release,
    Renew,
    SetRates,
    SetReserve,
    Shape,
    Tick,
    unpack_all,
)
from zone_ledger.book.base import Book
from zone_ledger.book.reference import ReferenceBook
from zone_ledger.engine import Engine
from zone_ledger.leases import Lease
from zone_ledger.rules import LATEST

PERIOD, TERM_PERIODS, GRACE, NOTICE = 100, 2, 40, 60
TERM = PERIOD * TERM_PERIODS
RESERVE, MU = 1_000, 100_000
FUNDS = 100_000_000
HERE = OrderFlag.NAMED | OrderFlag.CONFINED
"""A bid that a person named, of work that can only run in the region."""


class Zone:
    """One host of four slots; ada on it, bob on another host without slots of interest."""

    rules = LATEST
    engine_of = Engine

    def __init__(
        self, market: Market = Market.AUCTION, *, book: Callable[[int], Book] = ReferenceBook, **rates: int
    ) -> None:
        self.engine = self.engine_of(book, self.rules)
        self.keys = 0
        self.sent = {1: 0, 2: 0}
        self.boots = {1: 1, 2: 1}
        self.system(Op.GENESIS, Genesis(2, PERIOD, TERM_PERIODS, 40, GRACE, NOTICE, 100, market))
        for number, name in ((1, "ada"), (2, "bob")):
            self.system(Op.NAME_IS, NameIs.of(NameKind.TENANT, number, name))
            self.system(Op.NAME_IS, NameIs.of(NameKind.HOST, number, f"n{number}"))
            self.operate(Op.MINT, Mint(number, FUNDS))
        fields = dict.fromkeys(SetRates._fields, 0) | {"epoch": 1, "mu_ucr": MU} | rates
        self.operate(Op.SET_RATES, SetRates(**fields))
        self.operate(Op.SET_RESERVE, SetReserve(0, RESERVE))
        self.engine.apply(Record(Op.HOST_UP, 1, 1, 0, HostUp(0, 2, 0, 4000, 8 * GIB, 0, LATEST)))
        self.engine.apply(Record(Op.HOST_UP, 2, 1, 0, HostUp(8, 2, 1, 4000, 8 * GIB, 0, LATEST)))

    @property
    def state(self):
        return self.engine.state

    def system(self, op: Op, body):
        return self.engine.apply(Record(op, 0, 0, 0, body))

    def operate(self, op: Op, body):
        self.keys += 1
        return self.engine.apply(Record(op, 0, 0, self.keys, body))

    def command(self, op: Op, body, host: int = 1):
        self.sent[host] += 1
        outcome = self.engine.apply(Record(op, host, self.boots[host], self.sent[host], body))
        self.engine.check()
        return outcome

    def fok(self, ref: int, limit: int, host: int = 1, size: int = 0, endow: int = 0, **changes: int) -> None:
        fields = {
            "ref": ref,
            "tenant": host,
            "region": Region(0, 2).packed(),
            "shape": Shape((size,)).packed(),
            "cpu_milli": 0,
            "mem_bytes": 0,
            "limit_ucr": limit,
            "endow_ucr": max(0, endow or limit * (1 << size) * 4),
            "traits": 0,
            "lease": 0,
        }
        self.command(Op.FOK, Fok(**(fields | changes)), host)

    def ticks(self, count: int = 1) -> None:
        for _ in range(count):
            self.system(Op.TICK, Tick(self.state.tick + 1, self.state.tick + 1))
            self.engine.check()

    def lease(self, ref: int):
        return next((lease for lease in self.state.leases.values() if lease.ref == ref), None)

    def told(self, op: Op, host: int = 1) -> list:
        return [record.body for record in unpack_all(self.state.hosts[host].outbox.pending()) if record.op is op]

    def fill(self, limit: int = 2_000) -> None:
        for ref in range(1, 5):
            self.fok(ref, limit)
        self.ticks()
        assert len(self.state.leases) == 4

    def renew_all(self) -> None:
        """Every lease that may renew does, at the limit that it has."""
        for lease in list(self.state.leases.values()):
            if not lease.deadline:
                self.command(Op.RENEW, Renew(lease.number, lease.token, lease.next_limit_ucr, 1000), lease.origin)

    def pass_first_term(self) -> None:
        """A term goes by, and who is seated renews."""
        for _ in range(TERM_PERIODS):
            self.renew_all()
            self.ticks(PERIOD)
        self.renew_all()

    def release(self, lease: Lease, why: Reason = Reason.DONE) -> None:
        """A lease's slots are clear."""
        self.command(Op.RELEASE, Release(lease.number, lease.token, why), lease.origin)
