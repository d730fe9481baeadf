"""Logs: events with keys, on standard error; with journald's priority prefix where systemd reads them."""

import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any

_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class _Format(logging.Formatter):
    def __init__(self, program: str) -> None:
        journal = "JOURNAL_STREAM" in os.environ
        super().__init__("%(message)s" if journal else f"%(asctime)s {program} %(levelname)s %(message)s", "%H:%M:%S")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return f"<{_PRIORITY.get(record.levelno, 6)}>{text}" if self._journal else text


def start_logs(program: str, level: int = logging.INFO) -> None:
    """Send this program's events to standard error; libraries speak from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Format(program))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("teg").setLevel(level)
    for noisy in ("amqtt", "gmqtt", "transitions"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def event(name: str, /, level: int = logging.INFO, **fields: Any) -> None:
    """Log one event: its name, then key=value."""
    text = " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())
    logging.getLogger("teg").log(level, "%s %s", name, text)


class Seldom:
    """Events that may come in floods: one line a minute of each kind, with how many were left out since the last.

    Args:
        now_s: A clock that never steps.
    """

    EVERY_S, KINDS_MAX = 60.0, 1024

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._told: dict[tuple[str, str], tuple[float, int]] = {}

    def event(self, name: str, kind: str, level: int = logging.WARNING, **fields: Any) -> None:
        """Log one, unless one of its name and kind was logged within a minute."""
        now_s, key = self._now_s(), (name, kind)
        told_s, left_out = self._told.pop(key, (now_s - self.EVERY_S, 0))
        if now_s - told_s < self.EVERY_S:
            self._told[key] = told_s, left_out + 1
            return
        self._told[key] = now_s, 0
        while len(self._told) > self.KINDS_MAX:
            del self._told[next(iter(self._told))]
        event(name, level, **(fields | ({"left_out": left_out} if left_out else {})))


def _quoted(value: Any) -> str:
    text = str(value)
    return f'"{text}"' if " " in text else text
