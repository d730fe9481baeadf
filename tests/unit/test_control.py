"""Control sockets: real sockets, the kernel's word for who asks, and bounds on what is said."""

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tegcore.errors import PermissionDeniedError, RefusedError, UnavailableError
from tegcore.wire import control
from tegio.control import CONTROL_BYTES_MAX, ControlClient, ControlServer, Peer
from tegio.users import demand_operator, is_operator, own_tenant, tenant_for


async def answer(peer: Peer, request: control.AnyRequest) -> control.Reply | AsyncIterator[control.Reply]:
    match request:
        case control.Logs():
            return parts()
        case control.Why():
            raise RefusedError("there is no such workload", "look again")
        case control.Host():
            raise RuntimeError("a fault")
        case _:
            return control.Reply(data={"uid": peer.uid, "pid": peer.pid})


async def parts() -> AsyncIterator[control.Reply]:
    for number in range(3):
        yield control.Reply(data=number, more=number < 2)


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    server = ControlServer(tmp_path / "a.sock", answer)
    await server.start()
    yield tmp_path / "a.sock"
    await server.stop()


async def test_the_kernel_says_who_asks(path: Path) -> None:
    reply = await asyncio.to_thread(ControlClient(path, "a").ask, control.Accounts())
    assert reply.data == {"uid": os.geteuid(), "pid": os.getpid()}


async def test_answers_come_one_or_many(path: Path) -> None:
    replies = await asyncio.to_thread(lambda: list(ControlClient(path, "a").stream(control.Logs(name="x"))))
    assert [reply.data for reply in replies] == [0, 1, 2]


async def test_refusals_and_faults_are_answers(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    client = ControlClient(path, "a")
    refused = await asyncio.to_thread(client.ask, control.Why(name="x"))
    assert (refused.ok, refused.message, refused.hint) == (False, "there is no such workload", "look again")
    fault = await asyncio.to_thread(client.ask, control.Host())
    assert (fault.ok, fault.reason) == (False, "FAULT")
    assert (await asyncio.to_thread(client.ask, control.Accounts())).ok


RAW = {
    "noise": b"\xc1\xc1\xc1",
    "no verb": msgspec.msgpack.encode({"v": 1}),
    "an unknown verb": msgspec.msgpack.encode({"v": 1, "verb": "fly"}),
    "an unknown field": msgspec.msgpack.encode({"v": 1, "verb": "leases", "more": 1}),
    "another version": msgspec.msgpack.encode({"v": 9, "verb": "leases"}),
    "a wrong type": msgspec.msgpack.encode({"v": 1, "verb": "why", "name": 5}),
}


@pytest.mark.parametrize("kind", RAW)
async def test_what_is_no_request_is_refused(path: Path, kind: str) -> None:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(struct.pack("<I", len(RAW[kind])) + RAW[kind])
    (length,) = struct.unpack("<I", await reader.readexactly(4))
    reply = control.decode_reply(await reader.readexactly(length))
    assert (reply.ok, reply.reason) == (False, "DecodeError")
    writer.close()


async def test_a_request_beyond_the_bound_ends_the_conversation(path: Path) -> None:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(struct.pack("<I", CONTROL_BYTES_MAX + 1))
    (length,) = struct.unpack("<I", await reader.readexactly(4))
    assert "bytes" in control.decode_reply(await reader.readexactly(length)).message
    assert await reader.read() == b""
    writer.close()


async def test_a_dead_socket_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "b.sock"
    left_over = socket.socket(socket.AF_UNIX)
    left_over.bind(str(path))
    left_over.close()
    server = ControlServer(path, answer)
    await server.start()
    with pytest.raises(UnavailableError, match="in use"):
        await ControlServer(path, answer).start()
    await server.stop()
    assert not path.exists()


def test_nobody_there_says_what_to_try(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="is not running") as error:
        ControlClient(tmp_path / "none.sock", "zone-ledger").ask(control.Leases())
    assert "tegctl up" in error.value.hint


def test_users_are_tenants_and_nobody_is_another() -> None:
    tenants = {"ada": (5001, 5002)}
    assert own_tenant(5002, tenants) == "ada"
    assert own_tenant(54321, tenants) == "u54321"
    assert tenant_for(5001, "", tenants, ()) == "ada"
    assert tenant_for(0, "bob", tenants, ()) == "bob"
    with pytest.raises(PermissionDeniedError, match="not 'bob'"):
        tenant_for(5001, "bob", tenants, ())
    assert tenant_for(5001, "bob", tenants, (5001,)) == "bob"


def test_operators_are_root_the_programs_user_and_those_named() -> None:
    assert is_operator(0, ())
    assert is_operator(os.geteuid(), ())
    assert not is_operator(5001, ())
    demand_operator(5001, (5001,))
    with pytest.raises(PermissionDeniedError):
        demand_operator(5001, ())
