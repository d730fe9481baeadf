"""The whole stack on this host, supervised: for `tegctl up`, `tegctl demo` and tests.

Folders, keys and settings files are made once; then broker, ledger, governor, airlock side and agent side are started
in that order, watched, and started again when they die, each with a pause that grows to a bound. They are ended by
their process ids, the agent side first, so that it can say goodbye. Workloads are the airlock side's: they outlive a
restart of any part, and `stop` ends those that are left.
"""

import contextlib
import fcntl
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tegcore.backoff import Backoff
from tegcore.errors import ConfigError, TegError, UnavailableError
from tegcore.wire import control
from tegcore.wire.signing import Key, governor_key, host_key, members_key, tenant_token
from tegctl import farewell
from tegctl.farewell import Fate
from tegio.control import ControlClient
from tegio.host import host_name
from tegio.keys import make_key, write_key
from tegio.mqtt import parse_broker
from tegio.paths import private_dir, socket_path

READY_S_MAX = 30.0
END_S_MAX = 10.0
SAVE_S_MAX = 15.0
"""Longest that a stop waits for saves: longer than a hook may take."""
HURRY_S = 1.0
LOOK_S = 0.1
KILL_ROUNDS = 10
GRACE_NS = 1_000_000_000
BROKER_S_MAX = 5.0
PAUSE_S_MIN, PAUSE_S_MAX = 0.2, 5.0
STEADY_S = 10.0
PARTS = ("broker", "ledger", "governor", "airlock", "tegd")

_WAITING = {"seeking", "ordered", "waiting", "parked"}


@dataclass(frozen=True)
class StackSettings:
    """What a stack is made with.

    Attributes:
        tenants: Whose tokens the host holds beside the user's own.
        ledger, governor, host: Settings of the programs, over the defaults here.
        sets: More of them, KEY=VALUE, by part.
        broker: URL of a broker; empty: the built-in one.
    """

    zone: str = "local"
    tenants: tuple[str, ...] = ()
    broker: str = ""
    ledger: Mapping[str, Any] = field(default_factory=dict)
    governor: Mapping[str, Any] = field(default_factory=dict)
    host: Mapping[str, Any] = field(default_factory=dict)
    sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Size(NamedTuple):
    """How large a stack that was made is: its zone of 2^k x 2^k slots, and the slots of this host."""

    zone_k: int
    slots: int


