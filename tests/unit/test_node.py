"""Agents, session, door and engine in one process, on a virtual clock, over a channel that may lose and double."""

import random

import msgspec
import pytest

from tegcore.errors import RefusedError
from tegcore.units import GIB, TICK_NS
from tegcore.wire.codec import encode
from tegcore.wire.control import Hook, UpdateWorkload, WorkloadSpec
from tegcore.wire.messages import EVENTS_OF_RULES, SCHEMA, Events, Hello, Welcome
from tegcore.wire.records import (
    Evict,
    Genesis,
    Market,
    Mint,
    NameIs,
    NameKind,
    Op,
    OrderFlag,
    Reason,
    Record,
    Region,
    SetRates,
    SetReserve,
    Tick,
    Traits,
    pack_all,
)
from tegcore.wire.signing import Key, host_key, ledger_keyring, tenant_token
from tegcore.wire.topics import Channel, Topic
from tegd.bidding import Usage
from tegd.calls import call, start_calls
from tegd.effects import Extend, Forget, Rejoin, Run, SaveAndEnd, Start
from tegd.link import Link
from tegd.modes import Happening, Mode
from tegd.node import Node
from tegd.travel import Travel
from tegd.updating import update
from tegd.views import row, why
from tegd.workload import Life, Waits, Workload
from zone_ledger.book.reference import ReferenceBook
from zone_ledger.door import Door
from zone_ledger.engine import Engine

SECRET = Key(b"s" * 32)
TOPIC = Topic("z", Channel.ORDERS, "n1")
PERIOD, TERM = 100, 200


class World:
    """A ledger and one host, cycle by cycle; `lossy` drops and doubles a third of all messages."""

    def __init__(
        self, lossy: bool = False, market: Market = Market.AUCTION, seed: int = 1, funds_ucr: int = 100_000_000
    ) -> None:
        self.engine, self.door = Engine(ReferenceBook), Door("z", SECRET)
        self.fate = random.Random(seed)
        self.lossy = lossy
        self.now_ns = 10**12
        rates = SetRates(1, 50_000, 0, 0, 0, 100, 0, 1_000_000, 0, 0)
        for key, (op, body) in enumerate(
            (
                (Op.GENESIS, Genesis(2, PERIOD, 2, 40, 40, 60, 100, market)),
                (Op.NAME_IS, NameIs.of(NameKind.TENANT, 1, "ada")),
                (Op.SET_RATES, rates),
                (Op.SET_RESERVE, SetReserve(0, 100_000)),
                (Op.MINT, Mint(1, funds_ucr)),
            )
        ):
            self.engine.apply(Record(op, 0, 0, key, body))
        self.running: dict[str, dict] = {}
        self.started: list[str] = []
        self.graces: list[int] = []
        self.mute: set[int] = set()
        self.ledger_up = True
        self.refs = 0
        self.boot(1)

    def boot(self, number: int) -> None:
        self.node = Node("n1", Link("n1", number, self.now_ns), 0, {"ada": tenant_token(SECRET, "ada")})
        self.node.happen(Happening.LOADED)

    def submit(self, **spec) -> Workload:
        self.refs += 1
        fields = {"argv": ("x",), "limit_ucr": 300_000, "hook": Hook()} | spec
        work = Workload.accepted(self.refs, "ada", (0, 0), self.refs, WorkloadSpec(**fields))
        self.node.submitted(work)
        return work

    def lost(self) -> bool:
        return self.lossy and self.fate.random() < 0.3

    def cycle(self, count: int = 1) -> None:
        for _ in range(count):
            self.now_ns += TICK_NS
            node = self.node
            self.carry_out(node.step(self.usage(), self.now_ns))
            message = node.link.message(node.cycle) if node.zone else None
            if node.zone is None and node.cycle % 10 == 0:
                lease, token = node.seen
                fields = {"rules": EVENTS_OF_RULES, "lease": lease, "token": token}
                message = Hello(SCHEMA, "n1", node.link.boot, -1, 3, 0, 2000, 4 * GIB, **fields)
            copies = 0 if self.lost() else 2 if self.lossy and self.fate.random() < 0.3 else 1
            for _ in range(copies if message and self.ledger_up else 0):
                self.hear(message)
            if self.ledger_up:
                tick = self.engine.state.tick + 1
                self.engine.apply(Record(Op.TICK, 0, 0, 0, Tick(tick, tick)))
                self.engine.check()
                self.answer()

    def usage(self) -> dict[str, Usage]:
        return {
            name: Usage(self.now_ns, run["rss"], run["cpu"])
            for name, run in self.running.items()
            if run["state"] == "running"
        }

    def hear(self, message) -> None:
        key = host_key(SECRET, "n1")
        entry = self.door.read(self.engine.state, str(TOPIC), encode(TOPIC, message, key))
        assert ledger_keyring(SECRET, "z").key_of(TOPIC) == key
        for record in entry.commands:
            self.engine.apply(record)
        self.quotes = [self.engine.quote(record) for record in entry.quotes]
        if entry.greeted and not self.lost():
            state, genesis = self.engine.state, self.engine.state.genesis
            self.node.welcomed(
                Welcome(SCHEMA, "n1", state.hosts[1].boot, 1, 0, 2, state.tick, PERIOD, TERM, *genesis[3:7])
            )

    def answer(self) -> None:
        state = self.engine.state
        if 1 not in state.hosts or not state.hosts[1].boot:
            return
        session = state.hosts[1]
        quotes, self.quotes = getattr(self, "quotes", []), []
        if not self.lost():
            events = Events(
                SCHEMA,
                "n1",
                session.boot,
                state.tick,
                session.inbox.last_seq,
                session.outbox.pending(),
                pack_all(quotes),
            )
            self.carry_out(self.node.told_events(events, self.now_ns))
        self.node.beaten(state.tick, state.market, self.now_ns)

    def carry_out(self, effects) -> None:
        for effect in effects:
            match effect:
                case Start(work):
                    if work.airlock_id not in self.running:
                        self.started.append(work.airlock_id)
                    self.running.setdefault(
                        work.airlock_id, {"state": "running", "rss": 0, "cpu": 0, "end": work.term_end_ns}
                    )
                    self.tell(work.airlock_id, "running")
                case Extend(work) if work.airlock_id in self.running:
                    self.running[work.airlock_id]["end"] = work.term_end_ns
                case SaveAndEnd(work, save=True) if work.airlock_id in self.running:
                    if work.ref in self.mute:
                        self.tell(work.airlock_id, "running", problem="no mark", hook_failed="no mark")
                    else:
                        self.end(work, cause="asked", saved=True, code=137)
                case SaveAndEnd(work) if work.airlock_id in self.running:
                    self.graces.append(call(effect).fields["grace_ns"])
                    self.end(work, cause="asked", code=143)
                case Rejoin():
                    self.node.rejoin(Link("n1", self.node.link.boot + 1, self.now_ns))
                case Forget(airlock_id):
                    self.running.pop(airlock_id, None)
                    self.node.runs.pop(airlock_id, None)

    def tell(self, airlock_id: str, state: str, **fields) -> None:
        self.running[airlock_id]["state"] = state
        self.carry_out(self.node.run_changed(Run(airlock_id, state, **fields), self.now_ns))

    def end(self, work: Workload, cause: str = "exited", saved: bool = False, code: int | None = 0) -> None:
        if self.running[work.airlock_id]["state"] != "ended":
            self.tell(work.airlock_id, "ended", cause=cause, exit_code=code, saved=saved)


