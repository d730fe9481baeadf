"""What `why` says of work that waits, and what is refused at once: ledger, agent side and desk on a virtual clock.

A zone of one host with 8 slots, 16 cores and 64 GiB; a case says what keeps the work from running, and `why` has to
name it, with the number, and say what would help.
"""

import asyncio
import itertools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tegcore.errors import RefusedError
from tegcore.units import GIB, TICK_NS, TICKS_PER_HOUR, UCR_MAX, credits_ucr
from tegcore.wire import control
from tegcore.wire.codec import decode, encode
from tegcore.wire.control import Hook, WorkloadSpec
from tegcore.wire.messages import HOST_KINDS_MAX, SCHEMA, Beat, ClassStock, Heat, HostKind, Stock
from tegcore.wire.records import (
    Admit,
    Cordon,
    Drain,
    Genesis,
    Market,
    Mint,
    NameIs,
    NameKind,
    Op,
    Reason,
    Record,
    SetReserve,
)
from tegcore.wire.signing import Key, host_key, tenant_token
from tegcore.wire.topics import Channel, Topic
from tegd import views
from tegd.adapters.desk import Desk
from tegd.adapters.places import Places
from tegd.adapters.store import Store
from tegd.agent import AgentSide, Place
from tegd.airlock.model import State
from tegd.effects import Effect, Keep, Run, SaveAndEnd, Start
from tegd.modes import Mode
from tegd.possible import demand_possible
from tegd.settings import HostSettings
from tegd.submission import priced
from tegd.workload import Life, Waits, Workload
from tegio.control import Peer
from tegio.users import user_name
from zone_ledger import views as ledger_views
from zone_ledger.book.reference import ReferenceBook
from zone_ledger.engine import Engine
from zone_ledger.leases import LeaseState
from zone_ledger.ledger import Ledger
from zone_ledger.survey import Survey

SECRET = Key(b"s" * 32)
ME = Peer(os.getuid(), os.getgid(), os.getpid())
PERIOD = 100
RESERVE_UCR = 10_000
OPENED: list[Store] = []


