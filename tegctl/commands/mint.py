"""`tegctl mint`: put new credits into a tenant's account (operators)."""

import click

from tegcore.units import credits_text
from tegcore.wire import control
from tegctl.quantities import AMOUNT
from tegctl.render import show_json
from tegctl.session import Session, fresh_key


@click.command(name="mint")
@click.argument("tenant")
@click.argument("amount", type=AMOUNT)
@click.pass_obj
def command(session: Session, tenant: str, amount: int) -> None:
    """Put new credits into a tenant's account (operators)."""
    answer = session.ask("ledger", control.MintCredits(tenant=tenant, amount_ucr=amount, key=fresh_key()))
    if session.output == "json":
        show_json("Minted", answer)
    else:
        click.echo(f"minted {credits_text(amount)} credits for {tenant}")
