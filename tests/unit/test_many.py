"""Thousands on one host: lists are read to their last page, messages stay in their bounds, the door has its own."""

import asyncio
import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tegcore.errors import RefusedError
from tegcore.units import TICK_NS
from tegcore.wire import control
from tegcore.wire.codec import encode
from tegcore.wire.messages import SCHEMA, Welcome
from tegcore.wire.records import Market, Region, Woken
from tegcore.wire.signing import Key
from tegcore.wire.topics import Topic
from tegctl import stack as stacks
from tegd import submission
from tegd.agent import AgentSide, Place
from tegd.airlock import protocol
from tegd.airlock import service as airlock_service
from tegd.airlock.adapters.journal import COMPACT_BYTES, Journal
from tegd.airlock.model import Spec, Status
from tegd.airlock.model import Workload as Run
from tegd.airlock.transitions import State
from tegd.modes import Mode
from tegd.stays import PARTS_MAX
from tegd.workload import Life, Workload
from tegio.control import CONTROL_BYTES_MAX, ControlClient, ControlServer, Peer

SPEC = control.WorkloadSpec(argv=("true",), limit_ucr=1000, endow_ucr=10_000)


def works(count: int, life: Life = Life.SEEKING, first: int = 1) -> list[Workload]:
    made = []
    for ref in range(first, first + count):
        work = Workload.accepted(ref, "ada", (0, 0), ref, SPEC)
        work.life = life
        made.append(work)
    return made


async def test_a_list_that_is_larger_than_an_answer_comes_whole(tmp_path: Path) -> None:
    rows = [{"name": f"w{number}", "text": "x" * 500} for number in range(11_000)]

    async def answer(peer: Peer, request: control.AnyRequest) -> control.Reply:
        return control.Reply(data=rows if isinstance(request, control.Workloads) else ["a"])

    server = ControlServer(tmp_path / "s", answer)
    await server.start()
    client = ControlClient(tmp_path / "s", "tegd")
    assert len(json.dumps(rows)) > CONTROL_BYTES_MAX
    assert (await asyncio.to_thread(client.ask, control.Workloads())).data == rows
    assert (await asyncio.to_thread(client.ask, control.Leases())).data == ["a"]
    await server.stop()


def test_ten_thousand_wait_and_a_thousand_run_and_what_is_more_is_refused_at_the_door() -> None:
    assert submission.WAITING_MAX >= 10_000
    assert submission.RUNNING_MAX >= 1000
    assert airlock_service.WORKLOADS_MAX >= submission.RUNNING_MAX + PARTS_MAX
    full = works(submission.WAITING_MAX + submission.RUNNING_MAX - 1)
    submission.check(SPEC, "ada", {"ada"}, full)
    full += works(1, first=len(full) + 1)
    with pytest.raises(RefusedError, match=f"ada has {len(full)} jobs pending or running on this host") as error:
        submission.check(SPEC, "ada", {"ada"}, full)
    assert error.value.hint


def test_a_tenant_that_submits_without_end_leaves_room_for_every_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "WORKLOADS_MAX", 600)
    held: list[Workload] = []

    def takes_all(tenant: str) -> str:
        for count in range(submission.WORKLOADS_MAX):
            try:
                submission.check(SPEC, tenant, {tenant}, held)
            except RefusedError as error:
                return f"{count > 0} {error}"
            held.extend(works(1, first=len(held) + 1))
            held[-1].tenant = tenant
        return "never refused"

    for tenant in ("ada", "bob", "eve"):
        assert takes_all(tenant).startswith(f"True {tenant} has")


def side_of(full: list[Workload]) -> AgentSide:
    side = AgentSide(Place("n1", 0, 11, 0, 4000, 1 << 33), 1, 0, {"ada": 1}, 0)
    side.loaded(full)
    side.ready()
    side.node.welcomed(Welcome(SCHEMA, "n1", 1, 1, 0, 11, 6, 100, 200, 40, 40, 60, 1))
    side.node.beaten(1, Market.AUCTION, TICK_NS)
    side.node.mode = Mode.RUN
    return side


def test_what_thousands_ask_in_a_cycle_fits_in_a_message_and_all_have_their_turn() -> None:
    side = side_of(works(3000))
    asked: set[int] = set()
    for number in range(1, 40):
        side.node.beat_ns = number * TICK_NS
        side.cycle({}, number * TICK_NS)
        asked |= {record.body.ref for record in side.node.link.quotes}
        for say in side.sayings():
            topic = Topic("z", say.channel, "n1")
            encode(topic, say.message, Key(b"k" * 32))
    assert asked == set(range(1, 3001))


