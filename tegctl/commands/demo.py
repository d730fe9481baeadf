"""`tegctl demo`: the whole stack and a dozen workloads on this host, live, in about 40 seconds."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from tegcore.units import credits_text
from tegctl.demonstration import Demonstration, Scene
from tegctl.render import blocks
from tegctl.session import Session
from tegctl.stack import remove

LINES_SHOWN = 12


@click.command(name="demo")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default="build/demo",
    show_default=True,
    help="For results.",
)
@click.pass_obj
def command(session: Session, folder: Path) -> None:
    """Show TEG at work: leases, second prices, inertia, an eviction, a bankruptcy, a replay."""
    session.demand_here("demo")
    remove(folder / "stack")
    folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with _watching(live=sys.stdout.isatty() and session.output == "table") as watch:
        summary = Demonstration(folder, os.environ.get("TEG_BROKER", ""), watch).run()
    _print_summary(summary, folder / "summary.json")


@contextlib.contextmanager
def _watching(*, live: bool) -> Iterator[Callable[[Scene], None]]:
    """A live picture on a terminal; elsewhere a line for each thing that happens."""
    if not live:
        told = 0

        def tell(scene: Scene) -> None:
            nonlocal told
            for line in scene.lines[told:]:
                click.echo(line)
            told = len(scene.lines)

        yield tell
        return
    from rich.console import Group
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

    def draw(scene: Scene) -> Group:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("WORKLOAD", "TENANT", "LIFE", "SLOTS", "PRICE", "LIMIT", "PURSE", "MEM MiB", "OUTCOME"):
            table.add_column(name)
        for row in scene.workloads:
            amounts = (credits_text(row[key]) if row[key] else "" for key in ("price_ucr", "limit_ucr", "purse_ucr"))
            memory = str(row["mem_bytes"] >> 20) if row["mem_bytes"] else ""
            table.add_row(row["name"], row["tenant"], row["life"], blocks(row), *amounts, memory, row["outcome"])
        money, phase = scene.ledger["credits"], scene.decision.get("phase", "-")
        head = (
            f"TEG  {scene.seconds:5.1f} s  tick {scene.ledger['tick']}  leases {scene.ledger['leases']}"
            f"  evaporated {credits_text(money['evaporated'])} of {credits_text(money['minted'])}  phase: {phase}"
        )
        return Group(Text(head, style="bold cyan"), table, Text("\n".join(scene.lines[-LINES_SHOWN:]), style="dim"))

    with Live(refresh_per_second=4) as screen:
        yield lambda scene: screen.update(draw(scene))


def _print_summary(summary: dict[str, Any], path: Path) -> None:
    money = {name: credits_text(amount) for name, amount in summary["credits"].items()}
    rows = [
        ("orders", ", ".join(f"{count} {name}" for name, count in summary["orders"].items())),
        ("leases", f"{summary['leases']}, {summary['leases_above_reserve']} of them above the reserve price"),
        ("evictions", f"{summary['evictions']}; refused by inertia alone: {summary['inertia_refusals']}"),
        ("bankruptcies", str(summary["bankruptcies"])),
        ("work", f"{summary['finished_right']} of {len(summary['workloads'])} came out right, digest by digest"),
        ("credits", ", ".join(f"{name} {amount}" for name, amount in money.items())),
        ("round trip", "order to outcome p50 {p50:.0f} ms, p99 {p99:.0f} ms".format(**summary["order_round_trip_ms"])),
        (
            "ticks",
            "{}; lateness p50 {p50:.1f} ms, p99 {p99:.1f} ms".format(summary["ticks"], **summary["tick_lateness_ms"]),
        ),
        ("replay", "reaches the same state hash" if summary["replay_hash_equal"] else "DIFFERS"),
        ("summary", str(path)),
    ]
    for name, text in rows:
        click.echo(f"{name:>12}  {text}")
