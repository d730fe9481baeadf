"""`tegctl submit`: hand over work described in a file."""

import tomllib
from pathlib import Path

import click
import msgspec

from tegcore.errors import ConfigError, RefusedError
from tegcore.wire import control
from tegctl.render import show_json
from tegctl.session import Session, fresh_key


@click.command(name="submit")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.pass_obj
def command(session: Session, file: Path) -> None:
    """Submit the workloads in FILE: TOML, one `[[workload]]` table each, keys as in the reference."""
    for number, spec in enumerate(read_specs(file), 1):
        try:
            answer = session.ask("tegd", control.Submit(spec=spec, key=fresh_key()))
        except RefusedError as error:
            before = " (those before it were: take them out of the file)" if number > 1 else ""
            what = f"{file}: [[workload]] number {number} was not submitted{before}: {error}"
            raise RefusedError(what, error.hint) from None
        if session.output == "json":
            show_json("Submitted", answer)
        else:
            click.echo(f"submitted {answer['name']}")
        for said in answer.get("warnings", ()):
            click.echo(f"note: {answer['name']} was submitted, but {said}", err=True)


def read_specs(file: Path) -> list[control.WorkloadSpec]:
    """The workloads that a file describes.

    Raises:
        ConfigError: If it does not describe any, or one wrongly; says which and why.
    """
    try:
        tables = tomllib.loads(file.read_text()).get("workload", [])
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        hint = 'put that line right (texts need quotes): argv = ["python", "train.py"]; see docs/reference/workload.md'
        raise ConfigError(f"{file} is not written in TOML: {error}; nothing was submitted", hint) from None
    if not tables or not isinstance(tables, list):
        hint = 'begin each job with a line [[workload]], then argv = ["python", "a.py"]; see docs/reference/workload.md'
        raise ConfigError(f"{file} has no [[workload]] table: no job was submitted", hint)
    specs = []
    for number, table in enumerate(tables, 1):
        try:
            specs.append(msgspec.convert(table, control.WorkloadSpec))
        except msgspec.ValidationError as error:
            what = f"{file}: in [[workload]] number {number}: {_wrong(str(error))}; nothing was submitted"
            known = ", ".join(field.name for field in msgspec.structs.fields(control.WorkloadSpec))
            hint = (
                f"known keys: {known}"
                if "unknown" in what
                else "put it right in the file; see docs/reference/workload.md"
            )
            if (ours := next((ours for key, ours in _KEYS.items() if f"`{key}`" in what), "")) and "unknown" in what:
                hint = f"write {ours} for it; {hint}"
            raise ConfigError(what, hint) from None
    return specs


_KEYS = {
    **dict.fromkeys(("gpus", "slots"), "sizes = [1] (2 slots; [0] is 1, [2] is 4, [3, 3] is 8+8)"),
    "mem": "mem_bytes",
    "cpu": "cpu_milli (1000 is one core)",
    "bid": "limit_ucr (1000000 is one credit)",
    "budget": "budget_ucr (1000000 is one credit)",
    "time": "time_s",
}
"""What an option of `tegctl run` is called in a file."""
_SIZES = "sizes = [2] is one block of 4 slots, [0] is 1, [1] is 2, [3, 3] is 8+8"


def _wrong(said: str) -> str:
    """What is wrong with a table, without the words of who read it."""
    said = said.replace("Object contains unknown field", "unknown key").replace(
        "Object missing required field", "missing key"
    )
    what, _, where = said.partition(" - at `$.")
    key = where.rstrip("`").split("[")[0]
    for ours, plain in (
        ("`array`", "a list [...]"),
        ("`str`", "a text in quotes"),
        ("`int`", "a whole number"),
        ("`object`", "a table"),
    ):
        what = what.replace(ours, plain)
    what = what.replace("Expected", "expected").replace("got", "it is")
    return f"{key}: {what}{f' ({_SIZES})' if key == 'sizes' else ''}" if where else what
