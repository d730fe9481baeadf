"""The agent side's loop: 20 cycles a second around `Node`, between the broker, the airlock side, the store and people.

A cycle reads the sensors, hands over what has come, lets the node step, puts on disk what is to be kept, asks the
airlock side for what is to be done, and sends one message at most to the ledger. What waits for the airlock side or
the disk waits in tasks, never in the cycle.
"""

import asyncio
import contextlib
import logging
import os
import pwd
import shutil
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import psutil

from tegcore.clock import Clock
from tegcore.errors import RefusedError, TegError
from tegcore.ids import is_name
from tegcore.units import TICK_NS
from tegcore.wire import control
from tegcore.wire.messages import AnyMessage, Rejected
from tegcore.wire.peer import is_path
from tegcore.wire.records import Reason, Shape
from tegcore.wire.signing import Key, Keyring
from tegcore.wire.topics import Channel, Topic
from tegcore.wire.transport import Transport
from tegd import views
from tegd.adapters import courier
from tegd.adapters.airlock_client import AirlockClient
from tegd.adapters.courier import Courier
from tegd.adapters.store import Store
from tegd.agent import AgentSide, Place, Say
from tegd.bidding import Usage
from tegd.calls import Call, call, start_calls
from tegd.effects import (
    AskPeers,
    Bound,
    Effect,
    Extend,
    Forget,
    Keep,
    Rejoin,
    SaveAndEnd,
    SaveInPassing,
    Start,
)
from tegd.node import Node
from tegd.settings import HostSettings
from tegd.telemetry.model import RawSample, rates, sample_of
from tegd.telemetry.sample import Sampler
from tegd.workload import Life, Workload, shape_of
from tegio.control import Peer
from tegio.executive import Executive, Window
from tegio.logs import event
from tegio.notify import notify
from tegio.users import is_operator, own_tenant, tenant_for
from tegio.wire import Wire

