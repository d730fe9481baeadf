"""The airlock's hands: carries out what the core says, watches processes, and says what came of it.

Every act may be done twice, and on a process that has gone meanwhile it does nothing: its end is told by its pidfd.
"""

import os
import select
import signal
import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tegcore.shells import loses
from tegd.airlock import comeback
from tegd.airlock.adapters import context, launch, procfs, units
from tegd.airlock.adapters.beside import Beside
from tegd.airlock.adapters.cgroupfs import FREEZE_NS, Cgroups, listed
from tegd.airlock.adapters.containment import Containment, Leader, Sessions, command_process, send
from tegd.airlock.adapters.dump import Answered, Dumper
from tegd.airlock.adapters.flush import Flusher, Job
from tegd.airlock.adapters.logs import Logs
from tegd.airlock.adapters.manager import Services
from tegd.airlock.adapters.marks import Marks
from tegd.airlock.adapters.units import Slice, main_process
from tegd.airlock.core import Act, Effect, Input, Kind
from tegd.airlock.dumper import criu, images
from tegd.airlock.dumper.requests import Request, Verb
from tegd.airlock.model import Then, Way, Workload
from tegd.airlock.transitions import State

LOOK_NS, LOOK_HEARD_NS = 5_000_000, 50_000_000
"""How soon to look for a mark again: one that nobody hears, and one that the kernel tells of."""
SAID_NS = 20_000_000_000
"""How long the manager may take to say what a unit is, before a save of it has failed."""
_SAID, _SEEN = "said", "seen"
"""Files of a unit: what the manager said of it, and what was to be seen of its process when it was asked to save."""