@pytest.mark.parametrize("lossy", [False, True])
def test_work_is_seated_renewed_and_settled(lossy: bool) -> None:
    world = World(lossy)
    work = world.submit()
    world.cycle(80)
    assert work.life is Life.SEATED
    first_end = work.term_end_ns
    world.cycle(TERM * 2)
    assert work.life is Life.SEATED
    assert work.term_end_ns > first_end + TERM * TICK_NS
    world.end(work)
    world.cycle(60)
    assert (work.life, work.outcome) == (Life.ENDED, "exit code 0")
    assert world.engine.state.leases == {}
    assert world.engine.state.accounts.escrow == 0
    assert world.started == [f"{work.ref}.1"]


def test_the_host_never_believes_in_a_longer_term_than_the_ledger() -> None:
    """On the host's clock the term ends before the ledger would let the slot again, through losses."""
    world = World(lossy=True, seed=7)
    work = world.submit()
    tick_ns: dict[int, int] = {}
    for _ in range(600):
        world.cycle()
        tick_ns[world.engine.state.tick] = world.now_ns
        lease = world.engine.state.leases.get(work.lease)
        if lease is not None and work.term_end_ns:
            ahead = world.engine.state.sure_end(lease) - world.engine.state.tick
            assert work.term_end_ns <= world.now_ns + ahead * TICK_NS


def test_nothing_is_started_twice_and_nothing_is_lost_in_a_crowd() -> None:
    world = World(lossy=True, seed=3)
    works = [world.submit(limit_ucr=200_000 + 10_000 * number) for number in range(14)]
    for _ in range(1500):
        world.cycle()
        for work in works:
            if work.life is Life.SEATED and world.fate.random() < 0.01:
                world.end(work)
    assert {work.life for work in works} == {Life.ENDED}
    assert len(world.started) == len(set(world.started))
    assert world.engine.state.accounts.escrow == 0


def test_the_evicted_are_saved_and_come_back_to_resume() -> None:
    world = World()
    lights = [world.submit(limit_ucr=200_000) for _ in range(8)]
    world.cycle(150)
    assert all(work.life is Life.SEATED for work in lights)
    mesh = world.submit(limit_ucr=900_000, sizes=(2,))
    world.cycle(60)
    assert mesh.life is not Life.SEATED, "in its first term a lease is left alone"
    world.cycle(TERM)
    assert mesh.life is Life.SEATED
    out = [work for work in lights if work.life is not Life.SEATED]
    assert len(out) == 4
    assert all(work.resume for work in out)
    world.end(mesh)
    world.cycle(400)
    assert all(work.life is Life.SEATED for work in lights)