WATCHDOG_EVERY_CYCLES = 20
WORKLOADS_MAX = 1000
LOG_CHUNK_BYTES = 64 << 10
LOG_POLL_S = 0.2
LOG_ALIVE_S = 10.0
"""Who follows a silent workload is told so often that nobody has gone."""


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
        self._wire = Wire(transport, keyring)
        self._airlock = airlock
        self._store = store
        self._clock = clock
        self._state_dir = state_dir
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
        )
        self._agent = AgentSide(place, store.next_boot(), settings.seed, settings.tokens, clock.now_ns())
        self._courier = Courier(
            settings,
            key,
            self.node,
            self._carry_out,
            self.folder,
            self._read_log,
            airlock,
            store.next_ref,
            clock.now_ns,
        )
        self._raw: RawSample | None = None
        self._usage: dict[str, Usage] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._probe: dict[str, Any] = {}
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
        """Cycle until stopped; leave nothing half said."""
        for name, state in self._sampler.sources().items():
            event("telemetry.source", source=name, state=state)
        self._agent.loaded(await asyncio.to_thread(self._store.load))
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

    def stop(self) -> None:
        """End after the cycle that is under way."""
        self._executive.stop()

    def _on_airlock(self, told: dict[str, Any]) -> None:
        if told["event"] == "reconnected":
            self._later(self._greet_airlock())
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
        for say in self._agent.sayings():
            self._say(say)
        if node.cycle % WATCHDOG_EVERY_CYCLES == 0:
            notify("WATCHDOG=1")

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
        reply = await self._airlock.call("usage")
        now_ns = self._clock.now_ns()
        self._usage = {used["workload"]: Usage(now_ns, used["rss_bytes"], used["cpu_ns"]) for used in reply["usage"]}

    # --- effects ----------------------------------------------------------------------------------------------------

    def _carry_out(self, effects: list[Effect]) -> None:
        keep: dict[int, Workload] = {}
        for effect in effects:
            match effect:
                case Keep(work):
                    keep[work.ref] = work
                case Start(work):
                    self._later(self._start(work))
                case Extend() | Bound() | SaveAndEnd() | SaveInPassing():
                    self._later(self._asked(call(effect)))
                case Forget(airlock_id):
                    self._later(self._forget(airlock_id))
                case Rejoin():
                    self._agent.rejoin(self._store.next_boot(), self._clock.now_ns())
                    self._set_will()
                case AskPeers():
                    self._say(self._agent.question(effect))
                case _:
                    self._later(self._courier.do(effect))
        if keep:
            self._store.keep(*keep.values())

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except TegError as error:
            event("airlock.fault", logging.WARNING, error=error)

    def folder(self, work: Workload) -> Path:
        """A workload's own folder: its working folder unless it names one, and where its checkpoint goes."""
        return self._state_dir / "work" / str(work.ref)

    async def _start(self, work: Workload) -> None:
        folder = self.folder(work)
        if not self._courier.closed and not folder.exists():
            folder.mkdir(mode=0o700, parents=True)
            if os.geteuid() == 0:
                os.chown(folder, work.uid, work.gid)
        if work.files and not work.home and not work.ran:
            work.ran = True
            await self._courier.lay_out(work, courier.shelf_of(folder) / "files")
        gang = self._agent.gang(work)
        for wanted in start_calls(work, self.node.zone, str(folder), _home(work.uid), gang):
            await self._asked(wanted)

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
        await asyncio.to_thread(self._keep_log, airlock_id)
        await self._airlock.call("forget", workload=airlock_id)
        self.node.runs.pop(airlock_id, None)

    def _keep_log(self, airlock_id: str) -> None:
        ref, _, token = airlock_id.partition(".")
        log, kept = self._run_log(airlock_id), self._kept_logs(int(ref)) / f"log.{token}"
        if log.exists() and not kept.exists():
            kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = kept.with_suffix(".fresh")
            shutil.copyfile(log, fresh)
            fresh.replace(kept)

    def _kept_logs(self, ref: int) -> Path:
        return courier.logs_of(self._state_dir / "work" / str(ref))

    def _run_log(self, airlock_id: str) -> Path:
        return self._state_dir / "airlock" / "workloads" / airlock_id / "log"

    # --- messages ---------------------------------------------------------------------------------------------------

    def _hear(self, message: AnyMessage) -> None:
        if isinstance(message, Rejected):
            event("ledger.rejected", logging.WARNING, reason=Reason(message.reason).name, detail=message.detail)
        self._carry_out(self._agent.heard(message, self._clock.now_ns()))

    # --- people -----------------------------------------------------------------------------------------------------

    async def answer(self, peer: Peer, request: control.AnyRequest) -> control.Reply | AsyncIterator[control.Reply]:
        """Answer a request over the control socket."""
        now_ns = self._clock.now_ns()
        if isinstance(request, control.CancelWorkload | control.TopUpWorkload) and self.node.link.outbox.full:
            raise RefusedError("too much waits for the ledger, which is silent", "try again when it is back")
        match request:
            case control.Submit():
                return await self._submit(peer, request)
            case control.Workloads():
                seen = self._seen_by(peer)
                return control.Reply(data=[views.row(self.node, work, now_ns) for work in seen])
            case control.Why():
                return control.Reply(data=views.why(self.node, self._named(peer, request.name), now_ns))
            case control.CancelWorkload():
                work = self._named(peer, request.name)
                self._carry_out(self.node.cancel(work, now_ns))
                return control.Reply(data=views.row(self.node, work, now_ns))
            case control.TopUpWorkload():
                work = self._named(peer, request.name)
                self._carry_out(self.node.top_up(work, request.amount_ucr, request.key, now_ns))
                return control.Reply(data=views.row(self.node, work, now_ns))
            case control.Logs():
                return self._log(self._named(peer, request.name), request.offset, follow=request.follow)
            case control.Host():
                return control.Reply(data=self._own_view())
            case _:
                raise RefusedError(f"tegd does not answer {type(request).__name__}")

    def _seen_by(self, peer: Peer) -> list[Workload]:
        everyone = is_operator(peer.uid, self._settings.operators)
        own = own_tenant(peer.uid, self._settings.tenants)
        return [work for _, work in sorted(self.node.workloads.items()) if everyone or work.tenant == own]

    def _named(self, peer: Peer, name: str) -> Workload:
        own_first = sorted(self._seen_by(peer), key=lambda work: (bool(work.home), -work.ref))
        for work in own_first:
            if name in {work.name, str(work.ref)}:
                return work
        raise RefusedError(f"there is no workload {name!r}", "`tegctl agents` lists those that there are")

    async def _submit(self, peer: Peer, request: control.Submit) -> control.Reply:
        spec, settings = request.spec, self._settings
        if (known := self._store.by_key(peer.uid, request.key)) is not None:
            name = self.node.workloads[known].name if known in self.node.workloads else f"w{known}"
            return control.Reply(data={"name": name, "ref": known})
        tenant = tenant_for(peer.uid, spec.tenant, settings.tenants, settings.operators)
        living = [work for work in self.node.workloads.values() if work.life is not Life.ENDED]
        _check(spec, tenant, settings, living)
        _check_files(request.files)
        ticket = courier.ticket()
        fresh = self._state_dir / "shelf" / f".{ticket}"
        if request.files:
            await asyncio.to_thread(courier.take_files, fresh, request.files)
        ref = self._store.next_ref()
        work = Workload.accepted(ref, tenant, (peer.uid, peer.gid), request.key, spec)
        work.note(self.node.tick, "accepted")
        work.ticket, work.files = ticket, tuple(sorted(request.files))
        if request.files:
            fresh.rename(courier.shelf_of(self.folder(work)))
        self._store.keep(work)
        self.node.submitted(work)
        return control.Reply(data={"name": work.name, "ref": ref})

    async def _log(self, work: Workload, offset: int, *, follow: bool) -> AsyncIterator[control.Reply]:
        """The output of all runs of a workload, one after the other."""
        silent_s = 0.0
        while True:
            over = work.life is Life.ENDED
            data = await asyncio.to_thread(self._read_log, work, offset)
            offset += len(data)
            if data:
                yield control.Reply(data={"bytes": data, "offset": offset}, more=True)
                continue
            if work.life is Life.AWAY and (data := await self._away_log(work, offset)):
                offset += len(data)
                yield control.Reply(data={"bytes": data, "offset": offset}, more=True)
                continue
            if over or not follow:
                last = {"bytes": b"", "offset": offset, "exit_code": work.exit_code, "outcome": work.outcome}
                yield control.Reply(data=last)
                return
            if silent_s >= LOG_ALIVE_S:
                silent_s = 0.0
                yield control.Reply(data={"bytes": b"", "offset": offset}, more=True)
            await asyncio.sleep(LOG_POLL_S)
            silent_s += LOG_POLL_S

    async def _away_log(self, work: Workload, offset: int) -> bytes:
        """What a run elsewhere has written, past what its earlier runs wrote here."""
        before = await asyncio.to_thread(self._log_bytes, work)
        return await self._courier.read_log(work, offset - before) if offset >= before else b""

    def _log_bytes(self, work: Workload) -> int:
        return sum(path.stat().st_size for path in self._kept_logs(work.ref).glob("log.*") if path.suffix[1:].isdigit())

    def _read_log(self, work: Workload, offset: int) -> bytes:
        """A piece of it; where a log is moved to what is kept meanwhile, it is looked for again."""
        while True:
            # What lives is looked for first: what has gone from there is among what is kept.
            living = {
                path.parent.suffix[1:]: path for path in self._run_log("x").parent.parent.glob(f"{work.ref}.*/log")
            }
            found = self._kept_logs(work.ref).glob("log.*")
            logs = living | {path.suffix[1:]: path for path in found if path.suffix[1:].isdigit()}
            with contextlib.suppress(FileNotFoundError):
                return _piece([logs[token] for token in sorted(logs, key=int)], offset)

    def _own_view(self) -> dict[str, Any]:
        lateness, orders = self._executive.lateness_ms.quantiles(), self._order_ms.quantiles()
        return {
            "host": self._settings.host,
            "zone": self._settings.zone,
            "mode": self.node.mode.value,
            "boot": self.node.link.boot,
            "ledger_tick": self.node.tick,
            "workloads": len(self.node.workloads),
            "sources": self._sampler.sources(),
            "capabilities": self._probe,
            "cycle_lateness_ms": {"p50": lateness.p50, "p99": lateness.p99, "cycles": lateness.cycles},
            "order_round_trip_ms": {"p50": orders.p50, "p99": orders.p99, "orders": orders.cycles},
            "expansions": self.node.expansions,
            "own_rss_bytes": self._process.memory_info().rss,
            "own_cpu_s": sum(self._process.cpu_times()[:2]),
            "not_taken_in": dict(self._wire.not_taken_in),
        }


