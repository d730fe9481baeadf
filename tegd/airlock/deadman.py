"""`python -m tegd.airlock.deadman`: lets go of what an airlock held that does not come back.

It sleeps on a lock that a living airlock holds. When the lock has been free for a while, it reads the journal and does
what `will` says, and goes on doing so as terms end, until an airlock is there again. It needs nobody's answer, writes
nothing, and shares with the airlock only the journal's form.
"""

import argparse
import fcntl
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tegcore.units import NS_PER_S
from tegd.airlock import will
from tegd.airlock.adapters import flush, journal, procfs
from tegd.airlock.adapters.beside import Beside
from tegd.airlock.adapters.cgroupfs import Cgroups
from tegd.airlock.adapters.containment import Containment, Leader, Sessions
from tegd.airlock.adapters.reclaim import expose, unbound
from tegd.airlock.dumper import images
from tegd.airlock.model import Way, Workload
from tegd.airlock.transitions import State
from tegd.airlock.will import Last
from tegio.clock import SystemClock
from tegio.notify import notify

AFTER_S = 10.0
_LOOK_S = 0.25
_LOOK_S_MAX = 60.0
_REST_NS = NS_PER_S


@dataclass
class _Look:
    """Whether a checkpoint is whole, as it is found out.

    Attributes:
        since_s: When that began, monotonic clock.
        whole: None while it is not known.
    """

    job: flush.Job
    since_s: float
    whole: bool | None = None

    def take(self) -> None:
        """Make it durable, if it is."""
        problem = flush.flushed(self.job).problem
        if problem:
            _say(f"{self.job.workload.spec.workload}: {problem}")
        if self.whole is None:
            self.whole = not problem


class Deadman:
    """One host's.

    Args:
        folder: The airlock's state folder.
        after_s: How long there has to be no airlock before it is taken to be gone for good.
        mount: Where cgroup v2 would be mounted.
    """

    def __init__(self, folder: Path, after_s: float, mount: Path = Path("/sys/fs/cgroup")) -> None:
        self._folder = folder
        self._after_s = after_s
        self._mount = mount
        self._clock = SystemClock()
        self._done: dict[str, Last] = {}
        self._beside = Beside("whole")
        self._looks: dict[str, _Look] = {}
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._alive = os.open(folder / journal.ALIVE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def watch(self) -> None:
        """Wait until there has been no airlock for long enough; costs nothing while there is one."""
        while True:
            fcntl.flock(self._alive, fcntl.LOCK_SH)
            fcntl.flock(self._alive, fcntl.LOCK_UN)
            free_since = time.monotonic()
            while not self._there_is_one():
                if time.monotonic() - free_since >= self._after_s:
                    return
                time.sleep(_LOOK_S)

    def act(self) -> None:
        """Do what is to be done, again and again, until an airlock is there."""
        self._done.clear()
        self._looks = {}
        known = self._known()
        while not self._there_is_one():
            for workload in will.in_order(known):
                try:
                    self._deal_with(workload)
                except OSError as error:
                    _say(f"{workload.spec.workload}: {error}; it is tried again, and the others are dealt with")
            due_ns = will.due_ns(known, self._clock.now_ns())
            rest_ns = _REST_NS if all(look.whole is not None for look in self._looks.values()) else _REST_NS // 20
            pause_ns = rest_ns if due_ns is None else min(rest_ns, max(0, due_ns - self._clock.now_ns()))
            time.sleep(pause_ns / NS_PER_S + 0.001)

    def _there_is_one(self) -> bool:
        try:
            fcntl.flock(self._alive, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self._alive, fcntl.LOCK_UN)
        return False

    def _known(self) -> list[Workload]:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        try:
            found = journal.read(self._folder)
        except (OSError, ValueError, LookupError, TypeError) as error:
            _say(f"the journal in {self._folder} cannot be read ({error}): look for frozen groups by hand")
            return []
        return list(found.workloads.values()) if found.boot_id == boot_id else []

    def _deal_with(self, workload: Workload) -> None:
        name = workload.spec.workload
        act: Last = will.last(workload, self._clock.now_ns())
        if act is self._done.get(name) or act is Last.NOTHING or self._dumping(workload):
            return
        leader = Leader(name, workload.status.pid, workload.status.start_ticks)
        held = self._containment(workload)
        if leader.here() is not None or (isinstance(held, Cgroups) and held.populated(name)):
            done: Last = act
            if act in (Last.END_IF_WHOLE, Last.END_IF_WHOLE_ELSE_HOLD):
                otherwise = Last.THAW if act is Last.END_IF_WHOLE else Last.HOLD
                whole = self._is_whole(workload, held, leader)
                if whole is None:
                    return
                done = Last.END if whole else otherwise
            _say(f"{name}, {workload.status.state} under an airlock that is gone: {done}")
            held.thin(leader, ())
            if workload.spec.group:
                expose(Path(workload.spec.group))
            if workload.status.bound_bytes and not workload.spec.unit:
                unbound(Path(workload.spec.group))
            {Last.THAW: held.thaw, Last.HOLD: held.freeze, Last.END: held.kill}[done](leader)
        self._done[name] = act

    def _dumping(self, workload: Workload) -> bool:
        """A CRIU at work is waited for: what it has in hand would die with it."""
        by_dump = workload.status.state is State.SAVING and workload.status.by is Way.DUMP
        return by_dump and images.busy(self._image(workload))

    def _is_whole(self, workload: Workload, held: Containment, leader: Leader) -> bool | None:
        """Whether its checkpoint is whole; None while that is not known yet, and no when it takes too long.

        It is made durable beside the others: none of them stays held for a file server that does not answer.
        """

        def members() -> list[int]:
            return [found.pid for found in held.members(leader, list(procfs.processes()))]

        name = workload.spec.workload
        if name not in self._looks:
            held.freeze(leader)
            self._looks[name] = _Look(flush.Job(workload, None, self._image(workload), members), time.monotonic())
            self._beside.do(name, self._looks[name].take)
        look = self._looks[name]
        if look.whole is None and time.monotonic() - look.since_s > _LOOK_S_MAX:
            _say(f"{name}: its checkpoint could not be made durable within {_LOOK_S_MAX:g} s")
            look.whole = False
        return look.whole

    def _image(self, workload: Workload) -> Path:
        return self._folder / "workloads" / workload.spec.workload / "image"

    def _containment(self, workload: Workload) -> Containment:
        if not workload.spec.group:
            return Sessions(self._folder / "workloads")
        held = Cgroups(self._mount)
        held.adopted[workload.spec.workload] = Path(workload.spec.group)
        return held


def _say(what: str) -> None:
    with suppress(OSError):
        print(f"teg-deadman: {what}", file=sys.stderr, flush=True)


def main() -> None:
    """Run until ended."""
    parser = argparse.ArgumentParser(prog="teg-deadman", description=sys.modules[__name__].__doc__)
    parser.add_argument("--state-dir", type=Path, required=True, help="the airlock's")
    parser.add_argument("--after", type=float, default=AFTER_S, help="seconds without an airlock; default %(default)g")
    wanted = parser.parse_args()
    deadman = Deadman(wanted.state_dir, wanted.after)
    notify("READY=1")
    while True:
        deadman.watch()
        deadman.act()


if __name__ == "__main__":
    main()