@pytest.mark.parametrize("requeue", [True, False])
def test_what_cannot_be_saved_runs_on_until_its_notice_is_over_and_is_queued_again_or_ended(requeue: bool) -> None:
    world = World()
    work = world.submit(hook=None, requeue=requeue)
    world.cycle(40)
    world.engine.apply(Record(Op.EVICT, 0, 0, 99, Evict(work.lease)))
    world.cycle(30)
    assert work.life is Life.LEAVING
    assert world.running[work.airlock_id]["state"] == "running"
    world.cycle(60)
    if requeue:
        assert (work.life, work.resume, work.outcome) == (Life.SEATED, False, "")
        assert world.started == ["1.1", "1.2"]
    else:
        assert (work.life, work.outcome) == (Life.ENDED, "ended, as its grant said: operator")


@pytest.mark.parametrize("hook_fails", [False, True])
def test_what_cannot_be_saved_is_asked_to_end_at_its_time_limit_and_has_its_notice_to_do_so(hook_fails: bool) -> None:
    """As people know it: SIGTERM at the limit, SIGKILL after the grace."""
    world = World()
    work = world.submit(hook=Hook() if hook_fails else None, time_s=5)
    world.mute |= {work.ref} if hook_fails else set()
    world.cycle(40)
    assert work.life is Life.SEATED
    world.cycle(90)
    assert (work.life, work.outcome) == (Life.ENDED, "ended at its time limit of 5 s")
    assert work.exit_code == 143
    assert 0 < world.graces[-1] <= 60 * TICK_NS
    assert world.graces[-1] > 20 * TICK_NS


@pytest.mark.parametrize("requeue", [True, False])
def test_what_ended_with_the_stack_on_its_host_says_so(requeue: bool) -> None:
    """Nobody on the agent side has asked for its end: it was down itself."""
    world = World()
    work = world.submit(hook=None, requeue=requeue)
    world.cycle(40)
    world.end(work, cause="asked", code=143)
    world.cycle(60)
    said = "the stack on its host was stopped, and it ended with it"
    assert said in [text for _, text in work.history]
    assert (work.life, work.outcome) == ((Life.SEATED, "") if requeue else (Life.ENDED, said))


def test_a_purse_that_runs_dry_parks_and_a_top_up_brings_back() -> None:
    world = World()
    work = world.submit(limit_ucr=150_000, endow_ucr=220_000)
    world.cycle(40 + 3 * PERIOD)
    assert work.life is Life.PARKED
    assert (work.waits.reason, work.waits.missing) == ("BUDGET", 80_001)
    assert world.engine.state.accounts.escrow == 0
    for _ in range(3):
        world.node.top_up(work, 2_000_000, 5)
    assert work.endow_ucr < 2_200_000
    world.cycle(60)
    assert work.life is Life.SEATED
    assert work.resume


@pytest.mark.parametrize(("mu_ucr", "moves"), [(50_000, True), (1_000_000, False), (-1, False)])
def test_a_seated_workload_moves_only_where_the_price_force_beats_static_friction(mu_ucr: int, moves: bool) -> None:
    """Its rent has been challenged up, and slots are free at the reserve: force 7 times the reserve less friction."""
    world = World()
    world.node.field_came(mu_ucr)
    work = world.submit(limit_ucr=900_000, endow_ucr=3_600_000)
    world.cycle(40)
    first = work.lease
    world.engine.state.leases[first].challenge_ucr = 880_000
    world.engine.state.rows.leases.mark(first)
    world.cycle(PERIOD + 20)
    assert work.life is Life.SEATED
    assert (work.lease != first) == moves
    assert any("elsewhere" in text for _, text in work.history) == moves
    if moves:
        assert work.resume
        assert work.price_ucr == 100_000


def test_memory_is_bought_before_it_is_needed() -> None:
    world = World()
    work = world.submit(mem_bytes=64 << 20, limit_ucr=2_000_000)
    world.cycle(40)
    run = world.running[work.airlock_id]
    for _ in range(100):
        run["rss"] += 2 << 20
        world.cycle()
    assert run["rss"] > 64 << 20
    assert work.held_bytes >= run["rss"]
    lease = world.engine.state.leases[work.lease]
    assert world.engine.state.book.held_on(lease.number, 1)[0] == work.held_bytes


def test_without_the_ledger_it_limps_and_then_syncs_again() -> None:
    world = World()
    work = world.submit()
    world.cycle(60)
    world.ledger_up = False
    world.cycle(70)
    assert world.node.mode is Mode.LIMP
    assert work.life is Life.SEATED
    world.ledger_up = True
    world.cycle(80)
    assert world.node.mode is Mode.RUN
    assert work.life is Life.SEATED


def test_after_a_restart_the_same_run_goes_on_under_the_same_lease() -> None:
    world = World()
    work = world.submit()
    world.cycle(60)
    runs = dict(world.node.runs)
    world.boot(2)
    world.node.runs = runs
    world.node.submitted(work)
    world.cycle(60)
    assert work.life is Life.SEATED
    assert world.started == [work.airlock_id]
    assert world.node.mode is Mode.RUN


def test_after_a_reboot_the_term_is_counted_on_the_new_clock() -> None:
    world = World()
    work = world.submit()
    world.cycle(60)
    world.now_ns = 10**9
    world.running.clear()
    world.boot(2)
    world.node.submitted(work)
    world.cycle(40)
    assert work.life is Life.SEATED
    assert world.now_ns < work.term_end_ns <= world.now_ns + TERM * TICK_NS
    assert len(world.started) == 2


