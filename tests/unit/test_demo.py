"""What the demonstration shows: it fits a terminal of 80 x 24, and each caption has its time."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tegctl.commands import demo
from tegctl.demonstration import CAPTION_S, FIRST_WAVE, NUDGE, SECOND_WAVE, Scene, Story

PIECES = (*FIRST_WAVE, NUDGE, *SECOND_WAVE)
TOLD = {"job": "light-1", "bid": "0.305", "least": "0.300", "price": "0.123456", "more": "3.00"}


def row(name: str, tenant: str) -> dict[str, Any]:
    seat = {"life": "seated", "outcome": "", "blocks": [[4, 2]], "mem_bytes": 512 << 20}
    return {
        "name": name,
        "tenant": tenant,
        "price_ucr": 368_912,
        "limit_ucr": 1_000_000,
        "purse_ucr": 59_123_456,
    } | seat


def scene(story: Story, seconds: float) -> Scene:
    rows = [row(piece.name, piece.tenant) for piece in PIECES]
    ledger = {"credits": {"minted": 400_000_000, "evaporated": 123_456_789}}
    return Scene(seconds, rows, ledger, {}, [], story.events, story.now_read(seconds))


def drawn(of: Scene) -> list[str]:
    console = Console(width=demo.WIDTH, height=demo.HEIGHT, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(demo._picture(of))
    return capture.get().splitlines()


@pytest.mark.parametrize("number", range(5))
def test_each_caption_fits_a_small_terminal_with_all_jobs_and_is_whole(number: int) -> None:
    story = Story()
    event = story.events[number]
    story.happened(event, 100.0, **TOLD)
    lines = drawn(scene(story, 100.0))
    assert len(lines) < demo.HEIGHT
    assert all(len(line) <= demo.WIDTH and "…" not in line for line in lines)
    assert " ".join(line[2:].strip() for line in lines if line.startswith("> ")).strip() == event.caption
    assert all(any(line.startswith(piece.name) for line in lines) for piece in PIECES)
    assert all(any(other.title in line for line in lines) for other in story.events)


def test_captions_of_events_that_come_at_once_are_read_one_after_another() -> None:
    story = Story()
    assert story.now_read(0.0) is None
    for event in story.events[:3]:
        story.happened(event, 1.0, **TOLD)
    seen = [story.now_read(1.0 + CAPTION_S * number) for number in range(4)]
    assert seen == [*story.events[:3], story.events[2]]
    assert story.is_read(1.0 + CAPTION_S * 4)
    story.happened(story.events[3], 100.0, **TOLD)
    assert story.now_read(100.0) is story.events[3], "what is long read does not keep the next from being told"
    assert not story.is_read(100.0)


def test_without_a_terminal_each_caption_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    story, tell = Story(), demo._teller()
    story.happened(story.purse, 2.0, **TOLD)
    for seconds in (2.0, 3.0):
        tell(scene(story, seconds))
    told = capsys.readouterr().out
    assert told.count(story.purse.title) == 1
    assert all(len(line) <= demo.WIDTH for line in told.splitlines())


def test_it_ends_on_one_screen_with_what_was_shown_and_what_to_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    story = Story()
    for event in story.events:
        story.happened(event, 12.3, **TOLD)
    times = {"environment_s": 2.1, "download_s": 14.2, "installation_s": 61.0, "installed_bytes": 354_000_000}
    monkeypatch.setattr(demo, "TIMES", tmp_path / "times.json")
    demo.TIMES.write_text(json.dumps(times))
    credits_now = dict.fromkeys(("minted", "balances", "evaporated"), 399_999_999) | {"escrow": 0}
    trip = {"p50": 64.0, "p99": 506.0}
    summary = {"finished_right": 12, "workloads": dict.fromkeys(range(12)), "credits": credits_now, "seconds": 41.2}
    summary |= {"replay_hash_equal": True, "order_round_trip_ms": trip, "first_picture_s": 3.2}
    demo._print_end(summary, story.events, Path("build/demo/summary.json"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < demo.HEIGHT
    assert all(len(line) <= demo.WIDTH for line in lines)
    assert any("environment 2 s, installation 61 s, show 41 s" in line for line in lines)
    assert all(any(event.title in line for line in lines) for event in story.events)
