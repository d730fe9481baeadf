"""A machine in the simulator: processes that work, hold memory and make heat, and outlive the programs that watch them.

Work is a number of seconds that a process must run; while it is stopped it does not. Its hook takes time too, and may
fail or hang. Power over idle follows how many processors are busy; temperature follows power with one time constant, as
a lumped heat capacity before a thermal resistance: C dT/dt = P - (T - T_ambient) / R.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from tegcore.units import MIB, NS_PER_S
from tegd.telemetry import parsers
from tegd.telemetry.model import RawSample
from tegsim.kernel import Clock, Kernel, Stream

TICKS_PER_S = 100
"""Jiffies."""


class Habit(NamedTuple):
    """How a piece of work behaves.

    Attributes:
        work_ns: How long it must run.
        mem_bytes: What it holds at first.
        grows_bytes_per_s: And how that grows while it runs.
        use: Share of its processors that it keeps busy.
        hook_ns: What its hook takes to make its mark.
        hangs: Share of saves in which the hook never makes it.
        flush_ns: What it takes to make a checkpoint durable.
        flush_fails: Share of them that fail.
        exit_code: At its end.
    """

    work_ns: int
    mem_bytes: int = 64 * MIB
    grows_bytes_per_s: float = 0.0
    use: float = 1.0
    hook_ns: int = 200_000_000
    hangs: float = 0.0
    flush_ns: int = 50_000_000
    flush_fails: float = 0.0
    exit_code: int = 0


@dataclass
class Process:
    """A process and its children.

    Attributes:
        name: Run that it is of.
        go: Its keeper was told to begin.
        done_ns: Work done, of `habit.work_ns`.
        asked_ns: What its hook has yet to run for; negative: it is not at work.
    """

    name: str
    pid: int
    start_ticks: int
    habit: Habit
    cores: float
    done_ns: int
    alive: bool = True
    go: bool = False
    stopped: bool = False
    marked: bool = False
    asked_ns: int = -1
    code: int | None = None
    cpu_ns: int = 0
    since_ns: int = 0
    version: int = 0
    stopped_since_ns: int = 0

    @property
    def runs(self) -> bool:
        """Whether it makes progress."""
        return self.alive and self.go and not self.stopped

    @property
    def rss_bytes(self) -> int:
        """What it holds."""
        return int(self.habit.mem_bytes + self.habit.grows_bytes_per_s * self.done_ns / NS_PER_S)


@dataclass(frozen=True)
class Body:
    """What a machine is made of.

    Attributes:
        cores: Processors.
        mem_bytes: Memory.
        idle_w, busy_w: Power with no and all processors busy.
        ambient_c: Temperature of the air at its inlet.
        resistance_c_per_w: R.
        tau_s: R C.
    """

    cores: float
    mem_bytes: int
    idle_w: float = 200.0
    busy_w: float = 700.0
    ambient_c: float = 24.0
    resistance_c_per_w: float = 0.08
    tau_s: float = 30.0


@dataclass
class Machine:
    """See the module.

    Attributes:
        habit_of: How the work of a run behaves, by its name.
        saved_for_ns: The true time at which each checkpoint was asked for, by workload.
        asks_ns: True times at which a run was asked for one.
        on_begin: Told of each process that begins.
        on_exit: Told of each process that ends.
        ran: Processes that have begun.
    """

    name: str
    kernel: Kernel
    clock: Clock
    body: Body
    draws: Stream
    habit_of: Callable[[str], Habit]
    boot_id: int = 1
    processes: dict[str, Process] = field(default_factory=dict)
    checkpoints: dict[str, int] = field(default_factory=dict)
    saved_for_ns: dict[str, int] = field(default_factory=dict)
    asks_ns: dict[str, list[int]] = field(default_factory=dict)
    on_begin: Callable[[Process], None] = lambda _: None
    on_exit: Callable[[Process], None] = lambda _: None
    on_mark: Callable[[Process], None] = lambda _: None
    killed_for_memory: int = 0
    ran: int = 0
    _pid: int = 100
    _temperature_c: float = 24.0
    _sensed_ns: int = 0
    _busy_ticks: float = 0.0
    _total_ticks: float = 0.0

    # --- processes --------------------------------------------------------------------------------------------------

    def spawn(self, name: str, cores: float, *, resume: bool) -> Process:
        """A keeper that waits for its go; it goes on from the last checkpoint of the same work, if it is to."""
        self._pid += 1
        done_ns = self.checkpoints.get(name.partition(".")[0], 0) if resume else 0
        process = Process(name, self._pid, self._pid, self.habit_of(name), cores, done_ns)
        self.processes[name] = process
        return process

    def go(self, process: Process) -> None:
        """It begins."""
        if process.alive and not process.go:
            self.ran += 1
            self.on_begin(process)
        self._changed(process, go=True)

    def stop(self, process: Process) -> None:
        """It is held."""
        if not process.stopped:
            process.stopped_since_ns = self.kernel.now_ns
        self._changed(process, stopped=True)

    def cont(self, process: Process) -> None:
        """It goes on."""
        self._changed(process, stopped=False)

    def ask(self, process: Process) -> None:
        """Its hook is asked for a checkpoint."""
        hangs = self.draws.chance(process.habit.hangs)
        self.asks_ns.setdefault(process.name, []).append(self.kernel.now_ns)
        self._changed(process, asked_ns=1 << 62 if hangs else process.habit.hook_ns, marked=False)

    def end(self, process: Process, code: int | None) -> None:
        """It ends, or is killed (None)."""
        if process.alive:
            self._settle(process)
            process.alive, process.code = False, code
            process.version += 1
            self.on_exit(process)

    def power_cut(self) -> None:
        """All processes are gone, with the boot that they ran under."""
        for process in self.processes.values():
            process.alive = False
            process.version += 1
        self.processes.clear()
        self.boot_id += 1

    def _changed(self, process: Process, **fields: int) -> None:
        if not process.alive:
            return
        self._settle(process)
        for name, value in fields.items():
            setattr(process, name, value)
        process.version += 1
        if process.runs:
            self._plan(process)

    def _settle(self, process: Process) -> None:
        now_ns = self.kernel.now_ns
        if process.runs:
            ran_ns = now_ns - process.since_ns
            process.done_ns += ran_ns
            process.cpu_ns += int(ran_ns * process.habit.use * process.cores)
            if process.asked_ns >= 0:
                process.asked_ns = max(0, process.asked_ns - ran_ns)
        process.since_ns = now_ns

    def _plan(self, process: Process) -> None:
        version = process.version
        left_ns = max(0, process.habit.work_ns - process.done_ns)
        hook_ns = process.asked_ns if process.asked_ns >= 0 else 1 << 62

        def happens() -> None:
            if not process.alive or process.version != version:
                return
            self._settle(process)
            if hook_ns <= left_ns:
                process.marked, process.asked_ns = True, -1
                ref = process.name.partition(".")[0]
                self.checkpoints[ref], self.saved_for_ns[ref] = process.done_ns, self.asks_ns[process.name][-1]
                process.version += 1
                self._plan(process)
                self.on_mark(process)
            else:
                self.end(process, process.habit.exit_code)

        self.kernel.after(min(left_ns, hook_ns), happens)

    # --- what is measured -------------------------------------------------------------------------------------------

    def sense(self) -> RawSample:
        """One reading of processors, memory and heat; what is short of memory is killed, the largest first."""
        elapsed_s = (self.kernel.now_ns - self._sensed_ns) / NS_PER_S
        self._sensed_ns = self.kernel.now_ns
        running = [process for process in self.processes.values() if process.runs]
        for process in running:
            self._settle(process)
        busy = min(1.0, sum(process.cores * process.habit.use for process in running) / self.body.cores)
        body = self.body
        power_w = body.idle_w + (body.busy_w - body.idle_w) * busy
        settles_c = body.ambient_c + body.resistance_c_per_w * power_w
        self._temperature_c = settles_c + (self._temperature_c - settles_c) * math.exp(-elapsed_s / body.tau_s)
        self._busy_ticks += busy * elapsed_s * TICKS_PER_S * body.cores
        self._total_ticks += elapsed_s * TICKS_PER_S * body.cores
        held = self._hold_memory()
        cpu = parsers.CpuTimes(int(self._busy_ticks * 1000), int(self._total_ticks * 1000))
        memory = (body.mem_bytes, body.mem_bytes - held)
        at_ns = self.clock.now_ns()
        return RawSample(at_ns, cpu, memory, None, None, None, None, None, self._temperature_c, power_w, None, {})

    def _hold_memory(self) -> int:
        alive = [process for process in self.processes.values() if process.alive]
        held = sum(process.rss_bytes for process in alive)
        while held > self.body.mem_bytes and alive:
            largest = max(alive, key=lambda process: (process.rss_bytes, process.name))
            alive.remove(largest)
            held -= largest.rss_bytes
            self.killed_for_memory += 1
            self.end(largest, 137)
        return held
