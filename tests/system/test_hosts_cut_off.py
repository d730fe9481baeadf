"""Hosts and links that fail while work moves: at each stage of a transfer, one way and both; parts that are killed."""

import asyncio
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gmqtt
import psutil
import pytest
from gmqtt.mqtt.constants import MQTTv311
from system.zone import MOSQUITTO, SURE_S, TERM_S, ZONE, Host, Zone, digest_of, last_line, spin

from tegcore.wire import control
from tegcore.wire.codec import encode
from tegcore.wire.messages import SCHEMA, Orders, Status
from tegcore.wire.signing import host_key
from tegcore.wire.topics import Channel, Topic
from tegctl import authority
from tegio.tls import Certificates, client_context

pytestmark = [
    pytest.mark.slow,
    pytest.mark.system,
    pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed"),
]

UNITS = 90
BALLAST = 3 << 20
SLOW = 1 << 20
"""A checkpoint of 3 MiB at 1 MiB/s takes three seconds: time enough to cut it in the middle."""

HEAVY = """
import json, os, signal, sys, time
from pathlib import Path
from tegctl.samples.spin import unit
checkpoint, mark = Path(os.environ["TEG_CHECKPOINT"]), Path(os.environ["TEG_MARK"])
state = {"done": 0, "digest": ""}
if "--resume" in sys.argv:
    state = json.loads(checkpoint.read_text())
    assert len(state.pop("ballast")) == BALLAST
asked = []
signal.signal(signal.SIGUSR1, lambda *_: asked.append(1))
print(f"heavy: from unit {state['done']}", flush=True)
while state["done"] < UNITS:
    state = {"done": state["done"] + 1, "digest": unit(state["digest"], state["done"])}
    if asked:
        asked.clear()
        fresh = Path(f"{checkpoint}.fresh")
        with fresh.open("w") as file:
            json.dump(state | {"ballast": os.urandom(BALLAST // 2).hex()}, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(checkpoint)
        mark.touch()
    time.sleep(float(sys.argv[1]))
print(f"heavy: {state['done']} units, digest {state['digest'][:16]}", flush=True)
""".replace("BALLAST", str(BALLAST)).replace("UNITS", str(UNITS))
HEAVY_END = f"heavy: {UNITS} units, digest {digest_of(UNITS)}"


def heavy(pause_s: float = 0.1) -> tuple[str, ...]:
    return (sys.executable, "-c", HEAVY, str(pause_s))


def drain(zone: Zone, name: str, on: bool) -> None:
    zone.operate(control.DrainHost(host=name, on=on, key=time.time_ns()))


@pytest.fixture
def zone(tmp_path: Path) -> Iterator[Zone]:
    made = Zone(tmp_path, hosts=("a", "b", "c"), transfer_bytes_s=SLOW)
    try:
        yield made.start()
    finally:
        made.stop()


def running_on(zone: Zone, name: str) -> list[str]:
    """The hosts where work of this name runs, by the processes that are there."""
    every = [(host.name, row) for host in zone.hosts.values() for row in host.works() if row["name"] == name]
    return [host for host, row in every if row["run"] == "running" and row["life"] != "ended"]


def moving(zone: Zone, **spec: Any) -> str:
    """Work of a that has run there for two seconds and is now to go to b: a and c are drained."""
    drain(zone, "b", True)
    drain(zone, "c", True)
    name = zone["a"].submit(argv=heavy(), hook=control.Hook(), **spec)
    zone.until(lambda: "heavy: from" in zone["a"].log(name), 40)
    time.sleep(2)
    drain(zone, "b", False)
    drain(zone, "a", True)
    return name


def finish(zone: Zone, name: str, host: str = "a", limit_s: float = 90) -> list[str]:
    """It ends with the right digest; credits and journal are in order; nothing is stopped or left running."""
    zone.until(lambda: zone[host].work(name)["life"] == "ended", limit_s)
    log = zone[host].log(name).splitlines()
    assert log[-1] == HEAVY_END, zone.story()
    zone.settled()
    for each in zone.hosts.values():
        statuses = [process.status() for process in each.work_processes()]
        assert psutil.STATUS_STOPPED not in statuses
        assert not statuses, "it was not ended everywhere"
    return [line for line in log if line.startswith("heavy: from")]


def begun(lines: list[str]) -> list[int]:
    return [int(line.split()[-1]) for line in lines]


