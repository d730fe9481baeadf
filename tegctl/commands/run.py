"""`tegctl run`: run a command on slots that its bid wins."""

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import NoReturn

import click
from click.core import ParameterSource

from tegcore.errors import RefusedError, TegError, UnavailableError
from tegcore.shells import unheard
from tegcore.wire import control
from tegctl import alone, context, cost, farewell, terminal
from tegctl.output import Output
from tegctl.quantities import AMOUNT, CORES, SHARE, TIME, Bid, Bytes, Slots
from tegctl.render import show_json
from tegctl.session import Session, fresh_key, refused_as
from tegio.paths import socket_path
from tegio.seqpacket import ask

BACK_S, LOOK_S = 10.0, 0.2
"""How long a daemon that went away is waited for, and how often it is looked for."""
_TERM = ("TERM",)
"""What a command at a terminal has to know, whatever else is left behind."""
_ALONE = frozenset({"rank", "hook", "name", "detach", "argv", "export", "entries"})
"""What work that runs outside the market can be told."""
_ELSEWHERE = {
    "--gres": "--gpus",
    "--gpus-per-node": "--gpus",
    "--gpus-per-task": "--gpus",
    "--ntasks": "--slots",
    "--nodes": "--slots",
    "--cpus-per-task": "--cpu",
    "--cpus-per-gpu": "--cpu",
    "--mem-per-gpu": "--mem",
    "--mem-per-cpu": "--mem",
    "--job-name": "--name",
    "--account": "--tenant",
    "--partition": "--class",
    "--constraint": "--class",
    "--workdir": "--chdir",
    "--stdin": "--input",
    "--background": "--detach",
}
"""What others call it."""


