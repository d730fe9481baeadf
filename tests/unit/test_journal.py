"""The journal on a real disk: what was written is what is read, and anything else stops with a reason."""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tegcore.errors import JournalError
from tegcore.wire.records import HostUp, NameIs, NameKind, Op, Reason, Record, Tick, pack_all
from zone_ledger.genesis import genesis_records
from zone_ledger.journal.recovery import Case
from zone_ledger.journal.store import Journal
from zone_ledger.replay import new_engine, replay
from zone_ledger.settings import LedgerSettings


def tick(number: int) -> bytes:
    return Record(Op.TICK, 0, 0, 0, Tick(number, number)).packed()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of a genesis and five ticks, the last with the hashes that it leads to."""
    path = tmp_path / "journal.sqlite"
    journal = Journal(path, "z")
    list(journal.read())
    engine = new_engine()
    records = genesis_records(LedgerSettings(zone="z", zone_k=1))
    for record in records:
        engine.apply(record)
    journal.append(pack_all(records))
    for number in range(1, 6):
        engine.apply(Record(Op.TICK, 0, 0, 0, Tick(number, number)))
        hashes = (engine.state.hash(), engine.state.running_hash()) if number == 5 else (None, None)
        journal.append(tick(number), hashes[0], b"", hashes[1])
    journal.close()
    return path


def edit(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement, values)


def fetched(path: Path, query: str) -> tuple:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchone()


def opened(path: Path, zone: str = "z") -> None:
    journal = Journal(path, zone)
    try:
        replay(journal.read())
    finally:
        journal.close()


def held(path: Path) -> list[str]:
    """Files of a journal that this process has open."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(str(descriptor.readlink()))
    return [name for name in found if name.startswith(str(path.with_suffix("")))]


@pytest.mark.parametrize("fault", [KeyError, sqlite3.OperationalError])
def test_whatever_keeps_a_journal_from_being_opened_leaves_nothing_open(path: Path, fault: type[Exception]) -> None:
    """The traceback of what went wrong may keep the journal for long."""

    def through(_: sqlite3.Connection) -> sqlite3.Connection:
        raise fault

    with pytest.raises((fault, JournalError)) as kept:
        Journal(path, "z", through=through)
    assert held(path) == [], kept
    path.with_suffix(".mark").unlink()
    path.with_suffix(".mark").mkdir()
    with pytest.raises((OSError, JournalError), match=r"mark|directory") as another:
        Journal(path, "z")
    assert held(path) == [], another


def test_replay_reaches_the_state_and_goes_on(path: Path) -> None:
    journal = Journal(path, "z")
    engine = replay(journal.read())
    assert (engine.state.tick, journal.last_number) == (5, 6)
    journal.append(tick(6))
    journal.close()
    again = Journal(path, "z")
    assert replay(again.read()).state.tick == 6
    again.close()


def test_every_byte_of_a_batch_is_guarded(path: Path) -> None:
    (records,) = fetched(path, "SELECT records FROM batches WHERE number = 6")
    for place in range(len(records)):
        changed = bytearray(records)
        changed[place] ^= 0x10
        edit(path, "UPDATE batches SET records = ? WHERE number = 6", bytes(changed))
        with pytest.raises(JournalError, match="batch 6: its checksum does not fit"):
            opened(path)
    edit(path, "UPDATE batches SET records = ? WHERE number = 6", records)
    opened(path)


CASES = {
    "cut": ("UPDATE batches SET records = substr(records, 1, 50) WHERE number = 6", "its checksum does not fit"),
    "missing": ("DELETE FROM batches WHERE number = 4", "batch 4: missing: batch 5 follows 3"),
    "another number": ("UPDATE batches SET number = 9 WHERE number = 6", "batch 6: missing: batch 9 follows 5"),
    "another predecessor": ("UPDATE batches SET previous = 1 WHERE number = 6", "its checksum does not fit"),
    "another state": ("UPDATE batches SET hash = zeroblob(16) WHERE number = 6", "does not lead to the state"),
    "another running hash": (
        "UPDATE batches SET running = zeroblob(16) WHERE number = 6",
        "does not lead to the state",
    ),
    "another zone": ("UPDATE meta SET value = 'y' WHERE key = 'zone'", "is the journal of zone 'y'"),
    "a newer format": ("UPDATE meta SET value = '99' WHERE key = 'format'", "has format 99"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_was_not_written_stops_with_a_reason(path: Path, case: str) -> None:
    statement, reason = CASES[case]
    edit(path, statement)
    with pytest.raises(JournalError, match=reason) as error:
        opened(path)
    assert str(path) in str(error.value) or "batch" in str(error.value)


def test_a_batch_of_another_journal_is_foreign(path: Path, tmp_path: Path) -> None:
    other = Journal(tmp_path / "other.sqlite", "z")
    list(other.read())
    for number in range(1, 7):
        other.append(tick(number + 100))
    other.close()
    row = fetched(tmp_path / "other.sqlite", "SELECT records, previous, crc FROM batches WHERE number = 6")
    edit(path, "UPDATE batches SET records = ?, previous = ?, crc = ? WHERE number = 6", *row)
    with pytest.raises(JournalError, match="batch 6: it does not follow batch 5"):
        opened(path)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(JournalError, match="not a database") as error:
        Journal(path, "z")
    assert "give the path of journal.sqlite" in error.value.hint


def test_a_second_writer_is_refused_and_a_reader_is_not(path: Path) -> None:
    journal = Journal(path, "z")
    with pytest.raises(JournalError, match="in use by another ledger"):
        Journal(path, "z")
    reader = Journal(path, read_only=True)
    assert sum(1 for _ in reader.read()) == 6
    reader.close()
    journal.close()


def test_a_disk_that_takes_nothing_more_is_an_error_and_loses_nothing(path: Path) -> None:
    journal = Journal(path, "z")
    list(journal.read())
    journal._db.execute("PRAGMA max_page_count = 1")
    with pytest.raises(JournalError, match="batch 7 could not be made durable"):
        journal.append(b"x" * 104 * 1000)
    journal.close()
    opened(path)


def test_the_reference_lists_every_case_of_recovery() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/journal.md").read_text()
    for case in Case:
        finding = case.value
        row = (case.name, finding.name, finding.cause, finding.sign, finding.decision.value)
        assert f"| {' | '.join(row)} |" in page, f"the row of case {case.name} is not what the program does"


def test_a_journal_that_holds_what_ended_an_older_ledger_is_read(path: Path) -> None:
    """It was journaled, and the next running hash failed: nothing of it is in any hash that was noted."""
    hello = Record(Op.HOST_UP, 1, 2**63, 0, HostUp(0, 0, 0, 1_000, 1 << 30, 0))
    journal = Journal(path, "z")
    list(journal.read())
    journal.append(Record(Op.NAME_IS, 0, 0, 0, NameIs.of(NameKind.HOST, 1, "n1")).packed() + hello.packed())
    for number in range(6, 12):
        journal.append(tick(number))
    engine = replay(journal.read())
    journal.close()
    assert engine.state.hosts[1].boot == 0, "it begins a new session"
    assert engine.apply(hello._replace(boot=5)).reason is Reason.OK
    engine.state.running_hash()
    engine.check()
