"""The airlock with real processes: start, hold, save, end, and what a term's end does with nobody connected."""

import json
import os
import select
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from airlock_rig import SECOND_NS, Rig, alive, eventually, now_ns, process_state

from tegd.airlock.adapters.containment import Sessions
from tegd.airlock.adapters.hands import Hands
from tegd.airlock.core import Input, Kind
from tegd.airlock.model import Hook, Spec, Status, Then, Way, Workload
from tegd.airlock.transitions import State


def test_exit_codes_and_output_are_kept(running: Rig) -> None:
    reply = running.run("a", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert reply["state"] == "running"
    ended = running.until("a", "ended")
    assert (ended["exit_code"], ended["cause"]) == (7, "exited")
    assert sorted(Path(ended["log"]).read_text().split()) == ["err", "out"]


def test_the_environment_is_what_was_asked_for_and_the_airlocks_own(running: Rig) -> None:
    running.run("a", "env", env={"PATH": os.environ["PATH"], "GIVEN": "yes"})
    log = running.until("a", "ended")["log"]
    found = dict(line.split("=", 1) for line in Path(log).read_text().split())
    assert found["GIVEN"] == "yes"
    assert found["TEG_WORKLOAD"] == "a"
    assert not {"TEG_CHECKPOINT", "HOME", "TEG_MARK"} & set(found)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("no-such-command",), "not found on the path"),
        (("/no/such/command",), "not found"),
        (("/etc/passwd",), "may not be executed"),
    ],
)
def test_what_cannot_be_executed_is_said_so(running: Rig, argv: tuple[str, ...], says: str) -> None:
    reply = running.run("a", *argv)
    assert (reply["ok"], reply["state"], reply["cause"]) == (True, "ended", "start_failed")
    assert says in reply["problem"]
    assert running.run("b", "true")["ok"]


def test_a_missing_working_folder_is_said_so(running: Rig) -> None:
    assert "/no/such/folder" in running.run("a", "true", cwd="/no/such/folder")["problem"]


def test_a_builtin_of_the_shell_is_not_taken_for_the_program(running: Rig) -> None:
    running.run("a", "exit", "3")
    assert running.listed()["a"]["cause"] == "start_failed"


def test_a_repeated_start_starts_nothing(running: Rig) -> None:
    first = running.work_on("a")
    running.working()
    assert running.work_on("a")["pid"] == first["pid"]
    assert running.work_on("a", token=2)["reason"] == "conflict"
    assert len(running.pids()) == 1


def test_a_stale_token_does_nothing(running: Rig) -> None:
    running.work_on("a", token=5)
    for verb, fields in {
        "end": {"grace_ns": 0},
        "extend": {"term_end_ns": 1},
        "freeze": {},
        "save": {"then": "end"},
        "bound": {"bytes": 1},
    }.items():
        assert running.call(verb, workload="a", token=4, **fields)["reason"] == "stale_token"
    assert running.listed()["a"]["state"] == "running"


def test_what_a_lease_has_bought_is_kept_over_a_crash(running: Rig) -> None:
    running.work_on("a")
    assert running.call("bound", workload="a", token=1, bytes=1 << 30)["bound_bytes"] == 1 << 30
    running.kill()
    running.start()
    assert running.listed()["a"]["bound_bytes"] == 1 << 30
    running.call("end", workload="a", token=1, grace_ns=0)
    running.until("a", "ended")
    assert running.call("bound", workload="a", token=1, bytes=0)["reason"] == "not_now"


def test_freeze_holds_every_process_of_a_workload(running: Rig) -> None:
    tree = "sh -c 'while :; do echo x >> child; done' & setsid sleep 60 & while :; do echo x >> parent; done"
    running.run("a", "sh", "-c", tree)
    files = [running.work / "child", running.work / "parent"]
    eventually(lambda: all(file.exists() for file in files), "both write")
    assert running.call("freeze", workload="a", token=1)["state"] == "frozen"
    sizes = [file.stat().st_size for file in files]
    time.sleep(0.05)
    assert [file.stat().st_size for file in files] == sizes
    assert running.call("thaw", workload="a", token=1)["state"] == "running"
    eventually(lambda: all(file.stat().st_size > size for file, size in zip(files, sizes, strict=True)), "both go on")


def test_the_end_takes_what_left_the_session(running: Rig) -> None:
    running.run("a", "sh", "-c", "setsid sh -c 'echo $$ > escaped; exec sleep 60' & sleep 60")
    escaped = running.work / "escaped"
    eventually(lambda: escaped.exists() and escaped.read_text().strip(), "a process has left")
    running.call("end", workload="a", token=1, grace_ns=0)
    assert running.until("a", "ended")["cause"] == "asked"
    eventually(lambda: not alive(int(escaped.read_text())), "it is gone")


