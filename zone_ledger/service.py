"""The ledger's loop: read, apply, commit, and only then send, every 50 ms.

Messages wait in a bounded ring; a full ring refuses, and sessions send again. While a batch is being committed (in a
thread: SQLite lets go of the interpreter), messages only wait.
"""

import asyncio
import dataclasses
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

from tegcore.clock import Clock
from tegcore.errors import RefusedError
from tegcore.ids import is_name
from tegcore.units import TICK_NS, UCR_PER_CREDIT
from tegcore.wire import control, topics
from tegcore.wire.messages import (
    SCHEMA,
    Beat,
    Digest,
    Events,
    Heat,
    Rejected,
    Welcome,
)
from tegcore.wire.records import Mint, Op, Reason, Record, Region, Shape, Tick, pack_all
from tegcore.wire.signing import Key, ledger_keyring
from tegcore.wire.topics import Channel, Topic
from tegcore.wire.transport import Transport
from tegio.control import Peer
from tegio.executive import Executive, Window
from tegio.logs import event
from tegio.notify import notify
from tegio.users import demand_operator, is_operator, own_tenant
from tegio.wire import Wire
from zone_ledger import desk
from zone_ledger.door import Door, Entry
from zone_ledger.engine import Engine
from zone_ledger.genesis import genesis_records
from zone_ledger.heat import HeatMap
from zone_ledger.journal.store import Journal
from zone_ledger.leases import HostSession
from zone_ledger.replay import new_engine, replay
from zone_ledger.settings import LedgerSettings
from zone_ledger.state import Outcome

RING_MESSAGES_MAX = 4096
RESEND_TICKS = 8
HASH_EVERY_TICKS = 200
QUOTES_PER_MESSAGE_MAX = 128


class _Arrived(NamedTuple):
    topic: str
    frame: bytes
    at_ns: int


class _Asked(NamedTuple):
    """A request that a tick carries out; what it sees is seen when the batch is durable, so the two agree."""

    records_of: Callable[[], list[Record]]
    see: Callable[[], Any]
    answer: asyncio.Future[tuple[Outcome, Any]]


@dataclasses.dataclass(slots=True)
class _Effects:
    """What is to leave once the batch is durable."""

    welcome: dict[str, int] = dataclasses.field(default_factory=dict)
    rejected: dict[str, tuple[Reason, str]] = dataclasses.field(default_factory=dict)
    quotes: dict[int, list[Record]] = dataclasses.field(default_factory=dict)
    heard: dict[int, int] = dataclasses.field(default_factory=dict)
    answers: list[tuple[_Asked, Outcome]] = dataclasses.field(default_factory=list)


