"""`python -m tegsim`: run a small cluster under faults from many seeds; one line repeats a seed that fails."""

import sys
import tempfile
import time
from pathlib import Path

import click

from tegcore.errors import TegError
from tegsim import scenario as scenarios
from tegsim.cluster.world import Cluster, Result

SCENARIOS = Path(__file__).parent / "scenarios"
MEMORY = Path("/dev/shm")  # noqa: S108 - simulated disks are quickest where nothing is synced
TOLD_EVERY_S = 5.0


def run_seed(scenario: scenarios.Scenario, seed: int, root: Path | None = None) -> Result:
    """One run in a folder of its own."""
    place = root or (MEMORY if MEMORY.is_dir() else None)
    with tempfile.TemporaryDirectory(prefix="tegsim-", dir=place) as folder:
        return Cluster(scenario, seed, Path(folder)).run()


def find(name: str) -> Path:
    """The file of a scenario, by its path or by its name."""
    path = Path(name)
    return path if path.suffix == ".toml" else SCENARIOS / f"{name}.toml"


@click.command()
@click.option("--seeds", default=20, show_default=True, help="How many seeds to run.")
@click.option("--first", default=1, show_default=True, help="The first of them.")
@click.option("--scenario", "name", default="swarm", show_default=True, help="A scenario, by name or file.")
@click.option("--verbose", is_flag=True, help="Say of every seed what happened in it.")
def main(seeds: int, first: int, name: str, verbose: bool) -> None:
    """Run a simulated cluster under faults, once a seed."""
    path = find(name)
    try:
        scenario = scenarios.read(path.read_text(), str(path))
    except (OSError, TegError) as error:
        raise click.ClickException(str(error)) from None
    failed, simulated_s, begun_s, told_s = 0, 0.0, time.process_time(), time.monotonic()
    for seed in range(first, first + seeds):
        result = run_seed(scenario, seed)
        simulated_s += result.simulated_s
        if result.rule:
            failed += 1
            click.echo(f"seed {seed}: {result.what} (faults: {', '.join(result.faults) or 'none'})")
            click.echo(f"  repeat it with: make sim SEEDS=1 FIRST={seed}" + (f" SCENARIO={name}" * (name != "swarm")))
        elif verbose:
            told = f"settled after {result.settled_s:.2f} s, {result.counts}, {result.faults}, {result.state_hash}"
            click.echo(f"seed {seed}: {told}")
        if time.monotonic() - told_s > TOLD_EVERY_S:
            told_s = time.monotonic()
            click.echo(f"{seed - first + 1} of {seeds} seeds, {failed} failed", err=True)
    spent_s = time.process_time() - begun_s
    pace = simulated_s / spent_s if spent_s else 0.0
    took = f"{simulated_s:.0f} simulated s in {spent_s:.0f} s of processor time, {pace:.0f} a second"
    click.echo(f"{seeds} seeds, {failed} failed; {took}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
