"""The page for those who come from Slurm: each of its lines that runs now ends as it says, on one fresh stack."""

import contextlib
import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tegctl.stack import Stack, StackSettings

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cheatsheet.md"
LINE_S_MAX = 60
STACK = StackSettings(
    zone="sheet",
    ledger={"zone_k": 2, "market": "fixed"},
    governor={"zone_k": 2},
    host={"host": "sheet", "log2_slots": 3},
)
LINES_MIN, RUN_MIN = 110, 90


class Line(NamedTuple):
    """A line of the page."""

    task: str
    command: str
    ends: str

    @property
    def later(self) -> bool:
        return self.ends.startswith("later")


def lines() -> list[Line]:
    table = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "tegctl" in line]
    rows = [[cell.replace(r"\|", "|") for cell in line.strip("| ").split(" | ")] for line in table]
    return [Line(row[0], row[2].strip("`"), row[3]) for row in rows if len(row) == 4]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A stack of its own, and a folder with the files that the lines name."""
    folder = tmp_path_factory.mktemp("sheet")
    (folder / "input.txt").write_text("given\n")
    (folder / "job.sh").write_text("sleep 600\n")
    (folder / "work.toml").write_text(
        "".join(f'[[workload]]\nname = "many-{number}"\nargv = ["sleep", "600"]\n' for number in (1, 2))
    )
    made = Stack(folder / "state", STACK)
    programs = Path(sys.executable).parent
    try:
        made.start()
        yield os.environ | {
            "TEG_STATE": str(made.state_dir),
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PWD": str(folder),
            "COLUMNS": "80",
        }
    finally:
        made.stop()


def test_the_page_has_what_a_cheat_sheet_has() -> None:
    every = lines()
    assert len(every) >= LINES_MIN
    assert sum(not line.later for line in every) >= RUN_MIN
    assert all(len(line.ends) > len("later: ") for line in every if line.later), "why later?"


def _run_now() -> list[Any]:
    """Lines that run, each to be told by its command."""
    return [pytest.param(line, id=line.command) for line in lines() if not line.later]


@pytest.mark.parametrize("line", _run_now())
def test_a_line_ends_as_it_says(here: dict[str, str], line: Line) -> None:
    """In the order of the page: later lines speak of the jobs of earlier ones."""
    code, _, said = line.ends.partition(" ")
    if "--pty" in line.command:
        assert _at_a_terminal(here, line.command, b"exit\n") == (int(code), said)
        return
    found = subprocess.run(
        ["/bin/sh", "-c", line.command],
        cwd=here["PWD"],
        env=here,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LINE_S_MAX,
        check=False,
    )
    assert found.returncode == int(code), found.stdout
    assert said in found.stdout


def _at_a_terminal(here: dict[str, str], command: str, typed: bytes) -> tuple[int, str]:
    """Exit code and last word of what is typed at a terminal, and answered with more once it is in touch."""
    own, theirs = pty.openpty()
    lead = [sys.executable, "-c", "import os, sys; os.login_tty(0); os.execvp(sys.argv[1], sys.argv[1:])"]
    words = [*lead, "/bin/sh", "-c", command]
    program = subprocess.Popen(words, cwd=here["PWD"], env=here, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.write(own, typed)
    shown = b""
    with contextlib.suppress(OSError):  # of a terminal that nobody holds any more
        while select.select([own], [], [], LINE_S_MAX)[0] and (part := os.read(own, 65536)):
            shown += part
    os.close(own)
    return program.wait(LINE_S_MAX), shown.decode().split()[-1]
