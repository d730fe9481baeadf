"""The cyclic executive on a virtual clock: never faster, never making up for what it missed."""

from itertools import pairwise

from tegcore.clock import VirtualClock
from tegio.executive import Executive, Window

PERIOD = 50_000_000


async def run(durations_ns: list[int]) -> tuple[list[int], Executive]:
    clock, starts = VirtualClock(1_000), []

    async def sleep(seconds: float) -> None:
        clock.advance(round(seconds * 1e9))

    async def cycle(now_ns: int) -> None:
        starts.append(now_ns - 1_000)
        clock.advance(durations_ns[len(starts) - 1])
        if len(starts) == len(durations_ns):
            executive.stop()

    executive = Executive(clock, PERIOD, cycle, sleep)
    await executive.run()
    return starts, executive


async def test_cycles_start_on_their_deadlines() -> None:
    starts, executive = await run([1_000_000] * 5)
    assert starts == [number * PERIOD for number in range(5)]
    assert executive.skipped == 0
    assert executive.lateness_ms.quantiles() == (0.0, 0.0, 5)


async def test_an_overrun_skips_and_is_not_made_up_for() -> None:
    starts, executive = await run([120_000_000, 0, 0])
    assert starts == [0, 150_000_000, 200_000_000]
    assert executive.skipped == 2


async def test_after_a_late_start_the_next_is_a_whole_period_away() -> None:
    starts, _ = await run([49_000_000, 60_000_000, 0, 0])
    assert all(later - sooner >= PERIOD for sooner, later in pairwise(starts))


def test_a_window_keeps_the_latest() -> None:
    window = Window(3)
    assert window.quantiles().cycles == 0
    for value in (100, 1, 2, 3):
        window.add(value)
    assert window.quantiles() == (2, 3, 3)