def test_a_lease_whose_work_ended_while_the_daemon_was_away_is_given_back() -> None:
    world = World()
    work = world.submit()
    world.cycle(60)
    world.running[work.airlock_id]["state"] = "ended"
    world.boot(2)
    world.node.submitted(work)
    world.carry_out(world.node.run_changed(Run(work.airlock_id, "ended", "exited", 0), world.now_ns))
    world.cycle(60)
    assert (work.life, work.outcome) == (Life.ENDED, "exit code 0")
    assert world.engine.state.leases == {}


def test_a_command_that_cannot_be_executed_ends_with_its_reason_and_costs_ticks_only() -> None:
    world = World()
    work = world.submit()
    world.cycle(20)
    while work.life is not Life.SEATED:
        world.cycle()
    world.tell(work.airlock_id, "ended", cause="start_failed", problem="/no/such was not found")
    world.cycle(20)
    assert work.life is Life.ENDED
    assert work.outcome == "cannot be executed: /no/such was not found"
    assert work.exit_code == 126
    assert world.engine.state.accounts.evaporated < 100_000


@pytest.mark.parametrize("when", [0, 5, 60])
def test_a_cancelled_workload_ends_wherever_it_is(when: int) -> None:
    world = World()
    work = world.submit()
    world.cycle(when)
    world.carry_out(world.node.cancel(work, world.now_ns))
    world.cycle(100)
    assert (work.life, work.outcome) == (Life.ENDED, "cancelled")
    assert world.engine.state.leases == {}
    assert world.engine.state.accounts.escrow == 0


@pytest.mark.parametrize("requeue", [True, False])
def test_a_hook_that_never_marks_holds_no_slot_against_a_bid(requeue: bool) -> None:
    world = World()
    lights = [world.submit(limit_ucr=200_000, requeue=requeue) for _ in range(8)]
    world.mute = {work.ref for work in lights}
    world.cycle(TERM + 50)
    strong = world.submit(limit_ucr=900_000)
    victim = None
    while victim is None:
        world.cycle()
        victim = next((work for work in lights if work.hook_failed), None)
    assert strong.life is Life.WAITING
    assert (victim.life, victim.hook) == (Life.LEAVING, None)
    reasons = {reason["reason"]: reason["text"] for reason in why(world.node, victim, world.now_ns)["reasons"]}
    assert "no mark" in reasons["save_failed"]
    rival = why(world.node, strong, world.now_ns)["reasons"][0]
    assert (rival["reason"], "its slots are won" in rival["text"]) == ("evicting", True)
    world.cycle(20)
    assert world.running[victim.airlock_id]["state"] == "running", "it has until its notice is over"
    world.cycle(50)
    assert strong.life is Life.SEATED
    assert victim.life is (Life.SEEKING if requeue else Life.ENDED)
    assert not victim.resume
    flags = Traits.unpacked(world.node._fok(victim, Region(0, 4)).traits).flags
    assert flags & OrderFlag.UNSAVABLE


def test_a_save_that_lasts_longer_than_the_notice_has_failed() -> None:
    world = World()
    work = world.submit()
    world.cycle(60)
    world.end = lambda work, **_: world.tell(work.airlock_id, "saving")
    world.engine.apply(Record(Op.EVICT, 0, 0, 99, Evict(work.lease)))
    world.cycle(55)
    assert (work.life, work.hook_failed) == (Life.LEAVING, "")
    ended: list[Workload] = []
    world.end = lambda work, **_: ended.append(work)
    world.cycle(10)
    assert ended == [work], "it is asked to end"
    assert "notice was over" in work.hook_failed


def test_a_hook_that_did_not_prove_itself_is_none_and_one_that_did_later_is_one_again() -> None:
    world = World()
    work = world.submit()
    world.cycle(60)
    world.tell(work.airlock_id, "running", hook_failed="no mark")
    assert (work.life, work.hook) == (Life.SEATED, None)
    assert "save_failed" in [reason["reason"] for reason in why(world.node, work, world.now_ns)["reasons"]]
    assert list(world.node.said) == [(work.name, "its hook did not save it: no mark")]
    world.engine.apply(Record(Op.EVICT, 0, 0, 99, Evict(work.lease)))
    world.cycle(10)
    assert world.running[work.airlock_id]["state"] == "running", "nothing is tried that is known to fail"
    world.tell(work.airlock_id, "running", hook_proved=True)
    assert work.hook == work.spec.hook


def test_what_a_save_showed_of_the_comeback_is_said_once_and_its_hook_counts() -> None:
    world = World()
    work = world.submit()
    world.cycle(60)
    for _ in range(2):
        world.tell(work.airlock_id, "running", hook_proved=True, comeback="its shell keeps the words", quits=True)
    said = [text for _, text in work.history]
    assert said.count("its shell keeps the words") == 1
    assert sum("ends after its mark" in text for text in said) == 1
    assert work.hook == work.spec.hook


def test_a_default_limit_follows_the_price_up_and_down_and_no_purse_is_made_for_it() -> None:
    world = World()
    work = world.submit(limit_ucr=0)
    world.cycle(60)
    assert work.life is Life.SEATED
    assert (work.limit_ucr, work.endow_ucr, work.own_ucr) == (200_000, 0, None)
    lease = world.engine.state.leases[work.lease]
    for reserve_ucr, limit_ucr in ((150_000, 300_000), (40_000, 80_000)):
        world.engine.apply(Record(Op.SET_RESERVE, 0, 0, 50 + reserve_ucr, SetReserve(0, reserve_ucr)))
        world.cycle(2 * PERIOD + 50)
        assert (work.limit_ucr, lease.limit_ucr) == (limit_ucr, limit_ucr)


