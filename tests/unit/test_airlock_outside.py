"""What comes to the airlock side from outside: packets, command lines, kernel files, and what users write there."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegcore.clock import VirtualClock
from tegcore.errors import ConfigError, JournalError
from tegd.airlock import __main__ as wiring
from tegd.airlock import comeback, deadman, guard, protocol
from tegd.airlock.adapters import beside, flush, launch, memory, procfs, reclaim, room, units
from tegd.airlock.adapters.cgroupfs import Cgroups
from tegd.airlock.adapters.containment import Leader, Sessions, command_process, send
from tegd.airlock.adapters.hands import Hands
from tegd.airlock.adapters.journal import Journal, new_record
from tegd.airlock.core import Input, Kind, Step
from tegd.airlock.frames import FRAME_BYTES_MAX, encode
from tegd.airlock.model import Hook, Spec, Status, Workload
from tegd.airlock.phases import Phase
from tegd.airlock.protocol import Reason, Refusal, Request
from tegd.airlock.service import Airlock, _Told
from tegd.airlock.settings import AirlockSettings
from tegd.airlock.transitions import State

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
NOBODY = 65534
SPEC = Spec("w", 1, 2, ("true",), {}, "/", 0, 0, None, 1, 1, resume=False)
START: dict[str, Any] = {
    "v": 1,
    "id": 1,
    "verb": "start",
    "workload": "1.1",
    "token": 1,
    "lease": 1,
    "argv": ["true"],
    "env": {},
    "cwd": "/",
    "uid": 1000,
    "gid": 1000,
    "hook": None,
    "term_end_ns": 0,
    "notice_ns": 0,
    "save_ns": 0,
    "grace_ns": 0,
    "resume": False,
    "rank": 0,
}


def eventually(probe: Callable[[], Any]) -> Any:
    until = time.monotonic() + 10
    while not (found := probe()):
        assert time.monotonic() < until
        time.sleep(0.005)
    return found


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


# --- packets ----------------------------------------------------------------------------------------------------------


def decoded(**changes: object) -> Request | Refusal:
    return protocol.decode(json.dumps(START | changes).encode())


@pytest.mark.parametrize(
    "changes",
    [
        {"uid": 2**32 - 1},
        {"gid": 2**40},
        {"argv": ["true", "\ud800"]},
        {"env": {"A": "\udfff"}},
        {"cwd": "/" + "x" * 4096},
        {"hook": {"signal": [], "checkpoint": "/c", "mark": "/m"}},
        {"hook": {"signal": "SIGUSR1", "checkpoint": "/" + "c" * 5000, "mark": "/m"}},
    ],
)
def test_what_no_system_call_takes_is_refused_in_the_packet(changes: dict[str, object]) -> None:
    assert isinstance(decoded(), Request)
    refused = decoded(**changes)
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.BAD_REQUEST


class Told:
    """In the place of the socket: what was answered."""

    def __init__(self) -> None:
        self.packets: list[dict[str, Any]] = []

    def send(self, _client: int, packet: bytes, *_: object) -> None:
        assert len(packet) <= protocol.PACKET_BYTES_MAX
        self.packets.append(json.loads(packet))

    def broadcast(self, packet: bytes) -> None:
        self.send(0, packet)


class Idle:
    """Hands that do nothing."""

    can_dump_own = False

    def __init__(self) -> None:
        self.used: dict[str, dict[str, int]] = {}

    def group_for(self, _name: str) -> str:
        return ""

    def act(self, _workload: Workload, _effects: object) -> list[Input]:
        return []

    def usage(self, workloads: Any) -> dict[str, dict[str, int]]:
        sums = {"rss_bytes": 1 << 40, "cpu_ns": 1 << 60, "processes": 9999}
        return {"": sums} | {entry.spec.workload: sums for entry in workloads}

    def log(self, name: str) -> str:
        return f"/log/{name}"

    def forget(self, _name: str) -> None:
        pass

    def done(self, _descriptor: int, _workloads: object) -> list[tuple[str, Input]]:
        return [("gone", Input(Kind.FLUSHED))]

    def look_at_logs(self, _names: object) -> None:
        pass


def airlock(tmp_path: Path, **others: Any) -> tuple[Airlock, Told]:
    told = Told()
    made = Airlock(
        journal=Journal(tmp_path, "boot"),
        hands=others.pop("hands", Idle()),
        capabilities={},
        epoll=others.pop("epoll", None),
        server=told,  # type: ignore[arg-type]
        clock=VirtualClock(10),
        own_uid=others.pop("own_uid", 0),
        **others,
    )
    return made, told


def test_the_agent_side_cannot_have_work_started_in_a_group_that_its_user_is_not_in(tmp_path: Path) -> None:
    """Whoever is in the group `disk` has the disk."""
    side, told = airlock(tmp_path, uid_min=1000)
    ask = {name: value for name, value in START.items() if name not in ("v", "id", "verb")}
    for number, (uid, gid, taken) in enumerate(((1000, 6, False), (1000, 0, False), (1000, 1000, True), (5, 5, False))):
        fields = ask | {"workload": f"{number}.1", "uid": uid, "gid": gid}
        side._take(1, json.dumps({"v": 1, "id": number, "verb": "start", **fields}).encode())
        side._settle()
        assert (told.packets[-1]["ok"], told.packets[-1].get("reason")) == (taken, None if taken else "no_rights")


def test_many_that_come_at_once_are_journaled_in_frames_of_a_bounded_size(tmp_path: Path) -> None:
    side, _ = airlock(tmp_path)
    large = replace(SPEC, argv=("x" * 16_000, *["\udcff" * 16_000] * 2))
    assert len(encode([new_record(Workload(large, Status(State.RUNNING, 1, 0)))])) * 64 > FRAME_BYTES_MAX
    for number in range(64):
        entry = Workload(replace(large, workload=f"w{number}"), Status(State.RUNNING, 1, 0))
        side._waiting.append(_Told(entry.spec.workload, Step(entry, (), ())))
    side._settle()
    assert len(Journal(tmp_path, "boot").workloads) == 64


def test_answers_fit_in_a_packet_however_many_there_are(tmp_path: Path) -> None:
    side, told = airlock(tmp_path)
    for number in range(1000):
        spec = replace(SPEC, workload=f"w{number}".ljust(200, "x"), unit="" if number % 2 else f"{number}.service")
        side._workloads[spec.workload] = Workload(spec, Status(State.RUNNING, 1, 0))
    side._take(1, b'{"v": 1, "id": 1, "verb": "usage"}')
    used = told.packets[-1]["usage"]
    assert len(used) > 100
    assert not any(side._workloads[entry["workload"]].spec.unit for entry in used)
    problems = {f"w{number}": "x" * 300 for number in range(1000)}
    history = [{"at_ns": number, "acts": ["hold " + "x" * 60] * 33, "why": "x" * 300} for number in range(1, 257)]
    side._guard = SimpleNamespace(view=lambda: {"problems": problems}, history=history)  # type: ignore[assignment]
    side._take(1, b'{"v": 1, "id": 1, "verb": "memory", "after_ns": 0}')
    assert told.packets[-1]["history"] == history[-len(told.packets[-1]["history"]) :]
    assert len(told.packets[-1]["history"]) > 5


class Once:
    """In the place of the epoll: one descriptor is ready."""

    def poll(self, _seconds: float) -> list[tuple[int, int]]:
        return [(7, 1)]


def test_a_flush_that_ends_after_its_workload_was_forgotten_means_nothing(tmp_path: Path) -> None:
    """A slow disk may take longer than its workload lives."""
    side, told = airlock(tmp_path, epoll=Once())
    told.owns = lambda _descriptor: False  # type: ignore[attr-defined]
    side.turn()


def test_what_starts_a_workload_may_end_after_it_was_forgotten_or_ended(tmp_path: Path) -> None:
    cleared: list[str] = []
    holder = Sessions(tmp_path)
    holder.clear = lambda leader: cleared.append(leader.workload)  # type: ignore[method-assign]
    hands = Hands(tmp_path, holder, select.epoll())
    for workload in (None, Workload(SPEC, Status(State.ENDED, 1, 0))):
        child = subprocess.Popen(["true"])
        hands._starts(Workload(SPEC, Status(State.STARTING, 1, 0)), child.pid)
        (descriptor,) = hands._watched
        assert hands.ended(descriptor, workload) == []
        child.wait()
    assert cleared == ["w", "w"]


def test_who_is_forgotten_leaves_nothing_behind_in_the_hands(tmp_path: Path) -> None:
    groups = Cgroups(tmp_path)
    hands = Hands(tmp_path, groups, select.epoll())
    groups.placed["w"] = groups.adopted["w"] = tmp_path / "g"
    hands._flushing["w"] = 1
    hands.forget("w")
    assert (groups.placed, groups.adopted, hands._flushing) == ({}, {}, {})


# --- what a unit says of itself ---------------------------------------------------------------------------------------


def unquoted(line: str) -> list[str]:
    """The words of an ExecStart= line as systemd.syntax(7) has it: one line, quotes, C escapes, doubled % and $."""
    assert line.isascii()
    assert line.isprintable()
    words, at = [], 0
    while at < len(line):
        assert line[at] == '"'
        word, at = bytearray(), at + 1
        while line[at] != '"':
            if line[at] == "\\":
                code = {"x": line[at + 2 : at + 4], "\\": "5c", '"': "22"}[line[at + 1]]
                word.append(int(code, 16))
                at += 4 if line[at + 1] == "x" else 2
            else:
                if line[at] in "%$":
                    assert line[at + 1] == line[at]
                    at += 1
                word.append(ord(line[at]))
                at += 1
        words.append(os.fsdecode(bytes(word)))
        at += 2
    return words


@given(st.lists(st.binary(max_size=20).filter(lambda word: b"\0" not in word), min_size=1, max_size=4))
def test_no_word_of_a_command_ends_its_line_or_means_anything_to_the_manager(words: list[bytes]) -> None:
    """Also a CR ends a line of a unit, and bytes that are no text are still the command's."""
    argv = [os.fsdecode(word) for word in words]
    assert unquoted(" ".join(map(comeback.word_of_command, argv))) == argv


