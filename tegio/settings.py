"""Settings from file, environment and flags, and the one place where a program ends because of a fault."""

import functools
import os
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tegcore.config.merge import Layer, Table, merge, show
from tegcore.errors import ConfigError, Exit, TegError

Result = TypeVar("Result")
FILE_BYTES_MAX = 1 << 20
_HINTS: dict[type[OSError], str] = {
    PermissionError: "give the command as the user that the file belongs to, or name another file",
    FileNotFoundError: "look at its name with `ls`: it has to be there before; or name another",
}
HELP: dict[str, Any] = {"help_option_names": ["-h", "--help"]}


def file_layer(path: Path) -> Layer:
    """The keys of a TOML file, with their lines.

    Raises:
        ConfigError: If the file cannot be read or is no TOML.
    """
    try:
        text = path.read_bytes()[:FILE_BYTES_MAX].decode()
        values = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "name another file with --config") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from None
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if found := re.match(r"\s*\[?\s*([A-Za-z0-9_-]+)", line):
            lines.setdefault(found.group(1), number)
    return Layer(str(path), values, lines)


def load(table: type[Table], program: str, config: Path | None, sets: tuple[str, ...]) -> tuple[Table, dict[str, str]]:
    """The settings of a program from its file, `TEG_<PROGRAM>_<KEY>`, and `--set KEY=VALUE`, later ones first."""
    prefix = f"TEG_{program.upper().replace('-', '_')}_"
    environment = {key[len(prefix) :].lower(): value for key, value in os.environ.items() if key.startswith(prefix)}
    flags = {}
    for entry in sets:
        key, equals, value = entry.partition("=")
        if not equals:
            raise ConfigError(f"--set {entry}: a value is missing", "write --set KEY=VALUE")
        flags[key.strip()] = value
    layers = [file_layer(config)] if config else []
    return merge(table, [*layers, Layer("environment", environment, {}), Layer("flags", flags, {})])


def with_settings(table: type[Table], program: str) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Give a command `--config`, `--set` and `--show-config`, and hand it the settings as its first argument."""

    def decorate(command: Callable[..., Result]) -> Callable[..., Result]:
        @click.option("--config", type=click.Path(path_type=Path), help="TOML file of settings.")
        @click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="One setting; may be repeated.")
        @click.option("--show-config", is_flag=True, help="Print every setting with its source, and end.")
        @functools.wraps(command)
        def wrapped(config: Path | None, sets: tuple[str, ...], *, show_config: bool, **rest: Any) -> Result:
            settings, sources = load(table, program, config, sets)
            if show_config:
                click.echo(show(settings, sources))
                sys.exit(0)
            return command(settings, **rest)

        return wrapped

    return decorate


def run_program(command: click.Command) -> None:
    """Run a command line; a fault ends it with what happened, what to try, and the fault's exit code."""
    try:
        command.main(standalone_mode=False)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        click.echo("Nothing was done.", err=True)
        sys.exit(64)
    except TegError as error:
        click.echo(f"error: {error}", err=True)
        if error.hint:
            click.echo(f"  try: {error.hint}", err=True)
        sys.exit(int(error.exit_code))
    except OSError as error:
        if error.filename is None:
            raise
        click.echo(f"error: {error.filename}: {error.strerror}", err=True)
        click.echo(f"  try: {_HINTS.get(type(error), 'look at that file, or name another')}", err=True)
        sys.exit(int(Exit.NO_PERMISSION if isinstance(error, PermissionError) else Exit.IO))