def test_who_names_nothing_displaces_nobody_and_is_told_why_it_waits() -> None:
    """Two default bids for one slot evicted each other twelve times in ten seconds."""
    world = World()
    works = [world.submit(limit_ucr=0) for _ in range(9)]
    world.cycle(TERM * 2)
    waits = [work for work in works if work.life is not Life.SEATED]
    assert len(waits) == 1
    assert waits[0].limit_ucr == 200_000
    assert why(world.node, waits[0], world.now_ns)["reasons"][0]["reason"] == "taken"
    assert world.engine.state.counters.evictions == 0
    world.end(next(work for work in works if work.life is Life.SEATED))
    world.cycle(2 * PERIOD)
    assert waits[0].life is Life.SEATED


def test_a_challenger_that_goes_leaves_its_victim_where_it_is() -> None:
    world = World()
    lights = [world.submit(limit_ucr=200_000, hook=None) for _ in range(8)]
    world.cycle(TERM + 50)
    strong = world.submit(limit_ucr=900_000)
    while strong.life is not Life.WAITING:
        world.cycle()
    world.cycle(5)
    victim = next(work for work in lights if work.life is Life.LEAVING)
    lease = victim.lease
    world.carry_out(world.node.cancel(strong, world.now_ns))
    world.cycle(5)
    assert (victim.life, victim.lease, strong.life) == (Life.SEATED, lease, Life.ENDED)
    before = victim.term_end_ns
    world.cycle(TERM)
    assert (victim.life, victim.lease) == (Life.SEATED, lease)
    assert victim.term_end_ns > before, "it renews again"
    assert len(world.started) == 8


def test_a_save_under_way_goes_on_although_its_notice_was_taken_back() -> None:
    world = World()
    lights = [world.submit(limit_ucr=200_000) for _ in range(8)]
    world.cycle(TERM + 50)
    saves: list[Workload] = []
    end, world.end = world.end, lambda work, **_: saves.append(work)
    strong = world.submit(limit_ucr=900_000)
    while not saves:
        world.cycle()
    world.carry_out(world.node.cancel(strong, world.now_ns))
    world.cycle(5)
    victim = next(work for work in lights if work.life is Life.LEAVING)
    world.end = end
    world.end(victim, cause="asked", saved=True, code=137)
    world.cycle(60)
    assert (victim.life, victim.resume) == (Life.SEATED, True)


def test_nothing_ends_for_money_at_fixed_prices() -> None:
    """A default job was ended as bankrupt after 8.5 minutes, with 999.56 of 1,000 credits on its account."""
    world = World(market=Market.FIXED)
    works = [world.submit(limit_ucr=0, mem_bytes=1 << 20, hook=hook) for hook in (None, Hook())]
    world.cycle(50 * PERIOD)
    assert [(work.life, work.token) for work in works] == [(Life.SEATED, 1), (Life.SEATED, 2)]
    assert world.engine.state.accounts.balances[1] == 100_000_000
    for work in works:
        shown = why(world.node, work, world.now_ns)
        assert (shown["reasons"], shown["minds_money"]) == ([], False)
        assert not any("credit" in text or "ucr" in text for _, text in work.history)


@pytest.mark.parametrize("hook", [None, Hook()])
@pytest.mark.parametrize("market", Market)
def test_a_budget_is_told_a_term_ahead_then_parks_and_a_top_up_takes_it_up_again(
    market: Market, hook: Hook | None
) -> None:
    world = World(market=market)
    work = world.submit(limit_ucr=0, budget_ucr=500_000, hook=hook)
    world.cycle(4 * PERIOD - 60)
    assert work.life is Life.SEATED
    assert work.low.until_tick
    low = next(reason for reason in why(world.node, work, world.now_ns)["reasons"] if reason["reason"] == "budget")
    assert "its budget lasts for " in low["text"]
    assert "`tegctl top-up w1" in low["help"]
    assert row(world.node, work, world.now_ns)["note"] == "money runs out"
    assert any("its budget lasts until tick" in text for _, text in world.node.said)
    world.cycle(4 * PERIOD)
    assert (work.life, work.resume, work.waits.reason) == (Life.PARKED, hook is not None, "BUDGET")
    above = market is Market.AUCTION
    assert work.waits.missing == 100_000 + above - (500_000 - work.spent_ucr)
    world.carry_out(world.node.top_up(work, work.waits.missing - 1, 7))
    world.cycle(40)
    assert (work.life, work.waits.missing) == (Life.PARKED, 1), "it is not enough, and it is told so"
    world.carry_out(world.node.top_up(work, 5_000_000, 8))
    world.cycle(60)
    assert (work.life, work.low.until_tick) == (Life.SEATED, 0)
    assert world.started[-1] == work.airlock_id


