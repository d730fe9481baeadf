"""A ledger without its disk, its broker and its clock: messages in, batches that are to be made durable, what leaves.

Messages wait in a bounded ring; a full ring refuses and says so, and sessions send again. A tick reads and applies them
all; the batch that this makes is written while the next is matched, one behind and no more. All that is to leave is
written down when its batch has been applied, and is handed out when that is durable.

    tick -> next_write -> (the shell writes it) -> durable -> what leaves
                                                -> failed  -> refusals; then turn_away, until recovered

When the disk fails, nothing of the batch that failed, or of one matched since, was told to anyone: both are as if they
had never come, orders are refused with a reason, and views go on being answered.
"""

import dataclasses
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from tegcore.errors import RefusedError
from tegcore.wire.messages import SCHEMA, Ask, Beat, Events, Heat, Message, Rejected, Status
from tegcore.wire.records import HostLost, Op, Reason, Record, Region, SetRules, SetShares, Tick, pack_all
from tegcore.wire.signing import Key
from tegcore.wire.topics import Channel, Topic
from zone_ledger import snapshot, voice
from zone_ledger.demand import Demand
from zone_ledger.door import Door, Entry, host_of
from zone_ledger.engine import Engine
from zone_ledger.heat import HeatMap
from zone_ledger.leases import HostSession
from zone_ledger.ring import Arrived, Ring
from zone_ledger.rules import LATEST
from zone_ledger.silence import Silence
from zone_ledger.state import Outcome, State
from zone_ledger.survey import Survey

BUSY_TOLD_MAX = 4096
RESEND_TICKS = 8
LOOK_FOR_LOST_TICKS = 10
HASH_EVERY_TICKS = 200
QUOTES_PER_MESSAGE_MAX = 128


class Asked(NamedTuple):
    """A request that a tick carries out; what it sees is seen after its batch, and told when that is durable.

    Attributes:
        asker: Whom the shell is to tell.
        reads: It changes nothing, and is answered also while the disk fails.
    """

    asker: Any
    records_of: Callable[[], list[Record]]
    see: Callable[[], Any]
    reads: bool


class Saying(NamedTuple):
    """A message that is to leave."""

    topic: Topic
    message: Message
    retain: bool = False


@dataclasses.dataclass(slots=True)
class Batch:
    """A micro-batch, and what it leads to once it is durable.

    Attributes:
        records: To be written, with `postings` and, now and then, the running hash of the state that they lead to.
        snapshot: Hash and bytes of the state after it, where one is due; the hash is written with the records, too.
        answers: What became of requests, and what they saw.
        turned_away: Requests that came to nothing, and why.
        sayings: What is to be said.
        lost: Names of hosts that were found silent for too long.
    """

    arrived: list[Arrived]
    records: bytes = b""
    postings: bytes = b""
    running_hash: bytes | None = None
    snapshot: tuple[bytes, bytes] | None = None
    answers: list[tuple[Asked, Outcome, Any]] = dataclasses.field(default_factory=list)
    turned_away: list[tuple[Asked, RefusedError]] = dataclasses.field(default_factory=list)
    sayings: list[Saying] = dataclasses.field(default_factory=list)
    lost: list[str] = dataclasses.field(default_factory=list)

    @property
    def state_hash(self) -> bytes | None:
        """Of the whole state, where there is a snapshot."""
        return self.snapshot[0] if self.snapshot else None


@dataclasses.dataclass(slots=True)
class _Heard:
    """What came of the messages of a tick, by host."""

    welcome: dict[str, int] = dataclasses.field(default_factory=dict)
    rejected: dict[str, tuple[Reason, str, int]] = dataclasses.field(default_factory=dict)
    quotes: dict[int, list[Record]] = dataclasses.field(default_factory=dict)
    sessions: set[int] = dataclasses.field(default_factory=set)
    asked: list[Ask] = dataclasses.field(default_factory=list)


