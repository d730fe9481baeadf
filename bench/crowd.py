"""Simulated hosts that keep a ledger busy: sessions as `tegd` holds them, and a mix of orders drawn from a seed.

A host has up to 64 slots, asks mostly in its own region, renews and gives back what it got. 70 % of its commands are
RENEW, EXPAND and RELEASE, 30 % are FOK; one FOK in a hundred names the whole zone.
"""

from dataclasses import dataclass, field

import numpy as np

from tegcore.units import GIB
from tegcore.wire.messages import SCHEMA, Events, Hello, Orders
from tegcore.wire.records import (
    Expand,
    Filled,
    Fok,
    Op,
    Reason,
    Record,
    Region,
    Release,
    Renew,
    Shape,
    unpack_all,
)
from tegcore.wire.session import Inbox, Outbox

LIMITS_UCR = (120_000, 400_000)
SHAPES = [Shape((size,)) for size in (0, 0, 0, 1, 2, 3)]


@dataclass(slots=True)
class Held:
    """A lease as its host knows it."""

    token: int
    limit_ucr: int
    host: int


@dataclass(slots=True)
class Host:
    """One simulated host.

    Attributes:
        filled: Lease of every order that was filled.
        doubled: Orders that were filled twice: there must be none.
    """

    name: str
    place: int
    log2: int
    zone_k: int
    tenant: int
    boot: int = 1
    number: int = 0
    outbox: Outbox = field(default_factory=Outbox)
    inbox: Inbox = field(default_factory=Inbox)
    leases: dict[int, Held] = field(default_factory=dict)
    filled: dict[int, int] = field(default_factory=dict)
    doubled: list[int] = field(default_factory=list)
    ended: set[int] = field(default_factory=set)
    outcomes: dict[int, int] = field(default_factory=dict)
    next_ref: int = 1

    def hello(self) -> Hello:
        """What it introduces itself with."""
        base = self.place << self.log2
        return Hello(SCHEMA, self.name, self.boot, base, self.log2, 0, 1_000 << self.log2, GIB << self.log2)

    def ask(self, count: int, rng: np.random.Generator) -> None:
        """Put that many commands into its outbox, as far as there is room."""
        draws = rng.random(3 * count).tolist()
        for at in range(0, 3 * count, 3):
            if self.outbox.full:
                return
            op, body = self._drawn(draws[at], draws[at + 1], draws[at + 2])
            self.outbox.put(Record(op, 0, self.boot, 0, body))

    def _drawn(self, kind: float, pick: float, amount: float) -> tuple[Op, object]:
        if kind < 0.3 or not self.leases:
            return Op.FOK, self._fok(pick, amount)
        number = list(self.leases)[int(pick * len(self.leases))] if len(self.leases) > 1 else next(iter(self.leases))
        lease = self.leases[number]
        if kind < 0.55:
            limit_ucr = lease.limit_ucr
            return Op.RENEW, Renew(number, lease.token, limit_ucr, int(amount * 1_000))
        if kind < 0.72:
            return Op.EXPAND, Expand(number, lease.token, lease.host, int(amount * 1_000) << 10, 1 << 40)
        del self.leases[number]
        return Op.RELEASE, Release(number, lease.token, int(Reason.DONE))

    def _fok(self, pick: float, amount: float) -> Fok:
        region = Region(self.place << self.log2, self.log2)
        if pick < 0.01:
            region = Region(0, 2 * self.zone_k)
        shape = SHAPES[int(amount * len(SHAPES))]
        low, high = LIMITS_UCR
        limit_ucr = low + int(pick * (high - low))
        ref, self.next_ref = self.next_ref, self.next_ref + 1
        endow_ucr = limit_ucr * shape.slots * 50
        return Fok(ref, self.tenant, region.packed(), shape.packed(), 0, 0, limit_ucr, endow_ucr, 0, 0)

    def message(self) -> Orders:
        """All that is not acknowledged yet."""
        return Orders(SCHEMA, self.name, self.boot, self.inbox.last_seq, self.outbox.pending())

    def told(self, events: Events) -> int:
        """Take in what the ledger says; how many commands it acknowledged anew."""
        before = self.outbox.acked
        self.outbox.ack(events.ack)
        for record in self.inbox.take(unpack_all(events.records)):
            self._take(record)
        return self.outbox.acked - before

    def _take(self, record: Record) -> None:
        body = record.body
        self.outcomes[record.op] = self.outcomes.get(record.op, 0) + 1
        if record.op is Op.FILLED:
            self._note_filled(body)
        elif record.op is Op.NOTICE and body.lease in self.leases:
            lease = self.leases.pop(body.lease)
            if not self.outbox.full:
                leaving = Release(body.lease, lease.token, int(Reason.CHALLENGED))
                self.outbox.put(Record(Op.RELEASE, 0, self.boot, 0, leaving))
        elif record.op is Op.ENDED:
            self.leases.pop(body.lease, None)
            self.ended.add(body.lease)

    def _note_filled(self, body: Filled) -> None:
        if body.origin_host == self.number:
            if body.ref in self.filled:
                self.doubled.append(body.ref)
            self.filled[body.ref] = body.lease
            self.leases[body.lease] = Held(body.token, body.price_ucr * 2, self.number)


def crowd(count: int, zone_k: int, tenant: int) -> list[Host]:
    """Hosts side by side, as large as makes them fill the zone, 64 slots at most."""
    log2 = min(6, 2 * zone_k - (count - 1).bit_length())
    return [Host(f"h{place}", place, log2, zone_k, tenant) for place in range(count)]