@pytest.mark.parametrize("ways", [("to",), ("back",), ("to", "back")])
def test_a_link_that_is_cut_in_the_middle_of_a_transfer_is_gone_on_with_when_it_heals(
    zone: Zone, ways: tuple[str, ...]
) -> None:
    link = zone["a"].peer_link
    link.limit, link.after = link.carried["to"] + link.carried["back"] + (1 << 20), lambda: link.cut(*ways)
    name = moving(zone)
    zone.until(lambda: link.cut_ways, 40)
    carried = link.carried["back"]
    time.sleep(2)
    assert running_on(zone, name) == []
    link.heal()
    starts = begun(finish(zone, name))
    assert len(starts) == 2
    assert starts[1] > 0
    assert carried > 1 << 19
    assert link.carried["back"] < carried + BALLAST + (1 << 20), "what had come was not sent again"


def test_a_destination_that_dies_in_the_middle_leaves_the_checkpoint_whole_and_the_work_goes_elsewhere(
    zone: Zone,
) -> None:
    link = zone["a"].peer_link
    link.limit = link.carried["to"] + link.carried["back"] + (1 << 20)
    link.after = zone["b"].lose
    name = moving(zone)
    zone.until(lambda: link.after is None, 40)
    drain(zone, "c", False)
    starts = begun(finish(zone, name, limit_s=120))
    assert len(starts) == 2
    assert starts[1] > 0
    zone["b"].reboot()
    zone.until(lambda: zone.host_row("b")["up"], 30)
    zone.until(lambda: not [row for row in zone["b"].parts() if row["life"] != "ended"], 30)
    assert running_on(zone, name) == []


def test_a_source_that_dies_in_the_middle_is_waited_for(zone: Zone) -> None:
    """The checkpoint is on its disk alone: the work goes on from there once it is back, and loses nothing."""
    link = zone["a"].peer_link
    link.limit = link.carried["to"] + link.carried["back"] + (1 << 20)
    link.after = zone["a"].lose
    name = moving(zone)
    zone.until(lambda: link.after is None, 40)
    time.sleep(3)
    zone["a"].reboot()
    drain(zone, "c", False)
    starts = begun(finish(zone, name, limit_s=150))
    assert starts[-1] > 0


@pytest.mark.parametrize("stage", ["before the brief", "while it runs", "as it ends"])
def test_a_seat_that_its_home_cannot_reach(zone: Zone, stage: str) -> None:
    drain(zone, "a", True)
    drain(zone, "c", True)
    if stage == "before the brief":
        zone["b"].peer_link.cut()
    name = zone["a"].submit(argv=heavy(0.4 if stage == "while it runs" else 0.1), hook=control.Hook())
    if stage == "before the brief":
        zone.until(lambda: zone["a"].work(name)["life"] == "away", 30)
        time.sleep(4)
        assert running_on(zone, name) == []
        zone["b"].peer_link.heal()
        finish(zone, name)
        return
    zone.until(lambda: running_on(zone, name) == ["b"], 40)
    if stage == "while it runs":
        zone["b"].peer_link.cut()
        zone["a"].peer_link.cut()
        time.sleep(SURE_S)
        assert running_on(zone, name) == ["b"], "the seat renews with the ledger by itself"
        zone["b"].peer_link.heal()
        zone["a"].peer_link.heal()
    else:
        zone["a"].peer_link.cut()
        zone.until(lambda: not zone.leases(), 60)
        time.sleep(3)
        zone["a"].peer_link.heal()
    finish(zone, name)


def test_a_host_that_is_cut_off_cannot_go_on_under_a_lease_that_another_has(zone: Zone) -> None:
    """It ends its run by its own clock, before the ledger lets its slots; the work goes on elsewhere, never twice."""
    drain(zone, "a", True)
    drain(zone, "c", True)
    name = zone["a"].submit(argv=heavy(0.4), hook=control.Hook(), checkpoint_every_s=2)
    zone.until(lambda: list((zone["a"].state / "shelf").glob("*/[0-9]*/listing")), 60)
    (process,) = (entry for entry in zone["b"].work_processes() if entry.cmdline()[:2] == [sys.executable, "-c"])
    cut_s = time.monotonic()
    zone["b"].broker_link.cut()
    zone["b"].peer_link.cut()
    zone.until(lambda: not zone.host_row("b")["up"], 5)
    first = zone.leases()[0]["lease"]
    drain(zone, "c", False)
    ended_s = let_s = 0.0
    while not let_s and time.monotonic() < cut_s + 2 * SURE_S:
        if not ended_s and not process.is_running():
            ended_s = time.monotonic() - cut_s
        if not any(lease["lease"] == first for lease in zone.leases()):
            let_s = time.monotonic() - cut_s
        time.sleep(0.05)
    assert 0 < ended_s < let_s, (ended_s, let_s)
    assert ended_s < TERM_S + 3
    zone.until(lambda: "c" in running_on(zone, name), 40)
    zone["b"].broker_link.heal()
    zone["b"].peer_link.heal()
    zone.until(lambda: zone.host_row("b")["up"], 30)
    assert running_on(zone, name) == ["c"]
    finish(zone, name)


