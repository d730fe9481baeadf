"""Places where a test may kill the process: `reach("commit")` does nothing unless TEG_FAILPOINT says otherwise.

TEG_FAILPOINT="commit:3" kills the process, by SIGKILL, when `commit` is reached for the third time: no handler runs, no
buffer is flushed, which is what a power cut or an OOM kill looks like from inside. A program arms itself with what its
environment says; what only uses the same parts, as the simulator does, is never killed.
"""

import os
import signal

NAMES = ("append", "commit", "mark", "publish", "snapshot", "rename", "trim")
"""append: before a batch is written; commit: after; mark: before it is marked; publish: before effects leave; snapshot:
before a snapshot is written; rename: before it takes its name; trim: before old batches are deleted."""

_name, _left = "", 0


def arm() -> None:
    """Be killed from now on where the environment says so."""
    global _name, _left  # noqa: PLW0603
    _name, _, count = os.environ.get("TEG_FAILPOINT", "").partition(":")
    _left = int(count or 1)


def reach(name: str) -> None:
    """Be killed here, if this is where the environment said so."""
    global _left  # noqa: PLW0603
    if name == _name:
        _left -= 1
        if _left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
