"""Run by a test with a preloaded disk that fails on demand: append, fail, go back, go on; prints what became of it."""

import json
import sys
from pathlib import Path

from tegcore.errors import JournalError
from tegcore.wire.records import Op, Record, Tick
from zone_ledger.journal.store import Journal


def tick(number: int) -> bytes:
    return Record(Op.TICK, 0, 0, 0, Tick(number, number)).packed()


def main(folder: Path, call: str) -> None:
    trigger = folder / "trigger"
    journal = Journal(folder / "journal.sqlite", "z")
    list(journal.read())
    acknowledged = []
    for number in (1, 2, 3):
        journal.append(tick(number))
        acknowledged.append(number)
    trigger.write_text(call)
    refusals = 0
    for _ in range(2):
        try:
            journal.append(tick(4))
            acknowledged.append(4)
        except JournalError:
            refusals += 1
    while_failing = "goes back"
    try:
        journal.reopen()
    except JournalError:
        while_failing = "refuses"
    trigger.unlink()
    journal.reopen()
    batches = list(journal.read())
    journal.append(tick(99))
    again = [*batches, None]
    print(
        json.dumps({"refusals": refusals, "while_failing": while_failing, "batches": len(batches), "all": len(again)})
    )
    assert [batch.records for batch in batches][: len(acknowledged)] == [tick(number) for number in acknowledged]
    journal.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
