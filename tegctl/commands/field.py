"""`tegctl field`: the field that the governor broadcast last, drawn."""

import click

from tegcore.wire import control
from tegctl.render import show_json
from tegctl.session import Session

SHADES = " .:-=+*#%@"


@click.command(name="field")
@click.pass_obj
def command(session: Session) -> None:
    """Draw the entropy field S_phys over the zone: dark is idle, dense is busy."""
    answer = session.ask("governor", control.FieldView())
    if session.output == "json":
        show_json("Field", answer)
        return
    values, grid = answer["values"], answer["grid"]
    if not values:
        click.echo("no field yet: the governor has heard no telemetry")
        return
    low, high = min(values), max(values)
    scale = (len(SHADES) - 1) / (high - low) if high > low else 0.0
    for row in reversed(range(grid)):
        line = values[row * grid : (row + 1) * grid]
        click.echo(" ".join(SHADES[int((value - low) * scale)] for value in line))
    click.echo(f"S from {low:.3f} to {high:.3f} at tau {answer['tau']}")
