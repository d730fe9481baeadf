"""Settings of the programs of a stack, as `up --set` takes them: which program each is for.

`ledger.KEY=VALUE`, `governor.KEY=VALUE` and `tegd.KEY=VALUE` name it; without a name it is for all that have such a
key. What they have they say themselves (`--show-config`).
"""

import difflib
import subprocess
import sys
from collections.abc import Iterable

from tegcore.errors import ConfigError

MODULES = {"ledger": "zone_ledger.main", "governor": "governor.main", "tegd": "tegd.main"}
_OURS = {"state_dir": "--state", "broker": "TEG_BROKER=mqtt://HOST:PORT", "log2_slots": "--slots", "base": "--slots"}
"""What a stack sets itself, and how it is told."""
SHOW_S_MAX = 30.0


def by_program(sets: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Which settings each program gets.

    Raises:
        ConfigError: If no program has such a key, or the stack sets it itself.
    """
    found: dict[str, list[str]] = {name: [] for name in MODULES}
    known: dict[str, list[str]] = {}
    for entry in sets:
        key, equals, value = entry.partition("=")
        program, dot, rest = key.strip().partition(".")
        named = dot and program in MODULES
        key = rest if named else key.strip()
        if not equals:
            raise ConfigError(f"--set {entry}: a value is missing; nothing was started", f"write --set {entry}=VALUE")
        if key in _OURS:
            raise ConfigError(
                f"--set {key} cannot be set so, `tegctl up` sets it itself; nothing was started",
                f"use {_OURS[key]} instead",
            )
        known = known or _keys()
        takers = [program] if named else [name for name, keys in known.items() if key in keys]
        if not takers or any(key not in known[name] for name in takers):
            every = sorted({other for name in (takers or MODULES) for other in known[name]})
            near = difflib.get_close_matches(key, every, n=1)
            hint = f"did you mean --set {near[0]}={value}?" if near else "docs/reference/settings.md lists all settings"
            raise ConfigError(f"--set: there is no setting {key!r}; nothing was started", hint)
        for name in takers:
            found[name].append(f"{key}={value}")
    return {name: tuple(entries) for name, entries in found.items()}


def value_of(sets: Iterable[str], key: str) -> str:
    """What a program's settings say of a key at last; empty: nothing."""
    return next((value for name, _, value in (entry.partition("=") for entry in reversed([*sets])) if name == key), "")


def _keys() -> dict[str, list[str]]:
    """The keys that each program has."""
    asked = {
        name: subprocess.Popen(  # noqa: S603 - our own programs
            [sys.executable, "-m", module, "--show-config"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for name, module in MODULES.items()
    }
    told = {name: program.communicate(timeout=SHOW_S_MAX) for name, program in asked.items()}
    for name, program in asked.items():
        if program.returncode:
            raise ConfigError(f"{name}: {told[name][1].strip()}", "see its environment: TEG_...")
    return {name: [line.partition(" = ")[0] for line in out.splitlines()] for name, (out, _) in told.items()}
