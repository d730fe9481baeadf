"""The zone ledger in the simulator: `zone_ledger.ledger` between a simulated broker and a disk that fails."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from tegcore.errors import JournalError
from tegcore.units import NS_PER_S, TICK_NS
from tegcore.wire import topics
from tegcore.wire.codec import encode
from tegcore.wire.records import Record, pack_all
from tegcore.wire.signing import Key, ledger_keyring
from tegcore.wire.topics import Channel, Topic
from tegsim.cluster.disk import Disk
from tegsim.kernel import Clock, Kernel, Part
from tegsim.network import Client, Network
from zone_ledger.engine import Engine
from zone_ledger.genesis import genesis_records
from zone_ledger.journal.snapshots import Snapshot, Snapshots
from zone_ledger.journal.store import Journal
from zone_ledger.ledger import Asked, Batch, Ledger, Refused, Saying
from zone_ledger.replay import new_engine, recover
from zone_ledger.settings import LedgerSettings
from zone_ledger.state import Outcome

RETRY_NS = 2 * NS_PER_S

Told = Callable[[Outcome | None], None]
"""What a request hears: its outcome, or None: refused, or the ledger died."""


class Watcher(Protocol):
    """Who checks a ledger while it runs."""

    def recovered(self, ledger: "LedgerPart") -> None:
        """It has come back to what is on its disk."""

    def matched(self, ledger: "LedgerPart") -> None:
        """A batch was matched."""

    def durable(self, number: int) -> None:
        """A batch is on disk."""


class LedgerPart(Part):
    """See the module.

    Args:
        kernel: Time.
        network: The broker.
        clock: Of its machine.
        settings: Of the ledger.
        secret: Of the zone.
        folder: For its disk.
        watcher: Told what it does.

    Attributes:
        write_ns: What a write takes.
        ledger: The core, while it runs.
        journal: Open, while it runs.
        lost: Hosts that were found silent for too long.
    """

    def __init__(
        self,
        kernel: Kernel,
        network: Network,
        clock: Clock,
        settings: LedgerSettings,
        secret: Key,
        folder: Path,
        watcher: Watcher,
    ) -> None:
        super().__init__(kernel, "ledger")
        self.settings = settings
        self.clock = clock
        self.disk = Disk(folder, kernel.stream("disk"), self.boundary)
        self.power_cut = False
        self.unreadable = ""
        self.write_ns: Callable[[], int] = lambda: 1_000_000
        self.ledger: Ledger | None = None
        self.journal: Journal | None = None
        self._network = network
        self._secret = secret
        self._keyring = ledger_keyring(secret, settings.zone)
        self._watcher = watcher
        self.snapshots: Snapshots | None = None
        self._client: Client | None = None
        self._retry_ns = 0
        self._asked: list[Told] = []
        self.lost = 0

    @property
    def engine(self) -> Engine:
        """As it is after the batch matched last."""
        assert self.ledger is not None, "it does not run"
        return self.ledger.engine

    @property
    def leases_granted(self) -> int:
        """Since the journal began; 0 while it does not run."""
        return self.ledger.state.counters.leases if self.ledger is not None else 0

    @property
    def well(self) -> bool:
        """Whether it runs and can write."""
        return self.up and self.ledger is not None and not self.ledger.fault

    # --- lives ------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Recover, connect, tick."""
        settings = self.settings
        try:
            self.journal, self.snapshots = self.disk.open(settings.zone)
            engine = recover(self.journal, self.snapshots)
            if self.journal.last_number == 0:
                engine = self._founded()
        except JournalError as error:
            self.unreadable = str(error)
            raise
        self.ledger = Ledger(settings.zone, self._secret, engine, self.journal.last_number, settings.snapshot_records)
        self._watcher.recovered(self)
        client = self._client = self._network.client(f"{settings.zone}-ledger")
        for channel in (Channel.ORDERS, Channel.STATUS):
            client.subscribe(topics.every_host(settings.zone, channel), self._arrive)
        client.subscribe(str(Topic(settings.zone, Channel.RATES)), self._arrive)
        client.connect()
        self.after(self.clock.true_ns(TICK_NS), self._cycle)

    def _founded(self) -> Engine:
        assert self.journal is not None, "it is open"
        engine, records = new_engine(), genesis_records(self.settings)
        for record in records:
            engine.apply(record)
        self.journal.append(pack_all(records), engine.state.hash(), engine.state.accounts.take_postings())
        return engine

    def ended(self) -> None:
        """It died: what it had in memory is gone."""
        if self._client is not None:
            self._client.die()
        self.disk.crash(power_cut=self.power_cut)
        self.ledger = self.journal = self._client = None
        self.power_cut = False
        asked, self._asked = self._asked, []
        for told in asked:
            told(None)

    # --- the loop ---------------------------------------------------------------------------------------------------

    def _cycle(self) -> None:
        self.after(self.clock.true_ns(TICK_NS), self._cycle)
        ledger = self.ledger
        assert ledger is not None, "it runs"
        if ledger.fault:
            self._refuse(ledger.turn_away())
            self._try_again()
        elif not ledger.behind:
            ledger.tick(self.clock.now_ns(), connected=self._client is not None and self._client.connected)
            if ledger.snapshot_due:
                ledger.take_snapshot()
            self._watcher.matched(self)
            self.boundary("matched")
            self._write()

    def _write(self) -> None:
        assert self.ledger is not None, "it runs"
        batch = self.ledger.next_write()
        if batch is not None:
            self.after(self.write_ns(), lambda: self._commit(batch))

    def _commit(self, batch: Batch) -> None:
        ledger, journal = self.ledger, self.journal
        assert ledger is not None, "it runs"
        assert journal is not None, "it runs"
        try:
            journal.append(batch.records, batch.state_hash, batch.postings, batch.running_hash)
        except JournalError:
            self._retry_ns = self.clock.now_ns() + RETRY_NS
            self._refuse(ledger.failed())
            return
        self._watcher.durable(journal.last_number)
        self.boundary("publish")
        sent = ledger.durable()
        self.lost += len(sent.lost)
        self._answer(sent.answers)
        self._say(sent.sayings)
        if batch.snapshot is not None:
            self._keep(batch.snapshot)
        self._write()

    def _keep(self, taken: tuple[bytes, bytes]) -> None:
        journal, snapshots = self.journal, self.snapshots
        assert journal is not None, "it runs"
        assert snapshots is not None, "it runs"
        self.boundary("snapshot")
        snapshots.write(Snapshot(journal.last_number, journal.last_crc, *taken))
        self.boundary("snapshot written")
        if self.settings.keep_batches:
            before = min(snapshots.oldest_kept(), journal.last_number - self.settings.keep_batches) + 1
            while journal.trim(before):
                self.boundary("trim")

    def _try_again(self) -> None:
        now_ns = self.clock.now_ns()
        if now_ns < self._retry_ns:
            return
        self._retry_ns = now_ns + RETRY_NS
        assert self.ledger is not None, "it runs"
        assert self.journal is not None, "it runs"
        assert self.snapshots is not None, "it runs"
        try:
            self.journal.reopen()
            self.ledger.recovered(recover(self.journal, self.snapshots), self.journal.last_number)
        except JournalError:
            return
        self._watcher.recovered(self)

    # --- what comes and leaves --------------------------------------------------------------------------------------

    def _arrive(self, topic: str, frame: bytes) -> None:
        if self.ledger is not None:
            self.ledger.arrive(topic, frame, self.clock.now_ns())

    def ask(self, records_of: Callable[[], list[Record]], told: Told) -> None:
        """An operator asks for something."""
        if self.ledger is None:
            told(None)
            return
        self._asked.append(told)
        self.ledger.ask(Asked(told, records_of, lambda: None, reads=False))

    def _answer(self, answers: list[tuple[Asked, Outcome, Any]]) -> None:
        for request, outcome, _ in answers:
            self._asked.remove(request.asker)
            request.asker(outcome)

    def _refuse(self, told: Refused) -> None:
        for request in told.refused:
            self._asked.remove(request.asker)
            request.asker(None)
        self._say(told.sayings)

    def _say(self, sayings: list[Saying]) -> None:
        assert self._client is not None, "it runs"
        for topic, message, retain in sayings:
            self.boundary("say")
            key = self._keyring.key_of(topic)
            assert key is not None, f"no key for {topic}"
            self._client.publish(str(topic), encode(topic, message, key), retain=retain)
