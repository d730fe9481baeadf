"""`tegctl update`: change what a job asks for, while it waits or runs."""

import click

from tegcore.errors import PermissionDeniedError, RefusedError
from tegcore.wire import control
from tegctl.quantities import AMOUNT, Bid, Bytes, NewTime
from tegctl.render import show_json
from tegctl.session import Session, fresh_key, refused_as


@click.command(name="update")
@click.argument("name")
@click.option("--bid", type=Bid(), help="Most credits per slot and period, or per GPU-hour: 7.2/h.")
@click.option("--budget", type=AMOUNT, help="Most credits in its whole life; 0: no bound of its own.")
@click.option("--mem", type=Bytes(), help="Host memory per slot.")
@click.option(
    "-t",
    "--time",
    "new_time",
    type=NewTime(),
    help="It runs so long at most: 2h; +30m, -30m: so much more; a bare number is minutes.",
)
@click.pass_obj
def command(
    session: Session,
    name: str,
    bid: tuple[int | None, int | None] | None,
    budget: int | None,
    mem: int | None,
    new_time: tuple[int, int] | None,
) -> None:
    """Change what job NAME asks for, while it waits or runs.

    While it runs, --time can only become less, as others were promised slots by it; operators can give it more.
    """
    if (bid, budget, mem, new_time) == (None, None, None, None):
        hint = "say what to change, as in `tegctl update train --mem 8G`: --bid, --budget, --mem or --time"
        raise click.UsageError(hint)
    limit_ucr, limit_hour_ucr = bid or (None, None)
    with refused_as("nothing was changed"):
        time_s, told = (None, False) if new_time is None else _time(session, name, *new_time)
        wanted = control.UpdateWorkload(
            name=name,
            limit_ucr=limit_ucr,
            limit_hour_ucr=limit_hour_ucr,
            budget_ucr=budget,
            mem_bytes=mem,
            time_s=time_s,
            told=told,
        )
        answer = session.ask("tegd", wanted)
    if session.output == "json":
        show_json("Workload", answer)
    else:
        click.echo(f"{answer['name']} is {answer['state']}: {answer['done']}")


def _time(session: Session, name: str, sign: int, length_s: int) -> tuple[int | None, bool]:
    """The time limit that is meant, and whether the ledger was told of it: for more of what runs, by an operator.

    Raises:
        RefusedError: If there is none that could be changed, or it would be none.
        PermissionDeniedError: If it is more, and who asks is no operator.
    """
    rows = [row for row in session.ask("tegd", control.Workloads()) if name in {row["name"], str(row["ref"])}]
    row = max(rows, key=lambda each: (not each["home"], each["ref"]), default=None)
    if row is None:
        return length_s, False  # tegd says so
    declared_s = row["time_s"]
    if sign and not declared_s:
        what = f"{row['name']} has no time limit that could become more or less"
        raise RefusedError(what, f"give it one: `tegctl update {name} --time 2h`")
    time_s = declared_s + sign * length_s if sign else length_s
    if not 0 < time_s <= control.TIME_S_MAX:
        raise RefusedError(
            f"{row['name']} has a time limit of {declared_s} s: {time_s} s is no length of time",
            f"write at least 1 s and at most 38 days; `tegctl cancel {name}` ends it at once",
        )
    if not (row["lease"] and 0 < declared_s < time_s):
        return time_s, False
    try:
        session.ask("ledger", control.SetTime(lease=row["lease"], time_s=time_s, key=fresh_key()))
    except PermissionDeniedError:
        return time_s, False  # tegd says why
    return time_s, True
