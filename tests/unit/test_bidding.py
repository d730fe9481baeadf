"""Just-in-time memory: what is bought covers the prediction, by less than a step too much."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tegcore.units import GIB, MIB
from tegd.bidding import GIVE_BACK_SHARE, STEP_BYTES, Usage, expansion_bytes, predicted_bytes, rank, use_permille
from tegd.calls import run_of

sizes = st.integers(0, 64 * GIB)


@settings(max_examples=200, deadline=None)
@given(sizes, sizes, sizes)
def test_an_expansion_covers_what_is_wanted_and_no_whole_step_more(held: int, wanted: int, floor: int) -> None:
    delta = expansion_bytes(held, wanted, floor)
    assert delta % STEP_BYTES == 0
    if wanted > held:
        assert 0 <= held + delta - wanted < STEP_BYTES
    else:
        assert delta <= 0


@settings(max_examples=200, deadline=None)
@given(sizes, sizes, sizes)
def test_what_is_given_back_leaves_the_floor_and_a_step_to_grow(held: int, wanted: int, floor: int) -> None:
    delta = expansion_bytes(held, wanted, floor)
    if delta < 0:
        assert wanted < held * GIVE_BACK_SHARE
        assert held + delta >= max(floor, wanted + STEP_BYTES)


def test_the_prediction_follows_growth_and_ignores_decline() -> None:
    level, growing = Usage(0, 100 * MIB, 0), Usage(1_000_000_000, 110 * MIB, 0)
    assert predicted_bytes(level, growing) == int((110 + 2 * 10) * MIB * 1.05)
    assert predicted_bytes(growing._replace(at_ns=0), level._replace(at_ns=1_000_000_000)) == int(100 * MIB * 1.05)
    assert predicted_bytes(growing, growing) == int(110 * MIB * 1.05)


def test_use_is_the_larger_share_of_what_is_held() -> None:
    before, now = Usage(0, 0, 0), Usage(1_000_000_000, 256 * MIB, 500_000_000)
    assert use_permille(before, now, cpu_milli=1000, held_bytes=GIB) == 500
    assert use_permille(before, now, cpu_milli=4000, held_bytes=GIB) == 250
    assert use_permille(before, now, cpu_milli=100, held_bytes=0) == 1000
    assert use_permille(before, now, cpu_milli=0, held_bytes=0) == 1000


def test_who_an_account_pays_ranks_by_its_mass_and_who_has_money_of_its_own_by_that_too() -> None:
    assert rank(None, 5, 2_000_000) == 2.0
    assert rank(15, 5, 2_000_000) == 1.5
    assert rank(0, 5, 2_000_000) == 0.0
    assert rank(None, 5, 0) == rank(15, 5, 0) == 0.0


ENTRY = {
    "workload": "1.1",
    "state": "running",
    "cause": "",
    "exit_code": None,
    "saved_ns": 0,
    "problem": "",
    "flaw": "",
    "proof": "",
    "by": "hook",
    "savable": "hook",
}


@pytest.mark.parametrize(
    ("changes", "failed", "proved"),
    [
        ({}, "", False),
        ({"problem": "no mark"}, "no mark", False),
        ({"problem": "no mark", "state": "frozen"}, "no mark", False),
        ({"problem": "no mark", "by": "dump"}, "", False),
        ({"problem": "/no/such", "state": "ended"}, "", False),
        ({"problem": "not restored", "proof": "proved"}, "", True),
        ({"proof": "failed", "flaw": "hook: no mark"}, "no mark", False),
        ({"proof": "proved", "flaw": "hook: no mark", "savable": "dump"}, "no mark", False),
        ({"proof": "proved"}, "", True),
    ],
)
def test_a_hook_has_failed_where_a_save_or_its_proof_by_it_did(changes: dict, failed: str, proved: bool) -> None:
    run = run_of(ENTRY | changes)
    assert (run.hook_failed, run.hook_proved) == (failed, proved)
    assert (run.comeback, run.quits) == ("", False)


def test_what_a_proof_showed_of_the_comeback_is_no_failure() -> None:
    run = run_of(ENTRY | {"proof": "proved", "flaw": "its shell keeps the words", "quits": True})
    assert (run.hook_failed, run.hook_proved, run.comeback, run.quits) == ("", True, "its shell keeps the words", True)
