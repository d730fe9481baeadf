"""A zone of several hosts on one machine: a real mosquitto, a ledger, a governor, and for each host both sides of tegd.

Each host has its own state folder, sockets and keys. A host is lost by killing all that runs there, workloads too; a
link is cut by a proxy that stands in it.
"""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tegcore.wire import control
from tegcore.wire.signing import Key, governor_key, host_key, members_key, tenant_token
from tegctl import authority
from tegctl.commands.verify import verified
from tegctl.samples.spin import unit
from tegctl.session import Session, fresh_key
from tegctl.stack import _toml as toml
from tegd.airlock.frames import encode
from tegio.keys import make_key, write_key

TEMPLATES = Path(__file__).parents[2] / "systemd" / "mosquitto"
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
ZONE = "lan"
TENANTS = ("ada", "bob")
MARKET = {"period_ticks": 100, "term_periods": 2, "notice_ticks": 100, "epoch_ticks": 100}
PHYSICS = {"mu_credits": 0.05, "gas_credits": 0.001, "mem_k_credits": 1.0, "joules_per_credit": 45_500.0}
TERM_S = 10.0
SURE_S = TERM_S * 1.01 + 2.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Proxy:
    """Carries TCP from a port of its own to another, and can be cut: what is open ends or hangs, what is new fails.

    Attributes:
        carried: Bytes towards the target, and back.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.cut_ways: set[str] = set()
        self.carried = {"to": 0, "back": 0}
        self.after: Callable[[], None] | None = None
        self.limit = 1 << 62
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, *ways: str) -> None:
        """Carry nothing `to` the target, or `back`, or neither: what is sent that way vanishes."""
        self.cut_ways = set(ways or ("to", "back"))

    def heal(self) -> None:
        """Carry again; connections that lost bytes are broken."""
        self.cut_ways = set()
        for end in list(self._open):
            _shut(end)

    def close(self) -> None:
        _shut(self._server)
        for end in list(self._open):
            _shut(end)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self.target, 2)
            except OSError:
                near.close()
                continue
            self._open |= {near, far}
            for way, source, sink in (("to", near, far), ("back", far, near)):
                threading.Thread(target=self._carry, args=(way, source, sink), daemon=True).start()

    def _carry(self, way: str, source: socket.socket, sink: socket.socket) -> None:
        try:
            source.settimeout(None)
            while data := source.recv(65536):
                self.carried[way] += len(data)
                if self.after is not None and self.carried["to"] + self.carried["back"] > self.limit:
                    after, self.after = self.after, None
                    after()
                if way not in self.cut_ways:
                    sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                _shut(end)
                self._open.discard(end)


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@dataclass
class Part:
    """One process, started again on demand."""

    argv: list[str]
    log: Path
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            env = os.environ | {"OPENBLAS_NUM_THREADS": "1"} | self.env
            self.process = subprocess.Popen(self.argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()


class Host:
    """One host: its two processes, and what a test asks of it."""

    def __init__(
        self, zone: "Zone", name: str, base: int, log2_slots: int, state: Path | None = None, **settings: Any
    ) -> None:
        self.zone, self.name = zone, name
        self.state = state or zone.folder / name
        for folder in ("tegd", "run"):
            (self.state / folder).mkdir(parents=True, mode=0o700)
        (self.state / "airlock").mkdir(mode=0o750)
        write_key(self.state / "tegd" / "host.key", host_key(zone.secret, name))
        write_key(self.state / "tegd" / "members.key", members_key(zone.secret, ZONE))
        self.broker_link, self.peer_port = Proxy(("127.0.0.1", zone.port)), free_port()
        self.peer_link = Proxy(("127.0.0.1", self.peer_port))
        values = {
            "host": name,
            "zone": ZONE,
            "broker": zone.broker_url(self.broker_link.port),
            "state_dir": str(self.state / "tegd"),
            "base": base,
            "log2_slots": log2_slots,
            "cpu_milli": 4000,
            "mem_bytes": 4 << 30,
            "tokens": {tenant: tenant_token(zone.secret, tenant) for tenant in TENANTS},
            "peer_listen": f"127.0.0.1:{self.peer_port}",
            "peer_address": f"127.0.0.1:{self.peer_link.port}",
            "guest_uid_min": 0,
            **zone.tls(name),
            **settings,
        }
        config = self.state / "tegd.toml"
        config.write_text(toml(values))
        airlock = ["--state-dir", str(self.state / "airlock"), "--socket", str(self.state / "run" / "airlock.sock")]
        self.airlock = Part([sys.executable, "-m", "tegd.airlock", *airlock], self.state / "airlock.log")
        self.tegd = Part([sys.executable, "-m", "tegd.main", "--config", str(config)], self.state / "tegd.log")
        self.session = Session(self.state, "json")

    def start(self) -> None:
        self.airlock.start()
        self.tegd.start()

    def stop(self) -> None:
        self.tegd.stop()
        self.airlock.stop()
        self.kill_work()
        self.broker_link.close()
        self.peer_link.close()

    def lose(self) -> None:
        """The machine is gone: everything on it, at once."""
        self.tegd.kill()
        self.airlock.kill()
        self.kill_work()

    def reboot(self) -> None:
        """It comes back; its airlock's journal is of an earlier boot, as after a power cut."""
        with (self.state / "airlock" / "airlock.journal").open("ab") as journal:
            journal.write(encode([{"boot": "the one before"}]))
        self.start()

    def work_processes(self) -> list[psutil.Process]:
        folder = str(self.state / "work")
        every = psutil.process_iter(["cwd", "cmdline"])
        return [process for process in every if (process.info["cwd"] or "").startswith(folder)]

    def kill_work(self) -> None:
        folder = str(self.state / "work")
        shells = str(self.state / "airlock")
        for process in psutil.process_iter(["cwd", "cmdline"]):
            words = " ".join(process.info["cmdline"] or [])
            if (process.info["cwd"] or "").startswith(folder) or (shells in words and process.pid != os.getpid()):
                with contextlib.suppress(psutil.Error):
                    process.kill()

    def ask(self, request: control.AnyRequest) -> Any:
        return self.session.ask("tegd", request)

    def submit(self, files: dict[str, bytes] | None = None, **spec: Any) -> str:
        fields = {"tenant": "ada", "limit_ucr": 300_000, "endow_ucr": 20_000_000} | spec
        submit = control.Submit(spec=control.WorkloadSpec(**fields), key=fresh_key(), files=files or {})
        return str(self.ask(submit)["name"])

    def works(self) -> list[dict[str, Any]]:
        return list(self.ask(control.Workloads()))

    def work(self, name: str) -> dict[str, Any]:
        return next(row for row in self.works() if row["name"] == name and not row["home"])

    def parts(self) -> list[dict[str, Any]]:
        return [row for row in self.works() if row["home"]]

    def why(self, name: str) -> dict[str, Any]:
        return dict(self.ask(control.Why(name=str(self.work(name)["ref"]))))

    def log(self, name: str) -> str:
        request = control.Logs(name=str(self.work(name)["ref"]))
        return b"".join(part["bytes"] for part in self.session.stream("tegd", request)).decode()


