"""The agent side's loop: 20 cycles a second around `Node`, between the broker, the airlock side, the store and people.

A cycle reads the sensors, hands over what has come, lets the node step, puts on disk what is to be kept, asks the
airlock side for what is to be done, and sends one message at most to the ledger. What waits for the airlock side or
the disk waits in tasks, never in the cycle.
"""

import asyncio
import logging
import pwd
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psutil

from tegcore.clock import Clock
from tegcore.errors import JournalError, RefusedError, TegError, UnavailableError
from tegcore.units import TICK_NS
from tegcore.wire import control
from tegcore.wire.messages import SCHEMA, AnyMessage, Ask, Beat, Rejected, Tenants, Welcome
from tegcore.wire.records import reason_name
from tegcore.wire.signing import Key, Keyring, opened_token
from tegcore.wire.topics import Channel, Topic
from tegcore.wire.transport import Transport
from tegd.adapters.airlock_client import AirlockClient
from tegd.adapters.courier import Courier
from tegd.adapters.desk import Desk
from tegd.adapters.places import Places, Size
from tegd.adapters.store import Store
from tegd.agent import AgentSide, Place, Say
from tegd.airlock.adapters.logs import PIECE_BYTES, SLACK, cut
from tegd.airlock.protocol import LOG_BYTES_MAX
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
from tegd.log_share import Log, bounds
from tegd.modes import Mode
from tegd.node import Node
from tegd.settings import HostSettings, absent_mask
from tegd.telemetry.model import RawSample, rates, sample_of
from tegd.telemetry.sample import Sampler
from tegd.tenancy import Tenancy
from tegd.workload import Life, Workload
from tegio.control import Peer
from tegio.executive import Executive, Window
from tegio.host import machine_number
from tegio.logs import Seldom, event
from tegio.notify import notify
from tegio.wire import Wire

WATCHDOG_EVERY_CYCLES = 20
LOGS_EVERY_CYCLES = 300
"""How often it is seen what each tenant's output takes: 15 s."""
T = TypeVar("T")


