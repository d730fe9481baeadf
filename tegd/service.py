"""The agent side's loop: 20 cycles a second around `Node`, between the broker, the airlock side, the store and people.

A cycle reads the sensors, hands over what has come, lets the node step, puts on disk what is to be kept, asks the
airlock side for what is to be done, and sends one message at most to the ledger. What waits for the airlock side or
the disk waits in tasks, never in the cycle.
"""

import asyncio
import logging
import os
import pwd
import shutil
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import psutil

from tegcore.clock import Clock
from tegcore.dynamics.mass import charge, mass
from tegcore.errors import RefusedError, TegError
from tegcore.ids import is_name
from tegcore.units import TICK_NS
from tegcore.wire import control
from tegcore.wire.messages import (
    SAMPLES_PER_MESSAGE_MAX,
    SCHEMA,
    Ask,
    Beat,
    Events,
    Field,
    Heat,
    Hello,
    Motion,
    Peers,
    Rejected,
    Sample,
    Status,
    Telemetry,
    Welcome,
)
from tegcore.wire.peer import is_path
from tegcore.wire.records import Reason, Shape
from tegcore.wire.signing import Key, Keyring
from tegcore.wire.topics import Channel, Topic
from tegcore.wire.transport import Transport
from tegd import views
from tegd.adapters import courier
from tegd.adapters.airlock_client import AirlockClient
from tegd.adapters.bundles import lay_out
from tegd.adapters.courier import Courier
from tegd.adapters.store import Store
from tegd.bidding import Usage, rank
from tegd.effects import AskPeers, Bound, Effect, Extend, Forget, Keep, Run, SaveAndEnd, SaveInPassing, Start
from tegd.flight import Flight
from tegd.link import Link
from tegd.modes import Happening, Mode
from tegd.node import Node
from tegd.settings import HostSettings
from tegd.telemetry.model import NAN, HostModel, RawSample, rates
from tegd.telemetry.sample import Sampler
from tegd.travel import Travel
from tegd.workload import Life, Workload
from tegio.control import Peer
from tegio.executive import Executive, Window
from tegio.logs import event
from tegio.notify import notify
from tegio.users import is_operator, own_tenant, tenant_for
from tegio.wire import Wire

