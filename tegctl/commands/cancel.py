"""`tegctl cancel`: stop seeking, or save and end a workload."""

import click

from tegcore.wire import control
from tegctl.render import show_json
from tegctl.session import Session


@click.command(name="cancel")
@click.argument("name")
@click.pass_obj
def command(session: Session, name: str) -> None:
    """Stop seeking, or save and end a workload."""
    answer = session.ask("tegd", control.CancelWorkload(name=name))
    if session.output == "json":
        show_json("Workload", answer)
    else:
        click.echo(f"{name}: {answer['state']}")
