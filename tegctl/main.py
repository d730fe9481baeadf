"""`tegctl`: one verb a file under `tegctl/commands/`, found by name and imported when it is used."""

import difflib
import importlib
import pkgutil
from pathlib import Path
from typing import Any

import click

from tegctl import commands
from tegctl.mistyped import helped
from tegctl.session import Session
from tegio.paths import default_state_dir
from tegio.settings import HELP, run_program

_SLURM = {"squeue": "ps", "sbatch": "submit", "srun": "run", "salloc": "run", "scancel": "cancel", "sinfo": "hosts"}
"""What Slurm calls our verbs."""


class _Verbs(click.Group):
    """Verbs by file name, `_` for `-`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(commands.__path__))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = (
                [_SLURM[args[0]]]
                if args[0] in _SLURM
                else difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            )
            if not near or near[0] in str(error):
                raise
            raise click.UsageError(f"{error.message} Did you mean '{near[0]}'?", ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise helped(error) from None

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"tegctl.commands.{name.replace('-', '_')}")
        command: click.Command = module.command
        return command


@click.command(cls=_Verbs, context_settings=HELP)
@click.option("--state", type=click.Path(path_type=Path), help="State folder; default: see docs/reference/settings.md.")
@click.option("--on", default="", envvar="TEG_ON", help="Ask the programs of that machine, over ssh.")
@click.option("--ledger-on", default="", envvar="TEG_LEDGER_ON", help="Ask ledger and governor of that machine.")
@click.option(
    "--remote-state",
    type=click.Path(path_type=Path),
    default=Path("/var/lib/teg"),
    show_default=True,
    help="State folder on other machines.",
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="How to print answers.")
@click.version_option(package_name="teg")
@click.pass_context
def command(
    context: click.Context, state: Path | None, output: str, on: str, ledger_on: str, remote_state: Path
) -> None:
    """Operate TEG, the Thermo-Economic Governor."""
    context.obj = Session(state or default_state_dir(), output, on, ledger_on, remote_state)


def main() -> None:
    """Entry point."""
    run_program(command)


if __name__ == "__main__":
    main()
