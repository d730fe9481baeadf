"""`tegctl top-up`: more credits for a job's budget or purse."""

import click

from tegcore.units import credits_text
from tegcore.wire import control
from tegctl.quantities import GIVEN
from tegctl.render import show_json
from tegctl.session import Session, fresh_key


@click.command(name="top-up")
@click.argument("name")
@click.argument("amount", type=GIVEN)
@click.pass_obj
def command(session: Session, name: str, amount: int) -> None:
    """More credits for the budget or the purse of job NAME; what was parked for want of them goes on by itself."""
    answer = session.ask("tegd", control.TopUpWorkload(name=name, amount_ucr=amount, key=fresh_key()))
    if session.output == "json":
        show_json("Workload", answer)
    else:
        click.echo(
            f"{credits_text(amount)} credits were added to what {answer['name']} may spend; it is {answer['state']}"
        )
