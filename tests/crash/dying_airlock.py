"""An airlock that kills itself with SIGKILL at its n-th boundary: before or after a commit, before or after an act."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from tegd.airlock import __main__ as program
from tegd.airlock.adapters.hands import Hands
from tegd.airlock.adapters.journal import Journal

left = int(sys.argv.pop(1))


def boundary() -> None:
    global left  # noqa: PLW0603
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def between(inner: Callable[..., Any]) -> Callable[..., Any]:
    def outer(*args: Any, **kwargs: Any) -> Any:
        boundary()
        result = inner(*args, **kwargs)
        boundary()
        return result

    return outer


Journal.commit = between(Journal.commit)  # type: ignore[method-assign]
for name in ("_start", "_flush", "_ask", "_hold_or_end"):
    setattr(Hands, name, between(getattr(Hands, name)))
sys.exit(program.main())
