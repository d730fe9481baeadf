"""What the simulator is made of asks nobody who runs it, or where: a seed is one history on every machine.

`tests/sim/test_same_everywhere.py` looks at the same from outside, while seeds run.
"""

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
from arch.test_imports import MODULES, imports

WHO_OR_WHERE = {
    *("os.cpu_count", "os.environ", "os.getcwd", "os.getegid", "os.getenv", "os.geteuid", "os.getgid", "os.getgroups"),
    *("os.getlogin", "os.getpid", "os.getuid", "os.listdir", "os.scandir", "os.statvfs", "os.uname", "os.urandom"),
    *("Path.cwd", "Path.home"),
}
"""Calls by their names as they are written here."""

OTHER_WORLDS = {
    *("datetime", "getpass", "grp", "locale", "platform", "psutil", "pwd", "random", "secrets", "socket", "tempfile"),
    *("time", "uuid"),
}
"""Modules that are there for nothing else."""

LISTS = {"glob", "iterdir", "rglob"}
"""Methods that tell in the order of the file system, unless it is sorted."""

NOT_SIMULATED = {
    "tegd.airlock.adapters.*": "the simulator's hands take the place of these; the journal, which runs, does not ask",
    "tegd.airlock.dumper.*": "no process is dumped",
    "tegd.airlock.guard": "no memory is guarded",
    "tegio.failpoints": "what programs arm, and the simulator does not",
    "tegio.sqlite": "what it asks of a disk is whether a journal that is only read can change",
    "tegsim.__main__": "it runs seeds, and tells how far it is",
    "tegsim.cluster.disk": "files are written, and copied, each by its name",
}
"""Modules that may ask, and why no run can tell."""


def reached() -> set[str]:
    """All modules of ours that a run of a seed is made of."""
    found, left = set(), [name for name in MODULES if name.startswith("tegsim.cluster")]
    while left:
        if (name := left.pop()) not in found:
            found.add(name)
            left += [entry for entry in imports(MODULES[name]) if entry in MODULES]
    return found


REACHED = sorted(reached() | {"tegsim.__main__"})


def asked(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    ordered = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "sorted"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (name := ast.unparse(node)) in WHO_OR_WHERE:
            yield name
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and id(node) not in ordered:
            yield from {node.func.attr} & LISTS


@pytest.mark.parametrize("name", [name for name in REACHED if not any(fnmatch(name, row) for row in NOT_SIMULATED)])
def test_nothing_that_is_simulated_can_ask_who_runs_it_or_where(name: str) -> None:
    assert not {entry.split(".")[0] for entry in imports(MODULES[name])} & OTHER_WORLDS
    assert not list(asked(MODULES[name]))


@pytest.mark.parametrize("row", NOT_SIMULATED)
def test_every_exception_is_one(row: str) -> None:
    names = [name for name in REACHED if fnmatch(name, row)]
    world = {entry.split(".")[0] for name in names for entry in imports(MODULES[name])} & OTHER_WORLDS
    assert world or any(list(asked(MODULES[name])) for name in names), row


@pytest.mark.parametrize("text", ["os.geteuid()", "os.environ['A']", "list(folder.glob('*'))", "Path.home()"])
def test_the_check_would_see_it(text: str, tmp_path: Path) -> None:
    path = tmp_path / "core.py"
    path.write_text(text + "\n")
    assert list(asked(path))
