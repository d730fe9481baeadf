"""The airlock side in the simulator: its own loop and journal, with hands that act on simulated processes."""

import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from tegcore.units import NS_PER_S
from tegd.airlock.adapters.hands import Hands
from tegd.airlock.adapters.journal import Journal
from tegd.airlock.core import Act, Effect, Input, Kind
from tegd.airlock.frames import Record, encode
from tegd.airlock.model import Workload
from tegd.airlock.service import Airlock
from tegd.airlock.transitions import State
from tegsim.cluster.machine import Machine, Process
from tegsim.kernel import CrashError, Kernel, Part

CLIENT, ENDS, FLUSHED = 1, 2, 3
"""Descriptors: the agent side's connection, processes that ended (and up), checkpoints that are durable."""

FIRST_PROCESS = 100
ROOT = 0
"""User that it runs as, whoever runs the simulator."""
KILLED = 137


class Ready:
    """What the loop waits on: in the simulator it waits for nothing, and is called when there is something."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self.descriptors: list[int] = []

    def put(self, descriptor: int) -> None:
        """One is ready: the loop wakes."""
        self.descriptors.append(descriptor)
        self._wake()

    def poll(self, _seconds: float) -> list[tuple[int, int]]:
        """What is ready."""
        ready, self.descriptors = self.descriptors, []
        return [(descriptor, 1) for descriptor in ready]


class Socket:
    """The agent side's connection: packets in, packets out."""

    def __init__(self, deliver: Callable[[bytes], None], boundary: Callable[[str], None]) -> None:
        self._deliver = deliver
        self._boundary = boundary
        self.packets: list[bytes] = []

    def owns(self, descriptor: int) -> bool:
        """Whether a ready descriptor is this one."""
        return descriptor == CLIENT

    def read(self, _descriptor: int) -> list[tuple[int, bytes]]:
        """Take what has come."""
        packets, self.packets = self.packets, []
        return [(CLIENT, packet) for packet in packets]

    def send(self, _client: int, packet: bytes) -> None:
        """Answer."""
        self._boundary("answer")
        self._deliver(packet)

    def broadcast(self, packet: bytes) -> None:
        """Tell of a run."""
        self.send(CLIENT, packet)

    def close(self) -> None:
        """Nothing is open."""


