"""`tegctl mint`: put new credits into a tenant's account, once or from now on (operators)."""

import click

from tegcore.units import credits_text
from tegcore.wire import control
from tegctl.quantities import AMOUNT, GIVEN
from tegctl.render import show_json
from tegctl.session import Session, fresh_key


@click.command(name="mint")
@click.argument("tenant", required=False, default="")
@click.argument("amount", type=GIVEN, required=False)
@click.option("--rate", type=AMOUNT, metavar="CREDITS_PER_HOUR", help="An income from now on; 0 for none.")
@click.option("--standing", is_flag=True, help="An income that covers what is charged at fixed prices: the default.")
@click.option("--all", "everyone", is_flag=True, help="With an income: every tenant that has none of its own.")
@click.pass_obj
def command(
    session: Session, tenant: str, amount: int | None, rate: int | None, *, standing: bool, everyone: bool
) -> None:
    """Put AMOUNT new credits into the account of TENANT, or set its income (operators)."""
    if sum((amount is not None, rate is not None, standing)) != 1:
        raise click.UsageError(
            "say how much, and one of these only: `tegctl mint TENANT 100` once, "
            "`tegctl mint TENANT --rate 10` an hour, or `tegctl mint TENANT --standing`"
        )
    if bool(tenant) == everyone:
        raise click.UsageError(
            "say for whom: a tenant, as in `tegctl mint ada --rate 10`, or --all for every tenant, but not both"
        )
    if amount is not None:
        if everyone:
            raise click.UsageError("--all goes with --rate or --standing only, as in `tegctl mint --all --rate 10`")
        answer = session.ask(
            "ledger", control.MintCredits(tenant=tenant, amount_ucr=amount, key=fresh_key(), opens=False)
        )
        text = f"minted {credits_text(amount)} credits for {tenant}"
    else:
        hour_ucr = -1 if rate is None else rate
        answer = session.ask(
            "ledger", control.SetIncome(tenant=tenant, hour_ucr=hour_ucr, key=fresh_key(), opens=False)
        )
        income = "what is charged at fixed prices" if rate is None else f"{credits_text(rate)} credits an hour"
        text = f"income of {tenant or 'all without one of their own'}: {income}"
    if session.output == "json":
        show_json("Minted", answer)
    else:
        click.echo(text)