def test_a_top_up_in_time_is_in_the_budget_and_nothing_ends() -> None:
    world = World()
    work = world.submit(limit_ucr=0, budget_ucr=500_000)
    world.cycle(4 * PERIOD - 60)
    assert work.low.until_tick
    world.carry_out(world.node.top_up(work, 5_000_000, 8))
    world.cycle(10)
    assert (work.low.until_tick, work.budget_ucr) == (0, 5_500_000)
    world.cycle(5 * PERIOD)
    assert work.token == 1
    assert any("does not run out any more" in text for _, text in work.history)


RESTARTS = ["nothing", "tegd, before the ledger heard", "tegd, before it heard the answer", "the ledger goes back"]


@pytest.mark.parametrize("money", ["budget_ucr", "endow_ucr"])
@pytest.mark.parametrize("restarts", RESTARTS)
@pytest.mark.parametrize("seated", [True, False], ids=["seated", "ordered"])
def test_a_top_up_is_taken_up_once_whatever_restarts_meanwhile(money: str, restarts: str, seated: bool) -> None:
    world = World()
    work = world.submit(limit_ucr=150_000, hook=None, **{money: 400_000})
    while work.life is not (Life.SEATED if seated else Life.ORDERED):
        world.cycle()
    world.ledger_up = restarts != RESTARTS[1]
    world.carry_out(world.node.top_up(work, 5_000_000, 8))
    if restarts == RESTARTS[2]:
        message = world.node.link.message(world.node.cycle)
        world.carry_out(world.node.step({}, world.now_ns))
        for said in (message, world.node.link.message(world.node.cycle)):
            if said is not None:
                world.hear(said)
    elif restarts == RESTARTS[1]:
        world.cycle(3)
    world.ledger_up = True
    if restarts in RESTARTS[1:3]:
        runs = dict(world.node.runs)
        world.boot(2)
        world.node.runs = runs
        world.node.submitted(msgspec.convert(msgspec.to_builtins(work), Workload))
        work = world.node.workloads[work.ref]
    elif restarts == RESTARTS[3]:
        world.node.rejoin(Link("n1", 2, world.now_ns))
        world.node.zone = None
    world.cycle(70)
    assert work.life is Life.SEATED
    lease = world.engine.state.leases[work.lease]
    if money == "budget_ucr":
        assert work.budget_ucr == lease.budget_ucr == 5_400_000
    else:
        assert lease.purse_ucr + lease.escrow_ucr + lease.paid_ucr == 5_400_000
    world.cycle(20 * PERIOD)
    assert (work.life, work.lease) == (Life.SEATED, lease.number), "what was added pays for its work"


def test_a_top_up_that_meets_the_end_of_its_lease_is_for_the_next_one_though_tegd_restarts() -> None:
    world = World()
    work = world.submit(limit_ucr=150_000, endow_ucr=220_000)
    while not world.engine.state.leases or work.life is not Life.LEAVING:
        world.cycle()
    world.ledger_up = False
    world.carry_out(world.node.top_up(work, 5_000_000, 8))
    world.end(work, cause="asked", saved=True, code=137)
    lease = world.engine.state.leases[work.lease]
    world.engine._end(lease, Reason.BANKRUPT)
    world.running.clear()
    world.boot(2)
    world.node.submitted(msgspec.convert(msgspec.to_builtins(work), Workload))
    work = world.node.workloads[work.ref]
    world.ledger_up = True
    world.cycle(80)
    assert work.life is Life.SEATED
    assert work.endow_ucr >= 5_000_000
    assert world.engine.state.leases[work.lease].purse_ucr >= 4_800_000


def test_what_the_account_pays_has_nothing_to_top_up() -> None:
    world = World()
    work = world.submit(limit_ucr=0)
    with pytest.raises(RefusedError, match="the account of ada pays for it") as refused:
        world.node.top_up(work, 5, 8)
    assert "tegctl mint ada" in refused.value.hint
    part = Workload(9, "p", "ada", 0, 0, 0, WorkloadSpec(argv=("x",), budget_ucr=5), home="n2")
    with pytest.raises(RefusedError, match="runs here for host n2"):
        world.node.top_up(part, 5, 8)


@pytest.mark.parametrize("hook", [None, Hook()])
def test_work_of_an_account_that_ran_dry_waits_and_goes_on_when_there_is_money_again(hook: Hook | None) -> None:
    world = World(funds_ucr=2_000_000)
    works = [world.submit(limit_ucr=0, hook=hook) for _ in range(2)]
    while not works[1].low.until_tick:
        world.cycle()
        assert world.engine.state.tick < 20 * PERIOD
    assert why(world.node, works[1], world.now_ns)["reasons"][0]["reason"] == "funds"
    while works[1].life is Life.SEATED:
        world.cycle()
        assert world.engine.state.tick < 40 * PERIOD
    world.cycle(70)
    assert (works[1].life, works[1].waits.reason, works[1].resume) == (Life.SEEKING, "FUNDS", hook is not None)
    assert works[1].waits.missing > 0
    world.engine.apply(Record(Op.MINT, 0, 0, 77, Mint(1, 50_000_000)))
    world.cycle(150)
    assert works[1].life is Life.SEATED


@pytest.mark.parametrize("code", [0, 3])
def test_who_ends_by_itself_is_never_queued_again(code: int) -> None:
    world = World()
    work = world.submit(hook=None)
    world.cycle(60)
    world.end(work, code=code)
    world.cycle(30)
    assert (work.life, work.exit_code, len(world.started)) == (Life.ENDED, code, 1)


