"""What holds the processes of a workload together, so that they can be frozen and killed as one.

`Sessions` needs nothing: each workload leads a session of its own (setsid(2)). A process that leaves it is not frozen
with it; when the workload ends it is found by its environment and killed. `Cgroups` (cgroupfs.py) lets none escape.
"""

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from tegd.airlock.adapters import procfs
from tegd.airlock.adapters.launch import Launched, keeper_marker, launch, marker
from tegd.airlock.model import Spec

STOP_ROUNDS_MAX = 20
_STOP_PAUSE_S = 0.001
_RECENT_S = 0.1


Parts = Iterable[tuple[int, int]]
"""Processes by pid and start time."""


class Leader(NamedTuple):
    """The keeper of a workload's command: first process and leader of its session.

    Attributes:
        workload: Id of the workload.
        pid: Process id.
        start_ticks: Its start time, so that a pid in use again is not taken for it.
    """

    workload: str
    pid: int
    start_ticks: int

    def here(self) -> procfs.Process | None:
        """The process itself, ended but not reaped included; None when it is gone."""
        found = procfs.process(self.pid) if self.pid else None
        return found if found is not None and found.start_ticks == self.start_ticks else None


class Containment(Protocol):
    """See `Sessions` and `Cgroups`."""

    def launch(self, spec: Spec, home: Path) -> Launched | str:
        """Make the first process of a workload, which waits for `launch.go`; or why it cannot be, for people."""

    def freeze(self, leader: Leader) -> None:
        """Hold every process of it."""

    def thaw(self, leader: Leader) -> None:
        """Let every process of it run."""

    def thin(self, leader: Leader, parts: Parts) -> None:
        """Hold these of its processes and no others, whatever was held before."""

    def kill(self, leader: Leader) -> None:
        """Kill every process of it, held or not."""

    def clear(self, leader: Leader) -> None:
        """Kill what its leader left behind, and give up its room."""

    def members(self, leader: Leader, table: list[procfs.Process]) -> list[procfs.Process]:
        """Of all processes, those that belong to it and live."""


def send(found: procfs.Process, signum: int) -> None:
    """Signal one process, and no other that has its pid since (pidfd_open(2)).

    One that has gone meanwhile needs none; one that has become another user's, by a set-user-ID program, cannot be had
    without rights, and holds up nobody else.
    """
    with suppress(ProcessLookupError, PermissionError):
        descriptor = os.pidfd_open(found.pid)
        try:
            now = procfs.process(found.pid)
            if now is not None and now.start_ticks == found.start_ticks:
                signal.pidfd_send_signal(descriptor, signum)
        finally:
            os.close(descriptor)


class Sessions:
    """Containment by session and signals.

    Args:
        folder: Of the workloads: other airlocks on this machine have others.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._table: list[procfs.Process] = []
        self._looked_s = float("-inf")

    def launch(self, spec: Spec, home: Path) -> Launched | str:
        """A child that leads a session."""
        return launch(spec, home, "")

    def freeze(self, leader: Leader) -> None:
        """SIGSTOP to each, until a look finds none that runs: a fork may escape one round, not all."""
        self._looked_s = float("-inf")
        for _ in range(STOP_ROUNDS_MAX):
            running = [found for found in self._listed(leader) if found.state not in "Tt"]
            if not running:
                return
            for found in running:
                send(found, signal.SIGSTOP)
            time.sleep(_STOP_PAUSE_S)

    def thaw(self, leader: Leader) -> None:
        """SIGCONT to each."""
        for found in self.members(leader, self.recent()):
            send(found, signal.SIGCONT)

    def thin(self, leader: Leader, parts: Parts) -> None:
        """SIGSTOP to these, SIGCONT to the others that are stopped."""
        self._looked_s = float("-inf")
        stop(self._listed(leader), set(parts))

    def kill(self, leader: Leader) -> None:
        """SIGKILL to each."""
        for found in self._listed(leader):
            send(found, signal.SIGKILL)

    def clear(self, leader: Leader) -> None:
        """SIGKILL to each that carries its mark, in whatever session."""
        for found in procfs.marked(marker(leader.workload), keeper_marker(self._folder)):
            send(found, signal.SIGKILL)

    def members(self, leader: Leader, table: list[procfs.Process]) -> list[procfs.Process]:
        """Those of its session."""
        if leader.here() is None:
            return []
        return [found for found in table if found.session == leader.pid and not found.dead]

    def recent(self) -> list[procfs.Process]:
        """All processes, as they were a moment ago, but after the last stop: many acts of one round look once."""
        if time.monotonic() - self._looked_s > _RECENT_S:
            self._table, self._looked_s = list(procfs.processes()), time.monotonic()
        return self._table

    def _listed(self, leader: Leader) -> list[procfs.Process]:
        return self.members(leader, list(procfs.processes())) if leader.here() else []


def stop(found: list[procfs.Process], wanted: set[tuple[int, int]]) -> None:
    """Stop the wanted, let the others run on."""
    for process in found:
        key, stopped = (process.pid, process.start_ticks), process.state in "Tt"
        if (key in wanted) is not stopped:
            send(process, signal.SIGCONT if stopped else signal.SIGSTOP)


def command_process(leader: Leader, table: list[procfs.Process]) -> procfs.Process | None:
    """The command itself: the keeper's one child, once it is no copy of the keeper any more.

    Until then it has the keeper's handlers, which take a signal as if the command had heard it, or none.
    """
    if leader.here() is None:
        return None
    children = [found for found in table if found.parent == leader.pid and not found.dead]
    child = min(children, key=lambda found: found.start_ticks, default=None)
    becoming = child is not None and procfs.command(child.pid) in (b"", procfs.command(leader.pid))
    return child if not becoming else None
