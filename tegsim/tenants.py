"""The real engine under tenants that are simple rules: one host as large as the zone, orders in, events out.

For experiments about the market alone: no network, no field, no processes. Terms are so long that none runs out.
"""

from typing import NamedTuple

from tegcore.units import GIB
from tegcore.wire.records import (
    Acked,
    Fok,
    Genesis,
    HostUp,
    Market,
    Mint,
    NameIs,
    NameKind,
    Op,
    Reason,
    Record,
    Region,
    Release,
    SetRates,
    SetReserve,
    Shape,
    Tick,
    unpack_all,
)
from zone_ledger.book.fast import FastBook
from zone_ledger.engine import Engine

HOST = 1
TERM_PERIODS = 1000


class Terms(NamedTuple):
    """What a ledger is made with: see `Genesis` and `SetRates`."""

    zone_k: int = 3
    market: Market = Market.AUCTION
    period_ticks: int = 20
    notice_ticks: int = 1
    reserve_ucr: int = 15_167
    mu_ucr: int = 0
    tax_permille: int = 0
    gas_ucr: int = 0
    burn_permille: int = 0
    mem_k_ucr: int = 0
    slot_mem_gib: int = 64


class Ledger:
    """An engine, its one host, and tenants 1 .. n with funds of their own.

    Args:
        terms: See `Terms`.
        funds_ucr: What each tenant starts with.
    """

    def __init__(self, terms: Terms, funds_ucr: list[int]) -> None:
        self.terms, self._key, self._seq, self._ref = terms, 0, 0, 0
        self.engine = Engine(FastBook)
        log2 = 2 * terms.zone_k
        self.operate(
            Op.GENESIS,
            Genesis(terms.zone_k, terms.period_ticks, TERM_PERIODS, 40, 40, terms.notice_ticks, 1 << 30, terms.market),
        )
        self.operate(Op.NAME_IS, NameIs.of(NameKind.HOST, HOST, "h"))
        self.rates(terms)
        self.operate(Op.SET_RESERVE, SetReserve(0, terms.reserve_ucr))
        for tenant, funds in enumerate(funds_ucr, 1):
            self.operate(Op.NAME_IS, NameIs.of(NameKind.TENANT, tenant, f"t{tenant}"))
            self.mint(tenant, funds)
        memory = terms.slot_mem_gib * GIB << log2
        self.engine.apply(Record(Op.HOST_UP, HOST, 1, 0, HostUp(0, log2, 0, 1000 << log2, memory, 0)))

    @property
    def slots(self) -> int:
        """Of the zone."""
        return int(1 << 2 * self.terms.zone_k)

    def operate(self, op: Op, body: object) -> None:
        """A command of the operator or the governor."""
        self._key += 1
        self.engine.apply(Record(op, 0, 0, self._key, body))

    def rates(self, terms: Terms) -> None:
        """Set the rates that terms name."""
        rates = SetRates(
            self._key,
            terms.mu_ucr,
            terms.tax_permille,
            0,
            0,
            terms.gas_ucr,
            terms.burn_permille,
            terms.mem_k_ucr,
            0,
            3_600_000,
        )
        self.operate(Op.SET_RATES, rates)

    def mint(self, tenant: int, amount_ucr: int) -> None:
        """New credits into an account."""
        if amount_ucr:
            self.operate(Op.MINT, Mint(tenant, amount_ucr))

    def command(self, op: Op, body: object) -> None:
        """A command of the host."""
        self._seq += 1
        self.engine.apply(Record(op, HOST, 1, self._seq, body))

    def order(self, tenant: int, size: int, limit_ucr: int, endow_ucr: int, mem_bytes: int = 0) -> int:
        """A fill-or-kill order for a block of 2^size slots anywhere; returns its reference."""
        self._ref += 1
        region = Region(0, 2 * self.terms.zone_k).packed()
        fok = Fok(self._ref, tenant, region, Shape((size,)).packed(), 0, mem_bytes, limit_ucr, endow_ucr, 0, 0)
        self.command(Op.FOK, fok)
        return self._ref

    def release(self, lease: int, why: Reason = Reason.DONE) -> None:
        """Give a lease back."""
        self.command(Op.RELEASE, Release(lease, self.engine.state.leases[lease].token, why))

    def tick(self) -> list[Record]:
        """A tick passes; what the host is told."""
        state = self.engine.state
        self.engine.apply(Record(Op.TICK, 0, 0, 0, Tick(state.tick + 1, state.tau + 1)))
        outbox, told = state.hosts[HOST].outbox, list[Record]()
        while raw := outbox.pending():
            told += unpack_all(raw)
            self.engine.apply(Record(Op.ACKED, HOST, 1, 0, Acked(told[-1].seq)))
        return told
