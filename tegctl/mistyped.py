"""What is said of a command line that is not one: beside what is wrong, what to write instead.

The parser knows the form of a word; what there is to choose from, another command says.
"""

import difflib
import re
from pathlib import Path

import click

_SHOWN_MAX = 8
_WHERE = {
    "name": "`tegctl ps -a` lists the jobs by name, as in `tegctl {verb} train`",
    "host": "`tegctl hosts` lists the hosts by name, as in `tegctl {verb} n1`",
    "slot": "`tegctl book` lists the slots by number, as in `tegctl {verb} 3`",
    "lease": "a lease is what a job holds its slots by, a number: `tegctl leases` lists them, as in `tegctl {verb} 4`",
    "tenant": "`tegctl tenant show` lists the tenants by name",
    "amount": "it is a number of credits above 0, as in `tegctl {verb} {first} 5`",
    "argv": "write the command to run after --, as in `tegctl run -- python train.py`",
}
"""Where what an argument can be is listed, by the argument's name."""
_OF_ALL = {
    "--state": "--state FOLDER",
    "--on": "--on HOST",
    "--ledger-on": "--ledger-on HOST",
    "--remote-state": "--remote-state FOLDER",
    "-o": "-o json",
    "--output": "--output json",
}
"""Options that stand before the verb, as they are written there."""
_NUMBER = re.compile(r"-\d")


def helped(error: click.UsageError) -> click.UsageError:
    """The same, with what to write instead."""
    said, context = error.format_message(), error.ctx
    if isinstance(error, click.NoSuchOption) and context is not None and error.option_name in _OF_ALL:
        verb = context.command_path.partition(" ")[2]
        before = f"put it before the verb: `tegctl {_OF_ALL[error.option_name]} {verb}`"
        return click.UsageError(f"{error.option_name} is of every verb, and none of `{verb}` alone: {before}", context)
    if (more := _more(error, said, context)) is None:
        return error
    return click.UsageError(f"{said.rstrip('.')}{more}", context)


def _more(error: click.UsageError, said: str, context: click.Context | None) -> str | None:
    verb = context.command_path.partition(" ")[2] if context is not None else ""
    if isinstance(error, click.NoSuchOption):
        if _NUMBER.match(error.option_name):
            how = f", as in `tegctl {verb} NAME 5`" if verb in {"mint", "top-up"} else ""
            return f": what begins with - is taken for an option; amounts are above 0{how}"
        return None if "Did you mean" in said else f"; `tegctl {verb} --help` lists the options that there are"
    if isinstance(error, click.BadParameter):
        return _of_parameter(error, said, context, verb)
    if context is not None and isinstance(context.command, click.Group) and "No such command" in said:
        there = context.command.list_commands(context)
        if "Did you mean" in said:
            return None
        return (
            f"; there are: {', '.join(there)}" if len(there) <= _SHOWN_MAX else "; `tegctl --help` lists the commands"
        )
    return None


def _of_parameter(error: click.BadParameter, said: str, context: click.Context | None, verb: str) -> str | None:
    parameter = error.param
    if parameter is None:
        return None
    if isinstance(parameter.type, click.Path) and "does not exist" in said:
        return f" in {Path.cwd()}; look at its name with `ls`, or give its full path"
    if isinstance(parameter.type, click.Choice):
        return f"; write one of these, as {_near(str(error.message), [*map(str, parameter.type.choices)])}"
    listed = _WHERE.get(parameter.name or "") if isinstance(parameter, click.Argument) else None
    ranged = isinstance(parameter.type, click.IntRange | click.FloatRange)
    if not isinstance(error, click.MissingParameter) and not ranged:
        return None
    if listed is not None:
        first = next(iter((context.params if context is not None else {}).values()), "") or "train"
        return f"; {listed.format(verb=verb, first=first)}"
    if ranged and isinstance(parameter.type, click.IntRange | click.FloatRange):
        return f"; write a number from {parameter.type.min:g} to {parameter.type.max:g}"
    return None


def _near(said: str, choices: list[str]) -> str:
    """The choice that was meant, as far as can be told."""
    word = said.split("'")[1] if said.count("'") > 1 else said
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    ours = _CALLED.get(word, "")
    return ours if ours in choices else near[0] if near else choices[0]


_CALLED = {"waiting": "pending", "queued": "pending", "done": "completed", "error": "failed", "market": "auction"}
"""What others call a state or a mode."""
