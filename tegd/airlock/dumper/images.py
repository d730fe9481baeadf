"""An image on disk: a folder that counts only once the file `whole` is in it, written when all else is durable.

Whoever works on a folder holds the lock on its file `lock`; CRIU inherits it, so that it stays held while a CRIU runs
whose parent is gone.
"""

import fcntl
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_WHOLE = "whole"
_LOCK = "lock"


class Whole(NamedTuple):
    """What a whole image is.

    Attributes:
        attempt: The save that it came of.
        pid: Root of its processes.
    """

    attempt: int
    pid: int


def whole(folder: Path) -> Whole | None:
    """The image in a folder, if it is whole."""
    try:
        data = json.loads((folder / _WHOLE).read_bytes())
        return Whole(int(data["attempt"]), int(data["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def lock(folder: Path, *, wait: bool) -> int | None:
    """Lock a folder; the descriptor, which a child inherits, or None where it is locked and `wait` is not said.

    Raises:
        OSError: If there is no such folder.
    """
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    os.set_inheritable(descriptor, True)
    return descriptor


def busy(folder: Path) -> bool:
    """Whether someone works on it."""
    try:
        descriptor = lock(folder, wait=False)
    except OSError:
        return False
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is None


def clear(folder: Path) -> None:
    """Empty a folder, the mark of wholeness first; the lock stays."""
    with suppress(FileNotFoundError):
        (folder / _WHOLE).unlink()
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name != _LOCK:
                os.unlink(entry.path)  # noqa: PTH108 - of a scan


def complete(folder: Path, image: Whole) -> None:
    """Make all that is in a folder durable, and then that it is whole.

    Raises:
        OSError: If the disk refuses.
    """
    with os.scandir(folder) as entries:
        for path in [entry.path for entry in entries]:
            _sync(path)
    _sync(str(folder))
    (folder / _WHOLE).write_text(json.dumps(image._asdict()))
    _sync(str(folder / _WHOLE))
    _sync(str(folder))


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
