"""Places where a test may kill the process: `reach("commit")` does nothing unless TEG_FAILPOINT says otherwise.

TEG_FAILPOINT="commit:3" kills the process, by SIGKILL, when `commit` is reached for the third time: no handler runs, no
buffer is flushed, which is what a power cut or an OOM kill looks like from inside.
"""

import os
import signal

NAMES = ("append", "commit", "mark", "publish", "snapshot", "rename", "trim")
"""append: before a batch is written; commit: after; mark: before it is marked; publish: before effects leave; snapshot:
before a snapshot is written; rename: before it takes its name; trim: before old batches are deleted."""

_name, _, _count = os.environ.get("TEG_FAILPOINT", "").partition(":")
_left = int(_count or 1)


def reach(name: str) -> None:
    """Be killed here, if this is where the environment says so."""
    global _left  # noqa: PLW0603
    if name == _name:
        _left -= 1
        if _left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
