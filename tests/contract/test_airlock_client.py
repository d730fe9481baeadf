"""The agent side's client against a real airlock: calls, refusals, events, and a connection that comes back."""

import asyncio
import os
import select
import socket
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tegcore.errors import RefusedError, UnavailableError
from tegd.adapters import airlock_client
from tegd.adapters.airlock_client import AirlockClient, AirlockRefusedError
from tegd.airlock import protocol
from tegd.airlock.adapters.folders import Folders
from tegd.airlock.adapters.server import Server

PATIENCE_S = 10.0


class Side:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "s"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        arguments = ("--state-dir", str(self.folder / "airlock"), "--socket", str(self.socket))
        self.process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tegd.airlock", *arguments)

    async def end(self) -> None:
        self.process.kill()
        await self.process.wait()


@pytest.fixture
async def side(tmp_path: Path) -> AsyncIterator[Side]:
    made = Side(tmp_path)
    await made.start()
    yield made
    await made.end()


@pytest.fixture
async def client(side: Side) -> AsyncIterator[AirlockClient]:
    made = AirlockClient(side.socket)
    await made.start()
    yield made
    await made.stop()


def what(name: str, *argv: str) -> dict[str, Any]:
    return {
        "workload": name,
        "lease": 1,
        "token": 1,
        "argv": list(argv),
        "env": {"PATH": os.environ["PATH"]},
        "cwd": "/",
        "uid": os.getuid(),
        "gid": os.getgid(),
        "hook": None,
        "term_end_ns": 0,
        "notice_ns": 0,
        "rank": 0,
        "save_ns": 0,
        "grace_ns": 0,
        "resume": False,
    }


async def test_calls_are_answered_with_what_they_give_alone(client: AirlockClient) -> None:
    assert not {"v", "id", "ok"} & set(await client.call("hello"))
    started = await client.call("start", **what("a", "sleep", "0.1"))
    assert started["state"] == "running"


async def test_a_refusal_is_an_error_with_its_reason(client: AirlockClient) -> None:
    with pytest.raises(AirlockRefusedError, match="no workload") as refused:
        await client.call("thaw", workload="nobody", token=1)
    assert refused.value.reason == "unknown_workload"
    assert isinstance(refused.value, RefusedError)


async def test_what_no_packet_holds_is_refused_before_it_is_sent(client: AirlockClient) -> None:
    with pytest.raises(AirlockRefusedError) as refused:
        await client.call("start", **what("a", "echo", "x" * (65 << 10)))
    assert refused.value.reason == "too_large"
    assert (await client.call("list", after=""))["workloads"] == []


async def test_events_come_in_order(client: AirlockClient) -> None:
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    client.on_event(told.put_nowait)
    await client.call("start", **what("a", "true"))
    async with asyncio.timeout(PATIENCE_S):
        assert [(await told.get())["event"] for _ in range(2)] == ["started", "exited"]


async def test_many_calls_at_once_get_each_its_own_answer(client: AirlockClient) -> None:
    names = [f"w{number}" for number in range(40)]
    answers = await asyncio.gather(*(client.call("start", **what(name, "true")) for name in names))
    assert [answer["workload"] for answer in answers] == names
    assert len((await client.call("list", after=""))["workloads"]) == 40


async def test_thousands_of_calls_at_once_do_not_cost_the_connection(client: AirlockClient) -> None:
    """The airlock side lets go of who does not read its answers: what is asked is not more than can be read."""
    told: list[dict[str, Any]] = []
    client.on_event(told.append)
    answers = await asyncio.gather(*(client.call("hello") for _ in range(3000)))
    assert len(answers) == 3000
    assert not told, "the connection is the same"


async def test_no_call_is_lost_to_an_airlock_that_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit into the socket's buffer waits, all of it: the airlock side reads none while it starts work."""
    monkeypatch.setattr(airlock_client, "CALL_S_MAX", 3.0)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(tmp_path / "s"))
    listener.listen(1)
    met, go_on = threading.Event(), threading.Event()

    def answer_late() -> None:
        link, _ = listener.accept()
        met.set()
        go_on.wait(PATIENCE_S)
        for _ in range(200):
            request = protocol.decode(link.recv(protocol.PACKET_BYTES_MAX))
            assert isinstance(request, protocol.Request)
            link.send(protocol.reply(request.number, {"workload": request.fields["workload"]}))
        link.close()

    thread = threading.Thread(target=answer_late)
    thread.start()
    client = AirlockClient(tmp_path / "s")
    await client.start()
    await asyncio.to_thread(met.wait, PATIENCE_S)
    names = [f"w{number}" for number in range(200)]
    calls = asyncio.gather(*(client.call("start", **what(name, "echo", "x" * 4000)) for name in names))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.2, go_on.set)
    assert [answer["workload"] for answer in await calls] == names
    await client.stop()
    thread.join(PATIENCE_S)
    listener.close()


