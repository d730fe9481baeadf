"""The airlock under memory pressure, on a simulated host: nothing is killed, nothing is left frozen, order is kept."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_host import Host, Piece, Work

from tegd.airlock.phases import TABLE, Phase, Sign
from tegd.airlock.pressure import Act, step
from tegd.airlock.readings import MIB, Life, Member, Reading, Settings, reserve_bytes
from tegd.airlock.signs import Airlock
from tegd.airlock.thinning import Part

RAM, SLOTS = 400.0 * MIB, 200.0 * MIB
HISTORIES = int(os.environ.get("TEG_HISTORIES", "200"))
COUNTS = [pytest.param(80, id="some"), pytest.param(HISTORIES, id="all", marks=pytest.mark.slow)]


def grown(name: str, rank: float, start: float, peak: float, growth: float, work_s: float, **more: object) -> Work:
    return Work(name, rank, start * MIB, peak * MIB, growth * MIB, work_s, **more)  # type: ignore[arg-type]


def test_every_phase_answers_every_sign() -> None:
    assert set(TABLE) == {(phase, sign) for phase in Phase for sign in Sign}


@pytest.mark.parametrize(("growth", "freeze_ms"), [(5, 50), (20, 50), (20, 200), (25, 200)])
def test_two_that_fit_with_zram_are_left_alone(growth: float, freeze_ms: int) -> None:
    """S1: 240 + 240 MiB on 400 with 200 of zRAM."""
    works = [grown("a", 1, 20, 240, growth, 60), grown("b", 2, 20, 240, growth, 60)]
    host = Host(RAM, SLOTS, works, freeze_ns=freeze_ms * 10**6)
    host.run(120)
    assert not host.killed
    assert not host.works
    assert {request.act for request in host.asked} <= {Act.PARK}


@pytest.mark.parametrize("ratio", [3.0, 1.02])
def test_the_weaker_is_saved_while_the_stronger_grows(ratio: float) -> None:
    """S2 and S4: weaker resident, stronger grows at 25 MiB/s beyond what is left, compressible and not."""
    weak, strong = (200, 380) if ratio > 2 else (150, 325)
    works = [grown("weak", 1, weak, weak, 0, 40, ratio=ratio), grown("strong", 2, 10, strong, 25, 40, ratio=ratio)]
    host = Host(RAM, SLOTS, works)
    host.run(300)
    assert not host.killed
    assert not host.works
    assert "strong" not in {request.name for request in host.asked if request.act is Act.SAVE}


def test_the_weaker_that_leaks_waits_for_the_stronger() -> None:
    """S5: nothing needs to be saved."""
    host = Host(RAM, SLOTS, [grown("leak", 1, 10, 400, 16, 60), grown("steady", 2, 180, 180, 0, 40)])
    host.run(300)
    assert not host.killed
    assert not host.works
    assert {request.act for request in host.asked} <= {Act.SEAL, Act.PARK, Act.THAW}
    assert {request.name for request in host.asked if request.act is Act.SEAL} == {"leak"}


def swarm(name: str, rank: float, count: int, peak: float, growth: float, work_s: float, apart_s: float = 0.1) -> Work:
    pieces = [Piece(number * apart_s, peak * MIB, growth * MIB, work_s) for number in range(count)]
    return Work(name, rank, 4 * MIB, 0, 0, 1e9, savable=False, pieces=pieces)


def test_a_swarm_that_does_not_fit_even_alone_gives_way_in_parts() -> None:
    """S3, and more: 60 x 14 MiB that compress threefold, on 400 MiB with 200 of zRAM."""
    host = Host(RAM, SLOTS, [grown("steady", 2, 125, 125, 0, 60), swarm("swarm", 1, 60, 14, 4, 12)])
    host.run(900)
    assert not host.killed
    assert not host.works
    acts = {(request.act, request.name) for request in host.asked}
    assert (Act.THIN, "swarm") in acts
    assert not {(Act.SEAL, "steady"), (Act.HOLD, "steady")} & acts


@pytest.mark.parametrize(("count", "peak"), [(3, 220), (10, 90), (40, 40)])
def test_a_swarm_alone_on_the_host_gives_way_to_itself(count: int, peak: float) -> None:
    host = Host(RAM, SLOTS, [swarm("swarm", 1, count, peak, 8, 10)])
    host.run(3000)
    assert not host.killed
    assert not host.works
    assert {request.act for request in host.asked} <= {Act.THIN, Act.PARK}


def test_a_swarm_that_fits_is_left_alone() -> None:
    host = Host(RAM, SLOTS, [swarm("swarm", 1, 30, 10, 4, 10), grown("steady", 2, 60, 60, 0, 40)])
    host.run(100)
    assert not host.works
    assert not [request for request in host.asked if request.act is not Act.PARK]


def test_who_has_the_host_for_itself_is_never_held() -> None:
    host = Host(RAM, SLOTS, [grown("only", 1, 10, 500, 100, 30)])
    host.run(60)
    assert {request.act for request in host.asked} <= {Act.PARK}


def test_where_nobody_can_be_saved_all_are_held_and_the_operator_is_told() -> None:
    works = [
        grown("weak", 1, 50, 300, 20, 40, ratio=1.02, savable=False),
        grown("strong", 2, 10, 325, 25, 40, ratio=1.02, savable=False),
    ]
    host = Host(RAM, SLOTS, works)
    host.run(60)
    assert not host.killed
    assert host.alerts == 1
    assert {work.life for work in host.works} <= {Life.SEALED, Life.HELD}


def test_where_nobody_can_be_saved_one_that_grows_no_more_comes_to_its_end_first() -> None:
    works = [
        grown("weak", 1, 150, 150, 0, 40, ratio=1.02, savable=False),
        grown("strong", 2, 10, 325, 25, 40, ratio=1.02, savable=False),
    ]
    host = Host(RAM, SLOTS, works)
    host.run(200)
    assert not host.killed
    assert not host.works


def test_a_save_that_fails_is_tried_again_and_costs_nothing_but_time() -> None:
    works = [
        grown("weak", 1, 150, 150, 0, 60, ratio=1.02, save_fails=2),
        grown("strong", 2, 10, 325, 25, 40, ratio=1.02),
    ]
    host = Host(RAM, SLOTS, works)
    host.run(300)
    assert not host.killed
    assert not host.works


def test_pages_of_one_are_not_taken_to_compress_as_those_of_another_do() -> None:
    """The first pages in zRAM are of one that compresses fivefold; those of the swarms beside it do not at all."""
    swarms = [swarm("bees", 1, 27, 15.5, 7.4, 16, 0.086), swarm("ants", 2, 11, 6.8, 8, 5, 0.97)]
    for work in swarms:
        work.ratio = 1.02
    host = Host(RAM, SLOTS, [*swarms, grown("soft", 3, 21.4, 181, 11, 22, ratio=5)], reclaim=30.0 * MIB)
    host.run(600)
    assert not host.killed
    assert not host.works


@st.composite
def histories(draw: st.DrawFn, *, all_savable: bool) -> Host:
    """Each alone fits in memory beside the reserve, and can be saved, some at the third attempt.

    A swarm may not fit and cannot be saved, but each of its processes is small. Some come late.
    """
    works = []
    for number in range(draw(st.integers(2, 8))):
        if draw(st.sampled_from([False, False, False, True])):
            count, peak, growth = draw(st.integers(2, 40)), draw(st.floats(2, 20)), draw(st.floats(1, 8))
            pieces = swarm(f"w{number}", number, count, peak, growth, draw(st.floats(2, 20)), draw(st.floats(0.05, 1)))
            pieces.ratio = draw(st.sampled_from([1.02, 2.0, 3.0, 5.0]))
            works.append(pieces)
            continue
        comes_s = draw(st.sampled_from([0.0, 0.0, 5.0, 20.0]))
        start = draw(st.floats(1, 60)) if comes_s == 0 else 1.0
        peak = draw(st.floats(start, 300))
        growth, seconds = draw(st.floats(1, 25)), draw(st.floats(5, 60))
        ratio = draw(st.sampled_from([1.02, 2.0, 3.0, 5.0]))
        fails = draw(st.sampled_from([0, 0, 0, 1, 2]))
        more = {
            "save_fails": fails,
            "savable": all_savable or draw(st.booleans()),
            "comes_s": comes_s,
        }
        works.append(grown(f"w{number}", number, start, peak, growth, seconds, ratio=ratio, **more))
    slots, reclaim = draw(st.sampled_from([0.25, 1.0, 2.0])), draw(st.sampled_from([30.0, 60.0, 200.0]))
    return Host(
        RAM, SLOTS * slots, works, reclaim=reclaim * MIB, write=draw(st.sampled_from([10.0, 25.0, 100.0])) * MIB
    )


@pytest.mark.parametrize("count", COUNTS)
def test_whatever_they_do_all_come_to_their_end(count: int) -> None:
    @settings(max_examples=count, deadline=None)
    @given(histories(all_savable=True))
    def they_do(host: Host) -> None:
        host.run(3000)
        assert not host.killed
        assert not host.works, (host.airlock, host.reading())

    they_do()


@pytest.mark.parametrize("count", COUNTS)
def test_without_a_hook_work_may_wait_for_an_operator_but_is_not_killed(count: int) -> None:
    @settings(max_examples=count, deadline=None)
    @given(histories(all_savable=False))
    def nobody_is(host: Host) -> None:
        while (host.works or host.later) and not host.killed and not host.alerts and host.now_s < 3000:
            host.run(10)
        assert not host.killed
        assert not host.works or host.alerts, (host.airlock, host.reading())

    nobody_is()


def test_after_the_last_that_can_be_saved_nobody_runs_on_without_room() -> None:
    bare = tuple(Member(name, 1, Life.HELD, resident_bytes=180 * MIB) for name in "ab")
    saved = Member("saved", 0, Life.PARKED, image_bytes=20 * MIB)
    reading = Reading(10**9, int(RAM), 6 * MIB, 0, int(SLOTS), int(SLOTS), 0, 0, (*bare, saved))
    airlock, requests = step(Airlock(phase=Phase.ESCAPING), reading, Settings(reserve_bytes(int(RAM))), 10**8)
    assert airlock.phase is Phase.SUSPENDED
    assert Act.THAW not in {request.act for request in requests}


def test_what_is_known_of_pages_is_not_forgotten_when_zram_is_empty() -> None:
    hard = Member("hard", 1, Life.RUNNING, resident_bytes=180 * MIB)
    reading = Reading(10**9, int(RAM), 200 * MIB, int(SLOTS), 0, 0, 0, 0, (hard,))
    limits = Settings(reserve_bytes(int(RAM)))
    known, _ = step(Airlock(ratios={"hard": 1.02}), reading, limits, 10**8)
    unknown, _ = step(Airlock(), reading, limits, 10**8)
    assert known.ratio == pytest.approx(1.02)
    assert known.headroom_bytes < unknown.headroom_bytes


def test_whose_pages_do_not_compress_is_forgotten_with_them() -> None:
    hard = Member("hard", 1, Life.SEALED, resident_bytes=40 * MIB)
    reading = Reading(10**9, int(RAM), 300 * MIB, int(SLOTS) - 40 * MIB, 40 * MIB, 39 * MIB, 0, 0, (hard,))
    before = Airlock(phase=Phase.SEALED, unparkable=frozenset({"hard", "gone"}))
    after, _ = step(before, reading, Settings(reserve_bytes(int(RAM))), 10**8)
    assert after.unparkable == {"hard"}


def test_slots_that_no_page_will_fill_are_not_room() -> None:
    """Plenty of slots are free, but the pages that hold the memory do not compress and are kept out of them."""
    first = Member("first", 1, Life.SEALED, resident_bytes=190 * MIB)
    last = Member("last", 2, Life.RUNNING, resident_bytes=190 * MIB)
    known = Airlock(phase=Phase.SEALED, ratios={"first": 1.02, "last": 1.02}, shielded=frozenset({"first", "last"}))
    reading = Reading(10**9, int(RAM), 2 * MIB, int(SLOTS), 20 * MIB, 18 * MIB, 0, 0, (first, last))
    airlock, requests = step(known, reading, Settings(reserve_bytes(int(RAM))), 10**8)
    assert airlock.headroom_bytes == 2 * MIB - reserve_bytes(int(RAM)) + int(2 * MIB * (1 - 1 / airlock.ratio))
    assert (Act.HOLD, "last") in {(request.act, request.name) for request in requests}


def test_who_is_being_saved_may_be_swapped_out() -> None:
    saved = Member("hard", 1, Life.SAVING, resident_bytes=40 * MIB)
    assert shielded(saved, Member("soft", 1, Life.HELD, resident_bytes=40 * MIB)) == set()


def shielded(*members: Member) -> set[str]:
    reading = Reading(10**9, int(RAM), 300 * MIB, int(SLOTS) - 40 * MIB, 40 * MIB, 30 * MIB, 0, 0, members)
    known = Airlock(ratios={"hard": 1.02, "soft": 3.0})
    _, requests = step(known, reading, Settings(reserve_bytes(int(RAM))), 10**8)
    return {request.name for request in requests if request.act is Act.SHIELD}


def test_pages_that_gain_nothing_in_zram_stay_out_of_it_while_others_may_need_its_slots() -> None:
    hard, soft = (Member(name, 1, Life.RUNNING, resident_bytes=40 * MIB) for name in ("hard", "soft"))
    assert shielded(hard, soft) == {"hard"}
    assert shielded(hard) == set(), "who is alone is left to the kernel"
    assert shielded(soft, Member("new", 1, Life.RUNNING, resident_bytes=40 * MIB)) == set()


FITS = {
    Act.SEAL: {Life.RUNNING},
    Act.HOLD: {Life.RUNNING},
    Act.THIN: {Life.RUNNING, Life.SEALED, Life.HELD},
    Act.PARK: {Life.RUNNING, Life.SEALED, Life.HELD},
    Act.SAVE: {Life.SEALED, Life.HELD},
    Act.THAW: {Life.SEALED, Life.HELD},
    Act.RESTORE: {Life.PARKED},
    Act.ALERT: {Life.SEALED, Life.HELD},
}
SIZES = st.integers(0, 500).map(lambda mib: mib * MIB)


@st.composite
def members(draw: st.DrawFn, name: str) -> Member:
    parts = [Part(n, n, draw(SIZES), draw(st.booleans())) for n in range(draw(st.integers(0, 3)))]
    rank, life, flag = draw(st.integers(0, 2)), draw(st.sampled_from(Life)), st.booleans()
    flags = draw(flag), draw(flag), draw(flag)
    return Member(name, rank, life, draw(SIZES), draw(SIZES), *flags, draw(SIZES), draw(SIZES), tuple(parts))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_a_reading_says_what_is_asked_fits_whom_it_is_asked_of(data: st.DataObject) -> None:
    """Every phase meets every sign, whether or not the one leads to the other on a host."""
    airlock, limits = Airlock(), Settings(reserve_bytes(int(RAM)))
    for number in range(1, data.draw(st.integers(2, 8))):
        seen = tuple(data.draw(members(name)) for name in "abc"[: data.draw(st.integers(0, 3))])
        counts = [data.draw(SIZES) for _ in range(6)]
        airlock = airlock._replace(phase=data.draw(st.sampled_from(Phase)))
        reading = Reading(number * 10**9, int(RAM), *counts, seen)
        airlock, requests = step(airlock, reading, limits, 10**8)
        lives = {member.name: member for member in seen}
        assert all(lives[r.name].life in FITS[r.act] for r in requests if r.act in FITS)
        thinned = [r for r in requests if r.act is Act.THIN]
        assert all(len(r.parts) < len(lives[r.name].parts) for r in thinned), "one of its parts always runs"
