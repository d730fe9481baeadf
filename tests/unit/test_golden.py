"""Journals that earlier versions wrote lead to what they led to then, from the start and from their snapshots."""

import shutil
from pathlib import Path

import pytest

from tegcore.wire.records import Op, Record, Tick
from zone_ledger.journal.batch import Batch
from zone_ledger.journal.snapshots import Snapshots
from zone_ledger.journal.store import FORMAT, Journal
from zone_ledger.replay import new_engine, recover, replay

GOLDEN = Path(__file__).parent.parent / "golden"
LEAD_TO = {
    1: ("e571e4874196e44fd5c8864fca979008", 2),
    2: ("9b33f22d31a63e9f142a9e4014927430", 13),
    3: ("fb29814f76661b3d36f9725073411190", 5),
    4: ("fe95f0a15c6cdbbdd0cbe127cec37181", 2),
}
"""State hash and number of leases, by the journal's format."""
NOTED = {1: (7, 0), 2: (1, 0), 3: (2, 9), 4: (2, 8)}
"""How many hashes of the whole state and how many running ones were noted on the way."""


@pytest.fixture(params=LEAD_TO, ids=lambda version: f"format {version}")
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def path(version: int, tmp_path: Path) -> Path:
    shutil.copytree(GOLDEN / f"format-{version}", tmp_path, dirs_exist_ok=True)
    return tmp_path / "journal.sqlite"


def test_every_format_is_here() -> None:
    assert list(LEAD_TO) == list(range(1, FORMAT + 1))


@pytest.mark.parametrize("read_only", [True, False], ids=["looked at", "brought up to date"])
def test_a_journal_of_an_earlier_version_leads_where_it_led(path: Path, version: int, read_only: bool) -> None:
    journal = Journal(path, read_only=read_only)
    batches = list(journal.read())
    engine = replay(batches, new_engine(journal.rules))
    snapshots = Snapshots(path.with_suffix(".snapshots"))
    recovered = recover(journal, snapshots)
    journal.close()
    assert (engine.state.hash().hex(), len(engine.state.leases)) == LEAD_TO[version]
    assert recovered.state.hash() == engine.state.hash()
    assert not snapshots.broken
    whole, running = [[batch for batch in batches if noted(batch)] for noted in (_whole, _running)]
    assert (len(whole), len(running)) == NOTED[version]
    engine.check()


def _whole(batch: Batch) -> bool:
    return batch.state_hash is not None


def _running(batch: Batch) -> bool:
    return batch.running_hash is not None


def test_a_journal_of_an_earlier_version_goes_on_with_running_hashes(path: Path, version: int) -> None:
    journal = Journal(path)
    engine = replay(journal.read(), new_engine(journal.rules))
    tick = Record(Op.TICK, 0, 0, 0, Tick(engine.state.tick + 1, engine.state.tau + 1))
    engine.apply(tick)
    postings, hashes = engine.state.accounts.take_postings(), (engine.state.hash(), engine.state.running_hash())
    journal.append(tick.packed(), hashes[0], postings, hashes[1])
    journal.close()
    again = Journal(path, read_only=True)
    assert replay(again.read(), new_engine(again.rules)).state.running_hash() == hashes[1]
    assert recover(again, Snapshots(path.with_suffix(".snapshots"))).state.running_hash() == hashes[1]
    again.close()
