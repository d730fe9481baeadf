"""Journals that earlier versions wrote lead to what they led to then, from the start and from their snapshots."""

import shutil
from pathlib import Path

import pytest

from zone_ledger.journal.snapshots import Snapshots
from zone_ledger.journal.store import FORMAT, Journal
from zone_ledger.replay import recover, replay

GOLDEN = Path(__file__).parent.parent / "golden"
LEAD_TO = {
    1: ("e571e4874196e44fd5c8864fca979008", 2),
    2: ("9b33f22d31a63e9f142a9e4014927430", 13),
}
"""State hash and number of leases, by the journal's format."""


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
    engine = replay(journal.read())
    snapshots = Snapshots(path.with_suffix(".snapshots"))
    recovered = recover(journal, snapshots)
    journal.close()
    assert (engine.state.hash().hex(), len(engine.state.leases)) == LEAD_TO[version]
    assert recovered.state.hash() == engine.state.hash()
    assert not snapshots.broken
    engine.check()
