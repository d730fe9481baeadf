"""Runs kept on disk: each in a file of its own, under a key of the code and the data that it follows from.

A run that was interrupted costs only itself. Old files are left where they are: `make clean` removes them.
"""

import ast
import hashlib
import inspect
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from tegsim.claims.setting import Result, Run, Setting

PACKAGES = ("tegcore", "tegd", "zone_ledger", "governor", "tegsim")
ROOT = Path(__file__).parents[2]
Shown = Callable[[str, str, int, bool], None]
"""Told of each run: claim, policy, seed, whether it was remembered."""


class Store:
    """A runner that remembers.

    Args:
        folder: Where the files are.
        shown: See `Shown`.
    """

    def __init__(self, folder: Path, shown: Shown) -> None:
        self._folder, self._shown = folder, shown

    def __call__(self, setting: Setting, claim: str, policies: Sequence[str], run: Run) -> dict[str, list[Result]]:
        """See `tegsim.claims.setting.Runner`."""
        folder = self._folder / claim / key(run, setting)
        folder.mkdir(parents=True, exist_ok=True)
        found: dict[str, list[Result]] = {policy: [] for policy in policies}
        for seed in setting.seeds:
            for policy in policies:
                found[policy].append(self._one(folder, setting, claim, policy, seed, run))
        return found

    def _one(self, folder: Path, setting: Setting, claim: str, policy: str, seed: int, run: Run) -> Result:
        path = folder / f"{_plain(policy)}-{seed}.json"
        remembered = path.is_file()
        if not remembered:
            result = run(setting, policy, seed)
            fresh = path.with_suffix(".part")
            fresh.write_bytes(msgspec.json.encode(result))
            fresh.replace(path)
        self._shown(claim, policy, seed, remembered)
        kept: Result = msgspec.json.decode(path.read_bytes(), type=dict)
        return kept


def key(run: Run, setting: Setting) -> str:
    """16 hex digits over what a run follows from: its code, the size, and the trace files that its module reads.

    Of its own module that is what the function reaches; of the project's modules that these import, all.
    """
    module = sys.modules[run.__module__]
    digest = hashlib.blake2b(digest_size=8)
    digest.update(f"quick={setting.quick}".encode())
    statements = reached(inspect.getsource(module), run.__name__)
    digest.update("\n".join(map(ast.unparse, statements)).encode())
    names = {found for name in _imported(statements) for found in sources(name)}
    for name in sorted(names):
        digest.update(name.encode() + _digest(_path(name)))
    for name in getattr(module, "TRACES", ()):
        path = setting.file(name)
        digest.update(name.encode() + (_digest(path) if path else b"none"))
    return digest.hexdigest()


def reached(source: str, start: str) -> list[ast.stmt]:
    """The statements of a module that a name rests on, directly or through others, in their order."""
    tree = ast.parse(source)
    bound = {name: at for at, statement in enumerate(tree.body) for name in _binds(statement)}
    wanted, left = set[int](), [start]
    while left:
        at = bound.get(left.pop())
        if at is not None and at not in wanted:
            wanted.add(at)
            left += [node.id for node in ast.walk(tree.body[at]) if isinstance(node, ast.Name)]
    return [tree.body[at] for at in sorted(wanted)]


def _binds(statement: ast.stmt) -> list[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return [alias.asname or alias.name.split(".")[0] for alias in names]
        case _:
            return [node.id for node in ast.walk(statement) if isinstance(node, ast.Name)]


@cache
def sources(name: str) -> frozenset[str]:
    """The modules of this project that a module follows from, itself included."""
    found: set[str] = set()
    left = [name]
    while left:
        at = left.pop()
        if at not in found:
            found.add(at)
            left += _imported(ast.parse(_path(at).read_text()).body)
    return frozenset(found)


def _imported(statements: Sequence[ast.stmt]) -> list[str]:
    """Modules of this project that statements import."""
    names: set[str] = set()
    for node in (inner for statement in statements for inner in ast.walk(statement)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return [name for name in names if name.split(".")[0] in PACKAGES and _is_module(name)]


def _is_module(name: str) -> bool:
    return _path(name).is_file()


def _path(name: str) -> Path:
    place = ROOT.joinpath(*name.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


@cache
def _digest(path: Path) -> bytes:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).digest()


def _plain(policy: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in policy)


def measured_on() -> dict[str, Any]:
    """What numbers are measured on: this machine, and the commit of the working folder."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)  # noqa: S607
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.is_file() else []
    return {
        "machine": platform.machine(),
        "cpu": next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "?"),
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
    }
