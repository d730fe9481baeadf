"""Workloads that learn their stride by survival (paper 3.5.3): each buys memory of the real engine as its need grows.

Everyone lives on a host of its own, so that nobody's purchases move another's price. In each generation all meet the
same need, with strides of their own; the half that paid less lives on, and each of it has a child whose stride differs
a bit.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tegcore import rng
from tegcore.units import GIB
from tegcore.wire.records import (
    Expand,
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
    Region,
    Release,
    SetRates,
    SetReserve,
    Shape,
    Traits,
)
from tegd.bidding import expansion_bytes
from tegsim.driver import Driver

Floats = NDArray[np.float64]

LOG2_AGENTS = 6
AGENTS = 1 << LOG2_AGENTS
FUNDS_UCR = 1 << 60
LIMIT_UCR = 1 << 40


class Need(NamedTuple):
    """What everyone needs, and what it costs.

    Attributes:
        total_gib: Needed at the end of a life, one period; it grows evenly from 0. Each generation's differs by up to
            a quarter, so that no stride gains by fitting into it a whole number of times.
        host_gib: Memory of a host.
        k_ucr: k of the memory price (15), per period.
        gas_ucr: C_txn.
        period_ticks: How finely time is told.
    """

    total_gib: float
    host_gib: int
    k_ucr: int
    gas_ucr: int
    period_ticks: int = 1000


class Survival:
    """A population on an engine of its own.

    Args:
        need: See `Need`.
        strides_gib: Of the first generation, shape (AGENTS,).
        seed: Of needs and mutations.
    """

    def __init__(self, need: Need, strides_gib: Floats, seed: int) -> None:
        self.strides_gib = strides_gib
        self.paid_ucr = np.zeros(AGENTS)
        self._need, self._seed, self._generation = need, seed, 0
        self._driver = Driver()
        genesis = Genesis(LOG2_AGENTS // 2, need.period_ticks, 3, 40, 40, 60, need.period_ticks, Market.AUCTION)
        self._driver.operate(Op.GENESIS, genesis)
        self._driver.operate(Op.NAME_IS, NameIs.of(NameKind.TENANT, 1, "all"))
        self._driver.operate(Op.SET_RATES, SetRates(1, 0, 0, 0, 0, need.gas_ucr, 0, need.k_ucr, 0, 0))
        self._driver.operate(Op.SET_RESERVE, SetReserve(0, 1))
        self._driver.operate(Op.MINT, Mint(1, FUNDS_UCR))
        for agent in range(AGENTS):
            self._driver.operate(Op.NAME_IS, NameIs.of(NameKind.HOST, agent + 1, f"h{agent}"))
            self._driver.come(agent + 1, HostUp(agent, 0, 0, 1000, need.host_gib * GIB, 0))

    def generation(self, mutation: float) -> None:
        """A life of one period for everyone; then the half that paid less lives on, beside its children.

        Args:
            mutation: Standard deviation of the logarithm of a child's stride about its parent's.
        """
        self._generation += 1
        share = 0.75 + 0.5 * float(rng.uniform(self._seed, "need", self._generation, [0])[0])
        self._live(self._need.total_gib * share * GIB)
        kept = self.strides_gib[np.argsort(self.paid_ucr, kind="stable")[: AGENTS // 2]]
        change = rng.normal(self._seed, "mutation", self._generation, np.arange(AGENTS // 2))[:, 0]
        self.strides_gib = np.concatenate((kept, kept * np.exp(mutation * change)))

    def _live(self, total_bytes: float) -> None:
        period = self._need.period_ticks
        leases = self._seat()
        held = [0] * AGENTS
        for tick in range(period):
            wanted = int(total_bytes * (tick + 1) / period)
            for agent, stride in enumerate((self.strides_gib * GIB).tolist()):
                if wanted > held[agent]:
                    delta = expansion_bytes(held[agent], wanted, 0, stride)
                    ask = Expand(*leases[agent], agent + 1, delta, LIMIT_UCR)
                    self._driver.command(agent + 1, Op.EXPAND, ask)
                    held[agent] += delta
            self._driver.tick()
        for agent, lease in enumerate(leases):
            self._driver.command(agent + 1, Op.RELEASE, Release(*lease, Reason.DONE))
            self.paid_ucr[agent] = self._ended(agent)

    def _seat(self) -> list[tuple[int, int]]:
        """Everyone gets the slot of its host; returns their leases and tokens."""
        state, shape = self._driver.engine.state, Shape((0,))
        for agent in range(AGENTS):
            region = Region(agent, 0).packed()
            traits = Traits(OrderFlag.NONE, 0, 0).packed()
            fok = Fok(1, 1, region, shape.packed(), 0, 0, 2, LIMIT_UCR, traits, 0)
            self._driver.command(agent + 1, Op.FOK, fok)
        self._driver.tick()
        found = {lease.origin: (lease.number, lease.token) for lease in state.leases.values()}
        return [found[agent + 1] for agent in range(AGENTS)]

    def _ended(self, agent: int) -> int:
        """What a life cost, from the events that the host was told, which are taken note of."""
        told = self._driver.told(agent + 1)
        refused = [record for record in told if record.op is Op.EXPANDED and record.body.reason != Reason.OK]
        assert not refused, refused[0]
        return next(int(record.body.paid_ucr) for record in told if record.op is Op.ENDED)
