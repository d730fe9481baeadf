"""The ledger's loop: read, apply, commit, and only then send, every 50 ms.

Messages wait in a bounded ring; a full ring refuses and says so, and sessions send again. A batch is committed in a
thread (SQLite lets go of the interpreter) while the next one is matched, one batch behind and no more; all that is to
leave is written down when its batch has been applied, and leaves when that is durable.

When the disk fails, nothing of the failed batch was told to anyone: the state goes back to what is on disk, orders are
refused with a reason, views go on being answered, and every few seconds it is tried again.
"""

import asyncio
import dataclasses
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

from tegcore.clock import Clock
from tegcore.errors import JournalError, RefusedError
from tegcore.ids import is_name
from tegcore.units import NS_PER_S, TICK_NS, UCR_PER_CREDIT
from tegcore.wire import control, topics
from tegcore.wire.messages import (
    SCHEMA,
    Ask,
    Beat,
    Events,
    Heat,
    Message,
    Rejected,
    Status,
)
from tegcore.wire.records import HostLost, Mint, Op, Reason, Record, Region, Tick, pack_all
from tegcore.wire.signing import Key, ledger_keyring
from tegcore.wire.topics import Channel, Topic
from tegcore.wire.transport import Transport
from tegio.control import Peer
from tegio.executive import Executive, Window
from tegio.failpoints import reach
from tegio.logs import event
from tegio.notify import notify
from tegio.users import demand_operator, is_operator, own_tenant
from tegio.wire import Wire
from zone_ledger import desk, snapshot, voice
from zone_ledger.door import Door, Entry
from zone_ledger.engine import Engine
from zone_ledger.genesis import genesis_records
from zone_ledger.heat import HeatMap
from zone_ledger.journal.snapshots import Snapshot, Snapshots
from zone_ledger.journal.store import Journal
from zone_ledger.leases import HostSession
from zone_ledger.replay import new_engine, recover
from zone_ledger.ring import Arrived, Ring
from zone_ledger.settings import LedgerSettings
from zone_ledger.state import Outcome

BUSY_TOLD_MAX = 4096
SLOW_MS = 200.0
"""A batch that takes longer, to match or to commit, is worth a line in the log."""

RETRY_NS = 2 * NS_PER_S
"""Between two tries to write a journal that failed."""

RESEND_TICKS = 8
LOST_NS = 3_500_000_000
"""A host that was not heard for so long is lost: hosts are heard at least once a second."""
LOOK_FOR_LOST_TICKS = 10
HASH_EVERY_TICKS = 200
QUOTES_PER_MESSAGE_MAX = 128


class _Asked(NamedTuple):
    """A request that a tick carries out; what it sees is seen after its batch, and told when that is durable."""

    records_of: Callable[[], list[Record]]
    see: Callable[[], Any]
    answer: asyncio.Future[tuple[Outcome, Any]]
    reads: bool