class Refused(NamedTuple):
    """What is told while the disk fails: requests that are refused or answered, hosts that are to send again."""

    refused: list[Asked]
    answers: list[tuple[Asked, Outcome, Any]]
    sayings: list[Saying]


class Ledger:
    """The ledger of one zone.

    Args:
        zone: Its name.
        secret: Of the zone.
        engine: As it is after the last durable batch.
        number: Of that batch.
        snapshot_records: Commands between two snapshots.
        share_half_life_ticks: Of tenants' use, as set now; None: as the journal has it.

    Attributes:
        fault: The disk failed, and the ledger has not recovered since.
        matched: Number of the batch matched last.
    """

    def __init__(
        self,
        zone: str,
        secret: Key,
        engine: Engine,
        number: int,
        snapshot_records: int,
        share_half_life_ticks: int | None = None,
    ) -> None:
        self._zone = zone
        self._secret = secret
        self._snapshot_records = snapshot_records
        self._share_half_life_ticks = share_half_life_ticks
        self._addresses: dict[str, str] = {}
        self._address_boots: dict[str, int] = {}
        self._silence = Silence(engine.state.hosts)
        self._since_snapshot = 0
        self._ring = Ring()
        self._busy: set[str] = set()
        self._asked: deque[Asked] = deque()
        self._records: list[Record] = []
        self._waiting: Batch | None = None
        self._writing: Batch | None = None
        self._sent: dict[int, tuple[int, int]] = {}
        self._owed = set(engine.state.hosts)
        self._heat = HeatMap(engine.state.genesis.zone_k)
        self._demand = Demand()
        self._survey = Survey()
        self._counted = dataclasses.replace(engine.state.counters)
        self.door = Door(zone, secret)
        self.engine = engine
        self.matched = number
        self.fault = False

    @property
    def state(self) -> State:
        """After the batch matched last."""
        return self.engine.state

    # --- in ---------------------------------------------------------------------------------------------------------

    def arrive(self, topic: str, frame: bytes, now_ns: int) -> None:
        """A message came."""
        if not self._ring.put(Arrived(topic, frame, now_ns)):
            self.door.counts[Reason.BUSY.name] += 1
            if len(self._busy) < BUSY_TOLD_MAX:
                self._busy.add(topic)

    def ask(self, asked: Asked) -> None:
        """A request came."""
        self._asked.append(asked)

    # --- a tick -----------------------------------------------------------------------------------------------------

    def tick(self, now_ns: int, *, connected: bool) -> Batch:
        """Read and apply all that waits; the batch before may still be on its way to disk.

        Args:
            now_ns: Boot-time clock.
            connected: Whether there is a broker: without one nobody can be heard, and nobody is lost.

        Returns:
            The batch, which waits for `next_write`.
        """
        assert self._waiting is None, "one batch behind and no more"
        batch, heard = Batch(self._ring.take()), _Heard()
        self.matched += 1
        if self.state.rules.number < LATEST:
            self._apply(Record(Op.RULES, 0, 0, 0, SetRules(LATEST)))
        half_life_ticks = self._share_half_life_ticks
        if half_life_ticks is not None and half_life_ticks != self.state.shares.half_life_ticks:
            self._apply(Record(Op.SHARES, 0, 0, 0, SetShares(half_life_ticks)))
        for message in batch.arrived:
            self._take(self.door.read(self.state, message.topic, message.frame), heard, now_ns)
        asked, self._asked = self._asked, deque()
        outcomes = []
        for request in asked:
            try:
                records = request.records_of()
            except RefusedError as refusal:  # it was not when it was asked: another came first
                batch.turned_away.append((request, refusal))
                continue
            outcome = Outcome()
            for record in records:
                outcome = self._apply(record)
            outcomes.append((request, outcome))
        if self.state.tick % LOOK_FOR_LOST_TICKS == 0:
            self._look_for_lost(batch.lost, now_ns, connected=connected)
        tau = max(self.state.tau + 1, self.door.heard_tau(self.state))
        self._apply(Record(Op.TICK, 0, 0, 0, Tick(self.state.tick + 1, tau)))
        records, self._records = self._records, []
        batch.records, batch.postings = pack_all(records), self.state.accounts.take_postings()
        batch.running_hash = self.state.running_hash() if self.state.tick % HASH_EVERY_TICKS == 0 else None
        batch.answers = [(request, outcome, request.see()) for request, outcome in outcomes]
        self._compose(heard, batch.sayings)
        self._waiting = batch
        return batch

    @property
    def behind(self) -> bool:
        """Whether a batch waits for the one before to be written: then nothing may be matched."""
        return self._waiting is not None

    @property
    def snapshot_due(self) -> bool:
        """Whether a snapshot is to be taken with the batch that was matched last."""
        return self._since_snapshot >= self._snapshot_records

    def take_snapshot(self) -> None:
        """Take one."""
        assert self._waiting is not None, "a snapshot is of a batch that was just matched"
        self._since_snapshot = 0
        self._waiting.snapshot = self.state.hash(), snapshot.pack(self.state)

    # --- the disk ---------------------------------------------------------------------------------------------------

    def next_write(self) -> Batch | None:
        """The batch that is to be written now, if none is on its way."""
        if self._writing is None:
            self._writing, self._waiting = self._waiting, None
            return self._writing
        return None

    def durable(self) -> Batch:
        """The batch on its way is on disk: its answers and sayings may leave."""
        assert self._writing is not None, "nothing was being written"
        batch, self._writing = self._writing, None
        return batch

    def failed(self) -> Refused:
        """The disk did not take the batch on its way."""
        lost = [batch for batch in (self._writing, self._waiting) if batch is not None]
        self._writing = self._waiting = None
        self.fault = True
        hosts = {host_of(message.topic) for batch in lost for message in batch.arrived}
        asked = [request for batch in lost for request, _, _ in batch.answers]
        asked += [request for batch in lost for request, _ in batch.turned_away]
        return Refused(asked, [], self._read_only(hosts))

    def turn_away(self) -> Refused:
        """A tick in which nothing can be written: whatever changes something is refused."""
        hosts = {self.door.read(self.state, message.topic, message.frame).host for message in self._ring.take()}
        asked, self._asked = self._asked, deque()
        answers = [(request, Outcome(), request.see()) for request in asked if request.reads]
        return Refused([request for request in asked if not request.reads], answers, self._read_only(hosts))

    def recovered(self, engine: Engine, number: int) -> None:
        """Go on from what is on disk, after a batch of that number."""
        self.engine, self.matched, self.fault, self._sent = engine, number, False, {}
        self._owed = set(engine.state.hosts)
        self._silence = Silence(engine.state.hosts)
        self._counted = dataclasses.replace(engine.state.counters)

    def _read_only(self, hosts: set[str]) -> list[Saying]:
        return [self._rejection(host, Reason.READ_ONLY, "send it again later") for host in sorted(hosts - {""})]

    # --- parts of a tick --------------------------------------------------------------------------------------------

    def _apply(self, record: Record) -> Outcome:
        self._records.append(record)
        self._since_snapshot += 1
        if record.op in (Op.FOK, Op.MOVE):
            self._demand.see(record.body)
        return self.engine.apply(record)

    def _look_for_lost(self, lost: list[str], now_ns: int, *, connected: bool) -> None:
        for number in self._silence.look(now_ns, deaf=not connected):
            session = self.state.hosts[number]
            if session.boot and session.up:
                self._apply(Record(Op.HOST_LOST, 0, 0, 0, HostLost(number, 1)))
                lost.append(session.name)

    def _place(self, status: Status) -> None:
        """Where a host is, by the latest of its boots."""
        if status.boot >= self._address_boots.get(status.host, 0):
            self._address_boots[status.host] = status.boot
            self._addresses[status.host] = status.address if status.up else ""

    def _take(self, entry: Entry, heard: _Heard, now_ns: int) -> None:
        outcome = Outcome()
        for record in entry.commands:
            outcome = self._apply(record)
        if entry.status is not None:
            self._place(entry.status)
        if entry.asked is not None:
            heard.asked.append(entry.asked)
        number = self.state.host_numbers.get(entry.host, 0)
        if number and not (entry.rejected and entry.rejected[0] is Reason.TWIN):
            self._silence.heard(number, now_ns)
        if entry.rejected:
            heard.rejected[entry.host] = (*entry.rejected, entry.boot)
        elif entry.greeted and outcome.reason is not Reason.OK:
            heard.rejected[entry.host] = (outcome.reason, "the host cannot be placed as it asks", 0)
        elif entry.greeted:
            heard.welcome[entry.host] = number
        elif number:
            heard.sessions.add(number)
            heard.quotes.setdefault(number, []).extend(entry.quotes)

    def _compose(self, heard: _Heard, sayings: list[Saying]) -> None:
        """Write down all that is to leave, from the state as it is after this batch and before the next."""
        state, zone = self.state, self._zone
        busy, self._busy = self._busy, set()
        for topic in sorted(busy):
            heard.rejected.setdefault(host_of(topic), (Reason.BUSY, "the ledger's ring is full: send it again", 0))
        for host, why in heard.rejected.items():
            if host:
                sayings.append(self._rejection(host, *why))
        for host, number in heard.welcome.items():
            sayings.append(Saying(Topic(zone, Channel.EVENTS, host), voice.welcome(state, number)))
        for ask in heard.asked:
            told: Message
            if ask.tenants_after < 0:
                told = voice.peers(state, ask, self._addresses, self._secret)
            else:
                told = voice.tenants(state, ask, self._secret)
            sayings.append(Saying(Topic(zone, Channel.EVENTS, ask.host), told))
        stirred, state.stirred = state.stirred, set()
        for number in sorted(self._owed | stirred | heard.sessions):
            session = state.hosts[number]
            if session.boot and not session.stale:
                self._compose_events(session, heard, sayings)
            if len(session.outbox) and not session.lost:
                self._owed.add(number)
            else:
                self._owed.discard(number)
        free = state.book.free_slots(Region(0, 2 * state.genesis.zone_k))
        beat = Beat(SCHEMA, zone, state.tick, state.tau, state.market, len(state.leases), free, state.terms.changes)
        sayings.append(Saying(Topic(zone, Channel.BEAT), beat))
        sayings.append(Saying(Topic(zone, Channel.DIGEST), voice.digest(state, self._counted)))
        self._counted = dataclasses.replace(state.counters)
        self._heat.tick(state.bids)
        self._survey.step(state)
        if heat := self._heat.message(state.tick):
            full = heat[1] == 0
            mix, stock = (self._demand.packed(), self._survey.stock) if full else (b"", None)
            warm = Heat(SCHEMA, zone, state.tick, *heat, mix, stock)
            sayings.append(Saying(Topic(zone, Channel.HEAT), warm, full))

    def _rejection(self, host: str, reason: Reason, detail: str, boot: int = 0) -> Saying:
        return Saying(Topic(self._zone, Channel.EVENTS, host), Rejected(SCHEMA, host, boot, reason, detail[:512]))

    def _compose_events(self, session: HostSession, heard: _Heard, sayings: list[Saying]) -> None:
        """Say what is new or was asked for; what is not acknowledged again every few ticks."""
        state, outbox = self.state, session.outbox
        quotes = [self.engine.quote(asked) for asked in heard.quotes.get(session.number, [])[:QUOTES_PER_MESSAGE_MAX]]
        last_seq, last_tick = self._sent.get(session.number, (0, 0))
        fresh = outbox.last_seq != last_seq or session.number in heard.sessions or quotes
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
        sayings.append(Saying(Topic(self._zone, Channel.EVENTS, session.name), events))
