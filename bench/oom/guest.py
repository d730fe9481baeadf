"""One run in the guest: a policy's folder, with the recorder around it, and what the run's log says."""

import base64
import gzip
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
SOURCES = (
    *("tegd/__init__.py", "tegd/airlock"),
    *("tegcore/__init__.py", "tegcore/errors.py", "tegcore/clock.py", "tegcore/units.py"),
    *("tegio/__init__.py", "tegio/clock.py", "tegio/notify.py"),
)
SCENARIOS = "guest/scenarios.py"
_SAVED = re.compile(r"checkpoint at unit \d+ (\d+) MiB ([\d.]+) s")


def kit(source: Path, target: Path) -> Path:
    """A copy of the kit that knows more scenarios."""
    shutil.copytree(source, target)
    shutil.copy(HERE / "more_scenarios.py", target / "guest")
    text = (target / SCENARIOS).read_text()
    main = 'if __name__ == "__main__":\n'
    more = "    from more_scenarios import MORE\n\n    SCENARIOS.update(MORE)\n"
    (target / SCENARIOS).write_text(text.replace(main, main + more))
    return target


def run(kit: Path, scenario: str, policy: str) -> dict[str, Any]:
    """One scenario under one policy: its result, what was recorded, and each save's MiB and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        wrapped = _wrapped(kit, policy, Path(folder) / policy)
        logs = Path(os.environ.get("OOMBAR_LOG", folder))
        done = subprocess.run(
            ["bash", str(kit / "run-scenario.sh"), scenario, str(wrapped)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env=os.environ | {"OOMBAR_LOG": str(logs)},
        )
        log = (logs / f"{scenario}-{policy}.log").read_text(errors="replace")
    record = re.search(r"RECORD (\S+)", log)
    samples = gzip.decompress(base64.b64decode(record[1])).decode().splitlines() if record else []
    names = subprocess.run(
        ["python3", str(kit / SCENARIOS), scenario, policy, "1", "1", "50", "64"],
        stdout=subprocess.PIPE,
        check=True,
    )
    return {
        "result": json.loads(done.stdout.rpartition("RESULT ")[2]),
        "workloads": [{key: work[key] for key in ("name", "role")} for work in json.loads(names.stdout)["workloads"]],
        "samples": [json.loads(line) for line in samples if line.endswith("]")],
        "saves": sorted({(int(mib), float(seconds)) for mib, seconds in _SAVED.findall(log)}),
    }


def _wrapped(kit: Path, policy: str, folder: Path) -> Path:
    """The policy's files, with the recorder started before it and read after it."""
    if policy == "tegd":
        _ours(folder)
    elif (kit / "policies" / policy).is_dir():
        shutil.copytree(kit / "policies" / policy, folder)
    else:
        folder.mkdir()
    for name in ("start", "report"):
        if (folder / name).exists():
            (folder / name).rename(folder / f"policy-{name}")
    shutil.copytree(HERE / "record", folder, dirs_exist_ok=True)
    return folder


def _ours(folder: Path) -> None:
    """The airlock side, with what of this tree it needs."""
    shutil.copytree(HERE / "policy", folder)
    for name in SOURCES:
        source, target = ROOT / name, folder / "src" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