def test_what_the_host_cannot_hold_beside_what_runs_waits() -> None:
    busy = works(submission.RUNNING_MAX - 2, Life.SEATED)
    side = side_of(busy + works(10, first=len(busy) + 1))
    side.node.beat_ns = TICK_NS
    side.cycle({}, TICK_NS)
    waiting = [work for work in side.node.workloads.values() if work.life is Life.SEEKING]
    for work in waiting:
        side.node._order(work, Region(0, 12), TICK_NS)
    assert sum(work.life is Life.ORDERED for work in waiting) == 2
    side.node.link.quotes.clear()
    side.cycle({}, 2 * TICK_NS)
    assert not side.node.link.quotes
    assert any(reason["reason"] == "host_full" for reason in _why(side, len(busy) + 9))


def test_orders_that_are_out_leave_room_for_who_is_woken() -> None:
    """With thousands that ask, all places were taken by orders that find nothing, and freed slots stayed idle."""
    side = side_of(works(256, Life.ORDERED) + works(1000, first=257))
    side.node.beat_ns = TICK_NS
    side.cycle({}, TICK_NS)
    assert not side.node.link.quotes
    side.node._woken(Woken(300, 1), TICK_NS)
    assert side.node.workloads[300].life is Life.ORDERED


def _why(side: AgentSide, ref: int) -> list[dict[str, Any]]:
    from tegd.views import why

    return list(why(side.node, side.node.workloads[ref], TICK_NS)["reasons"])


def test_a_stop_reads_the_airlocks_list_to_its_last_page() -> None:
    views = [{"workload": f"{number}.1", "token": 1, "state": "running", "log": "x" * 300} for number in range(700)]

    class Link:
        def send(self, packet: bytes) -> None:
            self.asked = json.loads(packet)

        def recv(self, _: int) -> bytes:
            left = sorted(
                (view for view in views if view["workload"] > self.asked["after"]), key=lambda v: v["workload"]
            )
            return protocol.reply(1, protocol.page(left))

    assert len(stacks._Airlock(Link()).runs()) == 700  # type: ignore[arg-type]


def test_what_runs_use_is_told_to_the_last_page(tmp_path: Path) -> None:
    entries = {f"{number}.1": SimpleNamespace() for number in range(1500)}
    side = airlock_service.Airlock.__new__(airlock_service.Airlock)
    side._workloads, side._used = {}, None  # type: ignore[assignment]
    usage = {name: {"rss_bytes": 1, "cpu_ns": 2, "processes": 1} for name in entries} | {"": {"rss_bytes": 0}}
    side._hands = SimpleNamespace(usage=lambda _: dict(usage))  # type: ignore[assignment]
    found: list[dict[str, Any]] = []
    while True:
        page = side._usage(found[-1]["workload"] if found else "")
        assert len(json.dumps(page)) < protocol.PACKET_BYTES_MAX
        found += page["usage"]
        if not page["more"]:
            break
    assert sorted(entry["workload"] for entry in found) == sorted(entries)


def test_a_journal_of_many_is_not_written_anew_at_every_step(tmp_path: Path) -> None:
    spec = Spec("w", 1, 2, ("true", "x" * 1500), {}, "/", 0, 0, None, 1, 1, resume=False)
    journal = Journal(tmp_path, "boot")
    journal.compact([Run(spec, Status(State.RUNNING, 1, 0))] * 1000)
    assert journal._written_bytes > COMPACT_BYTES
    assert not journal.grown()
    journal.close()


def test_what_the_airlock_side_had_no_time_to_end_is_ended_by_its_mark(tmp_path: Path) -> None:
    stack = stacks.Stack(tmp_path, stacks.StackSettings())
    mark = f"{tmp_path}/airlock/workloads"
    env = {name: {"TEG_AIRLOCK": folder, "TEG_WORKLOAD": name} for name, folder in (("1.7", mark), ("2.7", mark))}
    env["3.7"] = {"TEG_AIRLOCK": "/elsewhere", "TEG_WORKLOAD": "3.7"}
    made = {name: subprocess.Popen(["/bin/sleep", "60"], env=entries) for name, entries in env.items()}
    stack._kill_left({2})
    assert made["1.7"].wait(10) == -9
    assert [made[name].poll() for name in ("2.7", "3.7")] == [None, None]
    for process in made.values():
        process.kill()
        process.wait()
