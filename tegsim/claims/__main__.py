"""Measure the paper's claims: python -m tegsim.claims [--quick] [--traces DIR] [CLAIM ...]; see `make claims`."""

import argparse
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tegsim.claims import plots
from tegsim.claims.page import page, shown
from tegsim.claims.record import SCHEMA, Book, Claim, decode, encode
from tegsim.claims.registry import CLAIMS, measured, titles
from tegsim.claims.setting import Setting
from tegsim.claims.store import Store

SEEDS_FULL, SEEDS_QUICK = 10, 3


def publish(book: Book, folder: Path) -> None:
    """Write claims.json, the page and every plot; plots that no claim has any more go."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "claims.json").write_bytes(encode(book))
    (folder / "README.md").write_text(page(book))
    drawn = {plots.write(plot, folder) for claim in book.claims for plot in claim.plots}
    for left in set(folder.glob("*.svg")) - drawn:
        left.unlink()


def merged(before: Path, quick: bool, fresh: dict[str, Claim]) -> Book:
    """Fresh claims, and beside them those of the last run that were not measured now, if they are of the same size."""
    known: dict[str, Claim] = {}
    if before.is_file():
        book = decode(before.read_bytes())
        known = {claim.name: claim for claim in book.claims if book.quick == quick}
    found = {name: fresh.get(name) or known.get(name) for name in titles()}
    return Book(SCHEMA, quick, [claim for claim in found.values() if claim])


def _chosen() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(prog="tegsim.claims", description=__doc__)
    arguments.add_argument("claims", nargs="*", metavar="CLAIM", help=f"of {', '.join(titles())}; default: all")
    arguments.add_argument("--quick", action="store_true", help="few seeds, small worlds")
    arguments.add_argument("--traces", type=Path, help="folder of the trace files")
    arguments.add_argument("--seeds", type=int, help=f"how many; default {SEEDS_FULL}, quick {SEEDS_QUICK}")
    arguments.add_argument("--out", type=Path, default=Path("docs/claims"), help="where page and plots go")
    arguments.add_argument("--kept", type=Path, default=Path("build/claims"), help="where runs are kept")
    arguments.add_argument("--redraw", action="store_true", help="measure nothing: page and plots of claims.json")
    chosen = arguments.parse_args()
    unknown = set(chosen.claims) - set(titles())
    if unknown:
        arguments.error(f"no claim is called {', '.join(sorted(unknown))}: there are {', '.join(titles())}")
    if chosen.traces and not chosen.traces.is_dir():
        arguments.error(f"there is no folder {chosen.traces}")
    return chosen


def measure(chosen: argparse.Namespace, console: Console) -> Book:
    """Run what was asked for, with progress."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    fresh: dict[str, Claim] = {}
    modules = [module for module in CLAIMS if not chosen.claims or module.TITLE.name in chosen.claims]
    with Progress(*columns, console=console) as progress:
        whole = progress.add_task("claims", total=len(modules))
        runs = progress.add_task("runs", total=None)

        def told(claim: str, policy: str, seed: int, remembered: bool) -> None:
            note = " (kept)" if remembered else ""
            progress.update(runs, advance=1, description=f"{claim}: {policy}, seed {seed}{note}")

        seeds = tuple(range(1, 1 + (chosen.seeds or (SEEDS_QUICK if chosen.quick else SEEDS_FULL))))
        setting = Setting(chosen.quick, seeds, chosen.traces, Store(chosen.kept, told))
        for module in modules:
            begun = time.monotonic()
            claim = measured(module, setting)
            fresh[claim.name] = claim
            progress.update(whole, advance=1)
            progress.console.print(f"{claim.name}: {claim.verdict.value} ({time.monotonic() - begun:.0f} s)")
    return merged(chosen.out / "claims.json", chosen.quick, fresh)


def main() -> None:
    """Measure, print, write."""
    console, chosen = Console(), _chosen()
    book = decode((chosen.out / "claims.json").read_bytes()) if chosen.redraw else measure(chosen, console)
    publish(book, chosen.out)
    table = Table("claim", "measured", "verdict", title="claims", title_justify="left")
    for claim in book.claims:
        first = f"{claim.ours[0].name}: {shown(claim.ours[0])}" if claim.ours else ""
        table.add_row(claim.claim, first, claim.verdict.value)
    console.print(table)
    console.print(f"written to {chosen.out}/README.md")


if __name__ == "__main__":
    main()
