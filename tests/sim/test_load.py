"""Ordinary load on a small zone: what is measured is measured rightly, and what default jobs are promised holds."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tegcore.wire.control import Hook, WorkloadSpec
from tegd.ghosts import Ghosts
from tegsim.load.jobs import TICKS_PER_S, Job, Load, jobs
from tegsim.load.run import run
from tegsim.load.seen import fits
from tegsim.load.zone import Setting, Zone
from zone_ledger.audit import Audit
from zone_ledger.rules import LATEST

MARKETS = ("fixed", "auction")
NOBODY = Load(offered=1e-9, seconds=1)
LONG = 10**9


def job(
    size: int = 0, seconds: int = 60, host: int = 0, limit_ucr: int = 0, here: bool = False, hook: bool = False
) -> Job:
    spec = WorkloadSpec(
        argv=("simulated",), sizes=(size,), limit_ucr=limit_ucr, here=here, hook=Hook() if hook else None
    )
    return Job(0, host, 0, spec, seconds * TICKS_PER_S)


def zone(market: str, *given: Job, hosts: int = 1, log2_slots: int = 0) -> Zone:
    """A zone without load but what is given."""
    made = Zone(Setting(market, hosts, log2_slots, governed=False), NOBODY, 1)
    for one in given:
        made.submit(one)
    return made


# --- what comes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offered", [0.3, 3.0])
def test_a_load_asks_for_what_it_says(offered: float) -> None:
    load = Load(offered, seconds=1_000_000)
    asked = sum(one.ticks << one.spec.sizes[0] for one in jobs(load, 2, 16, 1000, 1))
    assert asked == pytest.approx(offered * 16 * load.seconds * TICKS_PER_S, rel=0.05)


def test_loads_differ_only_in_what_was_asked() -> None:
    plain, hooked = (list(jobs(Load(hooks=hooks, named=hooks), 2, 16, 1000, 1)) for hooks in (0.0, 1.0))
    assert [(one.tick, one.host, one.ticks, one.spec.sizes) for one in plain] == [
        (one.tick, one.host, one.ticks, one.spec.sizes) for one in hooked
    ]
    assert not any(one.spec.hook or one.spec.limit_ucr for one in plain)
    assert all(one.spec.hook and 1000 <= one.spec.limit_ucr <= 4000 for one in hooked)


def test_a_seed_is_one_history() -> None:
    load = Load(3.0, seconds=30, mean_s=10, hooks=0.5, named=0.5)
    one, again, other = (run(Setting("auction", governed=False), load, seed, 30) for seed in (1, 1, 2))
    assert one == again
    assert one["state"] != other["state"]


# --- what is seen ---------------------------------------------------------------------------------------------------


@given(st.integers(0, (1 << 16) - 1), st.lists(st.integers(0, 3), min_size=1, max_size=3))
@settings(deadline=None)
def test_what_fits_is_what_some_placement_fits(free: int, sizes: list[int]) -> None:
    blocks = [[((1 << (1 << size)) - 1) << at for at in range(0, 16, 1 << size)] for size in sizes]
    some = any(
        sum(chosen) & ~free == 0 and all(not one & two for one, two in itertools.combinations(chosen, 2))
        for chosen in itertools.product(*blocks)
    )
    assert fits(free, tuple(sizes), 16) == some


def test_slots_idle_beside_waiting_work_are_counted_by_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks: of a free block of four, two jobs of one slot and none of eight could have a place."""
    monkeypatch.setattr(Ghosts, "_ask", lambda self: [])
    idle = zone("fixed", job(0), job(0), job(3), log2_slots=2)
    idle.run(10)
    assert idle.seen.idle_ticks == 2 * 200
    assert idle.seen.idle_late_ticks == 2 * (200 - TICKS_PER_S)
    assert idle.seen.beside_ticks == 4 * 200


@pytest.mark.parametrize("market", MARKETS)
def test_work_that_is_alone_is_done_and_nothing_stood_idle(market: str) -> None:
    alone = zone(market, job(2, 30), log2_slots=2)
    alone.run(40)
    assert alone.seen.outcomes()["done"] == 1
    assert alone.seen.idle_late_ticks == 0
    assert alone.seen.waits()["max"] <= 0.5


@pytest.mark.parametrize("market", MARKETS)
def test_work_comes_to_its_end_on_other_hosts(market: str) -> None:
    away = zone(
        market, *(job(size, 5, number % 2) for number, size in enumerate((3, 3, 4, 2, 2))), hosts=2, log2_slots=3
    )
    away.drain(300)
    assert away.seen.outcomes() | {"outcomes": {}} == {
        "came": 5,
        "turned_away": 0,
        "done": 5,
        "against_their_will": 0,
        "outcomes": {},
        "parked_ever": 0,
        "parked_at_the_end": 0,
        "never_started": 0,
        "begun_again": 0,
        "begun_again_times": 0,
    }


def test_who_displaces_beside_free_room_is_seen_to() -> None:
    """It may sit on its own host only, and the other is empty: a rule could not have done otherwise, a count must."""
    beside = zone("auction", job(0, LONG, here=True), job(0, LONG, 1, here=True), hosts=2)
    beside.run(200)
    for leaves in beside.hosts[1].agent.node.workloads.values():
        beside.hosts[1].carry_out(beside.hosts[1].agent.node.cancel(leaves, beside.hosts[1].now_ns))
    beside.run(2)
    beside.submit(job(0, 30, 0, limit_ucr=10**6, here=True))
    beside.run(60)
    found = beside.seen.displacements()
    assert (found["leases"], found["orders"], found["pairs"]) == (1, 1, {"named over default": 1})
    assert (found["leases_beside_free_room"], found["leases_beside_room_that_stayed_free"]) == (1, 1)
    assert beside.seen.told["NOTICE_CHALLENGED"] == 1


