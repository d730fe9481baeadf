"""`tegctl logs`: a job's output."""

import click

from tegcore.wire import control
from tegctl.output import Output
from tegctl.quantities import TIME
from tegctl.session import Session


@click.command(name="logs")
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on while it lives.")
@click.option("-n", "--lines", "last", type=click.IntRange(0, 2**31), help="Begin so many lines before the end.")
@click.option(
    "--since",
    "since_s",
    type=TIME,
    default=0,
    help="Begin with what was written so long ago: 90s, 10m, 2h; a bare number is minutes.",
)
@click.pass_obj
def command(session: Session, name: str, last: int | None, since_s: int, *, follow: bool) -> None:
    """Print what job NAME has written, in all its runs; how many lines are gone stands on standard error."""
    output = Output()
    for part in session.stream("tegd", control.Logs(name=name, follow=follow, last=last, since_s=since_s)):
        output.show(part)
