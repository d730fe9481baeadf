"""An airlock of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from airlock_rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.clean_up()


@pytest.fixture
def running(rig: Rig) -> Rig:
    rig.start()
    return rig