def size_of(state_dir: Path) -> Size | None:
    """How large the stack in a state folder is; None: there is none yet.

    Raises:
        ConfigError: If what is there is not to be read.
    """
    found: list[dict[str, Any]] = []
    for name in ("ledger", "tegd"):
        try:
            found.append(tomllib.loads((state_dir / f"{name}.toml").read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            what = f"{state_dir / name}.toml is no file of settings: {error}"
            raise ConfigError(what, "name an empty folder: `tegctl --state FOLDER up`") from None
    ledger, tegd = found
    if not (state_dir / "ledger" / "journal.sqlite").exists():
        return None
    return Size(ledger["zone_k"], tegd.get("slots") or 1 << tegd["log2_slots"])


@dataclass
class _Part:
    name: str
    argv: list[str]
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    backoff: Backoff = field(default_factory=lambda: Backoff(PAUSE_S_MIN, PAUSE_S_MAX, STEADY_S, 0))
    not_before_s: float = 0.0


class Stack:
    """One host's stack.

    Args:
        state_dir: Where everything is kept; one stack at a time.
        settings: See `StackSettings`.
        say: Told one line an event.
        hurry: Whether a stop is to be quick rather than careful; a start is broken off then.
    """

    def __init__(
        self,
        state_dir: Path,
        settings: StackSettings,
        say: Callable[[str], None] = lambda _: None,
        hurry: Callable[[], bool] = lambda: False,
    ) -> None:
        self.state_dir = private_dir(state_dir.absolute())
        self._settings = settings
        self._say = say
        self._hurry = hurry
        self._parts: dict[str, _Part] = {}
        self._lock = -1

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Bring everything up, and wait until each part answers.

        Raises:
            UnavailableError: If another stack has the folder, the broker is away, or a part does not come up.
            ConfigError: If the broker's URL is none.
        """
        self._take_lock()
        farewell.take_back(self.state_dir)
        if self._settings.broker:
            _demand_broker(self._settings.broker)
        broker = self._settings.broker or self._own_broker()
        self._provision(broker)
        for name in PARTS:
            if name in self._parts:
                self._launch(self._parts[name])
                self._await_ready(name)
        self._say("up: all parts answer")

    def tend(self, hold: Collection[str] = ()) -> None:
        """Start what has died again, but for the parts that are to be held down; call a few times a second."""
        now_s = time.monotonic()
        for part in self._parts.values():
            if part.process is None or part.name in hold or part.process.poll() is None:
                continue
            if part.not_before_s == 0.0:
                pause_s = part.backoff.pause(now_s - part.started_s)
                part.not_before_s = now_s + pause_s
                how = _ending(part.process.returncode)
                self._say(f"{part.name} died ({how}): it is started again in {pause_s:.1f} s; nothing to do")
            elif now_s >= part.not_before_s:
                self._launch(part)

    def stop(self, *, keep: bool = False) -> None:
        """End every part, the agent side first, and the work: what has a hook is saved, and seeks again when next up.

        Args:
            keep: What has none is left running, for the next start to take up again.
        """
        known = self._known() if "tegd" in self._parts and self._parts["tegd"].process is not None else []
        fates = {row["ref"]: Fate.WAITS for row in known if row["life"] in _WAITING and not row["run"]}
        for name in reversed(PARTS):
            part = self._parts.get(name)
            if part is None or part.process is None:
                continue
            if name == "airlock":
                fates |= self._end_workloads(keep=keep)
            self._end(part.process)
            if name == "airlock":
                self._kill_left({ref for ref, fate in fates.items() if fate is Fate.LEFT})
        fates = farewell.with_over(fates, {row["ref"] for row in known if not row["requeue"]})
        if self._lock >= 0:
            farewell.leave(self.state_dir, fates)
            os.close(self._lock)
            self._lock = -1
        for line in farewell.lines(fates, {row["ref"]: row["name"] for row in known}):
            self._say(line)
        self._say("down: everything of it has stopped; `tegctl up` starts it again")

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """End a part in order, or at once where there is haste."""
        if process.poll() is None:
            process.terminate()
            until_s = time.monotonic() + END_S_MAX
            while process.poll() is None:
                if time.monotonic() >= until_s or (self._hurry() and until_s > time.monotonic() + HURRY_S):
                    until_s = min(until_s, time.monotonic() + HURRY_S)
                if time.monotonic() >= until_s:
                    process.kill()
                    break
                time.sleep(LOOK_S / 5)
        process.wait()

    def pid(self, name: str) -> int:
        """Process id of a part."""
        process = self._parts[name].process
        assert process is not None, f"{name} was not started"
        return process.pid

    def pids(self) -> dict[str, int]:
        """Process ids of all parts."""
        return {name: self.pid(name) for name in self._parts}

    def client(self, name: str) -> ControlClient:
        """Ask `tegd`, `ledger` or `governor`."""
        return ControlClient(socket_path(self.state_dir, name), name)

    # --- making -----------------------------------------------------------------------------------------------------

    def _take_lock(self) -> None:
        self._lock = os.open(self.state_dir / farewell.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            self._lock = -1
            raise UnavailableError(
                f"`tegctl up` runs already, in another terminal (state folder {self.state_dir})",
                "use that one; or end it there with Ctrl-C first; a second one: `tegctl --state FOLDER up`",
            ) from None

    def _own_broker(self) -> str:
        port = _free_port()
        argv = [sys.executable, "-m", "tegio.broker", "--port", str(port)]
        self._parts["broker"] = _Part("broker", argv)
        return f"mqtt://127.0.0.1:{port}"

    def _provision(self, broker: str) -> None:
        state, settings = self.state_dir, self._settings
        zone, host = settings.zone, str(settings.host.get("host", host_name()))
        folders = {name: private_dir(state / name) for name in ("ledger", "governor", "tegd", "run")}
        (state / "airlock").mkdir(mode=0o750, exist_ok=True)
        secret = make_key(folders["ledger"] / "zone.key")
        keys: dict[Path, Key] = {
            folders["tegd"] / "host.key": host_key(secret, host),
            folders["tegd"] / "members.key": members_key(secret, zone),
            folders["governor"] / "members.key": members_key(secret, zone),
            folders["governor"] / "governor.key": governor_key(secret, zone),
        }
        for path, key in keys.items():
            write_key(path, key)
        own = re.sub(r"[^a-z0-9._-]", "-", pwd.getpwuid(os.geteuid()).pw_name.lower())
        tokens = {name: tenant_token(secret, name) for name in dict.fromkeys((own, *settings.tenants))}
        common = {"zone": zone, "broker": broker}
        ledger = {"state_dir": str(folders["ledger"]), "welcome_credits": 1000.0, **common, **settings.ledger}
        governor = {"state_dir": str(folders["governor"]), **common, **settings.governor}
        tegd = {"state_dir": str(folders["tegd"]), "host": host, "tokens": tokens, **common, **settings.host}
        commands = {"ledger": ("zone_ledger", ledger), "governor": ("governor", governor), "tegd": ("tegd", tegd)}
        for name, (package, values) in commands.items():
            path = state / f"{name}.toml"
            path.write_text(_toml(values))
            path.chmod(0o600)
            sets = [word for entry in settings.sets.get(name, ()) for word in ("--set", entry)]
            self._parts[name] = _Part(name, [sys.executable, "-m", f"{package}.main", "--config", str(path), *sets])
        airlock = ["--state-dir", str(state / "airlock"), "--socket", str(folders["run"] / "airlock.sock")]
        self._parts["airlock"] = _Part("airlock", [sys.executable, "-m", "tegd.airlock", *airlock])

    # --- processes --------------------------------------------------------------------------------------------------

    def _launch(self, part: _Part) -> None:
        with (self.state_dir / f"{part.name}.log").open("ab") as log:
            # In sessions of their own: what a terminal sends to all of its processes is for who tends them alone.
            part.process = subprocess.Popen(  # noqa: S603 - our own programs
                part.argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        part.started_s, part.not_before_s = time.monotonic(), 0.0
        self._say(f"{part.name} started, pid {part.process.pid}")

    def _await_ready(self, name: str) -> None:
        until_s = time.monotonic() + READY_S_MAX
        what = f"{name} did not come up"
        while time.monotonic() < until_s:
            if self._hurry():
                what = f"stopped while {name} came up"
                break
            if dead := next(filter(_is_dead, self._parts.values()), None):
                name, what = dead.name, f"{dead.name} did not start; it said"
                break
            if self._answers(name):
                return
            time.sleep(0.05)
        log = self.state_dir / f"{name}.log"
        self.stop()
        raise UnavailableError(
            f"{what}:\n{_tail(log)}", f"put that right, and give the command again; all that it said: {log}"
        )

    def _answers(self, name: str) -> bool:
        if name == "broker":
            port = int(self._parts[name].argv[-1])
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0
        if name == "airlock":
            return socket_path(self.state_dir, "airlock").exists()
        requests: dict[str, control.AnyRequest] = {
            "ledger": control.Accounts(),
            "governor": control.GovernorView(),
            "tegd": control.Host(),
        }
        with contextlib.suppress(TegError):
            reply = self.client(name).ask(requests[name])
            return reply.ok and (name != "tegd" or reply.data["mode"] == "run")
        return False

    # --- the end ----------------------------------------------------------------------------------------------------

    def _known(self) -> list[dict[str, Any]]:
        """Every workload that tegd knows, where it still answers."""
        with contextlib.suppress(TegError):
            reply = self.client("tegd").ask(control.Workloads())
            return list(reply.data) if reply.ok else []
        return []

    def _end_workloads(self, *, keep: bool) -> dict[int, Fate]:
        """Have the airlock side save what has a hook, and end the rest or leave it; which became what.

        Nothing of ours is left behind that nobody said was to be left.
        """
        fates: dict[int, Fate] = {}
        with (
            contextlib.suppress(OSError, ValueError, KeyError),
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as link,
        ):
            link.settimeout(END_S_MAX)
            link.connect(str(socket_path(self.state_dir, "airlock")))
            self._end_all(_Airlock(link), fates, keep=keep)
        return fates

    def _kill_left(self, kept: set[int]) -> None:
        """Kill what the airlock side had no time to end: with thousands of processes each end takes it long."""
        mark = f"TEG_AIRLOCK={self.state_dir / 'airlock' / 'workloads'}".encode()
        for _ in range(KILL_ROUNDS):
            found = [pid for pid, ref in _marked(mark) if ref not in kept]
            for pid in found:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            if not found:
                return
            time.sleep(LOOK_S)

    def _end_all(self, airlock: "_Airlock", fates: dict[int, Fate], *, keep: bool) -> None:
        until_s, told, hurried = time.monotonic() + SAVE_S_MAX, False, False
        asked: set[str] = set()
        while living := [run for run in airlock.runs() if run["state"] not in {"ended", "parked"}]:
            hurried = hurried or self._hurry() or time.monotonic() >= until_s
            wanted = [run for run in living if run["checkpoint"] or not keep]
            fates |= {_ref(run): Fate.LEFT for run in living if not run["checkpoint"] and keep}
            for run in wanted:
                fates.setdefault(_ref(run), Fate.SAVED if run["checkpoint"] else Fate.ENDED)
            if not wanted or time.monotonic() >= until_s + END_S_MAX or self._hurry():
                break
            if not told:
                saves = sum(bool(run["checkpoint"]) for run in wanted)
                rest = f"{len(wanted) - saves} to end; Ctrl-C again ends all at once"
                self._say(f"stopping: {saves} job{'s' * (saves != 1)} to save, {rest}")
                told = True
            for run in sorted(wanted, key=lambda run: not run["checkpoint"]):
                if self._hurry() or time.monotonic() >= until_s + END_S_MAX:
                    break
                self._end_one(airlock, run, hurried=hurried, asked=asked)
            time.sleep(LOOK_S)
        saved = {_ref(run) for run in airlock.runs() if run["saved_ns"] and run["state"] in {"ended", "parked"}}
        fates |= {ref: Fate.UNSAVED for ref, fate in fates.items() if fate is Fate.SAVED and ref not in saved}

    def _end_one(self, airlock: "_Airlock", run: dict[str, Any], *, hurried: bool, asked: set[str]) -> None:
        """Ask once in each way: to save and end, and to end whatever does not come to an end so."""
        name, savable = run["workload"], bool(run["checkpoint"])
        way = "save" if savable and not hurried else "end"
        if f"{way} {name}" in asked or (way == "save" and run["state"] == "starting"):
            return
        asked.add(f"{way} {name}")
        if way == "save":
            airlock.ask("save", workload=name, token=run["token"], then="end")
        else:
            airlock.ask("end", workload=name, token=run["token"], grace_ns=GRACE_NS)


class _Airlock:
    """The airlock side, asked one thing after the other."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link

    def ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        self._link.send(json.dumps({"v": 1, "id": 1, "verb": verb, **fields}).encode())
        while True:
            answer: dict[str, Any] = json.loads(self._link.recv(64 << 10))
            if answer.get("id") == 1:
                return answer

    def runs(self) -> list[dict[str, Any]]:
        """All that it holds, to the last page."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.ask("list", after=found[-1]["workload"] if found else "")
            found += page["workloads"]
            if not page["more"]:
                return found


def _marked(mark: bytes) -> list[tuple[int, int]]:
    """Pid and workload's number of all processes that carry the mark of an airlock side's folder."""
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            entries = (Path(entry.path) / "environ").read_bytes().split(b"\0")
            of = [word for word in entries if word.startswith(b"TEG_WORKLOAD=")]
            if mark in entries and of:
                found.append((int(entry.name), _ref({"workload": of[-1].partition(b"=")[2].decode(errors="replace")})))
    return found


def _ref(run: Mapping[str, Any]) -> int:
    """The number of the workload that a run is of."""
    ref = str(run["workload"]).partition(".")[0]
    return int(ref) if ref.isdigit() else 0


def _is_dead(part: _Part) -> bool:
    return part.process is not None and part.process.poll() is not None


def remove(state_dir: Path) -> None:
    """Forget a stack that is down."""
    shutil.rmtree(state_dir, ignore_errors=True)


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _demand_broker(url: str) -> None:
    address = parse_broker(url)
    try:
        socket.create_connection((address.host, address.port), BROKER_S_MAX).close()
    except OSError as error:
        hint = "leave TEG_BROKER out (`unset TEG_BROKER`) to use the built-in one, or start that broker first"
        where = f"{address.host}:{address.port}"
        raise UnavailableError(
            f"no broker answers at {where}, which TEG_BROKER names: {error.strerror or error}; nothing was started",
            hint,
        ) from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tail(path: Path, lines: int = 3) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else "(no log)"


def _toml(values: Mapping[str, Any]) -> str:
    """Settings as TOML; tables last, as TOML wants."""
    plain = [f"{key} = {json.dumps(value)}" for key, value in values.items() if not isinstance(value, dict)]
    tables = [
        "\n".join([f"[{key}]", *(f"{name} = {json.dumps(entry)}" for name, entry in value.items())])
        for key, value in values.items()
        if isinstance(value, dict)
    ]
    return "\n".join([*plain, *tables]) + "\n"
