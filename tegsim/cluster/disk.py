"""The ledger's disk: the real journal and snapshots, in SQLite and files, on a disk that fails, tears and forgets.

What a life has written stands in a folder of its own. When the ledger dies, the next life gets a copy of what is then
on the disk: all of it after a kill; after a power cut without what was never synced, with the write under way torn at a
sector, and with an older mark. What SQLite was told about syncing decides what it has synced: with `synchronous` below
FULL, nothing since the file was opened. Writes that fail do so at SQLite's own door: before a statement, or after it,
when nobody knows whether it holds.
"""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tegsim.kernel import Stream
from zone_ledger.journal.snapshots import Snapshots
from zone_ledger.journal.store import Journal

SECTOR_BYTES = 512
FULL = 2
"""`PRAGMA synchronous` with which a commit is synced before it returns."""

NAME = "journal.sqlite"


class Connection:
    """A connection to SQLite whose disk may fail.

    Args:
        db: As it is opened by the journal.
        disk: That it is on.
    """

    def __init__(self, db: sqlite3.Connection, disk: "Disk") -> None:
        self._db = db
        self._disk = disk
        (level,) = self._db.execute("PRAGMA synchronous").fetchone()
        disk.opened(synced=level >= FULL)

    def execute(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """See `sqlite3.Connection.execute`."""
        if not statement.startswith("INSERT INTO batches"):
            return self._db.execute(statement, values)
        self._disk.before_write()
        cursor = self._db.execute(statement, values)
        self._disk.after_write()
        return cursor

    def executemany(self, statement: str, rows: list[tuple[Any, ...]]) -> sqlite3.Cursor:
        """See `sqlite3.Connection.executemany`."""
        return self._db.executemany(statement, rows)

    @property
    def in_transaction(self) -> bool:
        """See `sqlite3.Connection.in_transaction`."""
        return self._db.in_transaction

    def close(self) -> None:
        """See `sqlite3.Connection.close`."""
        self._db.close()


class Disk:
    """Where one ledger keeps what it must not lose.

    Args:
        folder: A folder for it alone.
        draws: Where tears fall.
        boundary: Passed before and after each write.

    Attributes:
        failing: Share of writes that fail while it lasts.
        faults: Writes that failed.
    """

    def __init__(self, folder: Path, draws: Stream, boundary: Callable[[str], None]) -> None:
        self._root = folder
        self._draws = draws
        self._boundary = boundary
        self._life = 0
        self._journal: Journal | None = None
        self._synced = True
        self._opened_with: dict[str, bytes] = {}
        self._folder().mkdir(parents=True)
        self.failing = 0.0
        self.faults = 0
        self.torn = False

    def open(self, zone: str) -> tuple[Journal, Snapshots]:
        """The journal as a new life finds it.

        Raises:
            JournalError: By the cases of `zone_ledger.journal.recovery`.
        """
        path = self._folder() / NAME
        through: Any = lambda db: Connection(db, self)  # noqa: E731
        self._journal = Journal(path, zone, through=through)
        return self._journal, Snapshots(path.with_suffix(".snapshots"))

    def crash(self, *, power_cut: bool) -> None:
        """The ledger dies, or its machine loses power."""
        journal, self._journal = self._journal, None
        left = self._folder()
        self._life += 1
        shutil.copytree(left, self._folder(), ignore=shutil.ignore_patterns("*.lock", "*-shm"))
        if power_cut:
            self._forget()
        if journal is not None:
            journal.close()
        shutil.rmtree(left)

    # --- what SQLite does -------------------------------------------------------------------------------------------

    def opened(self, *, synced: bool) -> None:
        """A file was opened for writing."""
        self._synced = synced
        self._opened_with = {} if synced else self._files()

    def before_write(self) -> None:
        """A batch is to be written.

        Raises:
            sqlite3.OperationalError: If the disk fails.
        """
        self._boundary("append")
        if self._draws.chance(self.failing / 2):
            self.faults += 1
            raise sqlite3.OperationalError("disk I/O error (simulated: write)")
        self.torn = False

    def after_write(self) -> None:
        """A batch was written.

        Raises:
            sqlite3.OperationalError: If the disk cannot say whether it was.
        """
        self.torn = True
        self._boundary("written, not synced")
        self.torn = False
        if self._draws.chance(self.failing / 2):
            self.faults += 1
            raise sqlite3.OperationalError("disk I/O error (simulated: sync)")
        self._boundary("synced, not marked")

    # --- what a power cut does --------------------------------------------------------------------------------------

    def _forget(self) -> None:
        folder = self._folder()
        if not self._synced:
            for name, raw in self._opened_with.items():
                (folder / name).write_bytes(raw)
            for path in folder.glob(f"{NAME}*"):
                if path.name not in self._opened_with:
                    path.unlink()
        elif self.torn:
            self._tear(folder / f"{NAME}-wal")
        mark = folder / "journal.mark"
        if mark.exists() and self._draws.chance(0.5):
            raw, half = mark.read_bytes(), mark.stat().st_size // 2
            mark.write_bytes(raw[:half] + bytes(half) if self._draws.chance(0.5) else bytes(half) + raw[half:])

    def _tear(self, log: Path) -> None:
        """Of the write under way, some sectors of its last page in the log are not what was written."""
        if not log.exists():
            return
        raw = bytearray(log.read_bytes())
        sectors = self._draws.whole(0, 7)
        cut = max(0, len(raw) - sectors * SECTOR_BYTES - self._draws.whole(0, SECTOR_BYTES - 1))
        log.write_bytes(raw[:cut] if self._draws.chance(0.5) else bytes(raw[:cut]) + bytes(len(raw) - cut))

    def _files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self._folder().glob(f"{NAME}*")}

    def _folder(self) -> Path:
        return self._root / str(self._life)
