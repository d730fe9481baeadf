"""What the airlock's settings file says: mode, slice, and rank and hook of the units in it (docs/reference/airlock.md).

    mode = "act"                    # "observe", the default, only says what it would do
    slice = "teg.slice"             # whose units it looks after
    uid_min = 1000                  # the agent side starts no work of users below this
    prove = true                    # each workload saves itself once, soon after it came, to show that it can

    [units."web-*.service"]         # the first pattern that matches counts
    rank = 10                       # the least gives way first
    signal = "SIGUSR1"              # asks for a checkpoint
    checkpoint = "/var/lib/web/checkpoint"
    mark = ""                       # default: the checkpoint is the mark, once it is another file than before
    resume = ["--resume"]           # added to the command when it starts again from its checkpoint
    criu = true                     # whether CRIU may save it, where there is no hook or it fails

Rank, signal, checkpoint, mark, resume and criu may also stand in the unit, as `Environment=TEG_RANK=10` and so on; the
file goes before the unit.
"""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tegcore.errors import ConfigError
from tegd.airlock.model import Hook
from tegd.airlock.protocol import PATH_BYTES_MAX, SIGNALS

FILE_BYTES_MAX = 1 << 20
RESUME_BYTES_MAX = 4096
_ENVIRONMENT = {
    "rank": "TEG_RANK",
    "signal": "TEG_SIGNAL",
    "checkpoint": "TEG_CHECKPOINT",
    "mark": "TEG_MARK",
    "resume": "TEG_RESUME",
    "criu": "TEG_CRIU",
}


class Mode(StrEnum):
    """Whether it acts."""

    OBSERVE = "observe"
    ACT = "act"


@dataclass(frozen=True, slots=True)
class UnitSettings:
    """Of one unit.

    Attributes:
        rank: The least gives way first.
        hook: How it is saved; None: it cannot be, only frozen and parked in memory.
        resume: Arguments added when it starts again from its checkpoint.
        dump: Whether its processes may be dumped where there is no hook or it fails.
    """

    rank: float = 0.0
    hook: Hook | None = None
    resume: tuple[str, ...] = ("--resume",)
    dump: bool = True


@dataclass(frozen=True, slots=True)
class AirlockSettings:
    """Of the airlock.

    Attributes:
        mode: See `Mode`.
        slice: Name of the slice whose units are looked after; empty: none.
        units: Tables by pattern.
        uid_min: Least user whose work the agent side may have started, and least group that its user need not be in:
            what takes over the agent side is not root, nor in root's groups.
        prove: Whether each workload is to show that it can be saved.
    """

    mode: Mode = Mode.OBSERVE
    slice: str = "teg.slice"
    units: dict[str, dict[str, Any]] = field(default_factory=dict)
    uid_min: int = 1000
    prove: bool = True

    def of_unit(self, unit: str, environment: Mapping[str, str]) -> UnitSettings:
        """What holds for a unit.

        Args:
            unit: Its name.
            environment: Of its main process.

        Raises:
            ConfigError: If what is said of it cannot be.
        """
        said: dict[str, Any] = {name: environment[key] for name, key in _ENVIRONMENT.items() if key in environment}
        table = next((table for pattern, table in self.units.items() if fnmatchcase(unit, pattern)), {})
        return _unit_settings(unit, said | table)


def read(path: Path) -> AirlockSettings:
    """Read a settings file.

    Raises:
        ConfigError: If it cannot be read, or says something that cannot be; the message says where.
    """
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX + 1)
        data = tomllib.loads(text.decode())
    except (OSError, ValueError) as error:
        raise _wrong(str(path), str(error)) from error
    if len(text) > FILE_BYTES_MAX:
        raise _wrong(str(path), f"it is larger than {FILE_BYTES_MAX} bytes")
    if unknown := set(data) - {"mode", "slice", "units", "uid_min", "prove"}:
        raise _wrong(str(path), f"no setting {min(unknown)!r}")
    if data.get("mode", "observe") not in tuple(Mode):
        raise _wrong(str(path), "mode is `observe` or `act`")
    name = data.get("slice", "teg.slice")
    if not isinstance(name, str) or (name and (not name.endswith(".slice") or "/" in name)):
        raise _wrong(str(path), "slice is the name of a slice, as `teg.slice`")
    units = data.get("units", {})
    if not isinstance(units, dict) or not all(isinstance(table, dict) for table in units.values()):
        raise _wrong(str(path), "units holds one table a pattern")
    uid_min = data.get("uid_min", 1000)
    if type(uid_min) is not int or uid_min < 0:
        raise _wrong(str(path), "uid_min is the number of a user")
    prove = data.get("prove", True)
    if not isinstance(prove, bool):
        raise _wrong(str(path), "prove is true or false")
    settings = AirlockSettings(Mode(data.get("mode", "observe")), name, units, uid_min, prove)
    for pattern, table in units.items():
        _unit_settings(pattern, table)
    return settings


def _unit_settings(unit: str, said: dict[str, Any]) -> UnitSettings:
    if unknown := set(said) - set(_ENVIRONMENT):
        raise _wrong(unit, f"no setting {min(unknown)!r}")
    try:
        rank = float(said.get("rank", 0.0))
    except (TypeError, ValueError, OverflowError):
        rank = math.nan
    if not math.isfinite(rank):
        raise _wrong(unit, "rank is a number")
    resume = said.get("resume", ["--resume"])
    words = tuple(resume.split()) if isinstance(resume, str) else tuple(resume) if isinstance(resume, list) else None
    if words is None or not all(isinstance(word, str) and "\0" not in word and "\n" not in word for word in words):
        raise _wrong(unit, "resume is a list of arguments")
    if sum(_bytes(word) + 1 for word in words) > RESUME_BYTES_MAX:
        raise _wrong(unit, f"resume is longer than {RESUME_BYTES_MAX} bytes")
    checkpoint, mark = said.get("checkpoint", ""), said.get("mark", "")
    dump = {True: True, "true": True, False: False, "false": False}.get(said.get("criu", True))
    if dump is None:
        raise _wrong(unit, "criu is true or false")
    if not checkpoint:
        return UnitSettings(rank, None, words, dump)
    signal = said.get("signal", "SIGUSR1")
    if signal not in SIGNALS:
        raise _wrong(unit, f"signal is one of {', '.join(SIGNALS)}")
    for path in (checkpoint, mark or checkpoint):
        if not isinstance(path, str) or not path.startswith("/") or "\0" in path:
            raise _wrong(unit, "checkpoint and mark are absolute paths")
        if _bytes(path) >= PATH_BYTES_MAX:
            raise _wrong(unit, f"checkpoint and mark are paths of less than {PATH_BYTES_MAX} bytes")
    return UnitSettings(rank, Hook(SIGNALS[signal], checkpoint, mark or checkpoint), words, dump)


def _bytes(word: str) -> int:
    """Its length on the host; an environment may hold bytes that are no text."""
    return len(word.encode(errors="surrogateescape"))


def _wrong(where: str, what: str) -> ConfigError:
    return ConfigError(f"{where}: {what}", "see docs/reference/airlock.md")
