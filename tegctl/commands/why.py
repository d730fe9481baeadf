"""`tegctl why`: every reason that a job does not run, with the number and what would help."""

import click

from tegcore.units import credits_text
from tegcore.wire import control
from tegctl.output import gone
from tegctl.render import hourly, show_json
from tegctl.session import Session


@click.command(name="why")
@click.argument("name")
@click.option("-v", "--verbose", is_flag=True, help="With all that has happened to it.")
@click.pass_obj
def command(session: Session, name: str, *, verbose: bool) -> None:
    """Why job NAME waits, and what would help."""
    answer = session.ask("tegd", control.Why(name=name))
    if session.output == "json":
        show_json("Why", answer)
        return
    click.echo(f"{answer['name']} ({answer['tenant']}) is {answer['state']}{_where(answer)}{_money(answer)}")
    for reason in answer["reasons"]:
        click.echo(f"  {reason['text']}")
        if reason.get("help"):
            click.echo(f"    -> {reason['help']}")
    if not answer["reasons"]:
        click.echo("  nothing keeps it from running: nothing to do")
    if log := answer.get("log"):
        click.echo(f"  {gone(log)}")
    for said in answer.get("warnings", ()):
        click.echo(f"  note: {said}")
    steps = answer["history"] if verbose else answer["history"][-5:]
    for step in steps:
        click.echo(f"  {step['ago_ticks'] / 20:>8.0f} s ago  {step['text']}")


def _where(answer: dict[str, object]) -> str:
    hosts = answer.get("hosts")
    return f" on {', '.join(map(str, hosts))}" if isinstance(hosts, list) and hosts else ""


def _money(answer: dict[str, object]) -> str:
    """What it pays and bids, where money decides."""
    if not answer.get("minds_money"):
        return ""
    price, bid = hourly("price_ucr")(answer), hourly("limit_ucr")(answer)
    said = [" and ".join([f"pays {price}"] * bool(price) + [f"bids {bid}"] * bool(bid)) + " credits per GPU-hour"]
    said = said * bool(price or bid)
    purse = answer.get("purse_ucr")
    said += [f"{credits_text(purse)} credits left"] if isinstance(purse, int) and purse else []
    return f"; {', '.join(said)}" if said else ""
