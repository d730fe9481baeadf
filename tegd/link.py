"""The host's end of its session with the ledger: numbering, resending, and when each command was first sent.

The time of the first sending is what terms are counted from (DESIGN 3, "Two clocks, one seat"): the ledger cannot have
received a command earlier than that, and its ticks never run faster than 50 ms. So `at_ns`, which turns a tick of the
ledger into this host's boot-time clock from the latest command known to be answered, is never late.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from tegcore.units import TICK_NS
from tegcore.wire.messages import SCHEMA, Events, Orders
from tegcore.wire.records import Op, Reason, Record, pack_all, unpack_all
from tegcore.wire.session import Inbox, Outbox

RESEND_TICKS = 6
SENT_KEPT_MAX = 8192


def boot_after(last: int, wall_s: int) -> int:
    """The number of a start: greater than any before, also after a lost store where the wall clock is right.

    Args:
        last: Number of the start before, 0 if none is known.
        wall_s: Wall clock, in s.
    """
    return max(last + 1, wall_s)


def events_of(raw: bytes) -> list[Record]:
    """The events in a run of bytes; a reason that only a later ledger knows counts as an operator's.

    Raises:
        DecodeError: If one of them does not decode.
    """
    return [_understood(record) for record in unpack_all(raw)]


def _understood(record: Record) -> Record:
    unknown = {
        name: Reason.OPERATOR
        for name in ("reason", "why")
        if getattr(record.body, name, Reason.OK) not in Reason._value2member_map_
    }
    return record._replace(body=record.body._replace(**unknown)) if unknown else record


class Anchor(NamedTuple):
    """A tick of the ledger that came after a time on this host's clock."""

    sent_ns: int
    tick: int


@dataclass(slots=True)
class Link:
    """One boot's session.

    Attributes:
        host: This host's name.
        boot: Number of this start.
        hello_ns: When the host first introduced itself under this boot.
        outbox: Commands to the ledger.
        inbox: Events from it.
        quotes: Virtual orders to be sent with the next message.
    """

    host: str
    boot: int
    hello_ns: int
    outbox: Outbox = field(default_factory=Outbox)
    inbox: Inbox = field(default_factory=Inbox)
    quotes: list[Record] = field(default_factory=list)
    anchor: Anchor | None = None
    _sent: dict[int, int] = field(default_factory=dict)
    _order: deque[int] = field(default_factory=deque)
    _told: tuple[int, int] = (0, 0)
    _last_tick: int = 0

    def put(self, op: Op, body: object, now_ns: int) -> int:
        """Queue a command; returns its number, or 0 if the outbox is full (then it must be tried again later)."""
        if self.outbox.full:
            return 0
        record = self.outbox.put(Record(op, 0, self.boot, 0, body))
        self._sent[record.seq] = now_ns
        self._order.append(record.seq)
        while len(self._order) > SENT_KEPT_MAX:
            self._sent.pop(self._order.popleft(), None)
        return record.seq

    def anchored(self, tick: int) -> None:
        """A Welcome of a tick came: the ledger ticked it after the Hello was sent."""
        if self.anchor is None:
            self.anchor = Anchor(self.hello_ns, tick)

    def sent_ns(self, seq: int) -> int | None:
        """When a command was first sent, at the earliest; None once forgotten."""
        return self._sent.get(seq)

    def message(self, cycle: int, heard_every: int = 1 << 62) -> Orders | None:
        """What is to be sent in this cycle: what is new at once, what is unacknowledged again every few cycles.

        After `heard_every` cycles something is sent in any case, so that the ledger hears that the host is there.
        """
        told = (self.outbox.last_seq, self.inbox.last_seq)
        silent = cycle - self._last_tick
        resend = (len(self.outbox) > 0 and silent >= RESEND_TICKS) or silent >= heard_every
        if told == self._told and not self.quotes and not resend:
            return None
        self._told, self._last_tick = told, cycle
        quotes, self.quotes = self.quotes, []
        records = self.outbox.pending(reserved=len(quotes))
        return Orders(SCHEMA, self.host, self.boot, self.inbox.last_seq, records, pack_all(quotes))

    def take(self, events: Events) -> list[Record]:
        """The events of a message that are new, in order: all are read before any counts as taken in.

        Raises:
            DecodeError: If one of them does not decode; nothing was taken in then.
        """
        told = events_of(events.records)
        if events.ack > self.outbox.acked:
            sent_ns = self._sent.get(min(events.ack, self.outbox.last_seq))
            if sent_ns is not None:
                self.anchor = Anchor(sent_ns, events.tick)
        self.outbox.ack(events.ack)
        return list(self.inbox.take(told))

    def at_ns(self, tick: int) -> int:
        """A time on this host's clock at which the ledger has surely not passed a tick yet."""
        assert self.anchor is not None, "nothing was answered yet"
        return self.anchor.sent_ns + (tick - self.anchor.tick) * TICK_NS