async def test_all_pages_of_a_long_list_together_are_the_whole(client: AirlockClient) -> None:
    names = sorted(f"{number:03d}-{'x' * 60}" for number in range(120))
    for name in names:
        await client.call("start", **what(name, "/" + "y" * 200))
    found: list[str] = []
    more, pages = True, 0
    while more:
        page = await client.call("list", after=found[-1] if found else "")
        found += [entry["workload"] for entry in page["workloads"]]
        more, pages = page["more"], pages + 1
    assert found == names
    assert pages > 1


async def test_the_connection_comes_back_and_says_so(side: Side, client: AirlockClient) -> None:
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    client.on_event(told.put_nowait)
    await client.call("start", **what("a", "sleep", "60"))
    await told.get()
    await side.end()
    async with asyncio.timeout(PATIENCE_S):
        while client.connected:
            await asyncio.sleep(0.01)
    with pytest.raises(UnavailableError):
        await client.call("hello")
    await side.start()
    async with asyncio.timeout(PATIENCE_S):
        assert await told.get() == {"event": "reconnected"}
    (entry,) = (await client.call("list", after=""))["workloads"]
    assert entry["state"] == "running"
    assert (await client.call("end", workload="a", token=1, grace_ns=0))["state"] in {"killing", "ended"}


async def test_nobody_there_is_an_error_that_names_the_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(airlock_client, "START_S_MAX", 0.2)
    with pytest.raises(UnavailableError, match="no-socket"):
        await AirlockClient(tmp_path / "no-socket").start()


class Opener:
    """The airlock's socket and its folders, on a thread: what `--folders` serves where there is a service manager."""

    def __init__(self, folder: Path) -> None:
        self.epoll, self.folders, self.stopping = select.epoll(), Folders(folder), False
        self.server = Server(folder / "s", frozenset({os.geteuid()}), self.epoll)
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        while not self.stopping:
            for descriptor, _ in self.epoll.poll(0.05):
                for client, packet in self.server.read(descriptor):
                    request = protocol.decode(packet)
                    opened = getattr(self.folders, request.verb)(**request.fields)
                    self.server.send(client, protocol.reply(request.number, {}), opened)
                    os.close(opened)

    def stop(self) -> None:
        self.stopping = True
        self.thread.join()
        self.server.close()
        self.epoll.close()


async def test_open_files_come_with_their_answers(tmp_path: Path) -> None:
    opener = Opener(tmp_path)
    client = AirlockClient(tmp_path / "s")
    try:
        await client.start()
        names = [f"n{number}" for number in range(8)]
        files = await asyncio.gather(*(client.open_given(7, name, executable=False) for name in names))
        for name, file in zip(names, files, strict=True):
            with os.fdopen(file, "w") as given:
                given.write(name)
        for name in names:
            with os.fdopen(await client.open_saved(7, name, os.getuid())) as saved:
                assert saved.read() == name
    finally:
        await client.stop()
        opener.stop()


class Garbler:
    """In the place of an airlock: what it says first cannot be read, what it says to the next connection can."""

    def __init__(self, folder: Path, first: bytes) -> None:
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(folder / "s"))
        self.listener.listen(4)
        self.listener.settimeout(PATIENCE_S)
        self.first = first
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        with self.listener.accept()[0] as link:
            link.send(self.first)
            link.recv(1)
        with self.listener.accept()[0] as link:
            request = protocol.decode(link.recv(protocol.PACKET_BYTES_MAX))
            link.send(protocol.reply(request.number, {"works": True}))
            link.recv(1)

    def stop(self) -> None:
        self.thread.join()
        self.listener.close()


TOO_LARGE = b'{"event": "' + b"x" * protocol.PACKET_BYTES_MAX + b'"}'


@pytest.mark.parametrize("first", [b"garbage", b"[1]", TOO_LARGE], ids=["garbage", "array", "too large"])
async def test_a_packet_that_cannot_be_read_ends_the_connection_and_not_the_client(
    tmp_path: Path, first: bytes
) -> None:
    garbler = Garbler(tmp_path, first)
    client = AirlockClient(tmp_path / "s")
    back = asyncio.Event()
    client.on_event(lambda told: back.set() if told["event"] == "reconnected" else None)
    try:
        await client.start()
        async with asyncio.timeout(PATIENCE_S):
            await back.wait()
            assert await client.call("hello") == {"works": True}
    finally:
        await client.stop()
        garbler.stop()
