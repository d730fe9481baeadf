"""What the agent side must not forget: accepted work and the number of its last start, in SQLite (WAL, FULL)."""

import sqlite3
import time
from pathlib import Path

import msgspec

from tegcore.errors import JournalError
from tegd.link import boot_after
from tegd.roster import ENDED_KEPT_MAX
from tegd.tenancy import Tenant
from tegd.workload import Life, Workload
from tegio.sqlite import open_durable

_SCHEMA = """
CREATE TABLE IF NOT EXISTS workloads (ref INTEGER PRIMARY KEY, uid INTEGER, key INTEGER, ended INTEGER, body BLOB);
CREATE UNIQUE INDEX IF NOT EXISTS by_key ON workloads (uid, key);
CREATE TABLE IF NOT EXISTS told (what TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS boots (one INTEGER PRIMARY KEY CHECK (one = 1), boot INTEGER NOT NULL);
"""


class Store:
    """The store of one host.

    Args:
        path: Of the file.

    Raises:
        JournalError: If it cannot be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = open_durable(path, _SCHEMA)

    def next_boot(self) -> int:
        """The number of this start, kept before it is used."""
        last = self._number("SELECT coalesce(max(boot), 0) FROM boots")
        boot = boot_after(last or 0, int(time.time()))
        self._write("INSERT OR REPLACE INTO boots VALUES (1, ?)", (boot,))
        return boot

    def next_ref(self) -> int:
        """A number that no workload of this host ever had."""
        return (self._number("SELECT coalesce(max(ref), 0) FROM workloads") or 0) + 1

    def by_key(self, uid: int, key: int) -> int | None:
        """The ref of the workload that a user submitted with a key before."""
        return self._number("SELECT ref FROM workloads WHERE uid = ? AND key = ?", (uid, key))

    def keep(self, *workloads: Workload) -> None:
        """Make workloads durable; returns once they are."""
        if not workloads:
            return
        rows = [
            (work.ref, work.uid, work.key, int(work.life is Life.ENDED), msgspec.msgpack.encode(work))
            for work in workloads
        ]
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT OR REPLACE INTO workloads VALUES (?, ?, ?, ?, ?)", rows)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._fault(error) from None

    def load(self) -> list[Workload]:
        """Every workload that is not over, and the latest of those that are."""
        self._write(
            "DELETE FROM workloads WHERE ended AND ref < (SELECT max(ref) FROM workloads) AND ref NOT IN"
            " (SELECT ref FROM workloads WHERE ended ORDER BY ref DESC LIMIT ?)",
            (ENDED_KEPT_MAX,),
        )
        try:
            rows = self._db.execute("SELECT ref, body FROM workloads ORDER BY ref").fetchall()
        except sqlite3.Error as error:
            raise self._fault(error) from None
        return [self._decoded(ref, body) for ref, body in rows]

    def drop(self, ref: int) -> None:
        """Forget a workload that is over; the latest of all stays, for its number."""
        self._write("DELETE FROM workloads WHERE ref = ? AND ref < (SELECT max(ref) FROM workloads)", (ref,))

    def keep_tenants(self, tenants: list[Tenant]) -> None:
        """Keep what the ledger told of tenants, in the place of what it told before."""
        self._write("INSERT OR REPLACE INTO told VALUES ('tenants', ?)", (msgspec.msgpack.encode(tenants),))

    def tenants(self) -> list[Tenant]:
        """What the ledger told of them last; nothing where that cannot be read: it is told anew."""
        try:
            row = self._db.execute("SELECT body FROM told WHERE what = 'tenants'").fetchone()
            return msgspec.msgpack.decode(row[0], type=list[Tenant]) if row else []
        except sqlite3.Error as error:
            raise self._fault(error) from None
        except msgspec.MsgspecError:
            return []

    def _decoded(self, ref: int, body: bytes) -> Workload:
        try:
            return msgspec.msgpack.decode(body, type=Workload)
        except msgspec.MsgspecError as error:
            hint = "start the release that wrote it; else move the file away: its work is then looked for by hand"
            raise JournalError(f"{self._path}: workload {ref} cannot be read: {error}", hint) from None

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def _number(self, question: str, values: tuple[int, ...] = ()) -> int | None:
        try:
            row = self._db.execute(question, values).fetchone()
        except sqlite3.Error as error:
            raise self._fault(error) from None
        return int(row[0]) if row else None

    def _write(self, statement: str, values: tuple[int | bytes, ...]) -> None:
        try:
            self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise self._fault(error) from None

    def _fault(self, error: sqlite3.Error) -> JournalError:
        return JournalError(f"{self._path}: {error}", "free or repair the disk, then start tegd again")