class Zone:
    """A zone of hosts; `hosts` by name, in order of their bases."""

    def __init__(
        self,
        folder: Path,
        hosts: Iterable[str] = ("a", "b"),
        log2_slots: int = 1,
        market: str = "auction",
        **settings: Any,
    ) -> None:
        self.folder, self.port = folder, free_port()
        (folder / "control" / "ledger").mkdir(parents=True)
        (folder / "control" / "governor").mkdir()
        self.secret: Key = make_key(folder / "control" / "ledger" / "zone.key")
        self.certs = folder / "certs"
        authority.init(self.certs, ZONE)
        self.broker = self._broker()
        self.ledger, self.governor = self._ledger(market), self._governor()
        self.session = Session(folder / "control", "json")
        self.log2_slots = log2_slots
        self.hosts = {
            name: Host(self, name, place << log2_slots, log2_slots, **settings) for place, name in enumerate(hosts)
        }

    def broker_url(self, port: int) -> str:
        return f"mqtts://127.0.0.1:{port}"

    def tls(self, name: str) -> dict[str, Any]:
        """Settings of a program that has a certificate under a name."""
        certificate, key = authority.issue(self.certs, name, ("127.0.0.1",))
        return {"tls_ca": str(self.certs / "ca.pem"), "tls_certificate": str(certificate), "tls_key": str(key)}

    def _broker(self) -> Part:
        assert MOSQUITTO is not None
        self.tls("broker")
        config, acl = self.folder / "mosquitto.conf", self.folder / "teg.acl"
        template = (TEMPLATES / "teg.conf").read_text().replace("listener 8883", f"listener {self.port} 127.0.0.1")
        template = template.replace("/etc/mosquitto/teg/teg.acl", str(acl))
        config.write_text(template.replace("/etc/mosquitto/teg", str(self.certs)) + f"user {getpass.getuser()}\n")
        acl.write_text((TEMPLATES / "teg.acl").read_text().replace("ZONE", ZONE))
        return Part([MOSQUITTO, "-c", str(config)], self.folder / "broker.log")

    def _ledger(self, market: str) -> Part:
        state = self.folder / "control" / "ledger"
        values = {"zone": ZONE, "broker": self.broker_url(self.port), "state_dir": str(state), "zone_k": 2}
        config = self.folder / "ledger.toml"
        config.write_text(toml({**values, "market": market, **MARKET, **PHYSICS, **self.tls("ledger")}))
        argv = [sys.executable, "-m", "zone_ledger.main", "--config", str(config)]
        return Part(argv, self.folder / "ledger.log")

    def _governor(self) -> Part:
        state = self.folder / "control" / "governor"
        write_key(state / "members.key", members_key(self.secret, ZONE))
        write_key(state / "governor.key", governor_key(self.secret, ZONE))
        values = {"zone": ZONE, "broker": self.broker_url(self.port), "state_dir": str(state), "zone_k": 2}
        config = self.folder / "governor.toml"
        settings = {**values, "epoch_ticks": 100, **PHYSICS, **self.tls("governor")}
        config.write_text(toml(settings))
        argv = [sys.executable, "-m", "governor.main", "--config", str(config)]
        return Part(argv, self.folder / "governor.log")

    def start(self) -> "Zone":
        self.broker.start()
        self.ledger.start()
        self.until(lambda: self.view()["tick"] > 0, 30)
        self.governor.start()
        for host in self.hosts.values():
            host.start()
        for tenant in TENANTS:
            self.operate(control.MintCredits(tenant=tenant, amount_ucr=500_000_000, key=fresh_key()))
        for host in self.hosts.values():
            self.until(lambda host=host: host.ask(control.Host())["mode"] == "run", 40)
        return self

    def stop(self) -> None:
        for host in self.hosts.values():
            host.stop()
        for part in (self.governor, self.ledger, self.broker):
            part.stop()

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def operate(self, request: control.AnyRequest) -> Any:
        return self.session.ask("ledger", request)

    def view(self) -> dict[str, Any]:
        return dict(self.operate(control.LedgerView()))

    def leases(self) -> list[dict[str, Any]]:
        return [row for row in self.operate(control.Leases()) if row["lease"]]

    def host_row(self, name: str) -> dict[str, Any]:
        return next(row for row in self.operate(control.Hosts()) if row["host"] == name)

    def until(self, condition: Callable[[], Any], limit_s: float) -> Any:
        """Wait for a condition; who does not answer meanwhile makes it not hold."""
        until_s, last = time.monotonic() + limit_s, "the condition is false"
        while time.monotonic() < until_s:
            try:
                if found := condition():
                    return found
                last = "the condition is false"
            except Exception as error:
                last = repr(error)
            time.sleep(0.1)
        raise AssertionError(f"not within {limit_s} s: {last}\n{self.story()}")

    def story(self) -> str:
        """What everyone says, for a failure."""
        lines = []
        for host in self.hosts.values():
            try:
                for row in host.works():
                    said = host.ask(control.Why(name=str(row["ref"])))
                    lines.append(f"{host.name}: {row['name']} {row['life']} {row['run']} {said['history'][-8:]}")
            except Exception as error:
                lines.append(f"{host.name}: {error}")
            lines.append("\n".join((host.state / "tegd.log").read_text().splitlines()[-6:]))
        try:
            lines.append(str(self.leases()))
        except Exception as error:
            lines.append(f"ledger: {error}")
        return "\n".join(lines)

    # --- what must always hold --------------------------------------------------------------------------------------

    def check(self) -> None:
        """Credits are conserved, no slot is held twice, no lease runs in two places."""
        money = self.view()["credits"]
        assert money["minted"] == money["balances"] + money["escrow"] + money["evaporated"]
        held: set[int] = set()
        for lease in self.leases():
            slots = {slot for base, log2 in lease["blocks"] for slot in range(base, base + (1 << log2))}
            assert not slots & held
            held |= slots

    def settled(self) -> None:
        """At the end: nothing is held, and the journal replays to the same state."""
        self.until(lambda: not self.leases() and self.view()["credits"]["escrow"] == 0, 30)
        self.check()
        ledger = self.view()
        assert verified(Path(ledger["journal"]), ledger)["replay_hash_equal"] is True


def spin(units: int, pause_ms: int = 100) -> tuple[str, ...]:
    return (sys.executable, "-m", "tegctl.samples.spin", "--units", str(units), "--pause-ms", str(pause_ms))


def digest_of(units: int) -> str:
    digest = ""
    for number in range(units):
        digest = unit(digest, number)
    return digest[:16]


def last_line(units: int) -> str:
    return f"spin: {units} units, digest {digest_of(units)}"


def stopped(host: Host) -> bool:
    return any(process.status() == psutil.STATUS_STOPPED for process in host.work_processes())


SIGKILL = signal.SIGKILL