def test_a_frozen_workload_can_be_ended(running: Rig) -> None:
    pid = running.work_on("a")["pid"]
    running.working()
    running.call("freeze", workload="a", token=1)
    assert process_state(pid) == "T"
    running.call("end", workload="a", token=1, grace_ns=0)
    assert running.until("a", "ended")["exit_code"] == 137


def test_an_end_with_grace_lets_it_clean_up(running: Rig) -> None:
    running.run("a", "sh", "-c", "trap 'echo clean; exit 4' TERM; echo up; while :; do sleep 0.01; done")
    log = running.listed()["a"]["log"]
    eventually(lambda: "up" in Path(log).read_text(), "it is up")
    running.call("end", workload="a", token=1, grace_ns=5 * SECOND_NS)
    ended = running.until("a", "ended")
    assert (ended["exit_code"], ended["cause"]) == (4, "asked")
    assert "clean" in Path(log).read_text()


def test_an_end_with_grace_does_not_wait_longer(running: Rig) -> None:
    running.run("a", "sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.01; done")
    log = running.listed()["a"]["log"]
    eventually(lambda: "up" in Path(log).read_text(), "it is up")
    running.call("end", workload="a", token=1, grace_ns=SECOND_NS // 5)
    assert running.until("a", "ended")["exit_code"] == 137


def test_a_signal_goes_to_the_command_alone(running: Rig) -> None:
    running.run("a", "sh", "-c", "trap 'echo got; exit 0' USR2; sh -c 'echo up; sleep 60' & wait")
    log = running.listed()["a"]["log"]
    eventually(lambda: "up" in Path(log).read_text(), "it is up")
    running.call("signal", workload="a", token=1, signum=12)
    assert running.until("a", "ended")["exit_code"] == 0
    assert "got" in Path(log).read_text()


def test_usage_sums_the_processes_of_each(running: Rig) -> None:
    running.run("a", sys.executable, "-S", "-c", "x = bytearray(50 << 20)\nwhile True: pass")
    running.run("b", "sleep", "60")

    def used() -> dict[str, dict[str, int]]:
        found = {entry["workload"]: entry for entry in running.call("usage")["usage"]}
        return found if found["a"]["rss_bytes"] > 50 << 20 and found["a"]["cpu_ns"] > 50_000_000 else {}

    found = eventually(used, "memory and time are seen")
    assert found["b"]["rss_bytes"] < 10 << 20
    assert found["b"]["processes"] == 2


# --- the hook -------------------------------------------------------------------------------------------------------


def test_a_save_is_durable_and_the_work_goes_on_from_it_elsewhere(running: Rig) -> None:
    running.work_on("a")
    running.working()
    running.call("save", workload="a", token=1, then="end")
    ended = running.until("a", "ended")
    assert ended["cause"] == "asked"
    assert ended["saved_ns"] > 0
    saved = int((running.work / "checkpoint").read_text())
    last = running.units()[-1]
    running.work_on("b", units=last + 50, resume=True)
    assert running.until("b", "ended")["exit_code"] == 9
    assert sorted(set(running.units())) == list(range(last + 50)), "no unit is lost"
    assert saved <= last + 1


def test_little_is_repeated_after_a_save(running: Rig) -> None:
    """The work is frozen in the tick that sees the mark: at 5 ms a unit, a handful is worked in vain, not dozens."""
    running.work_on("a")
    running.working()
    running.call("save", workload="a", token=1, then="end")
    running.until("a", "ended")
    assert running.units()[-1] - int((running.work / "checkpoint").read_text()) <= 20


def test_a_save_in_passing(running: Rig) -> None:
    running.work_on("a")
    running.working()
    running.call("save", workload="a", token=1, then="thaw")
    eventually(lambda: running.listed()["a"]["saved_ns"], "it is saved")
    assert running.until("a", "running")["exit_code"] is None
    running.working()


def test_a_save_asked_for_before_the_handler_is_there_does_not_kill(running: Rig) -> None:
    running.work_on("a")
    running.call("save", workload="a", token=1, then="end")
    assert running.until("a", "ended")["saved_ns"] > 0


def test_a_hook_that_leaves_after_its_save(running: Rig) -> None:
    running.work_on("a", behaviour="leaver")
    running.working()
    running.call("save", workload="a", token=1, then="end")
    ended = running.until("a", "ended")
    assert ended["saved_ns"] > 0
    assert ended["exit_code"] in {0, 137}, "gone, or frozen and then ended"


@pytest.mark.parametrize("behaviour", ["deaf", "liar"])
def test_a_hook_that_fails_costs_nothing(running: Rig, behaviour: str) -> None:
    running.work_on("a", behaviour=behaviour, save_ns=SECOND_NS // 5)
    running.working()
    running.call("save", workload="a", token=1, then="end")
    eventually(lambda: running.listed()["a"]["problem"], "the failure is told")
    assert running.listed()["a"]["state"] == "running"
    running.working()


def test_an_old_mark_is_not_taken_for_a_new_one(running: Rig) -> None:
    running.work_on("a", behaviour="deaf", save_ns=SECOND_NS // 5)
    running.working()
    (running.work / "mark").touch()
    (running.work / "checkpoint").write_text("0")
    running.call("save", workload="a", token=1, then="end")
    eventually(lambda: running.listed()["a"]["problem"], "the failure is told")
    assert running.listed()["a"]["saved_ns"] == 0


def test_work_without_a_hook_cannot_be_saved(running: Rig) -> None:
    running.run("a", "sleep", "60")
    assert running.call("save", workload="a", token=1, then="end")["reason"] == "no_hook"


# --- the term -------------------------------------------------------------------------------------------------------


def test_at_its_terms_end_work_is_saved_and_ended_with_nobody_connected(running: Rig) -> None:
    running.work_on("a", term_end_ns=now_ns() + SECOND_NS // 2)
    running.disconnect()
    eventually((running.work / "checkpoint").exists, "it is saved")
    running.connect()
    ended = running.until("a", "ended")
    assert (ended["cause"], ended["saved_ns"] > ended["term_end_ns"]) == ("term", True)


def test_work_that_cannot_be_saved_is_held_and_then_ended(running: Rig) -> None:
    term_end_ns = now_ns() + SECOND_NS // 3
    running.work_on("a", hook=None, term_end_ns=term_end_ns, notice_ns=SECOND_NS // 3)
    frozen = running.until("a", "frozen")
    assert frozen["held"] == "term"
    assert running.resting()
    ended = running.until("a", "ended")
    assert (ended["cause"], ended["exit_code"]) == ("term", 137)
    assert ended["since_ns"] >= term_end_ns + SECOND_NS // 3


def test_work_whose_save_fails_stays_frozen_past_its_term(running: Rig) -> None:
    running.work_on("a", behaviour="deaf", term_end_ns=now_ns() + SECOND_NS // 3, save_ns=SECOND_NS // 10)
    eventually(
        lambda: running.listed()["a"]["tries"] == 1 and running.listed()["a"]["state"] == "frozen", "one try failed"
    )
    assert running.resting()
    assert running.call("thaw", workload="a", token=1)["reason"] == "past_term"
    assert alive(running.pids()[0])


def test_an_extension_lets_held_work_run_on(running: Rig) -> None:
    running.work_on("a", hook=None, term_end_ns=now_ns() + SECOND_NS // 3, notice_ns=60 * SECOND_NS)
    running.until("a", "frozen")
    reply = running.call("extend", workload="a", token=1, term_end_ns=now_ns() + 60 * SECOND_NS)
    assert reply["state"] == "running"
    running.working()


def test_a_term_never_moves_back(running: Rig) -> None:
    later_ns = now_ns() + 60 * SECOND_NS
    running.work_on("a", term_end_ns=later_ns)
    assert running.call("extend", workload="a", token=1, term_end_ns=1)["term_end_ns"] == later_ns


def test_a_term_that_is_over_starts_nothing(running: Rig) -> None:
    assert running.run("a", "true", term_end_ns=1)["reason"] == "past_term"
    assert running.listed() == {}


# --- bad input, bounds, rights ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"\xff\xfe", "bad_request"),
        (b"[" * 30_000, "bad_request"),
        (b"[]", "bad_request"),
        (b'{"v": 2, "id": 1, "verb": "list", "after": ""}', "bad_request"),
        (b'{"v": 1, "id": 1, "verb": "explode"}', "unknown_verb"),
        (b'{"v": 1, "id": 1, "verb": "freeze", "workload": "../x", "token": 1}', "bad_request"),
        (b'{"v": 1, "id": 1, "verb": "list", "after": "", "limit": 3}', "bad_request"),
        (b'{"v": 1, "id": 1, "verb": "freeze", "workload": "x", "token": 1}', "unknown_workload"),
        (b" " * (65 << 10), "too_large"),
    ],
)
def test_bad_packets_are_answered_with_a_reason(running: Rig, packet: bytes, reason: str) -> None:
    assert running.raw(packet)["reason"] == reason
    assert running.call("hello")["ok"]


def test_forget_takes_only_what_has_ended(running: Rig) -> None:
    running.run("a", "sleep", "60")
    assert running.call("forget", workload="a")["reason"] == "not_now"
    running.call("end", workload="a", token=1, grace_ns=0)
    log = running.until("a", "ended")["log"]
    assert running.call("forget", workload="a")["ok"]
    assert running.listed() == {}
    assert not Path(log).exists()
    assert running.call("forget", workload="a")["ok"]


def test_a_log_is_held_to_the_bound_that_is_asked_for(running: Rig) -> None:
    """Also one that has ended; never to less than its end, and by who knows its token alone."""
    talk = "head -c 1000000 /dev/zero | tr '\\0' '\\n'"
    for name, then in (("a", "; exec sleep 60"), ("b", "")):
        log = Path(running.run(name, "sh", "-c", talk + then)["log"])
        eventually(lambda log=log: log.stat().st_size == 1_000_000, "it wrote")
    running.until("b", "ended")
    for fields, reason in ({"bytes": 1}, "bad_request"), ({"bytes": 1 << 40}, "bad_request"):
        assert running.call("bound_log", workload="a", token=1, **fields)["reason"] == reason
    assert running.call("bound_log", workload="a", token=2, bytes=65536)["reason"] == "stale_token"
    assert running.call("bound_log", workload="x", token=1, bytes=65536)["reason"] == "unknown_workload"
    for name in ("a", "b"):
        reply = running.call("bound_log", workload=name, token=1, bytes=65536)
        log = Path(reply["log"])
        said = log.with_name("log.kept")
        eventually(said.exists, "what is gone is said")
        assert json.loads(said.read_text()) == {
            "base": 0,
            "first": 1_000_000 - 65536,
            "lines": 1_000_000 - 65536,
            "bound": 65536,
        }
        assert said.stat().st_mode & 0o777 == 0o640
        assert log.read_bytes()[-65536:] == b"\n" * 65536


def test_a_second_airlock_is_refused(running: Rig) -> None:
    other = Rig.__new__(Rig)
    other.__dict__ |= running.__dict__ | {"link": None, "socket": running.folder / "other"}
    other.start()
    assert other.process.wait() == 69
    assert running.call("hello")["ok"]


def test_events_tell_the_whole_workload(running: Rig) -> None:
    running.run("a", "true")
    running.until("a", "ended")
    running.call("hello")
    assert [event["event"] for event in running.events] == ["started", "exited"]
    assert set(running.events[1]) - {"v", "event"} == set(running.listed()["a"])


def test_a_client_that_does_not_read_holds_nobody_up(running: Rig) -> None:
    sleeper = running.link
    running.link = None
    running.connect()
    request = {"v": 1, "verb": "list", "after": ""}
    for number in range(3000):
        try:
            sleeper.send(json.dumps(request | {"id": number}).encode())
        except OSError:
            break
    sleeper.close()
    assert running.run("a", "true")["ok"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start work of other users")
def test_work_runs_as_its_user(running: Rig) -> None:
    running.run("a", "sh", "-c", "id -u; id -g; cat /proc/self/oom_score_adj", uid=65534, gid=65534, cwd="/")
    ended = running.until("a", "ended")
    assert Path(ended["log"]).read_text().split() == ["65534", "65534", "0"]


def test_an_orderly_stop_leaves_nothing_frozen_by_request(running: Rig) -> None:
    pid = running.work_on("a")["pid"]
    running.working()
    running.call("freeze", workload="a", token=1)
    assert running.stop() == 0
    assert process_state(pid) in "SR"
    running.working()


def test_another_airlocks_work_of_the_same_name_is_left_alone(running: Rig, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Rig(tmp_path / "other")
    other.start()
    try:
        pid = other.run("a", "sleep", "60")["pid"]
        running.run("a", "true")
        running.until("a", "ended")
        assert alive(pid)
        assert other.listed()["a"]["state"] == "running"
    finally:
        other.clean_up()


def test_beside_a_dump_the_mark_of_a_hook_that_failed_says_nothing(tmp_path: Path) -> None:
    with select.epoll() as epoll:
        hands = Hands(tmp_path, Sessions(tmp_path), epoll)
        hook = Hook(signal.SIGUSR1, str(tmp_path / "checkpoint"), str(tmp_path / "mark"))
        spec = Spec("w", 1, 2, ("true",), {}, "/", 0, 0, hook, notice_ns=50, save_ns=100, resume=False, dump=True)
        (tmp_path / "mark").touch()
        dumped = Workload(spec, Status(State.SAVING, 0, 0, by=Way.DUMP, then=Then.PARK))
        assert hands.look(dumped) == []
        assert hands.look(replace(dumped, status=replace(dumped.status, by=Way.HOOK))) == [Input(Kind.MARKED)]
