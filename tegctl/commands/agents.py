"""`tegctl agents`: the older name of `tegctl ps -a`."""

import click

from tegctl.commands import ps
from tegctl.session import Session


@click.command(name="agents", hidden=True)
@click.pass_context
def command(context: click.Context) -> None:
    """The same as `tegctl ps -a`."""
    assert isinstance(context.obj, Session)
    context.invoke(ps.command, names=(), users=(), states=(), host="", ended=True, long=False)
