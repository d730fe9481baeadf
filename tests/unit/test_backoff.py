"""Who fails again and again asks ever less often, and not all at once; who lasts begins anew."""

import asyncio

import pytest

from tegio import mqtt
from tegio.mqtt import BrokerAddress, MqttTransport


async def test_a_broker_that_greets_and_closes_is_asked_ever_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "PAUSE_S_MIN", 0.02)
    connections = 0

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read(1000)
        writer.write(b"\x20\x02\x00\x00")  # CONNACK: accepted
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    client = MqttTransport(BrokerAddress("127.0.0.1", server.sockets[0].getsockname()[1]), "n1")
    await client.start()
    await asyncio.sleep(1.2)
    await client.stop()
    server.close()
    assert 2 <= connections <= 9