class Zone:
    """One ledger and its hosts in memory: nothing is lost, nothing is late."""

    def __init__(self, folder: Path, market: Market = Market.FIXED, hosts: Mapping[str, int] | None = None) -> None:
        engine = Engine(ReferenceBook)
        for key, (op, body) in enumerate(
            (
                (Op.GENESIS, Genesis(3, PERIOD, 2, 40, 40, 60, 100, market)),
                (Op.NAME_IS, NameIs.of(NameKind.TENANT, 1, "ada")),
                (Op.SET_RESERVE, SetReserve(0, RESERVE_UCR)),
                (Op.MINT, Mint(1, 100_000_000)),
            )
        ):
            engine.apply(Record(op, 0, 0, key, body))
        self.ledger = Ledger("z", SECRET, engine, 0, 10**9)
        self.keys, self.now_ns, self.silent = 10, 10**12, False
        self.sides = {
            name: AgentSide(
                Place(name, -1, log2, 0, 16_000, 64 * GIB), 1, 0, {"ada": tenant_token(SECRET, "ada")}, self.now_ns
            )
            for name, log2 in (hosts or {"n1": 3}).items()
        }
        for side in self.sides.values():
            side.ready()
        self.side = self.sides["n1"]
        self.node = self.side.node
        settings = HostSettings(
            host="n1", tokens={"ada": tenant_token(SECRET, "ada")}, tenants={"ada": (ME.uid,)}, operators=(ME.uid,)
        )
        self.store, places = Store(folder / "work.sqlite"), Places(folder)
        OPENED.append(self.store)
        self.desk = Desk(settings, self.node, self.store, places, None, self._done_at_home, lambda: self.now_ns)  # type: ignore[arg-type]
        self.cycle(60)

    def cycle(self, count: int = 1) -> None:
        for _ in range(count):
            self.now_ns += TICK_NS
            for name, side in self.sides.items():
                self._done(side, side.cycle({}, self.now_ns))
                for say in side.sayings():
                    topic = Topic("z", say.channel, name)
                    self.ledger.arrive(str(topic), encode(topic, say.message, host_key(SECRET, name)), self.now_ns)
            if self.silent:
                continue
            self.ledger.tick(self.now_ns, connected=True)
            self.ledger.next_write()
            for topic, message, _ in self.ledger.durable().sayings:
                for name, side in self.sides.items():
                    if topic.host == name or isinstance(message, Beat | Heat):
                        self._done(side, side.heard(message, self.now_ns))  # type: ignore[arg-type]

    def _done_at_home(self, effects: list[Effect]) -> None:
        self.store.keep(*(effect.workload for effect in effects if isinstance(effect, Keep)))
        self._done(self.side, effects)

    def _done(self, side: AgentSide, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Start(work):
                    self._done(side, side.node.run_changed(Run(work.airlock_id, "running"), self.now_ns))
                case SaveAndEnd(work):
                    self._done(side, side.node.run_changed(Run(work.airlock_id, "ended", "asked"), self.now_ns))
                case _:
                    pass

    def apply(self, op: Op, body: object) -> None:
        self.keys += 1
        self.ledger.engine.apply(Record(op, 0, 0, self.keys, body))

    async def ask(self, request: control.AnyRequest) -> Any:
        reply = await self.desk.answer(ME, request)
        assert isinstance(reply, control.Reply)
        return reply.data

    async def submit(self, **spec: Any) -> str:
        self.keys += 1
        made = WorkloadSpec(argv=("x",), hook=Hook(), **spec)
        answer = asyncio.ensure_future(self.ask(control.Submit(spec=made, key=self.keys)))
        await asyncio.sleep(0)
        while not answer.done():  # what looks impossible is held against a count that begins after it was asked
            self.cycle(5)
            await asyncio.sleep(0.01)
        return str(answer.result()["name"])

    async def why(self, name: str) -> str:
        """All that `why` says of what keeps it, and of what would help."""
        reasons = (await self.ask(control.Why(name=name)))["reasons"]
        return "\n".join(f"{reason['text']}; {reason.get('help', '')}" for reason in reasons)

    async def full(self) -> "Zone":
        """All 8 slots are held by work that fits."""
        for _ in range(8):
            await self.submit()
        self.cycle(80)
        assert len(self.ledger.state.leases) == 8
        return self


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """What a zone has opened is closed after each test: Python 3.13 warns of what is not."""
    yield
    while OPENED:
        OPENED.pop().close()


@pytest.fixture
def zone(tmp_path: Path) -> Zone:
    return Zone(tmp_path)


async def test_why_busy_says_how_many_slots_are_in_use_and_until_when(zone: Zone) -> None:
    await zone.full()
    name = await zone.submit()
    zone.cycle(40)
    said = await zone.why(name)
    assert "all 8 GPU slots are in use" in said
    assert "the jobs on them have not said when they end" in said
    assert "it starts by itself" in said


async def test_why_says_until_when_the_slots_are_in_use_as_their_jobs_declared(zone: Zone) -> None:
    for _ in range(7):
        await zone.submit(time_s=600)
    await zone.submit(time_s=300)
    zone.cycle(80)
    name = await zone.submit()
    zone.cycle(40)
    (stock,) = zone.node.stock.classes if zone.node.stock else ()
    assert (stock.declared, stock.leased) == (8, 8)
    said = await zone.why(name)
    assert "the first job on the slots in use ends in 4 min at the latest (declared with --time)" in said
    assert "have not said when they end" not in said


async def test_a_slot_in_parts_has_an_end_once_each_part_has_said_so(tmp_path: Path) -> None:
    zone = Zone(tmp_path, hosts={"n1": 0})
    await zone.submit(share_permille=300, time_s=600)
    await zone.submit(share_permille=300)
    zone.cycle(80)
    (stock,) = zone.node.stock.classes if zone.node.stock else ()
    assert (stock.declared, stock.leased) == (0, 1)


async def test_why_says_when_the_first_slot_is_free_if_someone_is_leaving(zone: Zone) -> None:
    await zone.full()
    name = await zone.submit(sizes=(1,))
    first = min(zone.ledger.state.leases.values(), key=lambda lease: lease.number)
    first.deadline = zone.ledger.state.tick + 400
    first.state = type(first.state).EVICTING
    zone.cycle(40)
    assert "1 of them is free in 18 s at the latest" in await zone.why(name)


async def test_why_a_job_at_a_terminal_waits_for_this_host(zone: Zone) -> None:
    await zone.full()
    spec = WorkloadSpec(argv=("x",), here=True, terminal="/run/t.sock", requeue=False)
    await zone.ask(control.Submit(spec=spec, key=99))
    zone.cycle(40)
    said = await zone.why("w9")
    assert "a job at a terminal (--pty) runs where that is" in said
    assert "--here" not in said


async def test_why_drained(zone: Zone) -> None:
    zone.apply(Op.DRAIN, Drain(1, 1))
    name = await zone.submit()
    zone.cycle(40)
    said = await zone.why(name)
    assert "8 of 8 GPU slots are on drained hosts" in said
    assert "tegctl undrain" in said


async def test_slots_that_are_given_up_on_a_drained_host_are_not_promised(zone: Zone) -> None:
    await zone.full()
    zone.apply(Op.DRAIN, Drain(1, 1))
    name = await zone.submit()
    zone.cycle(25)
    assert "8 of 8 GPU slots are on drained hosts" in await zone.why(name)


async def test_why_cordoned(zone: Zone) -> None:
    for slot in range(8):
        zone.apply(Op.CORDON, Cordon(slot, 1))
    name = await zone.submit()
    zone.cycle(40)
    said = await zone.why(name)
    assert "8 of 8 GPU slots are cordoned" in said
    assert "tegctl uncordon" in said


async def test_why_memory_that_others_hold(zone: Zone) -> None:
    await zone.submit(mem_bytes=50 * GIB)
    zone.cycle(40)
    name = await zone.submit(mem_bytes=30 * GIB)
    zone.cycle(40)
    said = await zone.why(name)
    assert "7 GPU slots are free, but no host has 30 GiB of host memory left for it: the most is 10" in said
    assert "--mem" in said


async def test_why_cores_that_others_hold(zone: Zone) -> None:
    await zone.submit(cpu_milli=12_000)
    zone.cycle(40)
    name = await zone.submit(cpu_milli=8_000)
    zone.cycle(40)
    assert "7 GPU slots are free, but no host has 8 cores left for it: the most is 4" in await zone.why(name)


async def test_why_free_slots_that_make_no_block(zone: Zone) -> None:
    await zone.full()
    for lease in sorted(zone.ledger.state.leases)[::2]:
        work = next(work for work in zone.node.workloads.values() if work.lease == lease)
        await zone.ask(control.CancelWorkload(name=work.name))
    zone.cycle(5)
    name = await zone.submit(sizes=(2,))
    zone.cycle(40)
    said = await zone.why(name)
    assert "4 GPU slots are free, but at most 1 next to each other" in said
    assert "--slots 1+1+1+1" in said


async def test_why_a_bid_below_the_price(tmp_path: Path) -> None:
    zone = Zone(tmp_path, Market.AUCTION)
    name = await zone.submit(limit_ucr=1_000)
    zone.cycle(40)
    said = await zone.why(name)
    assert "it bids 0.72 credits per GPU-hour; the price is 7.20" in said
    assert f"tegctl update {name} --bid 7.21/h" in said
    assert "top-up" not in said


async def test_why_the_account_is_short(tmp_path: Path) -> None:
    zone = Zone(tmp_path, Market.AUCTION)
    name = await zone.submit(limit_ucr=2_000_000, endow_ucr=900_000_000)
    zone.cycle(40)
    said = await zone.why(name)
    assert "the account of ada has 800.00 credits less than" in said
    assert "tegctl mint ada" in said


async def test_why_admission_is_closed(tmp_path: Path) -> None:
    zone = Zone(tmp_path, Market.AUCTION)
    zone.apply(Op.ADMIT, Admit(0, zone.ledger.state.tick + 10_000))
    name = await zone.submit(limit_ucr=500_000)
    zone.cycle(40)
    said = await zone.why(name)
    assert "admission is closed" in said
    assert " s" in said
    assert "tick" not in said


async def test_why_the_ledger_is_away(zone: Zone) -> None:
    await zone.full()
    name = await zone.submit()
    zone.silent = True
    zone.cycle(200)
    said = await zone.why(name)
    assert "the scheduler (zone-ledger) was last heard 10 s ago: this job stays pending, nothing new starts" in said
    assert "this job runs on until the time granted to it is over" in await zone.why("w1")


async def test_why_another_host_is_avoided(zone: Zone) -> None:
    await zone.full()
    name = await zone.submit()
    next(work for work in zone.node.workloads.values() if work.name == name).homebound = True
    zone.cycle(40)
    assert "it waits for slots of this host (n1) only" in await zone.why(name)


async def test_what_is_cancelled_before_its_order_is_answered_is_not_pending(zone: Zone) -> None:
    work = _placed(zone, Life.ORDERED, "")
    row = await zone.ask(control.CancelWorkload(name=work.name))
    assert row["state"] == "cancelling"
    said = await zone.why(work.name)
    assert "cancelled it: what it asked the scheduler (zone-ledger) for is being withdrawn" in said


async def test_why_says_who_cancelled_it(zone: Zone) -> None:
    name = await zone.submit()
    await zone.ask(control.CancelWorkload(name=name))
    assert f"{user_name(ME.uid)} cancelled it: it is over" in await zone.why(name)


async def test_a_name_comes_before_a_number(zone: Zone) -> None:
    first = await zone.submit(name="2")
    second = await zone.submit()
    assert (first, zone.node.workloads[2].name) == ("2", second)
    await zone.ask(control.CancelWorkload(name="2"))
    assert zone.node.workloads[1].cancelled
    assert not zone.node.workloads[2].cancelled


async def test_what_is_over_is_not_cancelled(zone: Zone) -> None:
    name = await zone.submit()
    (work,) = zone.node.workloads.values()
    zone.cycle(40)
    assert work.life is Life.SEATED
    zone._done(zone.side, zone.node.run_changed(Run(work.airlock_id, "ended", "exited", exit_code=0), zone.now_ns))
    zone.cycle(5)
    assert work.exit_code == 0
    await zone.ask(control.CancelWorkload(name=name))
    assert "exit code 0" in await zone.why(name)


IMPOSSIBLE = [
    ({"sizes": (4,)}, "it asks for 16 GPU slots, and this zone has 8 in all"),
    ({"sizes": (3, 0)}, "it asks for 9 GPU slots, and this zone has 8 in all"),
    ({"slot_classes": (3,)}, "class 3: this zone has slots of class 0"),
    ({"mem_bytes": 1 << 40}, "1024 GiB of host memory with each GPU slot: a host here has at most 60.8 GiB for one"),
    (
        {"mem_bytes": 20 * GIB, "sizes": (2,)},
        "20 GiB of host memory with each GPU slot: a host here has at most 15.2 GiB for one of 4",
    ),
    ({"cpu_milli": 64_000}, "64 cores with each GPU slot: a host here has at most 16 for one"),
]


@pytest.mark.parametrize(("spec", "text"), IMPOSSIBLE)
async def test_what_can_never_be_had_is_refused_at_once(zone: Zone, spec: dict[str, Any], text: str) -> None:
    with pytest.raises(RefusedError) as refused:
        await zone.submit(**spec)
    assert text in str(refused.value)
    assert refused.value.hint
    assert not zone.node.workloads


def test_a_block_larger_than_any_is_refused_and_taken_apart() -> None:
    stock = Stock(1, [ClassStock(0, slots=24, largest_log2=3)], [HostKind(0, 3, 16_000, 64 * GIB)])
    with pytest.raises(RefusedError, match="16 GPU slots next to each other, and this zone has at most 8") as refused:
        demand_possible(WorkloadSpec(argv=("x",), sizes=(4,)), stock)
    assert "--slots 8+8" in refused.value.hint
    demand_possible(WorkloadSpec(argv=("x",), sizes=(3, 3, 3)), stock)


async def test_what_two_hosts_have_together_is_not_refused(tmp_path: Path) -> None:
    zone = Zone(tmp_path, hosts={"n1": 3, "n2": 3})
    await zone.submit(sizes=(4,))
    with pytest.raises(RefusedError, match="this host has 8"):
        await zone.submit(sizes=(4,), here=True)


async def test_a_host_that_has_just_come_counts(tmp_path: Path) -> None:
    """The newest count that the first host knows is of the moment before the second came."""
    zone = Zone(tmp_path, hosts={"n1": 3, "n2": 3})
    classes = [ClassStock(0, slots=8, free=8, largest_log2=3)]
    zone.node.stock = Stock(zone.node.tick, classes, [HostKind(0, 3, 16_000, 60 * GIB)])
    assert await zone.submit(sizes=(4,))


async def test_nothing_is_refused_while_the_zone_is_not_known(zone: Zone) -> None:
    fresh = Zone.__new__(Zone)
    fresh.__dict__ |= zone.__dict__
    zone.node.zone = None
    await zone.submit(sizes=(4,))


def test_a_zone_tells_what_it_has_in_a_message_of_bounded_size(tmp_path: Path) -> None:
    zone = Zone(tmp_path, hosts={f"n{number}": 2 for number in range(1, 17)})
    zone.cycle(60)
    topic = Topic("z", Channel.HEAT)
    told = [message for topic_, message, _ in _sayings(zone) if topic_.channel is Channel.HEAT and message.delta == 0]
    (stock,) = [told[0].stock.classes[0]]
    assert (stock.slots, stock.free, stock.largest_log2) == (64, 64, 6)
    assert len(encode(topic, told[0], host_key(SECRET, "n1"))) < 4096


def test_the_largest_stock_fits_with_heat_and_mix() -> None:
    most, slots = 2**40, 1 << 20
    rest = {"free_cpu_milli": most, "free_mem_bytes": most, "end_tick": most, "leaving": slots, "leave_tick": most}
    rest |= {"declared": slots, "declared_tick": most}
    classes = [ClassStock(number, *[slots] * 6, 20, 20, **rest) for number in range(8)]
    kinds = [HostKind(7, 16, most, most)] * HOST_KINDS_MAX
    heat = Heat(SCHEMA, "z" * 64, most, most, 0, bytes(1024), bytes(768), Stock(most, classes, kinds))
    topic = Topic("z" * 64, Channel.HEAT)
    assert decode(topic, encode(topic, heat, SECRET), lambda _: SECRET) == heat


def test_a_zone_of_many_hosts_is_counted_over_several_ticks(tmp_path: Path) -> None:
    """A tick looks at a bounded number of hosts; of too many kinds, one is told that has the most of each."""
    zone = Zone(tmp_path, hosts={f"n{number}": 0 for number in range(1, 51)})
    survey, state = Survey(), zone.ledger.state
    state.tick -= state.tick % 20
    survey.step(state)
    assert survey.stock is None
    state.tick += 1
    survey.step(state)
    assert survey.stock is not None
    assert survey.stock.classes[0].slots == 50
    assert survey.stock.tick == state.tick - 1


def _sayings(zone: Zone) -> list[Any]:
    said = []
    for _ in range(20):
        zone.ledger.tick(zone.now_ns, connected=True)
        zone.ledger.next_write()
        said += zone.ledger.durable().sayings
    return said


# --- every state has its words ----------------------------------------------------------------------------------------

KNOWN = {"pending", "starting", "running", "suspended", "preempted", "saving", "cancelling", "ending"}
OVER = {"completed", "failed", "cancelled"}
ANSWERS = ["", "EVICTING", *Reason.__members__, *(f"EXPAND {name}" for name in Reason.__members__)]


def _placed(zone: Zone, life: Life, waits: str) -> Workload:
    spec = WorkloadSpec(argv=("x",), name="job")
    work = Workload(1, "job", "ada", 0, 0, 0, spec, life=life, waits=Waits(waits, 5, 7, zone.node.tick + 90))
    zone.node.submitted(work)
    return work


@pytest.mark.parametrize("life", Life)
def test_every_life_and_every_answer_of_the_ledger_has_its_words(zone: Zone, life: Life) -> None:
    for answer in ANSWERS:
        work = _placed(zone, life, answer)
        for why_leaving in Reason if life is Life.LEAVING else [Reason.OK]:
            work.why_leaving = why_leaving
            shown = views.why(zone.node, work, zone.now_ns)
            assert shown["state"] in (OVER if life is Life.ENDED else KNOWN), (life, answer)
            quiet = shown["state"] == "running" and not answer.startswith("EXPAND")
            assert quiet or shown["reasons"], (life, answer)
            for reason in shown["reasons"]:
                words = f"{reason['text']} {reason['help']}"
                assert reason["reason"], (life, answer)
                assert not set("{}") & set(words), words
                assert " ticks" not in words, words
                assert " ucr" not in words, words


@pytest.mark.parametrize("name", [name for name in Reason.__members__ if name != "OK"])
def test_every_refusal_of_an_order_has_a_sentence_of_its_own(zone: Zone, name: str) -> None:
    first = views.why(zone.node, _placed(zone, Life.SEEKING, name), zone.now_ns)["reasons"][0]
    assert first["reason"] not in {"pause", "here"}, f"{name} has no words in tegd.reasons"


@pytest.mark.parametrize("mode", [mode for mode in Mode if mode is not Mode.RUN])
def test_every_mode_of_the_daemon_is_a_reason(zone: Zone, mode: Mode) -> None:
    zone.node.mode = mode
    reasons = views.why(zone.node, _placed(zone, Life.SEEKING, ""), zone.now_ns)["reasons"]
    assert reasons[0]["reason"] == "mode"


@pytest.mark.parametrize("run", [*(state.value for state in State), "", "of a later version"])
def test_every_state_of_a_run_has_its_word(zone: Zone, run: str) -> None:
    work = _placed(zone, Life.SEATED, "")
    work.lease, work.token = 1, 2
    zone.node.runs[work.airlock_id] = run
    shown = views.why(zone.node, work, zone.now_ns)
    assert shown["state"] in KNOWN
    assert shown["state"] == "running" or shown["reasons"], run


@pytest.mark.parametrize("code", [0, 3, None])
def test_what_is_over_says_how_it_ended(zone: Zone, code: int | None) -> None:
    work = _placed(zone, Life.ENDED, "")
    work.exit_code = code
    shown = views.why(zone.node, work, zone.now_ns)
    assert shown["state"] == ("completed" if code == 0 else "failed")
    work.cancelled = True
    assert views.row(zone.node, work, zone.now_ns)["state"] == "cancelled"


@pytest.mark.parametrize(
    ("code", "outcome", "help_"),
    [
        (143, "ended at its time limit of 60 s", "submit it again with a longer --time, as `tegctl run --time 2m"),
        (None, "ended at its time limit of 60 s", "submit it again with a longer --time, as `tegctl run --time 2m"),
        (
            126,
            "cannot be executed: its working folder /nowhere: No such file or directory",
            "name another (--chdir FOL",
        ),
        (126, "cannot be executed: /bin/x: Permission denied", "`chmod +x FILE`"),
    ],
)
def test_what_failed_is_told_what_mends_that(zone: Zone, code: int | None, outcome: str, help_: str) -> None:
    work = _placed(zone, Life.ENDED, "")
    work.spec = WorkloadSpec(argv=("x",), time_s=60)
    work.exit_code, work.outcome = code, outcome
    (row,) = views.why(zone.node, work, zone.now_ns)["reasons"]
    assert help_ in row["help"]
    assert ("chmod" in row["help"]) == ("chmod" in help_)


async def test_a_budget_below_the_first_period_is_short_of_what_it_needs_to_start(tmp_path: Path) -> None:
    zone = Zone(tmp_path, Market.AUCTION)
    name = await zone.submit(budget_ucr=RESERVE_UCR // 100)
    zone.cycle(60)
    said = await zone.why(name)
    assert "to start" in said
    assert "run on" not in said


async def test_every_state_of_a_lease_and_of_a_host_has_its_words(zone: Zone) -> None:
    await zone.full()
    state = zone.ledger.state
    lease = state.leases[1]
    for lease_state in LeaseState:
        for why in Reason:
            lease.state, lease.why, lease.deadline = lease_state, why, state.tick + 50
            row = ledger_views.lease_row(state, lease)
            assert row["state"] in {"held", "leaving"}
            assert (row["reason"] == "") == (lease_state is LeaseState.HELD)
    lease.state = LeaseState.HELD
    session = state.hosts[1]
    for boot, up, drained, lost, stale in itertools.product((0, 1), *[(False, True)] * 4):
        session.boot, session.up, session.drained, session.lost, session.stale = boot, up, drained, lost, stale
        row = ledger_views.hosts(state)[0]
        well = bool(boot and up and not drained and not lost and not stale)
        assert (row["state"] == "up") == well, row
        assert bool(row["reason"]) == (not well), row


# --- update -----------------------------------------------------------------------------------------------------------


async def test_a_bid_that_was_too_low_wins_once_it_is_raised_as_why_says(tmp_path: Path) -> None:
    zone = Zone(tmp_path, Market.AUCTION)
    name = await zone.submit(limit_ucr=1_000)
    zone.cycle(40)
    said = (await zone.why(name)).split("--bid ")[1].split("/h")[0]
    answer = await zone.ask(control.UpdateWorkload(name=name, limit_hour_ucr=credits_ucr(said)))
    assert "asks anew" in answer["done"]
    zone.cycle(60)
    assert (await zone.ask(control.Why(name=name)))["state"] == "running"


@pytest.mark.parametrize("credits_an_hour", ["7.2", "0.05"])
async def test_a_bid_by_the_hour_is_the_same_when_it_is_submitted(tmp_path: Path, credits_an_hour: str) -> None:
    zone = Zone(tmp_path, Market.AUCTION)
    hour_ucr = credits_ucr(credits_an_hour)
    await zone.submit(limit_hour_ucr=hour_ucr)
    updated = await zone.submit(limit_ucr=1)
    await zone.ask(control.UpdateWorkload(name=updated, limit_hour_ucr=hour_ucr))
    at_once, later = (work.spec for work in zone.node.workloads.values())
    assert (at_once.limit_ucr, at_once.limit_hour_ucr) == (later.limit_ucr, 0)
    assert at_once.limit_ucr == -(-hour_ucr * PERIOD // TICKS_PER_HOUR)


async def test_a_bid_by_the_hour_that_cannot_be_is_refused(tmp_path: Path) -> None:
    zone = Zone(tmp_path, Market.AUCTION)
    with pytest.raises(RefusedError, match="both per slot-period and per GPU-hour"):
        await zone.submit(limit_ucr=1, limit_hour_ucr=1)
    with pytest.raises(RefusedError, match="credits per GPU-hour is out of range"):
        await zone.submit(limit_hour_ucr=UCR_MAX)
    with pytest.raises(RefusedError, match="has not said yet how long a period is"):
        priced(WorkloadSpec(argv=("x",), limit_hour_ucr=1), 0)


async def test_a_bid_that_is_raised_while_it_runs_reaches_the_ledger(tmp_path: Path) -> None:
    zone = Zone(tmp_path, Market.AUCTION)
    name = await zone.submit(limit_ucr=30_000)
    zone.cycle(60)
    await zone.ask(control.UpdateWorkload(name=name, limit_ucr=90_000))
    zone.cycle(5)
    (lease,) = zone.ledger.state.leases.values()
    assert lease.next_limit_ucr == 90_000


async def test_memory_is_asked_for_at_once_while_it_runs(zone: Zone) -> None:
    name = await zone.submit(mem_bytes=GIB)
    zone.cycle(40)
    await zone.ask(control.UpdateWorkload(name=name, mem_bytes=3 * GIB))
    zone.cycle(5)
    assert (await zone.ask(control.Why(name=name)))["mem_bytes"] == 3 * GIB


async def test_memory_that_nobody_has_is_not_waited_for_after_an_update(zone: Zone) -> None:
    await zone.submit(mem_bytes=50 * GIB)
    zone.cycle(40)
    name = await zone.submit(mem_bytes=30 * GIB)
    zone.cycle(40)
    with pytest.raises(RefusedError, match="1024 GiB of host memory"):
        await zone.ask(control.UpdateWorkload(name=name, mem_bytes=1 << 40))
    await zone.ask(control.UpdateWorkload(name=name, mem_bytes=5 * GIB))
    zone.cycle(60)
    assert (await zone.ask(control.Why(name=name)))["state"] == "running"


async def test_what_is_over_is_not_changed(zone: Zone) -> None:
    await zone.full()
    name = await zone.submit()
    await zone.ask(control.CancelWorkload(name=name))
    with pytest.raises(RefusedError, match="is over"):
        await zone.ask(control.UpdateWorkload(name=name, mem_bytes=1))


async def test_a_budget_that_is_spent_is_raised_and_the_job_goes_on(tmp_path: Path) -> None:
    zone = Zone(tmp_path, Market.AUCTION)
    name = await zone.submit(budget_ucr=4 * RESERVE_UCR)
    zone.cycle(8 * PERIOD)
    said = await zone.why(name)
    assert "its budget is 0.0" in said
    assert "short of what it needs to run on" in said
    await zone.ask(control.UpdateWorkload(name=name, budget_ucr=100 * RESERVE_UCR))
    zone.cycle(80)
    assert (await zone.ask(control.Why(name=name)))["state"] == "running"


async def test_a_budget_is_raised_while_it_runs_and_is_not_counted_twice(tmp_path: Path) -> None:
    zone = Zone(tmp_path, Market.AUCTION)
    name = await zone.submit(budget_ucr=20 * RESERVE_UCR)
    zone.cycle(60)
    (lease,) = zone.ledger.state.leases.values()
    for _ in range(2):
        await zone.ask(control.UpdateWorkload(name=name, budget_ucr=50 * RESERVE_UCR))
        zone.cycle(5)
        assert lease.budget_ucr == 50 * RESERVE_UCR
    assert (await zone.ask(control.Why(name=name)))["budget_ucr"] == 50 * RESERVE_UCR


async def test_a_long_list_does_not_hold_up_the_daemon(zone: Zone) -> None:
    """Cycles go on in between: a host that says nothing for seconds is taken for lost."""
    for _ in range(8):
        await zone.submit()
    first = next(iter(zone.node.workloads.values()))
    zone.node.workloads |= {1000 + number: first for number in range(2_000)}
    asked = asyncio.ensure_future(zone.ask(control.Workloads()))
    turns = 0
    while not asked.done():
        turns += 1
        await asyncio.sleep(0)
    assert len(asked.result()) == 2_008
    assert turns >= 8
