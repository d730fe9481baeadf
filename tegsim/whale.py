"""A large lease late in its life, and those who want its place (paper 3.5.1, "the tragedy of the late-stage giant").

The whale needs half of the zone until its work is done, and its purse was made for that. Others arrive with fresh
purses and bid somewhat more or less than it does: *shrimps* for one slot each, or *peers* for a block as large as its
own. The real engine decides. As a control, a market that lets every slot by itself to whoever bids more.
"""

from typing import NamedTuple

import numpy as np

from tegcore import rng
from tegcore.units import GIB
from tegcore.wire.records import Op, Reason, Record
from tegsim.tenants import Ledger, Terms

WHALE_LOG2 = 5
WORK_TICKS = 600
HORIZON_TICKS = 1200
"""Work that is not done by twice its length is starved."""

WHALE_LIMIT = 2.0
"""In reserves, per slot and period."""

BIDS = (1.0, 3.0)
"""Others bid evenly between these, in reserves: half of them more than the whale."""

MEM_BYTES = 16 * GIB
SHRIMPS_PER_TICK, SHRIMP_TICKS = 1.2, 60
PEER_EVERY_TICKS, PEER_TICKS = 15, 120
RETRY_TICKS = 20
WHALE, OTHERS = 1, 2


class Lived(NamedTuple):
    """What became of the whale.

    Attributes:
        done: Share of its work that was done by the horizon.
        moved: How often it was displaced.
        served: Slot-ticks that others had, over those that the whale does not need.
    """

    done: float
    moved: int
    served: float


class Stream(NamedTuple):
    """Others, by arrival: when each comes and what it bids per slot, in reserves; log2 of slots, and how long."""

    arrives: list[int]
    bids: list[float]
    size: int
    ticks: int


def stream(kind: str, seed: int) -> Stream:
    """Shrimps or peers."""
    rate, size, ticks = (
        (SHRIMPS_PER_TICK, 0, SHRIMP_TICKS) if kind == "shrimps" else (1 / PEER_EVERY_TICKS, WHALE_LOG2, PEER_TICKS)
    )
    nodes = np.arange(int(rate * HORIZON_TICKS))
    arrives = np.sort((HORIZON_TICKS * rng.uniform(seed, f"{kind} arrive", 0, nodes)).astype(int)).tolist()
    low, high = BIDS
    bids = (low + (high - low) * rng.uniform(seed, f"{kind} bid", 0, nodes)).tolist()
    return Stream(arrives, bids, size, ticks)


def on_the_engine(others: Stream, mu_ucr: int) -> Lived:
    """The whale in the real market, with this much friction per unit of mass."""
    market = _Market(others, mu_ucr)
    for now in range(HORIZON_TICKS):
        market.tick(now)
    served = market.served / _others_room(market.ledger.slots)
    return Lived(market.done / WORK_TICKS, market.moved, served)


class _Market:
    """The engine, the whale and the others, tick by tick."""

    def __init__(self, others: Stream, mu_ucr: int) -> None:
        self.ledger, self._others = Ledger(Terms(mu_ucr=mu_ucr), [1 << 60, 1 << 60]), others
        self.done = self.moved = self.served = 0
        self._came = self._ref = self._lease = self._retry = 0
        self._leases: dict[int, int] = {}

    def tick(self, now: int) -> None:
        """Orders, the engine's answers, and the work of a tick."""
        self._order(now)
        for event in self.ledger.tick():
            self._take(event, now)
        self.done += bool(self._lease)
        self.served += len(self._leases) << self._others.size
        if self._lease and self.done == WORK_TICKS:
            self.ledger.release(self._lease)
            self._lease = 0
        for lease in [lease for lease, ends in self._leases.items() if ends <= now]:
            self.ledger.release(lease)
            del self._leases[lease]

    def _order(self, now: int) -> None:
        ledger, others = self.ledger, self._others
        period, reserve_ucr = ledger.terms.period_ticks, ledger.terms.reserve_ucr
        if not self._lease and not self._ref and now >= self._retry and self.done < WORK_TICKS:
            limit_ucr = int(WHALE_LIMIT * reserve_ucr)
            endow_ucr = (limit_ucr << WHALE_LOG2) * (HORIZON_TICKS // period)
            self._ref = ledger.order(WHALE, WHALE_LOG2, limit_ucr, endow_ucr, MEM_BYTES)
        while self._came < len(others.arrives) and others.arrives[self._came] < now:
            limit_ucr = int(others.bids[self._came] * reserve_ucr)
            endow_ucr = (limit_ucr << others.size) * (2 + others.ticks // period)
            ledger.order(OTHERS, others.size, limit_ucr, endow_ucr, MEM_BYTES)
            self._came += 1

    def _take(self, event: Record, now: int) -> None:
        body = event.body
        match event.op:
            case Op.FILLED if body.ref == self._ref:
                self._lease, self._ref = body.lease, 0
            case Op.FILLED:
                self._leases[body.lease] = now + self._others.ticks
            case Op.REFUSED if body.ref == self._ref:
                self._ref, self._retry = 0, now + RETRY_TICKS
            case Op.NOTICE:
                if body.lease == self._lease:
                    self._retry, self.moved = now + RETRY_TICKS, self.moved + 1
                self._gone(body.lease)
                self.ledger.release(body.lease, Reason.CHALLENGED)
            case Op.ENDED:
                self._gone(body.lease)

    def _gone(self, lease: int) -> None:
        self._leases.pop(lease, None)
        self._lease = 0 if lease == self._lease else self._lease


def slot_by_slot(others: Stream) -> Lived:
    """The control: each slot goes to whoever bids more for it, and the whale runs while it has all that it needs."""
    slots, need = 1 << 2 * Terms().zone_k, 1 << WHALE_LOG2
    held: list[tuple[float, int]] = []
    done = moved = served = came = 0
    ran = False
    for now in range(HORIZON_TICKS):
        held = [(bid, ends) for bid, ends in held if ends > now]
        while came < len(others.arrives) and others.arrives[came] < now:
            held += [(others.bids[came], now + others.ticks)] * (1 << others.size)
            came += 1
        held = sorted(held, reverse=True)[:slots]
        dearer = sum(bid > WHALE_LIMIT for bid, _ in held)
        runs = done < WORK_TICKS and slots - dearer >= need
        moved += ran and not runs and done < WORK_TICKS
        held = held[: max(dearer, slots - need)] if done < WORK_TICKS else held
        ran, done, served = runs, done + runs, served + len(held)
    return Lived(done / WORK_TICKS, moved, served / _others_room(slots))


def _others_room(slots: int) -> int:
    return HORIZON_TICKS * slots - (WORK_TICKS << WHALE_LOG2)