def adopted(tmp_path: Path, environment: dict[str, str], name: str = "a.service") -> tuple[Workload | None, Any]:
    main = procfs.process(os.getpid())
    assert main is not None
    unit = units.Unit(name, tmp_path, main, environment, 0, 0, "/")
    made = guard.Guard.__new__(guard.Guard)
    made._units = SimpleNamespace(unit=lambda _name: unit)  # type: ignore[assignment]
    made._settings = AirlockSettings()
    made._hands = SimpleNamespace(can_dump=False)  # type: ignore[assignment]
    made._problems = {}
    made._lines = SimpleQueue()
    return made._adopted(name, 1), made


def test_a_scope_is_not_saved_by_its_hook_for_nothing_could_start_it_again(tmp_path: Path) -> None:
    said = {"TEG_CHECKPOINT": "/c"}
    entry, _ = adopted(tmp_path, said)
    assert entry is not None
    assert entry.spec.hook == Hook(10, "/c", "/c")
    entry, made = adopted(tmp_path, said, "a.scope")
    assert entry is not None
    assert entry.spec.hook is None
    assert "scope" in made._problems["a.scope"]


@pytest.mark.parametrize(
    "said",
    [
        {"TEG_RANK": "nan"},
        {"TEG_RANK": "inf"},
        {"TEG_CHECKPOINT": "/" + "c" * 5000},
        {"TEG_CHECKPOINT": "/c", "TEG_RESUME": "x" * 5000},
    ],
)
def test_what_a_unit_says_is_bounded_and_can_be_compared(said: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        AirlockSettings().of_unit("a.service", said)


def test_a_long_command_is_read_up_to_its_bound() -> None:
    with subprocess.Popen(["sleep", "60", *["0" * 1000] * 100]) as child:
        eventually(lambda: (procfs.process(child.pid) or child).state == "S")  # type: ignore[union-attr]
        read = units._read(f"/proc/{child.pid}/cmdline", units.ARGV_BYTES_MAX + 1)
        assert len(read) == units.ARGV_BYTES_MAX + 1
        child.kill()


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("", (False, None)),
        ("ran\n", (True, None)),
        ("ran\n3\n", (True, 3)),
        ("sh: warning: setlocale: LC_ALL: cannot change locale\nran\n3\n", (True, 3)),
        ("ran\nnot a number\n", (True, None)),
        ("ran\n" + "9" * 5000 + "\n", (True, None)),
        ("ran\n3", (True, None)),
    ],
)
def test_a_keepers_file_is_believed_as_far_as_it_makes_sense(
    tmp_path: Path, text: str, means: tuple[bool, int | None]
) -> None:
    (tmp_path / "status").write_text(text)
    assert launch.exit_status(tmp_path) == means


