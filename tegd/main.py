"""`tegd`: the agent side of a host's daemon. The airlock side is `python -m tegd.airlock`."""

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import NoReturn

import click
import msgspec

from tegcore.ids import checked_name
from tegcore.wire.signing import Keyring
from tegd.adapters.airlock_client import AirlockClient
from tegd.adapters.store import Store
from tegd.alone import AloneService
from tegd.service import HostService
from tegd.settings import HostSettings
from tegio.clock import SystemClock
from tegio.host import host_name, machine_number
from tegio.keys import read_key, secret_file, tokens
from tegio.logs import start_logs
from tegio.mqtt import MqttTransport, parse_broker
from tegio.paths import SYSTEM_STATE, default_state_dir, private_dir, socket_path
from tegio.program import serve
from tegio.settings import HELP, run_program, with_settings
from tegio.tls import certificates


async def _serve(settings: HostSettings) -> None:
    base = Path(settings.state_dir) if settings.state_dir else default_state_dir() / "tegd"
    state_dir = private_dir(base)
    host_key = read_key(secret_file(settings.host_key_file, "host.key", state_dir / "host.key"))
    members_file = secret_file(settings.members_key_file, "members.key", state_dir / "members.key")
    settings = msgspec.structs.replace(settings, tls_key=str(secret_file(settings.tls_key, "tls.key", Path())))
    tls = certificates(settings.tls_ca, settings.tls_certificate, settings.tls_key)
    settings = msgspec.structs.replace(settings, tokens=tokens(state_dir) | settings.tokens)
    host = settings.host
    keyring = Keyring(read_key(members_file), None, lambda name: host_key if name == host else None)
    socket = socket_path(state_dir.parent, "tegd")
    # Two clients of one name put each other out; so that of two machines both are heard, and one is told.
    client_id = f"{settings.zone}-{host}-{machine_number(state_dir.parent):x}"
    transport = MqttTransport(parse_broker(settings.broker), client_id, tls)
    with contextlib.closing(Store(state_dir / "work.sqlite")) as store:
        service = HostService(
            settings,
            keyring,
            host_key,
            transport,
            AirlockClient(socket_path(state_dir.parent, "airlock")),
            store,
            SystemClock(),
            state_dir.parent,
        )
        await serve(service, socket)


async def _beside_the_airlock(settings: HostSettings) -> None:
    await serve(AloneService(settings.host), socket_path(SYSTEM_STATE, "tegd"))


def _become_airlock(settings: HostSettings, state_dir: Path) -> NoReturn:
    """Without a cluster, the airlock side is all there is: it looks after the memory of this host's slice."""
    (state_dir / "airlock").mkdir(mode=0o750, parents=True, exist_ok=True)
    (state_dir / "run").mkdir(mode=0o711, exist_ok=True)
    paths = ["--state-dir", str(state_dir / "airlock"), "--socket", str(socket_path(state_dir, "airlock"))]
    words = [sys.executable, "-m", "tegd.airlock", "--config", settings.airlock_file, *paths]
    os.execv(sys.executable, words)  # noqa: S606 - our own program


@click.command(context_settings=HELP)
@with_settings(HostSettings, "tegd")
def command(settings: HostSettings) -> None:
    """Run the agent side of this host's daemon; without a broker, the airlock side if nothing else does."""
    start_logs("tegd")
    settings = msgspec.structs.replace(settings, host=checked_name(settings.host or host_name(), "host"))
    os.umask(0o077)
    if settings.broker:
        asyncio.run(_serve(settings))
        return
    state_dir = Path(settings.state_dir) if settings.state_dir else default_state_dir()
    if state_dir != SYSTEM_STATE:
        _become_airlock(settings, state_dir)
    asyncio.run(_beside_the_airlock(settings))


def main() -> None:
    """Entry point."""
    run_program(command)


if __name__ == "__main__":
    main()
