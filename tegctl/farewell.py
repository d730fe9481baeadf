"""What became of a stack's work when it was stopped: said by who stops it, read by who waits for the work.

It is kept in the state folder, for `tegctl run` in another terminal, until the next start.
"""

import fcntl
import json
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

NAMES_SHOWN_MAX = 20
LOCK = "stack.lock"


class Fate(StrEnum):
    """What became of a job."""

    SAVED = "saved"
    ENDED = "ended"
    OVER = "over"
    UNSAVED = "unsaved"
    LEFT = "left"
    WAITS = "waits"


SUMMARY = {
    Fate.SAVED: "saved, and goes on at the next `tegctl up`",
    Fate.LEFT: "left running (--keep); the next `tegctl up` takes it up again",
    Fate.UNSAVED: "could not be saved in time, ended; starts again at the next `tegctl up`",
    Fate.ENDED: "ended, for it has no --hook to save it; starts again from its beginning at the next `tegctl up`",
    Fate.OVER: "ended for good, for it has neither a --hook to save it nor leave to start again (--no-requeue, --pty)",
    Fate.WAITS: "pending, waits for the next `tegctl up`",
}
_OF_ONE = {
    Fate.SAVED: "{name} was saved, and goes on at the next `tegctl up`",
    Fate.LEFT: "{name} goes on, unwatched; the next `tegctl up` takes it up again",
    Fate.UNSAVED: "{name} could not be saved in time, and was ended; it starts again at the next `tegctl up`",
    Fate.ENDED: (
        "{name} was ended with it, as it has no --hook to be saved by; it starts again from its beginning at the next "
        "`tegctl up`"
    ),
    Fate.OVER: (
        "{name} was ended with it for good: it has no --hook to be saved by, and is not to start again (--no-requeue, "
        "--pty); submit it again if you want it"
    ),
    Fate.WAITS: "{name} is pending still, and has its turn after the next `tegctl up`",
}


def lines(fates: Mapping[int, Fate], names: Mapping[int, str]) -> list[str]:
    """What is said when all is down: one line a fate, with the names of the jobs."""
    told = []
    for fate, text in SUMMARY.items():
        having = [names.get(ref, f"w{ref}") for ref, of_it in sorted(fates.items()) if of_it is fate]
        more = f" and {len(having) - NAMES_SHOWN_MAX} more" if len(having) > NAMES_SHOWN_MAX else ""
        told += [f"{text}: {', '.join(having[:NAMES_SHOWN_MAX])}{more}"] if having else []
    return told


def _path(state_dir: Path) -> Path:
    return state_dir / "run" / "stopped.json"


def with_over(fates: Mapping[int, Fate], once: Collection[int]) -> dict[int, Fate]:
    """The same, where of what was ended those that are not to start again (`once`) are over for good."""
    return {ref: Fate.OVER if fate is Fate.ENDED and ref in once else fate for ref, fate in fates.items()}


def leave(state_dir: Path, fates: Mapping[int, Fate]) -> None:
    """Say it to whoever waits; a disk that is full keeps nobody from stopping."""
    with suppress(OSError):
        fresh = _path(state_dir).with_suffix(".fresh")
        fresh.write_text(json.dumps({str(ref): fate for ref, fate in fates.items()}))
        fresh.replace(_path(state_dir))


def take_back(state_dir: Path) -> None:
    """It is up again."""
    _path(state_dir).unlink(missing_ok=True)


def was_left(state_dir: Path) -> bool:
    """Whether it was stopped in order, and not started since."""
    return _path(state_dir).exists()


def of_one(state_dir: Path, ref: int, name: str) -> str:
    """What became of one job; empty where that is not known."""
    try:
        fate = Fate(json.loads(_path(state_dir).read_text())[str(ref)])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return _OF_ONE[fate].format(name=name)


def is_tended(state_dir: Path) -> bool:
    """Whether somebody looks after a stack in this folder, so that a part that died comes back."""
    try:
        lock = os.open(state_dir / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False
