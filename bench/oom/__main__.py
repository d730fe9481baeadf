"""Out-of-memory scenarios in a guest, with the airlock as the policy: `python -m bench.oom KIT [SCENARIO...]`.

KIT holds `build-image.sh` and `run-scenario.sh SCENARIO POLICY`, which prints one `RESULT {json}` line; its image is
made once in $OOMBAR_WORK. The policy is this tree's airlock side on the guest's own Python, which needs nothing else.
Other policies of the kit can be named with --beside, and run in turn with ours.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.report import write

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (
    *("tegd/__init__.py", "tegd/airlock"),
    *("tegcore/__init__.py", "tegcore/errors.py", "tegcore/clock.py", "tegcore/units.py"),
    *("tegio/__init__.py", "tegio/clock.py", "tegio/notify.py"),
)
FIELDS = ("oom_kills", "lost_units", "wrong", "unfinished", "hb_max_s", "exec_max_s", "t_all_s", "min_avail_mib")


def policy(folder: Path) -> Path:
    """The policy's files, with what of this tree the airlock side needs."""
    shutil.copytree(ROOT / "bench/oom/policy", folder)
    for name in SOURCES:
        source, target = ROOT / name, folder / "src" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return folder


def run(kit: Path, scenario: str, name: str) -> dict[str, Any]:
    """One scenario under one policy."""
    done = subprocess.run(
        ["bash", str(kit / "run-scenario.sh"), scenario, name], stdout=subprocess.PIPE, text=True, check=True
    )
    return dict(json.loads(done.stdout.rpartition("RESULT ")[2]))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="bench.oom", description=__doc__)
    parser.add_argument("kit", type=Path)
    parser.add_argument("scenarios", nargs="*", default=["S1", "S2", "S3", "S4", "S5"])
    parser.add_argument("--beside", action="append", default=[], help="another policy of the kit")
    parser.add_argument("--runs", type=int, default=1)
    wanted = parser.parse_args()
    if "OOMBAR_WORK" not in os.environ:
        sys.exit("bench.oom: set OOMBAR_WORK to a folder, and run the kit's build-image.sh once")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        ours = str(policy(Path(folder) / "tegd"))
        for scenario in wanted.scenarios:
            for name in [ours, *wanted.beside] * wanted.runs:
                row = run(wanted.kit, scenario, name)
                rows.append(row)
                figures = "  ".join(f"{field} {row.get(field)}" for field in FIELDS)
                print(f"{scenario} {row['policy']:10} {figures}", flush=True)
    write("oom", {"runs": rows})


if __name__ == "__main__":
    main()