class _Run(click.Command):
    """Says the nearest right option of one that is none, also where that is called otherwise elsewhere."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if (ours := _ELSEWHERE.get(error.option_name)) is None:
                raise
            said = f"No such option {error.option_name!r}. Did you mean {ours!r}?"
            raise click.NoSuchOption(error.option_name, said, ctx=ctx) from None


@click.command(name="run", cls=_Run, context_settings={"allow_interspersed_args": False})
@click.option(
    "--slots",
    "--gpus",
    "-G",
    "slots",
    type=Slots(),
    default="1",
    show_default=True,
    help="Block sizes, such as 4 or 16+8.",
)
@click.option("--share", type=SHARE, default=0, help="A part of one slot, 0.001 to 0.999.")
@click.option(
    "--class",
    "slot_classes",
    type=click.IntRange(0, 7),
    multiple=True,
    default=(0,),
    show_default=True,
    help="Class of slots; repeatable: the cheapest of them.",
)
@click.option("--mem", type=Bytes(), default=0, help="Host memory per slot at the start; more is bought as it grows.")
@click.option("--cpu", type=CORES, default=0, help="Cores per slot, such as 1.5.")
@click.option(
    "--bid", type=Bid(), help="Most credits per slot and period, or per GPU-hour: 7.2/h; it may take leased slots."
)
@click.option("--budget", type=AMOUNT, default=0, help="Most credits in its whole life; then it is parked.")
@click.option("--endow", type=AMOUNT, default=0, help="Credits set aside for it: what has a purse is hard to displace.")
@click.option(
    "--requeue/--no-requeue",
    default=True,
    show_default=True,
    help="What cannot be saved and has to leave is queued again, and starts from its beginning; else it ends.",
)
@click.option(
    "-t",
    "--time",
    "time_s",
    type=TIME,
    default=0,
    help="It runs so long at most: 15m, 2h, 01:30:00; a bare number is minutes.",
)
@click.option("--sla", type=click.IntRange(0, 255), default=1, show_default=True, help="Priority of its deadline.")
@click.option("--name", default="", help="Unique among what is alive on this host.")
@click.option("--tenant", default="", help="Whose credits (operators).")
@click.option("--hook", is_flag=True, help="It saves itself on SIGUSR1 and resumes with --resume.")
@click.option("--checkpoint-every", type=click.IntRange(0, 2**31), default=0, help="Seconds between saves in passing.")
@click.option(
    "--file",
    "files",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="Small input file, put into the working folder wherever it runs; repeatable.",
)
@click.option("--chdir", "-D", type=click.Path(), default="", help="Its working folder; default: this one.")
@click.option(
    "--export",
    default="ALL",
    show_default=True,
    metavar="ALL|NONE|NAME,NAME=VALUE,...",
    help="What of this environment goes with it, as srun has it.",
)
@click.option("--env", "entries", multiple=True, metavar="NAME=VALUE", help="One more entry of it; repeatable.")
@click.option(
    "--input",
    "-i",
    "source",
    default="all",
    show_default=True,
    metavar="all|none|FILE",
    help="Its standard input: what comes here by a pipe or from a file, nothing, or a file.",
)
@click.option(
    "--pty",
    is_flag=True,
    help="At this terminal, on this host only: keys go to it, Ctrl-C too; it ends if this command does.",
)
@click.option("--here", is_flag=True, help="On this host only.")
@click.option("--rank", type=float, help="On this host alone, without a market: who ranks least gives way for memory.")
@click.option("-d", "--detach", is_flag=True, help="Return at once.")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [ARGUMENT]...")
@click.pass_obj
def command(
    session: Session,
    slots: tuple[int, ...],
    share: int,
    slot_classes: tuple[int, ...],
    mem: int,
    cpu: int,
    bid: tuple[int | None, int | None] | None,
    budget: int,
    endow: int,
    sla: int,
    time_s: int,
    name: str,
    tenant: str,
    rank: float | None,
    argv: tuple[str, ...],
    checkpoint_every: int,
    files: tuple[Path, ...],
    chdir: str,
    export: str,
    entries: tuple[str, ...],
    source: str,
    *,
    requeue: bool,
    hook: bool,
    here: bool,
    pty: bool,
    detach: bool,
) -> None:
    """Run COMMAND; no money options are needed. Ends with the command's exit code.

    Options end at the first word that is none, or at `--`. COMMAND has this environment, working folder, mask, limits
    and standard input.
    """
    if rank is not None:
        _demand_no_market_options()
        env = context.environment(export, entries, os.environ)
        _alone(session, alone.Order(argv, name, rank, hook, env), detach=detach)
    if pty:
        _demand_attached(session)
    limit_ucr, limit_hour_ucr = bid or (None, None)
    with contextlib.ExitStack() as attached:
        listening = attached.enter_context(terminal.Listening()) if pty else None
        with refused_as("the job was not submitted"):
            spec = control.WorkloadSpec(
                argv=argv,
                env=context.environment(export, (*_TERM, *entries) if pty else entries, os.environ),
                cwd=str(Path(context.folder(), chdir)) if chdir else "" if files else context.folder(),
                umask=context.mask(),
                limits=context.limits(),
                name=name,
                sizes=slots,
                share_permille=share,
                slot_classes=slot_classes,
                mem_bytes=mem,
                cpu_milli=cpu,
                limit_ucr=limit_ucr or 0,
                limit_hour_ucr=limit_hour_ucr or 0,
                endow_ucr=endow,
                budget_ucr=budget,
                requeue=requeue and not pty,
                sla_priority=sla,
                time_s=time_s,
                tenant=tenant,
                hook=control.Hook() if hook else None,
                checkpoint_every_s=checkpoint_every,
                here=here or pty,
                terminal=str(listening.path) if listening else "",
            )
            with contextlib.suppress(UnavailableError):  # the ledger may be elsewhere: then accounts are opened there
                session.ask("ledger", control.Accounts())
            given, stdin = _read(files), None if pty else context.standard_input(source, _say)
            answer = session.ask("tegd", control.Submit(spec=spec, key=fresh_key(), files=given, stdin=stdin))
        if ignored := answer.get("overridden"):
            _say(
                f"note: {answer['name']} was submitted; what your environment says of {', '.join(ignored)} is ignored: "
                "TEG sets that itself, by the slots that the job gets; nothing to do"
            )
        for said in answer.get("warnings", ()):
            _say(f"note: {answer['name']} was submitted, but {said}")
        if session.output != "json":
            cost.say(session, answer["name"], answer["ref"], bids=bid is not None)
        if detach:
            if session.output == "json":
                show_json("Submitted", answer)
            else:
                click.echo(answer["name"])
            return
        if listening is not None:
            _at_terminal(session, listening, answer["name"], int(answer["ref"]))
        sys.exit(_awaited(session, answer["name"], int(answer["ref"])))


def _awaited(session: Session, name: str, ref: int) -> int:
    """Wait for the end of a job and show its output; its exit code."""
    if sys.stderr.isatty():
        click.echo(
            f"{name}: submitted; its output comes here once it runs; `tegctl why {name}` says what it waits for",
            err=True,
        )
    try:
        last = _follow(session, name, ref)
    except KeyboardInterrupt:
        click.echo(
            f"the job {name} goes on: `tegctl logs -f {name}` shows its output, `tegctl cancel {name}` ends it",
            err=True,
        )
        raise
    code = last.get("exit_code")
    if not isinstance(code, int) or code:
        click.echo(f"{name}: {_ending(name, str(last.get('outcome') or ''))}", err=True)
    return code if isinstance(code, int) else 1


def _demand_attached(session: Session) -> None:
    """Refuse a terminal for what is not here, or does not stay.

    Raises:
        click.UsageError: Says what does not go with it.
        RefusedError: If there is no terminal.
    """
    here = click.get_current_context()
    options = {"detach": "--detach", "hook": "--hook", "source": "--input"}
    for name, option in options.items():
        if here.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--pty gives the job this terminal: {option} does not go with it; leave one out")
    session.demand_here("run --pty")
    terminal.demand()


def _at_terminal(session: Session, listening: terminal.Listening, name: str, ref: int) -> NoReturn:
    """Give a job this terminal until it ends, and end with its exit code; what nobody is at any more is cancelled."""
    click.echo(f"{name}: submitted; Ctrl-C cancels it while it waits for its turn", err=True)

    def is_over() -> bool:
        (*_, last) = session.stream("tegd", control.Logs(name=str(ref)))
        return bool(last.get("outcome"))

    with terminal.ended_in_order():
        try:
            listening.attached(is_over)
        except BaseException:
            with contextlib.suppress(TegError):
                session.ask("tegd", control.CancelWorkload(name=str(ref)))
                click.echo(f"{name} was cancelled", err=True)
            raise
        last = _follow(session, name, ref)
    code, outcome = last.get("exit_code"), str(last.get("outcome") or "")
    if code != 0:
        click.echo(f"{name}: {outcome or _ending(name, outcome)}", err=True)
    sys.exit(code if isinstance(code, int) else 1)


def _ending(name: str, outcome: str) -> str:
    """What is said of a job that did not end well."""
    if not outcome:
        return f"it has ended, but nobody saw its exit code; `tegctl logs {name}` shows what it wrote"
    if outcome == "cancelled":
        return f"cancelled: it is over, submit it again if you want it; `tegctl why {name}` says who cancelled it"
    if outcome.startswith("cannot be executed"):
        return f"{outcome}; nothing ran: put that right, and submit it again"
    return f"{outcome}: its command failed, what it wrote is above; `tegctl logs {name}` shows it again"


def _follow(session: Session, name: str, ref: int) -> dict[str, object]:
    """Show its output to the end, also over a restart of its daemon; the last thing that is told of it.

    Raises:
        UnavailableError: If the daemon does not come back: with what becomes of the job.
    """
    last: dict[str, object] = {}
    output, offset = Output(), 0
    while True:
        try:
            for part in session.stream("tegd", control.Logs(name=str(ref), offset=offset, follow=True)):
                output.show(part)
                last, offset = part, part["offset"]
        except UnavailableError as error:
            if not _back(session):
                look = f"`tegctl up`, or ask who runs it, then `tegctl logs -f {name}` shows its output again"
                known = "" if session.on else farewell.of_one(session.state_dir, ref, name)
                known = known or f"the job {name} goes on, unless this host was shut down"
                raise UnavailableError(f"tegd went away (its service or `tegctl up` stopped): {known}", look) from error
        else:
            return last


def _back(session: Session) -> bool:
    """Whether the daemon answers again: it is waited for while somebody tends it, and for a moment in any case."""
    here = not session.on
    until_s = time.monotonic() + BACK_S
    while time.monotonic() < until_s or (here and farewell.is_tended(session.state_dir)):
        if here and farewell.was_left(session.state_dir):
            return False
        with contextlib.suppress(UnavailableError):
            session.ask("tegd", control.Host())
            return True
        time.sleep(LOOK_S)
    return False


def _say(what: str) -> None:
    click.echo(what, err=True)


def _read(files: tuple[Path, ...]) -> dict[str, bytes]:
    """Input files by name.

    Raises:
        RefusedError: If two have one name, or they are too many or too large.
    """
    names = [path.name for path in files]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise RefusedError(
            f"two of the files given with --file are called {twice}, and the job has one folder for them",
            "rename one of them, then give both again",
        )
    size = sum(path.stat().st_size for path in files)
    if len(files) > control.FILES_MAX or size > control.FILES_BYTES_MAX:
        most = f"at most {control.FILES_BYTES_MAX >> 10} KiB in {control.FILES_MAX} files go with a job"
        what = f"--file: {size >> 10} KiB in {len(files)} file{'s' * (len(files) != 1)} are too much: {most}"
        raise RefusedError(what, "put larger files into a folder that every host has, and give the command their path")
    return {path.name: path.read_bytes() for path in files}


def _demand_no_market_options() -> None:
    here = click.get_current_context()
    for param in here.command.params:
        given = here.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE
        if given and param.name not in _ALONE:
            given_as = param.opts[0] if len(param.opts) == 1 else f"{param.opts[0]} ({', '.join(param.opts[1:])})"
            raise click.UsageError(
                f"--rank runs a job here at once, without the queue: {given_as} does not go with it; leave one out"
            )


def _alone(session: Session, order: alone.Order, *, detach: bool) -> NoReturn:
    session.demand_here("run --rank")
    airlock = socket_path(session.state_dir, "airlock")
    ask(airlock, "hello")
    unit = alone.start(order, airlock)
    if order.hook and (said := unheard(order.argv)):
        _say(f"note: {unit} was started, but {said}")
    if detach:
        if session.output == "json":
            show_json("Started", {"unit": unit})
        else:
            click.echo(unit)
        sys.exit(0)
    code = alone.follow(unit, airlock)
    if code:
        click.echo(
            f"{unit}: exit code {code}: its command failed; `journalctl -u {unit}` shows what it wrote", err=True
        )
    sys.exit(code)
