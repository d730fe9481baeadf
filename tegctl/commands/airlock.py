"""`tegctl airlock`: the host's memory, who is held or parked for it, and why each choice was made."""

from pathlib import Path
from typing import Any

import click

from tegcore.units import MIB
from tegctl.render import plain, show, show_json
from tegctl.session import Session
from tegio.paths import socket_path
from tegio.seqpacket import ask

WORKLOADS = (
    ("WORKLOAD", plain("workload")),
    ("RANK", lambda row: f"{row['rank']:g}"),
    ("STATE", plain("state")),
    ("HELD", plain("held")),
    ("SAVABLE", lambda row: row["savable"] or "no"),
    ("PROVED", lambda row: {"proved": "yes", "failed": "no"}.get(row["proof"], "")),
    ("PROBLEM", lambda row: row["problem"] or row["flaw"]),
)
HISTORY = (
    ("AT", lambda row: f"{row['at_ns'] / 1e9:.1f}"),
    ("PHASE", plain("phase")),
    ("DONE", lambda row: ", ".join(row["acts"])),
    ("WHY", plain("why")),
)


@click.command(name="airlock")
@click.option("--socket", type=click.Path(path_type=Path), help="The airlock side's; default: in the state folder.")
@click.pass_obj
def command(session: Session, socket: Path | None) -> None:
    """Show the memory side of this host: state, workloads, and why each choice was made."""
    session.demand_here("airlock")
    path = socket or socket_path(session.state_dir, "airlock")
    memory = ask(path, "memory", after_ns=0)
    workloads = _workloads(path)
    if session.output == "json":
        show_json("Airlock", {"memory": memory, "workloads": workloads})
        return
    if memory["mode"] == "absent":
        click.echo("memory is not looked after: no cgroup v2 here, or the airlock side runs without a settings file")
    else:
        click.echo(
            f"{memory['phase']} ({memory['sign']}), mode {memory['mode']}, {memory['slice']}: headroom "
            f"{memory['headroom_bytes'] // MIB} MiB; available {memory['available_bytes'] // MIB} of "
            f"{memory['total_bytes'] // MIB} MiB, zRAM free {memory['zram_free_bytes'] // MIB} MiB at ratio "
            f"{memory['ratio']:.2f}; freezing takes {memory['freeze_ns'] / 1e6:.0f} ms"
        )
        for problem in memory["problems"].values():
            click.echo(problem, err=True)
    show("Airlock", workloads, WORKLOADS, session.output)
    show("Airlock", memory["history"], HISTORY, session.output)


def _workloads(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        page = ask(path, "list", after=found[-1]["workload"] if found else "")
        found += page["workloads"]
        if not page["more"]:
            return found
