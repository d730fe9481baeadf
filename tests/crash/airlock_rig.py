"""A real airlock process with a state folder of its own, and a plain client for it."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WORKER = Path(__file__).with_name("worker.py")
DRIVER = Path(__file__).with_name("dying_airlock.py")
PATIENCE_S = 10.0
SECOND_NS = 1_000_000_000


def now_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def eventually(probe: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := probe()):
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S} s"
        time.sleep(0.005)
    return found


class Dead(Exception):
    """The airlock died under a call."""


class Rig:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state_dir = folder / "airlock"
        self.socket = folder / "s"
        self.work = folder / "work"
        self.work.mkdir()
        self.events: list[dict[str, Any]] = []
        self.number = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.link: socket.socket | None = None

    def start(self, die_at: int = 0) -> None:
        arguments = ["--state-dir", str(self.state_dir), "--socket", str(self.socket)]
        program = [str(DRIVER), str(die_at)] if die_at else ["-m", "tegd.airlock"]
        # A child that still waits holds the socket of an airlock that died a moment ago.
        self.socket.unlink(missing_ok=True)
        self.process = subprocess.Popen([sys.executable, *program, *arguments])
        eventually(lambda: self.greets() or self.process.poll() is not None, "the airlock answers")

    def greets(self) -> bool:
        """A child of an airlock that was killed may hold its socket for a moment, and answers nothing."""
        try:
            return self.connect() and self.call("hello")["ok"]
        except Dead:
            return False

    def connect(self) -> bool:
        link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        link.settimeout(PATIENCE_S)
        try:
            link.connect(str(self.socket))
        except OSError:
            link.close()
            return False
        self.disconnect()
        self.link = link
        return True

    def disconnect(self) -> None:
        if self.link is not None:
            self.link.close()
            self.link = None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.disconnect()

    def dead(self) -> bool:
        return self.process.poll() is not None

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def receive(self) -> dict[str, Any]:
        try:
            data = self.link.recv(64 << 10)
        except ConnectionError as error:
            raise Dead from error
        if not data:
            raise Dead
        return json.loads(data)

    def raw(self, packet: bytes) -> dict[str, Any]:
        if self.link is None:
            raise Dead
        try:
            self.link.send(packet)
        except OSError as error:
            raise Dead from error
        while "event" in (data := self.receive()):
            self.events.append(data)
        return data

    def call(self, verb: str, **fields: Any) -> dict[str, Any]:
        self.number += 1
        return self.raw(json.dumps({"v": 1, "id": self.number, "verb": verb, **fields}).encode())

    def listed(self) -> dict[str, dict[str, Any]]:
        return {entry["workload"]: entry for entry in self.call("list", after="")["workloads"]}

    def run(self, name: str, *argv: str, **changes: Any) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "workload": name,
            "lease": 1,
            "token": 1,
            "argv": list(argv),
            "env": {"PATH": os.environ["PATH"]},
            "cwd": str(self.work),
            "uid": os.getuid(),
            "gid": os.getgid(),
            "hook": None,
            "term_end_ns": 0,
            "notice_ns": SECOND_NS // 10,
            "rank": 0,
            "save_ns": 2 * SECOND_NS,
            "grace_ns": 60 * SECOND_NS,
            "resume": False,
        }
        return self.call("start", **fields | changes)

    def work_on(self, name: str, units: int = 100_000, behaviour: str = "good", **changes: Any) -> dict[str, Any]:
        hook = {"signal": "SIGUSR1", "checkpoint": str(self.work / "checkpoint"), "mark": str(self.work / "mark")}
        argv = (sys.executable, "-S", str(WORKER), str(self.work), str(units), behaviour)
        return self.run(name, *argv, **{"hook": hook} | changes)

    def until(self, name: str, *states: str) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            entry = self.listed().get(name)
            return entry if entry and entry["state"] in states else None

        return eventually(there, f"{name} is {' or '.join(states)}")

    def units(self) -> list[int]:
        file = self.work / "units"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def working(self) -> None:
        before = len(self.units())
        eventually(lambda: len(self.units()) > before + 2, "work goes on")

    def resting(self) -> bool:
        before = len(self.units())
        time.sleep(0.05)
        return len(self.units()) == before

    def pids(self) -> list[int]:
        file = self.work / "pids"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def clean_up(self) -> None:
        if self.process is None:
            return
        if self.dead():
            self.start()
        for name, entry in self.listed().items():
            self.call("end", workload=name, token=entry["token"], grace_ns=0)
            self.until(name, "ended")
        self.stop()
        self.disconnect()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def process_state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
