"""What runs gave: kept as files, as a table, and how long who ranks higher was held."""

import json
import os
import sys
from pathlib import Path
from typing import Any

NAMES = {"none": "kernel, no swap", "zram": "kernel", "oomd": "systemd-oomd", "tegd": "tegd"}
BEGIN, END = "<!-- results: bench.oom -->", "<!-- end of results -->"
SAYS = {
    "S1": "two equals that fit with zRAM",
    "S2": "stronger grows over a resident weaker",
    "S3": "44 small processes without a hook beside a steady stronger",
    "S4": "as S2, pages that do not compress",
    "S5": "slow leak beside a steady stronger",
    "M0": "nothing is short",
    "M1": "two stronger grow over a weaker",
    "M2": "the weaker arrives late, and grows fast",
    "M3": "pages that compress and pages that do not",
    "M4": "two swarms beside a steady stronger",
    "M5": "a leak beside a swarm that outranks it",
    "M6": "one without a hook, one with, under a stronger",
    "M7": "six of several kinds",
    "M8": "four equals that grow",
    "M9": "nine of very different sizes and rates",
    "M10": "two that grow as fast as they can",
    "M11": "a stronger comes late to a full host",
    "M12": "a leak that outranks a swarm",
    "M13": "a swarm that does not compress under a stronger",
    "M14": "a weaker that is slow to come to its checkpoint",
    "M15": "three without a hook beside a stronger",
    "M16": "a small stronger, a large weaker that does not compress",
}
COLUMNS = (
    *("scenario", "policy", "killed", "work lost", "longest stall", "stronger held (allowed)", "all done"),
    *("daemon's memory", "daemon's processor time"),
)


def kept(cell: Path) -> dict[str, Any] | None:
    """A run that is there already and came to its end."""
    return dict(json.loads(cell.read_text())) if cell.exists() else None


def keep(cell: Path, run: dict[str, Any]) -> dict[str, Any]:
    """Keep a run, unless the guest gave no result."""
    if "error" not in run["result"]:
        cell.parent.mkdir(parents=True, exist_ok=True)
        cell.write_text(json.dumps(run))
    return run


def held(run: dict[str, Any]) -> dict[str, float]:
    """How long the strong were held at worst, and what is allowed: the largest other's size at the rate of saves + 2 s.

    That rate is that of saves which their work lived to tell of; who is frozen in the moment of its mark does not.
    """
    strong = {number for number, work in enumerate(run["workloads"]) if work["role"] == "strong"}
    worst, size_mib, since = 0.0, 0, dict[int, float]()
    for at_s, works in ((sample[0], sample[6]) for sample in run["samples"]):
        frozen = {number for number in strong if works[number][2] == "f"}
        since = {number: since.get(number, at_s) for number in frozen}
        worst = max([worst, *(at_s - begun_s + 0.25 for begun_s in since.values())])
        others = (work[0] + work[1] for number, work in enumerate(works) if frozen and number not in strong)
        size_mib = max([size_mib, *others])
    saved_mib, saved_s = (sum(save[part] for save in run["saves"]) for part in (0, 1))
    return {"strong_held_s": round(worst, 2), "allowed_s": round(size_mib * saved_s / max(1, saved_mib) + 2, 2)}


def table(runs: list[dict[str, Any]]) -> str:
    """Rows of Markdown."""
    rows = [COLUMNS, tuple("---" for _ in COLUMNS)]
    for run in runs:
        result, hold = run["result"], held(run)
        allowed = f" ({hold['allowed_s']:.1f} s)" if run["saves"] else ""
        stronger = f"{hold['strong_held_s']:.1f} s{allowed}" if hold["strong_held_s"] else "-"
        over = f", {result['unfinished']} unfinished" if result.get("unfinished") else ""
        daemon = result.get("daemon_rss_mib")
        rows.append(
            (
                f"{result['scenario']} {SAYS.get(result['scenario'], '')}",
                NAMES.get(result["policy"], result["policy"]),
                f"{result['deaths'] - _came_back(run)}",
                f"{result['lost_units']} units ({result['lost_pct']} %)",
                f"{result['hb_max_s']:.2f} s",
                stronger,
                f"{result['t_all_s']:.0f} s{over}",
                f"{daemon:.0f} MiB" if daemon else "-",
                f"{result['daemon_cpu_s']:.1f} s" if daemon else "-",
            )
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _came_back(run: dict[str, Any]) -> int:
    """Work that was ended without loss was saved before, and brought back: it was not killed."""
    return int(run["result"]["deaths"]) if run["result"]["lost_units"] == 0 else 0


def put(page: Path, runs: list[dict[str, Any]], figures: list[Path]) -> None:
    """Put the table, and the figures, between the marks of a page."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"bench.oom: {page} has no marks for the results")
    shown = [f"![{path.stem}]({os.path.relpath(path, page.parent)})" for path in figures]
    page.write_text("\n\n".join([f"{before}{begin}", table(runs), *shown, f"{end}{after}"]))
