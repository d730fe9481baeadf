"""The zone on machines of their own: work that moves, machines and links that are lost, heat, and clocks that jump."""

import time
from collections.abc import Callable, Iterator

import pytest
from testbed.conftest import provision
from testbed.zone import TERM_S, Zone, pause
from vm.guest import Guest

from tegcore.wire import control

LOST_S_MAX = 8.0
"""3.5 s of silence, and the time that it takes to ask."""


UNITS = 200
"""Some 45 s of work: it lasts for longer than a lease does of which nobody hears any more."""


def test_provisioning_again_changes_nothing(zone: Zone) -> None:
    for name in zone.machines:
        assert provision(zone, name).strip() == "nothing to change"


def test_work_of_a_user_runs_on_another_host_as_that_user(zone: Zone) -> None:
    zone.drain("n1")
    zone["n1"].run("echo given > /tmp/given", user=True)
    zone.run("n1", "there", "--file /tmp/given -- sh -c 'id -un; cat given; hostname'")
    assert zone.ended("n1", "there") == ["vagrant", "given", "n2"]
    zone.drain("n1", False)


def test_a_block_spans_both_machines(zone: Zone) -> None:
    words = "--slots 4 -- sh -c 'echo rank $TEG_RANK of $TEG_WORLD at $TEG_MASTER; sleep 8'"
    zone.run("n2", "mesh", words)
    lease = zone.until(zone.leases, 60, "it has a lease")[0]
    assert (sorted(lease["seats"]), lease["slots"]) == (["n1", "n2"], 4)
    assert zone.ended("n2", "mesh") == [f"rank 0 of 2 at {zone['n1'].address()}"]
    assert zone.work("n2", "mesh")["exit_code"] == 0


def test_the_weaker_work_goes_to_another_host_and_goes_on_while_the_stronger_runs(zone: Zone) -> None:
    zone.drain("n2")
    zone.spin("n1", "weak", 150)
    zone.runs_on("n1", "n1", "weak")
    pause(5)
    zone.spin("n1", "strong", 350, "--slots 2 --bid 60 --endow 3000")
    zone.runs_on("n1", "n1", "strong")
    zone.drain("n2", False)
    zone.runs_on("n2", "n1", "weak")
    zone.none_doubled()
    begun = zone.finished("n1", "weak", 150)
    assert len(begun) == 2
    assert not begun[1].startswith("spin: from unit 0 ")
    assert zone.work("n1", "strong")["run"] == "running"
    assert len(zone.finished("n1", "strong", 350)) == 1


@pytest.mark.parametrize("unit", ["mosquitto", "zone-ledger"])
def test_work_goes_on_while_the_control_machine_loses_a_part(zone: Zone, unit: str) -> None:
    zone.drain("n1")
    zone.spin("n1", f"while-{unit}", 100)
    zone.runs_on("n2", "n1", f"while-{unit}")
    zone.control.run(f"systemctl kill --signal=SIGKILL {unit}; sleep 3; systemctl start {unit}")
    zone.drain("n1", False)
    assert len(zone.finished("n1", f"while-{unit}", 100)) == 1


def test_a_hot_host_is_seen_from_everywhere(zone: Zone) -> None:
    if not all(zone[name].has_sensors() for name in zone.names):
        pytest.skip("these machines have no temperature that could be set")
    zone["n2"].set_temperature(45.0)
    zone.until(lambda: zone.entropy("n2") < 0.5, 120, "n2 is cool")
    cool = zone.entropy("n2")
    zone["n2"].set_temperature(105.0, 300.0)
    zone.until(lambda: zone.entropy("n2") > cool + 0.3, 60, "its entropy rises")
    zone["n2"].set_temperature(45.0)
    zone.until(lambda: zone.entropy("n2") < cool + 0.3, 120, "it falls again")


COOL, HOT = (45.0, 1400.0), (105.0, 5600.0)
"""Degrees, and watts of a host of two slots."""
MODEST_UCR = 2000
MODEST = f"--class 0 --class 1 --bid {MODEST_UCR / 1e6} --endow 1"
"""A bid between what slots cost on a cool host and on a hot one."""


