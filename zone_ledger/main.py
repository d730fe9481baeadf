"""`zone-ledger`: run a zone's ledger, verify a journal, provision hosts and tenants."""

import asyncio
import gc
import json
from pathlib import Path

import click

from tegcore.errors import ConfigError, JournalError
from tegcore.ids import checked_name
from tegcore.wire.signing import Key, governor_key, host_key, members_key, tenant_token
from tegio import failpoints
from tegio.clock import SystemClock
from tegio.host import host_name
from tegio.keys import make_key, read_key, secret_file, write_key, write_token
from tegio.logs import event, start_logs
from tegio.mqtt import MqttTransport, parse_broker
from tegio.paths import default_state_dir, private_dir, socket_path
from tegio.program import serve
from tegio.settings import HELP, run_program, with_settings
from tegio.tls import certificates
from zone_ledger import audit as auditor
from zone_ledger import views
from zone_ledger.journal.snapshots import Snapshots
from zone_ledger.journal.store import Journal
from zone_ledger.replay import new_engine, recover, replay
from zone_ledger.service import LedgerService
from zone_ledger.settings import LedgerSettings

GC_THRESHOLDS = 50_000, 20, 100
"""The ledger's objects hardly ever form cycles: looking for them at the usual rate takes a tenth of its time."""


def _state_dir(settings: LedgerSettings) -> Path:
    return Path(settings.state_dir) if settings.state_dir else default_state_dir() / "ledger"


def _key_file(settings: LedgerSettings) -> Path:
    return secret_file(settings.key_file, "zone.key", _state_dir(settings) / "zone.key")


def _zone_secret(settings: LedgerSettings) -> Key:
    path = _key_file(settings)
    if not path.exists():
        hint = "--set key_file=FILE names it, /etc/teg/credentials/ledger/zone.key on an installed host"
        raise ConfigError(f"there is no secret of zone {settings.zone} at {path}", hint)
    return read_key(path)


async def _serve(settings: LedgerSettings) -> None:
    gc.set_threshold(*GC_THRESHOLDS)
    failpoints.arm()
    state_dir = private_dir(_state_dir(settings))
    tls_key = secret_file(settings.tls_key, "tls.key", Path())
    tls = certificates(settings.tls_ca, settings.tls_certificate, tls_key)
    transport = MqttTransport(parse_broker(settings.broker), f"{settings.zone}-ledger", tls)
    secret = make_key(_key_file(settings))
    journal = Journal(state_dir / "journal.sqlite", settings.zone)
    try:
        service = LedgerService(settings, secret, transport, journal, SystemClock())
        try:
            await serve(service, socket_path(state_dir.parent, "ledger"))
        finally:
            event("ledger.stopped", tick=service.engine.state.tick)
    finally:
        journal.close()


@click.group(invoke_without_command=True, context_settings=HELP)
@with_settings(LedgerSettings, "zone-ledger")
@click.pass_context
def command(context: click.Context, settings: LedgerSettings) -> None:
    """Run the ledger of one zone."""
    context.obj = settings
    if context.invoked_subcommand is None:
        start_logs("zone-ledger")
        asyncio.run(_serve(settings))


@command.command()
@click.argument("journal", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--at-batch", type=int, help="Stop after this batch.")
@click.option("--expect-hash", help="State hash that must be reached.")
def verify(journal: Path, at_batch: int | None, expect_hash: str | None) -> None:
    """Replay JOURNAL and check every sum and hash; prints the result as JSON."""
    if not journal.exists():
        raise JournalError(
            f"there is no file {journal}: nothing was verified",
            "name a journal.sqlite that is there; `tegctl verify` alone takes that of zone-ledger",
        )
    source = Journal(journal, read_only=True)
    try:
        if source.first.number and at_batch is None:
            engine = recover(source, Snapshots(journal.with_suffix(".snapshots")))
        else:
            batches = (batch for batch in source.read() if at_batch is None or batch.number <= at_batch)
            engine = replay(batches, new_engine(source.rules))
    finally:
        source.close()
    engine.check()
    state_hash = engine.state.hash().hex()
    number = source.last_number if at_batch is None else at_batch
    equal = None if expect_hash is None else state_hash == expect_hash
    result = {
        "zone": source.zone,
        "batches": number,
        "tick": engine.state.tick,
        "rules": engine.state.rules.number,
        "state_hash": state_hash,
        "replay_hash_equal": equal,
        "credits": views.sums(engine.state),
        "conserved": True,
    }
    click.echo(json.dumps(result))
    if equal is False:
        raise JournalError(f"{journal} leads to {state_hash}, not to {expect_hash}", "compare versions of TEG")


@command.command()
@click.argument("journal", type=click.Path(path_type=Path))
def audit(journal: Path) -> None:
    """Rebuild every balance of JOURNAL from its postings alone; prints them as JSON."""
    if not journal.exists():
        raise JournalError(f"there is no journal at {journal}", "name the file journal.sqlite of a ledger's folder")
    try:
        click.echo(json.dumps(auditor.audit(journal).result()))
    except auditor.AuditError as error:
        raise JournalError(f"{journal}: {error}", "compare it with `zone-ledger verify`") from None


@command.command()
@click.argument("host")
@click.pass_obj
def keys(settings: LedgerSettings, host: str) -> None:
    """Print the keys that HOST is to hold, as JSON."""
    secret, zone = _zone_secret(settings), settings.zone
    click.echo(
        json.dumps(
            {
                "host": host_key(secret, checked_name(host, "host")).hex(),
                "members": members_key(secret, zone).hex(),
                "governor": governor_key(secret, zone).hex(),
            }
        )
    )


@command.command()
@click.option("--to", "folder", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of keys.")
@click.option("--host", default=host_name(), show_default="this host's name", help="Host whose keys are written.")
@click.option("--tenant", "tenants", multiple=True, help="Whose credits that host may spend; may be repeated.")
@click.pass_obj
def provision(settings: LedgerSettings, folder: Path, host: str, tenants: tuple[str, ...]) -> None:
    """Write the keys that ledger, governor and one host are to hold, each in a folder of its own.

    The zone's secret is made if there is none. Tenants are added to those that the host has.
    """
    secret = make_key(folder / "ledger" / "zone.key")
    members = members_key(secret, settings.zone)
    write_key(folder / "governor" / "governor.key", governor_key(secret, settings.zone))
    write_key(folder / "governor" / "members.key", members)
    write_key(folder / "tegd" / "members.key", members)
    write_key(folder / "tegd" / "host.key", host_key(secret, checked_name(host, "host")))
    for name in tenants:
        write_token(folder / "tegd" / f"{checked_name(name, 'tenant')}.token", tenant_token(secret, name))
    click.echo(f"{folder}: keys of zone {settings.zone} for host {host}")


@command.command()
@click.argument("tenant")
@click.pass_obj
def token(settings: LedgerSettings, tenant: str) -> None:
    """Print the token that spends as TENANT."""
    click.echo(tenant_token(_zone_secret(settings), checked_name(tenant, "tenant")))


def main() -> None:
    """Entry point."""
    run_program(command)


if __name__ == "__main__":
    main()
