"""Output is a log: who follows it sees each line or is told how many are gone, on this host and from another."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from system.up import Maker, Up
from system.zone import MOSQUITTO, Zone

from tegcore.wire import control

pytestmark = [pytest.mark.slow, pytest.mark.system]

LINES, WIDTH, CODE = 400_000, 195, 7
"""78 MB: more than is kept of one log."""
TALKER = f"""
import sys, time
for number in range({LINES}):
    print(f"{{number:0{WIDTH - 1}d}}", flush=number == 99)
    if number == 99:
        time.sleep(5)
    if number % 4000 == 3999:
        time.sleep(0.1)
sys.exit({CODE})
"""
TOLD = re.compile(r"([\d,]+) lines were dropped here")
LIMIT_S = 120.0
LONG_S = 15 * 60
BURSTS = f"""
import random, sys, time
draw, number, until_s = random.Random(1), 0, time.monotonic() + {LONG_S}
while time.monotonic() < until_s:
    for _ in range(draw.choice((1, 1, 1, 10, 1000, 20_000, 200_000))):
        print(f"{{number:0{WIDTH - 1}d}}")
        number += 1
    sys.stdout.flush()
    time.sleep(draw.random() * 8)
open("lines", "w").write(str(number))
sys.exit({CODE})
"""


@pytest.fixture
def zone(tmp_path: Path) -> Iterator[Zone]:
    made = Zone(tmp_path)
    try:
        yield made.start()
    finally:
        made.stop()


def accounted(output: bytes, said: str, lines: int = LINES) -> tuple[int, int]:
    """Lines that arrived, each once and in order, and lines that were told to be gone; together they are all."""
    numbers = [int(line) for line in output.splitlines() if len(line) == WIDTH - 1]
    assert b"\0" not in output, "a hole was read"
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == lines - 1, f"it ended early, at line {numbers[-1] + 1}"
    told = sum(int(count.replace(",", "")) for count in TOLD.findall(said))
    assert len(numbers) + told == lines, said
    return len(numbers), told


@pytest.mark.parametrize("stopped", [False, True], ids=["follows", "was_stopped"])
def test_who_runs_it_attached_sees_each_line_or_is_told_how_many_are_gone(
    up: Maker, tmp_path: Path, *, stopped: bool
) -> None:
    """It prints more than is kept; who looks on may stand still meanwhile."""
    host = up(1, "fixed")
    words = ["run", "--name", "talker", "--", sys.executable, "-c", TALKER]
    command = [sys.executable, "-m", "tegctl.main", "--state", str(host.stack.state_dir), *words]
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        run = subprocess.Popen(command, stdout=out, stderr=err, cwd=host.folder)
        if stopped:
            host.until(lambda: (tmp_path / "out").stat().st_size > 0, LIMIT_S)
            run.send_signal(signal.SIGSTOP)
            host.until(lambda: host.life("talker") == "ended", LIMIT_S)
            run.send_signal(signal.SIGCONT)
        code = run.wait(LIMIT_S)
    said = (tmp_path / "err").read_text()
    assert code == CODE, said
    arrived, told = accounted((tmp_path / "out").read_bytes(), said)
    assert (told > 0) is stopped, f"{arrived} arrived"

    later = subprocess.run([*command[:5], "logs", "talker"], capture_output=True, check=True)
    arrived, told = accounted(later.stdout, later.stderr.decode())
    assert told > 0
    assert arrived * WIDTH > 60 << 20
    last = subprocess.run([*command[:5], "logs", "-n", "3", "talker"], capture_output=True, check=True)
    assert [int(line) for line in last.stdout.split()] == [LINES - 3, LINES - 2, LINES - 1]


@pytest.mark.long
def test_a_quarter_of_an_hour_of_bursts_is_followed_through_stops_and_kills(up: Maker, tmp_path: Path) -> None:
    """Who looks on stands still now and then; each side of tegd is killed now and then."""
    host = up(1, "fixed", {})
    command = [sys.executable, "-m", "tegctl.main", "--state", str(host.stack.state_dir)]
    draw = random.Random(2)
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        words = ["run", "--name", "talker", "--", sys.executable, "-c", BURSTS]
        run = subprocess.Popen([*command, *words], stdout=out, stderr=err, cwd=host.folder)
        until_s = time.monotonic() + LONG_S + 2 * LIMIT_S
        while run.poll() is None:
            assert time.monotonic() < until_s, (tmp_path / "err").read_text()
            fault = draw.choice(("stop", "stop", "tegd", "airlock", "none"))
            begun_s, still_s = time.monotonic(), draw.random() * 40
            if fault == "stop":
                run.send_signal(signal.SIGSTOP)
            elif fault != "none":
                os.kill(host.stack.pid(fault), signal.SIGKILL)
            while time.monotonic() - begun_s < still_s:
                host.stack.tend()
                time.sleep(0.1)
            run.send_signal(signal.SIGCONT)
            for _ in range(50):
                host.stack.tend()
                time.sleep(0.1)
    said = (tmp_path / "err").read_text()
    assert run.returncode == CODE, said
    lines = int((host.folder / "lines").read_text())
    arrived, told = accounted((tmp_path / "out").read_bytes(), said, lines)
    assert lines > LINES
    print(f"{lines} lines, {arrived} arrived, {told} told, {len(TOLD.findall(said))} notices")


def test_the_output_of_a_tenant_is_held_to_its_share_and_that_is_told(tmp_path: Path) -> None:
    """Of work that runs and of work that is over; a small log is left alone."""
    share, lines = 4 << 20, 60_000
    host = Up(tmp_path, 4, "fixed", {})
    shipped = host.stack._settings
    host.stack._settings = replace(shipped, host={**shipped.host, "tenant_log_bytes": share})
    try:
        host.start()
        for name, more in (("over", ""), ("runs", "; sleep 600"), ("small", "; sleep 600")):
            count = 10 if name == "small" else lines
            host.run(name, argv=("sh", "-c", f"seq -f %099.0f {count}{more}"))
        host.until(lambda: host.life("over") == "ended", LIMIT_S)
        for name in ("over", "runs"):
            host.until(lambda name=name: host.why(name).get("log"), LIMIT_S)
            told = host.why(name)["log"]
            assert (told["lines"] * 100, told["share"]) == (told["bytes"], share)
            words = [sys.executable, "-m", "tegctl.main", "--state", str(host.stack.state_dir), "logs", name]
            shown = subprocess.run(words, capture_output=True, check=True)
            assert len(shown.stdout.splitlines()) + told["lines"] == lines
            assert f"... {told['lines']:,} lines were dropped here" in shown.stderr.decode()
            assert "over its share of this host" in shown.stderr.decode()
        assert len(host.tegctl("logs", "small").splitlines()) == 10
        assert "are kept:" in host.tegctl("why", "runs")
    finally:
        host.stack.stop()


@pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")
def test_output_of_work_elsewhere_is_followed_beyond_what_is_kept(zone: Zone) -> None:
    zone.operate(control.DrainHost(host="a", on=True, key=1))
    name = zone["a"].submit(argv=(sys.executable, "-c", TALKER))
    zone.until(lambda: zone["a"].work(name)["life"] == "away", LIMIT_S)
    command = [sys.executable, "-m", "tegctl.main", "--state", str(zone["a"].state)]
    followed = subprocess.run([*command, "logs", "-f", name], capture_output=True, check=True, timeout=LIMIT_S)
    accounted(followed.stdout, followed.stderr.decode())
    zone.until(lambda: zone["a"].work(name)["life"] == "ended", LIMIT_S)
    home = subprocess.run([*command, "logs", name], capture_output=True, check=True)
    _, told = accounted(home.stdout, home.stderr.decode())
    assert told > 0
    recent = subprocess.run([*command, "logs", "--since", "1h", "-n", "2", name], capture_output=True, check=True)
    assert len(recent.stdout.split()) == 2
