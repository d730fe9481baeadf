"""What people see: on a terminal of 80 columns nothing that they need is cut, and a screen is of one moment."""

import asyncio
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tegcore.wire import control
from tegctl import render
from tegio.control import ControlServer, Peer

NAME = "toobig-transformer-run-2026"
WORKS = [
    {
        "name": NAME,
        "ref": 12,
        "tenant": "ada",
        "user": "ada",
        "life": "seated",
        "state": "running",
        "reason": "",
        "reason_text": "",
        "age_s": 4_000,
        "slots": 4,
        "hosts": ["gpu-host-17"],
        "host": "gpu-host-17",
        "home": "",
        "seats": [],
        "run": "running",
        "blocks": [[0, 2]],
        "price_ucr": 31_250,
        "limit_ucr": 1_062_500,
        "purse_ucr": 99_999_999,
        "paid_ucr": 1_234_567,
        "period_ticks": 200,
        "minds_money": True,
        "lease": 41,
        "mem_bytes": 0,
        "rounds": 1,
        "outcome": "",
    },
    {
        "name": "w13",
        "ref": 13,
        "tenant": "bob",
        "user": "bob",
        "life": "ended",
        "state": "failed",
        "reason": "exit",
        "reason_text": "exit code 1",
        "age_s": 90_000,
        "slots": 1,
        "hosts": [],
        "host": "gpu-host-17",
        "home": "",
        "seats": [],
        "run": "",
        "blocks": [],
        "price_ucr": 0,
        "limit_ucr": 0,
        "purse_ucr": 0,
        "paid_ucr": 0,
        "period_ticks": 200,
        "minds_money": False,
        "lease": 0,
        "mem_bytes": 0,
        "rounds": 1,
        "outcome": "exit code 1",
    },
]


def lease(number: int) -> dict[str, Any]:
    return {
        "lease": number,
        "tenant": "ada",
        "host": "gpu-host-17",
        "ref": 12,
        "state": "held",
        "reason": "",
        "blocks": [[4 * number, 2]],
        "slots": 4,
        "price_ucr": 31_250,
        "limit_ucr": 1_062_500,
        "purse_ucr": 99_999_999,
        "paid_ucr": 1_234_567,
        "mass": 2.345,
        "ends_in_ticks": None if number % 2 else 78_000,
        "term_in_ticks": 50,
        "period_ticks": 200,
        "seats": ["gpu-host-17"],
    }


HOST = {
    "host": "gpu-host-17",
    "number": 1,
    "up": True,
    "drained": False,
    "state": "up",
    "reason": "",
    "slots": 64,
    "free": 32,
    "leases": 8,
    "price_ucr": 31_250,
    "cpu_milli": 96_000,
    "cpu_max_milli": 128_000,
    "mem_bytes": 300 << 30,
    "mem_max_bytes": 980 << 30,
}


class Programs:
    """A ledger and a tegd that answer; between two requests the zone goes on."""

    def __init__(self, state: Path) -> None:
        self.asked: list[control.AnyRequest] = []
        self.held = 0
        (state / "run").mkdir()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._servers = [
            ControlServer(state / "run" / f"{name}.sock", self._answer) for name in ("tegd", "ledger", "governor")
        ]
        for server in self._servers:
            self._wait(server.start())

    def _wait(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _answer(self, _peer: Peer, request: control.AnyRequest) -> control.Reply:
        self.asked.append(request)
        self.held += 1
        rows = [lease(number + 1) for number in range(self.held)]
        zone = {"zone": "z", "tick": self.held, "market": "auction", "waiting": 0, "leases": len(rows)}
        zone |= {"credits": {"escrow": 2_000_000}, "escrow_ucr": 2_000_000, "period_ticks": 200}
        hosts = [HOST | {"leases": len(rows)}]
        shown = zone | {"slots": 64, "free": 32, "hosts": hosts, "held": rows}
        match request:
            case control.Workloads():
                return control.Reply(data=WORKS)
            case control.Leases():
                return control.Reply(data=rows)
            case control.Hosts():
                return control.Reply(data=hosts)
            case control.LedgerView():
                return control.Reply(data=zone)
            case control.HostsView():
                return control.Reply(data={})
            case _:
                return control.Reply(data=shown)

    def close(self) -> None:
        for server in self._servers:
            self._wait(server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    made = Programs(tmp_path)
    yield made
    made.close()


def on_terminal(state: Path, *words: str, columns: int = 80) -> list[str]:
    """The lines that `tegctl` writes on a terminal of so many columns."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-m", "tegctl.main", "--state", str(state), *words]
    environment = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "LINES"}}
    program = subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=follower, env=environment | {"TERM": "dumb"}
    )
    os.close(follower)
    said = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:
            break
        if not part:
            break
        said += part
    program.wait(30)
    os.close(leader)
    return [line.rstrip() for line in said.decode().replace("\r", "").splitlines()]


@pytest.mark.parametrize("verb", ["agents", "leases", "top --once", "ps", "ps -a", "ps -l"])
def test_a_terminal_of_80_columns_shows_names_and_money_whole(programs: Programs, tmp_path: Path, verb: str) -> None:
    lines = on_terminal(tmp_path, *verb.split())
    text = "\n".join(lines)
    assert max(map(len, lines)) <= 80, text
    assert NAME in text
    assert "gpu-host-17" in text
    cut = [word for word in text.split() if word.endswith("…") and any(letter.isdigit() for letter in word)]
    assert not cut, text
    if verb in {"leases", "ps -l"}:
        assert "1.234567" in text, text


@pytest.mark.parametrize("verb", ["leases", "leases -l", "top --once"])
def test_the_end_that_is_shown_is_the_jobs_and_not_that_of_its_term(
    programs: Programs, tmp_path: Path, verb: str
) -> None:
    lines = on_terminal(tmp_path, *verb.split(), columns=200)
    head = next(line for line in lines if line.startswith("JOB"))
    rows = [line for line in lines[lines.index(head) + 1 :] if len(line) > len("Ctrl-C ends")]
    assert "ENDS IN" in head
    at = head.index("ENDS IN")
    assert rows
    assert {row[at:].split()[0] for row in rows} <= {"-", "1h05"}
    assert render.ends("ends_in_ticks")(lease(2)) == "1h05"
    assert ("RENEWED BY" in head) == (verb == "leases -l"), head


def test_a_screen_is_of_one_moment(programs: Programs, tmp_path: Path) -> None:
    text = "\n".join(on_terminal(tmp_path, "top", "--once"))
    of_ledger = [each for each in programs.asked if not isinstance(each, control.Workloads | control.HostsView)]
    assert len(of_ledger) == 1, of_ledger
    count = int(re.split(" jobs? holds?", text)[0].split()[-1])
    assert text.count("gpu-host-17") >= count
    assert count == sum(line.startswith(NAME) for line in text.splitlines()), text
