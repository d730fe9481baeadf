"""Write the golden journal of the present format: python -m golden.write FOLDER, from `tests`.

Only while its rule set is open: once released, a golden journal is never written again.
"""

import sys
from pathlib import Path
from typing import Any

from worlds import PERIOD, Zone

from tegcore.wire.records import (
    Cancel,
    Income,
    Market,
    Op,
    OrderFlag,
    Record,
    Region,
    SetMode,
    SetTime,
    Shorten,
    pack_all,
)
from zone_ledger import snapshot
from zone_ledger.book.fast import FastBook
from zone_ledger.engine import Engine
from zone_ledger.journal.snapshots import Snapshot, Snapshots
from zone_ledger.journal.store import Journal
from zone_ledger.state import Outcome

ROOT = Region(0, 4).packed()
HASH_EVERY, SNAPSHOT_AT = 50, (120, 300)


class Noting(Engine):
    """Keeps what it applies."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.noted: list[Record] = []

    def apply(self, record: Record) -> Outcome:
        self.noted.append(record)
        return super().apply(record)


class Written(Zone):
    """A zone whose records are kept in a journal, a batch a tick."""

    engine_of = Noting

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path, "zone")
        super().__init__(Market.FIXED, book=FastBook, burn_permille=10, mem_k_ucr=10_000, gas_ucr=7)

    def system(self, op: Op, body):
        outcome = super().system(op, body)
        if op is Op.TICK:
            self._commit()
        return outcome

    def _commit(self) -> None:
        state, number = self.state, self._journal.last_number + 1
        due = number in SNAPSHOT_AT
        postings, whole = state.accounts.take_postings(), state.hash() if due else None
        running = state.running_hash() if number % HASH_EVERY == 0 else None
        self._journal.append(pack_all(self.engine.noted), whole, postings, running)
        self.engine.noted.clear()
        if due:
            taken = Snapshot(number, self._journal.last_crc, state.hash(), snapshot.pack(state))
            Snapshots(self._journal.path.with_suffix(".snapshots")).write(taken)

    def close(self) -> str:
        """Let go of the file; what it leads to."""
        self._journal.close()
        return f"{self.state.hash().hex()} {len(self.state.leases)}"


def write(folder: Path) -> str:
    """A history with each thing that the rule set brought."""
    zone = Written(folder / "journal.sqlite")
    for ref in range(1, 4):
        zone.fok(ref, 2_000, endow=-1, region=ROOT, size=ref % 2)
    zone.ticks(PERIOD)
    zone.fok(9, 2_000, endow=9_000, region=ROOT, traits=OrderFlag.BUDGETED, size=1)
    zone.ticks(20)
    zone.operate(Op.MODE, SetMode(Market.AUCTION))
    zone.operate(Op.INCOME, Income(1, 500))
    zone.pass_first_term()
    zone.fok(10, 90_000, host=2, endow=-1, region=ROOT, traits=OrderFlag.NAMED)
    zone.ticks(10)
    zone.command(Op.CANCEL, Cancel(10), 2)
    zone.renew_all()
    zone.fok(11, 90_000, host=2, region=ROOT, traits=OrderFlag.NAMED)
    zone.ticks(10)
    zone.release(zone.lease(1))
    held = [lease for lease in zone.state.leases.values() if not lease.deadline]
    zone.command(Op.SHORTEN, Shorten(held[0].number, held[0].token, 4 * PERIOD), held[0].origin)
    zone.operate(Op.SET_TIME, SetTime(held[0].number, 8 * PERIOD))
    zone.ticks(PERIOD)
    return zone.close()


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
