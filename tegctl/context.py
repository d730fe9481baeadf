"""What of where a command was typed goes with its work: environment, folder, mask, limits, standard input.

The environment as `srun --export` has it: `ALL`, `NONE`, and entries by name or with a value. What a job knows of its
own lease is left behind: work that it starts has a lease of its own.
"""

import os
import re
import resource
import select
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from tegcore.errors import RefusedError
from tegcore.wire import control

QUIET_S = 2.0
"""A standard input that neither says something nor ends for so long is spoken of."""
_NAME = re.compile(control.ENTRY_PATTERN)
_CHUNK_BYTES = 64 << 10


def environment(export: str, entries: tuple[str, ...], own: Mapping[str, str]) -> dict[str, str]:
    """What goes along of an environment.

    Args:
        export: `ALL`, `NONE`, names and NAME=VALUE, with commas between.
        entries: More, one each: NAME=VALUE, or NAME for what it is here.
        own: The environment here.

    Raises:
        RefusedError: If one cannot name an entry, or all are too large together.
    """
    words = [word for word in export.split(",") if word]
    every = "ALL" in words
    wanted = [word for word in words if word not in {"ALL", "NONE"}] + list(entries)
    found = {name: value for name, value in own.items() if _travels(name, value)} if every else {}
    for word in wanted:
        name, given, value = word.partition("=")
        if not _NAME.fullmatch(name):
            raise RefusedError(
                f"{name[:80]!r} cannot be the name of an environment variable",
                "write NAME=VALUE; NAME has letters, digits and '_', no digit first",
            )
        if given:
            found[name] = value
        elif name in own and _is_text(own[name]):
            found[name] = own[name]
    if (size := control.env_bytes(found)) > control.ENV_BYTES_MAX:
        what = f"your environment has {-(-size >> 10)} KiB: at most {control.ENV_BYTES_MAX >> 10} go with a job"
        raise RefusedError(what, "send only what the job needs: `tegctl run --export=PATH,HOME,LANG -- COMMAND`")
    return found


def _travels(name: str, value: str) -> bool:
    """Whether an entry is one that another process can be given, and not a fact of another lease."""
    return bool(_NAME.fullmatch(name)) and name not in control.LEASE_ENTRIES and _is_text(value)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def folder() -> str:
    """The working folder.

    Raises:
        RefusedError: If it is gone.
    """
    try:
        return str(Path.cwd())
    except OSError as error:
        what = f"the working folder cannot be told: {error.strerror}"
        raise RefusedError(what, "it was removed: `cd` to a folder that is there, and give the command again") from None


def mask() -> int:
    """The mask of new files' modes."""
    before = os.umask(0o022)
    os.umask(before)
    return before


def limits() -> dict[str, int]:
    """The soft limits by name; -1: none."""
    return {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))[0] for name in control.LIMITS}


def standard_input(wanted: str, say: Callable[[str], None]) -> bytes | None:
    """What the work is to read as its standard input, to its end; None: nothing is given.

    Args:
        wanted: `all`: of this process, where that is a pipe or a file. `none`, or a file's path.
        say: Told what is waited for.

    Raises:
        RefusedError: If it is more than is kept, with its size.
        OSError: If it cannot be read.
    """
    if wanted == "none":
        return None
    if wanted != "all":
        descriptor = os.open(wanted, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return _read(descriptor, say)
        finally:
            os.close(descriptor)
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return None
    return _read(0, say) if stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode) else None


def _read(descriptor: int, say: Callable[[str], None]) -> bytes:
    most, found = control.STDIN_BYTES_MAX, bytearray()
    about = os.fstat(descriptor)
    if stat.S_ISREG(about.st_mode):
        left = about.st_size - os.lseek(descriptor, 0, os.SEEK_CUR)
        if left > most:
            raise _too_large(f"{-(-left >> 10)} KiB: at most {most >> 10} go with a job")
    elif not select.select([descriptor], [], [], QUIET_S)[0]:
        say(
            "note: nothing is submitted yet: its standard input has not ended (Ctrl-D ends it, Ctrl-C gives up); "
            "if the job needs none: `tegctl run --input none -- COMMAND`"
        )
    while part := os.read(descriptor, _CHUNK_BYTES):
        found += part
        if len(found) > most:
            raise _too_large(f"more than {most >> 10} KiB, the most that goes with a job")
    return bytes(found)


def _too_large(size: str) -> RefusedError:
    what = f"its standard input has {size}"
    hint = (
        "put it into a file that every host has, and read that: `tegctl run -- sh -c 'python train.py < /path/to/FILE'`"
    )
    return RefusedError(what, hint)
