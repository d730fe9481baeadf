"""Small clusters under faults: safety whatever fails, agreement once nothing does, and the same history from a seed."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from tegcore.errors import ConfigError
from tegsim.__main__ import find, run_seed
from tegsim.cluster.world import Cluster
from tegsim.scenario import Name, Scenario, read

SEEDS = range(1, 7)
FOUND = (3, 11, 59, 61, 130)
"""Seeds that found something: a lost Welcome; seats given back under notice; hooks that ran on others' slots; a run
that was started without a term, because its lease was over before."""


@pytest.fixture(scope="module")
def swarm() -> Scenario:
    path = find("swarm")
    return read(path.read_text(), str(path))


@pytest.mark.parametrize("seed", [*SEEDS, *(seed for seed in FOUND if seed not in SEEDS)])
def test_whatever_fails_what_must_hold_holds_and_afterwards_all_agree(swarm: Scenario, seed: int) -> None:
    result = run_seed(swarm, seed)
    assert not result.rule, f"{result.what}; repeat it with: make sim SEEDS=1 FIRST={seed}"
    assert result.counts["checks"] > 300


def test_a_seed_is_one_history(swarm: Scenario, tmp_path: Path) -> None:
    one, other = (run_seed(swarm, 5, tmp_path) for _ in range(2))
    assert one == other
    assert one.counts != run_seed(swarm, 6, tmp_path).counts


def test_every_fault_is_in_the_swarm_and_happens(swarm: Scenario, tmp_path: Path) -> None:
    assert set(swarm.faults) == set(Name)
    on = {name for seed in range(1, 40) for name in Cluster(swarm, seed, tmp_path / str(seed)).moods}
    assert on == set(Name)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("host = [1, 2]", "host"),
        ("[faults.losss]\nchance = 1", "losss"),
        ("[faults.loss]\nchance = 2", "chance"),
        ("[zone]\nzone_k = 0", "zone_k"),
        ("hosts = [1, 99]", "do not fit"),
        ("hosts = [", "swarm"),
    ],
)
def test_a_scenario_that_cannot_be_is_refused_with_the_key(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read(text, "swarm.toml")


def test_hosts_with_nothing_to_do_cost_little_and_agree_all_the_same(tmp_path: Path) -> None:
    path = find("wide")
    wide = replace(read(path.read_text(), str(path)), hosts=(40.0, 40.0), storm_s=(6.0, 6.0))
    resting, awake = (run_seed(replace(wide, rest=rest), 2, tmp_path) for rest in (True, False))
    assert not resting.rule, resting.what
    assert not awake.rule, awake.what
    assert resting.counts["events"] * 3 < awake.counts["events"] * 2


@pytest.mark.parametrize("text", ["[work]\ncount = [0, 0]", "[faults.starts]\nchance = 1\nshare = [1, 1]"])
def test_a_seed_in_which_no_work_ran_shows_nothing(text: str, tmp_path: Path) -> None:
    """Nothing came, or nothing could be started: what holds then was not put to the test."""
    assert run_seed(read(f"storm_s = [5, 5]\n{text}", "idle"), 1, tmp_path).rule == "nothing exercised"
