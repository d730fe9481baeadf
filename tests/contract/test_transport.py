"""One contract for every broker: the one in the process, the built-in one, and mosquitto."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tegcore.errors import ConfigError
from tegcore.wire.transport import QUEUE_MESSAGES_MAX, Transport
from tegio.memory import MemoryBroker
from tegio.mqtt import BrokerAddress, MqttTransport, parse_broker

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
PATIENCE_S = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.02)


class Memory:
    """The broker within the process."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()

    async def start(self) -> None:
        self.broker.set_up(True)

    async def kill(self) -> None:
        self.broker.set_up(False)

    def client(self, name: str) -> Transport:
        return self.broker.transport()

    async def cut(self, client: Transport) -> None:
        self.broker.kill(client)

    async def settle(self, condition: Callable[[], bool]) -> None:
        self.broker.pump()
        assert condition()

    async def stop(self) -> None:
        pass


class Process:
    """A broker in a process of its own, on a loopback port."""

    def __init__(self, folder: Path, command: Callable[[int], list[str]]) -> None:
        self.port = free_port()
        self.command = command(self.port)
        self.log = (folder / "broker.log").open("wb")
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    return
                except OSError:
                    await asyncio.sleep(0.05)

    async def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def client(self, name: str) -> Transport:
        return MqttTransport(BrokerAddress("127.0.0.1", self.port), name)

    async def cut(self, client: Transport) -> None:
        connection = client._client._connection
        connection._transport.abort()
        client._task.cancel()

    async def settle(self, condition: Callable[[], bool]) -> None:
        await until(condition)

    async def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()


def amqtt_command(port: int) -> list[str]:
    return [sys.executable, "-m", "tegio.broker", "--port", str(port)]


@pytest.fixture(params=["memory", "built-in", "mosquitto"])
async def broker(request, tmp_path) -> AsyncIterator[Memory | Process]:
    if request.param == "memory":
        made: Memory | Process = Memory()
    elif request.param == "built-in":
        made = Process(tmp_path, amqtt_command)
    else:
        if MOSQUITTO is None:
            pytest.skip("mosquitto is not installed")

        def command(port: int) -> list[str]:
            config = tmp_path / "mosquitto.conf"
            config.write_text(
                f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\npersistence false\n"
            )
            if os.geteuid() == 0:
                config.write_text(config.read_text() + "user root\n")
            return [MOSQUITTO, "-c", str(config)]

        made = Process(tmp_path, command)
    await made.start()
    yield made
    await made.stop()


async def connected(client: Transport) -> Transport:
    await client.start()
    await until(lambda: client.connected)
    return client


async def test_messages_arrive_where_a_filter_takes_them_in(broker) -> None:
    got: list[tuple[str, bytes]] = []
    ears, mouth = broker.client("ears"), broker.client("mouth")
    ears.subscribe("teg/v1/z/host/+/orders", lambda topic, payload: got.append((topic, payload)))
    await connected(ears)
    await connected(mouth)
    await asyncio.sleep(0.2)
    for payload in (b"1", b"x" * 60_000, b"3"):
        assert mouth.publish("teg/v1/z/host/n1/orders", payload)
    mouth.publish("teg/v1/z/host/n1/events", b"not this")
    await broker.settle(lambda: len(got) == 3)
    assert got == [("teg/v1/z/host/n1/orders", payload) for payload in (b"1", b"x" * 60_000, b"3")]
    await ears.stop()
    await mouth.stop()


async def test_what_is_retained_is_told_to_those_who_come_later(broker) -> None:
    got: list[bytes] = []
    mouth = await connected(broker.client("mouth"))
    mouth.publish("teg/v1/z/field", b"old", retain=True)
    mouth.publish("teg/v1/z/field", b"new", retain=True)
    await asyncio.sleep(0.3)
    ears = broker.client("ears")
    ears.subscribe("teg/v1/z/field", lambda _, payload: got.append(payload))
    await connected(ears)
    await broker.settle(lambda: b"new" in got)
    await ears.stop()
    await mouth.stop()


@pytest.mark.parametrize("ending", ["cut", "goodbye"])
async def test_a_will_speaks_for_the_dead_only(broker, ending) -> None:
    got: list[bytes] = []
    ears = broker.client("ears")
    ears.subscribe("teg/v1/z/host/n1/status", lambda _, payload: got.append(payload))
    await connected(ears)
    mortal = broker.client("mortal")
    mortal.will("teg/v1/z/host/n1/status", b"lost")
    await connected(mortal)
    await asyncio.sleep(0.2)
    if ending == "cut":
        await broker.cut(mortal)
        await broker.settle(lambda: got == [b"lost"])
    else:
        await mortal.stop()
        await asyncio.sleep(0.5)
        assert got == []
    await ears.stop()


async def test_a_broker_that_died_is_found_again(broker) -> None:
    got: list[bytes] = []
    presence: list[bool] = []
    ears, mouth = broker.client("ears"), broker.client("mouth")
    ears.subscribe("teg/v1/z/beat", lambda _, payload: got.append(payload))
    ears.on_presence(presence.append)
    await connected(ears)
    await connected(mouth)
    await broker.kill()
    await until(lambda: not ears.connected and not mouth.connected)
    mouth.publish("teg/v1/z/beat", b"waits")
    await broker.start()
    await until(lambda: ears.connected and mouth.connected)
    await asyncio.sleep(0.3)
    mouth.publish("teg/v1/z/beat", b"after")
    await broker.settle(lambda: b"after" in got)
    assert presence[:3] == [True, False, True]
    await ears.stop()
    await mouth.stop()


async def test_what_is_said_as_the_broker_comes_goes_behind_what_waited(broker) -> None:
    got: list[bytes] = []
    ears, mouth = broker.client("ears"), broker.client("mouth")
    ears.subscribe("teg/v1/z/beat", lambda _, payload: got.append(payload))
    await connected(ears)
    await asyncio.sleep(0.2)
    mouth.on_presence(lambda up: mouth.publish("teg/v1/z/beat", b"here") if up else None)
    mouth.publish("teg/v1/z/beat", b"waited")
    await connected(mouth)
    await broker.settle(lambda: b"here" in got)
    assert got == [b"waited", b"here"]
    await ears.stop()
    await mouth.stop()


async def test_what_waits_is_bounded_and_what_is_dropped_is_counted(broker) -> None:
    mouth = await connected(broker.client("mouth"))
    await broker.kill()
    await until(lambda: not mouth.connected)
    kept = [mouth.publish("teg/v1/z/beat", b"x") for _ in range(QUEUE_MESSAGES_MAX + 5)]
    assert kept.count(False) == mouth.dropped == 5
    await mouth.stop()


@pytest.mark.parametrize("url", ["localhost:1883", "http://a", "mqtt://", "mqtt://a:x", "mqtt://a/b"])
def test_an_address_that_is_none_is_refused(url) -> None:
    with pytest.raises(ConfigError, match="no address of a broker"):
        parse_broker(url)


def test_an_address_is_read_whole() -> None:
    assert parse_broker("mqtt://h") == BrokerAddress("h", 1883)
    assert parse_broker("mqtts://u:p%40@h:99") == BrokerAddress("h", 99, True, "u", "p@")
