"""Control sockets: real sockets, the kernel's word for who asks, and bounds on what is said."""

import asyncio
import os
import re
import socket
import struct
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from shutil import rmtree
from types import SimpleNamespace

import msgspec
import pytest

from tegcore.errors import DecodeError, PermissionDeniedError, RefusedError, UnavailableError
from tegcore.tenancy import Users
from tegcore.wire import control
from tegd.adapters import desk
from tegd.adapters.places import Places
from tegd.workload import Life
from tegio.control import CONTROL_BYTES_MAX, ControlClient, ControlServer, Peer
from tegio.users import demand_operator, is_operator, own_tenants, tenant_for


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
    tenants = Users({"ada": (5001, 5002)})
    assert own_tenants(5002, tenants)[0] == "ada"
    assert own_tenants(54321, tenants) == ["u54321"]
    assert tenant_for(5001, "", tenants, ()) == "ada"
    assert tenant_for(0, "bob", tenants, ()) == "bob"
    with pytest.raises(PermissionDeniedError, match="not those of 'bob'"):
        tenant_for(5001, "bob", tenants, ())
    assert tenant_for(5001, "bob", tenants, (5001,)) == "bob"


def test_operators_are_root_the_programs_user_and_those_named() -> None:
    assert is_operator(0, ())
    assert is_operator(os.geteuid(), ())
    assert not is_operator(5001, ())
    demand_operator(5001, (5001,))
    with pytest.raises(PermissionDeniedError):
        demand_operator(5001, ())


async def test_who_follows_silent_work_is_not_taken_for_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work says nothing for longer than a client waits for an answer, then ends."""
    monkeypatch.setattr(desk, "LOG_POLL_S", 0.02)
    monkeypatch.setattr(desk, "LOG_ALIVE_S", 0.1)
    monkeypatch.setattr("tegio.control.ANSWER_S_MAX", 0.4)
    host = desk.Desk.__new__(desk.Desk)
    host._places = Places(tmp_path)
    work = SimpleNamespace(life=Life.SEATED, ref=1, exit_code=0, outcome="exit code 0", hook_failed="")
    server = ControlServer(tmp_path / "a.sock", lambda peer, request: _as_reply(host._log(work, 0, follow=True)))
    await server.start()
    asyncio.get_running_loop().call_later(1.0, setattr, work, "life", Life.ENDED)
    client = ControlClient(tmp_path / "a.sock", "tegd")
    replies = await asyncio.to_thread(lambda: list(client.stream(control.Logs(name="x", follow=True))))
    assert [reply.data["bytes"] for reply in replies] == [b""] * len(replies)
    assert (replies[-1].data["exit_code"], replies[-1].more) == (0, False)
    await server.stop()


async def _as_reply(replies: AsyncIterator[control.Reply]) -> AsyncIterator[control.Reply]:
    return replies


@pytest.mark.parametrize(
    ("request_", "fault"),
    [
        (control.MintCredits(tenant="ada", amount_ucr=-1, key=1), "Expected `int` >= 0"),
        (control.MintCredits(tenant="ada", amount_ucr=2**62 + 1, key=1), "Expected `int` <= 4611686018427387904"),
        (control.TopUpWorkload(name="w", amount_ucr=-1, key=1), "Expected `int` >= 0"),
        (control.CordonSlot(slot=-1, on=True, key=1), "Expected `int` >= 0"),
        (control.PinLease(lease=2**63, on=True, key=1), "Expected `int` <= 4611686018427387904"),
        (control.PinLease(lease=1, on=True, key=2**63), "Expected `int` <= 9223372036854775807"),
        (control.Submit(spec=control.WorkloadSpec(argv=("x",), sizes=(257,)), key=1), "Expected `int` <= 20"),
        (control.Submit(spec=control.WorkloadSpec(argv=("x",), slot_classes=(1 << 40,)), key=1), "Expected `int` <= 7"),
        (
            control.Submit(spec=control.WorkloadSpec(argv=("x",), limit_ucr=2**41), key=1),
            "Expected `int` <= 1099511627",
        ),
    ],
)
def test_a_number_outside_its_bounds_is_no_request(request_: control.AnyRequest, fault: str) -> None:
    with pytest.raises(DecodeError, match=re.escape(fault)):
        control.decode_request(msgspec.msgpack.encode(request_))


def test_a_log_is_read_whole_while_it_moves_to_what_is_kept(tmp_path: Path) -> None:
    """The run is over: its log is copied, and the airlock side's is taken away, while someone reads."""
    places = Places(tmp_path)
    for ref in range(200):
        log = places._run_log(f"{ref}.7")
        log.parent.mkdir(parents=True)
        log.write_bytes(b"output")
        moves = threading.Thread(target=_end_run, args=(places, f"{ref}.7"))
        moves.start()
        while moves.is_alive():
            assert places.read_log(ref, 0).data == b"output"
        assert places.read_log(ref, 3).data == b"put"


def _end_run(places: Places, run: str) -> None:
    places.keep_log(run)
    rmtree(places._run_log(run).parent)
