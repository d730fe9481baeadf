"""`tegctl demo`: the whole stack and a dozen jobs on this host, live, in less than a minute."""

import contextlib
import json
import os
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from tegctl.demonstration import Demonstration, Event, Scene
from tegctl.render import blocks
from tegctl.session import Session
from tegctl.stack import remove

WIDTH, HEIGHT = 80, 24
"""The terminal that everything fits into: all twelve jobs, the five events, and a caption of three lines."""
CAPTION_LINES = 3
STARTING_LINES = 8
STATES = {
    **dict.fromkeys(("seeking", "ordered", "waiting"), "pending"),
    "seated": "running",
    "leaving": "saving",
    "away": "elsewhere",
    "parked": "suspended",
}
"""What a person calls where a job is; one that is over says how it ended."""
TIMES = Path(sys.prefix) / "times.json"
"""What making this environment took, where `make` made it."""


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
    """Show TEG at work: a queue, second prices, inertia, a preemption, a budget that runs dry."""
    session.demand_here("demo")
    remove(folder / "stack")
    folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with _watching(live=sys.stdout.isatty() and session.output == "table") as watch:
        demonstration = Demonstration(folder, os.environ.get("TEG_BROKER", ""), watch)
        summary = demonstration.run()
    _print_end(summary, demonstration.story.events, folder / "summary.json")


@contextlib.contextmanager
def _watching(*, live: bool) -> Iterator[Callable[[Scene], None]]:
    """A live picture on a terminal; elsewhere a line for each thing that happens, and each caption in its place."""
    if not live:
        yield _teller()
        return
    from rich.live import Live

    with Live(auto_refresh=False) as screen:
        yield lambda scene: screen.update(_picture(scene), refresh=True)


def _teller() -> Callable[[Scene], None]:
    told, captions = 0, set[str]()

    def tell(scene: Scene) -> None:
        nonlocal told
        for line in scene.lines[told:]:
            click.echo(line)
        told = len(scene.lines)
        for number, event in enumerate(scene.events, 1):
            if event.at_s is not None and event.title not in captions:
                captions.add(event.title)
                click.echo(f"\n  {number} of {len(scene.events)}: {event.title}")
                click.echo(textwrap.fill(event.caption, WIDTH - 4, initial_indent="  ", subsequent_indent="  ") + "\n")

    return tell


def _picture(scene: Scene) -> Any:
    from rich.console import Group
    from rich.text import Text

    if not scene.ledger:
        begins = Text("TEG demo: starting broker, ledger, governor and both sides of tegd", style="bold cyan")
        return Group(begins, Text("\n".join(scene.lines[-STARTING_LINES:]), style="dim", no_wrap=True))
    text = Text(_headline(scene), style="bold cyan", no_wrap=True)
    return Group(text, _jobs(scene), *_story(scene))


def _headline(scene: Scene) -> str:
    states = [_state(row) for row in scene.workloads]
    counts = ", ".join(
        f"{count} {name}"
        for name, count in (
            ("running", states.count("running")),
            ("waiting", sum(state in {"pending", "suspended"} for state in states)),
            ("over", sum(row["life"] == "ended" for row in scene.workloads)),
        )
    )
    evaporated = scene.ledger["credits"]["evaporated"] / 1e6
    return f"TEG demo {scene.seconds:4.0f} s   jobs: {counts}   {evaporated:.1f} credits paid"


def _state(row: dict[str, Any]) -> str:
    return str(row["outcome"] or STATES.get(row["life"], row["life"]))


def _jobs(scene: Scene) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("JOB", "USER", "STATE", "SLOTS"):
        table.add_column(name, no_wrap=True)
    for name in ("PAYS", "BIDS", "BUDGET", "MiB"):
        table.add_column(name, no_wrap=True, justify="right")
    for row in scene.workloads:
        over = row["life"] == "ended"
        amounts = (f"{row[key] / 1e6:.3f}" if row[key] and not over else "" for key in ("price_ucr", "limit_ucr"))
        purse = f"{row['purse_ucr'] / 1e6:.2f}" if row["purse_ucr"] and not over else ""
        memory = str(row["mem_bytes"] >> 20) if row["mem_bytes"] and not over else ""
        style = {"running": "green", "suspended": "yellow", "saving": "yellow", "pending": ""}.get(_state(row), "dim")
        table.add_row(row["name"], row["tenant"], _state(row), blocks(row), *amounts, purse, memory, style=style)
    return table


def _story(scene: Scene) -> Iterator[Any]:
    from rich.text import Text

    for number, event in enumerate(scene.events, 1):
        at = f"at {event.at_s:4.1f} s" if event.at_s is not None else "      -"
        style = "bold" if event is scene.caption else "" if event.at_s is not None else "dim"
        yield Text(f"{number} {event.title:<38}{at}", style=style, no_wrap=True)
    caption = scene.caption.caption if scene.caption is not None else "Two users bring more work than eight slots hold."
    lines = textwrap.wrap(caption, WIDTH - 3)[:CAPTION_LINES]
    yield Text("\n".join(f"> {line}" for line in [*lines, *[""] * (CAPTION_LINES - len(lines))]), style="bold yellow")


# --- the end --------------------------------------------------------------------------------------------------------


def _print_end(summary: dict[str, Any], events: tuple[Event, ...], path: Path) -> None:
    """What was shown, what was checked, what it took, and what to try next: no more than a screen."""
    times = sorted((event.at_s, event.title) for event in events if event.at_s is not None)
    rows = [("shown", f"{title}, at {at_s:.1f} s") for at_s, title in times]
    rows += [
        ("work", f"{summary['finished_right']} of {len(summary['workloads'])} jobs came out right, digest by digest"),
        ("credits", ", ".join(f"{summary['credits'][name] / 1e6:.2f} {name}" for name in summary["credits"])),
        ("replay", "reaches the same state hash" if summary["replay_hash_equal"] else "DIFFERS"),
        ("round trip", "bid to answer p50 {p50:.0f} ms, p99 {p99:.0f} ms".format(**summary["order_round_trip_ms"])),
        ("summary", str(path)),
        *_took(summary),
    ]
    click.echo()
    for number, (name, text) in enumerate(rows):
        click.echo(f"{'' if number and rows[number - 1][0] == name else name:>12}  {text}")
    click.echo(
        "\nTry next:\n"
        "  . .venv/bin/activate\n"
        "  tegctl up                        the same on this host, until Ctrl-C\n"
        "  tegctl run -- python train.py    in another terminal: your own job\n"
        "  tegctl top                       what runs, live\n"
        "  tegctl why NAME                  why a job waits, and what would help"
    )


def _took(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    try:
        times = json.loads(TIMES.read_text())
        made = "environment {environment_s:.0f} s, installation {installation_s:.0f} s".format(**times)
        got = f"download {times['download_s']:.0f} s, {times['installed_bytes'] / 1e6:.0f} MB installed, "
    except (OSError, ValueError, KeyError):
        made, got = "environment and installation not by make", ""
    yield "took", f"{made}, show {summary['seconds']:.0f} s"
    yield "took", f"{got}first picture after {summary['first_picture_s']:.0f} s"