def _piece(logs: list[Path], offset: int) -> bytes:
    """Some bytes from an offset on of files that follow each other; none where they end before."""
    for path in logs:
        size = path.stat().st_size
        if offset < size:
            with path.open("rb") as log:
                log.seek(offset)
                return log.read(LOG_CHUNK_BYTES)
        offset -= size
    return b""


def _home(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        return "/"


def _check_files(files: dict[str, bytes]) -> None:
    """Refuse input files that are too large, or are named as no file can be.

    Raises:
        RefusedError: Says which.
    """
    size = sum(map(len, files.values()))
    if len(files) > control.FILES_MAX or size > control.FILES_BYTES_MAX:
        most = f"{control.FILES_MAX} files of {control.FILES_BYTES_MAX >> 10} KiB together"
        raise RefusedError(f"{len(files)} files of {size} bytes: at most {most}", "name a path that every host has")
    for name in files:
        if "/" in name or not is_path(name):
            raise RefusedError(f"{name[:80]!r} cannot name an input file", "use a plain file name")


def _check(spec: control.WorkloadSpec, tenant: str, settings: HostSettings, living: list[Workload]) -> None:
    """Refuse what can never run.

    Raises:
        RefusedError: Says why.
    """
    if not spec.argv or not spec.argv[0]:
        raise RefusedError("there is no command", "tegctl run -- COMMAND [ARGUMENT ...]")
    if sum(len(part.encode()) + 1 for part in spec.argv) > control.ARGV_BYTES_MAX:
        raise RefusedError(f"the command is longer than {control.ARGV_BYTES_MAX} bytes")
    if spec.name and not is_name(spec.name):
        raise RefusedError(f"{spec.name!r} cannot name a workload", "use lower-case letters, digits, '-', '_' and '.'")
    if any(work.name == spec.name for work in living):
        raise RefusedError(f"a workload {spec.name!r} is alive already", "choose another name")
    if len(living) >= WORKLOADS_MAX:
        raise RefusedError(f"{WORKLOADS_MAX} workloads are alive on this host", "wait for some to end")
    try:
        Shape.unpacked(shape_of(spec).packed())
    except (TegError, ValueError) as error:
        raise RefusedError(
            f"no block has this shape: {error}", "ask for 1 to 4 blocks of 2^j slots, of classes 0 to 7"
        ) from None
    if tenant not in settings.tokens:
        known = ", ".join(sorted(settings.tokens)) or "none"
        hint = f"an operator's `zone-ledger provision --tenant {tenant}` gives it one; it has those of: {known}"
        raise RefusedError(f"this host holds no token of tenant {tenant!r}", hint)
