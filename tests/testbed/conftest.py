"""Three machines: `control` with broker, ledger and governor, and hosts `n1` and `n2`, from the package, over TLS.

They are started on QEMU, or are those of the ssh configuration that `TEG_SSH_CONFIG` names. Results are also written as
a page to the path in `TEG_TESTBED_PAGE`.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from testbed import qemu
from testbed.page import Page
from testbed.zone import Zone
from vm import image as images
from vm.conftest import boot, booted, image, installed, pytest_runtest_makereport
from vm.guest import Guest

from install import deb

__all__ = ["boot", "booted", "image", "installed", "pytest_runtest_makereport"]

GIVEN = os.environ.get("TEG_SSH_CONFIG", "")
HOSTS = 2


def pytest_configure(config: pytest.Config) -> None:
    if path := os.environ.get("TEG_TESTBED_PAGE"):
        machines = os.environ.get("TEG_MACHINES", "given") if GIVEN else "QEMU"
        config.pluginmanager.register(Page(Path(path), machines))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    found = [item for item in items if here in item.path.parents]
    problem = images.obstacle() if found and not GIVEN else ""
    for item in found:
        item.add_marker(pytest.mark.vm)
        if problem:
            item.add_marker(pytest.mark.skip(reason=problem))


@pytest.fixture(scope="session")
def guests(request: pytest.FixtureRequest) -> dict[str, Guest]:
    """Those that run on QEMU under this session; none where machines are given."""
    if GIVEN:
        return {}
    start: Callable[..., Guest] = request.getfixturevalue("boot")
    return qemu.start(start, request.getfixturevalue("installed"), HOSTS)


@pytest.fixture(scope="session")
def everything(guests: dict[str, Guest], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zone]:
    folder = tmp_path_factory.mktemp("zone")
    if GIVEN:
        config = Path(GIVEN)
        made = Zone(re.findall(r"^Host (\S+)", config.read_text(), re.MULTILINE), config, folder)
    else:
        made = Zone(guests, qemu.ssh_config(guests, folder / "ssh_config"), folder)
        qemu.prepare(folder / "machines", deb.make(qemu.ROOT / "build"), HOSTS)
        for name, machine in made.machines.items():
            machine.put(folder / "machines" / name, qemu.SETUP)
            provision(made, name)
    yield made.ready()
    made.close()


@pytest.fixture
def zone(everything: Zone) -> Iterator[Zone]:
    """The zone, in which nothing is left when a scenario has passed."""
    yield everything.restored()
    everything.settled()


def provision(zone: Zone, name: str) -> str:
    """Run what Vagrant runs on a machine; what it says."""
    script = (qemu.ROOT / "vagrant" / "provision").read_bytes()
    return zone[name].run(f"bash -s {qemu.SETUP}", data=script, limit_s=300)


@pytest.fixture
def frozen(guests: dict[str, Guest]) -> Callable[[str], Guest]:
    """Who can be halted from outside, and let go on."""

    def machine(name: str) -> Guest:
        if name not in guests:
            pytest.skip("ssh cannot halt a machine: needs one under QEMU here")
        return guests[name]

    return machine