class HostService:
    """One host's agent side.

    Args:
        settings: Of the host, with its name filled in.
        keyring: The host's key and the members'.
        key: The host's.
        transport: To the broker, not started yet.
        airlock: To the airlock side, not started yet.
        store: On disk.
        clock: The boot-time clock.
        state_dir: Where the workloads' folders are.
    """

    def __init__(
        self,
        settings: HostSettings,
        keyring: Keyring,
        key: Key,
        transport: Transport,
        airlock: AirlockClient,
        store: Store,
        clock: Clock,
        state_dir: Path,
    ) -> None:
        self._settings = settings
        self._key = key
        self._wire = Wire(transport, keyring)
        self._airlock = airlock
        self._store = store
        self._clock = clock
        self._places = Places(state_dir)
        self._sampler = Sampler()
        self._process = psutil.Process()
        self._executive = Executive(clock, TICK_NS, self._cycle)
        place = Place(
            settings.host,
            settings.base,
            settings.log2_slots,
            settings.slot_class,
            settings.cpu_milli or (psutil.cpu_count() or 1) * 1000,
            settings.mem_bytes or psutil.virtual_memory().total,
            absent_mask(settings.log2_slots, settings.slots),
            machine_number(state_dir),
        )
        self._tenancy = Tenancy(settings.tenants, settings.tokens, store.tenants())
        tokens = self._tenancy.tokens
        self._agent = AgentSide(place, store.next_boot(), settings.seed, tokens, clock.now_ns(), settings.slots_as)
        self._courier = Courier(
            settings,
            key,
            self.node,
            self._carry_out,
            self._places,
            airlock,
            store.next_ref,
            clock.now_ns,
        )
        self._desk = Desk(
            settings, self.node, store, self._places, self._courier, self._carry_out, clock.now_ns, self._tenancy
        )
        self._raw: RawSample | None = None
        self._usage: dict[str, Usage] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting: set[str] = set()
        self._fault: BaseException | None = None
        self._seldom = Seldom()
        self._probe: dict[str, Any] = {}
        self._log_bounds: dict[str, int] = {}
        self._bounding = False
        self._order_ms = Window()
        zone, host = settings.zone, settings.host
        for topic in (
            Topic(zone, Channel.EVENTS, host),
            Topic(zone, Channel.BEAT),
            Topic(zone, Channel.FIELD),
            Topic(zone, Channel.HEAT),
        ):
            self._wire.hear(str(topic), self._hear)
        transport.on_presence(lambda up: self._say(self._agent.presence()) if up else None)
        self._set_will()

    @property
    def node(self) -> Node:
        """This host's agents."""
        return self._agent.node

    def _set_will(self) -> None:
        status = Topic(self._settings.zone, Channel.STATUS, self._settings.host)
        will = self._agent.goodbye(stopping=False)
        self._wire.transport.will(str(status), self._wire.frame(status, will.message))

    # --- life -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Cycle until stopped; leave nothing half said.

        Raises:
            JournalError: If the store fails: what it holds is what is begun from again.
        """
        for name, state in self._sampler.sources().items():
            event("telemetry.source", source=name, state=state)
        works = await asyncio.to_thread(self._store.load)
        self._agent.loaded(works)
        await asyncio.to_thread(self._places.sweep, {work.ref for work in works})
        await self._airlock.start()
        self._airlock.on_event(self._on_airlock)
        await self._greet_airlock()
        await self._courier.start()
        self._agent.address = self._courier.address
        self._agent.ready()
        await self._wire.transport.start()
        notify("READY=1")
        event("tegd.ready", host=self._settings.host, boot=self.node.link.boot, workloads=len(self.node.workloads))
        try:
            await self._executive.run()
        finally:
            await self._end()
        if self._fault is not None:
            raise self._fault

    def stop(self) -> None:
        """End after the cycle that is under way."""
        self._executive.stop()

    def _on_airlock(self, told: dict[str, Any]) -> None:
        if told["event"] == "reconnected":
            self._later(self._greet_again())
        elif "workload" in told:
            self._changed(told)

    async def _greet_airlock(self) -> None:
        """Learn what the airlock side can do and what it holds; ask again for what it may not have heard."""
        probe = await self._airlock.call("hello")
        if probe != self._probe:
            for name, state in probe.items():
                event("airlock.capability", name=name, state=state)
        self._probe = probe
        self._courier.closed = probe.get("folders", "").startswith("present")
        runs: list[dict[str, Any]] = []
        more = True
        while more:
            page = await self._airlock.call("list", after=runs[-1]["workload"] if runs else "")
            runs += page["workloads"]
            more = page["more"]
        self._carry_out(self._agent.met(runs, self._clock.now_ns()))

    async def _greet_again(self) -> None:
        """The airlock side is back; it may be busy with what it found, for longer than a call waits."""
        while self._airlock.connected:
            try:
                return await self._greet_airlock()
            except UnavailableError as error:
                event("airlock.fault", logging.WARNING, error=error)
        return None

    def _changed(self, entry: dict[str, Any]) -> None:
        self._carry_out(self._agent.changed(entry, self._clock.now_ns()))

    async def _end(self) -> None:
        notify("STOPPING=1")
        self._say(self._agent.goodbye(stopping=True))
        await self._wire.transport.stop()
        await self._courier.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._airlock.stop()
        self._store.close()
        event("tegd.stopped", workloads=sum(work.life is not Life.ENDED for work in self.node.workloads.values()))

    # --- the cycle --------------------------------------------------------------------------------------------------

    async def _cycle(self, now_ns: int) -> None:
        node = self.node
        self._sense(now_ns)
        if self._agent.wants_usage and self._airlock.connected:
            self._later(self._measure())
        self._carry_out(self._agent.cycle(self._usage, now_ns))
        for order_ms in node.order_ms:
            self._order_ms.add(order_ms)
        node.order_ms.clear()
        while node.said:
            name, text = node.said.popleft()
            event("work.told", workload=name, text=text)
        for say in self._agent.sayings():
            self._say(say)
        if node.zone is not None and (after := self._tenancy.question(node.cycle)) is not None:
            ask = Ask(SCHEMA, self._settings.host, node.link.boot, tenants_after=after)
            self._say(Say(Channel.ORDERS, ask))
        if node.cycle % WATCHDOG_EVERY_CYCLES == 0:
            notify("WATCHDOG=1")
        if node.cycle % LOGS_EVERY_CYCLES == 0 and not self._bounding:
            self._bounding = True
            self._later(self._bound_logs())

    def _say(self, say: Say) -> None:
        topic = Topic(self._settings.zone, say.channel, self._settings.host)
        self._wire.publish(topic, say.message, retain=say.retain)

    def _sense(self, now_ns: int) -> None:
        before, self._raw = self._raw, self._sampler.read(now_ns)
        if before is None:
            return
        model = rates(before, self._raw, self._settings.temp_idle_c, self._settings.temp_crit_c)
        self._agent.sensed(sample_of(model))

    async def _measure(self) -> None:
        found: list[dict[str, Any]] = []
        more = True
        while more:
            page = await self._airlock.call("usage", **({"after": found[-1]["workload"]} if found else {}))
            found += page["usage"]
            more = page.get("more", False)
        now_ns = self._clock.now_ns()
        self._usage = {used["workload"]: Usage(now_ns, used["rss_bytes"], used["cpu_ns"]) for used in found}

    async def _bound_logs(self) -> None:
        """Hold each tenant's output to its share of this host; the airlock side cuts the logs of what it runs."""
        try:
            await self._bound_each_log()
        finally:
            self._bounding = False

    async def _bound_each_log(self) -> None:
        sizes = await asyncio.to_thread(self._places.log_sizes)
        owned = {str(size.path): size for size in sizes if size.ref in self.node.workloads}
        logs = [Log(name, self.node.workloads[size.ref].tenant, size.size) for name, size in owned.items()]
        before, self._log_bounds = self._log_bounds, bounds(logs, self._settings.tenant_log_bytes, self._log_bounds)
        for name, bound in self._log_bounds.items():
            if bound == before.get(name, LOG_BYTES_MAX) and owned[name].size <= bound + bound // SLACK + PIECE_BYTES:
                continue
            try:
                await self._bound_log(owned[name], bound)
            except (TegError, OSError) as error:
                event("log.not_bound", logging.WARNING, log=name, error=error)

    async def _bound_log(self, log: Size, bound: int) -> None:
        if not log.run:
            await asyncio.to_thread(partial(cut, log.path, bound, anew=True))
        elif self._airlock.connected:
            token = int(log.run.partition(".")[2])
            await self._airlock.call("bound_log", workload=log.run, token=token, bytes=bound)
        if bound < log.size:
            event("log.bound", log=log.path, bytes=bound, had=log.size)

    # --- effects ----------------------------------------------------------------------------------------------------

    def _carry_out(self, effects: list[Effect]) -> None:
        """On disk first, then the rest: what could not be kept is not done either."""
        keep = {effect.workload.ref: effect.workload for effect in effects if isinstance(effect, Keep)}
        self._durable(lambda: self._store.keep(*keep.values()))
        for effect in effects:
            match effect:
                case Keep():
                    pass
                case Drop(work):
                    self._durable(partial(self._store.drop, work.ref))
                    self._later(asyncio.to_thread(self._places.remove, work))
                case Start(work):
                    self._later(self._start(work))
                case Extend() | Bound() | SaveAndEnd() | SaveInPassing():
                    self._later(self._asked(call(effect)))
                case Forget(airlock_id):
                    self._later(self._forget(airlock_id))
                case Rejoin():
                    self._agent.rejoin(self._durable(self._store.next_boot), self._clock.now_ns())
                    self._set_will()
                case AskPeers():
                    self._say(self._agent.question(effect))
                case _:
                    self._later(self._courier.do(effect))

    def _durable(self, write: Callable[[], T]) -> T:
        """Write to the store; where that fails the program stops, whoever asked, and begins again from the disk."""
        try:
            return write()
        except JournalError as error:
            self._stop_for(error)
            raise

    def _stop_for(self, fault: BaseException) -> None:
        self._fault = self._fault or fault
        self._executive.stop()

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except (TegError, OSError) as error:
            event("airlock.fault", logging.WARNING, error=error)
        except Exception as error:
            self._stop_for(error)
            raise

    async def _start(self, work: Workload) -> None:
        airlock_id = work.airlock_id
        if airlock_id in self._starting:
            return
        self._starting.add(airlock_id)
        try:
            await self._start_once(work, airlock_id)
        finally:
            self._starting.discard(airlock_id)

    async def _start_once(self, work: Workload, airlock_id: str) -> None:
        try:
            await self._lay_out(work)
        except (OSError, RefusedError) as error:
            event("work.not_laid_out", logging.WARNING, run=airlock_id, error=error)
            reason, now_ns = getattr(error, "reason", ""), self._clock.now_ns()
            self._carry_out(self._agent.refused("start", airlock_id, reason, str(error), now_ns))
            return
        folder, told = self._places.folder(work), self._agent.told(work)
        for wanted in start_calls(work, self.node.zone, str(folder), _home(work.uid), told):
            await self._asked(wanted)

    async def _lay_out(self, work: Workload) -> None:
        """Its folder, and once before it first runs its input files: what it made of them is its own."""
        if not self._courier.closed:
            await asyncio.to_thread(self._places.make_folder, work)
        if work.files and not work.home and not work.ran:
            await self._courier.lay_out(work, self._places.shelf(work) / "files")
            work.ran = True
            self._carry_out([Keep(work)])

    async def _asked(self, wanted: Call) -> None:
        airlock_id = wanted.fields["workload"]
        try:
            self._changed(await self._airlock.call(wanted.verb, **wanted.fields))
        except RefusedError as error:
            event("airlock.refused", logging.WARNING, verb=wanted.verb, run=airlock_id, error=error)
            reason, now_ns = getattr(error, "reason", ""), self._clock.now_ns()
            self._carry_out(self._agent.refused(wanted.verb, airlock_id, reason, str(error), now_ns))

    async def _forget(self, airlock_id: str) -> None:
        """Keep the run's log with the workload, then let the airlock side drop the rest."""
        await asyncio.to_thread(self._places.keep_log, airlock_id)
        await self._airlock.call("forget", workload=airlock_id)
        self.node.runs.pop(airlock_id, None)

    # --- messages ---------------------------------------------------------------------------------------------------

    def _hear(self, message: AnyMessage) -> None:
        if isinstance(message, Rejected):
            event("ledger.rejected", logging.WARNING, reason=reason_name(message.reason), detail=message.detail)
        refused = self._agent.not_taken_in.total()
        self._carry_out(self._agent.heard(message, self._clock.now_ns()))
        if self._agent.not_taken_in.total() > refused:
            self._seldom.event("message.refused", "", logging.ERROR, error=self._agent.flaw)
        if self.node.mode is not Mode.SAFE:
            self._hear_of_tenants(message)

    def _hear_of_tenants(self, message: AnyMessage) -> None:
        match message:
            case Welcome() if message.boot == self.node.link.boot:
                self._tenancy.begin_anew()
            case Beat():
                self._tenancy.beaten(message.tenants)
            case Tenants() if message.boot == self.node.link.boot:
                told = self._tenancy.take(message, lambda raw, name: opened_token(raw, self._key, name))
                if told is not None:
                    self._durable(lambda: self._store.keep_tenants(told))
                    event("tenants.told", tenants=len(told))

    # --- people -----------------------------------------------------------------------------------------------------

    async def answer(self, peer: Peer, request: control.AnyRequest) -> control.Reply | AsyncIterator[control.Reply]:
        """Answer a request over the control socket."""
        if isinstance(request, control.Host):
            return control.Reply(data=self._own_view())
        return await self._desk.answer(peer, request)

    def _own_view(self) -> dict[str, Any]:
        lateness, orders = self._executive.lateness_ms.quantiles(), self._order_ms.quantiles()
        return {
            "host": self._settings.host,
            "zone": self._settings.zone,
            "mode": self.node.mode.value,
            "boot": self.node.link.boot,
            "twin": self.node.has_a_twin,
            "ledger_tick": self.node.tick,
            "workloads": len(self.node.workloads),
            "sources": self._sampler.sources(),
            "capabilities": self._probe,
            "cycle_lateness_ms": {"p50": lateness.p50, "p99": lateness.p99, "cycles": lateness.cycles},
            "order_round_trip_ms": {"p50": orders.p50, "p99": orders.p99, "orders": orders.cycles},
            "expansions": self.node.expansions,
            "own_rss_bytes": self._process.memory_info().rss,
            "own_cpu_s": sum(self._process.cpu_times()[:2]),
            "not_taken_in": dict(self._wire.not_taken_in + self._agent.not_taken_in),
        }


def _home(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        return "/"
