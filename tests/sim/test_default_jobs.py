"""Work that says nothing about money, in a simulated zone: it runs for as long as it will, and displaces nobody.

The programs' own cores, on a virtual clock; see `tegsim.world`.
"""

import pytest

from tegcore.wire.control import Hook, WorkloadSpec
from tegcore.wire.records import Market
from tegd.workload import Life, Workload
from tegsim.world import TENANT, Piece, Setting, World

ZONE_K, HOST_LOG2 = 2, 2
SLOTS, HOSTS = 4**ZONE_K, 4**ZONE_K >> HOST_LOG2
PERIOD_TICKS = 100
FOR_EVER = 1 << 40


class Ungoverned(World):
    """Without a governor, whose projection takes nearly all of a world's time: rates stay as they were first set."""

    def _govern(self) -> None:
        pass


def setting(market: Market, seed: int = 1) -> Setting:
    return Setting(zone_k=ZONE_K, host_log2=HOST_LOG2, seed=seed, market=market, period_ticks=PERIOD_TICKS)


def submit(world: World, ticks: int, size: int = 0, *, hook: bool = False) -> Workload:
    """A piece of work as `tegctl run` submits it without an option of money, to each host in turn."""
    ref = len(world.pieces) + 1
    host = ref % HOSTS
    spec = WorkloadSpec(argv=("simulated",), cpu_milli=1000, sizes=(size,), hook=Hook() if hook else None)
    work = Workload.accepted(ref, TENANT, (0, 0), 0, spec)
    world.pieces[host, ref] = Piece(host, ticks, sizes=spec.sizes)
    world.places[host].node.submitted(work)
    return work


def all_seated(world: World, works: list[Workload], ticks_max: int) -> None:
    for _ in range(ticks_max):
        if all(work.life is Life.SEATED for work in works):
            return
        world.tick()
    raise AssertionError(f"not seated within {ticks_max} ticks: {story(works)}")


def story(works: list[Workload]) -> str:
    return "\n".join(f"{work.name}: {work.life} {work.outcome} {work.waits} {work.history[-3:]}" for work in works)


def conserved(world: World) -> bool:
    money = world.engine.state.accounts
    return bool(money.minted == money.balance_sum + money.escrow + money.evaporated)


def test_default_work_at_fixed_prices_runs_for_fifty_periods() -> None:
    """One-slot and four-slot work, with a hook and without: all of it under its first lease."""
    world = Ungoverned(setting(Market.FIXED))
    works = [submit(world, FOR_EVER, size=2, hook=hook) for hook in (True, False)]
    all_seated(world, works, 20 * PERIOD_TICKS)
    works += [submit(world, FOR_EVER, hook=number % 2 == 0) for number in range(SLOTS - 8)]
    all_seated(world, works, 20 * PERIOD_TICKS)
    leases, burnt = [(work.lease, work.token) for work in works], world.engine.state.accounts.evaporated
    for _ in range(50):
        world.run(PERIOD_TICKS)
        assert [(work.lease, work.token) for work in works] == leases, story(works)
        assert all(work.life is Life.SEATED for work in works), story(works)
        assert conserved(world)
    paid = world.engine.state.accounts.evaporated - burnt
    assert paid >= 49 * SLOTS * world.setting.reserve_ucr, "what is used is charged, whoever pays"


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("load", [1, 3])
def test_default_work_in_the_auction_displaces_nobody_and_all_comes_to_its_end(load: int, seed: int) -> None:
    """As many pieces as slots, and three times as many, with hooks and without: each is seated once."""
    world = World(setting(Market.AUCTION, seed))
    works = [submit(world, 5 * PERIOD_TICKS, hook=number % 2 == 0) for number in range(load * SLOTS)]
    for _ in range(12 * load):
        world.run(PERIOD_TICKS)
        assert world.engine.state.counters.evictions == 0, story(works)
        assert conserved(world)
    assert [work.outcome for work in works] == ["exit code 0"] * len(works), story(works)
    assert world.engine.state.counters.leases == len(works)
