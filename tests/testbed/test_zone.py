"""The zone on machines of their own: work that moves, machines that are lost, heat, and clocks that jump."""

import time

from testbed.machines import TERM_S, Zone, last_line


def finish(zone: Zone, home: str, name: str, units: int, limit_s: float = 240) -> list[str]:
    zone.until(lambda: zone.work(home, name)["life"] == "ended", limit_s, f"{name} ends")
    log = zone.log(home, name)
    assert log[-1] == last_line(units), log
    return [line for line in log if line.startswith("spin: from unit")]


def test_work_of_a_user_runs_on_another_host_as_that_user(zone: Zone) -> None:
    zone.drain("n1")
    zone["n1"].run("echo given > /tmp/given; chmod 644 /tmp/given")
    words = "-- sh -c 'id -un; cat given; hostname'"
    zone["n1"].run(f"cd / && sudo -u vagrant tegctl run --detach --name there --file /tmp/given {words}")
    zone.until(lambda: zone.work("n1", "there")["life"] == "ended", 180, "it ends")
    assert zone.log("n1", "there") == ["vagrant", "given", "n2"]
    zone.drain("n1", False)


def test_work_moves_with_what_it_saved(zone: Zone) -> None:
    zone.drain("n2")
    zone.submit("n1", "mover", 150)
    zone.until(lambda: zone.work("n1", "mover")["run"] == "running", 120, "it runs at home")
    time.sleep(5)
    zone.drain("n2", False)
    zone.drain("n1")
    zone.until(lambda: [part["run"] for part in zone.parts("n2")] == ["running"], 180, "it runs on n2")
    begun = finish(zone, "n1", "mover", 150)
    assert len(begun) == 2
    assert not begun[1].startswith("spin: from unit 0 ")
    zone.drain("n1", False)
    assert zone.conserved()


def test_a_block_spans_both_machines(zone: Zone) -> None:
    words = "--slots 4 -- sh -c 'echo rank $TEG_RANK of $TEG_WORLD at $TEG_MASTER; sleep 5'"
    zone["n2"].run(f"cd /tmp && sudo -u vagrant tegctl run --detach --name mesh {words}")
    zone.until(lambda: zone.work("n2", "mesh")["life"] == "ended", 180, "it ends")
    assert zone.work("n2", "mesh")["exit_code"] == 0
    assert zone.log("n2", "mesh") == [f"rank 0 of 2 at {zone['n1'].address}"]


def test_a_hot_host_is_seen_from_everywhere(zone: Zone) -> None:
    zone["n1"].raise_temperature(45.0)
    zone["n2"].raise_temperature(45.0)
    zone.until(lambda: zone.host("n2").get("temperature_c") == 45.0, 60, "n2 is cool")
    cool = zone.host("n2")["entropy"]
    zone["n2"].raise_temperature(105.0, 300.0)
    zone.until(lambda: zone.host("n2")["entropy"] > cool + 0.3, 60, "its entropy rises")
    zone["n2"].raise_temperature(45.0)
    zone.until(lambda: zone.host("n2")["entropy"] < cool + 0.3, 60, "it falls again")


def test_a_clock_that_jumps_an_hour_ends_and_extends_nothing(zone: Zone) -> None:
    zone.drain("n1")
    zone.submit("n1", "jumper", 500)
    zone.until(lambda: [part["run"] for part in zone.parts("n2")] == ["running"], 180, "it runs on n2")
    (before,) = zone.leases()
    for hours in ("+1", "-2"):
        zone["n2"].run(f"date -s '{hours} hour' > /dev/null")
        time.sleep(5)
        (lease,) = zone.leases()
        assert lease["lease"] == before["lease"]
        assert [part["run"] for part in zone.parts("n2")] == ["running"]
    assert len(finish(zone, "n1", "jumper", 500, 400)) == 1
    zone["n2"].run(f"date -s @{time.time():.0f} > /dev/null")
    zone.drain("n1", False)


def test_a_machine_that_loses_power_is_noticed_and_its_work_goes_on(zone: Zone) -> None:
    zone.drain("n1")
    zone.submit("n1", "survivor", 300, "--checkpoint-every 3")
    zone.until(lambda: zone.work("n1", "survivor")["saves"] >= 2, 240, "it was saved twice")
    lost_s = time.monotonic()
    zone["n2"].stop()
    zone.until(lambda: not zone.host("n2")["up"], 15, "it is lost")
    assert time.monotonic() - lost_s < 8, "3.5 s of silence, and the time that it takes to ask"
    zone.drain("n1", False)
    zone.until(lambda: [part["run"] for part in zone.parts("n1")] == ["running"], 3 * TERM_S + 60, "it runs at home")
    zone["n2"].cont()
    zone.until(lambda: zone.host("n2")["up"], 60, "it is heard again")
    zone.until(lambda: not zone.parts("n2"), 120, "it has ended what was over")
    begun = finish(zone, "n1", "survivor", 300)
    assert not begun[-1].startswith("spin: from unit 0 ")
    assert zone.conserved()