def test_who_ends_well_when_asked_to_leave_is_done() -> None:
    world = World()
    work = world.submit(hook=None)
    world.cycle(60)
    world.engine.apply(Record(Op.EVICT, 0, 0, 99, Evict(work.lease)))
    world.cycle(10)
    end, world.end = world.end, lambda work, **_: end(work, cause="asked", code=0)
    world.cycle(80)
    assert (work.life, work.outcome) == (Life.ENDED, "exit code 0")


def test_what_was_lost_with_its_host_begins_anew() -> None:
    world = World()
    work = world.submit(hook=None)
    world.cycle(60)
    world.end(work, cause="lost", code=None)
    world.cycle(60)
    assert (work.life, work.resume, work.token) == (Life.SEATED, False, 2)


def test_an_order_says_who_pays_and_whether_it_may_displace() -> None:
    world = World()

    def flags(**spec) -> tuple[OrderFlag, int]:
        work = world.submit(**spec)
        fok = world.node._fok(work, Region(0, 4))
        return Traits.unpacked(fok.traits).flags, fok.endow_ucr

    world.node.travel = Travel(world.node, 3)
    assert flags(limit_ucr=0) == (OrderFlag.NONE, 0)
    assert flags(limit_ucr=5, hook=None) == (OrderFlag.NAMED | OrderFlag.UNSAVABLE, 0)
    assert flags(limit_ucr=0, budget_ucr=9) == (OrderFlag.BUDGETED, 9)
    assert flags(limit_ucr=0, budget_ucr=9, endow_ucr=7) == (OrderFlag.NONE, 7)
    assert flags(limit_ucr=0, budget_ucr=7, endow_ucr=9) == (OrderFlag.NONE, 7)
    assert flags(limit_ucr=0, here=True) == (OrderFlag.CONFINED, 0)


def test_what_was_kept_on_disk_before_budgets_is_read_and_its_purse_stays() -> None:
    old = Workload.accepted(1, "ada", (0, 0), 1, WorkloadSpec(argv=("x",), limit_ucr=5))
    fields = msgspec.to_builtins(old)
    for name in ("budget_ucr", "spent_ucr", "paid_ucr", "cost_ucr", "low", "hook_failed", "submitted_tick"):
        del fields[name]
    del fields["spec"]["budget_ucr"], fields["spec"]["requeue"]
    work = msgspec.convert(fields | {"endow_ucr": 20}, Workload)
    assert (work.own_ucr, work.has_purse, work.spec.requeue) == (20, True, True)


def test_a_default_limit_is_never_more_than_the_endowment_carries() -> None:
    """Quoted what displaces someone rich, a ghost bid more than it had, and was refused for that ever after."""
    world = World()
    rich = world.submit(sizes=(3,), limit_ucr=2_000_000)
    world.cycle(60)
    assert rich.life is Life.SEATED
    poor = world.submit(limit_ucr=0, endow_ucr=150_000)
    world.cycle(200)
    assert (poor.waits.reason, poor.limit_ucr, poor.endow_ucr) == ("TAKEN", 150_000, 150_000)
    world.carry_out(world.node.cancel(rich, world.now_ns))
    world.cycle(20)
    assert poor.life is Life.SEATED


def test_a_token_that_the_host_lacks_is_refused_with_a_reason() -> None:
    world = World()
    world.node.tokens = {}
    work = world.submit()
    world.cycle(60)
    assert work.life is Life.SEEKING
    assert work.waits.reason == Reason.TENANT.name


def test_a_ghost_that_cannot_pay_one_period_at_the_reserve_is_bankrupt_until_it_is_topped_up() -> None:
    world = World()
    work = world.submit(limit_ucr=300_000)
    work.endow_ucr = 90_000
    world.cycle(60)
    assert (work.life, work.waits.reason, work.waits.missing) == (Life.PARKED, "BUDGET", 10_001)
    world.carry_out(world.node.top_up(work, 2_000_000, 7))
    world.cycle(60)
    assert work.life is Life.SEATED


def test_a_ghost_whose_limit_is_low_and_whose_purse_is_not_goes_on_seeking() -> None:
    world = World()
    work = world.submit(limit_ucr=90_000, endow_ucr=900_000)
    world.cycle(200)
    assert work.life in {Life.SEEKING, Life.ORDERED}
    assert work.waits.reason == "PRICE"


def test_what_is_told_before_the_welcome_is_told_again() -> None:
    """Simulated seed 3: the Welcome was lost, the truth was not, and the host never introduced itself again."""
    world = World()
    welcomed, world.node.welcomed = world.node.welcomed, lambda welcome: None
    world.cycle(25)
    assert (world.node.mode, world.node.link.inbox.last_seq) == (Mode.SYNC, 0)
    world.node.welcomed = welcomed
    world.cycle(25)
    assert world.node.mode is Mode.RUN
    assert world.node.zone is not None


def test_a_rejection_of_an_earlier_boot_says_nothing_of_this_one() -> None:
    world = World()
    world.cycle(25)
    assert world.node.disowned(0) == []
    assert world.node.mode is Mode.RUN


