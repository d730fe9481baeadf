"""Clusters of many zones: killed and begun again, they come to the same; what is kept is what the page says."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from tegsim.__main__ import find
from tegsim.claims.bootstrap import exponent
from tegsim.scale import page
from tegsim.scale.record import Run, Zone, digest
from tegsim.scale.sitting import Kept, planned, sit
from tegsim.scenario import read

pytestmark = pytest.mark.slow
"""Runs of several processes, begun again."""

SMALL = """
hosts = [8, 8]
storm_s = [2, 2]
rest = true
[work]
count = [8, 8]
lasts_s = [0.2, 1]
[faults.power]
chance = 1
every_s = [0.5, 1]
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def command(small: Path, kept: Path) -> list[str]:
    named = ("--hosts", "36", "--scenario", str(small), "--kept", str(kept))
    return [sys.executable, "-m", "tegsim.scale", *named]


def ran(small: Path, kept: Path) -> Run:
    done = subprocess.run(command(small, kept), capture_output=True, check=True)
    return msgspec.json.decode(done.stdout, type=Run)


def test_killed_at_any_moment_the_same_command_goes_on_to_the_same(small: Path, tmp_path: Path) -> None:
    whole = ran(small, tmp_path / "whole")
    assert (whole.zones, whole.hosts, whole.failed, whole.sittings) == (5, 36, [], 1)
    assert whole.counts["leases"] > 10

    cut = tmp_path / "cut"
    process = subprocess.Popen(command(small, cut), start_new_session=True, stdout=subprocess.DEVNULL)
    give_up = time.monotonic() + 60
    while not list(cut.glob("*/zone-*.json")) and time.monotonic() < give_up:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = {path.name: path.read_bytes() for path in cut.glob("*/zone-*.json")}
    assert 0 < len(before) < 5

    resumed = ran(small, cut)
    assert resumed.digest == whole.digest
    assert resumed.counts == whole.counts
    assert resumed.sittings == 2
    assert all(path.read_bytes() == before[path.name] for path in cut.glob("*/zone-*.json") if path.name in before)


def test_a_zone_that_is_half_written_is_run_again(small: Path, tmp_path: Path) -> None:
    plan = planned(read(small.read_text(), "small"), 1, 8, tmp_path / "kept")
    (Path(plan.kept) / "zone-0.part").write_bytes(b'{"number"')
    (zone,) = sit(plan, 1, lambda _: None)
    assert Kept(plan).zones() == {0: zone}
    assert zone.hosts == 8


def test_another_scenario_seed_or_size_is_another_run(small: Path, tmp_path: Path) -> None:
    scenario = read(small.read_text(), "small")
    plans = [planned(scenario, seed, hosts, tmp_path) for seed in (1, 2) for hosts in (8, 16)]
    plans.append(planned(msgspec.structs.replace(scenario, rest=False), 1, 8, tmp_path))
    assert len({plan.kept for plan in plans}) == len(plans)


def test_the_digest_tells_what_happened_and_not_how_long_it_took() -> None:
    one = Zone(
        number=0, hosts=1, rule="", what="", simulated_s=1, story={"counts": {}}, cpu_s=1.0, worker=1, rss_mib=1.0
    )
    assert digest([one]) == digest([msgspec.structs.replace(one, cpu_s=2.0, worker=9, rss_mib=5.0)])
    assert digest([one]) != digest([msgspec.structs.replace(one, story={"counts": {"leases": 1}})])


def test_the_page_states_growth_over_all_its_runs(small: Path, tmp_path: Path) -> None:
    run = ran(small, tmp_path / "kept")
    larger = msgspec.structs.replace(run, hosts=run.hosts * 100, wall_s=run.wall_s * 50, cpu_s=run.cpu_s * 100)
    page.write(tmp_path, page.joined(tmp_path, larger))
    runs = page.joined(tmp_path, run)
    assert [each.hosts for each in runs] == [36, 3600]
    assert "hosts^0.85" in page.page(runs)
    assert exponent([36, 3600], [1, 50]) == pytest.approx(0.849, abs=1e-3)
    assert find("superpod").is_file()