def reserves(zone: Zone) -> dict[str, int]:
    """Of the slots of each host."""
    return {row["host"]: int(row["reserve_ucr"]) for row in zone.operate(control.BookView())}


@pytest.fixture
def aisles(zone: Zone) -> Iterator[Zone]:
    """A zone where n2 has a slot class of its own, and the governor prices classes by what their hosts draw."""
    if not all(zone[name].has_sensors() for name in zone.names):
        pytest.skip("these machines have no temperature that could be set")
    before = [(zone.control, "governor"), (zone["n2"], "tegd")]
    for machine, program in before:
        machine.run(f"cp /etc/teg/{program}.toml /var/tmp/{program}.toml")
    zone.control.run("printf \"reserves = 'measured'\\nperiod_ticks = 100\\n\" >> /etc/teg/governor.toml")
    zone["n2"].run("printf 'slot_class = 1\\n' >> /etc/teg/tegd.toml")
    for machine, program in before:
        machine.run(f"systemctl restart {program}", limit_s=120)
    yield zone.ready()
    for name in zone.names:
        zone[name].set_temperature(*COOL)
    zone.until(lambda: max(reserves(zone).values()) < MODEST_UCR, 120, "slots cost what they are rated at")
    for machine, program in before:
        machine.run(f"mv /var/tmp/{program}.toml /etc/teg/ && systemctl restart {program}", limit_s=120)
    for name in zone.names:
        zone[name].set_temperature(45.0)
    zone.ready()


def test_a_hot_host_loses_new_work_and_gets_it_back_when_it_has_cooled(aisles: Zone) -> None:
    zone = aisles

    def dearer(hot: str, cool: str) -> bool:
        now = reserves(zone)
        return 0 < 3 * now[cool] < now[hot]

    for turn, (hot, cool) in enumerate((("n2", "n1"), ("n1", "n2"))):
        zone[cool].set_temperature(*COOL)
        zone[hot].set_temperature(*HOT)
        zone.until(lambda c=cool, h=hot: dearer(h, c), 120, f"{hot} is dearer than {cool}")
        for number in range(2):
            name = f"modest-{turn}-{number}"
            zone.run(hot, name, f"{MODEST} -- sh -c 'hostname; sleep 1'")
            assert zone.ended(hot, name) == [cool]


def test_a_clock_that_jumps_an_hour_ends_and_extends_nothing(zone: Zone) -> None:
    zone.drain("n1")
    zone.spin("n1", "jumper", 200)
    zone.runs_on("n2", "n1", "jumper")
    (before,) = zone.leases()
    for hours in (1, -2):
        zone["n2"].step_clock(hours)
        pause(6)
        (lease,) = zone.leases()
        assert (lease["lease"], lease["token"]) == (before["lease"], before["token"])
        assert [part["run"] for part in zone.parts("n2")] == ["running"]
    assert len(zone.finished("n1", "jumper", 200)) == 1
    zone["n2"].right_clock()
    zone.drain("n1", False)


ROGUE = """
import asyncio, sys
from pathlib import Path
import gmqtt
from gmqtt.mqtt.constants import MQTTv311
from tegcore.wire.codec import encode
from tegcore.wire.messages import SCHEMA, Orders
from tegcore.wire.signing import Key
from tegcore.wire.topics import Channel, Topic
from tegio.tls import Certificates, client_context
me, broker, key = sys.argv[1:]
async def main():
    pems = Certificates(Path("/etc/teg/ca.pem"), Path(f"/etc/teg/{me}.pem"), Path("/etc/teg/credentials/tegd/tls.key"))
    client = gmqtt.Client(f"rogue-{me}")
    await client.connect(broker, 8883, ssl=client_context(pems), version=MQTTv311)
    topic = Topic("lab", Channel.ORDERS, "n2")
    client.publish(str(topic), encode(topic, Orders(SCHEMA, "n2", 1, 0), Key(bytes.fromhex(key))), qos=0)
    await asyncio.sleep(1)
    await client.disconnect()
asyncio.run(main())
"""


