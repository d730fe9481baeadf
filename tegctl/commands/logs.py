"""`tegctl logs`: a job's output."""

import sys

import click

from tegcore.wire import control
from tegctl.session import Session


@click.command(name="logs")
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on while it lives.")
@click.pass_obj
def command(session: Session, name: str, *, follow: bool) -> None:
    """Print what job NAME has written, in all its runs."""
    for part in session.stream("tegd", control.Logs(name=name, follow=follow)):
        sys.stdout.buffer.write(part["bytes"])
        sys.stdout.buffer.flush()