class DyingJournal(Journal):
    """The airlock's journal, with boundaries around and inside each commit."""

    boundary: Callable[[str], None] = staticmethod(lambda _: None)

    def commit(self, records: list[Record]) -> None:
        """See `Journal.commit`."""
        self.boundary("commit")
        try:
            self.boundary("half written")
        except CrashError:
            frame = encode(records)
            with self._path.open("ab") as file:
                file.write(frame[: len(frame) // 2])
            raise
        super().commit(records)
        self.boundary("committed")


class SimulatedHands(Hands):
    """See `tegd.airlock.adapters.hands.Hands`: what it does to processes, on a machine that is simulated."""

    def __init__(self, machine: Machine, part: Part, ready: Ready) -> None:
        self._machine = machine
        self._part = part
        self._ready = ready
        self._flushed: list[tuple[str, Input]] = []
        self._watched: dict[int, tuple[str, int]] = {}
        self._flushing: dict[str, int] = {}
        self._heard: set[str] = set()
        self._dumper = None
        machine.on_exit = self._exited
        self.stubborn = 0.0
        self.start_fails = 0.0

    def act(self, workload: Workload, effects: Iterable[Effect]) -> list[Input]:
        """See `Hands.act`."""
        outcomes = []
        for act, _ in effects:
            self._part.boundary(f"before {act}")
            outcomes += self._acted(workload, act)
            self._part.boundary(f"after {act}")
        return outcomes

    def _acted(self, workload: Workload, act: Act) -> list[Input]:
        machine, process = self._machine, self._process(workload)
        if act is Act.START:
            return self._start(workload)
        if act is Act.FLUSH:
            self._flush(workload)
        if process is None:
            return []
        match act:
            case Act.GO:
                machine.go(process)
            case Act.FREEZE:
                machine.stop(process)
            case Act.KILL | Act.CLEAR:
                machine.end(process, None)
            case Act.SIGNAL | Act.THIN:
                pass
            case _:
                self._let_run(process, act)
        return []

    def _let_run(self, process: Process, act: Act) -> None:
        """Asked for a checkpoint, or to end, or for nothing, it runs."""
        machine = self._machine
        if act is Act.ASK or (act is Act.ASK_AGAIN and process.asked_ns < 0 and not process.marked):
            machine.ask(process)
        machine.cont(process)
        if act is Act.TERMINATE and not machine.draws.chance(self.stubborn):
            machine.kernel.after(NS_PER_S // 20, lambda: machine.end(process, 143))

    def _start(self, workload: Workload) -> list[Input]:
        spec = workload.spec
        if self._machine.draws.chance(self.start_fails):
            return [Input(Kind.START_FAILED, problem="the command cannot be executed (simulated)")]
        cores = float(spec.env.get("CORES", "1"))
        resume = spec.resume or workload.status.saved_ns > 0
        process = self._machine.spawn(spec.workload, cores, resume=resume)
        self._watch(process)
        return [Input(Kind.STARTED, pid=process.pid, start_ticks=process.start_ticks)]

    def _flush(self, workload: Workload) -> None:
        name, habit = workload.spec.workload, self._machine.habit_of(workload.spec.workload)
        since_ns = self._flushing[name] = workload.status.since_ns
        fails = self._machine.draws.chance(habit.flush_fails)

        def flushed() -> None:
            if self._flushing.get(name) == since_ns:
                del self._flushing[name]
                kind = Kind.FLUSH_FAILED if fails else Kind.FLUSHED
                self._flushed.append((name, Input(kind, problem="the disk is full (simulated)" if fails else "")))
                self._ready.put(FLUSHED)

        self._part.after(habit.flush_ns, flushed)

    def adopt(self, workload: Workload) -> list[Input]:
        """See `Hands.adopt`."""
        status, process = workload.status, self._process(workload)
        if not status.pid or status.exit_code is not None:
            return []
        if process is not None and process.alive and process.pid == status.pid:
            self._watch(process)
            return []
        return self._exit(workload, None)

    def _exited(self, process: Process) -> None:
        descriptor = FIRST_PROCESS + process.pid
        if descriptor in self._watched:
            self._ready.put(descriptor)

    def _watch(self, process: Process) -> bool:  # type: ignore[override]
        self._watched[FIRST_PROCESS + process.pid] = (process.name, process.pid)
        return True

    def ended(self, descriptor: int, workload: Workload | None) -> list[Input]:
        """See `Hands.ended`."""
        _, pid = self._watched.pop(descriptor)
        return self._exit(workload, None) if workload is not None and pid == workload.status.pid else []

    def _exit(self, workload: Workload, _reaped: int | None) -> list[Input]:
        process, state = self._process(workload), workload.status.state
        if process is None or not process.go:
            return [Input(Kind.NEVER_RAN)]
        code = process.code if process.code is not None else KILLED if state is State.KILLING else None
        marked = state is State.SAVING and process.marked
        return [Input(Kind.MARKED)] * marked + [Input(Kind.EXITED, exit_code=code)]

    def done(self, descriptor: int, _workloads: Mapping[str, Workload]) -> list[tuple[str, Input]]:
        """See `Hands.done`."""
        if descriptor != FLUSHED:
            return []
        done, self._flushed = self._flushed, []
        return done

    def owns(self, descriptor: int) -> bool:
        """See `Hands.owns`."""
        return descriptor in self._watched

    def whose(self, descriptor: int) -> str:
        """See `Hands.whose`."""
        return self._watched[descriptor][0]

    def look(self, workload: Workload) -> list[Input]:
        """See `Hands.look`."""
        process = self._process(workload)
        return [Input(Kind.MARKED)] if process is not None and process.marked else []

    def usage(self, workloads: Iterable[Workload]) -> dict[str, dict[str, int]]:
        """See `Hands.usage`."""
        used = {"": {"rss_bytes": 0, "cpu_ns": 0, "processes": 1}}
        for entry in workloads:
            process = self._process(entry)
            if entry.status.state is not State.ENDED and process is not None:
                self._machine._settle(process)
                sums = {"rss_bytes": process.rss_bytes, "cpu_ns": process.cpu_ns, "processes": 1}
                used[entry.spec.workload] = sums
        return used

    def group_for(self, _name: str) -> str:
        """See `Hands.group_for`."""
        return ""

    def group(self, _workload: Workload) -> Path | None:
        """There are no groups."""
        return None

    def log(self, name: str) -> Path:
        """See `Hands.log`."""
        return Path("/simulated") / name / "log"

    def look_at_logs(self, _names: Iterable[str]) -> None:
        """Nobody writes."""

    def forget(self, name: str) -> None:
        """See `Hands.forget`."""
        self._machine.processes.pop(name, None)

    def _process(self, workload: Workload) -> Process | None:
        return self._machine.processes.get(workload.spec.workload)


class AirlockPart(Part):
    """One machine's airlock side.

    Args:
        kernel: Time.
        machine: That it is on.
        folder: For its journal.
        deliver: Told each packet for the agent side.

    Attributes:
        airlock: The loop, while it runs.
        stubborn, start_fails: Shares of commands that take no notice of a request to end, or cannot be started.
    """

    def __init__(self, kernel: Kernel, machine: Machine, folder: Path, deliver: Callable[[bytes], None]) -> None:
        super().__init__(kernel, f"airlock {machine.name}")
        self._machine = machine
        self._folder = folder
        self._deliver = deliver
        self._journal: Journal | None = None
        self._socket: Socket | None = None
        self._ready = Ready(self._wake)
        self._turn_at_ns = 0
        self.airlock: Airlock | None = None
        self.stubborn = self.start_fails = 0.0
        self.on_up: Callable[[], None] = lambda: None
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    @property
    def workloads(self) -> dict[str, Workload]:
        """All that it knows."""
        return self._journal.workloads if self._journal is not None else {}

    def begin(self) -> None:
        """Find what its journal holds, carry it on, serve."""
        self._ready = Ready(self._wake)
        hands = SimulatedHands(self._machine, self, self._ready)
        hands.stubborn, hands.start_fails = self.stubborn, self.start_fails
        self._socket = Socket(self._deliver, self.boundary)
        journal = self._journal = DyingJournal(self._folder, str(self._machine.boot_id))
        journal.boundary = self.boundary
        self.airlock = Airlock(
            journal=journal,
            hands=hands,
            capabilities={},
            epoll=cast("Any", self._ready),
            server=cast("Any", self._socket),
            clock=self._machine.clock,
            own_uid=ROOT,
        )
        self.airlock.recover()
        self.on_up()
        self._turn()

    def ended(self) -> None:
        """It died; keepers that wait for their go are gone with it."""
        if self._journal is not None:
            self._journal.close()
        self.airlock = self._journal = self._socket = None
        self._machine.on_exit = lambda _: None
        for process in list(self._machine.processes.values()):
            if not process.go:
                self._machine.end(process, None)

    def take(self, packet: bytes) -> None:
        """A packet of the agent side has come."""
        if self._socket is not None:
            self._socket.packets.append(packet)
            self._ready.put(CLIENT)

    def _wake(self) -> None:
        self.after(0, lambda: self._turn() if self._ready.descriptors else None)

    def _turn(self) -> None:
        """Turn now, and again when there is something or when something is due."""
        if self.airlock is None:
            return
        self.airlock.turn()
        if not self.workloads:
            return
        due_ns = self.kernel.now_ns + self._machine.clock.true_ns(int(self.airlock._wait_s() * NS_PER_S)) + 1
        self._turn_at_ns = due_ns

        def due() -> None:
            if self._turn_at_ns == due_ns:
                self._turn()

        self.after(due_ns - self.kernel.now_ns, due)
