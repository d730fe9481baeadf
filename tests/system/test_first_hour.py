"""The first hour: `up`, `run` and what people expect of both, typed as they type it, against a real stack."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from system import zone as zones

from tegcore.wire import control
from tegctl.session import Session

TEGCTL = f"{sys.executable} -m tegctl.main"
LIMIT_S = 90.0
_LEAD = (
    "import fcntl, os, signal as s, sys, termios as t; os.setsid(); fcntl.ioctl(0, t.TIOCSCTTY, 0); "
    "s.signal(s.SIGINT, s.SIG_DFL); s.signal(s.SIGHUP, s.SIG_DFL); "
)
LEADER = [sys.executable, "-c", _LEAD + "os.execv(sys.argv[1], sys.argv[1:])"]
"""The terminal is its own, so that its keys and its closing are heard, also where the tests run in the background."""


class Up:
    """`tegctl up` in a terminal of its own, and what is typed beside it."""

    def __init__(self, state: Path, *options: str, **env: str) -> None:
        self.state, self.options, self.env = state, options, env
        self.session = Session(state, "json")
        self.said = ""

    def start(self) -> "Up":
        own, theirs = pty.openpty()
        os.set_blocking(own, False)
        words = [*TEGCTL.split(), "--state", str(self.state), "up", *self.options]

        self.terminal = own
        self.process = subprocess.Popen(
            [*LEADER, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ | self.env
        )
        os.close(theirs)
        self.until(lambda: "all parts answer" in self.read() or self.process.poll() is not None, "it is up")
        assert self.process.poll() is None, self.said
        return self

    def read(self) -> str:
        while True:
            try:
                part = os.read(self.terminal, 65536)
            except OSError:
                return self.said
            if not part:
                return self.said
            self.said += part.decode(errors="replace")

    def until(self, probe: Callable[[], Any], what: str) -> Any:
        until_s = time.monotonic() + LIMIT_S
        while time.monotonic() < until_s:
            if found := probe():
                return found
            time.sleep(0.05)
        raise AssertionError(f"{what}: not within {LIMIT_S:g} s; it said\n{self.read()}")

    def press_ctrl_c(self) -> None:
        os.write(self.terminal, b"\x03")

    def close_terminal(self) -> None:
        self.read()
        os.close(self.terminal)

    def ended(self) -> int:
        code = self.until(lambda: self.process.poll() is not None and [self.process.returncode], "it ends")[0]
        self.read()
        return int(code)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.ended()
        for process in sleepers(self):
            process.kill()

    def typed(self, line: str, **how: Any) -> subprocess.CompletedProcess[str]:
        line = line.replace("tegctl ", f"{TEGCTL} --state {self.state} ")
        return subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=LIMIT_S, check=False, **how)

    def begin(self, line: str) -> subprocess.Popen[str]:
        line = "exec " + line.replace("tegctl ", f"{TEGCTL} --state {self.state} ")
        pipe = subprocess.PIPE
        return subprocess.Popen(["sh", "-c", line], stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)

    def work(self, name: str) -> dict[str, Any]:
        rows = self.session.ask("tegd", control.Workloads())
        return next((row for row in rows if row["name"] == name), {"run": "", "life": ""})

    def counted(self) -> dict[tuple[str, str], int]:
        return Counter((row["life"], row["run"]) for row in self.session.ask("tegd", control.Workloads()))

    def runs(self, name: str) -> bool:
        return bool(self.work(name)["run"] == "running")


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Starts stacks in one state folder, one after the other; what is left of the last is ended."""
    made: list[Up] = []

    def start(*options: str) -> Up:
        made.append(Up(tmp_path / "s", *options).start())
        return made[-1]

    yield start
    for up in made:
        up.stop()


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    made = Up(tmp_path_factory.mktemp("up"), "--slots", "6", TEG_TEGD_SLOTS_AS='["CUDA_VISIBLE_DEVICES"]').start()
    yield made
    made.stop()


# --- run --------------------------------------------------------------------------------------------------------------


