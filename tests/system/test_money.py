"""Nobody loses work for money that they never heard of: what a user sees who says nothing about it, or one thing."""

import re
import sys

import pytest
from system.up import DEMO, GATED, LONG_NOTICE, SHIPPED, SHORT_PERIODS, WELCOME_UCR, Maker

from tegcore.units import credits_text
from tegcore.wire import control

pytestmark = pytest.mark.system

SPIN = (sys.executable, "-m", "tegctl.samples.spin", "--units", "1000000", "--pause-ms", "100")
CLOCK = ("sh", "-c", "while :; do date +%s; sleep 5; done")
DEAF = ("sh", "-c", f"trap '' USR1; {GATED}")
"""Says that it has a hook, and ignores the signal."""
MUTE = ("sh", "-c", f"trap : USR1; {GATED}")
"""Says that it has a hook, takes the signal, and never makes a mark."""
SAVING = re.compile(r"\b(un)?sav(e|ed|ing)\b")
"""What is said of a save that failed, whatever the words around it."""
SEATED_S = 20.0
SOON_S = 7.0
"""For what must come at once, on a busy machine."""


# --- paying ---------------------------------------------------------------------------------------------------------


def test_default_work_at_fixed_prices_runs_on(up: Maker) -> None:
    """The purse that it used to get carried it for some eight periods."""
    host = up(4, "fixed", SHORT_PERIODS)
    wide = host.run("wide", "--slots", "2", "--mem", "32M", "--cpu", "0.1")
    host.until(lambda: host.runs(wide), SEATED_S)
    names = [wide, host.run("clock", argv=CLOCK), host.run("spin", "--hook", argv=SPIN)]
    host.until(lambda: all(map(host.runs, names)), SEATED_S)
    leases = [host.lease(name) for name in names]
    host.for_ticks(
        16 * SHORT_PERIODS["period_ticks"],
        lambda: all(map(host.runs, names)) and [host.lease(name) for name in names] == leases,
    )
    (account,) = host.ask("ledger", control.Accounts())
    assert account["balance_ucr"] + account["escrow_ucr"] >= WELCOME_UCR
    assert host.ledger()["credits"]["evaporated"] > 0, "what is used is charged, whoever pays"
    host.check()


@pytest.mark.long
def test_default_work_runs_for_a_quarter_of_an_hour_as_shipped(up: Maker) -> None:
    """It used to be ended after 8.5 minutes, with all its credits on its account."""
    host = up(8, "fixed", SHIPPED)
    name = host.run("clock", argv=CLOCK)
    host.until(lambda: host.runs(name), SEATED_S)
    lease = host.lease(name)
    host.for_ticks(15 * 60 * 20, lambda: host.runs(name) and host.lease(name) == lease)
    assert len(host.log(name).split()) > 15 * 60 / 5 * 0.9
    host.check()


@pytest.mark.parametrize("market", ["fixed", "auction"])
@pytest.mark.parametrize("option", ["--budget", "--endow"])
def test_a_budget_that_ran_out_parks_what_cannot_be_saved_and_a_top_up_takes_it_up_again(
    up: Maker, market: str, option: str
) -> None:
    host = up(1, market, SHORT_PERIODS)
    name = host.run("poor", "--hook", option, f"{13 * host.reserve_ucr() / 1e6:.6f}", argv=DEAF)
    host.until(lambda: host.runs(name), SEATED_S)
    told_ahead = set()

    def parked() -> bool:
        if host.runs(name):
            told_ahead.update(host.reasons(name))
        return host.life(name) == "parked"

    host.until(parked, 45)
    host.for_ticks(60, lambda: host.life(name) == "parked")
    said = host.why(name)
    reasons = {reason["reason"]: reason for reason in said["reasons"]}
    assert "short of the price" not in str(said["reasons"])
    missing = reasons["budget"]["missing"]
    assert missing > 0
    assert credits_text(missing) in reasons["budget"]["text"]
    assert "budget" in told_ahead
    host.tegctl("top-up", name, credits_text(missing))
    host.until(lambda: host.begun(name) == 2, SEATED_S)
    host.check()


