"""The airlock as tests in a guest run it: it may be told to die at a step, and to take inputs as if memory were short.

In /run/teg-test, `die` holds `STATE,HELD,WHEN`: the airlock kills itself when a workload's record with this state and
reason to be held is durable (`committed`), or when what follows from it was also done (`done`). `inject` holds a JSON
list of `[workload, kind, then]`. Both are used once. Of its own, the memory side only proves and brings back.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tegd.airlock import __main__ as program
from tegd.airlock.adapters.journal import Journal
from tegd.airlock.core import Input, Kind
from tegd.airlock.guard import Guard
from tegd.airlock.model import Then
from tegd.airlock.service import Airlock

DIE, INJECT = Path("/run/teg-test/die"), Path("/run/teg-test/inject")


def die_if_told(state: str, held: str, when: str) -> None:
    try:
        wanted = DIE.read_text().split(",")
    except OSError:
        return
    if wanted == [state, held, when]:
        DIE.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def commit(self: Journal, records: list[dict[str, Any]], inner: Any = Journal.commit) -> None:
    inner(self, records)
    for record in records:
        if "status" in record:
            die_if_told(record["status"]["state"], record["status"]["held"], "committed")


def act(self: Airlock, workload: Any, effects: Any, inner: Any = Airlock._act) -> None:
    inner(self, workload, effects)
    if effects:
        die_if_told(workload.status.state, workload.status.held, "done")


def look(self: Guard, known: Any, now_ns: int, inner: Any = Guard.look) -> list[tuple[str, Input]]:
    self.due_ns = min(self.due_ns, now_ns)
    found = inner(self, known, now_ns)
    self.due_ns = now_ns + 50_000_000
    found = [told for told in found if told[1].kind is Kind.RESTORE or told[1].then is Then.PROVE]
    if not INJECT.exists():
        return found
    asked = json.loads(INJECT.read_text())
    INJECT.unlink()
    return [(name, Input(Kind(kind), then=Then(then))) for name, kind, then in asked if name in known]


Journal.commit = commit  # type: ignore[method-assign]
Airlock._act = act  # type: ignore[method-assign]
Guard.look = look  # type: ignore[method-assign]
sys.exit(program.main())
