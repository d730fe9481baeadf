"""A checker that never fails proves nothing: each planted bug is found within a stated number of seeds, by its rule."""

import pytest
from sim import gangs
from sim.bugs import BUGS, COURSE, Bug

from tegsim.__main__ import find, run_seed
from tegsim.cluster.world import Result
from tegsim.scenario import read

pytestmark = pytest.mark.slow
"""Up to eleven runs each."""

WITHIN = 10
"""Seeds of its scenario in which each bug is found, but for those that name a later one."""


def run(bug: Bug, seed: int) -> Result:
    if bug.scenario == COURSE:
        return gangs.result(seed)
    path = find(bug.scenario)
    return run_seed(read(path.read_text(), str(path)), seed)


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found_and_without_it_the_same_seed_passes(name: str) -> None:
    bug = BUGS[name]
    last = max(WITHIN, bug.first)
    for seed in [*range(bug.first, last + 1), *range(1, min(bug.first, WITHIN + 1))]:
        with pytest.MonkeyPatch.context() as patch:
            bug.plant(patch)
            result = run(bug, seed)
        if result.rule:
            break
    assert result.rule in bug.rules, result.what or f"not found in {WITHIN} seeds of {bug.scenario}"
    healthy = run(bug, seed)
    assert not healthy.rule, f"seed {seed} of {bug.scenario}: {healthy.what}"
