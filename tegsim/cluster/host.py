"""The agent side in the simulator: `tegd.agent` between a simulated broker, its store and the airlock side."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import msgspec

from tegcore.errors import DecodeError
from tegcore.units import NS_PER_S, TICK_NS
from tegcore.wire.codec import encode
from tegcore.wire.control import WorkloadSpec
from tegcore.wire.messages import SAMPLES_PER_MESSAGE_MAX
from tegcore.wire.records import Record
from tegcore.wire.signing import Keyring
from tegcore.wire.topics import Channel, Topic
from tegd.agent import AgentSide, Place, Say
from tegd.airlock import protocol
from tegd.bidding import Usage
from tegd.calls import Call, call, start_calls
from tegd.effects import (
    AskPeers,
    Bound,
    Drop,
    Effect,
    Extend,
    Forget,
    Keep,
    Rejoin,
    SaveAndEnd,
    SaveInPassing,
    Start,
)
from tegd.handover import Stay, Trip
from tegd.link import boot_after
from tegd.modes import Mode
from tegd.node import Node
from tegd.telemetry.model import RawSample, rates, sample_of
from tegd.workload import Life, Workload
from tegsim.cluster.airlock import AirlockPart
from tegsim.cluster.courier import Courier
from tegsim.cluster.machine import Machine
from tegsim.kernel import REST_CYCLES, Kernel, Part
from tegsim.network import Client, Network

SOCKET_NS = 200_000
RECONNECT_NS = NS_PER_S // 10
TEMP_IDLE_C, TEMP_CRIT_C = 35.0, 95.0


class Watcher(Protocol):
    """Who checks an agent side while it runs."""

    def booted(self, part: "AgentPart") -> None:
        """It has begun a life."""

    def heard(self, part: "AgentPart", record: Record) -> None:
        """It takes in an event."""


@dataclass
class Store:
    """What an agent side must not forget, as it is on disk: the number of its last start, and accepted work."""

    boot: int = 0
    ref: int = 0
    works: dict[int, bytes] = field(default_factory=dict)

    def keep(self, work: Workload) -> None:
        """Put a workload on disk."""
        self.works[work.ref] = msgspec.msgpack.encode(work)

    def load(self) -> list[Workload]:
        """All that is there."""
        return [msgspec.msgpack.decode(body, type=Workload) for _, body in sorted(self.works.items())]


@dataclass(frozen=True)
class _Pending:
    verb: str
    airlock_id: str
    then: Callable[[dict[str, Any]], None]


class AgentPart(Part):
    """One host's agent side.

    Args:
        kernel: Time.
        network: The broker.
        machine: That it is on.
        zone: Name of the zone.
        place: What it introduces itself with.
        seed: Of its agents' draws.
        tokens: Of tenants.
        keyring: The host's key and the members'.
        watcher: Told what it does.

    Attributes:
        agent: The core, while it runs.
        store: Its disk.
        accepted: Work that people were told is accepted.
        airlock: The other side.
        paused: It gets no processor, and nothing that it was told is taken in.
        awake_since_ns: When it last woke: of broadcasts that only say what changed it has missed some.
        rests: Whether it may take many cycles as one while nothing is to be done; for large clusters.
    """

    def __init__(
        self,
        kernel: Kernel,
        network: Network,
        machine: Machine,
        *,
        zone: str,
        place: Place,
        seed: int,
        tokens: Mapping[str, int],
        keyring: Keyring,
        watcher: Watcher,
    ) -> None:
        super().__init__(kernel, f"agent {machine.name}")
        self._network = network
        self._machine = machine
        self._zone = zone
        self._place = place
        self._seed = seed
        self._tokens = tokens
        self._keyring = keyring
        self._watcher = watcher
        self._client: Client | None = None
        self._raw: RawSample | None = None
        self._usage: dict[str, Usage] = {}
        self._calls: dict[int, _Pending] = {}
        self._number = 0
        self._ready = False
        self._held: list[Callable[[], None]] = []
        self.courier = Courier(self)
        self.way_out, self.way_in = network.ways(place.host)
        self.agent: AgentSide | None = None
        self.airlock: AirlockPart | None = None
        self.store = Store()
        self.accepted: list[int] = []
        self.paused = self.rests = False
        self._cycles_put, self._sleeps, self.awake_since_ns = 0, 1, 0

    @property
    def resting(self) -> bool:
        """Whether nothing is to be done here, and it takes many cycles as one."""
        return self._client is not None and self._client.resting

    @property
    def host(self) -> str:
        """Of the host."""
        return self._place.host

    @property
    def checkpoints(self) -> dict[str, int]:
        """What the hooks of its work have saved."""
        return self._machine.checkpoints

    @property
    def asked_ns(self) -> dict[str, int]:
        """When they were asked for."""
        return self._machine.saved_for_ns

    def lay_out(self, ref: int, done_ns: int, asked_ns: int) -> None:
        """Put a checkpoint that came from elsewhere into a workload's folder."""
        self.checkpoints[str(ref)], self.asked_ns[str(ref)] = done_ns, asked_ns

    def now_ns(self) -> int:
        """Boot-time clock."""
        return self._machine.clock.now_ns()

    def next_ref(self) -> int:
        """A number that no workload of this host ever had."""
        self.store.ref += 1
        return self.store.ref

    @property
    def node(self) -> Node | None:
        """This host's agents, while it runs."""
        return self.agent.node if self.agent is not None else None

    # --- lives ------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Read the store, meet the airlock side, connect."""
        self.store.boot = boot_after(self.store.boot, self._machine.clock.wall_s())
        self.boundary("booted")
        self.agent = AgentSide(self._place, self.store.boot, self._seed, self._tokens, self.now_ns())
        self.agent.loaded(self.store.load())
        self.agent.address = f"{self.host}:1"
        self._raw, self._usage, self._ready = None, {}, False
        self._watch(self.agent.node)
        self._watcher.booted(self)
        self.met()

    def _watch(self, node: Node) -> None:
        take_in = node._event

        def watched(record: Record, now_ns: int) -> list[Effect]:
            self._watcher.heard(self, record)
            return take_in(record, now_ns)

        setattr(node, "_event", watched)  # noqa: B010 - an instance's own, so that no rule of the class is touched

    def ended(self) -> None:
        """It died."""
        if self._client is not None:
            self._client.die()
        self._client = self.agent = None
        self._calls.clear()
        self._held.clear()
        self.paused = False

    def met(self) -> None:
        """The airlock side is there, for the first time or again."""
        if self.agent is None or self.airlock is None or not self.airlock.up:
            return
        self._calls.clear()
        self._list([], "")

    def _list(self, entries: list[dict[str, Any]], after: str) -> None:
        def page(reply: dict[str, Any]) -> None:
            entries.extend(reply["workloads"])
            if reply["more"]:
                self._list(entries, entries[-1]["workload"])
            else:
                self._met(entries)

        self._call(Call("list", {"after": after}), "", page)

    def _met(self, entries: list[dict[str, Any]]) -> None:
        assert self.agent is not None, "it runs"
        self.carry_out(self.agent.met(entries, self.now_ns()))
        if self._ready:
            return
        self._ready = True
        self.agent.ready()
        client = self._client = self._network.client(self.host)
        for topic in (
            Topic(self._zone, Channel.EVENTS, self.host),
            Topic(self._zone, Channel.BEAT),
            Topic(self._zone, Channel.FIELD),
            Topic(self._zone, Channel.HEAT),
        ):
            client.subscribe(str(topic), self._arrive)
        will = self.agent.goodbye(stopping=False)
        topic = Topic(self._zone, will.channel, self.host)
        client.will = str(topic), self._frame(topic, will)
        client.on_connected = lambda: self.do(self._present)
        client.connect()
        self._cycle()

    def _present(self) -> None:
        if self.agent is not None:
            self._say(self.agent.presence())

    # --- the cycle --------------------------------------------------------------------------------------------------

    def _cycle(self) -> None:
        """One cycle; for a host that rests, the last of many."""
        resting, slept = self.resting, self._sleeps
        self._next_cycle(REST_CYCLES if resting else 1)
        if self.paused:
            return
        agent, machine = self.agent, self._machine
        assert agent is not None, "it runs"
        assert self._client is not None, "it runs"
        held, self._held = self._held, []
        for act in held:
            act()
        if resting:
            agent.node.cycle += slept - 1
            self._client.catch_up()
        before, self._raw = self._raw, machine.sense()
        if before is not None:
            sample = sample_of(rates(before, self._raw, TEMP_IDLE_C, TEMP_CRIT_C))
            agent.sensed(sample, SAMPLES_PER_MESSAGE_MAX if resting else 1)
        if agent.wants_usage or (resting and agent.node.runs):
            self._call(Call("usage", {}), "", self._used)
        self.carry_out(agent.cycle(self._usage, self.now_ns()))
        agent.node.order_ms.clear()
        for say in agent.sayings():
            self._say(say)
        self._rest(on=self.rests and _is_quiet(agent.node))

    def _next_cycle(self, cycles: int) -> None:
        self._cycles_put += 1
        put, self._sleeps = self._cycles_put, cycles
        delay_ns = self._machine.clock.true_ns(cycles * TICK_NS)
        self.after(delay_ns, lambda: self._cycle() if self._cycles_put == put else None)

    def _rest(self, *, on: bool) -> None:
        """Begin to rest, or wake: then a cycle comes as soon as it would have."""
        if self._client is None or self._client.resting is on:
            return
        self._client.rest(on=on)
        if on:
            assert self.agent is not None, "it runs"
            self._next_cycle(REST_CYCLES - self.agent.node.cycle % REST_CYCLES)
        else:
            self.awake_since_ns = self.kernel.now_ns
            self._client.catch_up()
            self._next_cycle(1)

    def _used(self, reply: dict[str, Any]) -> None:
        now_ns = self.now_ns()
        self._usage = {used["workload"]: Usage(now_ns, used["rss_bytes"], used["cpu_ns"]) for used in reply["usage"]}

    def _say(self, say: Say) -> None:
        self.boundary(f"say {say.channel}")
        if self._client is not None:
            topic = Topic(self._zone, say.channel, self.host)
            self._client.publish(str(topic), self._frame(topic, say), retain=say.retain)

    def _frame(self, topic: Topic, say: Say) -> bytes:
        key = self._keyring.key_of(topic)
        assert key is not None, f"no key for {topic}"
        return encode(topic, say.message, key)

    def _arrive(self, topic: str, frame: bytes) -> None:
        if self.up:
            self.do(lambda: self._hear(topic, frame))

    def _hear(self, topic: str, frame: bytes) -> None:
        try:
            message = self._network.read(topic, frame, self._keyring)
        except DecodeError:
            return
        if self.agent is not None:
            self.carry_out(self.agent.heard(message, self.now_ns()))

    def do(self, act: Callable[[], None]) -> None:
        """Do something, or, while there is no processor, later."""
        if self.paused:
            self._held.append(act)
        else:
            self.guard(act)
            if self.resting and self.agent is not None and not _is_quiet(self.agent.node):
                self._rest(on=False)

    # --- the airlock side -------------------------------------------------------------------------------------------

    def carry_out(self, effects: Iterable[Effect]) -> None:
        """Carry out what the core asks for; whoever has something to do does not rest."""
        assert self.agent is not None, "it runs"
        for effect in effects:
            match effect:
                case Keep(work):
                    self.boundary("keep")
                    self.store.keep(work)
                    self.boundary("kept")
                case Start(work):
                    told = self.agent.told(work)
                    for wanted in start_calls(work, self.agent.node.zone, f"/simulated/{work.ref}", "/", told):
                        self._ask(wanted)
                case Forget(airlock_id):
                    self._call(call(effect), airlock_id, partial(self._forgotten, airlock_id))
                case Extend() | Bound() | SaveAndEnd() | SaveInPassing():
                    self._ask(call(effect))
                case Rejoin():
                    self.store.boot = boot_after(self.store.boot, self._machine.clock.wall_s())
                    self.boundary("booted")
                    self.agent.rejoin(self.store.boot, self.now_ns())
                    self._watcher.booted(self)
                case Drop(work):
                    self.store.works.pop(work.ref, None)
                case AskPeers():
                    self._say(self.agent.question(effect))
                case _:
                    self.courier.do(effect)

    def _ask(self, wanted: Call) -> None:
        self._call(wanted, wanted.fields["workload"], self._changed)

    def _changed(self, entry: dict[str, Any]) -> None:
        if self.agent is not None:
            self.carry_out(self.agent.changed(entry, self.now_ns()))

    def _forgotten(self, airlock_id: str, _reply: dict[str, Any]) -> None:
        if self.agent is not None:
            self.agent.node.runs.pop(airlock_id, None)

    def _call(self, wanted: Call, airlock_id: str, then: Callable[[dict[str, Any]], None]) -> None:
        """Ask the airlock side; without one, nothing is asked, and it is asked again when there is one."""
        airlock = self.airlock
        if airlock is None or not airlock.up:
            return
        self.boundary(f"ask {wanted.verb}")
        self._number += 1
        self._calls[self._number] = _Pending(wanted.verb, airlock_id, then)
        packet = json.dumps({"v": protocol.VERSION, "id": self._number, "verb": wanted.verb, **wanted.fields}).encode()
        airlock.after(SOCKET_NS, lambda: airlock.take(packet))

    def told(self, packet: bytes) -> None:
        """The airlock side has sent a packet; it comes, unless one of the two dies before."""
        self.after(SOCKET_NS, lambda: self.do(lambda: self._take(json.loads(packet))))

    def _take(self, data: dict[str, Any]) -> None:
        if self.agent is None:
            return
        if "event" in data:
            if self._ready:
                self._changed(data)
            return
        pending = self._calls.pop(data["id"], None)
        if pending is None:
            return
        if data["ok"]:
            pending.then({name: value for name, value in data.items() if name not in {"v", "id", "ok"}})
            return
        now_ns = self.now_ns()
        reason, problem = data["reason"], data["message"]
        self.carry_out(self.agent.refused(pending.verb, pending.airlock_id, reason, problem, now_ns))

    def unpause(self) -> None:
        """It gets its processor back; before its first cycle nothing else takes in what has come meanwhile."""
        self.paused = False
        if not self._ready:
            held, self._held = self._held, []
            for act in held:
                self.guard(act)

    def reconnected(self) -> None:
        """The airlock side has come back: what was asked of it meanwhile may not have been heard."""
        self._calls.clear()
        self.after(RECONNECT_NS, lambda: self.do(self.met))

    # --- people -----------------------------------------------------------------------------------------------------

    def submit(self, tenant: str, spec: WorkloadSpec) -> int:
        """Run this; returns its ref, once it is on disk, or 0 if nobody answers."""
        if self.agent is None or not self._ready or self.paused:
            return 0
        ref = self.next_ref()
        work = Workload.accepted(ref, tenant, (1000, 1000), ref, spec)
        self.store.keep(work)
        self.agent.node.submitted(work)
        self.accepted.append(ref)
        self._rest(on=False)
        return ref

    def woken(self) -> None:
        """Another host has brought work."""
        self._rest(on=False)

    def with_work(self, ref: int, act: Callable[[Node, Workload, int], list[Effect]]) -> None:
        """Have something done to a workload, if there is someone to do it."""
        if self.agent is None or not self._ready or self.paused or ref not in self.agent.node.workloads:
            return
        node, now_ns = self.agent.node, self.now_ns()
        self.guard(lambda: self.carry_out(act(node, node.workloads[ref], now_ns)))


def _is_quiet(node: Node) -> bool:
    """Whether nothing is under way on a host but work that runs in its seat, and nothing is owed to the ledger."""
    if node.mode is not Mode.RUN or len(node.link.outbox) or node.link.quotes:
        return False
    seated = {work.airlock_id for work in node.workloads.values() if work.life is Life.SEATED}
    settled = seated == node.runs.keys() and all(state == "running" for state in node.runs.values())
    return settled and all(_is_settled(node, work) for work in node.workloads.values())


def _is_settled(node: Node, work: Workload) -> bool:
    """Whether nothing is due for a workload, or for a part of one, but what comes from elsewhere."""
    if work.life is Life.ENDED:
        return not work.owed and work.stay in {Stay.NONE, Stay.KEPT, Stay.GONE}
    if work.sources or work.owed or work.spec.checkpoint_every_s:
        return False
    match work.life:
        case Life.AWAY:
            begun = len(work.begun) == len(work.seats)
            return work.trip is Trip.HEARD or (work.trip is Trip.AWAY and begun)
        case Life.SEATED:
            return not node.agents[work.ref].weighs and work.stay in {Stay.NONE, Stay.SEATED} and not work.saves
        case _:
            return False
