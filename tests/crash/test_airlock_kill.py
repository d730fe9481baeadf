"""kill -9 of the airlock at each boundary: before and after every commit and every act.

After the restart each workload runs or is held by a journaled step that goes on, nothing was started twice, no exit
code and no unit of work is lost, and what was asked for is there when it is asked for again.
"""

import itertools
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from airlock_rig import SECOND_NS, Dead, Rig, alive, eventually, now_ns

from tegd.airlock.adapters.journal import Journal, status_record
from tegd.airlock.transitions import State

BOUNDARIES_MAX = 60


def boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def life_with_save(rig: Rig) -> None:
    """Start, save, end: the way of an eviction."""
    rig.work_on("a")
    if rig.listed()["a"]["state"] == "running":
        eventually(rig.units, "work has begun")
        rig.call("save", workload="a", token=1, then="end")
    ended = rig.until("a", "ended")
    assert (ended["saved_ns"] > 0, ended["cause"]) == (True, "asked")
    assert int((rig.work / "checkpoint").read_text()) >= 1


def life_to_its_end(rig: Rig) -> None:
    """Start, end by itself."""
    rig.work_on("a", units=5)
    ended = rig.until("a", "ended")
    assert (ended["exit_code"], ended["cause"]) == (9, "exited")
    assert rig.units() == list(range(5)), "once, and whole"