def test_it_runs_as_if_it_ran_here(up: Up, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "my-program"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$FOO in $(pwd) with $(umask) and $(ulimit -S -c)"\n')
    program.chmod(0o755)
    env = os.environ | {"FOO": "bär", "PATH": f"{program.parent}:{os.environ['PATH']}"}
    done = up.typed("umask 027; ulimit -S -c 0; tegctl run -- my-program", cwd=tmp_path, env=env)
    assert (done.returncode, done.stdout) == (0, f"bär in {tmp_path} with 0027 and 0\n"), done.stderr


def test_standard_input_is_its_own(up: Up) -> None:
    done = up.typed("echo abc | tegctl run -- cat")
    assert (done.returncode, done.stdout) == (0, "abc\n"), done.stderr
    assert up.typed("echo abc | tegctl run --input none -- cat").stdout == ""


def test_options_of_the_command_are_the_commands(up: Up) -> None:
    assert up.typed("tegctl run ls -d /tmp").stdout == "/tmp\n"


def test_the_lease_says_which_slots_whatever_the_environment_says(up: Up) -> None:
    line = "CUDA_VISIBLE_DEVICES=0,1,2,3 tegctl run --name shown -- sh -c 'echo $CUDA_VISIBLE_DEVICES; echo $TEG_SLOTS'"
    done = up.typed(line)
    seen, told = done.stdout.split()
    assert seen == told
    assert "," not in seen
    assert "CUDA_VISIBLE_DEVICES" in done.stderr
    history = up.session.ask("tegd", control.Why(name="shown"))["history"]
    assert any("CUDA_VISIBLE_DEVICES" in step["text"] for step in history)


def test_the_environment_is_nowhere_but_with_its_work(up: Up) -> None:
    secret = "s3cr3t-" + "0123456789abcdef"
    done = up.typed("tegctl run --name kept -- sh -c 'test -n \"$SECRET\"'", env=os.environ | {"SECRET": secret})
    assert done.returncode == 0, done.stderr
    for words in ("why kept", "-o json why kept", "agents", "-o json agents", "logs kept"):
        assert secret not in up.typed(f"tegctl {words}").stdout
    held = [path for path in up.state.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert held, "it is kept, for a start elsewhere or again"
    for path in held:
        assert path.stat().st_mode & 0o777 == 0o600, path
        assert not path.suffix or path.suffix not in {".log", ".journal", ".sqlite"}, path


def test_six_slots_are_offered(up: Up) -> None:
    host = up.session.ask("ledger", control.Hosts())[0]
    assert (host["slots"], host["free"]) == (6, 6)
    done = up.typed("tegctl run --slots 4+2 -- sh -c 'echo $TEG_SLOTS'")
    assert done.stdout == "0,1,2,3,4,5\n", done.stderr


# --- up ---------------------------------------------------------------------------------------------------------------


def test_48_slots_are_offered_and_the_next_up_takes_up_its_folders_size(begin: Callable[..., Up]) -> None:
    up = begin("--slots", "48")
    host = up.session.ask("ledger", control.Hosts())[0]
    assert (host["slots"], host["free"]) == (48, 48)
    done = up.typed("tegctl run --slots 32+16 -- sh -c 'echo $TEG_SLOTS'")
    assert done.stdout == ",".join(map(str, range(48))) + "\n", done.stderr
    up.stop()
    again = begin()
    host = again.session.ask("ledger", control.Hosts())[0]
    assert (host["slots"], host["free"]) == (48, 48), "as it was made"
    again.stop()
    refused = again.typed("tegctl up --slots 65")
    assert refused.returncode == 64
    assert "has 64 slots at most" in refused.stderr
    assert "--state" in refused.stderr


SPIN = f"{sys.executable} -m tegctl.samples.spin --units 400 --pause-ms 100"


def has_begun(up: Up) -> None:
    """The one that can be saved has done some of its units, of 100 ms each."""
    up.until(lambda: "from unit 0" in up.typed("tegctl logs saved").stdout, "it has begun")
    time.sleep(1.0)


def start_three(up: Up) -> None:
    """One that can be saved, one that cannot, one that waits."""
    up.typed(f"tegctl run -d --name saved --hook -- {SPIN}")
    up.typed("tegctl run -d --name plain -- sleep 300")
    up.until(lambda: up.runs("saved") and up.runs("plain"), "both run")
    up.typed("tegctl run -d --name waiting --slots 2 -- echo waited")
    has_begun(up)


def sleepers(up: Up) -> list[psutil.Process]:
    """What still runs of that stack."""
    mark = f"{up.state}"
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        environ = process.info["environ"] or {}
        words = " ".join(process.info["cmdline"] or [])
        if environ.get("TEG_AIRLOCK", "").startswith(mark) or mark in words:
            found.append(process)
    return found


ENDINGS: list[tuple[str, Callable[[Up], None]]] = [
    ("ctrl-c", Up.press_ctrl_c),
    ("closed", Up.close_terminal),
    ("sigterm", lambda up: up.process.send_signal(signal.SIGTERM)),
]


@pytest.mark.parametrize(("how", "end"), ENDINGS)
def test_a_stop_saves_ends_and_says_which_and_the_next_up_goes_on(
    begin: Callable[..., Up], how: str, end: Callable[[Up], None]
) -> None:
    up = begin("--slots", "2")
    start_three(up)
    end(up)
    up.ended()
    assert not sleepers(up), "nothing is left unwatched"
    if how != "closed":
        assert "saved, and goes on at the next `tegctl up`: saved" in up.said
        assert "starts again from its beginning at the next `tegctl up`: plain" in up.said
        assert "waiting" in up.said.split("waits for the next `tegctl up`:")[1]
    again = begin("--slots", "2")
    try:
        again.until(lambda: again.work("waiting")["life"] == "ended", "what waited had its turn")
        again.until(lambda: again.runs("saved"), "what was saved goes on")
        log = again.until(
            lambda: (said := again.typed("tegctl logs saved").stdout).count("from unit") > 1 and said, "it"
        )
        assert log.count("from unit 0") == 1, "it goes on from its checkpoint"
        again.until(lambda: again.runs("plain"), "it begins anew")
        again.typed("tegctl cancel saved")
    finally:
        again.stop()


def test_what_is_left_running_is_said_and_taken_up_again(begin: Callable[..., Up]) -> None:
    up = begin("--slots", "2", "--keep")
    line = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do echo $i; sleep 1; done"
    watcher = up.begin(f"tegctl run --name plain -- sh -c '{line}'")
    up.until(lambda: up.runs("plain"), "it runs")
    up.press_ctrl_c()
    assert up.ended() == 0
    assert "left running (--keep); the next `tegctl up` takes it up again: plain" in up.said
    assert [process for process in sleepers(up) if process.is_running()], "it goes on"
    _, said = watcher.communicate(timeout=LIMIT_S)
    assert watcher.returncode == 69
    assert "plain goes on" in said
    again = begin("--slots", "2")
    try:
        again.until(lambda: again.work("plain")["life"] == "ended", "it came to its own end")
        assert again.work("plain")["exit_code"] == 0
        assert again.typed("tegctl logs plain").stdout.split() == [str(number) for number in range(1, 21)]
    finally:
        again.stop()


def test_an_attached_run_says_what_becomes_of_its_job_when_all_is_stopped(begin: Callable[..., Up]) -> None:
    up = begin("--slots", "2")
    saved = up.begin(f"tegctl run --name saved --hook -- {SPIN}")
    plain = up.begin("tegctl run --name plain -- sleep 300")
    up.until(lambda: up.runs("saved") and up.runs("plain"), "both run")
    has_begun(up)
    up.press_ctrl_c()
    up.ended()
    assert "saved was saved, and goes on at the next `tegctl up`" in saved.communicate(timeout=LIMIT_S)[1]
    assert "plain was ended" in plain.communicate(timeout=LIMIT_S)[1]
    assert (saved.returncode, plain.returncode) == (69, 69)


def test_an_attached_run_goes_on_when_its_daemon_is_back(begin: Callable[..., Up]) -> None:
    up = begin("--slots", "2")
    try:
        line = "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.5; done"
        watcher = up.begin(f"tegctl run --name plain -- sh -c '{line}'")
        up.until(lambda: up.runs("plain"), "it runs")
        tegd = next(p for p in sleepers(up) if "tegd.main" in " ".join(p.cmdline()))
        tegd.kill()
        out, said = watcher.communicate(timeout=LIMIT_S)
        assert (watcher.returncode, out.split()) == (0, [str(number) for number in range(1, 9)]), said
    finally:
        up.stop()


def test_the_second_ctrl_c_is_quick(begin: Callable[..., Up]) -> None:
    up = begin("--slots", "2")
    deaf = "import signal, time; signal.signal(signal.SIGUSR1, lambda *_: time.sleep(600)); time.sleep(600)"
    up.typed(f'tegctl run -d --name deaf --hook -- {sys.executable} -c "{deaf}"')
    up.until(lambda: up.runs("deaf"), "it runs")
    time.sleep(1.0)  # its handler is there
    up.press_ctrl_c()
    up.until(lambda: "Ctrl-C again" in up.read(), "it says that it saves")
    begun_s = time.monotonic()
    up.press_ctrl_c()
    up.ended()
    assert time.monotonic() - begun_s < 6.0
    assert not sleepers(up)


def test_all_of_several_hundred_are_ended(begin: Callable[..., Up], tmp_path: Path) -> None:
    """More than one page of the airlock's list holds."""
    up = begin("--slots", "1")
    specs = "".join('[[workload]]\nargv = ["sleep", "600"]\nshare_permille = 3\n' for _ in range(300))
    (tmp_path / "many.toml").write_text(specs)
    assert up.typed(f"tegctl submit {tmp_path / 'many.toml'}").returncode == 0
    try:
        up.until(lambda: up.counted() == {("seated", "running"): 300}, "all run")
    finally:
        print(up.counted())
    up.press_ctrl_c()
    up.ended()
    assert not sleepers(up)


# --- a host that lacks what work needs --------------------------------------------------------------------------------


class Plain(zones.Zone):
    """A zone on the built-in broker, without certificates: all within this machine."""

    def _broker(self) -> zones.Part:
        words = [sys.executable, "-m", "tegio.broker", "--port", str(self.port)]
        return zones.Part(words, self.folder / "broker.log")

    def broker_url(self, port: int) -> str:
        return f"mqtt://127.0.0.1:{port}"

    def tls(self, name: str) -> dict[str, Any]:
        return {}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plain]:
    """Hosts a and b, of two slots each; what a has in `only-a` cannot be seen on b."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "only-a" / "data").mkdir(parents=True)
    program = folder / "only-a" / "program"
    program.write_text("#!/bin/sh\necho ran in $(pwd)\n")
    program.chmod(0o755)
    zone = Plain(folder)
    hide = f'mount -t tmpfs none {folder}/only-a && exec "$@"'
    zone["b"].airlock.argv = ["unshare", "-m", "sh", "-c", hide, "sh", *zone["b"].airlock.argv]
    try:
        yield zone.start()
    finally:
        zone.stop()


can_unshare = pytest.mark.skipif(
    subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0,
    reason="only who may make a mount namespace can hide a file from one host",
)


@can_unshare
@pytest.mark.parametrize("lacking", ["program", "folder"])
def test_work_goes_elsewhere_where_a_host_lacks_what_it_needs(two: Plain, lacking: str) -> None:
    place = two.folder / "only-a"
    spec: dict[str, Any] = {"argv": ("program",), "env": {"PATH": f"{place}:/usr/bin:/bin"}, "cwd": "/"}
    if lacking == "folder":
        spec = {"argv": ("sh", "-c", "echo ran in $(pwd)"), "cwd": str(place / "data")}
    names = [two["a"].submit(**spec) for _ in range(8)]
    two.until(lambda: all(two["a"].work(name)["life"] == "ended" for name in names), LIMIT_S)
    assert {name: two["a"].work(name)["exit_code"] for name in names} == dict.fromkeys(names, 0)
    assert all(two["a"].log(name).startswith("ran in /") for name in names)
    stories = [" ".join(step["text"] for step in two["a"].why(name)["history"]) for name in names]
    avoided = [story for story in stories if "avoids b" in story]
    assert avoided, "some sat there first"
    assert all("only-a" in story for story in avoided), "and the cause is named"


@can_unshare
def test_what_no_host_can_run_ends_and_says_why(two: Plain) -> None:
    name = two["a"].submit(argv=("no-such-program",), cwd="/")
    two.until(lambda: two["a"].work(name)["life"] == "ended", LIMIT_S)
    assert two["a"].work(name)["exit_code"] == 126
    assert "no-such-program was not found" in two["a"].work(name)["outcome"]
