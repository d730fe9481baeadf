"""`tegctl update`: change what a job asks for, while it waits or runs."""

import click

from tegcore.wire import control
from tegctl.quantities import AMOUNT, Bid, Bytes
from tegctl.render import show_json
from tegctl.session import Session, refused_as


@click.command(name="update")
@click.argument("name")
@click.option("--bid", type=Bid(), help="Most credits per slot and period, or per GPU-hour: 7.2/h.")
@click.option("--budget", type=AMOUNT, help="Most credits in its whole life; 0: no bound of its own.")
@click.option("--mem", type=Bytes(), help="Host memory per slot.")
@click.pass_obj
def command(
    session: Session, name: str, bid: tuple[int | None, int | None] | None, budget: int | None, mem: int | None
) -> None:
    """Change what job NAME asks for, while it waits or runs."""
    if (bid, budget, mem) == (None, None, None):
        raise click.UsageError("say what to change, as in `tegctl update train --mem 8G`: --bid, --budget or --mem")
    limit_ucr, limit_hour_ucr = bid or (None, None)
    wanted = control.UpdateWorkload(
        name=name, limit_ucr=limit_ucr, limit_hour_ucr=limit_hour_ucr, budget_ucr=budget, mem_bytes=mem
    )
    with refused_as("nothing was changed"):
        answer = session.ask("tegd", wanted)
    if session.output == "json":
        show_json("Workload", answer)
    else:
        click.echo(f"{answer['name']} is {answer['state']}: {answer['done']}")
