"""Whoever is told to type a command can: each that a message, a hint or a page names is there."""

import pkgutil
import re
from pathlib import Path

import pytest

from tegctl import commands

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`tegctl((?: +-{1,2}[a-z-]+(?: +[^-`\s]\S*)?)*) +([a-z][a-z-]*)")
"""In backquotes, after options of `tegctl` itself. The cheat sheet names what comes later too, and has its own test."""
FILES = sorted(
    path
    for folder in ("tegcore", "tegio", "tegd", "tegctl", "zone_ledger", "governor", "docs", "vagrant", "systemd")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".md"} and path.name != "cheatsheet.md"
)


@pytest.mark.parametrize("path", [*FILES, ROOT / "README.md"], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_is_named_is_there(path: Path) -> None:
    named = {found.group(2) for found in NAMED.finditer(path.read_text())}
    assert named <= {module.name.replace("_", "-") for module in pkgutil.iter_modules(commands.__path__)}
