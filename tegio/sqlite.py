"""SQLite files whose commits survive a power cut: WAL, `synchronous=FULL`, each statement its own transaction."""

import os
import sqlite3
from pathlib import Path

from tegcore.errors import JournalError


def open_durable(path: Path, schema: str) -> sqlite3.Connection:
    """Open a file for writing, made with a schema if need be; it may be used from any one thread at a time.

    Raises:
        JournalError: If it cannot be opened, or is no such file.
    """
    return _opened(sqlite3.connect(path, isolation_level=None, check_same_thread=False), path, schema)


def open_read_only(path: Path) -> sqlite3.Connection:
    """Open a file without the right to write, also beside a living writer.

    Raises:
        JournalError: If it cannot be opened.
    """
    frozen = "&immutable=1" if _cannot_change(path) else ""
    return _opened(sqlite3.connect(f"file:{path}?mode=ro{frozen}", uri=True, check_same_thread=False), path, "")


def _cannot_change(path: Path) -> bool:
    """Whether a file lies on a disk that is mounted read-only, with an empty log: SQLite cannot share it."""
    log = path.with_name(path.name + "-wal")
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY) and not (log.exists() and log.stat().st_size)
    except OSError:
        return False


def _opened(db: sqlite3.Connection, path: Path, schema: str) -> sqlite3.Connection:
    try:
        if schema:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.executescript(schema)
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        db.close()
        hint = "give the path of journal.sqlite in the state folder; may this user read it, has the disk room?"
        raise JournalError(f"{path}: {error}", hint) from None
    return db
