"""A gang and one fault, at each step of save, travel and resume: its ranks go on from one save, or it is told."""

from pathlib import Path

import pytest
from sim.gangs import FAULTS, SEEDS, STEPS, Course

QUICK = (1, 6, 10, 14, 18, 22, 25)
"""One a step; the others are marked slow."""
FOUND = (128,)
"""Seeds that found something: a rank whose checkpoint was let go between two briefs of one lease."""


def test_each_fault_comes_at_each_step(tmp_path: Path) -> None:
    drawn = {(course.step, course.fault) for course in (Course(seed, tmp_path / str(seed)) for seed in SEEDS)}
    assert drawn == {(step, fault) for step in STEPS for fault in FAULTS}


@pytest.mark.parametrize(
    "seed", [*QUICK, *FOUND, *(pytest.param(seed, marks=pytest.mark.slow) for seed in SEEDS if seed not in QUICK)]
)
def test_ranks_go_on_from_one_save_or_it_is_told(seed: int, tmp_path: Path) -> None:
    row = Course(seed, tmp_path / "disk").run()
    assert row.exit_code == 0, row
    assert len(row.begun_s) > 1, "it had to leave, and went on"
    assert row.told or not any(later == "0.0" for later in row.begun_s[1:]), row