@pytest.mark.parametrize("part", ["broker", "ledger", "governor"])
def test_a_part_of_the_zone_is_killed_while_work_moves(zone: Zone, part: str) -> None:
    name = moving(zone)
    zone.until(lambda: zone["a"].work(name)["life"] == "away", 40)
    killed = getattr(zone, part)
    killed.kill()
    time.sleep(2)
    killed.start()
    starts = begun(finish(zone, name))
    assert len(starts) >= 2
    assert starts[-1] > 0
    for host in zone.hosts.values():
        assert host.ask(control.Host())["mode"] == "run"


async def speak_as(zone: Zone, name: str, topic: Topic, frame: bytes) -> list[str]:
    """Publish a frame with a host's certificate; what the ledger put in quarantine since."""
    certificate = Certificates(zone.certs / "ca.pem", zone.certs / f"{name}.pem", zone.certs / f"{name}.key")
    client = gmqtt.Client(f"intruder-{name}")
    await client.connect("127.0.0.1", zone.port, ssl=client_context(certificate), version=MQTTv311)
    client.publish(str(topic), frame, qos=0)
    await asyncio.sleep(1)
    await client.disconnect()
    return [f"{entry['reason']} {entry['detail']}" for entry in zone.view()["quarantine"]]


async def test_a_host_that_writes_under_the_name_of_another_is_refused_and_named(zone: Zone) -> None:
    """The broker drops it by certificate; where it gets past the broker, the ledger refuses it by signature."""
    topic = Topic(ZONE, Channel.ORDERS, "b")
    forged = encode(topic, Orders(SCHEMA, "b", 1, 0), host_key(zone.secret, "a"))
    assert await speak_as(zone, "a", topic, forged) == []
    said = await speak_as(zone, "b", topic, forged)
    assert any("forged" in line and "not that of b" in line for line in said), said
    assert zone.view()["not_taken_in"]["FORGED"] == 1
    status = Topic(ZONE, Channel.STATUS, "b")
    lost = encode(status, Status(SCHEMA, "b", 1, up=False), host_key(zone.secret, "b"))
    await speak_as(zone, "a", status, lost)
    assert zone.host_row("b")["up"]


def test_nobody_without_a_certificate_is_heard_by_broker_or_host(zone: Zone, tmp_path: Path) -> None:
    authority.init(tmp_path / "others", "x")
    certificate, key = authority.issue(tmp_path / "others", "a")
    for port in (zone.port, zone["b"].peer_port):
        for context in (None, Certificates(tmp_path / "others" / "ca.pem", certificate, key)):
            with socket.create_connection(("127.0.0.1", port), 5) as plain:
                made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
                if context is not None:
                    made.load_cert_chain(context.certificate, context.key)
                with pytest.raises(OSError, match=r"."):
                    knock(made, plain)


def knock(context: ssl.SSLContext, plain: socket.socket) -> None:
    """Be heard, or raise: a server may say only after its own handshake that it wants a certificate."""
    with context.wrap_socket(plain) as channel:
        channel.settimeout(5)
        channel.sendall(b"x" * 64)
        if channel.recv(1) == b"":
            raise ConnectionResetError("the other side hung up")


def refused(host: Host) -> int:
    return sum("peers.refused" in line for line in (host.state / "tegd.log").read_text().splitlines())


def test_work_that_is_not_for_it_leaves_a_host_alone(zone: Zone) -> None:
    """With a checkpoint outside its folder, or by its owner's wish, work stays where it is submitted."""
    drain(zone, "a", True)
    here = zone["a"].submit(argv=spin(5), here=True)
    fixed = zone["a"].submit(argv=spin(5), hook=control.Hook(checkpoint=str(zone["a"].state / "own")))
    time.sleep(5)
    assert {zone["a"].work(name)["life"] for name in (here, fixed)} == {"seeking"}
    drain(zone, "a", False)
    zone.until(lambda: all(zone["a"].work(name)["life"] == "ended" for name in (here, fixed)), 40)
    assert zone["a"].log(here).splitlines()[-1] == last_line(5)
    assert refused(zone["b"]) == 0
    zone.settled()
