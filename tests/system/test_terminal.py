"""`tegctl run --pty`: a job has the terminal that it was typed at, on a real stack and a real pseudo-terminal."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tegcore.wire import control
from tegctl.session import Session
from tegctl.stack import Stack, StackSettings

LIMIT_S = 30.0
LEADER = [sys.executable, "-c", "import os, sys; os.login_tty(0); os.execvp(sys.argv[1], sys.argv[1:])"]
SETTINGS = StackSettings(
    zone="pty",
    ledger={"zone_k": 1, "market": "fixed"},
    governor={"zone_k": 1},
    host={"host": "pty", "log2_slots": 1},
)


class Typed:
    """A terminal at which `tegctl run --pty` was typed."""

    def __init__(self, state: Path, *words: str, rows: int = 24, columns: int = 80, **env: str) -> None:
        self.own, theirs = pty.openpty()
        os.set_blocking(self.own, False)
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.own)
        command = [*LEADER, sys.executable, "-m", "tegctl.main", "--state", str(state), "run", "--pty", *words]
        env = os.environ | {"TERM": "xterm", "PS1": "$ "} | env
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
        self.follower = theirs
        self.said = ""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.own, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self) -> str:
        with contextlib.suppress(OSError):
            while part := os.read(self.own, 65536):
                self.said += part.decode(errors="replace")
        return self.said

    def type(self, text: str) -> None:
        os.write(self.own, text.encode())

    def shows(self, pattern: str) -> None:
        until(lambda: re.search(pattern, self.read()), lambda: f"{pattern!r} is shown; it was\n{self.said}")

    def ended(self) -> int:
        until(lambda: self.read() and self.process.poll() is not None, lambda: f"it ends; it said\n{self.said}")
        self.read()
        assert termios.tcgetattr(self.own) == self.before, "the terminal is as it was"
        return int(self.process.returncode)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for descriptor in (self.own, self.follower):
            with contextlib.suppress(OSError):
                os.close(descriptor)


def until(probe: Callable[[], Any], what: Callable[[], str]) -> None:
    until_s = time.monotonic() + LIMIT_S
    while not probe():
        assert time.monotonic() < until_s, what()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("terminal") / "s", SETTINGS)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def typed(stack: Stack) -> Iterator[Callable[..., Typed]]:
    made: list[Typed] = []

    def make(*words: str, **how: Any) -> Typed:
        made.append(Typed(stack.state_dir, *words, **how))
        return made[-1]

    yield make
    for each in made:
        each.close()


def job(stack: Stack, name: str) -> dict[str, Any]:
    rows = Session(stack.state_dir, "json").ask("tegd", control.Workloads())
    return next((row for row in rows if row["name"] == name), {"life": "", "run": ""})


def over(stack: Stack, name: str) -> None:
    until(lambda: job(stack, name)["life"] == "ended", lambda: f"{name} is over: {job(stack, name)}")


def test_a_shell_has_keys_a_size_and_an_exit_code(stack: Stack, typed: Callable[..., Typed]) -> None:
    at = typed("--name", "shell", "--", "sh", "-i", rows=30, columns=101)
    at.shows(r"\$ $")
    at.type("test -t 0 && test -t 2 && stty size && echo slots=$TEG_SLOTS in $(pwd)\n")
    at.shows(rf"30 101\r\nslots=\d in {re.escape(str(Path.cwd()))}\r\n")
    at.resize(50, 132)
    at.process.send_signal(signal.SIGWINCH)  # the kernel does, where it is the foreground
    at.type("sleep 1; stty size\n")
    at.shows(r"50 132")
    at.type("sleep 300\n")
    time.sleep(0.5)
    at.type("\x03")
    at.type("echo after: $?\n")
    at.shows(r"after: 130")
    assert job(stack, "shell")["run"] == "running", "Ctrl-C is a key"
    at.type("exit 7\n")
    assert at.ended() == 7
    assert job(stack, "shell")["exit_code"] == 7


def test_all_that_a_command_shows_comes_before_its_end(stack: Stack, typed: Callable[..., Typed]) -> None:
    at = typed("--", "sh", "-c", "seq 1 20000; sleep 30 & echo last")
    code = at.ended()
    assert code == 0
    shown = at.said.split()
    assert [word for word in shown if word.isdigit()][-20000:] == [str(number) for number in range(1, 20001)]
    assert shown[-1] == "last"


def test_what_cannot_be_executed_says_so(typed: Callable[..., Typed]) -> None:
    at = typed("--", "no-such-program")
    assert at.ended() == 126
    assert "no-such-program cannot be executed" in at.said


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_client_that_is_ended_leaves_the_terminal_as_it_was_and_no_job(
    stack: Stack, typed: Callable[..., Typed], signum: int
) -> None:
    name = f"left-{signum}"
    at = typed("--name", name, "--", "sh", "-i")
    at.shows(r"\$ $")
    at.process.send_signal(signum)
    assert at.ended() == 128 + signum
    over(stack, name)


def test_a_client_that_is_killed_leaves_no_job(stack: Stack, typed: Callable[..., Typed]) -> None:
    at = typed("--name", "orphan", "--", "sh", "-c", "trap '' HUP; echo up; sleep 300; sleep 300")
    at.shows("up")
    at.process.kill()
    over(stack, "orphan")


def test_a_job_that_is_cancelled_gives_the_terminal_back(stack: Stack, typed: Callable[..., Typed]) -> None:
    at = typed("--name", "unwanted", "--", "sh", "-i")
    at.shows(r"\$ $")
    Session(stack.state_dir, "json").ask("tegd", control.CancelWorkload(name="unwanted"))
    assert at.ended() != 0
    assert "cancelled" in at.said
    over(stack, "unwanted")


def test_what_waits_for_its_turn_is_cancelled_by_ctrl_c(stack: Stack, typed: Callable[..., Typed]) -> None:
    holder = typed("--name", "holder", "--slots", "2", "--", "sh", "-c", "echo up; sleep 300")
    holder.shows("up")
    at = typed("--name", "late", "--", "sh", "-i")
    at.shows("while it waits")
    at.type("\x03")
    assert at.ended() != 0
    assert "late was cancelled" in at.said
    over(stack, "late")
    holder.process.send_signal(signal.SIGTERM)
    assert holder.ended() == 143
    over(stack, "holder")


def test_a_daemon_that_goes_away_is_not_noticed(stack: Stack, typed: Callable[..., Typed]) -> None:
    """The terminal does not pass through it; where it is back the exit code is known."""
    at = typed("--name", "steady", "--", "sh", "-i")
    at.shows(r"\$ $")
    os.kill(stack.pid("tegd"), signal.SIGKILL)
    at.type("echo still $((40 + 2))\n")
    at.shows("still 42")
    at.type("exit 3\n")

    def tended() -> bool:
        stack.tend()
        return at.process.poll() is not None

    until(tended, lambda: f"it ends; it said {at.read()}")
    assert at.ended() == 3


def test_what_is_no_terminal_is_said(stack: Stack) -> None:
    words = [sys.executable, "-m", "tegctl.main", "--state", str(stack.state_dir), "run"]
    done = subprocess.run([*words, "--pty", "--", "sh"], input="", capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "--pty gives the job this terminal, and standard input or output here is none" in done.stderr
    done = subprocess.run([*words, "--pty", "-d", "--", "sh"], input="", capture_output=True, text=True, check=False)
    assert done.returncode == 64
    assert "--detach does not go with it" in done.stderr


def test_a_large_paste_comes_whole_while_it_is_echoed(typed: Callable[..., Typed]) -> None:
    """Each side waited for the other to read."""
    at = typed("--", "sh", "-c", "echo ready; cat; echo all")
    at.shows("ready")
    paste, sent = (b"x" * 79 + b"\n") * 12_500 + b"\x04", 0
    until_s = time.monotonic() + LIMIT_S
    while sent < len(paste):
        assert time.monotonic() < until_s, f"{sent} bytes went in"
        readable, writable, _ = select.select([at.own], [at.own], [], 0.5)
        if readable:
            at.said = (at.said + os.read(at.own, 65536).decode())[-1000:]
        if writable:
            with contextlib.suppress(BlockingIOError):
                sent += os.write(at.own, paste[sent : sent + 4096])
    at.shows("all")
    assert at.ended() == 0
