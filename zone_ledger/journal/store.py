"""The journal on disk: one SQLite file in WAL mode, `synchronous=FULL`, one row a batch.

A row holds the packed records of one micro-batch, its number, the checksum of the batch before it, and a CRC32C over
all three, so that a batch that is changed, missing, doubled or from elsewhere is seen. SQLite's own WAL decides whether
a batch that was being written when the power went is there or not; there is no third case. Now and then a row also
holds the hash of the state that it leads to, which a replay must reach.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from tegcore.errors import JournalError
from tegcore.wire.records import RECORD_BYTES
from tegio.sqlite import open_durable, open_read_only
from zone_ledger.journal.batch import Batch, checksum

FORMAT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (
    number INTEGER PRIMARY KEY, records BLOB NOT NULL, previous INTEGER NOT NULL, crc INTEGER NOT NULL, hash BLOB
);
"""


class Journal:
    """The journal of one ledger, open for one writer.

    Args:
        path: Of the file; its folder must exist.
        zone: Whose it is; a file of another zone is refused.
        read_only: Look without the right to write, also beside a living writer.

    Raises:
        JournalError: If it is in use, foreign, of a newer format, or no journal.
    """

    def __init__(self, path: Path, zone: str = "", *, read_only: bool = False) -> None:
        self.path = path
        self._lock = -1 if read_only else self._take_lock()
        try:
            self._db = open_read_only(path) if read_only else open_durable(path, _SCHEMA)
        except JournalError:
            self._unlock()
            raise
        self.last_number, self._last_crc = 0, 0
        try:
            self.zone = self._checked_zone(zone, read_only=read_only)
        except (JournalError, sqlite3.Error):
            self.close()
            raise

    def _checked_zone(self, zone: str, *, read_only: bool) -> str:
        meta = dict(self._db.execute("SELECT key, value FROM meta"))
        if int(meta.get("format", FORMAT)) > FORMAT:
            message = f"{self.path} has format {meta['format']}; this program reads up to {FORMAT}"
            raise JournalError(message, "update the program")
        if zone and meta.get("zone", zone) != zone:
            raise JournalError(f"{self.path} is the journal of zone {meta['zone']!r}, not of {zone!r}")
        if not meta and not read_only:
            self._db.executemany("INSERT INTO meta VALUES (?, ?)", [("format", str(FORMAT)), ("zone", zone)])
        return str(meta.get("zone", zone))

    def read(self) -> Iterator[Batch]:
        """Every batch in order, each proven; must be exhausted before `append`.

        Raises:
            JournalError: At the first batch that is not what was written, or not the next.
        """
        rows = self._db.execute("SELECT number, records, previous, crc, hash FROM batches ORDER BY number")
        try:
            for number, records, previous, crc, state_hash in rows:
                self._prove(number, records, previous, crc)
                self.last_number, self._last_crc = number, crc
                yield Batch(number, records, state_hash)
        except sqlite3.DatabaseError as error:
            raise self._broken(self.last_number + 1, f"SQLite cannot read it: {error}") from None

    def append(self, records: bytes, state_hash: bytes | None = None) -> None:
        """Make a batch durable; returns once it is. May be called from a thread.

        Raises:
            JournalError: If the disk did not take it; whether it is there is then known only after opening anew.
        """
        number = self.last_number + 1
        crc = checksum(number, self._last_crc, records)
        row = (number, records, self._last_crc, crc, state_hash)
        try:
            self._db.execute("INSERT INTO batches VALUES (?, ?, ?, ?, ?)", row)
        except sqlite3.Error as error:
            message = f"{self.path}: batch {number} could not be made durable: {error}"
            raise JournalError(message, "free or repair the disk; the ledger goes on from what is there") from None
        self.last_number, self._last_crc = number, crc

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _take_lock(self) -> int:
        descriptor = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise JournalError(f"{self.path} is in use by another ledger", "stop that one first") from None
        return descriptor

    def _prove(self, number: int, records: bytes, previous: int, crc: int) -> None:
        if number != self.last_number + 1:
            raise self._broken(self.last_number + 1, f"missing: batch {number} follows {self.last_number}")
        if crc != checksum(number, previous, records):
            raise self._broken(number, "its checksum does not fit")
        if previous != self._last_crc:
            raise self._broken(number, f"it does not follow batch {self.last_number}: from another journal?")
        if len(records) % RECORD_BYTES:
            raise self._broken(number, f"{len(records)} bytes are no whole number of records")

    def _broken(self, number: int, what: str) -> JournalError:
        hint = "restore the file from a copy; what stands before this batch is sound"
        return JournalError(f"{self.path}: batch {number}: {what}", hint)
