"""The real engine under tenants that are simple rules: one host as large as the zone, orders in, events out.

Every lease is renewed each period, so no term runs out; its first one protects it, as everywhere.
"""

from typing import NamedTuple

from tegcore.units import GIB, PERMILLE
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
    Traits,
)
from tegsim.driver import Driver
from zone_ledger.leases import LeaseState
from zone_ledger.rules import LATEST

HOST = 1
TERM_PERIODS = 2


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
        self.terms, self._epoch, self._ref = terms, 0, 0
        self._driver = Driver()
        self.engine = self._driver.engine
        log2 = 2 * terms.zone_k
        operate = self._driver.operate
        operate(
            Op.GENESIS,
            Genesis(terms.zone_k, terms.period_ticks, TERM_PERIODS, 40, 40, terms.notice_ticks, 1 << 30, terms.market),
        )
        operate(Op.NAME_IS, NameIs.of(NameKind.HOST, HOST, "h"))
        self.rates(terms)
        operate(Op.SET_RESERVE, SetReserve(0, terms.reserve_ucr))
        for tenant, funds in enumerate(funds_ucr, 1):
            operate(Op.NAME_IS, NameIs.of(NameKind.TENANT, tenant, f"t{tenant}"))
            self.mint(tenant, funds)
        memory = terms.slot_mem_gib * GIB << log2
        self._driver.come(HOST, HostUp(0, log2, 0, 1000 << log2, memory, 0, LATEST))

    @property
    def slots(self) -> int:
        """Of the zone."""
        return int(1 << 2 * self.terms.zone_k)

    def rates(self, terms: Terms) -> None:
        """Set the rates that terms name."""
        self._epoch += 1
        rates = SetRates(
            self._epoch,
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
        self._driver.operate(Op.SET_RATES, rates)

    def mint(self, tenant: int, amount_ucr: int) -> None:
        """New credits into an account."""
        if amount_ucr:
            self._driver.operate(Op.MINT, Mint(tenant, amount_ucr))

    def order(
        self,
        tenant: int,
        size: int,
        limit_ucr: int,
        endow_ucr: int,
        mem_bytes: int = 0,
        *,
        time_ticks: int = 0,
        ref: int = 0,
    ) -> int:
        """A fill-or-kill order for a block of 2^size slots anywhere; returns its reference.

        `time_ticks` is the time that it declares, 0: none; `ref` that of work which asks again, 0: of other work.
        """
        self._ref += 1
        region = Region(0, 2 * self.terms.zone_k).packed()
        shape, traits = Shape((size,)).packed(), Traits(OrderFlag.NAMED, time_ticks=time_ticks).packed()
        fok = Fok(ref or self._ref, tenant, region, shape, 0, mem_bytes, limit_ucr, endow_ucr, traits, 0)
        self._driver.command(HOST, Op.FOK, fok)
        return ref or self._ref

    def release(self, lease: int, why: Reason = Reason.DONE) -> None:
        """Give a lease back."""
        self._driver.command(HOST, Op.RELEASE, Release(lease, self.engine.state.leases[lease].token, why))

    def _renew(self) -> None:
        for lease in list(self.engine.state.leases.values()):
            if lease.state is LeaseState.HELD:
                renew = Renew(lease.number, lease.token, lease.next_limit_ucr, PERMILLE)
                self._driver.command(HOST, Op.RENEW, renew)

    def tick(self) -> list[Record]:
        """A tick passes; what the host is told."""
        if self.engine.state.tick % self.terms.period_ticks == 0:
            self._renew()
        self._driver.tick()
        return self._driver.told(HOST)