def test_a_host_that_writes_under_the_name_of_another_is_refused_and_named(zone: Zone) -> None:
    """The broker drops it by certificate; what gets past the broker, the ledger refuses by signature."""
    key = zone["n1"].run("cat /etc/teg/credentials/tegd/host.key").strip()

    def said() -> list[str]:
        entries = zone.operate(control.LedgerView())["quarantine"]
        return [f"{entry['reason']} {entry['detail']}" for entry in entries]

    before = said()
    for name in ("n1", "n2"):
        words = f"/usr/lib/teg/bin/python3 - {name} {zone.control.address()} {key}"
        zone[name].run(words, data=ROGUE.encode())
        if name == "n1":
            assert said() == before
    named = [line for line in said() if line not in before]
    assert any("forged" in line and "not that of n2" in line for line in named), named


@pytest.mark.parametrize("ways", [("in", "out"), ("in",), ("out",)], ids=["both ways", "deaf", "mute"])
def test_a_host_that_is_cut_off_stops_before_its_work_goes_on_elsewhere(zone: Zone, ways: tuple[str, ...]) -> None:
    zone.drain("n1")
    name = f"cut-{'-'.join(ways)}"
    zone.spin("n1", name, UNITS, "--checkpoint-every 3")
    zone.until(lambda: zone.work("n1", name)["saves"] >= 2, 240, "it was saved twice")
    (lease,) = zone.leases()
    zone["n2"].cut_link(*ways)
    zone.until(lambda: not zone.host("n2")["up"], 20, "it is lost")
    zone.drain("n1", False)

    def seats() -> tuple[bool, bool]:
        there, here = (bool(zone[host].run("pgrep -f [s]amples.spin; true")) for host in ("n2", "n1"))
        assert not (there and here), "it runs in two places"
        return there, here

    zone.until(lambda: seats() == (False, True), 3 * TERM_S + 60, "it ends on n2, and then runs on n1")
    assert all(row["token"] > lease["token"] for row in zone.leases()), "the old lease still stands"
    zone["n2"].heal_link()
    zone.until(lambda: zone.host("n2")["up"], 60, "it is heard again")
    zone.until(lambda: not zone.parts("n2"), 120, "it has ended what was over")
    assert not zone.finished("n1", name, UNITS)[-1].startswith("spin: from unit 0 ")


@pytest.mark.parametrize("how", ["stands still", "loses power"])
def test_a_machine_that_is_lost_is_noticed_and_its_work_goes_on(
    zone: Zone, frozen: Callable[[str], Guest], how: str
) -> None:
    halted = frozen("n2") if how == "stands still" else None
    name = how.rsplit(maxsplit=1)[-1]
    zone.drain("n1")
    zone.spin("n1", name, UNITS, "--checkpoint-every 3")
    zone.until(lambda: zone.work("n1", name)["saves"] >= 2, 240, "it was saved twice")
    lost_s = time.monotonic()
    if halted is not None:
        halted.stop()
        zone.until(lambda: not zone.host("n2")["up"], 20, "it is lost")
        assert time.monotonic() - lost_s < LOST_S_MAX
    else:
        zone["n2"].cut_power()
    zone.drain("n1", False)
    zone.runs_on("n1", "n1", name, 3 * TERM_S + 60)
    if halted is not None:
        halted.cont()
    zone.until(lambda: zone.host("n2")["up"], 120, "it is heard again")
    zone.until(lambda: not zone.parts("n2"), 120, "it has ended what was over")
    assert not zone.finished("n1", name, UNITS)[-1].startswith("spin: from unit 0 ")


def test_every_host_is_there_at_the_end(zone: Zone) -> None:
    there = [(row["host"], row["up"], row["free"]) for row in zone.hosts()]
    assert sorted(there) == [(name, True, 2) for name in sorted(zone.names)]
