"""Three machines: `control` with broker, ledger and governor, and hosts `n1` and `n2`, from the package, over TLS."""

from collections.abc import Callable
from pathlib import Path

import pytest
from testbed.machines import Zone
from vm import image as images
from vm.conftest import boot, booted, image, installed, pytest_runtest_makereport
from vm.guest import Guest

__all__ = ["boot", "booted", "image", "installed", "pytest_runtest_makereport"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    found = [item for item in items if here in item.path.parents]
    problem = images.obstacle() if found else ""
    for item in found:
        item.add_marker(pytest.mark.vm)
        if problem:
            item.add_marker(pytest.mark.skip(reason=problem))


@pytest.fixture(scope="session")
def zone(
    boot: Callable[..., Guest],
    installed: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Zone:
    return Zone(boot, installed, tmp_path_factory.mktemp("zone")).start()
