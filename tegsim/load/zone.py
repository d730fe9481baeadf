"""A zone under load: the program's own ledger, agent sides and governor, with a clock that is told to move.

The network is perfect: what is said in a tick is heard in it, in frames as on the wire from hosts to the ledger. The
disk takes every batch at once. So what is measured here is what the rules do, not what failures do.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from governor import voice as says
from governor.controller import Controller
from governor.settings import GovernorSettings
from tegcore.clock import VirtualClock
from tegcore.units import TICK_NS, UCR_PER_CREDIT
from tegcore.wire.codec import encode
from tegcore.wire.messages import Digest, Message, Telemetry
from tegcore.wire.records import Mint, NameIs, NameKind, Op, Record, pack_all
from tegcore.wire.signing import Key, Keyring, governor_key, host_key, members_key, tenant_token
from tegcore.wire.topics import Channel, Topic
from tegd.submission import WORKLOADS_MAX
from tegsim.load.host import Host, place_of
from tegsim.load.jobs import TICKS_PER_S, Job, Load, jobs
from tegsim.load.seen import Seen
from zone_ledger.book.fast import FastBook
from zone_ledger.engine import Engine
from zone_ledger.genesis import genesis_records
from zone_ledger.ledger import Asked, Batch, Ledger
from zone_ledger.settings import LedgerSettings
from zone_ledger.state import State

ZONE = "sim"
SECRET = Key(b"simulated zone, simulated secret")
FORGET_TICKS = 200
CHECK_TICKS = 1200
GREET_TICKS = 40
SENSE_TICKS = 10
"""Hosts are sensed so often, not every tick: the governor hears of each every 2.5 s, which is most of what it costs."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a zone is made of; all else is as shipped.

    Attributes:
        market: `fixed` or `auction`.
        hosts: How many, of 2^log2_slots slots each.
        funds: Credits in each tenant's account at first.
        governed: Whether a governor runs.
        flown: Whether ghosts fly on the field. If not, each looks for room around where it begins: half of what a run
            costs, and in a zone of a few hosts every search reaches all of it within a second.
        alive: Most work that is accepted and not over on a host: what comes beyond is turned away.
    """

    market: str = "fixed"
    hosts: int = 2
    log2_slots: int = 3
    funds: float = 1000.0
    governed: bool = True
    flown: bool = False
    alive: int = WORKLOADS_MAX

    @property
    def slots(self) -> int:
        """Of all hosts."""
        return self.hosts << self.log2_slots

    @property
    def zone_k(self) -> int:
        """The least zone that holds them."""
        return max(1, -(-(self.slots - 1).bit_length() // 2))


class Zone:
    """See the module.

    Args:
        setting: What it is made of.
        load: What comes.
        seed: Of all draws.
        on_batch: Told every batch's number, records and postings: an auditor.
    """

    def __init__(
        self, setting: Setting, load: Load, seed: int, on_batch: Callable[[int, bytes, bytes], None] | None = None
    ) -> None:
        self.setting, self.load, self._on_batch = setting, load, on_batch
        self._clock = VirtualClock(10**12)
        self._tenants = [f"t{number}" for number in range(load.tenants)]
        settings = msgspec.convert({"zone": ZONE, "zone_k": setting.zone_k, "market": setting.market}, LedgerSettings)
        self.ledger = Ledger(ZONE, SECRET, self._founded(settings), 1, 1 << 62)
        self._side = float(1 << setting.zone_k)
        self._governor = Controller(settings.epoch_ticks, GovernorSettings().policy()) if setting.governed else None
        keys = {f"h{number}": host_key(SECRET, f"h{number}") for number in range(setting.hosts)}
        self._keyring = Keyring(members_key(SECRET, ZONE), governor_key(SECRET, ZONE), keys.get)
        self.seen = Seen(setting.slots)
        self._jobs = jobs(load, setting.hosts, setting.slots, settings.reserve_ucr(0), seed)
        self._next: Job | None = next(self._jobs, None)
        tokens = {name: tenant_token(SECRET, name) for name in self._tenants}
        now_ns = self._clock.now_ns()
        self.hosts = [
            Host(place_of(number, setting.log2_slots), seed * 1000 + number, tokens, now_ns, self.seen)
            for number in range(setting.hosts)
        ]
        self._by_name = {host.name: host for host in self.hosts}
        for host in self.hosts:
            host.others = self._by_name
        self._tick = 0
        self._open()

    def _founded(self, settings: LedgerSettings) -> Engine:
        engine, records = Engine(FastBook), genesis_records(settings)
        for record in records:
            engine.apply(record)
        postings = engine.state.accounts.take_postings()
        if self._on_batch is not None:
            self._on_batch(1, pack_all(records), postings)
        return engine

    @property
    def state(self) -> State:
        """Of the ledger."""
        return self.ledger.state

    def _open(self) -> None:
        """Open the accounts, and let the hosts come up; then time counts from 0."""
        opened = [
            record
            for number, name in enumerate(self._tenants, 1)
            for record in (
                Record(Op.NAME_IS, 0, 0, 0, NameIs.of(NameKind.TENANT, number, name)),
                Record(Op.MINT, 0, 0, 100 + number, Mint(number, round(self.setting.funds * UCR_PER_CREDIT))),
            )
        ]
        self.ledger.ask(Asked(None, lambda: opened, lambda: None, reads=False))
        for host in self.hosts:
            self._say(host, host.agent.presence().channel, host.agent.presence().message)
        for _ in range(GREET_TICKS):
            self._pass()
        for host in self.hosts:
            self._say(host, host.agent.presence().channel, host.agent.presence().message)
        self._pass()
        assert all(host.agent.node.zone is not None for host in self.hosts), "every host is welcome"
        self.seen.begin(self.state, self.hosts)
        self._tick = 0

    # --- time -------------------------------------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        """Let so much time pass, in s."""
        for _ in range(round(seconds * TICKS_PER_S)):
            self.tick()

    def drain(self, seconds: float) -> None:
        """Let time pass until all work is over, or so much of it has."""
        for _ in range(round(seconds * TICKS_PER_S)):
            if not any(host.living for host in self.hosts) and self._next is None:
                return
            self.tick()

    def tick(self) -> None:
        """50 ms, with whoever comes in them."""
        for job in self._coming():
            self.submit(job)
        self._pass()
        self.seen.look(self.state, self._tick)
        self._tick += 1
        if self._tick % FORGET_TICKS == 0:
            for host in self.hosts:
                host.forget_ended()
        if self._tick % CHECK_TICKS == 0:
            self.ledger.engine.check()

    def submit(self, job: Job) -> None:
        """Someone submits a job, whatever tick it says."""
        host = self.hosts[job.host]
        if host.living >= self.setting.alive:
            self.seen.turned_away += 1
        else:
            self.seen.submitted(host.submit(job, self._tenants[job.tenant]))

    def _coming(self) -> Iterator[Job]:
        while self._next is not None and self._next.tick <= self._tick:
            job, self._next = self._next, next(self._jobs, None)
            yield job

    def _pass(self) -> None:
        now_ns = self._clock.advance(TICK_NS)
        sensed = self._governor is not None and self._tick % SENSE_TICKS == 0
        for host in self.hosts:
            host.cycle(self._tick, now_ns, sensed=sensed, flown=self.setting.flown)
            self.seen.quotes += len(host.agent.node.link.quotes)
            for say in host.agent.sayings():
                self._say(host, say.channel, say.message)
            while host.said:
                say = host.agent.question(host.said.pop(0))
                self._say(host, say.channel, say.message)
        self.ledger.ask(Asked(None, self._before, lambda: None, reads=False))
        self.ledger.tick(now_ns, connected=True)
        batch = self.ledger.next_write()
        assert batch is not None, "the disk takes every batch at once"
        if self._on_batch is not None:
            self._on_batch(self.ledger.matched, batch.records, batch.postings)
        self._deliver(self.ledger.durable(), now_ns)

    def _before(self) -> list[Record]:
        """What has come is applied, and the tick has not cleared yet: nothing is asked for, somebody looks."""
        self.seen.before(self.state)
        return []

    def _say(self, host: Host, channel: Channel, message: Message) -> None:
        if isinstance(message, Telemetry):
            if self._governor is not None:
                motion = replace(message.motion, ticks=message.motion.ticks * SENSE_TICKS)
                self._governor.hear(replace(message, motion=motion))
            return
        self._arrive(Topic(ZONE, channel, host.name), message)

    def _arrive(self, topic: Topic, message: Message) -> None:
        key = self._keyring.key_of(topic)
        assert key is not None, f"no key for {topic}"
        self.seen.messages_in += 1
        self.ledger.arrive(str(topic), encode(topic, message, key), self._clock.now_ns())

    def _deliver(self, batch: Batch, now_ns: int) -> None:
        for topic, message, _ in batch.sayings:
            if isinstance(message, Digest):
                self._govern(message)
            elif topic.host:
                self.seen.messages_out += 1
                self._tell(self._by_name[topic.host], message, now_ns)
            else:
                for host in self.hosts:
                    self._tell(host, message, now_ns)

    @staticmethod
    def _tell(host: Host, message: Message, now_ns: int) -> None:
        host.carry_out(host.agent.heard(message, now_ns))  # type: ignore[arg-type]

    def _govern(self, digest: Digest) -> None:
        governor = self._governor
        if governor is None:
            return
        governor.take(digest, self._side)
        for said in says.due(governor, ZONE):
            if said.channel is Channel.RATES:
                self._arrive(Topic(ZONE, Channel.RATES), said.message)
            elif said.channel is Channel.FIELD:
                for host in self.hosts:
                    self._tell(host, said.message, self._clock.now_ns())
