"""Several hosts: work is seated elsewhere, moves, and survives the loss of hosts and links. All processes are real."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from system.zone import MOSQUITTO, SURE_S, TERM_S, Host, Zone, last_line, spin

from tegcore.wire import control

pytestmark = [
    pytest.mark.slow,
    pytest.mark.system,
    pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed"),
]


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


RANKS = """
import os, socket, sys, time
rank, world = os.environ["TEG_RANK"], os.environ["TEG_WORLD"]
print(f"rank {rank} of {world}, first at {os.environ['TEG_MASTER']}, slots {os.environ['TEG_SLOTS']}, on {os.getcwd()}")
sys.stdout.flush()
time.sleep(float(sys.argv[1]))
sys.exit(int(sys.argv[2]) if rank == "1" else 0)
"""


def gang(zone: Zone, sleep_s: float, code: int, host: str = "a") -> str:
    return zone[host].submit(
        argv=(sys.executable, "-c", RANKS, str(sleep_s), str(code)), sizes=(2,), endow_ucr=60_000_000
    )


def test_a_block_over_two_hosts_is_granted_at_once_and_runs_on_both(zone: Zone) -> None:
    name = gang(zone, 3, 0)
    zone.until(lambda: zone["a"].work(name)["life"] == "away", 30)
    assert len(zone.leases()) == 1
    assert sorted(zone.leases()[0]["seats"]) == ["a", "b"]
    zone.until(lambda: all([part["run"] for part in zone[host].parts()] == ["running"] for host in "ab"), 20)
    zone.until(lambda: zone["a"].work(name)["life"] == "ended", 40)
    assert zone["a"].work(name)["exit_code"] == 0
    by_name = zone["a"].session.stream("tegd", control.Logs(name=name))
    assert b"".join(part["bytes"] for part in by_name).startswith(b"rank 0 of 2"), "not that of the part that sat here"
    folder = zone["a"].state / "logs" / str(zone["a"].work(name)["ref"])
    said = [next(folder.glob(pattern)).read_text() for pattern in ("log.*", "log-1.*")]
    assert said[0].startswith(f"rank 0 of 2, first at 127.0.0.1, slots 0,1, on {zone['a'].state}")
    assert said[1].startswith(f"rank 1 of 2, first at 127.0.0.1, slots 0,1, on {zone['b'].state}")
    zone.settled()


def test_a_gang_ends_whole_when_one_part_fails(zone: Zone) -> None:
    name = gang(zone, 60, 0)

    def second() -> psutil.Process | None:
        found = zone["b"].work_processes()
        return next((entry for entry in found if entry.cmdline()[:2] == [sys.executable, "-c"]), None)

    zone.until(second, 40).kill()
    zone.until(lambda: zone["a"].work(name)["life"] == "ended", 40)
    assert zone["a"].work(name)["exit_code"] == 137
    zone.settled()
    assert not zone["a"].work_processes()


def beginnings(zone: Zone, home: str, name: str) -> list[list[str]]:
    """For each lease of a gang of two, in order, where its ranks began: the first line of each."""
    ref = zone[home].work(name)["ref"]
    folder = zone[home].state / "logs" / str(ref)
    tokens = sorted(int(path.suffix[1:]) for path in folder.glob("log.*"))
    logs = [[folder / f"log.{token}", folder / f"log-1.{token}"] for token in tokens]
    return [[path.read_text().splitlines()[0] for path in ranks if path.exists()] for ranks in logs]


@pytest.mark.parametrize("home", ["a", "c"])
def test_a_gang_that_had_to_leave_goes_on_from_one_save_of_all_its_ranks(tmp_path: Path, home: str) -> None:
    """On two hosts, of which one may be its home; one of them is drained, and offered again."""
    zone = Zone(tmp_path, hosts=("a", "b", "c")[: 2 if home == "a" else 3])
    try:
        zone.start()
        name = zone[home].submit(argv=spin(250), hook=control.Hook(), sizes=(2,), endow_ucr=60_000_000)
        zone.until(lambda: all([part["run"] for part in zone[host].parts()] == ["running"] for host in "ab"), 40)
        time.sleep(2)
        zone.operate(control.DrainHost(host="b", on=True, key=1))
        zone.until(lambda: zone[home].work(name)["life"] == "seeking", 30)
        time.sleep(2)
        zone.operate(control.DrainHost(host="b", on=False, key=2))
        zone.until(lambda: zone[home].work(name)["life"] == "ended", 60)
        assert zone[home].work(name)["exit_code"] == 0, zone.story()
        begun = beginnings(zone, home, name)
        assert len(begun) == 2, f"every seat that it won was of use: {begun}"
        assert begun[0] == ["spin: from unit 0 of 250"] * 2
        assert all(not line.startswith("spin: from unit 0 ") for line in begun[1]), begun
        assert len(begun[1]) == 2, begun
        zone.settled()
    finally:
        zone.stop()


def test_the_weaker_work_goes_to_another_host_and_goes_on_while_the_stronger_runs(zone: Zone) -> None:
    zone.operate(control.DrainHost(host="b", on=True, key=1))
    weak = zone["a"].submit(argv=spin(120), hook=control.Hook(), limit_ucr=200_000)
    zone.until(lambda: zone["a"].work(weak)["run"] == "running", 30)
    time.sleep(2)
    strong = zone["a"].submit(argv=spin(200), sizes=(1,), limit_ucr=5_000_000, endow_ucr=100_000_000, tenant="bob")
    zone.until(lambda: zone["a"].work(strong)["run"] == "running", 30)
    zone.operate(control.DrainHost(host="b", on=False, key=2))
    zone.until(lambda: [part["run"] for part in zone["b"].parts()] == ["running"], 40)
    zone.check()
    assert zone["a"].work(strong)["run"] == "running"
    zone.until(lambda: zone["a"].work(weak)["life"] == "ended", 60)
    log = zone["a"].log(weak).splitlines()
    assert log[-1] == last_line(120), zone.story()
    begun = [line for line in log if line.startswith("spin: from unit")]
    assert len(begun) == 2
    assert not begun[1].startswith("spin: from unit 0 ")
    zone.until(lambda: zone["a"].work(strong)["life"] == "ended", 60)
    assert zone["a"].log(strong).splitlines()[-1] == last_line(200)
    zone.settled()


def test_a_lost_host_is_noticed_and_its_work_goes_on_elsewhere_from_the_last_copy(zone: Zone) -> None:
    zone.operate(control.DrainHost(host="a", on=True, key=1))
    name = zone["a"].submit(argv=spin(150), hook=control.Hook(), checkpoint_every_s=2)
    zone.until(lambda: zone["a"].work(name)["saves"] >= 2, 60)
    zone.until(lambda: list((zone["a"].state / "shelf").glob("*/[0-9]*.[2-9]*.0/listing")), 20)
    lost_s = time.monotonic()
    zone["b"].lose()
    zone.until(lambda: not zone.host_row("b")["up"], 10)
    noticed_s = time.monotonic() - lost_s
    assert noticed_s < 5
    (lease,) = zone.leases()
    assert lease["seats"] == ["b"], "its term has not surely ended"
    zone.operate(control.DrainHost(host="a", on=False, key=2))
    zone.until(lambda: not zone.leases() or zone.leases()[0]["lease"] != lease["lease"], 2 * SURE_S)
    assert time.monotonic() - lost_s > TERM_S - 3
    zone.until(lambda: zone["a"].parts() and zone["a"].parts()[-1]["run"] == "running", 40)
    zone["b"].reboot()
    zone.until(lambda: zone.host_row("b")["up"] and zone.host_row("b")["free"] == 2, 40)
    zone.until(lambda: zone["a"].work(name)["life"] == "ended", 60)
    log = zone["a"].log(name).splitlines()
    assert log[-1] == last_line(150), zone.story()
    assert not any(process for process in zone["b"].work_processes())
    zone.settled()


def test_work_goes_on_while_its_home_is_away_and_its_home_learns_of_it(zone: Zone) -> None:
    zone.operate(control.DrainHost(host="a", on=True, key=1))
    name = zone["a"].submit(argv=spin(150), hook=control.Hook())
    zone.until(lambda: [part["run"] for part in zone["b"].parts()] == ["running"], 40)
    zone["a"].lose()
    time.sleep(SURE_S + 2)
    assert [part["run"] for part in zone["b"].parts()] == ["running"], "the seat renews for itself"
    zone.until(lambda: not zone.leases(), 40)
    zone["a"].reboot()
    zone.until(lambda: zone["a"].work(name)["life"] == "ended", 40)
    assert zone["a"].work(name)["exit_code"] == 0
    assert zone["a"].log(name).splitlines()[-1] == last_line(150)
    zone.settled()


def test_two_machines_of_one_name_are_named_on_both_sides_and_the_first_keeps_its_work(
    zone: Zone, tmp_path: Path
) -> None:
    name = zone["a"].submit(argv=spin(150))
    zone.until(lambda: zone["a"].work(name)["run"] == "running", 40)
    lease = zone["a"].work(name)["lease"]
    (tmp_path / "other").mkdir()
    twin = Host(zone, "a", 0, 1, state=tmp_path / "other" / "a")
    try:
        twin.start()
        zone.until(lambda: twin.ask(control.Host())["twin"], 40)
        zone.until(lambda: "another machine" in zone.host_row("a")["reason"], 10)
        waits = twin.submit(argv=("true",))
        assert twin.why(waits)["reasons"][0]["reason"] == "twin"
        zone.until(lambda: zone["a"].work(name)["life"] == "ended", 60)
        assert zone["a"].work(name)["exit_code"] == 0
        assert zone["a"].work(name)["lease"] in {0, lease}
        for host in (zone["a"], twin):
            assert (host.state / "tegd.log").read_text().count("broker.lost") == 0
    finally:
        twin.stop()
    zone.settled()