def test_a_session_that_the_ledger_does_not_go_on_with_begins_anew_under_a_new_boot() -> None:
    world = World()
    work = world.submit()
    world.cycle(60)
    lease = work.lease
    world.engine.state.hosts[1].stale = True
    world.engine.state.rows.hosts.mark(1)
    assert [type(effect) for effect in world.node.disowned(1)] == [Rejoin]
    world.node.rejoin(Link("n1", 2, world.now_ns))
    world.cycle(60)
    assert (world.node.mode, work.life, work.lease) == (Mode.RUN, Life.SEATED, lease)
    before = work.term_end_ns
    world.cycle(TERM)
    assert work.term_end_ns > before, "renewed in the new session"


def test_notice_does_not_clear_a_seat_whose_work_still_runs() -> None:
    """Simulated seed 11: every notice was answered with RELEASE at once, and the slot was another's while work ran."""
    world = World()
    world.node.travel = Travel(world.node, 3)
    work = world.submit(hook=None)
    world.cycle(60)
    world.engine.apply(Record(Op.EVICT, 0, 0, 99, Evict(work.lease)))
    world.cycle(10)
    assert work.life is Life.LEAVING
    assert work.lease in world.engine.state.leases


def test_nothing_is_started_whose_lease_is_over_before_it_starts() -> None:
    """Simulated seed 130: FILLED and ENDED came in one message, and the run was started without token and term."""
    world = World()
    work = world.submit()
    world.cycle(60)
    assert [wanted.verb for wanted in start_calls(work, None, "/w", "/", {})] == ["start"]
    work.unseat()
    assert start_calls(work, None, "/w", "/", {}) == ()


def test_why_says_what_is_missing_in_credits_and_whether_the_ledger_was_ever_heard() -> None:
    world = World()
    work = world.submit()
    work.waits = Waits("PRICE", 50_000, 350_000, 0)
    texts = [reason["text"] for reason in why(world.node, work, world.now_ns)["reasons"]]
    assert texts[0] == "the scheduler (zone-ledger) has not been heard yet: this job stays pending, nothing new starts"
    assert texts[1] == "it bids 0.30 credits for a GPU slot and accounting period; the price is 0.35"
    world.node.beat_ns = world.now_ns - 10**9
    assert "was last heard 1 s ago" in why(world.node, work, world.now_ns)["reasons"][0]["text"]
    work.life, work.waits = Life.PARKED, Waits("BUDGET", 5_000_000)
    assert "`tegctl top-up w1 5.00`" in why(world.node, work, world.now_ns)["reasons"][1]["help"]


def test_two_raises_of_a_budget_in_one_cycle_are_both_told_to_the_ledger() -> None:
    world = World()
    work = world.submit(limit_ucr=0, budget_ucr=500_000)
    world.cycle(40)
    for budget_ucr in (700_000, 900_000):
        wanted = UpdateWorkload(name=work.name, budget_ucr=budget_ucr)
        world.carry_out(update(world.node, work, wanted, world.now_ns).effects)
    world.cycle(10)
    assert work.budget_ucr == world.engine.state.leases[work.lease].budget_ucr == 900_000


def test_a_lease_whose_end_was_not_heard_counts_in_full_against_a_budget() -> None:
    world = World()
    work = world.submit(budget_ucr=50_000_000)
    world.cycle(60)
    assert work.life is Life.SEATED
    price_ucr = work.price_ucr
    world.node.told.clear()
    world.node._synced(world.now_ns)
    assert world.node.zone is not None
    term = world.node.zone.term_ticks // world.node.zone.period_ticks
    assert work.spent_ucr >= price_ucr * term
    assert work.own_ucr == 50_000_000 - work.spent_ucr


def test_a_time_limit_becomes_less_while_it_runs_and_the_ledger_knows_it() -> None:
    world = World()
    work = world.submit(hook=None, time_s=100)
    world.cycle(40)
    lease = world.engine.state.leases[work.lease]
    with pytest.raises(RefusedError, match="that can only become less"):
        update(world.node, work, UpdateWorkload(name=work.name, time_s=101), world.now_ns)
    assert work.spec.time_s == 100
    assert "time limit 5 s" in update(world.node, work, UpdateWorkload(name=work.name, time_s=5), world.now_ns).text
    world.cycle(5)
    assert lease.traits.time_ticks == 100
    world.cycle(90)
    assert (work.life, work.outcome) == (Life.ENDED, "ended at its time limit of 5 s")


def test_a_time_limit_that_is_changed_while_an_order_is_out_holds_for_its_lease() -> None:
    world = World()
    work = world.submit(hook=None, time_s=100)
    while work.life is not Life.ORDERED:
        world.cycle()
    with pytest.raises(RefusedError, match="it can only have less"):
        update(world.node, work, UpdateWorkload(name=work.name, time_s=101), world.now_ns)
    update(world.node, work, UpdateWorkload(name=work.name, time_s=5), world.now_ns)
    world.cycle(6)
    assert world.engine.state.leases[work.lease].traits.time_ticks == 100


def test_what_waits_asks_with_its_new_time_limit() -> None:
    world = World()
    works = [world.submit() for _ in range(8)]
    world.cycle(80)
    late = world.submit(time_s=100)
    world.cycle(40)
    update(world.node, late, UpdateWorkload(name=late.name, time_s=200), world.now_ns)
    world.end(works[0])
    world.cycle(60)
    assert world.engine.state.leases[late.lease].traits.time_ticks >= 200 * 20
