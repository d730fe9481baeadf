"""The airlock's hands: carries out what the core says, watches processes, and says what came of it.

Every act may be done twice, and on a process that has gone meanwhile it does nothing: its end is told by its pidfd.
"""

import os
import select
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tegd.airlock.adapters import launch, procfs
from tegd.airlock.adapters.containment import Containment, Leader, main_process, send
from tegd.airlock.core import Act, Effect, Input, Kind
from tegd.airlock.model import Workload
from tegd.airlock.transitions import State

LOG_BYTES_MAX = 64 << 20
"""A log that grows larger than this starts again from nothing."""


class Hands:
    """All that touches processes and their files.

    Args:
        folder: The airlock's state folder.
        containment: What holds processes together.
        epoll: What tells the ends of processes.
    """

    def __init__(self, folder: Path, containment: Containment, epoll: select.epoll) -> None:
        self._folder = folder
        self._containment = containment
        self._epoll = epoll
        self._watched: dict[int, tuple[str, int]] = {}
        self._flushing: dict[str, int] = {}
        self._go: dict[str, int] = {}
        self._unasked: set[str] = set()

    def act(self, workload: Workload, effects: Iterable[Effect]) -> list[Input]:
        """Carry out acts; what comes of them at once is told, the rest later."""
        outcomes = []
        for act, signum in effects:
            if act is Act.START:
                outcomes.append(self._start(workload))
            elif act is Act.GO:
                launch.go(self._go.pop(workload.spec.workload))
            elif act is Act.FLUSH:
                self._flush(workload)
            elif act in (Act.ASK, Act.ASK_AGAIN):
                self._ask(workload, afresh=act is Act.ASK)
            elif act is Act.SIGNAL:
                self._signal_main(_leader(workload), signum)
            else:
                self._hold_or_end(_leader(workload), act)
        return outcomes

    def adopt(self, workload: Workload) -> list[Input]:
        """Find the processes of a workload again after a restart; what has happened to it meanwhile."""
        status = workload.status
        if not status.pid or status.exit_code is not None or self._watch(_leader(workload)):
            return []
        return self._exit(workload, None)

    def owns(self, descriptor: int) -> bool:
        """Whether a ready descriptor is one of ours."""
        return descriptor in self._watched

    def whose(self, descriptor: int) -> str:
        """The workload that a ready descriptor is about."""
        return self._watched[descriptor][0]

    def ended(self, descriptor: int, workload: Workload) -> list[Input]:
        """A process that was watched has ended: the leader of a workload, or the one that flushes its checkpoint."""
        name, pid = self._watched.pop(descriptor)
        self._epoll.unregister(descriptor)
        os.close(descriptor)
        if pid == workload.status.pid:
            self._containment.kill(_leader(workload))
            return self._exit(workload, _reaped(pid))
        code = _reaped(pid)
        if self._flushing.get(name) != pid:
            return []
        del self._flushing[name]
        problem = "the checkpoint is missing, empty or not a file, or cannot be made durable"
        return [Input(Kind.FLUSHED) if code == 0 else Input(Kind.FLUSH_FAILED, problem=problem)]

    def look(self, workload: Workload) -> list[Input]:
        """Look after a hook at work: ask it, where it could not be asked yet, and see its mark."""
        if workload.spec.workload in self._unasked:
            self._try_to_ask(workload)
        return [Input(Kind.MARKED)] if launch.has_mark(workload.spec) else []

    def usage(self, workloads: Iterable[Workload]) -> dict[str, dict[str, int]]:
        """Memory in bytes, processor time in ns and number of processes of each, from one pass over /proc."""
        table = list(procfs.processes())
        used = {
            entry.spec.workload: _sums(self._containment.members(_leader(entry), table))
            for entry in workloads
            if entry.status.state is not State.ENDED
        }
        return used | {"": _sums([found for found in table if found.pid == os.getpid()])}

    def log(self, name: str) -> Path:
        """Where the output of a workload goes."""
        return self._home(name) / "log"

    def cut_log(self, name: str) -> None:
        """Hold a log to its bound; it is appended to, so that its writer goes on at the new end."""
        with suppress(OSError):
            if self.log(name).stat().st_size > LOG_BYTES_MAX:
                os.truncate(self.log(name), 0)

    def forget(self, name: str) -> None:
        """Remove the files of a workload that has ended."""
        with suppress(OSError):
            for file in self._home(name).iterdir():
                file.unlink()
            self._home(name).rmdir()

    def _start(self, workload: Workload) -> Input:
        spec, name = workload.spec, workload.spec.workload
        try:
            self._home(name).mkdir(mode=0o750, exist_ok=True)
            launch.clear_mark(spec)
            child = launch.launch(spec, self._home(name), self._containment.prepare(name))
        except OSError as error:
            return Input(Kind.START_FAILED, problem=f"{error.filename or name}: {error.strerror}")
        if isinstance(child, str):
            return Input(Kind.START_FAILED, problem=child)
        self._watch(Leader(name, child.pid, child.start_ticks))
        self._go[name] = child.go
        return Input(Kind.STARTED, pid=child.pid, start_ticks=child.start_ticks)

    def _hold_or_end(self, leader: Leader, act: Act) -> None:
        match act:
            case Act.FREEZE:
                self._containment.freeze(leader)
            case Act.THAW:
                self._containment.thaw(leader)
            case Act.TERMINATE:
                for found in self._containment.members(leader, list(procfs.processes())):
                    send(found.pid, signal.SIGTERM)
                self._containment.thaw(leader)
            case Act.KILL:
                self._containment.kill(leader)
            case Act.CLEAR:
                self._containment.clear(leader)
                self._unasked.discard(leader.workload)

    def _ask(self, workload: Workload, *, afresh: bool) -> None:
        if afresh:
            launch.clear_mark(workload.spec)
        self._containment.thaw(_leader(workload))
        self._unasked.add(workload.spec.workload)
        self._try_to_ask(workload)

    def _try_to_ask(self, workload: Workload) -> None:
        """Ask for a checkpoint once the command has a handler: before that, the signal would end it."""
        hook = workload.spec.hook
        assert hook is not None
        if self._signal_main(_leader(workload), hook.signum, only_caught=True):
            self._unasked.discard(workload.spec.workload)

    def _signal_main(self, leader: Leader, signum: int, *, only_caught: bool = False) -> bool:
        main = main_process(leader, list(procfs.processes()))
        if main is None or (only_caught and not procfs.catches(main.pid, signum)):
            return False
        send(main.pid, signum)
        return True

    def _flush(self, workload: Workload) -> None:
        pid = launch.flush(workload.spec)
        self._flushing[workload.spec.workload] = pid
        self._register(os.pidfd_open(pid), workload.spec.workload, pid)

    def _watch(self, leader: Leader) -> bool:
        """Watch for the end of a leader; whether it lives."""
        try:
            descriptor = os.pidfd_open(leader.pid)
        except ProcessLookupError:
            return False
        found = leader.here()
        if found is None or found.dead:
            os.close(descriptor)
            return False
        self._register(descriptor, leader.workload, leader.pid)
        return True

    def _register(self, descriptor: int, name: str, pid: int) -> None:
        self._watched[descriptor] = (name, pid)
        self._epoll.register(descriptor, select.EPOLLIN)

    def _exit(self, workload: Workload, reaped: int | None) -> list[Input]:
        """What the end of a leader means."""
        state = workload.status.state
        ran, code = launch.exit_status(self._home(workload.spec.workload))
        if not ran:
            return [Input(Kind.NEVER_RAN)]
        if code is None:
            killed = 128 + signal.SIGKILL if state is State.KILLING else None
            code = reaped if reaped is not None else killed
        marked = state is State.SAVING and launch.has_mark(workload.spec)
        return [Input(Kind.MARKED)] * marked + [Input(Kind.EXITED, exit_code=code)]

    def _home(self, name: str) -> Path:
        return self._folder / "workloads" / name


def _leader(workload: Workload) -> Leader:
    return Leader(workload.spec.workload, workload.status.pid, workload.status.start_ticks)


def _reaped(pid: int) -> int | None:
    """The exit code of a child as a shell gives it; None for one that was not ours."""
    try:
        _, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _sums(found: list[procfs.Process]) -> dict[str, int]:
    return {
        "rss_bytes": sum(entry.rss_bytes for entry in found),
        "cpu_ns": sum(entry.cpu_ns for entry in found),
        "processes": len(found),
    }
