"""The loop around the core: one thread, one epoll; gather inputs, step, commit, act, answer.

A round takes at most one input for each workload, makes all their records durable with one fsync, and only then acts.
What the acts bring about is taken in the next round, before what else waits. So a slow disk costs one fsync a round,
however many workloads there are, and no request sees a step half done.

The loop wakes when something happens, at the next deadline, and once a second (a suspended machine's timers sleep with
it, its boot-time clock does not); now and then while a hook is at work.
"""

import os
import select
from collections import deque
from dataclasses import replace
from typing import Any, NamedTuple

from tegcore.clock import Clock
from tegcore.units import NS_PER_S
from tegd.airlock import core, protocol
from tegd.airlock.adapters.capabilities import Capability
from tegd.airlock.adapters.folders import Folders
from tegd.airlock.adapters.hands import Hands
from tegd.airlock.adapters.journal import Journal, forget_record, new_record, status_record
from tegd.airlock.adapters.launch import in_group
from tegd.airlock.adapters.server import Server
from tegd.airlock.core import Effect, Input, Kind, Refused, Step
from tegd.airlock.frames import Record
from tegd.airlock.guard import Guard
from tegd.airlock.model import Cause, Held, Hook, Spec, Workload
from tegd.airlock.protocol import Reason, Refusal, Request
from tegd.airlock.transitions import State

WORKLOADS_MAX = 2048
"""More than the agent side lets run: what ended and is not forgotten yet has room too."""
FRESH_PER_ROUND_MAX = 32
"""Workloads that come in one round: each brings a command of up to a packet, and a frame of the journal is bounded."""
WAKE_NS = 1_000_000_000
LOG_LOOK_NS = 2_000_000_000
LET_GO_NS = 20_000_000_000
"""Longest that an orderly stop waits for saves that are under way; the deadman sees to what is left."""


class _Asker(NamedTuple):
    client: int
    number: int


class _Told(NamedTuple):
    workload: str
    what: Input | Step
    asker: _Asker | None = None


