"""`tegctl cancel`: take jobs out of the queue, or have them saved and ended."""

from typing import Any

import click

from tegcore.wire import control
from tegctl.commands.ps import chosen, filters
from tegctl.render import show_json
from tegctl.session import Session, refused_as


@click.command(name="cancel")
@click.argument("names", nargs=-1)
@filters
@click.pass_obj
def command(
    session: Session, names: tuple[str, ...], users: tuple[str, ...], states: tuple[str, ...], host: str
) -> None:
    """Take jobs NAMES out of the queue, or have them saved and ended; or all that the options choose."""
    if not (names or users or states or host):
        raise click.UsageError(
            "say which jobs: by name, as `tegctl cancel train`, or by --user, --state or --host; `tegctl ps` lists them"
        )
    if users or states or host:
        rows = chosen(session.ask("tegd", control.Workloads()), names, users, states, host)
        names = tuple(str(row["ref"]) for row in rows if row["life"] != "ended")
    answers: list[Any] = []
    for name in names:
        before = f" ({len(answers)} before it were)" if answers else ""
        with refused_as(f"{name} was not cancelled{before}"):
            answers.append(session.ask("tegd", control.CancelWorkload(name=name)))
    if session.output == "json":
        show_json("Workload", answers[0] if len(answers) == 1 else answers)
        return
    for answer in answers:
        click.echo(f"{answer['name']}: {answer['state']}")
    if not answers:
        click.echo("(none)")
