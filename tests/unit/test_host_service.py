"""The agent side's loop on a real store and real files, beside an airlock side that says what it is told to say."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tegcore.clock import VirtualClock
from tegcore.errors import JournalError, RefusedError, UnavailableError
from tegcore.wire import control, peer
from tegcore.wire.messages import SCHEMA, Beat, Party, Peers
from tegcore.wire.peer import Chunk, Report
from tegcore.wire.records import Market, Reason
from tegcore.wire.signing import Key, Keyring
from tegd.adapters import bundles, courier
from tegd.adapters.bundles import BundleError, Gathering
from tegd.adapters.places import Places
from tegd.adapters.store import Store
from tegd.agent import AgentSide, Place
from tegd.airlock.adapters import logs as output
from tegd.airlock.adapters.logs import cut
from tegd.effects import Drop, Forget, Keep, Start
from tegd.modes import Mode
from tegd.roster import ENDED_KEPT_MAX
from tegd.service import HostService
from tegd.settings import HostSettings
from tegd.workload import Life, Workload
from tegio.control import Peer
from tegio.memory import MemoryBroker

ME = Peer(os.getuid(), os.getgid(), os.getpid())
SPEC = control.WorkloadSpec(argv=("true",), tenant="ada")


class Side:
    """In the place of the airlock side."""

    def __init__(self) -> None:
        self.connected = True
        self.calls: list[str] = []
        self.answers: dict[str, Callable[[], Any]] = {}

    async def call(self, verb: str, **fields: Any) -> dict[str, Any]:
        self.calls.append(verb)
        if verb in self.answers:
            return self.answers[verb]()
        state = {"state": "running", "cause": "", "exit_code": None, "saved_ns": 0, "problem": ""}
        pages = {"hello": {}, "list": {"workloads": [], "more": False}}
        return pages.get(verb, {"workload": fields.get("workload", ""), **state})


class Host:
    def __init__(self, folder: Path) -> None:
        key = Key(b"k" * 32)
        settings = HostSettings(
            host="h", peer_listen="127.0.0.1:0", tokens={"ada": 1}, tenants={"ada": (os.getuid(),)}, cpu_milli=1000
        )
        self.side, self.store, self.folder = Side(), Store(folder / "work.sqlite"), folder
        transport = MemoryBroker().transport()
        ring = Keyring(key, None, lambda _: key)
        self.service = HostService(
            settings,
            ring,
            key,
            transport,
            self.side,
            self.store,
            VirtualClock(10),
            folder,  # type: ignore[arg-type]
        )
        self.node = self.service.node

    async def submit(self, key: int = 1, **request: Any) -> dict[str, Any]:
        reply = await self.service.answer(ME, control.Submit(SPEC, key, **request))
        assert isinstance(reply, control.Reply)
        return reply.data

    async def seated(self, **request: Any) -> Workload:
        work = self.node.workloads[(await self.submit(**request))["ref"]]
        work.lease, work.token, work.life = 7, 8, Life.SEATED
        return work

    async def settled(self) -> None:
        while self.service._tasks:
            await asyncio.gather(*self.service._tasks, return_exceptions=True)


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    made = Host(tmp_path)
    yield made
    made.store.close()


# --- starts -----------------------------------------------------------------------------------------------------------


async def test_input_files_are_laid_out_once_and_that_is_on_disk_before_the_start(host: Host) -> None:
    work = await host.seated(files={"in": b"given"})
    laid = host.service._places.folder(work) / "in"
    seen: list[tuple[bytes, bool]] = []

    def started() -> dict[str, Any]:
        seen.append((laid.read_bytes(), host.store.load()[0].ran))
        raise UnavailableError("gone meanwhile")

    host.side.answers["start"] = started
    host.service._carry_out([Start(work), Start(work)])
    await host.settled()
    assert seen == [(b"given", True)]
    laid.write_bytes(b"its own by now")
    host.service._carry_out([Start(work)])
    await host.settled()
    assert seen[1:] == [(b"its own by now", True)]


async def test_work_whose_files_cannot_be_laid_out_ends_and_says_why(host: Host) -> None:
    """It was seated, and paid, for ever."""
    work = await host.seated(files={"in": b"given"})
    host.service._places.folder(work).parent.mkdir(exist_ok=True)
    host.service._places.folder(work).write_text("a file where its folder is to be")
    host.service._carry_out([Start(work)])
    await host.settled()
    assert "start" not in host.side.calls
    assert (work.life, work.exit_code) == (Life.LEAVING, 126)
    assert "cannot be executed" in work.outcome


# --- the store --------------------------------------------------------------------------------------------------------


async def test_a_store_that_fails_stops_the_program_whoever_asked(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    work = await host.seated()
    broken = JournalError("no room", "make some")

    def keep(*_: object) -> None:
        raise broken

    monkeypatch.setattr(host.store, "keep", keep)
    with pytest.raises(JournalError):
        host.service._carry_out([Start(work), Keep(work)])
    await host.settled()
    assert host.service._fault is broken
    assert "start" not in host.side.calls, "what is not on disk is not done"
    monkeypatch.setattr(host.service, "_end", _nothing)
    monkeypatch.setattr(host.side, "start", _nothing, raising=False)
    monkeypatch.setattr(host.side, "on_event", lambda _: None, raising=False)
    with pytest.raises(JournalError, match="no room"):
        await host.service.run()


async def _nothing() -> None:
    pass


async def test_a_fault_of_ours_in_the_background_is_not_passed_over(host: Host) -> None:
    async def broken() -> None:
        raise KeyError("an invariant")

    host.service._later(broken())
    await host.settled()
    assert isinstance(host.service._fault, KeyError)


def test_a_row_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "s")) as store:
        store._db.execute("INSERT INTO workloads VALUES (5, 0, 0, 0, ?)", (b"\x81garbage",))
        with pytest.raises(JournalError, match="workload 5"):
            store.load()


def test_who_is_dropped_is_not_read_again_and_its_number_not_given_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    works = [Workload.accepted(ref, "ada", (0, 0), ref, SPEC) for ref in (1, 2)]
    store.keep(*works)
    store.drop(1)
    store.drop(2)
    assert [work.ref for work in store.load()] == [2]
    assert store.next_ref() == 3
    store.close()


# --- submissions ------------------------------------------------------------------------------------------------------


async def test_the_same_submission_twice_at_once_is_one(host: Host) -> None:
    first, second = await asyncio.gather(*(host.submit(files={"in": b"x"}) for _ in range(2)))
    assert first == second
    assert len(host.node.workloads) == len(host.store.load()) == 1


async def test_a_crash_in_a_submission_is_not_in_the_way_of_the_next(host: Host) -> None:
    """It left the files of a number that was given to nobody."""
    ref = host.store.next_ref()
    place = host.folder / "shelf" / str(ref) / "files"
    place.mkdir(parents=True)
    (place / "old").touch()
    (host.folder / "shelf" / ".ticket").mkdir()
    host.service._places.sweep(set())
    assert list((host.folder / "shelf").iterdir()) == []
    assert (await host.submit(files={"in": b"x"}))["ref"] == ref
    host.service._places.sweep({ref})
    assert (place / "in").exists()


async def test_input_files_without_room_are_refused_and_leave_nothing(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RefusedError, match="No space"):
        await host.submit(files={"in": b"x"})
    assert list((host.folder / "shelf").iterdir()) == []


# --- the airlock side -------------------------------------------------------------------------------------------------


async def test_an_airlock_side_that_is_busy_is_greeted_until_it_answers(host: Host) -> None:
    def busy() -> dict[str, Any]:
        if host.side.calls.count("hello") < 3:
            raise UnavailableError("no answer to hello in 20 s")
        return {}

    host.side.answers["hello"] = busy
    host.service._on_airlock({"event": "reconnected"})
    await host.settled()
    assert host.side.calls == ["hello", "hello", "hello", "list"]


def side() -> AgentSide:
    return AgentSide(Place("h", 0, 3, 0, 16_000, 1 << 36), 1, 1, {}, 0)


def test_units_that_others_started_are_nobody_here() -> None:
    agent = side()
    for name in ("web.service", "5.service", "²", "1", "x.1"):
        entry = {"workload": name, "state": "ended", "cause": "", "exit_code": 0, "saved_ns": 0, "problem": ""}
        assert agent.changed(entry, 1) == []
        assert agent.met([entry], 1) == []
    assert agent.node.runs == {}
    entry["workload"] = "5.7"
    assert agent.changed(entry, 1) == [Forget("5.7")]


def test_work_is_told_its_slots_of_this_host_under_every_name_that_is_set() -> None:
    agent = AgentSide(Place("h", -1, 3, 0, 16_000, 1 << 36), 1, 1, {}, 0, ("CUDA_VISIBLE_DEVICES",))
    work = Workload.accepted(1, "ada", (0, 0), 1, SPEC)
    work.base, work.blocks = 64, ((70, 1), (65, 0), (32, 3))
    assert agent.told(work) == {"TEG_SLOTS": "1,6,7", "CUDA_VISIBLE_DEVICES": "1,6,7"}
    work.blocks = ((0, 8),)
    assert agent.told(work)["TEG_SLOTS"] == "0,1,2,3,4,5,6,7", "a block over several hosts: all of this one"
    assert side().told(work).keys() == {"TEG_SLOTS"}


def test_who_is_about_to_end_takes_in_no_message() -> None:
    agent = side()
    agent.ready()
    agent.goodbye(stopping=True)
    assert agent.heard(Beat(SCHEMA, "z", 5, 5, Market.AUCTION, 0, 0), 1) == []
    assert (agent.node.mode, agent.node.tick) == (Mode.SAFE, 0)


# --- what is over -----------------------------------------------------------------------------------------------------


def test_of_those_that_are_over_the_latest_are_kept() -> None:
    agent = side()
    works = [Workload.accepted(ref, "ada", (0, 0), ref, SPEC) for ref in range(1, ENDED_KEPT_MAX + 11)]
    agent.loaded(works)
    for work in works[1:]:
        work.life = Life.ENDED
    agent.travel._failed("home", 3)
    agent.travel._since[3, "save", 9] = 1
    agent.travel._reported[3] = (1, True)
    dropped = [effect.workload.ref for effect in agent.node._drop_old() if isinstance(effect, Drop)]
    assert dropped == list(range(2, 11))
    assert agent.node.workloads.keys() == agent.node.agents.keys() == {1, *range(11, ENDED_KEPT_MAX + 11)}
    assert (agent.travel._errands, agent.travel._since, agent.travel._reported) == ({}, {}, {})


async def test_what_is_dropped_leaves_no_output_and_nothing_that_travels(host: Host) -> None:
    work = await host.seated(files={"in": b"x"})
    for folder in (host.service._places.folder(work), host.service._places.logs(work.ref)):
        folder.mkdir(parents=True)
    await host.submit(key=2)
    host.service._carry_out([Drop(work)])
    await host.settled()
    assert [other.ref for other in host.store.load()] == [work.ref + 1]
    assert not host.service._places.shelf(work).exists()
    assert not host.service._places.logs(work.ref).exists()
    assert host.service._places.folder(work).exists(), "what it wrote is its owner's"


def test_of_who_is_dropped_nothing_is_asked_again() -> None:
    agent = side()
    agent.travel.copied(5, peer.Source(1, 1, 0, "other"), "it is gone")
    agent.travel.dropped(5, "other", 0, 1, ok=False)
    assert agent.travel._errands == {}


def test_who_shares_a_lease_that_is_over_is_not_remembered() -> None:
    agent = side()
    party = peer_party(lease=5)
    agent.travel.peers_told(party)
    assert agent.travel.parties == {}
    agent.travel.grants[5] = object()
    agent.travel._ask_party(5)
    agent.travel.peers_told(party)
    assert list(agent.travel.parties) == [5]
    agent.travel._ask_party(5)
    agent.travel.lease_over(5, Reason.EXPIRED, 1)
    assert (agent.travel.parties, agent.travel._errands) == ({}, {})


def peer_party(lease: int) -> Any:
    return Peers(SCHEMA, "h", 1, [Party(lease, 3, "home", ["h", "other"], [8, 4])], [])


def test_a_part_has_as_many_slots_as_the_ledger_says() -> None:
    """What it may hold of memory follows from them."""
    agent = side()
    agent.travel.parties[5] = peer_party(5).parties[0]
    agent.travel.grants[5] = type("Grant", (), {"token": 3})()
    agent.node.zone = object()  # type: ignore[assignment]

    def brief(slots: int) -> peer.Brief:
        return peer.Brief(1, 5, 3, 0, ["h", "other"], slots, "w", "ada", "root", 5, "t", SPEC)

    assert agent.travel.refusal("home", brief(8)) is None
    refused = agent.travel.refusal("home", brief(8000))
    assert refused is not None
    assert refused.reason == peer.STALE_TOKEN


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """What was made durable, by the name that it had then."""
    real, found = os.fsync, set[Path]()

    def fsync(descriptor: int) -> None:
        found.add(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return found


@pytest.mark.parametrize("linked", [True, False])
def test_a_checkpoint_is_durable_with_every_name_in_it_before_it_counts(
    tmp_path: Path, synced: set[Path], monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    source = tmp_path / "checkpoint"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "part").write_text("state")
    if not linked:
        monkeypatch.setattr(os, "link", _no_links)
    bundles.keep(tmp_path / "shelf" / "7.1.0", source, os.getuid())
    fresh = tmp_path / "shelf" / ".7.1.0"
    files = fresh / "files"
    whole = {files, files / "checkpoint", files / "checkpoint/deep", files / "checkpoint/deep/part"}
    assert synced >= whole | {fresh, fresh / bundles.LISTING, tmp_path / "shelf"}


def _no_links(*_: object, **__: object) -> None:
    raise OSError("another disk")


def test_output_is_durable_before_the_airlock_side_forgets_it(tmp_path: Path, synced: set[Path]) -> None:
    run = tmp_path / "airlock/workloads/5.7"
    run.mkdir(parents=True)
    (run / "log").write_text("said")
    places = Places(tmp_path)
    places.keep_log("5.7")
    assert (tmp_path / "logs/5/log.7").read_text() == "said"
    assert synced == {tmp_path / "logs/5/.log.7", tmp_path / "logs/5"}


async def test_output_of_one_tenant_is_held_to_its_share_of_the_host(host: Host) -> None:
    """What the airlock side has, it is asked to cut; what is kept here is cut here; the small are left alone."""
    host.service._settings = msgspec.structs.replace(host.service._settings, tenant_log_bytes=1 << 20)
    host.service._desk._settings = host.service._settings
    works = [await host.seated(key=1), await host.seated(key=2)]
    logs = [host.folder / "airlock/workloads" / work.airlock_id / "log" for work in works]
    logs += [host.service._places.logs(works[0].ref) / name for name in ("log.6", "log-1.6")]
    for log, size in zip(logs, (900_000, 100_000, 800_000, 700_000), strict=True):
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"line\n" * (size // 5))
    asked: list[dict[str, Any]] = []
    call = host.side.call

    async def heard(verb: str, **fields: Any) -> dict[str, Any]:
        asked.extend([fields] * (verb == "bound_log"))
        return await call(verb, **fields)

    host.side.call = heard  # type: ignore[method-assign]
    await host.service._bound_logs()
    [bound] = asked
    assert (bound["workload"], bound["token"]) == (works[0].airlock_id, 8)
    assert [output.kept(log).first > 0 for log in logs] == [False, False, True, True]
    cut(logs[0], bound["bytes"])
    assert sum(output.end(log) - output.kept(log).first for log in logs) <= 1 << 20
    told = (await host.service.answer(ME, control.Why(name=str(works[0].ref)))).data["log"]  # type: ignore[union-attr]
    assert (told["lines"] * 5, told["keeps"], told["share"]) == (output.kept(logs[0]).first, bound["bytes"], 1 << 20)
    await host.service._bound_logs()
    assert asked == [bound], "it was said"


def test_output_is_read_from_its_runs_and_nothing_else(tmp_path: Path) -> None:
    for name in ("5.7", "5.service", "5.x"):
        (tmp_path / "airlock/workloads" / name).mkdir(parents=True)
        (tmp_path / "airlock/workloads" / name / "log").write_text(name)
    places = Places(tmp_path)
    assert [places.read_log(5, offset).data for offset in (0, -4, 3)] == [b"5.7", b"5.7", b""]


def test_a_bundle_that_has_no_room_here_is_refused_before_it_fills_the_disk(tmp_path: Path) -> None:
    place = tmp_path / "7.1.0"
    Gathering(place, [peer.File("a", 4, b"d" * 32)]).put(peer.File("a", 4, b"d" * 32), 0, b"abcd")
    with pytest.raises(BundleError, match="MiB"):
        Gathering(place, [peer.File("a", 1 << 60, b"d" * 32)])
    Gathering(place, [peer.File("b", 4, b"d" * 32)])
    assert not (tmp_path / ".7.1.0/files/a").exists(), "what the listing does not name is none of the bundle's"


# --- other hosts ------------------------------------------------------------------------------------------------------


class Talker:
    """In the place of a link to a seat: answers each question."""

    def __init__(self, answer: Callable[[Any], Awaitable[Any]]) -> None:
        self.ask = answer

    async def __aenter__(self) -> "Talker":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


def over(work: Workload, rank: int = 0, token: int = 8) -> Report:
    return Report(work.ref, 7, token, rank, 0, over=True, ran=True, done=True, exit_code=0)


async def test_output_of_a_part_comes_once_from_its_seat_alone_and_not_without_end(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = await host.seated()
    work.seats = ["seat"]
    asked = asyncio.Event()
    go = asyncio.Event()
    data = b"x" * 1000

    async def endless(_: Any) -> Chunk:
        asked.set()
        await go.wait()
        return Chunk(data, peer.chunk_digest(data))

    carrier = host.service._courier
    monkeypatch.setattr(carrier, "_link", lambda _: Talker(endless))
    monkeypatch.setattr(courier, "LOG_BYTES_MAX", 5000)
    for sender, report in (("other", over(work)), ("seat", over(work, rank=-1)), ("seat", over(work, token=3))):
        await carrier._take_log(sender, report)
    assert not asked.is_set()
    first = asyncio.create_task(carrier._take_log("seat", over(work)))
    await asked.wait()
    with pytest.raises(BundleError, match="on its way"):
        await carrier._take_log("seat", over(work))
    go.set()
    await first
    kept = host.service._places.logs(work.ref) / "log.8"
    assert kept.stat().st_size == 5000


def test_work_that_was_taken_for_done_learns_its_exit_code_late() -> None:
    agent = side()
    work = Workload.accepted(5, "ada", (0, 0), 1, SPEC)
    agent.loaded([work])
    work.life, work.last_token, work.seats, work.lease_why = Life.ENDED, 8, ["seat"], Reason.DONE
    report = Report(5, 7, 8, 0, 0, over=True, ran=True, done=True, exit_code=3)
    for sender, said in (("other", report), ("seat", msgspec.structs.replace(report, token=7))):
        agent.travel.reported(sender, said, 1)
        assert work.exit_code is None
    work.cancelled, work.outcome = True, "cancelled"
    agent.travel.reported("seat", report, 1)
    assert (work.exit_code, work.outcome) == (None, "cancelled")
    work.cancelled = False
    agent.travel.reported("seat", report, 1)
    assert (work.exit_code, work.outcome) == (3, "exit code 3")


def test_a_host_that_is_heard_again_asks_at_once_for_what_failed_while_it_was_cut_off() -> None:
    agent = side()
    node = agent.node
    agent.travel._due("home", 5)
    for _ in range(9):
        agent.travel._failed("home", 5)
    node.mode = Mode.RUN
    node.beaten(1, Market.AUCTION, 1)
    assert not agent.travel._due("home", 5)
    node.mode = Mode.LIMP
    node.beaten(2, Market.AUCTION, 1)
    assert agent.travel._due("home", 5)
