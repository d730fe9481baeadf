"""`tegctl run`: run a command on slots that its bid wins."""

import contextlib
import sys
from pathlib import Path
from typing import NoReturn

import click

from tegcore.errors import UnavailableError
from tegcore.units import PERMILLE
from tegcore.wire import control
from tegctl import alone
from tegctl.quantities import Bytes, Credits, Slots
from tegctl.render import show_json
from tegctl.session import Session, fresh_key
from tegio.paths import socket_path
from tegio.seqpacket import ask


@click.command(name="run", context_settings={"ignore_unknown_options": True})
@click.option("--slots", type=Slots(), default="1", show_default=True, help="Block sizes, such as 4 or 16+8.")
@click.option("--share", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="A part of one slot.")
@click.option(
    "--class",
    "slot_classes",
    type=click.IntRange(0, 7),
    multiple=True,
    default=(0,),
    show_default=True,
    help="Of slots that will do; repeatable: the cheapest.",
)
@click.option("--mem", type=Bytes(), default=0, help="Host memory per slot at the start; more is bought as it grows.")
@click.option("--cpu", type=click.FloatRange(0), default=0.0, help="Cores per slot.")
@click.option("--bid", type=Credits(), default=0, help="Most credits per slot and period; default: twice the price.")
@click.option("--endow", type=Credits(), default=0, help="Credits for its purse; default: four periods.")
@click.option("--sla", type=click.IntRange(0, 255), default=1, help="Priority of its deadline.")
@click.option("--name", default="", help="Unique among what is alive on this host.")
@click.option("--tenant", default="", help="Whose credits (operators).")
@click.option("--hook", is_flag=True, help="It saves itself on SIGUSR1 and resumes with --resume.")
@click.option("--checkpoint-every", type=click.IntRange(0), default=0, help="Seconds between saves in passing.")
@click.option(
    "--file",
    "files",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="Small input file, put into the working folder wherever it runs; repeatable.",
)
@click.option("--here", is_flag=True, help="On this host only.")
@click.option("--rank", type=float, help="On this host alone, without a market: who ranks least gives way for memory.")
@click.option("-d", "--detach", is_flag=True, help="Return at once.")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def command(
    session: Session,
    slots: tuple[int, ...],
    share: float | None,
    slot_classes: tuple[int, ...],
    mem: int,
    cpu: float,
    bid: int,
    endow: int,
    sla: int,
    name: str,
    tenant: str,
    rank: float | None,
    argv: tuple[str, ...],
    checkpoint_every: int,
    files: tuple[Path, ...],
    *,
    hook: bool,
    here: bool,
    detach: bool,
) -> None:
    """Run COMMAND; without money options it bids for itself. Ends with the command's exit code."""
    if rank is not None:
        _alone(session, alone.Order(argv, name, rank, hook), detach=detach)
    spec = control.WorkloadSpec(
        argv=argv,
        cwd="" if files else str(Path.cwd()),
        name=name,
        sizes=slots,
        share_permille=round(share * PERMILLE) if share else 0,
        slot_classes=slot_classes,
        mem_bytes=mem,
        cpu_milli=round(cpu * 1000),
        limit_ucr=bid,
        endow_ucr=endow,
        sla_priority=sla,
        tenant=tenant,
        hook=control.Hook() if hook else None,
        checkpoint_every_s=checkpoint_every,
        here=here,
    )
    with contextlib.suppress(UnavailableError):  # the ledger may be on another machine: then accounts are opened there
        session.ask("ledger", control.Accounts())
    given = {path.name: path.read_bytes() for path in files}
    answer = session.ask("tegd", control.Submit(spec=spec, key=fresh_key(), files=given))
    if detach:
        if session.output == "json":
            show_json("Submitted", answer)
        else:
            click.echo(answer["name"])
        return
    last: dict[str, object] = {}
    for part in session.stream("tegd", control.Logs(name=str(answer["ref"]), follow=True)):
        sys.stdout.buffer.write(part["bytes"])
        sys.stdout.buffer.flush()
        last = part
    code = last.get("exit_code")
    if not isinstance(code, int) or code:
        click.echo(f"{answer['name']}: {last.get('outcome') or 'its exit code was not seen'}", err=True)
    sys.exit(code if isinstance(code, int) else 1)


def _alone(session: Session, order: alone.Order, *, detach: bool) -> NoReturn:
    airlock = socket_path(session.state_dir, "airlock")
    ask(airlock, "hello")
    unit = alone.start(order)
    if detach:
        if session.output == "json":
            show_json("Started", {"unit": unit})
        else:
            click.echo(unit)
        sys.exit(0)
    code = alone.follow(unit, airlock)
    if code:
        click.echo(f"{unit}: exit code {code}", err=True)
    sys.exit(code)
