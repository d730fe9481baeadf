"""Guests for tests. `guest` is one that just booted; a snapshot saves the boot from the second run on."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from vm import image as images
from vm.guest import Guest, Lan
from vm.host import LASTING, SLOW, Host
from vm.image import Image

from install import deb

Boot = Callable[..., Guest]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    found = [item for item in items if here in item.path.parents]
    problem = images.obstacle() if found else ""
    for item in found:
        item.add_marker(pytest.mark.vm)
        if problem:
            item.add_marker(pytest.mark.skip(reason=problem))


@pytest.fixture(scope="session")
def image() -> Image:
    return images.ensure()


@pytest.fixture(scope="session")
def booted(image: Image) -> Path:
    """A snapshot of a guest that has booted and holds nothing of TEG."""
    return snapshot(image, None, b"booted", lambda guest: guest.run(IDLE, limit_s=300))


@pytest.fixture(scope="session")
def installed(image: Image, booted: Path) -> Path:
    """A snapshot of a guest on which the package of this tree was installed and nothing was started."""
    package = deb.make(Path(__file__).parents[2] / "build")

    def install(guest: Guest) -> None:
        guest.put(package, "/var/tmp/teg.deb")
        guest.run("dpkg --install --force-unsafe-io /var/tmp/teg.deb && rm /var/tmp/teg.deb && " + IDLE, limit_s=400)

    return snapshot(image, booted, deb.contents().encode(), install)


@pytest.fixture(scope="session")
def cluster(image: Image, installed: Path) -> Path:
    """A snapshot of a guest that runs broker, ledger, governor and both sides of tegd, with `vagrant` as its tenant."""

    def start(guest: Guest) -> None:
        guest.run(f"printf '%s' '{LASTING}' >> /etc/teg/ledger.toml")
        guest.run("printf 'zone_k = 2\nepoch_ticks = 400\n' >> /etc/teg/governor.toml")
        guest.run("printf 'broker = \"mqtt://127.0.0.1:1883\"\nlog2_slots = 2\n' > /etc/teg/tegd.toml")
        for unit in ("tegd", "zone-ledger", "governor"):
            guest.write(f"/etc/systemd/system/{unit}.service.d/slow.conf", SLOW)
        guest.run("systemctl daemon-reload")
        guest.run("systemctl start mosquitto zone-ledger governor", limit_s=200)
        guest.run("zone-ledger --config /etc/teg/ledger.toml provision --to /etc/teg/credentials --tenant vagrant")
        guest.run("systemctl start tegd", limit_s=200)
        guest.until(Host(guest).answers, 120, "the cluster answers")

    return snapshot(image, installed, (LASTING + SLOW).encode(), start)


IDLE = "systemctl is-system-running --wait || systemctl --failed --no-legend; sync"


def snapshot(image: Image, base: Path | None, contents: bytes, prepare: Callable[[Guest], object]) -> Path:
    """A snapshot of a guest that was prepared, made if it is not kept yet.

    Args:
        image: What it boots.
        base: Snapshot that it starts from; None: it boots.
        contents: Names what it holds: other contents, another snapshot.
        prepare: Makes it.
    """
    guest = Guest(image)
    try:
        path = image.warm / f"{guest.key((base.name if base else '').encode(), contents)}.qcow2"
        with images.alone(path.with_suffix(".lock")):
            if not path.exists():
                guest.start(base)
                guest.wait()
                prepare(guest)
                guest.save(path)
        path.touch()
        images.keep_newest(image.warm)
        return path
    finally:
        guest.close()


@pytest.fixture(scope="session")
def boot(image: Image, request: pytest.FixtureRequest) -> Iterator[Boot]:
    """Starts a guest from a snapshot: `boot(snapshot, name, lan)`; all are ended at the end."""
    guests: list[Guest] = []

    def start(warm: Path, name: str = "n1", lan: Lan | None = None) -> Guest:
        guests.append(Guest(image, name, lan))
        guests[-1].start(warm)
        guests[-1].wait()
        return guests[-1]

    request.config.stash[GUESTS] = guests
    yield start
    for guest in guests:
        guest.close()


@pytest.fixture(scope="module")
def guest(boot: Boot, booted: Path) -> Iterator[Guest]:
    made = boot(booted)
    yield made
    made.close()


GUESTS = pytest.StashKey[list[Guest]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if report.failed:
        for guest in item.config.stash.get(GUESTS, []):
            report.sections.append((f"guest {guest.name}", f"{guest.console()}\n{guest.last_words()}"))
    return report
