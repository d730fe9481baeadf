"""Several hosts: work is seated elsewhere, moves, and survives the loss of hosts and links. All processes are real."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from system.zone import MOSQUITTO, Zone, last_line, spin

from tegcore.wire import control

pytestmark = [pytest.mark.system, pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")]


@pytest.fixture
def zone(tmp_path: Path) -> Iterator[Zone]:
    made = Zone(tmp_path)
    try:
        yield made.start()
    finally:
        made.stop()


def test_work_is_seated_on_another_host_and_its_end_comes_home(zone: Zone) -> None:
    zone.operate(control.DrainHost(host="a", on=True, key=1))
    words = ("sh", "-c", "cat given; echo here; pwd; exit 3")
    name = zone["a"].submit(argv=words, files={"given": b"from a\n"})
    zone.until(lambda: zone["a"].work(name)["life"] == "ended", 40)
    work = zone["a"].work(name)
    assert work["exit_code"] == 3, zone.story()
    log = zone["a"].log(name).splitlines()
    assert log[:2] == ["from a", "here"]
    assert log[2].startswith(str(zone["b"].state))
    zone.settled()
    zone.until(lambda: not any((zone["b"].state / "work").iterdir()), 20)


def test_output_of_work_elsewhere_is_read_while_it_runs(zone: Zone) -> None:
    zone.operate(control.DrainHost(host="a", on=True, key=1))
    name = zone["a"].submit(argv=spin(60))
    zone.until(lambda: "spin: from unit 0 of 60" in zone["a"].log(name), 40)
    assert zone["a"].work(name)["life"] == "away"
    zone.until(lambda: zone["a"].work(name)["life"] == "ended", 40)
    assert zone["a"].log(name).splitlines()[-1] == last_line(60)
    zone.settled()