class LedgerService:
    """One zone's ledger between a transport and a journal.

    Args:
        settings: Of the ledger.
        secret: Of the zone.
        transport: To the broker, not started yet.
        journal: Open for writing.
        clock: The boot-time clock.
    """

    def __init__(
        self, settings: LedgerSettings, secret: Key, transport: Transport, journal: Journal, clock: Clock
    ) -> None:
        self._settings = settings
        self._wire = Wire(transport, ledger_keyring(secret, settings.zone))
        self._journal = journal
        self._clock = clock
        self._door = Door(settings.zone, secret)
        self._ring: deque[_Arrived] = deque()
        self._asked: deque[_Asked] = deque()
        self._sent: dict[int, tuple[int, int]] = {}
        self._order_ms = Window()
        self._executive = Executive(clock, TICK_NS, self._cycle)
        self.engine = self._recovered()
        self._heat = HeatMap(self.engine.state.genesis.zone_k)
        self._counted = dataclasses.replace(self.engine.state.counters)
        transport.subscribe(topics.every_host(settings.zone, Channel.ORDERS), self._arrive)
        transport.subscribe(topics.every_host(settings.zone, Channel.STATUS), self._arrive)
        transport.subscribe(str(Topic(settings.zone, Channel.RATES)), self._arrive)

    def _recovered(self) -> Engine:
        engine = replay(self._journal.read())
        if self._journal.last_number == 0:
            engine = new_engine()
            records = genesis_records(self._settings)
            for record in records:
                engine.apply(record)
            self._journal.append(pack_all(records), engine.state.hash())
        state = engine.state
        event("ledger.recovered", zone=state.zone, batches=self._journal.last_number, tick=state.tick)
        return engine

    # --- the loop ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Tick until stopped."""
        await self._wire.transport.start()
        notify("READY=1")
        event("ledger.ready", zone=self._settings.zone, market=self.engine.state.market.name.lower())
        await self._executive.run()
        notify("STOPPING=1")
        await self._wire.transport.stop()

    def stop(self) -> None:
        """End after the tick that is under way."""
        self._executive.stop()

    async def _cycle(self, _now_ns: int) -> None:
        await self.tick()

    async def tick(self) -> None:
        """One micro-batch: read, apply, commit, send."""
        effects = _Effects()
        arrived = [self._ring.popleft() for _ in range(len(self._ring))]
        batch: list[Record] = []
        for message in arrived:
            entry = self._door.read(self.engine.state, message.topic, message.frame)
            self._take(entry, batch, effects)
        for _ in range(len(self._asked)):
            asked = self._asked.popleft()
            outcome = Outcome()
            for record in asked.records_of():
                outcome = self._apply(record, batch)
            effects.answers.append((asked, outcome))
        state = self.engine.state
        self._apply(Record(Op.TICK, 0, 0, 0, Tick(state.tick + 1, state.tau + 1)), batch)
        state_hash = state.hash() if state.tick % HASH_EVERY_TICKS == 0 else None
        await asyncio.get_running_loop().run_in_executor(None, self._journal.append, pack_all(batch), state_hash)
        self._send(effects)
        now_ns = self._clock.now_ns()
        for message in arrived:
            self._order_ms.add((now_ns - message.at_ns) / 1e6)
        if state.tick % 20 == 0:
            notify("WATCHDOG=1")

    def _arrive(self, topic: str, frame: bytes) -> None:
        if len(self._ring) >= RING_MESSAGES_MAX:
            self._door.counts[Reason.BUSY.name] += 1
            return
        self._ring.append(_Arrived(topic, frame, self._clock.now_ns()))

    def _apply(self, record: Record, batch: list[Record]) -> Outcome:
        batch.append(record)
        return self.engine.apply(record)

    def _take(self, entry: Entry, batch: list[Record], effects: _Effects) -> None:
        outcome = Outcome()
        for record in entry.commands:
            outcome = self._apply(record, batch)
            if record.op is Op.FOK and outcome.reason is Reason.OK:
                shape, region = Shape.unpacked(record.body.shape), Region.unpacked(record.body.region)
                self._heat.add(region, shape, record.body.limit_ucr)
        number = self.engine.state.host_numbers.get(entry.host, 0)
        if entry.rejected:
            event("door.rejected", logging.WARNING, host=entry.host or "?", reason=entry.rejected[0].name)
            effects.rejected[entry.host] = entry.rejected
        elif entry.greeted and outcome.reason is not Reason.OK:
            effects.rejected[entry.host] = (outcome.reason, "the host cannot be placed as it asks")
        elif entry.greeted:
            effects.welcome[entry.host] = number
        elif number:
            effects.heard[number] = 1
            effects.quotes.setdefault(number, []).extend(entry.quotes)

    # --- what leaves ------------------------------------------------------------------------------------------------

    def _send(self, effects: _Effects) -> None:
        state, zone = self.engine.state, self._settings.zone
        for asked, outcome in effects.answers:
            if not asked.answer.cancelled():
                asked.answer.set_result((outcome, asked.see()))
        for host, (reason, detail) in effects.rejected.items():
            if host:
                rejected = Rejected(SCHEMA, host, 0, reason, detail[:512])
                self._wire.publish(Topic(zone, Channel.EVENTS, host), rejected)
        for host, number in effects.welcome.items():
            self._wire.publish(Topic(zone, Channel.EVENTS, host), self._welcome(host, number))
        for session in state.hosts.values():
            if session.boot and not session.stale:
                self._send_events(session, effects)
        free = state.book.free_slots(Region(0, 2 * state.genesis.zone_k))
        beat = Beat(SCHEMA, zone, state.tick, state.tau, state.market, len(state.leases), free)
        self._wire.publish(Topic(zone, Channel.BEAT), beat)
        self._wire.publish(Topic(zone, Channel.DIGEST), self._digest(free))
        self._heat.decay()
        if heat := self._heat.message(state.tick):
            retain = heat[1] == 0
            self._wire.publish(Topic(zone, Channel.HEAT), Heat(SCHEMA, zone, state.tick, *heat), retain=retain)

    def _welcome(self, host: str, number: int) -> Welcome:
        state = self.engine.state
        genesis = state.genesis
        return Welcome(
            SCHEMA,
            host,
            state.hosts[number].boot,
            number,
            state.book.region_of(number).base,
            genesis.zone_k,
            state.tick,
            genesis.period_ticks,
            state.term_ticks,
            genesis.renew_ticks,
            genesis.grace_ticks,
            genesis.notice_ticks,
            genesis.epoch_ticks,
        )

    def _send_events(self, session: HostSession, effects: _Effects) -> None:
        """Send what is new or was asked for; what is not acknowledged again every few ticks."""
        state, outbox = self.engine.state, session.outbox
        quotes = [self.engine.quote(asked) for asked in effects.quotes.get(session.number, [])[:QUOTES_PER_MESSAGE_MAX]]
        last_seq, last_tick = self._sent.get(session.number, (0, 0))
        fresh = outbox.last_seq != last_seq or session.number in effects.heard or quotes
        if not fresh and (len(outbox) == 0 or state.tick - last_tick < RESEND_TICKS):
            return
        self._sent[session.number] = (outbox.last_seq, state.tick)
        events = Events(
            SCHEMA,
            session.name,
            session.boot,
            state.tick,
            session.inbox.last_seq,
            outbox.pending(reserved=len(quotes)),
            pack_all(quotes),
        )
        self._wire.publish(Topic(self._settings.zone, Channel.EVENTS, session.name), events)

    def _digest(self, free: int) -> Digest:
        state, before = self.engine.state, self._counted
        self._counted = now = dataclasses.replace(state.counters)
        leases = state.leases.values()
        rents = [(lease.price_ucr * lease.shape.slots, lease.use_permille) for lease in leases]
        present, reserve_ucr = state.book.zone_totals()
        return Digest(
            SCHEMA,
            self._settings.zone,
            state.tick,
            state.tau,
            present,
            free,
            len(leases),
            now.demand_slots - before.demand_slots,
            sum(rent for rent, _ in rents),
            sum(rent * use // 1000 for rent, use in rents),
            reserve_ucr,
            now.attempts - before.attempts,
            now.refused - before.refused,
            now.refused_span - before.refused_span,
            state.rates.epoch,
        )

    # --- people -----------------------------------------------------------------------------------------------------

    async def answer(self, peer: Peer, request: control.AnyRequest) -> control.Reply | AsyncIterator[control.Reply]:
        """Answer a request over the control socket; commands once they are durable."""
        operator = is_operator(peer.uid, self._settings.operators)
        asker = desk.Asker(own_tenant(peer.uid, self._settings.tenants), operator)
        if isinstance(request, control.Accounts):
            await self._open_own_account(asker)
        if desk.is_view(request):
            _, seen = await self._ask(list, lambda: self._seen(asker, request))
            return control.Reply(data=seen)
        demand_operator(peer.uid, self._settings.operators)
        if isinstance(request, control.MintCredits) and not is_name(request.tenant):
            raise RefusedError(f"{request.tenant!r} cannot name a tenant", "lower-case letters, digits, '-', '_', '.'")
        desk.commands(self.engine.state, request)
        outcome, _ = await self._ask(lambda: desk.commands(self.engine.state, request))
        if outcome.reason is not Reason.OK:
            raise desk.refusal(outcome.reason, outcome.missing)
        return control.Reply(data={"subject": outcome.subject})

    async def _open_own_account(self, asker: desk.Asker) -> None:
        """Whoever looks has an account, with the welcome that the operator set."""
        if asker.tenant in self.engine.state.tenant_numbers:
            return
        amount_ucr = round(self._settings.welcome_credits * UCR_PER_CREDIT)

        def records() -> list[Record]:
            state = self.engine.state
            opened = desk.account_opened(state, asker.tenant)
            if not opened or not amount_ucr:
                return opened
            number = opened[0].body.ident
            return [*opened, Record(Op.MINT, 0, 0, time.time_ns(), Mint(number, amount_ucr))]

        await self._ask(records)

    async def _ask(
        self, records_of: Callable[[], list[Record]], see: Callable[[], Any] = lambda: None
    ) -> tuple[Outcome, Any]:
        answer: asyncio.Future[tuple[Outcome, Any]] = asyncio.get_running_loop().create_future()
        self._asked.append(_Asked(records_of, see, answer))
        return await answer

    def _seen(self, asker: desk.Asker, request: control.AnyRequest) -> Any:
        seen = desk.view(self.engine.state, asker, request)
        return seen | self._own_view() if isinstance(request, control.LedgerView) else seen

    def _own_view(self) -> dict[str, Any]:
        lateness, orders = self._executive.lateness_ms.quantiles(), self._order_ms.quantiles()
        return {
            "journal": str(self._journal.path),
            "batches": self._journal.last_number,
            "tick_lateness_ms": {"p50": lateness.p50, "p99": lateness.p99, "ticks": lateness.cycles},
            "ticks_skipped": self._executive.skipped,
            "order_ms": {"p50": orders.p50, "p99": orders.p99, "messages": orders.cycles},
            "not_taken_in": dict(self._door.counts),
            "quarantine": [
                {"topic": entry.topic, "reason": entry.reason.name.lower(), "detail": entry.detail}
                for entry in self._door.quarantine
            ],
        }
