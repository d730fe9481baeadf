"""One zone's ledger and the agents of its hosts, driven stage by stage, each in processor time.

A placement is all that its agent and the ledger do for it: steps of flight on the broadcast field, rounds of quotes in
regions that widen as `tegd.seek` says, the fill-or-kill order, and the release of an older lease, so that the zone
stays as full as it was. Messages are encoded, signed, checked and decoded as on the wire; commands go through the door
and the engine; each tick is one commit of the real journal; answers are encoded, signed and taken in. Only the broker
is left out. A few agents are under way at once, whatever the size of the zone.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from tegcore.units import GIB
from tegcore.wire.codec import decode, encode
from tegcore.wire.messages import SCHEMA, Events, Field, Heat, Orders
from tegcore.wire.records import (
    Fok,
    HostUp,
    Mint,
    NameIs,
    NameKind,
    Op,
    Reason,
    Record,
    Region,
    Release,
    Shape,
    Tick,
    pack_all,
    unpack_all,
)
from tegcore.wire.session import Inbox, Outbox
from tegcore.wire.signing import Key, ledger_keyring, tenant_token
from tegcore.wire.topics import Channel, Topic
from tegd.flight import Flight
from tegd.seek import Search
from zone_ledger.door import Door
from zone_ledger.genesis import genesis_records
from zone_ledger.journal.store import Journal
from zone_ledger.replay import new_engine
from zone_ledger.settings import LedgerSettings

ZONE, TENANT = "z", "crowd"
HOST_LOG2 = 3
SIZES = (0, 0, 0, 1, 1, 2)
"""log2 of the slots that agents ask for, each as often as it stands here."""

FULL = 0.5
UNDER_WAY, UNDER_WAY_BUSY = 8, 64
"""Agents that seek at once, in a calm zone and in a busy one."""

LIMIT_UCR = 1_000_000
ENDOW_UCR = 1 << 40
GRID = 16
FILL_PER_TICK = 512
ORDERED = 1 << 30
"""Ticks after which an agent whose order is out would ask again: never; the answer comes first."""

STAGES = ("agent", "wire of hosts", "door", "engine", "journal", "events out")


@dataclass(slots=True)
class HostSide:
    """What a host keeps of its session."""

    number: int
    topic: Topic
    answers: Topic
    outbox: Outbox = field(default_factory=Outbox)
    inbox: Inbox = field(default_factory=Inbox)
    quotes: list[Record] = field(default_factory=list)


@dataclass(slots=True)
class Agent:
    """One placement under way: it seeks, or waits for its order."""

    ref: int
    host: HostSide
    shape: Shape
    slot: int
    search: Search = field(default_factory=Search)


class Rig:
    """A zone at constant fill.

    Args:
        zone_k: The zone has 2^k x 2^k slots, at least 8 x 8.
        folder: Where the journal goes.
        seed: Of sizes, hosts and flights.
        under_way: Agents that seek at once.

    Attributes:
        spent_ns: Processor time by stage since `placements` was last set to 0.
        placements: Orders that were filled.
        rounds: Quotes that were answered.
    """

    def __init__(self, zone_k: int, folder: Path, seed: int, under_way: int = UNDER_WAY) -> None:
        self.zone_k, self._seed, self._under_way = zone_k, seed, under_way
        self._source = np.random.default_rng((seed, zone_k))
        given = {"zone": ZONE, "zone_k": zone_k, "market": "auction", "rated_w": (10.0,), "period_ticks": 1_000_000}
        given["mu_credits"] = 100.0  # nobody is displaced: free room is what is measured
        self._keys = ledger_keyring(Key(b"s" * 32), ZONE)
        self._token = tenant_token(Key(b"s" * 32), TENANT)
        self.engine, self._door = new_engine(), Door(ZONE, Key(b"s" * 32))
        self._journal = Journal(folder / f"{zone_k}.sqlite", ZONE)
        list(self._journal.read())
        self._flight = _flight(seed, zone_k)
        self.hosts: list[HostSide] = []
        self._batch: list[Record] = []
        self._tick = 0
        self._next_ref = 1
        self._held: list[tuple[int, int]] = []
        self._agents: list[Agent] = []
        self._talking: set[int] = set()
        self._left: set[int] = set()
        self._last_lease = 0
        self._wanted, self._used = int(4**zone_k * FULL), 0
        self.spent_ns = dict.fromkeys(STAGES, 0)
        self.placements = self.rounds = 0
        self._found(msgspec.convert(given, LedgerSettings))
        self._fill()

    def close(self) -> None:
        """Let go of the journal."""
        self._journal.close()

    @property
    def cpu_us(self) -> dict[str, float]:
        """Processor time of a placement, in us, by stage."""
        return {stage: spent / 1e3 / max(1, self.placements) for stage, spent in self.spent_ns.items()}

    # --- a zone that is as full as it stays --------------------------------------------------------------------------

    def _found(self, made: LedgerSettings) -> None:
        slots = 4**self.zone_k
        records = [
            *genesis_records(made),
            Record(Op.NAME_IS, 0, 0, 0, NameIs.of(NameKind.TENANT, 1, TENANT)),
            Record(Op.MINT, 0, 0, 1_000, Mint(1, 1 << 61)),
        ]
        for number in range(1, (slots >> HOST_LOG2) + 1):
            name, base = f"h{number}", number - 1 << HOST_LOG2
            records.append(Record(Op.NAME_IS, 0, 0, 0, NameIs.of(NameKind.HOST, number, name)))
            records.append(Record(Op.HOST_UP, number, 1, 0, HostUp(base, HOST_LOG2, 0, 64_000, 512 * GIB, 0)))
            self.hosts.append(HostSide(number, Topic(ZONE, Channel.ORDERS, name), Topic(ZONE, Channel.EVENTS, name)))
        for record in records:
            self.engine.apply(record)

    def _fill(self) -> None:
        """Every host asks for its own slots until the zone is as full as it stays; not journaled."""
        order = self._source.permutation(len(self.hosts))
        at = misses = 0
        while self._used < self._wanted and misses < 3 * len(self.hosts):
            asked: dict[tuple[int, int], int] = {}
            for _ in range(min(FILL_PER_TICK, len(self.hosts))):
                host = self.hosts[order[at % len(self.hosts)]]
                at += 1
                shape = self._shape()
                region = Region(host.number - 1 << HOST_LOG2, HOST_LOG2)
                host.outbox.put(Record(Op.FOK, 0, 1, 0, self._fok(shape, region)))
                record = next(unpack_all(host.outbox.pending()))
                body = record.body._replace(tenant=1)
                self.engine.apply(record._replace(actor=host.number, boot=1, body=body))
                asked[host.number, body.ref] = shape.slots
                host.outbox.ack(record.seq)
                self._used += shape.slots
            self._advance()
            self._used -= self._collect(asked)
            misses += 1
        self.engine.state.bids.clear()
        self.engine.state.accounts.take_postings()
        self._last_lease = self.engine.state.last_lease

    def _collect(self, asked: dict[tuple[int, int], int]) -> int:
        """Take in what the fill was granted; slots that were not."""
        for number in sorted({number for number, _ in asked}):
            host = self.hosts[number - 1]
            session = self.engine.state.hosts[host.number]
            for event in host.inbox.take(unpack_all(session.outbox.pending())):
                if event.op is Op.FILLED and event.body.origin_host == host.number:
                    self._held.append((event.body.lease, event.body.token))
                    asked.pop((host.number, event.body.ref), None)
            session.outbox.ack(host.inbox.last_seq)
        return sum(asked.values())

    def _shape(self) -> Shape:
        return Shape((int(self._source.choice(SIZES)),))

    def _fok(self, shape: Shape, region: Region) -> Fok:
        ref, self._next_ref = self._next_ref, self._next_ref + 1
        return Fok(ref, self._token, region.packed(), shape.packed(), 0, 0, LIMIT_UCR, ENDOW_UCR, 0, 0)

    def _advance(self) -> None:
        self._tick += 1
        record = Record(Op.TICK, 0, 0, 0, Tick(self._tick, self._tick))
        self._batch.append(record)
        self.engine.apply(record)

    # --- placements --------------------------------------------------------------------------------------------------

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        begun = time.process_time_ns()
        yield
        self.spent_ns[stage] += time.process_time_ns() - begun

    def run(self, placements: int) -> None:
        """Carry on until so many have been placed, counted and timed anew."""
        self.spent_ns = dict.fromkeys(STAGES, 0)
        self.placements = self.rounds = 0
        while self.placements < placements:
            self.step()

    def step(self) -> None:
        """One tick of all."""
        self._start()
        ordered = any(agent.search.next_cycle >= ORDERED for agent in self._agents)
        if not self._talking and not ordered and not any(agent.search.may_ask(self._tick) for agent in self._agents):
            self._advance()
            return
        with self._timed("agent"):
            self._fly()
        with self._timed("wire of hosts"):
            frames = self._speak()
        with self._timed("door"):
            entries = [self._door.read(self.engine.state, topic, frame) for _, topic, frame in frames]
        assert not any(entry.rejected for entry in entries), entries
        with self._timed("engine"):
            self._batch = [record for entry in entries for record in entry.commands]
            for record in self._batch:
                self.engine.apply(record)
            self._advance()
            answered = {
                host.number: [self.engine.quote(asked) for asked in entry.quotes]
                for (host, _, _), entry in zip(frames, entries, strict=True)
            }
            postings = self.engine.state.accounts.take_postings()
        with self._timed("journal"):
            self._journal.append(pack_all(self._batch), None, postings)
        with self._timed("events out"):
            leaving = self._answer(answered)
        self.engine.state.bids.clear()
        with self._timed("wire of hosts"):
            heard = [(host, decode(host.answers, frame, self._keys.key_of)) for host, frame in leaving]
        with self._timed("agent"):
            for host, message in heard:
                assert isinstance(message, Events)
                self._hear(host, message)

    def _start(self) -> None:
        """New agents where there is room for them, each with releases that keep the zone as full as it was."""
        while len(self._agents) < self._under_way:
            host, shape = self.hosts[int(self._source.integers(len(self.hosts)))], self._shape()
            self._agents.append(Agent(0, host, shape, 0))
            self._used += shape.slots
            while self._used > self._wanted and self._held:
                at = int(self._source.integers(len(self._held)))
                self._held[at], self._held[-1] = self._held[-1], self._held[at]
                self._release(*self._held.pop())

    def _release(self, lease: int, token: int) -> None:
        """The host that has the seat gives it back."""
        held = self.engine.state.leases[lease]
        number = held.hosts[0]
        self._used -= held.shape.slots
        self._left |= set(held.hosts)
        self._talking.add(number)
        leaving = Release(lease, token, int(Reason.DONE))
        self.hosts[number - 1].outbox.put(Record(Op.RELEASE, 0, 1, 0, leaving))

    def _fly(self) -> None:
        seeking = [agent for agent in self._agents if agent.search.may_ask(self._tick)]
        for agent in seeking:
            if not agent.ref:
                agent.ref, self._next_ref = self._next_ref, self._next_ref + 1
            agent.slot = self._flight.step([agent.ref], [1.0], [1.0], self._tick)[agent.ref]
            region = agent.search.region(agent.slot, agent.shape, self.zone_k)
            asked = self._fok(agent.shape, region)._replace(ref=agent.ref)
            agent.host.quotes.append(Record(Op.FOK, 0, 1, 0, asked))
            agent.search.asked(self._tick)
            self._talking.add(agent.host.number)

    def _speak(self) -> list[tuple[HostSide, str, bytes]]:
        """A message of each host that has orders or quotes, or was told something: it says what it has taken in."""
        frames = []
        for number in sorted(self._talking):
            host = self.hosts[number - 1]
            quotes, host.quotes = pack_all(host.quotes), []
            message = Orders(SCHEMA, host.topic.host, 1, host.inbox.last_seq, host.outbox.pending(), quotes)
            key = self._keys.key_of(host.topic)
            assert key is not None
            frames.append((host, str(host.topic), encode(host.topic, message, key)))
        self._talking.clear()
        return frames

    def _answer(self, answered: dict[int, list[Record]]) -> list[tuple[HostSide, bytes]]:
        """A message to each host that was heard, or that a lease has come to or gone from."""
        state, leaving = self.engine.state, []
        fresh = range(self._last_lease + 1, state.last_lease + 1)
        self._last_lease = state.last_lease
        told = {host for lease in fresh if lease in state.leases for host in state.leases[lease].hosts}
        told |= {agent.host.number for agent in self._agents if len(state.hosts[agent.host.number].outbox)}
        for number in sorted(told | self._left | answered.keys()):
            host, session, packed = self.hosts[number - 1], state.hosts[number], pack_all(answered.get(number, ()))
            quotes = len(answered.get(number, ()))
            last = session.inbox.last_seq
            events = Events(SCHEMA, session.name, 1, self._tick, last, session.outbox.pending(quotes), packed)
            key = self._keys.key_of(host.answers)
            assert key is not None
            leaving.append((host, encode(host.answers, events, key)))
        self._left.clear()
        return leaving

    def _hear(self, host: HostSide, message: Events) -> None:
        host.outbox.ack(message.ack)
        if message.records:
            self._talking.add(host.number)
        for event in host.inbox.take(unpack_all(message.records)):
            if event.op is Op.FILLED and event.body.origin_host == host.number:
                self._held.append((event.body.lease, event.body.token))
                self._agents = [agent for agent in self._agents if agent.ref != event.body.ref]
                self.placements += 1
            elif event.op is Op.REFUSED:
                self._again(event.body.ref)
        for answer in unpack_all(message.quotes):
            self.rounds += 1
            self._quoted(host, answer)

    def _quoted(self, host: HostSide, answer: Record) -> None:
        agent = next((each for each in self._agents if each.ref == answer.body.ref), None)
        if agent is None:
            return
        region = agent.search.region(agent.slot, agent.shape, self.zone_k)
        if answer.body.reason == Reason.OK:
            host.outbox.put(Record(Op.FOK, 0, 1, 0, self._fok(agent.shape, region)._replace(ref=agent.ref)))
            agent.search.put_off(self._tick, ORDERED)
            self._talking.add(host.number)
        else:
            agent.search.failed(self._tick, region, self.zone_k, 1200, 0.5)

    def _again(self, ref: int) -> None:
        for agent in self._agents:
            if agent.ref == ref:
                agent.ref, self._next_ref = self._next_ref, self._next_ref + 1
                agent.search = Search(next_cycle=self._tick)


def _flight(seed: int, zone_k: int) -> Flight:
    """A flight that has heard of a field and of heat."""
    source = np.random.default_rng(seed)
    flight = Flight(seed, zone_k)
    weights = source.normal(scale=0.3, size=(GRID, GRID)).astype("<f4").tobytes()
    flight.field_came(Field(SCHEMA, ZONE, 0, GRID, 3.0, 1.0, 0.1, weights, bytes(len(weights)), 0, 0.5, 1.0))
    flight.heat_came(Heat(SCHEMA, ZONE, 0, 1, 0, source.random(GRID * GRID).astype("<f4").tobytes()))
    return flight
