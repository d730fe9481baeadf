"""Logs: events with keys, on standard error; with journald's priority prefix where systemd reads them."""

import logging
import os
import sys
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


def _quoted(value: Any) -> str:
    text = str(value)
    return f'"{text}"' if " " in text else text