def life_past_its_term(rig: Rig) -> None:
    """Start, be held at the term's end, be ended after notice."""
    rig.work_on("a", hook=None, term_end_ns=now_ns() + SECOND_NS // 8, notice_ns=SECOND_NS // 20)
    ended = rig.until("a", "ended")
    assert ended["cause"] == "term"


def life_frozen_and_thawed(rig: Rig) -> None:
    """Start, freeze, thaw, end with grace."""
    rig.work_on("a")
    if rig.listed()["a"]["state"] != "ending":
        for verb in ("freeze", "thaw"):
            if rig.listed()["a"]["state"] in {"running", "frozen"}:
                rig.call(verb, workload="a", token=1)
        rig.call("end", workload="a", token=1, grace_ns=SECOND_NS // 20)
    assert rig.until("a", "ended")["cause"] == "asked"


@pytest.mark.parametrize("life", [life_with_save, life_to_its_end, life_past_its_term, life_frozen_and_thawed])
def test_killed_at_every_boundary_the_life_goes_on(rig: Rig, life: Callable[[Rig], None]) -> None:
    for boundary in itertools.count(1):
        assert boundary < BOUNDARIES_MAX, "a life without end"
        for name in ("units", "pids", "checkpoint", "mark"):
            (rig.work / name).unlink(missing_ok=True)
        rig.start(die_at=boundary)
        try:
            life(rig)
            survived = True
        except Dead:
            survived = False
            rig.process.wait()
            rig.start()
            life(rig)
        assert len(rig.pids()) <= 1, f"started twice when killed at boundary {boundary}"
        eventually(lambda: not any(map(alive, rig.pids())), "nothing is left running")
        if survived:
            assert boundary > 8, "it was killed where it lives"
            return
        rig.call("forget", workload="a")
        rig.kill()


def test_killed_at_random_times_under_load_nothing_is_lost_or_doubled(rig: Rig) -> None:
    draw = random.Random(1)
    rig.start()
    names = [f"w{number}" for number in range(6)]
    for name in names:
        (rig.work / name).mkdir()
    for _ in range(8):
        try:
            for name in draw.sample(names, 3):
                rig.run(name, "sh", "-c", f"echo x >> {name}/started; sleep 0.4; exit {names.index(name)}")
            rig.call("usage")
            time.sleep(draw.uniform(0, 0.05))
        except Dead:
            pass
        rig.kill()
        rig.start()
    for index, name in enumerate(names):
        rig.run(name, "sh", "-c", f"echo x >> {name}/started; sleep 0.4; exit {index}")
        ended = rig.until(name, "ended")
        assert (ended["exit_code"], ended["cause"]) == (index, "exited")
        assert (rig.work / name / "started").read_text() == "x\n", f"{name} was started twice"


def test_an_exit_that_nobody_saw_is_known_afterwards(rig: Rig) -> None:
    rig.start()
    rig.run("a", "sh", "-c", "sleep 0.2; exit 5")
    pid = rig.listed()["a"]["pid"]
    rig.kill()
    eventually(lambda: not alive(pid), "the work has ended")
    rig.start()
    ended = rig.listed()["a"]
    assert (ended["state"], ended["exit_code"], ended["cause"]) == ("ended", 5, "exited")


def test_a_term_that_ended_meanwhile_is_enforced_at_once(rig: Rig) -> None:
    rig.start()
    rig.work_on("a", term_end_ns=now_ns() + SECOND_NS // 3)
    rig.working()
    rig.kill()
    time.sleep(0.4)
    rig.start()
    ended = rig.until("a", "ended")
    assert (ended["cause"], ended["saved_ns"] > 0) == ("term", True)


def test_running_work_that_was_stopped_behind_our_back_runs_within_two_seconds(rig: Rig) -> None:
    """As after a crash between a thaw's record and its act."""
    rig.start()
    rig.work_on("a")
    rig.working()
    rig.kill()
    for pid in rig.pids():
        os.kill(pid, signal.SIGSTOP)
    assert rig.resting()
    started = time.monotonic()
    rig.start()
    rig.working()
    assert time.monotonic() - started < 2


def test_a_checkpoint_is_made_durable_though_its_program_left_meanwhile(rig: Rig) -> None:
    """The airlock was killed while it flushed, and the program, frozen too late, had gone."""
    rig.start()
    rig.work_on("a", units=5)
    rig.kill()
    eventually(lambda: len(rig.units()) == 5 and not any(map(alive, rig.pids())), "the work has ended")
    (rig.work / "checkpoint").write_text("5")
    journal = Journal(rig.state_dir, boot())
    entry = journal.workloads["a"]
    flushing = replace(entry.status, state=State.FLUSHING, deadline_ns=now_ns() + 60 * SECOND_NS)
    journal.commit([status_record(replace(entry, status=flushing))])
    journal.close()
    rig.start()
    ended = rig.until("a", "ended")
    assert (ended["saved_ns"] > 0, ended["exit_code"]) == (True, 9)


def test_a_pid_in_use_again_is_not_taken_for_the_work(rig: Rig) -> None:
    """The journal names a leader by pid and start time; here it is given a pid of someone else's."""
    rig.start()
    rig.run("a", "sleep", "60")
    rig.kill()
    journal = Journal(rig.state_dir, boot())
    entry = journal.workloads["a"]
    leader = entry.status.pid
    time.sleep(2 / os.sysconf("SC_CLK_TCK"))  # the kernel counts start times in these
    with subprocess.Popen(["sleep", "5"], start_new_session=True) as stranger:
        journal.commit([status_record(replace(entry, status=replace(entry.status, pid=stranger.pid)))])
        journal.close()
        rig.start()
        assert rig.listed()["a"]["state"] == "ended"
        assert stranger.poll() is None, "a stranger was killed"
        stranger.kill()
    eventually(lambda: not alive(leader), "what carries its mark is gone")


def test_after_a_reboot_all_work_is_lost_and_said_so(rig: Rig) -> None:
    rig.start()
    pid = rig.run("a", "sleep", "60")["pid"]
    rig.kill()
    Journal(rig.state_dir, "another boot").close()
    rig.start()
    entry = rig.listed()["a"]
    assert (entry["state"], entry["cause"], entry["exit_code"]) == ("ended", "lost", None)
    eventually(lambda: not alive(pid), "in this test there was no reboot, so what carries its mark is ended")


def test_a_damaged_journal_is_not_guessed_at(rig: Rig, capfd: pytest.CaptureFixture[str]) -> None:
    rig.start()
    rig.run("a", "sleep", "60")
    rig.kill()
    path = rig.state_dir / "airlock.journal"
    whole = path.read_bytes()
    path.write_bytes(whole[:20] + b"!" + whole[21:])
    rig.start()
    assert rig.process.wait() == 74
    assert "damaged at byte 0" in capfd.readouterr().err
    path.write_bytes(whole)