# --- who displaces whom ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bids", ["by default", "named"])
def test_as_many_jobs_as_slots_all_run_at_once_and_to_their_end(up: Maker, bids: str) -> None:
    """Three times over: where a job looks first is chance."""
    host = up(8, "auction", DEMO)
    reserve = host.reserve_ucr() / 1e6
    for wave in range(3):
        names = []
        for number in range(8):
            bid = ("--bid", f"{(1.5 + 0.5 * number) * reserve:.6f}") if bids == "named" else ()
            names.append(host.run(f"job-{wave}-{number}", *bid))
        host.until(lambda names=names: all(map(host.runs, names)), SEATED_S)
        host.let_end(*names)
        host.until(lambda names=names: all(host.life(name) == "ended" for name in names), SEATED_S)
        assert [(host.work(name)["exit_code"], host.begun(name)) for name in names] == [(0, 1)] * 8
        assert host.ledger()["evictions"] == 0
    host.check()


@pytest.mark.parametrize("hook", [True, False], ids=["hooked", "without a hook"])
def test_default_work_displaces_no_default_work_and_is_told_what_it_waits_for(up: Maker, hook: bool) -> None:
    host = up(1, "auction", DEMO)
    first, second = (host.run(name, "--hook", argv=SPIN) if hook else host.run(name) for name in ("first", "second"))
    host.until(lambda: host.runs(first) or host.runs(second), SEATED_S)
    if host.runs(second):
        first, second = second, first
    lease = host.lease(first)
    limits = set()

    def undisturbed() -> bool:
        limits.add(host.work(second)["limit_ucr"])
        return host.runs(first) and host.lease(first) == lease and host.ledger()["evictions"] == 0

    host.for_ticks(15 * 20, undisturbed)
    host.until(lambda: "taken" in host.reasons(second), SOON_S)
    assert not {"funds", "endowment"} & host.reasons(second).keys()
    assert max(limits) <= 4 * host.reserve_ucr()
    if hook:
        host.tegctl("cancel", first)
    else:
        host.let_end(first)
    host.until(lambda: host.runs(second), SEATED_S)
    assert host.ledger()["evictions"] == 0
    host.check()


def test_no_lease_is_displaced_in_its_first_term(up: Maker) -> None:
    host = up(1, "auction", DEMO)
    victim = host.run("victim")
    host.until(lambda: host.runs(victim), SEATED_S)
    end = host.first_term_end(victim)
    rival = host.run("rival", "--bid", host.rich_bid())

    def in_time() -> bool:
        ledger = host.ledger()
        return ledger["evictions"] == 0 or ledger["tick"] >= end

    host.until_tick(end, in_time)
    host.until(lambda: host.runs(rival), SEATED_S)
    host.check()


def test_a_rival_that_cancels_leaves_its_victim_where_it_was(up: Maker) -> None:
    host = up(1, "auction", LONG_NOTICE)
    victim = host.run("victim")
    host.until(lambda: host.runs(victim), SEATED_S)
    lease = host.lease(victim)
    host.until_tick(host.first_term_end(victim))
    rival = host.run("rival", "--bid", host.rich_bid())
    host.until(lambda: host.life(rival) == "waiting", SEATED_S)
    host.ask("tegd", control.CancelWorkload(name=rival))
    host.until(lambda: host.life(rival) == "ended", SOON_S)
    host.until(lambda: host.runs(victim), SOON_S)
    past_notice_and_term = LONG_NOTICE["notice_ticks"] + 100
    host.for_ticks(past_notice_and_term, lambda: host.runs(victim) and host.lease(victim) == lease)
    host.let_end(victim)
    host.until(lambda: host.life(victim) == "ended", SOON_S)
    assert (host.work(victim)["exit_code"], host.begun(victim)) == (0, 1)
    host.check()