class Airlock:
    """One host's airlock.

    Args:
        journal: The open journal, with what was found in it.
        hands: What acts on processes.
        capabilities: The table for `hello`.
        epoll: What server and hands are watched with.
        server: The socket.
        clock: The boot-time clock.
        guard: What looks after the host's memory, where that can be done.
        stalls: Descriptor that wakes it when tasks stall on memory.
        uid_min: Least user whose work is started; in groups below it only who is in them anyway.
        own_uid: User that this side runs as: root starts the work of all, anyone else his own.
        folders: Of the workloads, where this side makes them.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        hands: Hands,
        capabilities: dict[str, Capability],
        epoll: select.epoll,
        server: Server,
        clock: Clock,
        own_uid: int,
        guard: Guard | None = None,
        stalls: int | None = None,
        uid_min: int = 0,
        folders: Folders | None = None,
    ) -> None:
        self._journal = journal
        self._hands = hands
        self._capabilities = capabilities
        self._epoll = epoll
        self._server = server
        self._clock = clock
        self._own_uid = own_uid
        self._guard = guard
        self._stalls = stalls
        self._uid_min = uid_min
        self._folders = folders
        if stalls is not None:
            epoll.register(stalls, select.EPOLLPRI)
        self._workloads = journal.workloads
        self._waiting: deque[_Told] = deque()
        self._answers: list[tuple[_Asker, str]] = []
        self._log_look_ns = 0
        self._used: dict[str, dict[str, int]] | None = None
        self._stopping = False

    def stop(self) -> None:
        """End after the turn under way."""
        self._stopping = True

    def run(self) -> None:
        """Carry on what the journal holds, then serve until stopped; leave nothing frozen but past its term."""
        self.recover()
        while not self._stopping:
            self.turn()
        self._let_go()
        self._server.close()

    def _let_go(self) -> None:
        """Let all that is held within its term go, and see the saves that are under way to their end, not for ever."""
        if self._guard is not None:
            self._guard.let_go(self._workloads)
            self._guard = None
        until_ns = self._clock.now_ns() + LET_GO_NS
        while True:
            asked = [(name, core.let_go(entry)) for name, entry in self._workloads.items()]
            self._waiting.extend(_Told(name, told) for name, told in asked if told is not None)
            self._settle()
            if not any(map(_under_way, self._workloads.values())) or self._clock.now_ns() >= until_ns:
                return
            self.turn()

    def recover(self) -> None:
        """Find the processes of this boot again, and carry on each step."""
        for name, entry in tuple(self._workloads.items()):
            if entry.status.state is State.ENDED:
                continue
            if not self._journal.same_boot:
                self._waiting.append(_Told(name, Input(Kind.LOST)))
                continue
            happened = self._hands.adopt(entry)
            if entry.status.state is State.STARTING:
                happened += self._look(entry, self._clock.now_ns())
            self._waiting.extend(_Told(name, told) for told in happened)
            if not happened or entry.status.state is State.FLUSHING:
                self._act(entry, core.resumed(entry))
        self._settle()

    def turn(self) -> None:
        """Wait for something, and deal with it."""
        for descriptor, _ in self._epoll.poll(self._wait_s()):
            if self._server.owns(descriptor):
                for client, packet in self._server.read(descriptor):
                    self._take(client, packet)
            elif descriptor == self._stalls and self._guard is not None:
                self._guard.due_ns = 0
            elif told := self._hands.done(descriptor, self._workloads):
                self._waiting.extend(_Told(name, what) for name, what in told if name in self._workloads)
            elif self._hands.owns(descriptor):
                name = self._hands.whose(descriptor)
                happened = self._hands.ended(descriptor, self._workloads.get(name))
                self._waiting.extend(_Told(name, told) for told in happened)
        now_ns = self._clock.now_ns()
        busy = {told.workload for told in self._waiting}
        for name, entry in self._workloads.items():
            if name not in busy:
                self._waiting.extend(_Told(name, told) for told in self._look(entry, now_ns))
        self._settle()
        self._look_at_memory()
        self._look_at_logs(now_ns)

    def _look_at_memory(self) -> None:
        """Take in units that came, let go of those that went, and do what the host's memory asks for."""
        if self._guard is None:
            return
        now_ns = self._clock.now_ns()
        gone = [name for name, entry in self._workloads.items() if entry.spec.unit and _is_over(entry)]
        for name in gone:
            self._drop(name)
        for entry in self._guard.found(self._workloads, now_ns):
            self._waiting.append(_Told(entry.spec.workload, Step(entry, (), ())))
            self._hands.watch_unit(entry)
        self._settle()
        self._waiting.extend(_Told(name, told) for name, told in self._guard.look(self._workloads, now_ns))
        self._settle()

    def _look(self, entry: Workload, now_ns: int) -> list[Input]:
        if entry.status.state is State.SAVING and (seen := self._hands.look(entry)):
            return seen
        due_ns = core.due_ns(entry)
        return [Input(Kind.DUE)] if due_ns is not None and due_ns <= now_ns else []

    def _wait_s(self) -> float:
        now_ns = self._clock.now_ns()
        until_ns = now_ns + WAKE_NS
        if self._guard is not None:
            until_ns = min(until_ns, self._guard.due_ns)
        for entry in self._workloads.values():
            if entry.status.state is State.SAVING:
                until_ns = min(until_ns, now_ns + self._hands.look_ns(entry))
            if (due_ns := core.due_ns(entry)) is not None:
                until_ns = min(until_ns, due_ns)
        return max(0, until_ns - now_ns) / NS_PER_S

    def _settle(self) -> None:
        while self._waiting:
            steps = self._round()
            records = [_record(before, step.workload) for before, step in steps if step.workload != before]
            if records:
                self._journal.commit(records)
            for _, step in steps:
                self._act(step.workload, step.effects)
            for _, step in steps:
                if self._guard is not None:
                    self._guard.told(step.workload, step.told, self._clock.now_ns())
                for event in step.told:
                    self._server.broadcast(protocol.encode({"event": event, **self._view(step.workload)}))
        for asker, name in self._answers:
            self._server.send(asker.client, protocol.reply(asker.number, self._view(self._workloads[name])))
        self._answers.clear()
        if self._journal.grown():
            self._journal.compact(self._workloads.values())

    def _round(self) -> list[tuple[Workload | None, Step]]:
        steps: list[tuple[Workload | None, Step]] = []
        taken: set[str] = set()
        fresh = 0
        later: deque[_Told] = deque()
        for name, what, asker in self._waiting:
            before = self._workloads.get(name)
            if name in taken or (before is None and fresh >= FRESH_PER_ROUND_MAX):
                later.append(_Told(name, what, asker))
                continue
            fresh += before is None
            result = self._stepped(before, what)
            if isinstance(result, Refused):
                self._refuse(asker, Reason(result), f"{name} is {before.status.state}" if before else name)
                continue
            taken.add(name)
            self._workloads[name] = result.workload
            steps.append((before, result))
            if asker is not None:
                self._answers.append((asker, name))
        self._waiting = later
        return steps

    def _stepped(self, before: Workload | None, what: Input | Step) -> Step | Refused:
        if isinstance(what, Step):
            return Step(before, (), ()) if before is not None else what
        assert before is not None, "an input for a workload that is not there"
        return core.step(before, what, self._clock.now_ns())

    def _take(self, client: int, packet: bytes | None) -> None:
        """One packet of a client."""
        if packet is None:
            message = f"a packet holds at most {protocol.PACKET_BYTES_MAX} bytes"
            return self._refuse(_Asker(client, 0), Reason.TOO_LARGE, message)
        request = protocol.decode(packet)
        if isinstance(request, Refusal):
            return self._server.send(client, protocol.refusal(request))
        asker = _Asker(client, request.number)
        match request.verb:
            case "hello":
                self._server.send(client, protocol.reply(request.number, self._hello()))
            case "list":
                after = request.fields["after"]
                views = [self._view(self._workloads[name]) for name in sorted(self._workloads) if name > after]
                self._server.send(client, protocol.reply(request.number, protocol.page(views)))
            case "usage":
                self._server.send(client, protocol.reply(request.number, self._usage(request.fields.get("after", ""))))
            case "memory":
                self._server.send(client, protocol.reply(request.number, self._memory(request.fields["after_ns"])))
            case "bound_log":
                self._bound_log(request, asker)
            case "start":
                self._start(request, asker)
            case "forget":
                self._forget(request, asker)
            case "open_saved" | "open_given":
                self._open(request, asker)
            case _:
                self._request(request, asker)
        return None

    def _open(self, request: Request, asker: _Asker) -> None:
        if self._folders is None or request.fields.get("uid", self._uid_min) < self._uid_min:
            return self._refuse(asker, Reason.NO_RIGHTS, "the folders are not made here, or not for this user")
        opened = self._folders.open_saved if request.verb == "open_saved" else self._folders.open_given
        try:
            descriptor = opened(**request.fields)
        except OSError as error:
            return self._refuse(asker, Reason.NO_FILE, f"{error.filename or request.verb}: {error.strerror}")
        try:
            self._server.send(asker.client, protocol.reply(asker.number, {}), descriptor)
        finally:
            os.close(descriptor)
        return None

    def _request(self, request: Request, asker: _Asker) -> None:
        fields = dict(request.fields)
        name, token = fields.pop("workload"), fields.pop("token")
        if self._fenced(name, token, asker) is not None:
            self._waiting.append(_Told(name, Input(Kind(request.verb), **fields), asker))

    def _bound_log(self, request: Request, asker: _Asker) -> None:
        name, token, bound = (request.fields[field] for field in ("workload", "token", "bytes"))
        if (entry := self._fenced(name, token, asker)) is not None:
            self._hands.bound_log(name, bound, writes=_writes(entry))
            self._server.send(asker.client, protocol.reply(asker.number, self._view(entry)))

    def _fenced(self, name: str, token: int, asker: _Asker) -> Workload | None:
        """A workload, as it runs under a token; who asks for another is refused."""
        entry = self._workloads.get(name)
        if entry is None:
            self._refuse(asker, Reason.UNKNOWN_WORKLOAD, f"no workload {name}")
        elif entry.spec.token != token:
            self._refuse(asker, Reason.STALE_TOKEN, f"{name} runs under token {entry.spec.token}")
        else:
            return entry
        return None

    def _start(self, request: Request, asker: _Asker) -> None:
        spec, term_end_ns = spec_of(request.fields)
        spec = replace(spec, group=self._hands.group_for(spec.workload), dump=self._hands.can_dump_own)
        known = self._workloads.get(spec.workload)
        if known is not None and known.spec.token != spec.token:
            return self._refuse(asker, Reason.CONFLICT, f"{spec.workload} is there, under token {known.spec.token}")
        if known is None and len(self._workloads) >= WORKLOADS_MAX:
            return self._refuse(asker, Reason.TOO_MANY, f"{WORKLOADS_MAX} workloads are there: forget some that ended")
        if spec.uid != self._own_uid != 0:
            return self._refuse(asker, Reason.NO_RIGHTS, f"uid {self._own_uid} cannot start work of uid {spec.uid}")
        if spec.uid < self._uid_min or (spec.gid < self._uid_min and not in_group(spec.uid, spec.gid)):
            whose = f"work of {spec.uid}:{spec.gid} is not started"
            message = f"{whose}: uid_min is {self._uid_min} in the airlock's settings"
            return self._refuse(asker, Reason.NO_RIGHTS, message)
        begun = core.begin(spec, term_end_ns, self._clock.now_ns())
        if isinstance(begun, Refused):
            return self._refuse(asker, Reason(begun), f"the term of {spec.workload} is over")
        self._waiting.append(_Told(spec.workload, begun, asker))
        return None

    def _forget(self, request: Request, asker: _Asker) -> None:
        name = request.fields["workload"]
        entry = self._workloads.get(name)
        if entry is not None:
            if entry.status.state is not State.ENDED or any(told.workload == name for told in self._waiting):
                return self._refuse(asker, Reason.NOT_NOW, f"{name} is {entry.status.state}")
            self._drop(name)
        return self._server.send(asker.client, protocol.reply(asker.number, {"workload": name}))

    def _drop(self, name: str) -> None:
        self._journal.commit([forget_record(name)])
        workload = self._workloads.pop(name)
        if self._guard is not None:
            self._guard.forget(workload)
        self._hands.forget(name)

    def _refuse(self, asker: _Asker | None, reason: Reason, message: str) -> None:
        if asker is not None:
            self._server.send(asker.client, protocol.refusal(Refusal(asker.number, reason, message)))

    def _hello(self) -> dict[str, Any]:
        return {name: str(row) for name, row in self._capabilities.items()}

    def _memory(self, after_ns: int) -> dict[str, Any]:
        if self._guard is None:
            return {"mode": "absent", "history": []}
        view = self._guard.view()
        latest = [entry for entry in reversed(self._guard.history) if entry["at_ns"] > after_ns]
        history = protocol.fitting(latest[: protocol.HISTORY_PAGE_MAX], protocol.PAGE_BYTES_MAX // 2)
        problems = dict(protocol.fitting(list(view["problems"].items()), protocol.PAGE_BYTES_MAX // 2))
        return {**view, "problems": problems, "history": history[::-1]}

    def _usage(self, after: str) -> dict[str, Any]:
        """Of what the agent side started; units of others are not its to pay for. The pages are of one look."""
        if not after or self._used is None:
            self._used = self._hands.usage(entry for entry in self._workloads.values() if not entry.spec.unit)
        own = self._used.get("", {})
        sums = [{"workload": name, **each} for name, each in sorted(self._used.items()) if name > after]
        page = protocol.fitting(sums, protocol.PAGE_BYTES_MAX)
        if len(page) == len(sums):
            self._used = None
        return {"airlock": own, "usage": page, "more": len(page) < len(sums)}

    def _act(self, workload: Workload, effects: tuple[Effect, ...]) -> None:
        outcomes = self._hands.act(workload, effects)
        self._waiting.extendleft(_Told(workload.spec.workload, told) for told in outcomes)

    def _look_at_logs(self, now_ns: int) -> None:
        if now_ns >= self._log_look_ns:
            self._log_look_ns = now_ns + LOG_LOOK_NS
            self._hands.look_at_logs(name for name, entry in self._workloads.items() if _writes(entry))

    def _view(self, workload: Workload) -> dict[str, Any]:
        return protocol.view(workload, str(self._hands.log(workload.spec.workload)))


def _under_way(entry: Workload) -> bool:
    """Whether a save for memory, or a proof, is on its way: what is saved at its term's end waits for an airlock."""
    status = entry.status
    saves = status.state in (State.SAVING, State.FLUSHING) or status.cause is Cause.MEMORY
    return saves and status.state is not State.ENDED and status.held is not Held.TERM


def _writes(entry: Workload) -> bool:
    """Whether there may be output to come: what ended has none, and an image counts on files as they were."""
    return entry.status.state not in (State.ENDED, State.PARKED)


def _is_over(entry: Workload) -> bool:
    return entry.status.state is State.ENDED


def spec_of(fields: dict[str, Any]) -> tuple[Spec, int]:
    """The spec and the term's end in ns that a checked `start` asks for."""
    rest = dict(fields)
    term_end_ns = rest.pop("term_end_ns")
    hook = rest.pop("hook")
    named = Hook(protocol.SIGNALS[hook["signal"]], hook["checkpoint"], hook["mark"]) if hook else None
    return Spec(**(rest | {"argv": tuple(rest["argv"]), "hook": named})), term_end_ns


def _record(before: Workload | None, after: Workload) -> Record:
    return new_record(after) if before is None else status_record(after)
