"""Who fails again and again asks ever less often, and not all at once; who lasts begins anew."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegcore.backoff import Backoff
from tegio import mqtt
from tegio.mqtt import BrokerAddress, MqttTransport


@given(st.integers(0, 2**32), st.lists(st.floats(0, 9.9), min_size=12, max_size=12))
def test_pauses_double_up_to_a_bound_while_nothing_lasts(seed: int, lasted_s: list[float]) -> None:
    backoff = Backoff(0.1, 5.0, 10.0, seed)
    pauses = [backoff.pause(lasted) for lasted in lasted_s]
    for place, pause in enumerate(pauses):
        assert min(5.0, 0.1 * 2**place) / 2 <= pause <= min(5.0, 0.1 * 2**place)
    assert backoff.failures == len(pauses)
    assert backoff.pause(10.0) <= 0.1
    assert backoff.failures == 1


def test_those_that_fail_together_do_not_come_back_together() -> None:
    pauses = sorted(Backoff(1.0, 1.0, 10.0, seed).pause() for seed in range(100))
    assert max(later - before for before, later in pairwise(pauses)) < 0.1


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
