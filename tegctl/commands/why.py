"""`tegctl why`: every reason that a workload waits, with the number that is missing."""

import click

from tegcore.units import credits_text
from tegcore.wire import control
from tegctl.render import show_json
from tegctl.session import Session


@click.command(name="why")
@click.argument("name")
@click.pass_obj
def command(session: Session, name: str) -> None:
    """Every reason that workload NAME waits, and what has happened to it."""
    answer = session.ask("tegd", control.Why(name=name))
    if session.output == "json":
        show_json("Why", answer)
        return
    limit = (
        f"; limit {credits_text(answer['limit_ucr'])} credits per slot and period" if answer.get("minds_money") else ""
    )
    click.echo(f"{answer['name']} ({answer['tenant']}) is {answer['life']}{limit}")
    for reason in answer["reasons"]:
        click.echo(f"  {reason['text']}")
    if not answer["reasons"]:
        click.echo(f"  it does not wait: {answer['outcome'] or answer['run'] or answer['life']}")
    for step in answer["history"]:
        click.echo(f"  tick {step['tick']:>7}  {step['text']}")
