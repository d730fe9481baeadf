"""A journal on a disk that lies, tears, fills up or fails: a prefix with all that was acknowledged, or a refusal."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tegcore.errors import JournalError
from tegcore.wire.records import Op, Record, Tick
from zone_ledger.journal.recovery import Case, Decision
from zone_ledger.journal.snapshots import Snapshot, Snapshots
from zone_ledger.journal.store import Journal

BATCHES = 5


def tick(number: int) -> bytes:
    return Record(Op.TICK, 0, 0, 0, Tick(number, number)).packed()


TRUTH = [tick(number) for number in range(1, BATCHES + 1)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, bytes]]:
    """The files of a small journal as a kill leaves them: the last batches still in the log. Pages are of 512 bytes."""
    folder = tmp_path_factory.mktemp("written")
    path = folder / "journal.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA page_size=512")
        db.execute("VACUUM")
    journal = Journal(path, "z")
    list(journal.read())
    for records in TRUTH[:2]:
        journal.append(records)
    journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for records in TRUTH[2:]:
        journal.append(records)
    yield {file.name: file.read_bytes() for file in folder.iterdir() if file.suffix != ".lock"}
    journal.close()


@pytest.fixture
def laid(tmp_path: Path) -> Iterator[Callable[[dict[str, bytes]], Path]]:
    """Lays files where they can be opened, in memory if there is such a place."""
    root = Path("/dev/shm") if Path("/dev/shm").is_dir() and os.access("/dev/shm", os.W_OK) else tmp_path
    folder = root / f"teg-faults-{os.getpid()}"

    def lay(files: dict[str, bytes]) -> Path:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, raw in files.items():
            (folder / name).write_bytes(raw)
        return folder / "journal.sqlite"

    yield lay
    shutil.rmtree(folder, ignore_errors=True)


def found(path: Path) -> list[bytes] | JournalError:
    try:
        journal = Journal(path, "z")
    except JournalError as error:
        return error
    try:
        return [batch.records for batch in journal.read()]
    except JournalError as error:
        return error
    finally:
        journal.close()


def holds(path: Path, acknowledged: int, what: str) -> bool:
    """Whether what is found is the truth up to some batch that was acknowledged, or a refusal; True for a refusal."""
    outcome = found(path)
    if isinstance(outcome, JournalError):
        return True
    assert outcome == TRUTH[: len(outcome)], what
    assert len(outcome) >= acknowledged, f"{what}: {acknowledged} batches were acknowledged, {len(outcome)} are there"
    return False


def test_untouched_files_hold_everything(written, laid) -> None:
    assert found(laid(written)) == TRUTH


def settled(written: dict[str, bytes], path: Path) -> dict[str, bytes]:
    """The same journal once SQLite has moved all of its log into the main file."""
    Journal(path, "z").close()
    assert not path.with_name("journal.sqlite-wal").exists()
    return {"journal.sqlite": path.read_bytes(), "journal.mark": written["journal.mark"]}


@pytest.mark.parametrize("name", ["journal.sqlite-wal", "journal.sqlite"])
def test_every_flipped_byte_is_told_or_harmless(written, laid, name: str) -> None:
    files = written if name.endswith("wal") else settled(written, laid(written))
    raw, refusals = files[name], 0
    for at in range(len(raw)):
        flipped = raw[:at] + bytes([raw[at] ^ 0x40]) + raw[at + 1 :]
        refusals += holds(laid(files | {name: flipped}), BATCHES, f"{name} flipped at {at}")
    assert refusals > len(raw) // 10, "hardly anything was noticed"


@pytest.mark.parametrize("name", ["journal.sqlite-wal", "journal.sqlite"])
def test_every_truncation_is_told(written, laid, name: str) -> None:
    files = written if name.endswith("wal") else settled(written, laid(written))
    for length in range(len(files[name])):
        assert holds(laid(files | {name: files[name][:length]}), BATCHES, f"{name} cut at {length}")


def test_a_torn_tail_that_nobody_was_told_of_is_dropped(written, laid) -> None:
    """The mark of the batch before: what a kill inside the last write leaves."""
    journal = Journal(laid(written), "z")
    list(journal.read())
    crc = journal._db.execute("SELECT previous FROM batches WHERE number = ?", (BATCHES,)).fetchone()[0]
    journal._mark.set(BATCHES - 1, crc)
    mark = journal.path.with_suffix(".mark").read_bytes()
    journal.close()
    older = mark[:16] + bytes(16) if BATCHES % 2 else bytes(16) + mark[16:]
    raw, lengths = written["journal.sqlite-wal"], set()
    for length in range(len(raw) - 1_000, len(raw), 7):
        outcome = found(laid(written | {"journal.sqlite-wal": raw[:length], "journal.mark": older}))
        assert not isinstance(outcome, JournalError)
        assert outcome == TRUTH[: len(outcome)]
        lengths.add(len(outcome))
    assert lengths <= {BATCHES - 1, BATCHES}


def test_every_flipped_byte_of_the_mark_is_harmless(written, laid) -> None:
    raw = written["journal.mark"]
    for at in range(len(raw)):
        flipped = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        assert not holds(laid(written | {"journal.mark": flipped}), BATCHES, f"mark flipped at {at}")


@pytest.mark.parametrize(
    ("case", "statement"),
    [
        (Case.C, "UPDATE batches SET records = zeroblob(104) WHERE number = 3"),
        (Case.C, "UPDATE batches SET postings = x'00' WHERE number = 3"),
        (Case.F, "DELETE FROM batches WHERE number = 3"),
        (Case.F, "UPDATE batches SET number = 9 WHERE number = 5"),
        (Case.J, "DELETE FROM batches WHERE number = 5"),
        (Case.J, "DELETE FROM batches"),
        (Case.I, "UPDATE meta SET value = '99' WHERE key = 'format'"),
        (Case.G, "UPDATE meta SET value = 'y' WHERE key = 'zone'"),
        (Case.L, "INSERT INTO meta VALUES ('first_number', '2')"),
    ],
)
def test_each_case_is_called_by_its_letter(written, laid, case: Case, statement: str) -> None:
    path = laid(written)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement)
    outcome = found(path)
    assert isinstance(outcome, JournalError)
    assert f"case {case.name}, " in str(outcome)
    assert case.value.decision is Decision.REFUSE


def test_rows_of_another_journal_do_not_join(written, laid) -> None:
    path = laid(written)
    with closing(sqlite3.connect(path)) as db, db:
        rows = db.execute("SELECT records, previous, crc FROM batches WHERE number = 4").fetchone()
        db.execute("UPDATE batches SET records = ?, previous = ?, crc = ? WHERE number = 5", rows)
    assert isinstance(found(path), JournalError)


# --- snapshots ------------------------------------------------------------------------------------------------------


def test_every_flipped_or_missing_byte_of_a_snapshot_makes_it_nothing(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path / "s")
    older, newer = Snapshot(3, 7, b"h" * 16, b"older"), Snapshot(9, 8, b"i" * 16, b"newer payload")
    snapshots.write(older)
    snapshots.write(newer)
    file = sorted((tmp_path / "s").iterdir())[-1]
    raw = file.read_bytes()
    assert list(snapshots.newest_first()) == [newer, older]
    for at in range(len(raw)):
        for broken in (raw[:at] + bytes([raw[at] ^ 4]) + raw[at + 1 :], raw[:at]):
            file.write_bytes(broken)
            assert list(snapshots.newest_first()) == [older], f"at {at}"
            assert len(snapshots.broken) == 1


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path / "s")
    assert snapshots.oldest_kept() == 0
    for number in (1, 5, 8, 12):
        snapshots.write(Snapshot(number, 0, b"h" * 16, b"x"))
    assert [snapshot.number for snapshot in snapshots.newest_first()] == [12, 8]
    assert snapshots.oldest_kept() == 8


def test_trimming_keeps_the_chain_and_needs_a_snapshot_afterwards(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite", "z")
    list(journal.read())
    crcs = [0]
    for number in range(1, 21):
        journal.append(tick(number))
        crcs.append(journal.last_crc)
    assert journal.trim(11) == 10
    assert journal.trim(11) == 0
    journal.close()
    journal = Journal(tmp_path / "journal.sqlite", "z")
    with pytest.raises(JournalError, match="case L"):
        list(journal.read())
    for start in (10, 15, 20):
        batches = list(journal.read(type(journal.first)(start, crcs[start])))
        assert [batch.number for batch in batches] == list(range(start + 1, 21))
    for start, crc in ((10, 1), (15, 1), (21, 0)):
        with pytest.raises(JournalError):
            list(journal.read(type(journal.first)(start, crc)))
    journal.close()


# --- disks that fail ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def failing_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("no C compiler here")
    library = tmp_path_factory.mktemp("lib") / "failing_disk.so"
    source = Path(__file__).with_name("failing_disk.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.mark.parametrize("call", ["write", "sync"])
@pytest.mark.parametrize("pattern", ["journal.sqlite", "journal.sqlite-wal", "journal.mark"])
def test_eio_loses_nothing_that_was_acknowledged(failing_disk: Path, tmp_path: Path, call: str, pattern: str) -> None:
    child = Path(__file__).with_name("failing_journal.py")
    environment = os.environ | {
        "LD_PRELOAD": str(failing_disk),
        "FAIL_PATTERN": pattern,
        "FAIL_TRIGGER": str(tmp_path / "trigger"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, str(child), str(tmp_path), call]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    if pattern != "journal.mark":
        assert told["refusals"] == 2, "a batch was acknowledged that the disk did not take"
    outcome = found(tmp_path / "journal.sqlite")
    assert not isinstance(outcome, JournalError), outcome
    assert len(outcome) == told["all"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for 256 KiB."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mounted)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount")
    yield mounted
    subprocess.run(["umount", "-l", str(mounted)], check=True)


def appended_until_full(journal: Journal) -> int:
    for number in range(1, 10_000):
        try:
            journal.append(tick(number) * 8)
        except JournalError:
            return number - 1
    raise AssertionError("it never filled up")


def test_a_full_disk_refuses_and_goes_on_when_there_is_room(small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(64 << 10))
    journal = Journal(small_disk / "journal.sqlite", "z")
    list(journal.read())
    number = appended_until_full(journal)
    assert number > 3
    filler.unlink()
    journal.reopen()
    assert len(list(journal.read())) in {number, number + 1}
    journal.append(tick(number + 1))
    journal.close()


def test_a_disk_that_turns_read_only_refuses_and_goes_on(small_disk: Path) -> None:
    journal = Journal(small_disk / "journal.sqlite", "z")
    list(journal.read())
    journal.append(tick(1))
    journal.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises((JournalError, OSError)):
        Journal(small_disk / "journal.sqlite", "z")
    with closing(Journal(small_disk / "journal.sqlite", read_only=True)) as seen:
        assert [batch.number for batch in seen.read()] == [1]
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    journal = Journal(small_disk / "journal.sqlite", "z")
    assert len(list(journal.read())) == 1
    journal.append(tick(2))
    journal.close()