HELLO_EVERY_CYCLES = 10
USAGE_EVERY_CYCLES = 10
WATCHDOG_EVERY_CYCLES = 20
HEARD_EVERY_CYCLES = 20
"""The ledger hears of a host at least so often."""
STATUS_EVERY_CYCLES = 200
WORKLOADS_MAX = 1000
LOG_CHUNK_BYTES = 64 << 10
LOG_POLL_S = 0.2
END_GRACE_NS = 2_000_000_000
SAVE_NS_MAX = 10_000_000_000
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


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
        link = Link(settings.host, store.next_boot(), clock.now_ns())
        self.node = Node(settings.host, link, settings.seed, settings.tokens)
        self.node.travel = Travel(self.node, settings.log2_slots)
        self._courier = Courier(
            settings, key, self.node, self._carry_out, self.folder, self._read_log, store.next_ref, clock.now_ns
        )
        self._flight: Flight | None = None
        self._raw: RawSample | None = None
        self._samples: deque[Sample] = deque(maxlen=SAMPLES_PER_MESSAGE_MAX)
        self._telemetry_seq = 0
        self._usage: dict[str, Usage] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._probe: dict[str, Any] = {}
        self._order_ms = Window()
        zone, host = settings.zone, settings.host
        for topic, handle in (
            (Topic(zone, Channel.EVENTS, host), self._on_events),
            (Topic(zone, Channel.BEAT), self._on_beat),
            (Topic(zone, Channel.FIELD), self._on_field),
            (Topic(zone, Channel.HEAT), self._on_heat),
        ):
            self._wire.hear(str(topic), handle)
        transport.on_presence(lambda up: self._say_status() if up else None)
        status = Topic(zone, Channel.STATUS, host)
        transport.will(str(status), self._wire.frame(status, Status(SCHEMA, host, link.boot, up=False)))

    # --- life -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Cycle until stopped; leave nothing half said."""
        for name, state in self._sampler.sources().items():
            event("telemetry.source", source=name, state=state)
        for work in await asyncio.to_thread(self._store.load):
            self.node.submitted(work)
        await self._airlock.start()
        self._airlock.on_event(self._on_airlock)
        await self._greet_airlock()
        await self._courier.start()
        self.node.happen(Happening.LOADED)
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
        runs: list[dict[str, Any]] = []
        more = True
        while more:
            page = await self._airlock.call("list", after=runs[-1]["workload"] if runs else "")
            runs += page["workloads"]
            more = page["more"]
        self.node.runs = {entry["workload"]: entry["state"] for entry in runs}
        for entry in runs:
            self._changed(entry)
        self._carry_out(self.node.airlock_back())

    def _changed(self, entry: dict[str, Any]) -> None:
        run = Run(
            entry["workload"],
            entry["state"],
            entry["cause"],
            entry["exit_code"],
            saved=entry["saved_ns"] > 0,
            problem=entry["problem"],
            saved_ns=entry["saved_ns"],
        )
        self._carry_out(self.node.run_changed(run, self._clock.now_ns()))

    async def _end(self) -> None:
        self.node.happen(Happening.STOP)
        notify("STOPPING=1")
        host = self._settings.host
        status = Status(SCHEMA, host, self.node.link.boot, up=False)
        self._wire.publish(Topic(self._settings.zone, Channel.STATUS, host), status, retain=True)
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
        if node.runs and node.cycle % USAGE_EVERY_CYCLES == 0 and self._airlock.connected:
            self._later(self._measure())
        if node.zone is not None:
            if self._flight is None:
                self._flight = Flight(self._settings.seed, node.zone.zone_k)
            ghosts = node.ghosts()
            works = [node.workloads[ref] for ref in ghosts]
            masses = [mass(work.spec.mem_bytes, work.endow_ucr, work.shape.slots) for work in works]
            charges = [charge(work.spec.sla_priority, 0.0) for work in works]
            node.slots = self._flight.step(ghosts, masses, charges, node.tick)
        self._carry_out(node.step(self._usage, now_ns))
        for order_ms in node.order_ms:
            self._order_ms.add(order_ms)
        node.order_ms.clear()
        self._speak()
        if node.cycle % WATCHDOG_EVERY_CYCLES == 0:
            notify("WATCHDOG=1")

    def _speak(self) -> None:
        settings, node = self._settings, self.node
        orders = Topic(settings.zone, Channel.ORDERS, settings.host)
        if node.zone is None and node.mode is Mode.SYNC and node.cycle % HELLO_EVERY_CYCLES == 0:
            self._wire.publish(orders, self._hello())
        elif node.zone is not None and (message := node.link.message(node.cycle, HEARD_EVERY_CYCLES)):
            self._wire.publish(orders, message)
        if node.cycle % STATUS_EVERY_CYCLES == 0 and node.zone is not None:
            self._say_status()
        if len(self._samples) == SAMPLES_PER_MESSAGE_MAX and node.zone is not None:
            self._telemetry_seq += 1
            agents, ghosts, attempts, mean_mass = node.motion()
            telemetry = Telemetry(
                SCHEMA,
                settings.host,
                node.link.boot,
                self._telemetry_seq,
                node.zone.base,
                settings.log2_slots,
                list(self._samples),
                Motion(agents, ghosts, attempts, SAMPLES_PER_MESSAGE_MAX, mean_mass),
            )
            self._wire.publish(Topic(settings.zone, Channel.TELEMETRY, settings.host), telemetry)
            self._samples.clear()

    def _say_status(self) -> None:
        host = self._settings.host
        status = Status(SCHEMA, host, self.node.link.boot, up=True, address=self._courier.address)
        self._wire.publish(Topic(self._settings.zone, Channel.STATUS, host), status, retain=True)

    def _hello(self) -> Hello:
        settings = self._settings
        cpu_milli = settings.cpu_milli or (psutil.cpu_count() or 1) * 1000
        mem_bytes = settings.mem_bytes or psutil.virtual_memory().total
        boot = self.node.link.boot
        return Hello(
            SCHEMA,
            settings.host,
            boot,
            settings.base,
            settings.log2_slots,
            settings.slot_class,
            cpu_milli,
            mem_bytes,
        )

    def _sense(self, now_ns: int) -> None:
        before, self._raw = self._raw, self._sampler.read(now_ns)
        if before is None:
            return
        model: HostModel = rates(before, self._raw, self._settings.temp_idle_c, self._settings.temp_crit_c)
        self._samples.append(
            Sample(
                now_ns,
                model.cpu,
                model.memory,
                model.io,
                model.network,
                NAN,
                model.heat,
                NAN,
                model.temperature_c,
                model.power_w,
            )
        )

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
                case Extend(work):
                    self._later(
                        self._asked(work, "extend", token=work.token, term_end_ns=work.term_end_ns),
                    )
                case Bound(work):
                    self._later(self._bound(work))
                case SaveInPassing(work):
                    self._later(self._asked(work, "save", token=work.token, then="thaw"))
                case SaveAndEnd(work, save=True):
                    self._later(self._asked(work, "save", token=work.token, then="end"))
                case SaveAndEnd(work, save=False):
                    self._later(self._asked(work, "end", token=work.token, grace_ns=END_GRACE_NS))
                case Forget(airlock_id):
                    self._later(self._forget(airlock_id))
                case AskPeers(leases, hosts):
                    self._ask_peers(leases, hosts)
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

    def _ask_peers(self, leases: tuple[int, ...], hosts: tuple[str, ...]) -> None:
        settings = self._settings
        ask = Ask(SCHEMA, settings.host, self.node.link.boot, list(leases), list(hosts))
        self._wire.publish(Topic(settings.zone, Channel.ORDERS, settings.host), ask)

    def folder(self, work: Workload) -> Path:
        """A workload's own folder: its working folder unless it names one, and where its checkpoint goes."""
        return self._state_dir / "work" / str(work.ref)

    async def _start(self, work: Workload) -> None:
        spec, folder, zone = work.spec, self.folder(work), self.node.zone
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True)
            if os.geteuid() == 0:
                os.chown(folder, work.uid, work.gid)
        if work.files and not work.home:
            given = courier.shelf_of(folder) / "files"
            await asyncio.to_thread(lay_out, given, folder, work.uid, work.gid)
        home = _home(work.uid)
        hook = None
        if spec.hook is not None:
            hook = {
                "signal": spec.hook.signal,
                "checkpoint": str(folder / spec.hook.checkpoint),
                "mark": str(folder / spec.hook.mark),
            }
        notice_ns = zone.notice_ticks * TICK_NS if zone else 0
        await self._asked(
            work,
            "start",
            lease=work.lease,
            token=work.token,
            argv=list(spec.argv),
            env={"PATH": PATH, "HOME": home, "TEG_NAME": work.name, **self._gang(work), **spec.env},
            cwd=spec.cwd or str(folder),
            uid=work.uid,
            gid=work.gid,
            hook=hook,
            term_end_ns=work.term_end_ns,
            notice_ns=notice_ns,
            save_ns=SAVE_NS_MAX,
            resume=work.resume,
            rank=rank(work.purse_ucr, work.charge_ucr(work.price_ucr), work.mass_micro),
        )
        if work.held_bytes:
            await self._bound(work)

    async def _bound(self, work: Workload) -> None:
        """Tell the airlock side what memory the lease has bought."""
        await self._asked(work, "bound", token=work.token, bytes=work.held_bytes)

    def _gang(self, work: Workload) -> dict[str, str]:
        """What each part of work over several hosts is told of the others."""
        if not work.home or len(work.seats) < 2:
            return {}
        first, travel = work.seats[0], self.node.travel
        assert travel is not None
        known = self._courier.address if first == self._settings.host else ""
        master = known or (travel.peers[first].address if first in travel.peers else "")
        host = master.rpartition(":")[0].strip("[]")
        return {"TEG_RANK": str(work.rank), "TEG_WORLD": str(len(work.seats)), "TEG_MASTER": host or first}

    async def _asked(self, work: Workload, verb: str, **fields: Any) -> None:
        """Ask the airlock side; a refused `start` is the run's end, all else shows in what it tells of the run."""
        airlock_id = work.airlock_id
        try:
            self._changed(await self._airlock.call(verb, workload=airlock_id, **fields))
        except RefusedError as error:
            event("airlock.refused", logging.WARNING, verb=verb, workload=work.name, error=error)
            if verb == "start":
                over = getattr(error, "reason", "") == "past_term"
                failed = Run(airlock_id, "ended", "term" if over else "start_failed", problem=str(error))
                self._carry_out(self.node.run_changed(failed, self._clock.now_ns()))

    async def _forget(self, airlock_id: str) -> None:
        """Keep the run's log with the workload, then let the airlock side drop the rest."""
        await asyncio.to_thread(self._keep_log, airlock_id)
        await self._airlock.call("forget", workload=airlock_id)
        self.node.runs.pop(airlock_id, None)

    def _keep_log(self, airlock_id: str) -> None:
        ref, _, token = airlock_id.partition(".")
        log, kept = self._run_log(airlock_id), self._state_dir / "work" / ref / f"log.{token}"
        if log.exists() and not kept.exists() and kept.parent.exists():
            fresh = kept.with_suffix(".fresh")
            shutil.copyfile(log, fresh)
            fresh.replace(kept)

    def _run_log(self, airlock_id: str) -> Path:
        return self._state_dir / "airlock" / "workloads" / airlock_id / "log"

    # --- messages ---------------------------------------------------------------------------------------------------

    def _on_events(self, message: Welcome | Events | Rejected | Peers) -> None:
        match message:
            case Peers():
                if message.boot == self.node.link.boot:
                    self._courier.told(message)
            case Welcome():
                self.node.welcomed(message)
            case Events():
                self._carry_out(self.node.told_events(message, self._clock.now_ns()))
            case Rejected():
                event("ledger.rejected", logging.WARNING, reason=Reason(message.reason).name, detail=message.detail)
                if message.reason == Reason.STALE_BOOT:
                    self.node.disowned()

    def _on_beat(self, beat: Beat) -> None:
        self.node.beaten(beat.tick, beat.market, self._clock.now_ns())

    def _on_field(self, field: Field) -> None:
        if self._flight is not None:
            self._flight.field_came(field)
        self.node.field_came(field.mu_ucr)

    def _on_heat(self, heat: Heat) -> None:
        if self._flight is not None:
            self._flight.heat_came(heat)

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
        for work in reversed(self._seen_by(peer)):
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
        name = spec.name or f"w{ref}"
        limit_ucr = spec.limit_ucr
        work = Workload(ref, name, tenant, peer.uid, peer.gid, request.key, spec)
        work.limit_ucr = limit_ucr
        work.endow_ucr = spec.endow_ucr or 4 * work.charge_ucr(limit_ucr)
        work.note(self.node.tick, "accepted")
        work.ticket, work.files = ticket, tuple(sorted(request.files))
        if request.files:
            fresh.rename(courier.shelf_of(self.folder(work)))
        self._store.keep(work)
        self.node.submitted(work)
        return control.Reply(data={"name": name, "ref": ref})

    async def _log(self, work: Workload, offset: int, *, follow: bool) -> AsyncIterator[control.Reply]:
        """The output of all runs of a workload, one after the other."""
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
            await asyncio.sleep(LOG_POLL_S)

    async def _away_log(self, work: Workload, offset: int) -> bytes:
        """What a run elsewhere has written, past what its earlier runs wrote here."""
        before = await asyncio.to_thread(self._log_bytes, work)
        return await self._courier.read_log(work, offset - before) if offset >= before else b""

    def _log_bytes(self, work: Workload) -> int:
        return sum(path.stat().st_size for path in self.folder(work).glob("log.*") if path.suffix[1:].isdigit())

    def _read_log(self, work: Workload, offset: int) -> bytes:
        kept = {path.suffix[1:]: path for path in self.folder(work).glob("log.*") if path.suffix[1:].isdigit()}
        living = {path.suffix[1:]: path / "log" for path in self._run_log("x").parent.parent.glob(f"{work.ref}.*")}
        for token in sorted(living | kept, key=int):
            path = (living | kept)[token]
            size = path.stat().st_size if path.exists() else 0
            if offset < size:
                with path.open("rb") as log:
                    log.seek(offset)
                    return log.read(LOG_CHUNK_BYTES)
            offset -= size
        return b""

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
        Shape.unpacked(Shape(tuple(sorted(spec.sizes, reverse=True)), 1, spec.share_permille).packed())
    except (TegError, ValueError) as error:
        raise RefusedError(f"no block has this shape: {error}", "ask for 1 to 4 blocks of 2^j slots") from None
    if tenant not in settings.tokens:
        known = ", ".join(sorted(settings.tokens)) or "none"
        raise RefusedError(f"this host holds no token of tenant {tenant!r}", f"it has those of: {known}")