def test_who_displaces_in_a_full_zone_is_not_beside_free_room() -> None:
    full = zone("auction", job(0, LONG, limit_ucr=50_000, hook=True))
    full.run(200)
    full.submit(job(0, 30, limit_ucr=10**6))
    full.run(10)
    found = full.seen.displacements()
    assert (found["leases"], found["leases_beside_free_room"]) == (1, 0)
    full.run(60)
    assert full.seen.outcomes()["done"] == 1
    assert full.seen.pieces[0].saved[0] > 0
    assert full.seen.pieces[0].lost_ticks == 0


def test_a_hook_that_fails_keeps_nobody_waiting_past_a_notice() -> None:
    holds = replace(job(0, 600, limit_ucr=50_000, hook=True), fails=True)
    full = zone("auction", holds)
    full.run(200)
    full.submit(job(0, 30, limit_ucr=10**6))
    full.run(10)
    assert full.seen.outcomes()["done"] == 0
    full.drain(900)
    assert full.seen.outcomes() | {"outcomes": {}} == {
        "came": 2,
        "turned_away": 0,
        "done": 2,
        "against_their_will": 0,
        "outcomes": {},
        "parked_ever": 0,
        "parked_at_the_end": 0,
        "never_started": 0,
        "begun_again": 1,
        "begun_again_times": 1,
    }
    assert 20 < full.seen.displacements()["longest_s"] <= 30


@pytest.mark.parametrize("market", MARKETS)
def test_an_auditor_comes_to_the_same_sums(market: str) -> None:
    audit = Audit(LATEST)
    booked = run(Setting(market, governed=False), Load(1.0, 120, 30, named=0.5), 1, 60, audit.batch)["ucr"]
    assert {name: audit.result()[name] for name in ("minted", "escrow", "evaporated")} == {
        name: booked[name] for name in ("minted", "escrow", "evaporated")
    }
    assert sum(audit.balances.values()) == booked["balances"]


# --- what default jobs are promised ---------------------------------------------------------------------------------

LOADS = (0.3, 1.0, 3.0)
ALIVE = 32


def promised(setting: Setting, load: Load, drain_s: float = 4 * 3600) -> None:
    """Nobody displaces anybody by default, room that is free is taken first, and nothing ends but by itself."""
    audit = Audit(LATEST)
    found = run(setting, load, 1, drain_s, audit.batch)
    gone, jobs = found["displaced"], found["jobs"]
    assert (gone["pairs"], gone["leases_beside_free_room"]) == ({}, 0)
    assert (jobs["against_their_will"], jobs["begun_again"], jobs["parked_ever"]) == (0, 0, 0), jobs["outcomes"]
    assert jobs["done"] == jobs["came"] > 0
    assert (audit.minted, audit.escrow, audit.evaporated) == (
        found["ucr"]["minted"],
        found["ucr"]["escrow"],
        found["ucr"]["evaporated"],
    )


@pytest.mark.parametrize("hooks", [0.0, 1.0])
@pytest.mark.parametrize("market", MARKETS)
def test_default_jobs_run_to_their_end(market: str, hooks: float) -> None:
    """A quarter of an hour at 300 %: longer than four periods, after which a default purse was empty."""
    promised(Setting(market, governed=False, alive=12), Load(3.0, 900, 300, tenants=3, hooks=hooks), 3600)


@pytest.mark.long
@pytest.mark.parametrize("hooks", [0.0, 1.0])
@pytest.mark.parametrize("tenants", [1, 3])
@pytest.mark.parametrize("offered", LOADS)
@pytest.mark.parametrize("market", MARKETS)
def test_default_jobs_run_to_their_end_for_hours(market: str, offered: float, tenants: int, hooks: float) -> None:
    promised(Setting(market, alive=ALIVE), Load(offered, 7200, tenants=tenants, hooks=hooks))


@pytest.mark.long
@pytest.mark.parametrize("market", MARKETS)
def test_default_jobs_run_to_their_end_for_a_day(market: str) -> None:
    promised(Setting(market, alive=ALIVE), Load(3.0, 86_400, tenants=3, hooks=0.5))


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("offered", [0.5, 0.9])
def test_nobody_displaces_beside_free_room_for_hours(offered: float, seed: int) -> None:
    named = run(Setting("auction", alive=ALIVE), Load(offered, 7200, 300, hooks=0.5, named=1.0), seed, 7200)
    assert named["displaced"]["leases"] > 0
    assert named["displaced"]["leases_beside_free_room"] == named["displaced"]["leases_in_their_first_term"] == 0


@pytest.mark.parametrize("offered", [0.5, 0.9])
def test_nobody_displaces_beside_free_room(offered: float) -> None:
    named = run(Setting("auction", governed=False, alive=ALIVE), Load(offered, 1800, 300, hooks=0.5, named=1.0), 1)
    assert named["displaced"]["leases"] > 0
    assert named["displaced"]["leases_beside_free_room"] == named["displaced"]["leases_in_their_first_term"] == 0
