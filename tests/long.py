"""`make test-long`: what takes longer than a change can wait for, one after another, and a page of what came of it.

The page names the commit, so that nobody takes it for a later one's. What fails does not keep the rest from being run.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTEST = ("-m", "pytest", "-q")
NO_TESTS = 5
"""How pytest ends where nothing bears the marks."""

PARTS: tuple[tuple[str, dict[str, str], tuple[str, ...]], ...] = (
    ("tests marked long", {}, (*PYTEST, "-m", "long and not vm")),
    ("the ledger killed 200 times", {"TEG_KILLS": "200"}, (*PYTEST, "-m", "not vm", "tests/crash/test_ledger_kill.py")),
    (
        "10,000 histories of a host's memory",
        {"TEG_HISTORIES": "10000"},
        (*PYTEST, "-m", "not vm", "tests/property/test_pressure.py"),
    ),
    (
        "20,000 sequences of the books",
        {"TEG_SEQUENCES": "20000"},
        (*PYTEST, "-m", "not vm", "-k", "batch", "tests/contract/test_book.py"),
    ),
    ("ten minutes of draws at each door", {"PYTHONPATH": ".:tests:tests/property"}, ("tests/fuzz.py", "600")),
    ("1,000 seeds of the swarm", {}, ("-m", "tegsim", "--seeds", "1000")),
    *(
        (f"200 seeds of {name}", {}, ("-m", "tegsim", "--seeds", "200", "--scenario", name))
        for name in ("disk", "terms")
    ),
    ("every test in virtual machines", {}, (*PYTEST, "-m", "vm", "tests/vm")),
    ("a zone on three virtual machines", {}, (*PYTEST, "-m", "vm", "tests/testbed")),
)


def commit() -> str:
    """Of this tree, and whether anything was changed since."""
    told = subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return told.stdout.strip() or "no commit: this is no clone"


def main() -> None:
    """Run every part and write the page that is named."""
    page, python = Path(sys.argv[1]), f"Python {sys.version.split()[0]}"
    head = f"# What takes long\n\nCommit `{commit()}`, {python}, {os.cpu_count()} processors.\n"
    rows, failed = ["", "| what | came to | took |", "|---|---|---|"], 0
    page.parent.mkdir(parents=True, exist_ok=True)
    for what, environment, command in PARTS:
        print(f"== {what}", flush=True)
        begun_s = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, text=True
        )
        last = ""
        for line in process.stdout or ():
            print(line, end="", flush=True)
            last = line.strip().strip("=").strip() or last
        code = process.wait()
        failed += code not in {0, NO_TESTS}
        rows.append(f"| {what} | {last.replace('|', '/')} | {(time.monotonic() - begun_s) / 60:.0f} min |")
        page.write_text(head + "\n".join(rows) + "\n")
    print(page)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
