"""`tegctl certs`: the certificates under which hosts and programs speak to each other and to the broker."""

from pathlib import Path

import click

from tegctl import authority
from tegctl.render import show
from tegctl.session import Session

COLUMNS = (
    ("NAME", lambda row: row["name"]),
    ("DAYS LEFT", lambda row: row["days_left"]),
    ("SIGNED BY", lambda row: "the authority" if row["current"] else "the old authority: issue it anew"),
)
_FOLDER = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    default=Path("certs"),
    show_default=True,
    help="Folder of the authority; keep it on no host.",
)


@click.group(name="certs")
def command() -> None:
    """Make the zone's certificate authority, issue certificates, and rotate both."""


@command.command()
@_FOLDER
@click.option("--zone", default="zone", show_default=True, help="What the authority is for.")
def init(folder: Path, zone: str) -> None:
    """Make an authority."""
    authority.init(folder, zone)
    click.echo(f"made {folder / 'ca.pem'}; keep {folder / 'ca.key'} to yourself")


@command.command()
@_FOLDER
@click.argument("name")
@click.option("--address", "addresses", multiple=True, help="DNS name or IP address that it is reached at; repeatable.")
def issue(folder: Path, name: str, addresses: tuple[str, ...]) -> None:
    """Make a key and a certificate for host NAME, or for `ledger`, `governor`, `broker`; replaces what was there."""
    certificate, key = authority.issue(folder, name, addresses)
    click.echo(f"made {certificate} and {key}")


@command.command()
@_FOLDER
@click.option("--finish", is_flag=True, help="Trust the new authority alone.")
def rotate(folder: Path, *, finish: bool) -> None:
    """Replace the authority: both are trusted until every certificate was issued anew and `--finish` is given."""
    authority.rotate(folder, finish=finish)
    if finish:
        click.echo(f"{folder / 'ca.pem'} names the new authority alone: copy it to every host and to the broker")
    else:
        click.echo(f"{folder / 'ca.pem'} names both: copy it everywhere, then issue every certificate anew")


@command.command(name="list")
@_FOLDER
@click.pass_obj
def show_all(session: Session, folder: Path) -> None:
    """Every certificate, and how long it lives."""
    show("Certificates", authority.rows(folder), COLUMNS, session.output)
