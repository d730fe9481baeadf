"""The rooms of the house, read from the source: who may import whom (ARCHITECTURE.md, "Rooms")."""

import ast
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = ("tegd", "zone_ledger", "governor", "tegctl")
PACKAGES = ("tegcore", "tegio", *PROGRAMS, "tegsim")

SHELLS = {
    "tegio.*": "shells that programs share",
    "tegd.terminal": "a program of its own, between a job and its terminal",
    "tegd.alone": "the loop of a host without a cluster",
    "tegd.airlock.guard": "reads the host, writes a log",
    "tegd.airlock.deadman": "sleeps on a lock, writes to groups",
    "tegd.airlock.dumper.criu": "runs CRIU",
    "tegd.airlock.dumper.images": "files",
    "tegctl.*": "a command line is a shell",
    "*.main": "wiring",
    "*.__main__": "wiring",
    "*.service": "the loop around a core",
    "*.adapters.*": "one outside thing each",
    "tegd.telemetry.sample": "kernel files, through descriptors that stay open",
    "zone_ledger.journal.store": "SQLite",
    "zone_ledger.journal.mark": "a file beside it",
    "zone_ledger.journal.snapshots": "files",
    "tegsim.claims.store": "files",
    "tegsim.claims.plots": "files",
    "tegsim.claims.cost": "processor time, on the ledger's own journal",
    "tegsim.claims.registry": "it lists the claim that measures this machine",
    "tegsim.placement_rig": "processor time, on the ledger's own journal",
    "zone_ledger.audit": "reads a journal by itself, sharing no code",
    "zone_ledger.replay": "reads journal and snapshots",
    "tegsim.scale.sitting": "processes, processor time, files",
    "tegsim.scale.page": "files",
    "tegsim.cluster.*": "the second shell around the cores: the real journals, on disks that fail",
}
"""Modules that may do I/O, each with its reason. All else is a core."""

WORLD = {
    "amqtt",
    "asyncio",
    "concurrent",
    "gmqtt",
    "multiprocessing",
    "os",
    "psutil",
    "random",
    "secrets",
    "select",
    "selectors",
    "signal",
    "socket",
    "sqlite3",
    "subprocess",
    "threading",
    "time",
    "uuid",
}
"""What a core must be handed, and so may not import."""


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the room"
            module = node.module or ""
            names.add(module)
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


MODULES = modules()


def is_shell(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in SHELLS)


@pytest.mark.parametrize("name", sorted(name for name in MODULES if not is_shell(name)))
def test_a_core_imports_no_world_and_no_shell(name: str) -> None:
    found = imports(MODULES[name])
    assert not {entry.split(".")[0] for entry in found} & WORLD
    assert not {entry for entry in found if entry in MODULES and is_shell(entry)}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_programs_never_import_each_other(name: str) -> None:
    room = name.split(".", maxsplit=1)[0]
    own = {"tegcore": {"tegcore"}, "tegio": {"tegcore", "tegio"}, "tegsim": set(PACKAGES) - {"tegio", "tegctl"}}
    allowed = own.get(room, {"tegcore", "tegio", room})
    used = {entry.split(".")[0] for entry in imports(MODULES[name])} & set(PACKAGES)
    assert used <= allowed


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_module_says_what_it_is_for(name: str) -> None:
    assert ast.get_docstring(ast.parse(MODULES[name].read_text()))


def test_every_shell_is_there() -> None:
    """A row of the table that fits nothing is left over."""
    for pattern in SHELLS:
        assert any(fnmatch(name, pattern) for name in MODULES), pattern


@pytest.mark.parametrize("entry", ["import time", "from sqlite3 import connect", "import tegio.mqtt"])
def test_the_check_would_see_it(entry: str, tmp_path: Path) -> None:
    path = tmp_path / "core.py"
    path.write_text(entry + "\n")
    found = imports(path)
    assert {name.split(".")[0] for name in found} & (WORLD | {"tegio"})
