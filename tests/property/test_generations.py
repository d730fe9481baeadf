"""What is kept of a gang: every generation whole or of no use, and the older one until the newer is whole."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tegcore.wire.peer import Source
from tegd import generations
from tegd.generations import BEGINNING, HOME, KEPT_MAX

HOLDERS = (HOME, "a", "b", "c")
SOURCES = st.lists(
    st.builds(
        Source,
        st.integers(1, 3),
        st.integers(1, 4),
        st.integers(0, 2),
        st.sampled_from(HOLDERS),
        st.just(3),
    ),
    max_size=40,
)
UP = st.sets(st.sampled_from(HOLDERS[1:]))


def all_ranks(sources, generation, counts=lambda _: True) -> bool:
    return {s.rank for s in sources if s.generation == generation and counts(s)} == {0, 1, 2}


@given(SOURCES, UP)
def test_what_ranks_begin_from_is_of_all_of_them_and_the_newest_that_can_be_had(sources, up) -> None:
    has = lambda source: source.holder == HOME or source.holder in up  # noqa: E731
    chosen = generations.basis(sources, 3, has)
    had = [s.generation for s in sources if all_ranks(sources, s.generation, has)]
    if any(all_ranks(sources, s.generation) for s in sources):
        assert chosen == max(had, default=None)
    else:
        assert chosen == BEGINNING
    assert generations.basis(sources, 2, has) in {None, BEGINNING}, "of another number of ranks"


@given(SOURCES, st.integers(1, 3))
def test_what_is_forgotten_is_older_than_what_is_needed_or_can_never_be_whole(sources, hopeful: int) -> None:
    least = generations.floor(sources)
    kept = generations.kept_on(sources, hopeful, least)
    for source in sources:
        if source in kept:
            assert source.generation >= least
        else:
            never = not all_ranks(sources, source.generation) and source.token != hopeful
            assert source.generation < least or never
    assert set(generations.whole(kept)) == {g for g in generations.whole(sources) if g >= least}
    assert generations.floor(kept) == least


@given(SOURCES, UP)
def test_copies_are_of_one_whole_generation_newer_than_what_is_whole_at_home(sources, up) -> None:
    copies = generations.to_copy(sources, lambda source: source.holder == HOME or source.holder in up)
    assert len({source.generation for source in copies}) <= 1
    for source in copies:
        assert source.generation > generations.floor(sources)
        assert all_ranks(sources, source.generation)
        assert source.holder != HOME
        assert msgspec.structs.replace(source, holder=HOME) not in sources
    done = [*sources, *(msgspec.structs.replace(source, holder=HOME) for source in copies)]
    assert not copies or generations.floor(done) == copies[0].generation


def test_a_copy_that_is_begun_is_gone_on_with_while_newer_ones_come() -> None:
    sources = [Source(1, number, rank, "ab"[rank], 2) for number in (1, 2) for rank in (0, 1)]
    sources.append(Source(1, 1, 0, HOME, 2))
    assert generations.to_copy(sources, lambda _: True) == [Source(1, 1, 1, "b", 2)]
    assert {s.number for s in generations.to_copy(sources, lambda s: s.holder != "b")} == {2}, "it cannot be had now"


@given(st.sets(st.integers(1, 60)), st.integers(0, 60))
def test_a_seat_keeps_what_is_oldest_and_newest_of_what_is_needed(numbers: set[int], least: int) -> None:
    needed, kept = sorted(number for number in numbers if number >= least), generations.bounded(numbers, least)
    assert len(kept) == min(len(needed), KEPT_MAX)
    assert kept[:2] == needed[:2]
    assert kept[-1:] == needed[-1:]


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.integers(1, 5000))
def test_ranks_of_one_lease_save_in_the_same_ticks(tick: int, token: int, every: int) -> None:
    due = generations.due_tick(tick, token, every)
    assert tick - every < due <= tick
    assert generations.due_tick(due, token, every) == due
    assert generations.due_tick(due + every - 1, token, every) == due
    assert generations.due_tick(due + every, token, every) == due + every