@dataclasses.dataclass(slots=True)
class _Effects:
    """What a micro-batch leads to: nothing of it leaves before the batch is durable."""

    arrived: list[Arrived]
    asked: list[Ask] = dataclasses.field(default_factory=list)
    welcome: dict[str, int] = dataclasses.field(default_factory=dict)
    rejected: dict[str, tuple[Reason, str]] = dataclasses.field(default_factory=dict)
    quotes: dict[int, list[Record]] = dataclasses.field(default_factory=dict)
    heard: dict[int, int] = dataclasses.field(default_factory=dict)
    answers: list[tuple[_Asked, Outcome, Any]] = dataclasses.field(default_factory=list)
    leaving: list[tuple[Topic, Message, bool]] = dataclasses.field(default_factory=list)
    postings: bytes = b""
    state_hash: bytes | None = None
    snapshot: tuple[bytes, bytes] | None = None

    def put(self, topic: Topic, message: Message, *, retain: bool = False) -> None:
        """One more message that is to leave."""
        self.leaving.append((topic, message, retain))


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
        self._snapshots = Snapshots(journal.path.with_suffix(".snapshots"))
        self._ring = Ring()
        self._busy: set[str] = set()
        self._secret = secret
        self._addresses: dict[str, tuple[int, str]] = {}
        self._heard_ns: dict[int, int] = {}
        self._asked: deque[_Asked] = deque()
        self._batch: list[Record] = []
        self._commit: asyncio.Task[None] | None = None
        self._fault: JournalError | None = None
        self._retry_ns = 0
        self._since_snapshot = 0
        self._snapshot_ms = 0.0
        self._sent: dict[int, tuple[int, int]] = {}
        self._order_ms, self._match_ms, self._commit_ms = Window(), Window(), Window()
        self._executive = Executive(clock, TICK_NS, self.cycle)
        self.engine = self._recovered()
        self._matched = self._journal.last_number
        self._heat = HeatMap(self.engine.state.genesis.zone_k)
        self._counted = dataclasses.replace(self.engine.state.counters)
        transport.subscribe(topics.every_host(settings.zone, Channel.ORDERS), self._arrive)
        transport.subscribe(topics.every_host(settings.zone, Channel.STATUS), self._arrive)
        transport.subscribe(str(Topic(settings.zone, Channel.RATES)), self._arrive)

    def _recovered(self) -> Engine:
        engine = recover(self._journal, self._snapshots)
        for broken in self._snapshots.broken:
            event("snapshot.broken", logging.WARNING, error=broken)
        if self._journal.last_number == 0:
            engine = new_engine()
            records = genesis_records(self._settings)
            for record in records:
                engine.apply(record)
            self._journal.append(pack_all(records), engine.state.hash(), engine.state.accounts.take_postings())
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
        await self.settle()
        await self._wire.transport.stop()

    def stop(self) -> None:
        """End after the tick that is under way."""
        self._executive.stop()

    async def cycle(self, now_ns: int) -> None:
        """One period: a micro-batch, or, while the journal cannot be written, refusals and now and then another try."""
        if self._fault is None:
            await self._tick()
        else:
            self._refuse_all()
            await self._try_again(now_ns)

    async def _tick(self) -> None:
        """Read and apply, while the batch before may still be on its way to disk; then have this one committed."""
        begun_ns = self._clock.now_ns()
        effects = self._match()
        self._note(self._match_ms, "match", begun_ns)
        batch, self._batch = self._batch, []
        await self.settle()
        if self._fault is not None:
            self._turn_away(effects)
            return
        self._commit = asyncio.create_task(self._commit_and_send(pack_all(batch), effects))
        if self.engine.state.tick % 20 == 0:
            notify("WATCHDOG=1")

    async def settle(self) -> None:
        """Wait until what was matched is durable and has left."""
        if self._commit is not None:
            await self._commit
            self._commit = None

    def _match(self) -> _Effects:
        effects = _Effects(arrived=self._ring.take())
        self._matched += 1
        for message in effects.arrived:
            self._take(self._door.read(self.engine.state, message.topic, message.frame), effects)
        asked, self._asked = self._asked, deque()
        for request in asked:
            outcome = Outcome()
            for record in request.records_of():
                outcome = self._apply(record)
            effects.answers.append((request, outcome, None))
        state = self.engine.state
        if state.tick % LOOK_FOR_LOST_TICKS == 0:
            self._look_for_lost()
        tau = max(state.tau + 1, self._door.heard_tau(state))
        self._apply(Record(Op.TICK, 0, 0, 0, Tick(state.tick + 1, tau)))
        effects.postings = state.accounts.take_postings()
        effects.state_hash = state.hash() if state.tick % HASH_EVERY_TICKS == 0 else None
        effects.answers = [(request, outcome, request.see()) for request, outcome, _ in effects.answers]
        effects.snapshot = self._snapshot_due()
        self._compose(effects)
        return effects

    async def _commit_and_send(self, batch: bytes, effects: _Effects) -> None:
        loop, begun_ns = asyncio.get_running_loop(), self._clock.now_ns()
        try:
            await loop.run_in_executor(None, self._journal.append, batch, effects.state_hash, effects.postings)
            self._note(self._commit_ms, "commit", begun_ns)
        except JournalError as error:
            self._fail(error)
            self._turn_away(effects)
            return
        reach("publish")
        self._send(effects)
        if effects.snapshot is None:
            return
        try:
            await loop.run_in_executor(None, self._keep, effects.snapshot)
        except JournalError as error:
            event("snapshot.failed", logging.WARNING, error=error)

    def _note(self, window: Window, what: str, begun_ns: int) -> None:
        spent_ms = (self._clock.now_ns() - begun_ns) / 1e6
        window.add(spent_ms)
        if spent_ms > SLOW_MS:
            event("ledger.slow", logging.WARNING, what=what, ms=round(spent_ms), tick=self.engine.state.tick)

    # --- snapshots --------------------------------------------------------------------------------------------------

    def _snapshot_due(self) -> tuple[bytes, bytes] | None:
        if self._since_snapshot < self._settings.snapshot_records:
            return None
        self._since_snapshot = 0
        begun_ns = self._clock.now_ns()
        taken = self.engine.state.hash(), snapshot.pack(self.engine.state)
        self._snapshot_ms = (self._clock.now_ns() - begun_ns) / 1e6
        return taken

    def _keep(self, taken: tuple[bytes, bytes]) -> None:
        journal = self._journal
        self._snapshots.write(Snapshot(journal.last_number, journal.last_crc, *taken))
        if self._settings.keep_batches:
            before = min(self._snapshots.oldest_kept(), journal.last_number - self._settings.keep_batches) + 1
            while journal.trim(before):
                pass

    # --- when the disk fails ----------------------------------------------------------------------------------------

    def _fail(self, error: JournalError) -> None:
        """Nothing of this batch, or of one matched since, was acknowledged: both are as if they had never come."""
        event(
            "journal.failed", logging.ERROR, error=error, hint="reads go on; orders are refused until it can be written"
        )
        self._fault = error
        self._retry_ns = self._clock.now_ns()

    def _turn_away(self, effects: _Effects) -> None:
        for request, _, _ in effects.answers:
            self._refuse(request)
        self._tell_refused({topics.parse(message.topic).host for message in effects.arrived}, Reason.READ_ONLY)

    def _refuse_all(self) -> None:
        hosts = set()
        for message in self._ring.take():
            entry = self._door.read(self.engine.state, message.topic, message.frame)
            hosts.add(entry.host)
        self._tell_refused(hosts, Reason.READ_ONLY)
        asked, self._asked = self._asked, deque()
        for request in asked:
            if request.reads:
                request.answer.set_result((Outcome(), request.see()))
            else:
                self._refuse(request)

    def _refuse(self, request: _Asked) -> None:
        if not request.answer.done():
            refusal = RefusedError(f"the journal cannot be written: {self._fault}", "free or repair the disk")
            request.answer.set_exception(refusal)

    def _tell_refused(self, hosts: set[str], reason: Reason) -> None:
        for host in sorted(hosts - {""}):
            rejected = Rejected(SCHEMA, host, 0, reason, "send it again later")
            self._wire.publish(Topic(self._settings.zone, Channel.EVENTS, host), rejected)

    async def _try_again(self, now_ns: int) -> None:
        if now_ns < self._retry_ns:
            return
        self._retry_ns = now_ns + RETRY_NS
        try:
            self.engine = await asyncio.get_running_loop().run_in_executor(None, self._from_disk)
        except JournalError as error:
            event("journal.still_failing", logging.WARNING, error=error)
            return
        self._fault, self._sent, self._matched = None, {}, self._journal.last_number
        self._counted = dataclasses.replace(self.engine.state.counters)
        event("journal.writable", tick=self.engine.state.tick, batches=self._journal.last_number)

    def _from_disk(self) -> Engine:
        self._journal.reopen()
        return recover(self._journal, self._snapshots)

    # --- what comes in ----------------------------------------------------------------------------------------------

    def _arrive(self, topic: str, frame: bytes) -> None:
        if not self._ring.put(Arrived(topic, frame, self._clock.now_ns())):
            self._door.counts[Reason.BUSY.name] += 1
            if len(self._busy) < BUSY_TOLD_MAX:
                self._busy.add(topic)

    def _apply(self, record: Record) -> Outcome:
        self._batch.append(record)
        self._since_snapshot += 1
        return self.engine.apply(record)

    def _look_for_lost(self) -> None:
        """Hosts that are silent are lost; while this side has no broker, nobody can be heard."""
        now_ns, state = self._clock.now_ns(), self.engine.state
        if not self._wire.transport.connected:
            self._heard_ns.clear()
        for number, session in state.hosts.items():
            silent_ns = now_ns - self._heard_ns.setdefault(number, now_ns)
            if session.boot and session.up and silent_ns > LOST_NS:
                self._apply(Record(Op.HOST_LOST, 0, 0, 0, HostLost(number, 1)))
                event("host.lost", logging.WARNING, host=session.name, silent_s=round(silent_ns / 1e9, 1))

    def _place(self, status: Status) -> None:
        """Where a host is, by the latest of its boots."""
        boot, _ = self._addresses.get(status.host, (0, ""))
        if status.boot >= boot:
            self._addresses[status.host] = (status.boot, status.address if status.up else "")

    def _take(self, entry: Entry, effects: _Effects) -> None:
        outcome = Outcome()
        if entry.status is not None:
            self._place(entry.status)
        if entry.asked is not None:
            effects.asked.append(entry.asked)
        if entry.host:
            self._heard_ns[self.engine.state.host_numbers.get(entry.host, 0)] = self._clock.now_ns()
        for record in entry.commands:
            outcome = self._apply(record)
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

    def _compose(self, effects: _Effects) -> None:
        """Write down all that is to leave, from the state as it is after this batch and before the next."""
        state, zone = self.engine.state, self._settings.zone
        busy, self._busy = self._busy, set()
        for topic in sorted(busy):
            effects.rejected.setdefault(
                topics.parse(topic).host, (Reason.BUSY, "the ledger's ring is full: send it again")
            )
        for host, (reason, detail) in effects.rejected.items():
            if host:
                effects.put(Topic(zone, Channel.EVENTS, host), Rejected(SCHEMA, host, 0, reason, detail[:512]))
        for host, number in effects.welcome.items():
            effects.put(Topic(zone, Channel.EVENTS, host), voice.welcome(state, number))
        for ask in effects.asked:
            addresses = {host: address for host, (_, address) in self._addresses.items()}
            effects.put(Topic(zone, Channel.EVENTS, ask.host), voice.peers(state, ask, addresses, self._secret))
        for session in state.hosts.values():
            if session.boot and not session.stale:
                self._compose_events(session, effects)
        free = state.book.free_slots(Region(0, 2 * state.genesis.zone_k))
        beat = Beat(SCHEMA, zone, state.tick, state.tau, state.market, len(state.leases), free)
        effects.put(Topic(zone, Channel.BEAT), beat)
        effects.put(Topic(zone, Channel.DIGEST), voice.digest(state, self._counted))
        self._counted = dataclasses.replace(state.counters)
        self._heat.tick(state.bids)
        if heat := self._heat.message(state.tick):
            effects.put(Topic(zone, Channel.HEAT), Heat(SCHEMA, zone, state.tick, *heat), retain=heat[1] == 0)

    def _send(self, effects: _Effects) -> None:
        for request, outcome, seen in effects.answers:
            if not request.answer.done():
                request.answer.set_result((outcome, seen))
        for topic, message, retain in effects.leaving:
            self._wire.publish(topic, message, retain=retain)
        now_ns = self._clock.now_ns()
        for arrived in effects.arrived:
            self._order_ms.add((now_ns - arrived.at_ns) / 1e6)

    def _compose_events(self, session: HostSession, effects: _Effects) -> None:
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
        effects.put(Topic(self._settings.zone, Channel.EVENTS, session.name), events)

    # --- people -----------------------------------------------------------------------------------------------------

    async def answer(self, peer: Peer, request: control.AnyRequest) -> control.Reply | AsyncIterator[control.Reply]:
        """Answer a request over the control socket; commands once they are durable."""
        operator = is_operator(peer.uid, self._settings.operators)
        asker = desk.Asker(own_tenant(peer.uid, self._settings.tenants), operator)
        if isinstance(request, control.Accounts):
            await self._open_own_account(asker)
        if desk.is_view(request):
            _, seen = await self._ask(list, lambda: self._seen(asker, request), reads=True)
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
        self, records_of: Callable[[], list[Record]], see: Callable[[], Any] = lambda: None, *, reads: bool = False
    ) -> tuple[Outcome, Any]:
        answer: asyncio.Future[tuple[Outcome, Any]] = asyncio.get_running_loop().create_future()
        self._asked.append(_Asked(records_of, see, answer, reads))
        return await answer

    def _seen(self, asker: desk.Asker, request: control.AnyRequest) -> Any:
        seen = desk.view(self.engine.state, asker, request)
        return seen | self._own_view() if isinstance(request, control.LedgerView) else seen

    def _own_view(self) -> dict[str, Any]:
        lateness, orders = self._executive.lateness_ms.quantiles(), self._order_ms.quantiles()
        match, commit = self._match_ms.quantiles(), self._commit_ms.quantiles()
        return {
            "journal": str(self._journal.path),
            "batches": self._matched,
            "writable": self._fault is None,
            "snapshot_ms": self._snapshot_ms,
            "tick_lateness_ms": {"p50": lateness.p50, "p99": lateness.p99, "ticks": lateness.cycles},
            "match_ms": {"p50": match.p50, "p99": match.p99},
            "commit_ms": {"p50": commit.p50, "p99": commit.p99},
            "ticks_skipped": self._executive.skipped,
            "order_ms": {"p50": orders.p50, "p99": orders.p99, "messages": orders.cycles},
            "not_taken_in": dict(self._door.counts),
            "quarantine": [
                {"topic": entry.topic, "reason": entry.reason.name.lower(), "detail": entry.detail}
                for entry in self._door.quarantine
            ],
        }
