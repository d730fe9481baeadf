"""A cluster of one host, as units: work under leases, heat, parts that end at any moment, and reboots."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from vm.guest import Guest
from vm.host import UNITS, Host

LONG = pytest.mark.vm_long
PATIENCE_S = 400
"""Emulated, on a machine that does other work too: a cycle of the whole took minutes. It costs only who fails."""


@pytest.fixture(scope="module")
def host(boot: Callable[..., Guest], cluster: Path) -> Iterator[Host]:
    guest = boot(cluster)
    made = Host(guest)
    guest.until(made.answers, PATIENCE_S, "the cluster answers")
    yield made
    guest.close()


def test_work_of_a_user_runs_on_slots_that_it_leased(host: Host) -> None:
    said = host.guest.run("cd /tmp && sudo -u vagrant tegctl run -- sh -c 'id -un; cat /proc/self/cgroup; pwd'")
    assert said.splitlines()[0] == "vagrant"
    assert "/teg.slice/teg-work-" in said


def test_work_of_root_is_not_started_for_the_agent_side(host: Host) -> None:
    host.guest.run("cd /tmp && tegctl run --detach --name as-root --tenant vagrant -- id")
    ended = host.guest.until(
        lambda: host.agent("as-root")["life"] == "ended" and host.agent("as-root"), PATIENCE_S, "it ended"
    )
    assert "uid_min" in json.dumps(host.tegctl("why as-root")) + json.dumps(ended)


@LONG
def test_heat_from_outside_raises_the_hosts_entropy(host: Host) -> None:
    def entropy() -> float:
        return max(host.ask("field")["values"], default=0.0)

    host.guest.raise_temperature(40.0)
    host.guest.until(lambda: entropy() > 0, PATIENCE_S, "there is a field")
    host.guest.run("sleep 10")
    cool = entropy()
    host.guest.raise_temperature(110.0, 300.0)
    host.guest.until(lambda: entropy() > cool + 0.3, 60, f"the field rises over {cool}")
    host.guest.raise_temperature(40.0)
    host.guest.until(lambda: entropy() < cool + 0.3, PATIENCE_S, "the field falls again")


OTHERS = ("mosquitto", *(unit for unit in UNITS if unit != "zone-ledger"))


@pytest.mark.parametrize("unit", ["zone-ledger", *(pytest.param(unit, marks=LONG) for unit in OTHERS)])
def test_a_killed_unit_returns_and_no_work_is_lost(host: Host, unit: str) -> None:
    name = f"kill-{unit}"
    host.submit(name, units=40)
    host.guest.until(lambda: host.agent(name)["run"] == "running", PATIENCE_S, "it runs")
    before = host.pid(unit)
    host.guest.run(f"systemctl kill --signal=SIGKILL {unit}")
    if unit == "mosquitto":
        host.guest.run("systemctl reset-failed mosquitto; systemctl start mosquitto")
    host.guest.until(lambda: host.pid(unit) not in (0, before) and host.answers(), PATIENCE_S, "all parts answer again")
    assert host.frozen() == []
    host.guest.until(lambda: host.agent(name)["life"] == "ended", PATIENCE_S, "the work is done")
    assert host.units_done(name) == 40
    assert host.log(name).count("spin: from unit") == 1, "it was started once"
    assert host.conserved()


@LONG
def test_restarting_all_of_it_interrupts_no_work(host: Host) -> None:
    host.submit("through", units=60)
    host.guest.until(lambda: host.agent("through")["run"] == "running", PATIENCE_S, "it runs")
    host.guest.run(f"systemctl restart {' '.join(UNITS)}", limit_s=200)
    host.guest.until(host.answers, PATIENCE_S, "all parts answer again")
    host.guest.until(lambda: host.agent("through")["life"] == "ended", PATIENCE_S, "the work is done")
    assert host.units_done("through") == 60
    assert host.log("through").count("spin: from unit") == 1
    assert host.conserved()


@pytest.mark.parametrize("how", ["power cut", pytest.param("reboot", marks=LONG)])
def test_after_a_reboot_leases_and_work_are_accounted_for(host: Host, how: str) -> None:
    guest, name = host.guest, f"before-{how.replace(' ', '-')}"
    guest.run(f"systemctl enable --quiet mosquitto {' '.join(UNITS)}")
    host.submit(name, units=500)
    guest.until(lambda: host.agent(name)["run"] == "running", PATIENCE_S, "it runs")
    guest.run("sync")
    (guest.reset if how == "power cut" else guest.reboot)()
    guest.until(host.answers, PATIENCE_S, "all parts answer again")
    assert host.conserved()
    assert host.frozen() == []
    seen = guest.until(
        lambda: host.agent(name)["life"] == "ended" or host.log(name).count("spin: from unit") > 1,
        120,
        "it runs again, or is told to be lost",
    )
    assert seen
    if host.agent(name)["life"] == "ended":
        assert host.agent(name)["outcome"]
    guest.run(f"tegctl cancel {name}; true")
    guest.until(lambda: host.agent(name)["life"] == "ended", PATIENCE_S, "it is ended")
    assert host.conserved()