@pytest.mark.parametrize("switch", ["--requeue", "--no-requeue"])
def test_a_hook_that_never_marks_holds_no_slot_against_a_bid(up: Maker, switch: str) -> None:
    """The rival takes both slots: one of a program that ignores the signal, one of a program that does nothing more."""
    host = up(2, "auction", DEMO)
    options = ("--hook", "--no-requeue") if switch == "--no-requeue" else ("--hook",)
    victims = [host.run("deaf", *options, argv=DEAF), host.run("mute", *options, argv=MUTE)]
    host.until(lambda: all(map(host.runs, victims)), SEATED_S)
    host.until_tick(max(map(host.first_term_end, victims)))
    rival = host.run("rival", "--slots", "2", "--bid", host.rich_bid())
    told_rival = []

    def won() -> bool:
        told_rival.append(host.told(rival))
        return host.runs(rival)

    host.until(won, DEMO["notice_ticks"] / 20 + SOON_S)
    assert SAVING.search("".join(told_rival)), host.story()
    if switch == "--no-requeue":
        host.until(lambda: all(host.life(name) == "ended" for name in victims), SOON_S)
        for name in victims:
            assert SAVING.search(host.told(name)), host.story()
        return
    host.until(lambda: all(host.life(name) in {"seeking", "ordered"} for name in victims), SOON_S)
    for name in victims:
        host.until(lambda name=name: "save_failed" in host.reasons(name), SOON_S)
    host.let_end(rival)
    host.until(lambda: all(map(host.runs, victims)), SEATED_S)
    assert [host.begun(name) for name in victims] == [2, 2]
    host.check()


# --- what becomes of those who are displaced ------------------------------------------------------------------------


def test_displaced_work_waits_and_begins_again_and_what_came_to_its_end_does_not(up: Maker) -> None:
    host = up(4, "auction", LONG_NOTICE)
    plain, quits, hooked = host.run("plain"), host.run("quits"), host.run("hooked", "--hook", argv=SPIN)
    victims = (plain, quits, hooked)
    host.until(lambda: all(map(host.runs, victims)), SEATED_S)
    host.until_tick(max(map(host.first_term_end, victims)))
    rival = host.run("rival", "--slots", "4", "--bid", host.rich_bid())
    host.until(lambda: host.life(rival) == "waiting", SEATED_S)
    host.let_end(quits)
    host.until(lambda: host.runs(rival), LONG_NOTICE["notice_ticks"] / 20 + SOON_S)
    assert (host.life(quits), host.work(quits)["exit_code"]) == ("ended", 0)
    host.for_ticks(40, lambda: all(host.life(name) in {"seeking", "ordered"} for name in (plain, hooked)))
    host.let_end(rival)
    host.until(lambda: host.runs(plain) and host.runs(hooked), SEATED_S)
    host.until(lambda: host.begun(plain) == 2, SOON_S)
    assert (host.begun(quits), host.begun(rival)) == (1, 1)
    host.until(lambda: host.log(hooked).count("spin: from unit") == 2, SOON_S)
    begun = [line for line in host.log(hooked).splitlines() if line.startswith("spin: from unit")]
    assert not begun[-1].startswith("spin: from unit 0 "), "it goes on from its checkpoint"
    host.let_end(plain)
    host.until(lambda: host.life(plain) == "ended", SOON_S)
    host.for_ticks(60, lambda: [host.life(name) for name in (plain, quits, rival)] == ["ended"] * 3)
    assert host.work(plain)["exit_code"] == 0
    host.check()


@pytest.mark.parametrize("switch", ["--requeue", "--no-requeue"])
def test_displaced_work_begins_again_or_ends_as_its_switch_says(up: Maker, switch: str) -> None:
    """Without a switch it is requeued."""
    host = up(1, "auction", DEMO)
    victim = host.run("victim", *(("--no-requeue",) if switch == "--no-requeue" else ()))
    host.until(lambda: host.runs(victim), SEATED_S)
    host.until_tick(host.first_term_end(victim))
    rival = host.run("rival", "--bid", host.rich_bid())
    host.until(lambda: host.runs(rival), DEMO["notice_ticks"] / 20 + SOON_S)
    lives = {"ended"} if switch == "--no-requeue" else {"seeking", "ordered"}
    host.for_ticks(60, lambda: host.life(victim) in lives)
    host.let_end(rival)
    host.until(lambda: host.life(rival) == "ended", SOON_S)
    if switch == "--no-requeue":
        host.for_ticks(60, lambda: host.life(victim) == "ended")
        assert host.begun(victim) == 1
    else:
        host.until(lambda: host.runs(victim), SEATED_S)
        host.until(lambda: host.begun(victim) == 2, SOON_S)
    host.check()