@ROOT
def test_a_user_in_many_groups_is_read_to_the_end() -> None:
    script = "import os,signal,time; signal.signal(10, print); os.setgroups(range(100000, 101000)); print(flush=True);"
    with subprocess.Popen([sys.executable, "-c", script + "time.sleep(60)"], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert procfs.catches(child.pid, signal.SIGUSR1)
        assert not procfs.catches(child.pid, signal.SIGUSR2)
        assert procfs.private_bytes(child.pid) > 100_000
        child.kill()


def test_a_kernel_without_swap_costs_no_descriptor_a_look(tmp_path: Path) -> None:
    (tmp_path / "memory.stat").write_text("anon 4096\nshmem 0\n")
    (tmp_path / "memory.events").write_text("high 3\n")
    reader = memory.GroupReader()
    before = open_files()
    assert {reader.group(tmp_path) for _ in range(50)} == {memory.GroupMemory(4096, 0, 3)}
    assert open_files() <= before + 2
    (tmp_path / "memory.events").unlink()
    reader.forget(tmp_path)
    assert {reader.group(tmp_path) for _ in range(50)} == {memory.GroupMemory(0, 0, 0)}
    assert open_files() <= before


def test_a_swap_file_may_be_called_anything(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 100 kB\nMemAvailable: 50 kB\n")
    (tmp_path / "swaps").write_text("Filename Type Size Used Priority\n/data/zram-swap file 1000 400 -2\n")
    seen = memory.MemoryReader(tmp_path, tmp_path).host()
    assert (seen.swap_free_bytes, seen.zram_free_bytes) == (600 << 10, 0)


def test_a_journal_of_another_release_is_refused_with_a_reason(tmp_path: Path) -> None:
    Journal(tmp_path, "boot").close()
    for record in ({"workload": "nobody", "status": {}}, {"spec": {"colour": "red"}}, {"forget": "nobody"}):
        with (tmp_path / "airlock.journal").open("wb") as file:
            file.write(encode([{"boot": "boot"}]) + encode([record]))
        with pytest.raises(JournalError, match="release"):
            Journal(tmp_path, "boot")


# --- rights and pids --------------------------------------------------------------------------------------------------


@ROOT
def test_an_old_mark_is_taken_away_with_its_users_rights_and_no_other_thread_loses_its_own(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.touch(0o600)
    looks: SimpleQueue[bool] = SimpleQueue()
    asked = threading.Semaphore(0)

    def look() -> None:
        asked.acquire()
        try:
            looks.put(closed.read_text() == "")
        except PermissionError:
            looks.put(False)

    looker = threading.Thread(target=look)
    looker.start()
    with launch._as_user(NOBODY, NOBODY):
        asked.release()
        looker.join()
        with pytest.raises(PermissionError):
            closed.read_text()
    assert closed.read_text() == ""
    assert looks.get()


@ROOT
def test_who_may_not_act_as_another_does_not_go_on_as_itself() -> None:
    os.seteuid(NOBODY)
    try:
        with pytest.raises(PermissionError), launch._as_user(1, 1):
            pass
    finally:
        os.seteuid(0)


def test_a_pid_that_is_another_process_by_now_is_not_signalled() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        found = procfs.process(child.pid)
        assert found is not None
        send(found._replace(start_ticks=found.start_ticks - 1), signal.SIGKILL)
        assert child.poll() is None
        send(found, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    send(found, signal.SIGKILL)


def test_a_child_is_the_command_once_it_is_no_copy_of_its_keeper_any_more() -> None:
    """A save that was asked for in between was heard by nobody."""
    script = "import os,time\nif os.fork() == 0:\n    input()\n    os.execvp('sleep', ['sleep', '60'])\ntime.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as keeper:
        assert keeper.stdin is not None

        def children() -> list[procfs.Process]:
            return [found for found in procfs.processes() if found.parent == keeper.pid]

        (child,) = eventually(children)
        found = procfs.process(keeper.pid)
        assert found is not None
        leader = Leader("w", keeper.pid, found.start_ticks)
        assert command_process(leader, children()) is None
        keeper.stdin.write(b"\n")
        keeper.stdin.flush()
        became = eventually(lambda: command_process(leader, children()))
        assert became.pid == child.pid
        send(became, signal.SIGKILL)
        keeper.kill()


@ROOT
def test_what_is_another_users_by_now_holds_up_nobody_else() -> None:
    """As a set-user-ID program in a session, where the airlock has no rights."""
    with subprocess.Popen(["sleep", "60"]) as child:
        found = procfs.process(child.pid)
        assert found is not None
        os.seteuid(NOBODY)
        try:
            send(found, signal.SIGSTOP)
        finally:
            os.seteuid(0)
        child.kill()


# --- threads and signals ----------------------------------------------------------------------------------------------


def test_a_thread_that_ends_by_a_fault_ends_the_airlock() -> None:
    script = (
        "import threading, time; from tegd.airlock import __main__ as wiring\n"
        "threading.excepthook = wiring._end_with\n"
        "threading.Thread(target=lambda: [].pop()).start(); time.sleep(60)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert b"IndexError" in ended.stderr


def test_a_signal_wakes_the_loop_once() -> None:
    epoll = select.epoll()
    before = signal.getsignal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        wiring._wake_by_signals(epoll)
        signal.raise_signal(signal.SIGUSR1)
        assert epoll.poll(1.0)
        assert not epoll.poll(0)
        signal.raise_signal(signal.SIGUSR1)
        assert epoll.poll(1.0)
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGUSR1, before)


def test_limits_that_are_taken_away_are_not_remembered_for_ever(tmp_path: Path) -> None:
    limits = reclaim.Reclaimer()
    for number in range(100):
        limits.limit(tmp_path / str(number), 0)
    assert not limits._unbound


def test_a_file_server_that_does_not_answer_holds_up_no_look_at_other_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, real = threading.Event(), os.statvfs

    def statvfs(path: Path) -> os.statvfs_result:
        if path.name.startswith("dead"):
            answers.wait()
        return real(tmp_path)

    monkeypatch.setattr(os, "statvfs", statvfs)
    looked = room.Room()
    dead = [tmp_path / f"dead{number}" for number in range(5)]
    try:
        assert [looked.free_bytes(folder) for folder in dead] == [0] * 5
        assert eventually(lambda: looked.free_bytes(tmp_path / "alive")) > 0
        (tmp_path / "file").write_text("12345")
        assert eventually(lambda: looked.file_bytes(tmp_path / "file")) == 5
        assert looked.file_bytes(tmp_path / "none") == 0
        for folder in dead:
            looked.forget(folder)
    finally:
        answers.set()
    eventually(lambda: not looked._looking)
    assert looked._seen.keys() & set(dead) == set(), "who was forgotten while it was looked at stays so"


def test_a_checkpoint_that_cannot_be_made_durable_holds_up_no_other_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, order = threading.Event(), []

    def slowly(job: flush.Job) -> flush.Flushed:
        name = job.workload.spec.workload
        if name == "dead":
            answers.wait()
        order.append((name, job.workload.status.since_ns))
        return flush.Flushed(name, job.workload.status.since_ns, "")

    def job(name: str, since_ns: int) -> flush.Job:
        workload = Workload(replace(SPEC, workload=name), Status(State.FLUSHING, since_ns, 0))
        return flush.Job(workload, None, tmp_path, list)

    monkeypatch.setattr(flush, "flushed", slowly)
    flusher = flush.Flusher()
    for name, since_ns in (("dead", 1), ("dead", 2), ("a", 3), ("b", 4)):
        flusher.flush(job(name, since_ns))
    done: list[str] = []
    eventually(lambda: done.extend(told.workload for told in flusher.done()) or len(done) == 2)
    assert sorted(done) == ["a", "b"]
    answers.set()
    eventually(lambda: len(order) == 4)
    assert order[2:] == [("dead", 1), ("dead", 2)], "those of one workload go one after the other"


def test_jobs_beside_the_loop_take_a_bounded_number_of_threads() -> None:
    go, begun = threading.Event(), []

    def wait(number: int) -> None:
        begun.append(number)
        go.wait()

    jobs = beside.Beside("test")
    for number in range(200):
        jobs.do(number, partial(wait, number))
    eventually(lambda: len(begun) == beside.THREADS_MAX)
    assert jobs._threads == beside.THREADS_MAX
    go.set()
    eventually(lambda: sorted(begun) == list(range(200)))


def test_lines_of_log_that_nobody_takes_are_bounded() -> None:
    made = guard.Guard.__new__(guard.Guard)
    made._lines = SimpleQueue()
    for _ in range(guard.LINES_MAX + 100):
        made._tell("x")
    assert made._lines.qsize() == guard.LINES_MAX


def test_of_a_decision_about_many_some_are_named_and_the_others_counted() -> None:
    made = guard.Guard.__new__(guard.Guard)
    made._lines, made.history = SimpleQueue(), []  # type: ignore[assignment]
    made._settings = AirlockSettings()
    made._last_asked = (Phase.NORMAL, frozenset())
    made._airlock = guard.Airlock(phase=Phase.SUSPENDED)
    requests = [guard.Request(guard.Act.HOLD, f"w{number}") for number in range(1000)]
    reading = guard.Reading(1, 1, 1, 1, 1, 1, 1, 1, ())
    made._note(Phase.NORMAL, reading, requests, 1)
    assert made.history[0]["acts"][-1] == f"and {1000 - guard.ACTS_NOTED_MAX} more"


def test_units_beyond_the_bound_are_said_and_left() -> None:
    made = guard.Guard.__new__(guard.Guard)
    made._find_ns, made._problems, made._settings = 0, {}, AirlockSettings()
    names = [f"{number}.service" for number in range(guard.UNITS_MAX + 5)]
    made._units = SimpleNamespace(names=lambda: names)  # type: ignore[assignment]
    made._adopted = lambda name, _now_ns: Workload(replace(SPEC, workload=name, unit=name), Status(State.RUNNING, 1, 0))  # type: ignore[method-assign]
    assert len(made.found({}, 1)) == guard.UNITS_MAX
    assert "not all" in made._problems["units"]
    made._find_ns, names[1:] = 0, []
    made.found({}, 1)
    assert made._problems == {}


# --- the deadman ------------------------------------------------------------------------------------------------------


def test_a_workload_that_cannot_be_let_go_does_not_keep_the_others_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dealt: list[str] = []
    watcher = deadman.Deadman(tmp_path, 0.0)

    def deal_with(workload: Workload) -> None:
        dealt.append(workload.spec.workload)
        if workload.spec.workload == "a":
            raise OSError("its group does not answer")

    known = [Workload(replace(SPEC, workload=name), Status(State.FROZEN, 1, 0)) for name in "ab"]
    there = iter([False, True])
    monkeypatch.setattr(watcher, "_known", lambda: known)
    monkeypatch.setattr(watcher, "_deal_with", deal_with)
    monkeypatch.setattr(watcher, "_there_is_one", lambda: next(there))
    watcher.act()
    assert dealt == ["a", "b"]


class Held(Sessions):
    """In the place of what holds processes: notes what was done."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.did: list[tuple[str, str]] = []

    def freeze(self, leader: Leader) -> None:
        self.did.append((leader.workload, "freeze"))

    def thaw(self, leader: Leader) -> None:
        self.did.append((leader.workload, "thaw"))

    def kill(self, leader: Leader) -> None:
        self.did.append((leader.workload, "kill"))

    def thin(self, leader: Leader, parts: object) -> None:
        pass


def test_a_checkpoint_that_cannot_be_made_durable_keeps_nobody_held_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, held = threading.Event(), Held(tmp_path)
    mine = procfs.process(os.getpid())
    assert mine is not None

    def known(name: str, rank: float, state: State) -> Workload:
        spec = replace(SPEC, workload=name, rank=rank, hook=Hook(10, "/c", "/m"))
        return Workload(spec, Status(state, 1, 0, pid=mine.pid, start_ticks=mine.start_ticks))

    def flushed(job: flush.Job) -> flush.Flushed:
        if job.workload.spec.workload == "dead":
            answers.wait()
        return flush.Flushed(job.workload.spec.workload, 1, "")

    works = [known("dead", 3, State.FLUSHING), known("whole", 2, State.FLUSHING), known("weak", 1, State.FROZEN)]
    watcher = deadman.Deadman(tmp_path, 0.0)
    monkeypatch.setattr(flush, "flushed", flushed)
    monkeypatch.setattr(watcher, "_known", lambda: works)
    monkeypatch.setattr(watcher, "_containment", lambda _: held)
    monkeypatch.setattr(watcher, "_there_is_one", lambda: {("whole", "kill"), ("dead", "thaw")} <= set(held.did))
    monkeypatch.setattr(deadman, "_LOOK_S_MAX", 0.3)
    watcher.act()
    answers.set()
    assert held.did.index(("weak", "thaw")) < held.did.index(("dead", "thaw"))
    assert ("dead", "kill") not in held.did
