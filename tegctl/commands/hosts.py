"""`tegctl hosts`: every host of the zone, with what is promised of it and what was heard of it."""

import click

from tegctl import zone_view
from tegctl.render import show
from tegctl.session import Session


@click.command(name="hosts")
@click.pass_obj
def command(session: Session) -> None:
    """Every host of the zone: state, GPUs, jobs, price, temperature, entropy."""
    show("Hosts", zone_view.hosts(session), zone_view.PHYSICS_COLUMNS, session.output)
