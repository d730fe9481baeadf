"""A tenant that is added while all runs has work on every host at once. All processes are real."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from system.zone import MOSQUITTO, Zone

from tegcore.errors import RefusedError
from tegcore.wire import control

pytestmark = [pytest.mark.system, pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")]


@pytest.fixture
def zone(tmp_path: Path) -> Iterator[Zone]:
    made = Zone(tmp_path)
    try:
        yield made.start()
    finally:
        made.stop()


def test_a_tenant_that_was_just_added_has_work_on_every_host_until_it_is_closed(zone: Zone) -> None:
    zone.operate(control.MintCredits(tenant="lab", amount_ucr=500_000_000, key=11))
    with pytest.raises(RefusedError, match="may not run jobs of tenant 'lab'"):
        zone["a"].submit(argv=("true",), tenant="lab")
    zone.operate(control.AddTenant(tenant="lab", key=12))
    names = {host: zone[host].submit(argv=("true",), tenant="lab") for host in "ab"}
    for host, name in names.items():
        zone.until(lambda host=host, name=name: zone[host].work(name)["life"] == "ended", 60)
        assert zone[host].work(name)["exit_code"] == 0, zone.story()
    zone.operate(control.RemoveTenant(tenant="lab", key=13))
    for host in "ab":
        zone.until(lambda host=host: is_closed(zone, host), 20)
    zone.settled()


def is_closed(zone: Zone, host: str) -> bool:
    """Whether a host refuses the tenant's work; what it takes before it knows is over soon."""
    try:
        zone[host].submit(argv=("true",), tenant="lab")
    except RefusedError as error:
        return "tenant 'lab' is closed" in str(error)
    return False
