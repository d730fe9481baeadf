"""What is kept of a workload: generations of checkpoints, each of all ranks or of no use.

A generation is what the ranks of one lease have saved for one and the same request. It is named by the lease's token
and by a number that every seat knows without asking another: for a save in passing the tick of the ledger in which it
was due, for the last one the deadline of the notice. A save that nobody asked all ranks for is of no generation. Of
work with one rank each save is one, and they are counted.

A generation is *whole* where each of its ranks is held by somebody. The home copies the newest whole one rank by rank;
the newest that is whole at home is the *floor*: what is older may go, at home and at every seat, and nothing else may
but what can never become whole. A lease begins from the newest generation that is whole at holders that answer, all
ranks from the same, or from none.
"""

from collections.abc import Callable, Collection, Iterable

from tegcore.wire.peer import Source

HOME = ""
"""Holder of what lies on the shelf of the workload itself; a part that sits on its home's host has a shelf of its own,
and is called by the host's name, as any other seat."""
BEGINNING = (0, 0)
"""The generation of who has saved nothing: older than all others."""
KEPT_MAX = 4
"""Generations that a seat keeps while its home does not answer, the two oldest and the two newest."""

Generation = tuple[int, int]
Counts = Callable[[Source], bool]


def _any(_: Source) -> bool:
    return True


def ranks_of(sources: Iterable[Source], generation: Generation) -> int:
    """How many ranks a generation has, whoever holds them."""
    return max((max(source.ranks, source.rank + 1) for source in sources if source.generation == generation), default=0)


def whole(sources: Collection[Source], counts: Counts = _any) -> list[Generation]:
    """Generations of which every rank is with a holder that counts, the newest first."""
    held: dict[Generation, set[int]] = {}
    for source in sources:
        if counts(source):
            held.setdefault(source.generation, set()).add(source.rank)
    full = [generation for generation, ranks in held.items() if len(ranks) == ranks_of(sources, generation)]
    return sorted(full, reverse=True)


def floor(sources: Collection[Source]) -> Generation:
    """The newest generation that is whole at home."""
    return max(whole(sources, lambda source: source.holder == HOME), default=BEGINNING)


def kept_on(sources: Collection[Source], hopeful: int, least: Generation) -> list[Source]:
    """Those that are of any use: of the floor on, what is whole, and what may still become whole.

    Args:
        sources: All that are known.
        hopeful: Token of the lease of which more may be heard.
        least: The floor, or what is older and still needed.
    """
    full = set(whole(sources))
    useful = (s for s in sources if s.generation >= least and (s.generation in full or s.token == hopeful))
    return sorted(set(useful), reverse=True)


def to_copy(sources: Collection[Source], up: Counts) -> list[Source]:
    """What the home is to copy next: of each rank that it lacks of one whole generation, a holder that answers.

    A generation that is half here is gone on with while that can be done: else a gang that saves faster than it can be
    copied would never be whole at home.
    """
    least = floor(sources)
    full = [generation for generation in whole(sources) if generation > least]
    at_home = {(source.generation, source.rank) for source in sources if source.holder == HOME}
    had = [generation for generation in whole(sources, up) if generation > least]
    begun = [generation for generation in had if any(generation == there for there, _ in at_home)]
    wanted = next(iter(begun or had or full), None)
    if wanted is None:
        return []
    lacking = [rank for rank in range(ranks_of(sources, wanted)) if (wanted, rank) not in at_home]
    found = (_holder(sources, wanted, rank, up) for rank in lacking)
    return [source for source in found if source is not None]


def _holder(sources: Collection[Source], generation: Generation, rank: int, up: Counts) -> Source | None:
    held = [s for s in sources if s.generation == generation and s.rank == rank and s.holder != HOME]
    return next(iter([s for s in held if up(s)] or held), None)


def basis(sources: Collection[Source], ranks: int, up: Counts) -> Generation | None:
    """What all ranks of a lease begin from: the newest whole generation that can be had now.

    Args:
        sources: All that are known.
        ranks: Of the lease.
        up: Whether a holder answers.

    Returns:
        `BEGINNING` where nothing whole was ever kept; None where there is something, and it cannot be had now, or it
        is of another number of ranks.
    """
    full = whole(sources)
    if not full:
        return BEGINNING
    fitting = [generation for generation in whole(sources, up) if ranks_of(sources, generation) == ranks]
    return max(fitting, default=None)


def lacking(sources: Collection[Source], counts: Counts = _any) -> tuple[Generation, list[int]] | None:
    """The newest generation that is not whole at holders that count, and the ranks that it lacks; None where all are.

    Args:
        sources: All that are known.
        counts: Whether a holder counts.
    """
    full = set(whole(sources, counts))
    newest = max((source.generation for source in sources), default=BEGINNING)
    if newest == BEGINNING or newest in full:
        return None
    held = {source.rank for source in sources if source.generation == newest and counts(source)}
    return newest, [rank for rank in range(ranks_of(sources, newest)) if rank not in held]


def bounded(numbers: Collection[int], least: int) -> list[int]:
    """What a seat keeps of one lease's generations: those from the floor on, at most `KEPT_MAX`, in order.

    Args:
        numbers: What it has.
        least: The floor, as its home said; 0: the home has none of this lease.
    """
    kept = sorted(number for number in set(numbers) if number >= least)
    while len(kept) > KEPT_MAX:
        del kept[KEPT_MAX // 2]
    return kept


def due_tick(tick: int, token: int, every_ticks: int) -> int:
    """The latest tick in which all ranks of a lease were to save in passing; leases have theirs at different times."""
    return tick - (tick - token) % every_ticks
