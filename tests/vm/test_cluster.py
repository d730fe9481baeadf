"""A cluster of one host, as units: work under leases, heat, parts that end at any moment, and reboots."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from vm.guest import Guest
from vm.host import SPIN, UNITS, Host

LONG = pytest.mark.vm_long
PATIENCE_S = 400
"""Emulated, on a machine that does other work too: a cycle of the whole took minutes. It costs only who fails."""


def answering(boot: Callable[..., Guest], cluster: Path) -> Iterator[Host]:
    guest = boot(cluster)
    made = Host(guest)
    guest.until(made.answers, PATIENCE_S, "the cluster answers")
    yield made
    guest.close()


@pytest.fixture(scope="module")
def host(boot: Callable[..., Guest], cluster: Path) -> Iterator[Host]:
    yield from answering(boot, cluster)


@pytest.fixture
def own_host(boot: Callable[..., Guest], cluster: Path) -> Iterator[Host]:
    """For a test that leaves other prices than it found."""
    yield from answering(boot, cluster)


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


MEASURED = "reserves = 'measured'\\nperiod_ticks = 100\\n"
COOL, HOT = (40.0, 1600.0), (110.0, 6000.0)
"""Of the host: degrees, and watts of its four slots."""


def test_on_a_hot_host_entropy_and_price_rise_and_work_waits_until_it_is_cool(own_host: Host) -> None:
    host, guest = own_host, own_host.guest

    def entropy() -> float:
        return max(host.ask("field")["values"], default=0.0)

    def reserve_ucr() -> int:
        return max(row["reserve_ucr"] for row in host.ask("book"))

    def life() -> str:
        return host.agent("frugal")["life"]

    guest.raise_temperature(*COOL)
    guest.run(f'cd /etc/teg && cp governor.toml /var/tmp/ && printf "{MEASURED}" >> governor.toml')
    guest.run("systemctl restart governor", limit_s=100)
    guest.until(lambda: entropy() > 0 and 0 < reserve_ucr() < 1000, PATIENCE_S, "slots cost what the cool host draws")
    cool, cheap_ucr = entropy(), reserve_ucr()
    guest.raise_temperature(*HOT)
    guest.until(lambda: entropy() > cool + 0.3, 60, f"the field rises over {cool}")
    guest.until(lambda: reserve_ucr() > 3 * cheap_ucr, PATIENCE_S, f"slots cost more than {cheap_ucr}")
    guest.run(
        f"cd /tmp && sudo -u vagrant tegctl run --detach --name frugal --bid 0.0015 --endow 0.5 -- {SPIN} --units 5"
    )
    guest.until(lambda: '"reason": "price"' in json.dumps(host.ask("why frugal")), PATIENCE_S, "it is too dear")
    assert life() == "seeking"
    guest.raise_temperature(*COOL)
    guest.until(lambda: life() == "ended", PATIENCE_S, "it runs once the host is cool")
    guest.until(lambda: entropy() < cool + 0.3 and reserve_ucr() < 2 * cheap_ucr, PATIENCE_S, "all is as it was")


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
    guest.until(lambda: host.log(name).count("spin: from unit") == 1, PATIENCE_S, "it runs, and has said so")
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
