"""Verbs that set one thing of the ledger on or off; operators only."""

from collections.abc import Callable
from typing import Any

import click

from tegcore.wire.control import AnyRequest
from tegctl.render import show_json
from tegctl.session import Session, fresh_key


def switch(
    name: str, doc: str, argument: click.Argument, request: Callable[[Any, int], AnyRequest], done: str
) -> click.Command:
    """A verb that asks the ledger for one change.

    Args:
        name: Of the verb.
        doc: Its help.
        argument: What it is done to.
        request: Makes the request, of the argument's value and a fresh key.
        done: What to say, with the value for `{}`.
    """

    @click.pass_obj
    def act(session: Session, /, **values: Any) -> None:
        (value,) = values.values()
        answer = session.ask("ledger", request(value, fresh_key()))
        if session.output == "json":
            show_json(name.capitalize(), answer)
        else:
            click.echo(done.format(value))

    return click.Command(name, callback=act, params=[argument], help=doc)
