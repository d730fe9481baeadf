"""The whole stack on this host, for tests that need real processes."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from system.host import Host
from system.up import DEMO, Maker, Up


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.stack.stop()


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Maker]:
    """Brings up what `tegctl up` does, as often as it is called, and takes it down."""
    made: list[Up] = []

    def make(slots: int, market: str, speed: Mapping[str, int] = DEMO) -> Up:
        made.append(Up(tmp_path, slots, market, speed))
        made[-1].start()
        return made[-1]

    try:
        yield make
    finally:
        for stack in made:
            stack.stack.stop()
