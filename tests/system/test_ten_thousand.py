"""A host with as many waiting jobs as it takes, on a real stack: people are answered, and a restart keeps all."""

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tegcore.errors import RefusedError, TegError
from tegcore.wire import control
from tegctl.session import Session, fresh_key
from tegctl.stack import Stack, StackSettings
from tegd.submission import WAITING_MAX

pytestmark = pytest.mark.long

ASKERS = 8
ANSWER_S_MAX = 10.0
BACK_S_MAX = 120.0
SETTINGS = StackSettings(
    zone="many",
    ledger={"zone_k": 1, "market": "fixed"},
    governor={"zone_k": 1},
    host={"host": "many", "log2_slots": 1},
)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    made = Stack(tmp_path / "s", SETTINGS)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def ask(session: Session, request: control.AnyRequest) -> tuple[Any, float]:
    """The answer, and how long it took in s."""
    begun_s = time.monotonic()
    return session.ask("tegd", request), time.monotonic() - begun_s


def counted(session: Session) -> Counter[str]:
    return Counter(row["state"] for row in session.ask("tegd", control.Workloads()))


def submit(session: Session, count: int) -> None:
    spec = control.WorkloadSpec(argv=("sleep", "100000"), requeue=False)
    with ThreadPoolExecutor(ASKERS) as pool:
        keys = [fresh_key() for _ in range(count)]
        for _ in pool.map(lambda key: session.ask("tegd", control.Submit(spec=spec, key=key)), keys):
            pass


def test_ten_thousand_wait_are_listed_explained_kept_and_cancelled(stack: Stack) -> None:
    session = Session(stack.state_dir, "json")
    begun_s = time.monotonic()
    submit(session, WAITING_MAX)
    print(f"submitted {WAITING_MAX} in {time.monotonic() - begun_s:.0f} s", file=sys.stderr)
    until_s = time.monotonic() + BACK_S_MAX
    while counted(session) != {"running": 2, "pending": WAITING_MAX - 2}:
        assert time.monotonic() < until_s, counted(session)
        time.sleep(1.0)
    rows, list_s = ask(session, control.Workloads())
    last = rows[-1]["name"]
    why, why_s = ask(session, control.Why(name=last))
    print(f"list {list_s:.2f} s, why {why_s:.2f} s, {session.ask('tegd', control.Host())}", file=sys.stderr)
    assert len(rows) == WAITING_MAX
    assert why["reasons"][0]["text"]
    assert max(list_s, why_s) < ANSWER_S_MAX
    os.kill(stack.pid("tegd"), signal.SIGKILL)
    begun_s = time.monotonic()
    until_s, seen = begun_s + BACK_S_MAX, Counter[str]()
    while seen != {"running": 2, "pending": WAITING_MAX - 2}:
        assert time.monotonic() < until_s, seen
        stack.tend()
        time.sleep(0.2)
        try:
            seen = counted(session)
        except TegError:
            continue
    print(f"all back {time.monotonic() - begun_s:.0f} s after it was killed", file=sys.stderr)
    running = [row["name"] for row in rows if row["state"] == "running"]
    _, cancel_s = ask(session, control.CancelWorkload(name=running[0]))
    begun_s = time.monotonic()
    until_s = begun_s + BACK_S_MAX
    while counted(session) != {"running": 2, "pending": WAITING_MAX - 3, "cancelled": 1}:
        assert time.monotonic() < until_s, counted(session)
        time.sleep(0.5)
    print(f"cancel {cancel_s:.2f} s; the next runs after {time.monotonic() - begun_s:.1f} s", file=sys.stderr)
    leases = session.ask("ledger", control.Leases())
    assert len(leases) == 2


def test_one_more_than_it_takes_is_refused_at_the_door(stack: Stack) -> None:
    session = Session(stack.state_dir, "json")
    with pytest.raises(RefusedError, match="the most that it can hold"):
        submit(session, WAITING_MAX + 1_201)