class Hands:
    """All that touches processes and their files.

    Args:
        folder: The airlock's state folder.
        containment: What holds processes together.
        epoll: What tells the ends of processes.
        slice_units: The slice whose units are looked after, and what holds them.
        dumper: What dumps and restores processes, where that can be done.
    """

    def __init__(
        self,
        folder: Path,
        containment: Containment,
        epoll: select.epoll,
        slice_units: tuple[Slice, Cgroups] | None = None,
        dumper: Dumper | None = None,
    ) -> None:
        self._folder = folder
        self._containment = containment
        self._epoll = epoll
        self._slice: Slice | None = slice_units[0] if slice_units else None
        self._groups: Cgroups | None = slice_units[1] if slice_units else None
        self._asking = Beside("ask")
        self._ended: deque[tuple[str, Input]] = deque()
        self._ended_ready = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._ended_ready, select.EPOLLIN)
        self._inquiring: set[str] = set()
        self._notes: dict[str, str] = {}
        self._watched: dict[int, tuple[str, int]] = {}
        self._starting: dict[int, str] = {}
        self._flusher = Flusher()
        self._logs = Logs()
        self._epoll.register(self._flusher.ready, select.EPOLLIN)
        self._dumper = dumper
        if dumper is not None:
            self._epoll.register(dumper.ready, select.EPOLLIN)
        self._flushing: dict[str, int] = {}
        self._watch_marks = Marks()
        self._marks: dict[str, launch.Identity] = {}
        self._before: dict[str, launch.Identity] = {}
        self._go: dict[str, int] = {}
        self._unasked: set[str] = set()
        self._heard: set[str] = set()

    def act(self, workload: Workload, effects: Iterable[Effect]) -> list[Input]:
        """Carry out acts; what comes of them at once is told, the rest later."""
        outcomes = []
        for act, signum in effects:
            if act is Act.START:
                outcomes += self._start_unit(workload) if workload.spec.unit else self._start(workload)
            elif act is Act.GO:
                outcomes += self._go_on(workload)
            elif act is Act.FLUSH:
                self._flush(workload)
            elif act is Act.DUMP:
                outcomes += self._dump(workload)
            elif act is Act.DISCARD:
                self._discard(workload)
            elif act in (Act.ASK, Act.ASK_AGAIN):
                self._ask(workload, afresh=act is Act.ASK)
            elif act is Act.SIGNAL:
                self._signal_main(workload, signum)
            else:
                self._hold_or_end(workload, act)
        return outcomes

    def adopt(self, workload: Workload) -> list[Input]:
        """Find the processes of a workload again after a restart; what has happened to it meanwhile."""
        spec, status = workload.spec, workload.status
        if spec.unit and self._groups is not None:
            self._groups.adopted[spec.workload] = Path(spec.group)
            self._ask_manager(spec.workload)
        elif spec.group and isinstance(self._containment, Cgroups):
            self._containment.placed[spec.workload] = Path(spec.group)
        if not status.pid or status.exit_code is not None or self._watch(_leader(workload)):
            return []
        return self._exit(workload, None)

    def group(self, workload: Workload) -> Path | None:
        """The control group of a workload, where there are such."""
        held = self._containment_of(workload)
        return held.folder(workload.spec.workload) if isinstance(held, Cgroups) else None

    def group_for(self, name: str) -> str:
        """The control group that a new workload is put into; empty where there are none."""
        return str(self._containment.folder(name)) if isinstance(self._containment, Cgroups) else ""

    @property
    def freeze_ns(self) -> int:
        """What freezing a group takes, as measured."""
        return self._groups.freeze_ns if self._groups is not None else FREEZE_NS

    @property
    def can_dump(self) -> bool:
        """Whether units can be dumped here."""
        return self._dumper is not None

    @property
    def can_dump_own(self) -> bool:
        """Whether workloads that we start can be dumped here, too."""
        return self.can_dump and isinstance(self._containment, Services)

    def saves_to(self, workload: Workload) -> Path:
        """The folder that a save of it would be written to."""
        if workload.way is Way.HOOK and workload.spec.hook is not None:
            return Path(workload.spec.hook.checkpoint).parent
        return self._folder

    def saved_bytes(self, workload: Workload) -> int:
        """The size of its last checkpoint, or of the image that it is to be restored from."""
        hook = workload.spec.hook
        with suppress(OSError):
            if workload.status.dumped_ns:
                return sum(file.stat().st_size for file in self._image(workload).iterdir())
            if hook is not None:
                return Path(hook.checkpoint).stat().st_size
        return 0

    def answers_its_hook(self, workload: Workload) -> bool:
        """Whether it has a handler for the signal of its hook, if it would be saved by that."""
        if workload.spec.hook is None or workload.way is Way.DUMP:
            return True
        if not self._is_described(workload.spec.workload, unit=bool(workload.spec.unit)):
            return False
        main = self._main(workload)
        return main is not None and procfs.catches(main.pid, workload.spec.hook.signum)

    def watch_unit(self, workload: Workload) -> None:
        """Watch a unit that was just found, by its main process."""
        assert self._groups is not None
        self._groups.adopted[workload.spec.workload] = Path(workload.spec.group)
        self._watch(_leader(workload))
        self._ask_manager(workload.spec.workload)

    def owns(self, descriptor: int) -> bool:
        """Whether a ready descriptor is one of ours."""
        return descriptor in self._watched

    def done(self, descriptor: int, workloads: Mapping[str, Workload]) -> list[tuple[str, Input]]:
        """What came of flushes, dumps and restores, and how units ended, if that is what a ready descriptor says."""
        if self._dumper is not None and descriptor == self._dumper.ready:
            told = [_of_answer(answered, workloads.get(answered.workload)) for answered in self._dumper.answered()]
            return [found for found in told if found is not None]
        if descriptor == self._ended_ready:
            with suppress(BlockingIOError):
                os.eventfd_read(self._ended_ready)
            return [self._ended.popleft() for _ in range(len(self._ended))]
        if descriptor != self._flusher.ready:
            return []
        flushed = []
        for name, since_ns, problem, stopped in self._flusher.done():
            if self._flushing.get(name) == since_ns:
                del self._flushing[name]
                kind = Kind.FLUSH_FAILED if problem else Kind.FLUSHED
                flushed.append((name, Input(kind, problem=problem, stopped=stopped)))
        return flushed

    def whose(self, descriptor: int) -> str:
        """The workload that a ready descriptor is about."""
        return self._watched[descriptor][0]

    def ended(self, descriptor: int, workload: Workload | None) -> list[Input]:
        """A process that was watched has ended: the leader of a workload, or what starts a unit again.

        The workload may be known no more, and what was to start it may end late: what came of it is ended too.
        """
        name, pid = self._watched.pop(descriptor)
        self._epoll.unregister(descriptor)
        os.close(descriptor)
        if pid in self._starting:
            del self._starting[pid]
            if workload is not None and workload.status.state is State.STARTING:
                return self._unit_started(workload, _reaped(pid))
            self._containment.clear(Leader(name, 0, 0))
        if workload is None or pid != workload.status.pid:
            _reaped(pid)
            return []
        if not workload.spec.unit:
            self._containment.kill(_leader(workload))
        return self._exit(workload, _reaped(pid))

    def look(self, workload: Workload) -> list[Input]:
        """Look after a hook at work: ask it, where it could not be asked yet, and see its mark.

        The dumper answers for itself: beside a dump, a mark is of a save by the hook that failed.
        At its mark it is frozen at once, before even the journal says so: what it did from here on would be lost. A
        restart finds it being saved, and has it run on.
        """
        if workload.status.by is not Way.HOOK:
            return []
        if workload.spec.workload in self._unasked and (problem := self._try_to_ask(workload)):
            return [Input(Kind.SAVE_FAILED, problem=problem)]
        if not self._has_mark(workload):
            return []
        self._containment_of(workload).freeze(_leader(workload))
        return [self._marked(workload)]

    def look_ns(self, workload: Workload) -> int:
        """How soon to look after a hook at work again: one whose mark is heard is frozen without a look."""
        name = workload.spec.workload
        return LOOK_HEARD_NS if name in self._heard and name not in self._unasked else LOOK_NS

    def usage(self, workloads: Iterable[Workload]) -> dict[str, dict[str, int]]:
        """Memory in bytes, processor time in ns and number of processes of each, from one pass over /proc."""
        table = list(procfs.processes())
        used = {
            entry.spec.workload: _sums(self._containment_of(entry).members(_leader(entry), table))
            for entry in workloads
            if entry.status.state is not State.ENDED
        }
        return used | {"": _sums([found for found in table if found.pid == os.getpid()])}

    def log(self, name: str) -> Path:
        """Where the output of a workload goes."""
        return self._home(name) / "log"

    def look_at_logs(self, names: Iterable[str]) -> None:
        """Hold the logs of work that may write within their bounds, beside the loop."""
        self._logs.look(map(self.log, names))

    def bound_log(self, name: str, bound: int, *, writes: bool) -> None:
        """Hold a log to another bound, in bytes; `writes`: there may be more to come."""
        self._logs.bound(self.log(name), bound, anew=writes)

    def forget(self, name: str) -> None:
        """Remove what is left of a workload that has ended; a flush that is still under way means nothing more."""
        self._flushing.pop(name, None)
        self._heard.discard(name)
        self._logs.forget(self.log(name))
        self._notes.pop(name, None)
        if self._slice is not None and (said := units.said_from(self._home(name) / _SAID)) is not None:
            self._slice.forget(name, said)
        for groups in (self._groups, self._containment):
            if isinstance(groups, Cgroups):
                groups.forget(name)
        with suppress(OSError):
            for place, _, files in os.walk(self._home(name), topdown=False):
                for file in files:
                    (Path(place) / file).unlink()
                Path(place).rmdir()

    def _start(self, workload: Workload) -> list[Input]:
        spec, name = workload.spec, workload.spec.workload
        if workload.status.dumped_ns:
            return self._restore(workload)
        try:
            self._home(name).mkdir(exist_ok=True)
            self._home(name).chmod(0o750)
            launch.clear_mark(spec)
            resumed = replace(spec, resume=spec.resume or workload.status.saved_ns > 0)
            child = self._containment.launch(resumed, self._home(name))
        except OSError as error:
            return [Input(Kind.START_FAILED, problem=f"{error.filename or name}: {error.strerror}")]
        if isinstance(child, str):
            return [Input(Kind.START_FAILED, problem=child)]
        self._watch(Leader(name, child.pid, child.start_ticks))
        self._go[name] = child.go
        return [Input(Kind.STARTED, pid=child.pid, start_ticks=child.start_ticks)]

    def _dump(self, workload: Workload) -> list[Input]:
        """Ask under the time of this state, so that an answer to an earlier one is not taken for it."""
        verb = Verb.PROVE if workload.status.then is Then.PROVE else Verb.DUMP
        status, group = workload.status, self.group(workload)
        if self._dumper is None or group is None:
            return [Input(Kind.SAVE_FAILED, problem="there is no CRIU service on this host")]
        image = str(self._image(workload))
        request = Request(verb, status.since_ns, image, str(group), status.pid, status.start_ticks)
        self._dumper.ask(workload.spec.workload, request)
        return []

    def _start_unit(self, workload: Workload) -> list[Input]:
        assert self._slice is not None
        spec = workload.spec
        if workload.status.dumped_ns:
            return self._restore(workload)
        home = self._home(spec.workload)
        said, seen = units.said_from(home / _SAID), units.seen_from(home / _SEEN)
        if said is None or seen is None:
            return [Input(Kind.START_FAILED, problem=f"{spec.unit}: what it was started by is not known")]
        try:
            self._slice.put_back(spec.unit, said)
            pid = self._slice.start_again(spec.unit, seen.chosen, said, spec.resume_args, home / _SEEN)
        except OSError as error:
            return [Input(Kind.START_FAILED, problem=f"{error.filename or spec.unit}: {error.strerror}")]
        return self._starts(workload, pid)

    def _restore(self, workload: Workload) -> list[Input]:
        """Have systemd restore it; what an airlock before us had restored is there already."""
        spec, image = workload.spec, self._image(workload)
        if (found := self._restored(workload)) is not None:
            return [Input(Kind.STARTED, pid=found.pid, start_ticks=found.start_ticks)]
        command, pid_file = criu.restore_command(image), image / "pid"
        try:
            if spec.unit and self._slice is not None:
                if (said := units.said_from(self._home(spec.workload) / _SAID)) is not None:
                    self._slice.put_back(spec.unit, said)
                pid = self._slice.restore(spec.unit, command, pid_file)
            elif isinstance(self._containment, Services):
                pid = self._containment.restore(spec.workload, command, pid_file)
            else:
                return [Input(Kind.START_FAILED, problem="only services that systemd starts are restored")]
        except OSError as error:
            return [Input(Kind.START_FAILED, problem=f"{error.filename or spec.workload}: {error.strerror}")]
        return self._starts(workload, pid)

    def _restored(self, workload: Workload) -> procfs.Process | None:
        """The root of what was restored from its image, where it lives in its group."""
        found, group = images.whole(self._image(workload)), self.group(workload)
        return procfs.process(found.pid) if found and group is not None and found.pid in listed(group) else None

    def _starts(self, workload: Workload, pid: int) -> list[Input]:
        spec = workload.spec
        self._starting[pid] = spec.workload
        self._register(os.pidfd_open(pid), spec.workload, pid)
        return []

    def _unit_started(self, workload: Workload, code: int | None) -> list[Input]:
        spec = workload.spec
        restored = workload.status.dumped_ns > 0
        found = self._restored(workload) if restored else main_process(Path(spec.group))
        if code == 0 and found is None and not restored and self._slice is not None:
            # It has ended already: how, is told once it was taken for started.
            return [Input(Kind.STARTED, pid=self._slice.main_pid(spec.unit), start_ticks=0)]
        if code != 0 or found is None:
            said = criu.said(self._image(workload) / "restore.log") if restored else "see its status"
            return [Input(Kind.START_FAILED, problem=f"starting {spec.unit or spec.workload} failed: {said}")]
        return [Input(Kind.STARTED, pid=found.pid, start_ticks=found.start_ticks)]

    def _go_on(self, workload: Workload) -> list[Input]:
        """Let what was started run, and hear of its end, which may have come already."""
        if workload.status.by is Way.DUMP:
            self._discard(workload)
            self._continue(workload)
        if workload.spec.unit or workload.spec.workload not in self._go:
            return [] if self._watch(_leader(workload)) else self._exit(workload, None)
        launch.go(self._go.pop(workload.spec.workload))
        return []

    def _continue(self, workload: Workload) -> None:
        """What CRIU restored is stopped until it is written down that it is there."""
        leader = _leader(workload)
        for found in self._containment_of(workload).members(leader, list(procfs.processes())):
            if found.state == "T":
                send(found, signal.SIGCONT)

    def _containment_of(self, workload: Workload) -> Containment:
        return self._groups if workload.spec.unit and self._groups is not None else self._containment

    def _hold_or_end(self, workload: Workload, act: Act) -> None:
        leader, held = _leader(workload), self._containment_of(workload)
        if act is not Act.THIN:
            self._watch_marks.forget(leader.workload)
        match act:
            case Act.FREEZE:
                held.freeze(leader)
            case Act.THAW:
                held.thaw(leader)
                if workload.status.by is Way.DUMP:
                    self._continue(workload)
            case Act.THIN:
                held.thin(leader, workload.status.parts)
            case Act.TERMINATE:
                table = held.recent() if isinstance(held, Sessions) else list(procfs.processes())
                for found in held.members(leader, table):
                    send(found, signal.SIGTERM)
                held.thaw(leader)
            case Act.KILL:
                held.kill(leader)
            case Act.CLEAR:
                held.clear(leader)
                self._unasked.discard(leader.workload)
                self._marks.pop(leader.workload, None)
                self._before.pop(leader.workload, None)

    def _ask(self, workload: Workload, *, afresh: bool) -> None:
        assert workload.spec.hook is not None
        if afresh:
            uid, gid = self._user(workload)
            launch.clear_mark(replace(workload.spec, uid=uid, gid=gid))
        self._before[workload.spec.workload] = launch.identity(workload.spec.hook.checkpoint) if afresh else None
        own = workload.spec.hook.mark == workload.spec.hook.checkpoint
        old = afresh or own or launch.older(workload.spec.hook.mark, workload.status.since_ns)
        self._marks[workload.spec.workload] = launch.identity(workload.spec.hook.mark) if old else None
        name, mark = workload.spec.workload, workload.spec.hook.mark
        heard = self._watch_marks.watch(name, mark, lambda: self._freeze_marked(workload))
        (self._heard.add if heard else self._heard.discard)(name)
        self._unasked.add(name)
        self._try_to_ask(workload)
        self._containment_of(workload).thaw(_leader(workload))

    def _try_to_ask(self, workload: Workload) -> str:
        """Ask for a checkpoint once the command has a handler: before that, the signal would end it.

        Returns:
            Why it is never asked, for people; empty: it was, or is later.
        """
        spec, hook = workload.spec, workload.spec.hook
        assert hook is not None
        main = self._main(workload)
        if main is None or not procfs.catches(main.pid, hook.signum):
            return ""
        if not self._is_described(spec.workload, unit=bool(spec.unit)):
            late = time.clock_gettime_ns(time.CLOCK_BOOTTIME) > workload.status.since_ns + SAID_NS
            return "the service manager does not say how it was started" if late else ""
        try:
            self._see(workload, main)
        except OSError as error:
            return f"how it runs cannot be seen: {error.strerror}"
        send(main, hook.signum)
        self._unasked.discard(spec.workload)
        return ""

    def _is_described(self, name: str, *, unit: bool) -> bool:
        """Whether the manager has said what there is to say of a unit: what saves may end by itself after it."""
        if not unit or (self._home(name) / _SAID).exists():
            return True
        self._ask_manager(name)
        return False

    def _see(self, workload: Workload, main: procfs.Process) -> None:
        """Keep what the process that is asked to save is to be started again from, before it can end."""
        spec, home = workload.spec, self._home(workload.spec.workload)
        if not spec.unit:
            with suppress(OSError):
                words = context.command(main.pid)
                same = words[1 : len(spec.argv)] == spec.argv[1:] and words[0].endswith(spec.argv[0])
                self._notes[spec.workload] = _loss(spec.argv, same=same)
        elif (said := units.said_from(home / _SAID)) is not None:
            chosen, note, about = units.seen_of(main.pid, said, spec.resume_args)
            units.keep(home / _SEEN, {"chosen": chosen, **about})
            self._notes[spec.workload] = note

    def _ask_manager(self, name: str) -> None:
        """Ask it of a unit, beside the loop; what is known already stays: a start of ours changes what it says."""
        if name not in self._inquiring and not (self._home(name) / _SAID).exists():
            self._inquiring.add(name)
            self._asking.do(name, lambda: self._hear_manager(name))

    def _hear_manager(self, name: str) -> None:
        with suppress(OSError):
            self._said(name)
        self._inquiring.discard(name)

    def _said(self, name: str) -> comeback.Said:
        assert self._slice is not None
        said = self._slice.ask(name)
        if said.line:
            units.keep(self._home(name) / _SAID, comeback.data(said))
        return said

    def _user(self, workload: Workload) -> tuple[int, int]:
        """User and group of its process: of a unit, also one that gave up root since it was found."""
        spec, kept = workload.spec, units.seen_from(self._home(workload.spec.workload) / _SEEN)
        if not spec.unit:
            return spec.uid, spec.gid
        if found := procfs.user(workload.status.pid):
            return found
        return (kept.uid, kept.gid) if kept else (spec.uid, spec.gid)

    def _look_after(self, workload: Workload) -> tuple[str, bool]:
        """Why a unit that was saved could not be started again, and whether it was stopped; in a thread."""
        spec, home = workload.spec, self._home(workload.spec.workload)
        said = units.said_from(home / _SAID)
        if said is None or not (home / _SEEN).exists():
            return "it could not be started again: how it was started is not known", False
        if said.problem:
            return f"it could not be started again: {said.problem}", False
        gone = _leader(workload).here() is None and workload.status.then is not Then.PARK
        if not gone or self._slice is None:
            return "", False
        return "", self._slice.ended(spec.unit, workload.status.pid, workload.status.start_ticks).stopped

    def _marked(self, workload: Workload) -> Input:
        return Input(Kind.MARKED, problem=self._notes.get(workload.spec.workload, ""))

    def _freeze_marked(self, workload: Workload) -> None:
        if self._has_mark(workload):
            self._containment_of(workload).freeze(_leader(workload))

    def _has_mark(self, workload: Workload) -> bool:
        by_hook = workload.status.by is Way.HOOK
        return by_hook and launch.has_mark(workload.spec, self._marks.get(workload.spec.workload))

    def _signal_main(self, workload: Workload, signum: int) -> None:
        if (main := self._main(workload)) is not None:
            send(main, signum)

    def _main(self, workload: Workload) -> procfs.Process | None:
        leader = _leader(workload)
        return leader.here() if workload.spec.unit else command_process(leader, list(procfs.processes()))

    def _flush(self, workload: Workload) -> None:
        name, leader, held = workload.spec.workload, _leader(workload), self._containment_of(workload)
        self._flushing[name] = workload.status.since_ns

        def members() -> list[int]:
            return [found.pid for found in held.members(leader, list(procfs.processes()))]

        def look_after() -> tuple[str, bool]:
            return self._look_after(workload) if workload.spec.unit else ("", False)

        uid, _ = self._user(workload)
        self._flusher.flush(Job(workload, self._before.get(name), self._image(workload), members, uid, look_after))

    def _discard(self, workload: Workload) -> None:
        self._flusher.discard(workload.spec.workload, self._image(workload), workload.status.since_ns)

    def _watch(self, leader: Leader) -> bool:
        """Watch for the end of a leader; whether it lives."""
        if not leader.pid:
            return False
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
        if workload.spec.unit:
            now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            if state is State.RUNNING and now_ns < max(workload.status.quit_ns, workload.status.back_ns):
                # How it ended decides what becomes of it: the manager is not asked for nothing.
                self._asking.do(workload.spec.workload, lambda: self._tell_end(workload, now_ns))
                return []
            marked = state is State.SAVING and self._has_mark(workload)
            return [self._marked(workload)] * marked + [Input(Kind.EXITED)]
        ran, code = launch.exit_status(self._home(workload.spec.workload))
        if not ran and (absent := launch.absent(self._home(workload.spec.workload))):
            return [Input(Kind.EXITED, exit_code=code, problem=f"{workload.spec.argv[0]} {absent}")]
        if not ran:
            return [Input(Kind.NEVER_RAN)]
        if code is None:
            killed = 128 + signal.SIGKILL if state is State.KILLING else None
            code = reaped if reaped is not None else killed
        marked = state is State.SAVING and self._has_mark(workload)
        return [self._marked(workload)] * marked + [Input(Kind.EXITED, exit_code=code)]

    def _tell_end(self, workload: Workload, at_ns: int) -> None:
        """Hear from the manager how a unit ended, in a thread: it may be slow, and holds nobody up."""
        assert self._slice is not None
        spec, status = workload.spec, workload.status
        code, stopped, how = self._slice.ended(spec.unit, status.pid, status.start_ticks)
        failed = status.back_ns and code != 0
        problem = f"it ended soon after it was started again: {how}; `systemctl status` says more" if failed else ""
        exited = Input(Kind.EXITED, exit_code=code, stopped=stopped, at_ns=at_ns, problem=problem)
        self._ended.append((spec.workload, exited))
        os.eventfd_write(self._ended_ready, 1)

    def _image(self, workload: Workload) -> Path:
        return self._home(workload.spec.workload) / "image"

    def _home(self, name: str) -> Path:
        return self._folder / "workloads" / name


def _loss(argv: tuple[str, ...], *, same: bool) -> str:
    """What people are to know of a comeback in the market, where the whole command is given again."""
    lost = loses(argv)
    if not lost or same:
        return lost
    return f"the program that saves is not the one that would be started again: {lost}"


def _leader(workload: Workload) -> Leader:
    return Leader(workload.spec.workload, workload.status.pid, workload.status.start_ticks)


def _of_answer(answered: Answered, workload: Workload | None) -> tuple[str, Input] | None:
    """What the dumper's answer means, unless the state that asked was left."""
    answer = answered.answer
    if workload is None or workload.status.since_ns != answered.request.attempt:
        return None
    kind = Kind.SAVE_FAILED if answer.problem else Kind.MARKED
    return answered.workload, Input(kind, problem=answer.problem or answer.note)


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
