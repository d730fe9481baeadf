"""The first records of a journal: what a ledger is made with."""

from tegcore.units import UCR_PER_CREDIT
from tegcore.wire.records import (
    INCOME_STANDING,
    Genesis,
    Income,
    Market,
    NameIs,
    NameKind,
    Op,
    Record,
    SetRates,
    SetReserve,
    SetShares,
)
from zone_ledger.settings import LedgerSettings

FIRST_EPOCH = 1


def genesis_records(settings: LedgerSettings) -> list[Record]:
    """Settings, name, reserves and first rates; floats are quantised here and nowhere later."""
    market = Market.AUCTION if settings.market == "auction" else Market.FIXED
    genesis = Genesis(
        settings.zone_k,
        settings.period_ticks,
        settings.term_periods,
        settings.renew_ticks,
        settings.grace_ticks,
        settings.notice_ticks,
        settings.epoch_ticks,
        market,
        settings.patience_ticks,
        settings.woken_bids,
    )
    rates = SetRates(
        epoch=FIRST_EPOCH,
        mu_ucr=round(settings.mu_credits * UCR_PER_CREDIT),
        tax_permille=0,
        subsidy_permille=0,
        subsidy_ucr_max=0,
        gas_ucr=round(settings.gas_credits * UCR_PER_CREDIT),
        burn_permille=settings.burn_permille,
        mem_k_ucr=round(settings.mem_k_credits * UCR_PER_CREDIT),
        cpu_k_ucr=round(settings.cpu_k_credits * UCR_PER_CREDIT),
        peg=round(settings.joules_per_credit),
    )
    reserves = [SetReserve(kind, settings.reserve_ucr(kind)) for kind in range(len(settings.rated_w))]
    bodies: list[tuple[Op, object]] = [
        (Op.GENESIS, genesis),
        (Op.NAME_IS, NameIs.of(NameKind.ZONE, 0, settings.zone)),
        (Op.SET_RATES, rates),
        *((Op.SET_RESERVE, reserve) for reserve in reserves),
    ]
    if settings.income_ucr != INCOME_STANDING:
        bodies.append((Op.INCOME, Income(0, settings.income_ucr)))
    if settings.share_half_life_ticks:
        bodies.append((Op.SHARES, SetShares(settings.share_half_life_ticks)))
    return [Record(op, 0, 0, key, body) for key, (op, body) in enumerate(bodies, 1)]
