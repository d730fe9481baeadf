"""`governor`: govern one zone."""

import asyncio
import os
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # two threads on busy cores made a fit 80 times slower

import click

from governor.service import GovernorService
from governor.settings import GovernorSettings
from tegcore.wire.signing import Keyring
from tegio.clock import SystemClock
from tegio.keys import read_key, secret_file
from tegio.logs import start_logs
from tegio.mqtt import MqttTransport, parse_broker
from tegio.paths import default_state_dir, private_dir, socket_path
from tegio.program import serve
from tegio.settings import HELP, run_program, with_settings
from tegio.tls import certificates


async def _serve(settings: GovernorSettings) -> None:
    state_dir = private_dir(Path(settings.state_dir) if settings.state_dir else default_state_dir() / "governor")
    governor_file = secret_file(settings.governor_key_file, "governor.key", state_dir / "governor.key")
    members_file = secret_file(settings.members_key_file, "members.key", state_dir / "members.key")
    tls_key = secret_file(settings.tls_key, "tls.key", Path())
    tls = certificates(settings.tls_ca, settings.tls_certificate, tls_key)
    keyring = Keyring(read_key(members_file), read_key(governor_file))
    transport = MqttTransport(parse_broker(settings.broker), f"{settings.zone}-governor", tls)
    service = GovernorService(settings, keyring, transport, SystemClock())
    await serve(service, socket_path(state_dir.parent, "governor"))


@click.command(context_settings=HELP)
@with_settings(GovernorSettings, "governor")
def command(settings: GovernorSettings) -> None:
    """Run the governor of one zone."""
    start_logs("governor")
    asyncio.run(_serve(settings))


def main() -> None:
    """Entry point."""
    run_program(command)


if __name__ == "__main__":
    main()
