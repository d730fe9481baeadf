"""Containment by cgroup v2: a child of our own group for each workload, with the files that every group has.

`cgroup.freeze` and `cgroup.kill` need no controller, only the right to make groups below ours (`Delegate=yes` under
systemd). Errors of writes are seen, because no buffered file object stands between. A frozen group can be killed.
"""

import errno
import os
import time
from contextlib import suppress
from pathlib import Path

from tegd.airlock.adapters import procfs
from tegd.airlock.adapters.containment import Leader, Parts, stop
from tegd.airlock.adapters.launch import Launched, launch
from tegd.airlock.model import Spec

FREEZE_NS = 100_000_000
"""What freezing is taken to last before it was done."""
FREEZE_ROUNDS_MAX = 50
_FREEZE_PAUSE_S = 0.002
PIDS_MAX = 16384
"""Threads of one workload, where the kernel counts them: a fork bomb ends here."""
_PREFIX = "teg-"
HELD = "teg-held"
"""Below the group of a workload: it is frozen, and holds the parts that are held while the others run."""


def own_group(mount: Path, membership: str) -> Path | None:
    """The folder of our own group, from /proc/self/cgroup; None without a unified hierarchy.

    Args:
        mount: Where cgroup v2 would be mounted.
        membership: Text of /proc/self/cgroup.
    """
    for line in membership.splitlines():
        if line.startswith("0::/") and (mount / "cgroup.controllers").is_file():
            return mount / line.removeprefix("0::/")
    return None


def usable(group: Path) -> str:
    """Why a group cannot be used, or nothing where it can."""
    probe = group / f"{_PREFIX}probe"
    try:
        probe.mkdir(exist_ok=True)
    except OSError as error:
        return f"no group can be made in {group}: {error.strerror}"
    missing = [name for name in ("cgroup.freeze", "cgroup.kill", "cgroup.procs") if not (probe / name).exists()]
    probe.rmdir()
    return f"the kernel has no {' or '.join(missing)}" if missing else ""


class Cgroups:
    """Containment by group.

    Args:
        group: The group in which those of workloads are made.

    Attributes:
        placed: Where groups are that an earlier airlock made elsewhere, by workload.
        adopted: Groups that others made, by workload: they are frozen and killed like our own, and left where they are.
        freeze_ns: What freezing took at worst, forgotten by and by.
    """

    def __init__(self, group: Path) -> None:
        self._group = group
        self.adopted: dict[str, Path] = {}
        self.placed: dict[str, Path] = {}
        self.freeze_ns = FREEZE_NS

    def launch(self, spec: Spec, home: Path) -> Launched | str:
        """A child that enters a group of its own."""
        return launch(spec, home, self.entry(spec.workload))

    def entry(self, workload: str) -> str:
        """Make the group of a workload; the file by which a process enters it."""
        folder = self.folder(workload)
        folder.mkdir(exist_ok=True)
        with suppress(OSError):
            _write(folder / "pids.max", str(PIDS_MAX).encode())
        return str(folder / "cgroup.procs")

    def freeze(self, leader: Leader) -> None:
        """Freeze the group, and wait, for a bounded time, until the kernel says that it is frozen."""
        begun_ns = time.monotonic_ns()
        self._write(leader, "cgroup.freeze", b"1")
        for _ in range(FREEZE_ROUNDS_MAX):
            if not self.populated(leader.workload) or "frozen 1" in self._events(leader.workload):
                break
            time.sleep(_FREEZE_PAUSE_S)
        took_ns = time.monotonic_ns() - begun_ns
        self.freeze_ns = max(took_ns, self.freeze_ns + (took_ns - self.freeze_ns) // 8)

    def populated(self, workload: str) -> bool:
        """Whether a process of it lives."""
        return "populated 1" in self._events(workload)

    def folder(self, workload: str) -> Path:
        """Its group."""
        known = self.adopted.get(workload) or self.placed.get(workload)
        return known or self._group / f"{_PREFIX}{workload}"

    def forget(self, workload: str) -> None:
        """Where its group was is of use no more."""
        self.adopted.pop(workload, None)
        self.placed.pop(workload, None)

    def _events(self, workload: str) -> str:
        try:
            return (self.folder(workload) / "cgroup.events").read_text()
        except OSError:
            return ""

    def thaw(self, leader: Leader) -> None:
        """Thaw the group."""
        self._write(leader, "cgroup.freeze", b"0")

    def thin(self, leader: Leader, parts: Parts) -> None:
        """Move these into a frozen group of their own below the workload's, and all others out of it.

        Where no such group can be made, they are stopped.
        """
        folder, wanted = self.folder(leader.workload), set(parts)
        held = folder / HELD
        try:
            if wanted:
                held.mkdir(exist_ok=True)
                _write(held / "cgroup.freeze", b"1")
            there = _listed(held)
            here = {pid for pid, ticks in wanted if (found := procfs.process(pid)) and found.start_ticks == ticks}
            for pid in here & _listed(folder):
                _move(pid, held)
            for pid in there - here:
                _move(pid, folder)
            if not wanted:
                self._empty(held)
        except OSError:
            stop(self.members(leader, list(procfs.processes())), wanted)

    def kill(self, leader: Leader) -> None:
        """Kill the group at once."""
        self._write(leader, "cgroup.kill", b"1")

    def clear(self, leader: Leader) -> None:
        """Kill what is left and remove the group, within a bounded time; one that was adopted is left to its owner."""
        if leader.workload in self.adopted:
            return
        if self.folder(leader.workload).exists():
            self.kill(leader)
            self._remove(leader.workload)

    def members(self, leader: Leader, table: list[procfs.Process]) -> list[procfs.Process]:
        """Those listed in the group."""
        folder = self.folder(leader.workload)
        own = listed(folder)
        return [found for found in table if found.pid in own and not found.dead]

    def _write(self, leader: Leader, name: str, value: bytes) -> None:
        """A group that is gone, or goes meanwhile, holds nothing that could be held."""
        try:
            _write(self.folder(leader.workload) / name, value)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise

    def _empty(self, held: Path) -> None:
        """Give up the group of those that were held; one in which some are left lets them run."""
        with suppress(FileNotFoundError):
            _write(held / "cgroup.freeze", b"0")
            with suppress(OSError):
                held.rmdir()

    def _remove(self, workload: str) -> None:
        with suppress(OSError):
            (self.folder(workload) / HELD).rmdir()
        for _ in range(FREEZE_ROUNDS_MAX):
            try:
                self.folder(workload).rmdir()
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(_FREEZE_PAUSE_S)
            else:
                return


def listed(folder: Path) -> set[int]:
    """Pids in the group of a workload, held or not."""
    return _listed(folder) | _listed(folder / HELD)


def _listed(folder: Path) -> set[int]:
    try:
        return set(map(int, (folder / "cgroup.procs").read_text().split()))
    except OSError:
        return set()


def _move(pid: int, folder: Path) -> None:
    """A process that has gone meanwhile needs no moving."""
    with suppress(ProcessLookupError):
        _write(folder / "cgroup.procs", str(pid).encode())


def _write(file: Path, value: bytes) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value)
    finally:
        os.close(descriptor)
