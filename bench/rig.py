"""A real ledger between a real broker and a crowd of simulated hosts: for measuring it, and for killing it."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench.crowd import Host, crowd
from tegcore.errors import TegError
from tegcore.wire import topics
from tegcore.wire.messages import Events, Rejected, Welcome
from tegcore.wire.records import Mint, NameIs, NameKind, Op, Reason, Record, pack_all
from tegcore.wire.signing import Keyring, ledger_keyring, tenant_token
from tegcore.wire.topics import Channel, Topic
from tegcore.wire.transport import Transport
from tegio.keys import make_key
from tegio.mqtt import MqttTransport, parse_broker
from tegio.wire import Wire
from zone_ledger.genesis import genesis_records
from zone_ledger.journal.store import Journal
from zone_ledger.replay import new_engine
from zone_ledger.settings import LedgerSettings

ZONE = "bench"
TENANT = "crowd"
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Broker:
    """mosquitto where there is one, else the built-in broker; ended on leaving."""

    def __init__(self, folder: Path) -> None:
        self.url = f"mqtt://127.0.0.1:{(port := free_port())}"
        self.name = "mosquitto" if MOSQUITTO else "built-in"
        command = [sys.executable, "-m", "tegio.broker", "--port", str(port)]
        if MOSQUITTO:
            config = folder / "mosquitto.conf"
            options = ["set_tcp_nodelay true", "max_queued_messages 0", "persistence false", "log_type error"]
            config.write_text("\n".join([f"listener {port} 127.0.0.1", "allow_anonymous true", *options]) + "\n")
            command = [MOSQUITTO, "-c", str(config)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until_s = time.monotonic() + 20
        while time.monotonic() < until_s:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        raise TegError(f"no broker came up on port {port}")

    def transport(self) -> Transport:
        """A connection to it, not started yet."""
        return MqttTransport(parse_broker(self.url), f"crowd-{os.getpid()}")

    def __enter__(self) -> "Broker":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(10)


class Ledger:
    """The `zone-ledger` program on a folder, started as often as wanted."""

    def __init__(self, folder: Path, broker: str, **settings: object) -> None:
        self.folder = folder
        self.secret = make_key(folder / "zone.key")
        given = {"zone": ZONE, "state_dir": str(folder), "broker": broker, "market": "auction"} | settings
        self.settings = msgspec.convert(given, LedgerSettings)
        lines = [f"{name} = {_toml(value)}" for name, value in given.items()]
        self._config = folder / "ledger.toml"
        self._config.write_text("\n".join(lines) + "\n")
        if not self.journal.exists():
            self._found()
        self.process: subprocess.Popen[bytes] | None = None

    def _found(self) -> None:
        """A journal whose crowd has an account, and no end of credits in it."""
        engine, journal = new_engine(), Journal(self.journal, ZONE)
        records = [
            *genesis_records(self.settings),
            Record(Op.NAME_IS, 0, 0, 0, NameIs.of(NameKind.TENANT, 1, TENANT)),
            Record(Op.MINT, 0, 0, 1_000, Mint(1, 1 << 60)),
        ]
        for record in records:
            engine.apply(record)
        list(journal.read())
        journal.append(pack_all(records), engine.state.hash(), engine.state.accounts.take_postings())
        journal.close()

    @property
    def journal(self) -> Path:
        """Its journal."""
        return self.folder / "journal.sqlite"

    def start(self, failpoint: str = "") -> None:
        """Start the program, perhaps to be killed at a failpoint."""
        environment = os.environ | {"TEG_FAILPOINT": failpoint}
        command = [sys.executable, "-m", "zone_ledger.main", "--config", str(self._config)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def kill(self) -> None:
        """SIGKILL, if it is still there."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(20)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    return str(list(value)) if isinstance(value, tuple) else str(value)


class Link:
    """The crowd's end of the broker: one connection that speaks for every host under its own name and key."""

    def __init__(self, transport: Transport, secret: bytes, count: int, zone_k: int) -> None:
        self.hosts = crowd(count, zone_k, tenant_token(secret, TENANT))
        self._by_name = {host.name: host for host in self.hosts}
        keyring: Keyring = ledger_keyring(secret, ZONE)
        self._wire = Wire(transport, keyring)
        self._wire.hear(topics.every_host(ZONE, Channel.EVENTS), self._heard)
        self.on_ack: Callable[[Host, int], None] = lambda _host, _acked: None
        self.rejected: dict[str, int] = {}

    async def start(self) -> None:
        """Connect."""
        await self._wire.transport.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self._wire.transport.stop()

    def greet(self) -> int:
        """Introduce every host that has no number yet; how many are left."""
        strangers = [host for host in self.hosts if not host.number]
        for host in strangers:
            self._wire.publish(Topic(ZONE, Channel.ORDERS, host.name), host.hello())
        return len(strangers)

    def send(self, host: Host) -> None:
        """All that a host has to say."""
        self._wire.publish(Topic(ZONE, Channel.ORDERS, host.name), host.message())

    async def all_greeted(self, limit_s: float = 60.0) -> None:
        """Introduce the hosts until all are welcome."""
        until_s = time.monotonic() + limit_s
        while self.greet():
            if time.monotonic() > until_s:
                raise TegError("the hosts are not welcomed")
            await asyncio.sleep(0.5)

    def _heard(self, message: Welcome | Events | Rejected) -> None:
        host = self._by_name.get(message.host)
        if host is None:
            return
        match message:
            case Welcome():
                host.number = message.host_id
            case Events():
                before = host.outbox.acked
                host.told(message)
                if host.outbox.acked > before:
                    self.on_ack(host, host.outbox.acked)
            case Rejected():
                name = Reason(message.reason).name
                self.rejected[name] = self.rejected.get(name, 0) + 1
