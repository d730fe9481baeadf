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
            before = f" ({number - 1} before it were taken)" if number > 1 else ""
            raise RefusedError(f"{file}: workload {number}{before}: {error}", error.hint) from None
        if session.output == "json":
            show_json("Submitted", answer)
        else:
            click.echo(f"submitted {answer['name']}")


def read_specs(file: Path) -> list[control.WorkloadSpec]:
    """The workloads that a file describes.

    Raises:
        ConfigError: If it does not describe any, or one wrongly; says which and why.
    """
    try:
        tables = tomllib.loads(file.read_text()).get("workload", [])
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is no TOML: {error}", "see docs/reference/workload.md") from None
    if not tables or not isinstance(tables, list):
        raise ConfigError(f"{file} describes no workload", "write [[workload]] and argv = [...]")
    specs = []
    for number, table in enumerate(tables, 1):
        try:
            specs.append(msgspec.convert(table, control.WorkloadSpec))
        except msgspec.ValidationError as error:
            raise ConfigError(f"{file}: workload {number}: {error}", "see docs/reference/workload.md") from None
    return specs
