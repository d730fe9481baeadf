"""The journal on disk: one SQLite file in WAL mode, `synchronous=FULL`, one row a batch, and a mark beside it.

A row holds the packed records of one micro-batch, the movements of money that they caused, its number, the checksum of
the batch before it, and a CRC32C over all of these, so that a batch that is changed, missing, doubled or from elsewhere
is seen. SQLite's own WAL decides whether a batch that was being written when the power went is there or not; there is
no third case. `mark` tells whether one that was acknowledged is gone. Now and then a row also holds a hash of the state
that it leads to, which a replay must reach: the running one, or, with a snapshot, that of the whole state. What each
fault is called and leads to: `recovery`.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from tegcore.errors import JournalError
from tegcore.wire.records import RECORD_BYTES
from tegio.failpoints import reach
from tegio.sqlite import open_durable, open_read_only
from zone_ledger.journal.batch import Batch, checksum
from zone_ledger.journal.mark import Mark, Marked, read_mark
from zone_ledger.journal.recovery import Case, refused
from zone_ledger.rules import LATEST

FORMAT = 4
"""1: no postings. 2: postings; a chain that may begin after a snapshot. 3: running hashes. 4: names its rule set."""

TRIM_STEP = 500
"""Batches deleted in one commit."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (
    number INTEGER PRIMARY KEY, records BLOB NOT NULL, previous INTEGER NOT NULL, crc INTEGER NOT NULL, hash BLOB,
    postings BLOB, running BLOB
);
"""

_COLUMNS = ("postings", "running")
"""What each format after the first has added to a batch."""


class Journal:
    """The journal of one ledger, open for one writer.

    Args:
        path: Of the file; its folder must exist.
        zone: Whose it is; a file of another zone is refused.
        rules: Rule set that a new file begins under.
        read_only: Look without the right to write, also beside a living writer.
        through: What stands between it and SQLite where it writes: the simulator's disks fail there.

    Raises:
        JournalError: If it is in use, foreign, of a newer format, or no journal.

    Attributes:
        rules: Number of the rule set that it begins under; records in it may name later ones.
    """

    def __init__(
        self,
        path: Path,
        zone: str = "",
        *,
        read_only: bool = False,
        rules: int = LATEST,
        through: Callable[[sqlite3.Connection], sqlite3.Connection] = lambda connection: connection,
    ) -> None:
        self.path = path
        self.rules = rules
        self._through = through
        self._read_only = read_only
        self._lock = -1 if read_only else self._take_lock()
        self._mark: Mark | None = None
        self.last_number, self._last_crc = 0, 0
        try:
            self._open(zone)
        except BaseException:
            self._unlock()
            raise

    def _open(self, zone: str) -> None:
        found = open_read_only(self.path) if self._read_only else open_durable(self.path, _SCHEMA)
        try:
            self._db = found if self._read_only else self._through(found)
            meta = dict(self._db.execute("SELECT key, value FROM meta"))
            self._format = int(meta.get("format", FORMAT))
            if self._format > FORMAT:
                what = f"it has format {self._format}; this program reads up to {FORMAT}"
                raise refused(Case.I, self.path, what)
            if zone and meta.get("zone", zone) != zone:
                raise refused(Case.G, self.path, f"it is the journal of zone {meta['zone']!r}, not of {zone!r}")
            self.zone = str(meta.get("zone", zone))
            if meta:
                self.rules = int(meta.get("rules", 1))
            self.first = Marked(int(meta.get("first_number", 0)), int(meta.get("first_crc", 0)))
            if not self._read_only:
                self._bring_up(meta)
                self._mark = Mark(self.path.with_suffix(".mark"))
        except sqlite3.DatabaseError as error:
            found.close()
            raise refused(Case.C, self.path, f"SQLite cannot read it: {error}") from None
        except ValueError as error:
            found.close()
            raise refused(Case.C, self.path, f"what it says of itself is garbled: {error}") from None
        except BaseException:
            found.close()
            raise

    def _bring_up(self, meta: dict[str, str]) -> None:
        """A new file gets its name; one of an older format the columns it lacks, in one transaction."""
        if not meta:
            rows = [("format", str(FORMAT)), ("zone", self.zone), ("rules", str(self.rules))]
            self._db.executemany("INSERT INTO meta VALUES (?, ?)", rows)
        if self._format < FORMAT:
            self._db.execute("BEGIN IMMEDIATE")
            for column in _COLUMNS[self._format - 1 :]:
                self._db.execute(f"ALTER TABLE batches ADD COLUMN {column} BLOB")
            self._db.execute("INSERT OR IGNORE INTO meta VALUES ('rules', ?)", (str(self.rules),))
            self._db.execute("UPDATE meta SET value = ? WHERE key = 'format'", (str(FORMAT),))
            self._db.execute("COMMIT")
            self._format = FORMAT

    @property
    def last_crc(self) -> int:
        """Checksum of the last batch that was read or written."""
        return self._last_crc

    def read(self, after: Marked | None = None) -> Iterator[Batch]:
        """Every batch in order, each proven; must be exhausted before `append`.

        Args:
            after: Begin behind this batch, that a snapshot was taken of; by default with the first there is.

        Raises:
            JournalError: At the first batch that is not what was written, or not the next; at the end, if a batch that
                was acknowledged is not there.
        """
        marked = read_mark(self.path.with_suffix(".mark"))
        self.last_number, self._last_crc = after or Marked(0, 0)
        if self.last_number < self.first.number:
            what = f"it begins behind batch {self.first.number}"
            raise refused(Case.L, self.path, what)
        if after is not None:
            self._prove_join(after)
        known, later = _COLUMNS[: self._format - 1], _COLUMNS[self._format - 1 :]
        columns = ", ".join((*known, *("NULL" for _ in later)))
        query = f"SELECT number, records, previous, crc, hash, {columns} FROM batches WHERE number > ? ORDER BY number"  # noqa: S608
        try:
            for number, records, previous, crc, whole, posted, running in self._db.execute(query, (self.last_number,)):
                self._prove(number, records, previous, crc, posted or b"")
                self.last_number, self._last_crc = number, crc
                yield Batch(number, records, whole, posted or b"", running)
        except sqlite3.DatabaseError as error:
            raise self._broken(Case.C, self.last_number + 1, f"SQLite cannot read it: {error}") from None
        self._prove_end(marked)

    def append(
        self,
        records: bytes,
        state_hash: bytes | None = None,
        postings: bytes = b"",
        running_hash: bytes | None = None,
    ) -> None:
        """Make a batch durable; returns once it is. May be called from a thread.

        Raises:
            JournalError: If the disk did not take it; whether it is there is then known only after `reopen`.
        """
        number = self.last_number + 1
        crc = checksum(number, self._last_crc, records, postings)
        row = (number, records, self._last_crc, crc, state_hash, postings, running_hash)
        reach("append")
        try:
            self._db.execute("INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        except sqlite3.Error as error:
            message = f"{self.path}: batch {number} could not be made durable: {error}"
            raise JournalError(message, "free or repair the disk; the ledger goes on from what is there") from None
        reach("commit")
        assert self._mark is not None, "a journal that is only read is not written"
        reach("mark")
        self._mark.set(number, crc)
        self.last_number, self._last_crc = number, crc

    def reopen(self) -> None:
        """Go back to what is durable after a failed write; then `read` again.

        What the kernel still shows of a write whose sync failed may not be on the disk: it is copied into the main
        file and synced there before anything follows it.

        Raises:
            JournalError: If the disk does not take that either.
        """
        self._let_go()
        self._open(self.zone)
        try:
            busy, _, _ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('reopened', hex(randomblob(8)))")
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: {error}", "free or repair the disk") from None
        if busy:
            raise JournalError(f"{self.path}: another program reads it", "end that one")

    def trim(self, before: int) -> int:
        """Delete batches before a number, at most `TRIM_STEP`; returns how many. Snapshots must stand beyond them.

        Raises:
            JournalError: If the disk does not take it; nothing is deleted then.
        """
        last = min(before - 1, self.first.number + TRIM_STEP)
        if last <= self.first.number:
            return 0
        reach("trim")
        try:
            (crc,) = self._db.execute("SELECT crc FROM batches WHERE number = ?", (last,)).fetchone()
            self._db.execute("BEGIN IMMEDIATE")
            gone = self._db.execute("DELETE FROM batches WHERE number <= ?", (last,)).rowcount
            rows = [("first_number", str(last)), ("first_crc", str(crc))]
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise JournalError(f"{self.path}: {error}", "free or repair the disk") from None
        self.first = Marked(last, crc)
        return int(gone)

    def close(self) -> None:
        """Let go of the file."""
        self._let_go()
        self._unlock()

    def _let_go(self) -> None:
        self._db.close()
        if self._mark is not None:
            self._mark.close()
            self._mark = None

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

    def _prove(self, number: int, records: bytes, previous: int, crc: int, postings: bytes) -> None:
        whole = isinstance(records, bytes) and isinstance(postings, bytes) and isinstance(number, int)
        if not whole or not all(isinstance(word, int) and 0 <= word < 1 << 32 for word in (previous, crc)):
            raise self._broken(Case.C, self.last_number + 1, "its row holds what no batch has")
        if number <= self.last_number:
            raise self._broken(Case.E, number, f"it follows batch {self.last_number}")
        if number != self.last_number + 1:
            raise self._broken(Case.F, self.last_number + 1, f"missing: batch {number} follows {self.last_number}")
        if crc != checksum(number, previous, records, postings):
            raise self._broken(Case.C, number, "its checksum does not fit")
        if previous != self._last_crc:
            raise self._broken(Case.G, number, f"it does not follow batch {self.last_number}: from another journal?")
        if len(records) % RECORD_BYTES:
            raise self._broken(Case.D, number, f"{len(records)} bytes are no whole number of records")

    def _prove_join(self, after: Marked) -> None:
        """A snapshot is of this journal, and not ahead of it."""
        (last,) = self._db.execute("SELECT max(number) FROM batches").fetchone()
        if after.number > max(last or 0, self.first.number):
            what = f"it ends with batch {last or self.first.number}, and there is a snapshot of batch {after.number}"
            raise refused(Case.J, self.path, what)
        row = self._db.execute("SELECT crc FROM batches WHERE number = ?", (after.number,)).fetchone()
        if (row and row[0] != after.crc) or (after.number == self.first.number and after.crc != self.first.crc):
            raise refused(Case.G, self.path, f"the snapshot of batch {after.number} is of another journal")

    def _prove_end(self, marked: Marked) -> None:
        """What had been acknowledged before the reading began is there."""
        if marked.number > self.last_number:
            what = f"it ends with batch {self.last_number}, and batch {marked.number} was acknowledged"
            raise refused(Case.J, self.path, what)
        if marked.number == self.last_number and marked.crc != self._last_crc:
            raise refused(Case.G, self.path, f"batch {marked.number} is not the one that was acknowledged")

    def _broken(self, case: Case, number: int, what: str) -> JournalError:
        return refused(case, self.path, f"batch {number}: {what}")
