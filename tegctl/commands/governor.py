"""`tegctl governor`: what the governor decided last, and why; pause it, or let it go on."""

import click

from tegcore.wire import control
from tegctl.render import plain, show, show_json
from tegctl.session import Session

COLUMNS = (
    ("EPOCH", plain("epoch")),
    ("PHASE", plain("phase")),
    ("RE", lambda row: f"{row['reynolds']:.3f}"),
    ("S-DOT", lambda row: f"{row['entropy_rate']:.3f}"),
    ("G", lambda row: f"{row['g']:+.3f}"),
    ("F", lambda row: f"{row['free_energy']:+.4f}"),
    ("H", lambda row: f"{row['barrier']:+.2f}"),
    ("BOUND", plain("bound")),
    ("J", lambda row: f"{row['cost']:.3f}"),
    ("STALE", plain("stale")),
)


@click.command(name="governor")
@click.option("--pause/--resume", "pause", default=None, help="Hold g at 0 (operators), or let it move.")
@click.pass_obj
def command(session: Session, pause: bool | None) -> None:
    """Show the latest certificates of the governor."""
    request = control.GovernorView() if pause is None else control.PauseGovernor(on=pause)
    answer = session.ask("governor", request)
    if session.output == "json":
        show_json("Governor", answer)
        return
    show("Governor", answer["history"][-10:], COLUMNS, session.output)
    state = "paused" if answer["paused"] else "governing"
    field = answer["hyperparameters"]
    click.echo(f"{state}; friction {answer['friction']:.3f}; admission {answer['admission']}")
    rejected = f"{answer['samples_rejected']} samples rejected"
    click.echo(f"field: signal {field['signal']:.3f}, noise {field['noise']:.3f}; {rejected}")
