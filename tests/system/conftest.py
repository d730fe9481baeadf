"""The whole stack on this host, for tests that need real processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from system.host import Host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.stack.stop()
