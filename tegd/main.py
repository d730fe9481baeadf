"""`tegd`: the agent side of a host's daemon. The airlock side is `python -m tegd.airlock`."""

import asyncio
import os
import platform
import re
import sys
from pathlib import Path
from typing import NoReturn

import click
import msgspec

from tegcore.ids import checked_name
from tegcore.wire.signing import Keyring
from tegd.adapters.airlock_client import AirlockClient
from tegd.adapters.store import Store
from tegd.service import HostService
from tegd.settings import HostSettings
from tegio.clock import SystemClock
from tegio.keys import read_key, secret_file
from tegio.logs import start_logs
from tegio.mqtt import MqttTransport, parse_broker
from tegio.paths import default_state_dir, private_dir, socket_path
from tegio.program import serve
from tegio.settings import run_program, with_settings
from tegio.tls import certificates


def _host_name() -> str:
    return re.sub(r"[^a-z0-9._-]", "-", platform.node().lower()).strip("._-") or "host"


async def _serve(settings: HostSettings) -> None:
    base = Path(settings.state_dir) if settings.state_dir else default_state_dir() / "tegd"
    state_dir = private_dir(base)
    host_key = read_key(secret_file(settings.host_key_file, "host.key", state_dir / "host.key"))
    members_file = secret_file(settings.members_key_file, "members.key", state_dir / "members.key")
    settings = msgspec.structs.replace(settings, tls_key=str(secret_file(settings.tls_key, "tls.key", Path())))
    tls = certificates(settings.tls_ca, settings.tls_certificate, settings.tls_key)
    host = settings.host
    keyring = Keyring(read_key(members_file), None, lambda name: host_key if name == host else None)
    socket = socket_path(state_dir.parent, "tegd")
    service = HostService(
        settings,
        keyring,
        host_key,
        MqttTransport(parse_broker(settings.broker), f"{settings.zone}-{host}", tls),
        AirlockClient(socket_path(state_dir.parent, "airlock")),
        Store(state_dir / "work.sqlite"),
        SystemClock(),
        state_dir.parent,
    )
    await serve(service, socket)


def _become_airlock(settings: HostSettings) -> NoReturn:
    """Without a cluster, the airlock side is all there is: it looks after the memory of this host's slice."""
    state_dir = Path(settings.state_dir) if settings.state_dir else default_state_dir()
    (state_dir / "airlock").mkdir(mode=0o750, parents=True, exist_ok=True)
    (state_dir / "run").mkdir(mode=0o711, exist_ok=True)
    paths = ["--state-dir", str(state_dir / "airlock"), "--socket", str(socket_path(state_dir, "airlock"))]
    words = [sys.executable, "-m", "tegd.airlock", "--config", settings.airlock_file, *paths]
    os.execv(sys.executable, words)  # noqa: S606 - our own program


@click.command()
@with_settings(HostSettings, "tegd")
def command(settings: HostSettings) -> None:
    """Run the agent side of this host's daemon."""
    start_logs("tegd")
    if not settings.broker:
        _become_airlock(settings)
    settings = msgspec.structs.replace(settings, host=checked_name(settings.host or _host_name(), "host"))
    os.umask(0o077)
    asyncio.run(_serve(settings))


def main() -> None:
    """Entry point."""
    run_program(command)


if __name__ == "__main__":
    main()
