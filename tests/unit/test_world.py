"""A small simulated zone: the cores of all programs together, on a virtual clock."""

import pytest

from governor.phase import Phase
from tegd.workload import Life
from tegsim.world import Piece, Setting, World, crowd


def filled(seed: int, ticks: int = 600) -> World:
    world = World(Setting(seed=seed))
    crowd(world, 120)
    world.run(ticks)
    return world


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_more_work_than_slots_all_comes_to_its_end(seed: int) -> None:
    world = filled(seed)
    assert world.lives()[Life.ENDED] == 120
    assert not world.engine.state.leases
    assert not any(place.runs for place in world.places)


def test_the_same_seed_leads_to_the_same_state_and_another_to_another() -> None:
    assert filled(3, 100).engine.state.hash() == filled(3, 100).engine.state.hash()
    assert filled(3, 100).engine.state.hash() != filled(4, 100).engine.state.hash()


def phase_after(ticks: int, *pieces: Piece) -> Phase:
    """After so many ticks; as many pieces as there are slots come first, and are seated when the others come."""
    world = World(Setting(seed=5))
    for piece in pieces[:64]:
        world.submit(piece)
    world.run(40)
    for piece in pieces[64:]:
        world.submit(piece)
    world.run(ticks - 40)
    return world.governor.phase


@pytest.mark.slow
def test_held_and_idle_while_others_wait_is_heat_death() -> None:
    """Hold and wait: every slot is held by work that uses nothing, and that those who wait cannot outbid."""
    holders = [Piece(number % 8, 5000, 400_000, use=0.0) for number in range(64)]
    waiting = [Piece(number % 8, 5000, 300_000) for number in range(60)]
    assert phase_after(420, *holders, *waiting) is Phase.DEATH


def test_a_herd_that_keeps_coming_over_a_busy_zone_is_turbulence() -> None:
    """Who waits is still; what moves is who still seeks: 20 new ones every four ticks."""
    world = World(Setting(seed=5))
    for number in range(64):
        world.submit(Piece(number % 8, 5000, 400_000))
    world.run(40)
    for _ in range(45):
        for number in range(20):
            world.submit(Piece(number % 8, 5000, 300_000))
        world.run(4)
    assert world.governor.phase is Phase.TURBULENT


def test_a_herd_that_waits_is_still() -> None:
    holders = [Piece(number % 8, 5000, 400_000) for number in range(64)]
    herd = [Piece(number % 8, 5000, 300_000) for number in range(400)]
    assert phase_after(220, *holders, *herd) is Phase.LAMINAR


@pytest.mark.slow
def test_a_busy_zone_is_laminar_and_an_empty_one_cold() -> None:
    assert phase_after(220, *(Piece(number % 8, 5000, 400_000) for number in range(60))) is Phase.LAMINAR
    assert phase_after(220, *(Piece(number % 8, 5000, 400_000) for number in range(3))) is Phase.STASIS
