"""Money over time: tenants with incomes bid for slots of a zone that holds fewer than want one (paper 3.5.3).

Everyone wants one slot, for a few periods at a time, and bids what its account would carry for that long. What is paid
evaporates, as the ledger does it; or, as controls, it comes back: to all alike, or to the few who own the hosts.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tegcore import rng
from tegcore.wire.records import Op
from tegsim.tenants import Ledger, Terms

Floats = NDArray[np.float64]

TENANTS = 24
OWNERS = 4
JOB_PERIODS = 5
INCOME_RESERVES = 1.2
"""Of each tenant and period, in reserves of a slot: together 1.8 times what the zone's slots cost at the reserve."""

START_RESERVES = 30.0
SPREAD = 1.0
"""Standard deviation, in logarithms, of what tenants start with."""

TERMS = Terms(zone_k=2, period_ticks=10)


class Economy(NamedTuple):
    """What was seen, a period each.

    Attributes:
        money: All credits that there are, in reserves of a slot, shape (periods,).
        price: Mean rent of a slot, in reserves, shape (periods,).
        gini: Of what tenants own, purses included, shape (periods,).
    """

    money: Floats
    price: Floats
    gini: Floats


def gini(owned: Floats) -> float:
    """Concentration: 0 if all own the same, towards 1 if one owns all. Mean difference over twice the mean."""
    ranked = np.sort(owned)
    count = len(ranked)
    total = float(ranked.sum())
    weights = 2 * np.arange(1, count + 1) - count - 1
    return float((weights * ranked).sum()) / (count * total) if total > 0 else 0.0


def economy(recycled: str, periods: int, seed: int) -> Economy:
    """So many periods.

    Args:
        recycled: What becomes of what was paid: `nobody`'s, `all` alike, or the `owners` of the hosts.
        periods: How many.
        seed: Of what tenants start with.
    """
    reserve = TERMS.reserve_ucr
    draws = rng.normal(seed, "start", 0, np.arange(TENANTS))[:, 0]
    ledger = Ledger(TERMS, (START_RESERVES * reserve * np.exp(SPREAD * draws)).astype(int).tolist())
    state = ledger.engine.state
    ends: dict[int, int] = {}
    waiting: dict[int, int] = {}
    burned = 0
    seen = np.zeros((3, periods))
    for period in range(periods):
        for tenant in range(1, TENANTS + 1):
            ledger.mint(tenant, int(INCOME_RESERVES * reserve))
        _give_back(ledger, recycled, state.accounts.evaporated - burned)
        burned = state.accounts.evaporated
        for lease in [lease for lease, end in ends.items() if end <= period]:
            ledger.release(lease)
            del ends[lease]
        seated = {state.leases[lease].tenant for lease in ends}
        for tenant in set(range(1, TENANTS + 1)) - seated - set(waiting.values()):
            balance = state.accounts.balances[tenant]
            limit_ucr = balance // (JOB_PERIODS + 1)
            if limit_ucr > reserve:
                waiting[ledger.order(tenant, 0, limit_ucr, limit_ucr * (JOB_PERIODS + 1))] = tenant
        for _ in range(TERMS.period_ticks):
            for event in ledger.tick():
                if event.op is Op.FILLED:
                    ends[event.body.lease] = period + JOB_PERIODS
                    waiting.pop(event.body.ref)
                elif event.op is Op.REFUSED:
                    waiting.pop(event.body.ref)
                elif event.op is Op.NOTICE:
                    ledger.release(event.body.lease)
                elif event.op is Op.ENDED:
                    ends.pop(event.body.lease, None)
        seen[:, period] = _look(ledger)
    return Economy(*seen)


def _give_back(ledger: Ledger, recycled: str, burned_ucr: int) -> None:
    heirs = {"nobody": 0, "all": TENANTS, "owners": OWNERS}[recycled]
    for tenant in range(1, heirs + 1):
        ledger.mint(tenant, burned_ucr // heirs)


def _look(ledger: Ledger) -> tuple[float, float, float]:
    state, reserve = ledger.engine.state, ledger.terms.reserve_ucr
    owned = np.array([state.accounts.balances[tenant] for tenant in range(1, TENANTS + 1)], dtype=np.float64)
    for lease in state.leases.values():
        owned[lease.tenant - 1] += lease.purse_ucr + lease.escrow_ucr
    rents = [lease.price_ucr for lease in state.leases.values()]
    money = (state.accounts.balance_sum + state.accounts.escrow) / reserve
    return money, float(np.mean(rents)) / reserve if rents else 0.0, gini(owned)
