"""The ledger's loop around `Ledger`: tick, commit, and only then send, every 50 ms.

A batch is committed in a thread (SQLite lets go of the interpreter) while the next one is matched. When the disk fails,
the state goes back to what is on disk, and every few seconds it is tried again.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from tegcore.clock import Clock
from tegcore.errors import JournalError, RefusedError
from tegcore.ids import is_name
from tegcore.tenancy import Users
from tegcore.units import NS_PER_S, TICK_NS, UCR_PER_CREDIT
from tegcore.wire import control, topics
from tegcore.wire.messages import Rejected
from tegcore.wire.records import Mint, Op, Reason, Record, pack_all
from tegcore.wire.signing import Key, ledger_keyring
from tegcore.wire.topics import Channel, Topic
from tegcore.wire.transport import Transport
from tegio.control import Peer
from tegio.executive import Executive, Window
from tegio.failpoints import reach
from tegio.logs import Seldom, event
from tegio.notify import notify
from tegio.users import demand_operator, is_operator, own_tenants, user_name
from tegio.wire import Wire
from zone_ledger import desk, views
from zone_ledger.engine import Engine
from zone_ledger.genesis import genesis_records
from zone_ledger.journal.snapshots import Snapshot, Snapshots
from zone_ledger.journal.store import Journal
from zone_ledger.ledger import Asked, Batch, Ledger, Refused, Saying
from zone_ledger.replay import new_engine, recover
from zone_ledger.settings import LedgerSettings
from zone_ledger.state import Outcome

SLOW_MS = 200.0
"""A batch that takes longer, to match or to commit, is worth a line in the log."""

RETRY_NS = 2 * NS_PER_S
"""Between two tries to write a journal that failed."""


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
        self._snapshots = Snapshots(journal.path.with_suffix(".snapshots"))
        self._commit: asyncio.Task[None] | None = None
        self._fault: JournalError | None = None
        self._retry_ns = 0
        self._seldom = Seldom()
        self._snapshot_ms = 0.0
        self._order_ms, self._match_ms, self._commit_ms = Window(), Window(), Window()
        self._executive = Executive(clock, TICK_NS, self.cycle)
        engine = self._recovered()
        self._ledger = Ledger(
            settings.zone,
            secret,
            engine,
            journal.last_number,
            settings.snapshot_records,
            settings.share_half_life_ticks,
        )
        transport.subscribe(topics.every_host(settings.zone, Channel.ORDERS), self._arrive)
        transport.subscribe(topics.every_host(settings.zone, Channel.STATUS), self._arrive)
        transport.subscribe(str(Topic(settings.zone, Channel.RATES)), self._arrive)

    @property
    def engine(self) -> Engine:
        """As it is after the batch matched last."""
        return self._ledger.engine

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
        if self._ledger.fault:
            self._refuse(self._ledger.turn_away())
            await self._try_again(now_ns)
        else:
            await self._tick()

    async def _tick(self) -> None:
        """Read and apply, while the batch before may still be on its way to disk; then have this one committed."""
        begun_ns = self._clock.now_ns()
        batch = self._ledger.tick(begun_ns, connected=self._wire.transport.connected)
        for host in batch.lost:
            event("host.lost", logging.WARNING, host=host)
        if self._ledger.snapshot_due:
            snapshot_ns = self._clock.now_ns()
            self._ledger.take_snapshot()
            self._snapshot_ms = (self._clock.now_ns() - snapshot_ns) / 1e6
        self._note(self._match_ms, "match", begun_ns)
        await self.settle()
        if written := self._ledger.next_write():
            self._commit = asyncio.create_task(self._commit_and_send(written))
        if self.engine.state.tick % 20 == 0:
            notify("WATCHDOG=1")

    async def settle(self) -> None:
        """Wait until what was matched is durable and has left."""
        if self._commit is not None:
            await self._commit
            self._commit = None

    async def _commit_and_send(self, batch: Batch) -> None:
        loop, begun_ns = asyncio.get_running_loop(), self._clock.now_ns()
        try:
            noted = batch.records, batch.state_hash, batch.postings, batch.running_hash
            await loop.run_in_executor(None, self._journal.append, *noted)
            self._note(self._commit_ms, "commit", begun_ns)
        except JournalError as error:
            self._fail(error)
            return
        reach("publish")
        self._send(self._ledger.durable())
        if batch.snapshot is None:
            return
        try:
            await loop.run_in_executor(None, self._keep, batch.snapshot)
        except JournalError as error:
            event("snapshot.failed", logging.WARNING, error=error)

    def _note(self, window: Window, what: str, begun_ns: int) -> None:
        spent_ms = (self._clock.now_ns() - begun_ns) / 1e6
        window.add(spent_ms)
        if spent_ms > SLOW_MS:
            event("ledger.slow", logging.WARNING, what=what, ms=round(spent_ms), tick=self.engine.state.tick)

    def _keep(self, taken: tuple[bytes, bytes]) -> None:
        journal = self._journal
        self._snapshots.write(Snapshot(journal.last_number, journal.last_crc, *taken))
        if self._settings.keep_batches:
            before = min(self._snapshots.oldest_kept(), journal.last_number - self._settings.keep_batches) + 1
            while journal.trim(before):
                pass

    # --- when the disk fails ----------------------------------------------------------------------------------------

    def _fail(self, error: JournalError) -> None:
        event(
            "journal.failed", logging.ERROR, error=error, hint="reads go on; orders are refused until it can be written"
        )
        self._fault, self._retry_ns = error, self._clock.now_ns()
        self._refuse(self._ledger.failed())

    def _refuse(self, told: Refused) -> None:
        for request, outcome, seen in told.answers:
            if not request.asker.done():
                request.asker.set_result((outcome, seen))
        for request in told.refused:
            if not request.asker.done():
                refusal = RefusedError(f"the journal cannot be written: {self._fault}", "free or repair the disk")
                request.asker.set_exception(refusal)
        self._say(told.sayings)

    async def _try_again(self, now_ns: int) -> None:
        if now_ns < self._retry_ns:
            return
        self._retry_ns = now_ns + RETRY_NS
        try:
            engine = await asyncio.get_running_loop().run_in_executor(None, self._from_disk)
        except JournalError as error:
            event("journal.still_failing", logging.WARNING, error=error)
            return
        self._fault = None
        self._ledger.recovered(engine, self._journal.last_number)
        event("journal.writable", tick=self.engine.state.tick, batches=self._journal.last_number)

    def _from_disk(self) -> Engine:
        self._journal.reopen()
        return recover(self._journal, self._snapshots)

    # --- what comes in, and what leaves -----------------------------------------------------------------------------

    def _arrive(self, topic: str, frame: bytes) -> None:
        self._ledger.arrive(topic, frame, self._clock.now_ns())

    def _send(self, batch: Batch) -> None:
        for request, outcome, seen in batch.answers:
            if not request.asker.done():
                request.asker.set_result((outcome, seen))
        for request, refusal in batch.turned_away:
            if not request.asker.done():
                request.asker.set_exception(refusal)
        self._say(batch.sayings)
        now_ns = self._clock.now_ns()
        for arrived in batch.arrived:
            self._order_ms.add((now_ns - arrived.at_ns) / 1e6)

    def _say(self, sayings: list[Saying]) -> None:
        for topic, message, retain in sayings:
            if isinstance(message, Rejected) and message.reason != Reason.READ_ONLY:
                reason = Reason(message.reason).name
                self._seldom.event("ledger.rejects", f"{message.host} {reason}", host=message.host, reason=reason)
            self._wire.publish(topic, message, retain=retain)

    # --- people -----------------------------------------------------------------------------------------------------

    async def answer(self, peer: Peer, request: control.AnyRequest) -> control.Reply | AsyncIterator[control.Reply]:
        """Answer a request over the control socket; commands once they are durable."""
        operator = is_operator(peer.uid, self._settings.operators)
        asker = desk.Asker(tuple(own_tenants(peer.uid, self._users())), operator)
        if isinstance(request, control.Accounts):
            await self._open_own_account(asker)
        if desk.is_view(request):
            _, seen = await self._ask(list, lambda: self._seen(asker, request), reads=True)
            return control.Reply(data=seen)
        demand_operator(peer.uid, self._settings.operators)
        if isinstance(request, control.MintCredits) and not is_name(request.tenant):
            raise RefusedError(
                f"{request.tenant!r} cannot name a tenant: nothing was changed", desk.name_hint(request.tenant)
            )
        desk.commands(self.engine.state, request)
        outcome, _ = await self._ask(lambda: desk.commands(self.engine.state, request))
        if outcome.reason is not Reason.OK:
            raise desk.refusal(outcome.reason, outcome.missing)
        return control.Reply(data={"subject": outcome.subject})

    async def _open_own_account(self, asker: desk.Asker) -> None:
        """Whoever looks has an account, with the welcome that the operator set."""
        tenant = asker.tenants[0]
        if tenant in self.engine.state.tenant_numbers:
            return
        amount_ucr = round(self._settings.welcome_credits * UCR_PER_CREDIT)

        def records() -> list[Record]:
            state = self.engine.state
            opened = desk.account_opened(state, tenant)
            if not opened or not amount_ucr:
                return opened
            number = opened[0].body.ident
            return [*opened, Record(Op.MINT, 0, 0, time.time_ns(), Mint(number, amount_ucr))]

        await self._ask(records)

    async def _ask(
        self, records_of: Callable[[], list[Record]], see: Callable[[], Any] = lambda: None, *, reads: bool = False
    ) -> tuple[Outcome, Any]:
        answer: asyncio.Future[tuple[Outcome, Any]] = asyncio.get_running_loop().create_future()
        self._ledger.ask(Asked(answer, records_of, see, reads))
        return await answer

    def _seen(self, asker: desk.Asker, request: control.AnyRequest) -> Any:
        seen = desk.view(self.engine.state, asker, request)
        if isinstance(request, control.Tenants):
            return desk.with_users(seen, self._users(), user_name)
        door, tick = self._ledger.door, self.engine.state.tick
        if isinstance(request, control.Hosts):
            return views.with_failures(seen, door.failures, door.notes, tick)
        if isinstance(request, control.ZoneView):
            return seen | {"hosts": views.with_failures(seen["hosts"], door.failures, door.notes, tick)}
        return seen | self._own_view() if isinstance(request, control.LedgerView) else seen

    def _users(self) -> Users:
        return desk.users(self.engine.state, self._settings.tenants)

    def _own_view(self) -> dict[str, Any]:
        lateness, orders = self._executive.lateness_ms.quantiles(), self._order_ms.quantiles()
        match, commit = self._match_ms.quantiles(), self._commit_ms.quantiles()
        return {
            "journal": str(self._journal.path),
            "batches": self._ledger.matched,
            "writable": not self._ledger.fault,
            "snapshot_ms": self._snapshot_ms,
            "tick_lateness_ms": {"p50": lateness.p50, "p99": lateness.p99, "ticks": lateness.cycles},
            "match_ms": {"p50": match.p50, "p99": match.p99},
            "commit_ms": {"p50": commit.p50, "p99": commit.p99},
            "ticks_skipped": self._executive.skipped,
            "order_ms": {"p50": orders.p50, "p99": orders.p99, "messages": orders.cycles},
            "not_taken_in": dict(self._ledger.door.counts),
            "quarantine": [
                {"topic": entry.topic, "reason": entry.reason.name.lower(), "detail": entry.detail}
                for entry in self._ledger.door.quarantine
            ],
        }
