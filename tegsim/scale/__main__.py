"""Run a cluster of many zones: python -m tegsim.scale --hosts 100000; see `make scale`."""

import resource
import sys
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tegcore.errors import TegError
from tegsim import scenario as scenarios
from tegsim.__main__ import find
from tegsim.claims import plots
from tegsim.claims.store import measured_on
from tegsim.scale import page
from tegsim.scale.record import Run, Zone, added, digest
from tegsim.scale.sitting import MIB_PER_KIB, Kept, Plan, planned, sit

WORKERS = 2


def whole(plan: Plan, name: str, zones: list[Zone], workers: int) -> Run:
    """A run that is over."""
    peaks: dict[int, float] = {}
    for zone in zones:
        peaks[zone.worker] = max(peaks.get(zone.worker, 0.0), zone.rss_mib)
    sat_s = Kept(plan).sat_s()
    own_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MIB_PER_KIB
    return Run(
        hosts=plan.hosts,
        slots=plan.hosts << plan.scenario.log2_slots,
        zones=len(zones),
        hosts_per_zone=plan.per_zone,
        scenario=name,
        seed=plan.seed,
        workers=workers,
        simulated_s=sum(zone.simulated_s * zone.hosts for zone in zones) / plan.hosts,
        wall_s=sum(sat_s),
        cpu_s=sum(zone.cpu_s for zone in zones),
        sittings=len(sat_s),
        rss_mib=own_mib + sum(sorted(peaks.values())[-workers:]),
        failed=[f"zone {zone.number}: {zone.what}" for zone in zones if zone.rule],
        counts=added(zones),
        digest=digest(zones),
        machine=measured_on(),
    )


def run(plan: Plan, name: str, workers: int, console: Console) -> Run:
    """Run what is not over yet, with progress."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    times = TimeElapsedColumn(), TimeRemainingColumn()
    before = len(Kept(plan).zones())
    if before:
        console.print(f"goes on: {before} of {len(plan.zones())} zones were over already ({plan.kept})")
    leases = 0
    with Progress(*columns, *times, console=console) as progress:
        task = progress.add_task("zones", total=len(plan.zones()), completed=before)

        def told(zone: Zone) -> None:
            nonlocal leases
            leases += zone.story["counts"]["leases"]
            progress.update(task, advance=1, description=f"zones ({leases:,} leases)")
            if zone.rule:
                progress.console.print(f"zone {zone.number}: {zone.what}")

        return whole(plan, name, sit(plan, workers, told), workers)


@click.command()
@click.option("--hosts", default=1000, show_default=True, type=click.IntRange(1, 1 << 20), help="In all zones.")
@click.option("--scenario", "name", default="superpod", show_default=True, help="Of a zone, by name or file.")
@click.option("--seed", default=1, show_default=True)
@click.option("--workers", default=WORKERS, show_default=True, type=click.IntRange(1, 256), help="Processes.")
@click.option("--kept", default="build/scale", show_default=True, help="Where zones that are over are kept.")
@click.option("--out", default="", help="Folder of a page, to which this run is added; none: print only.")
def main(hosts: int, name: str, seed: int, workers: int, kept: str, out: str) -> None:
    """Run a simulated cluster of HOSTS hosts; once interrupted, the same command goes on."""
    path = find(name)
    try:
        scenario = scenarios.read(path.read_text(), str(path))
        over = run(planned(scenario, seed, hosts, Path(kept)), path.stem, workers, Console(stderr=True))
    except OSError as error:
        raise click.ClickException(str(error)) from None
    except TegError as error:
        raise click.ClickException(f"{error}: {error.hint}") from None
    click.echo(msgspec.json.format(msgspec.json.encode(over), indent=1))
    if out:
        runs = page.joined(Path(out), over)
        page.write(Path(out), runs)
        plots.write(page.plot(runs), Path(out))
    sys.exit(1 if over.failed else 0)


if __name__ == "__main__":
    main()
