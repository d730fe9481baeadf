"""A ledger that knows less than it acknowledged: a copy of its journal was put back.

The host notices, and keeps what runs to its term; then it begins a new session, and what was lost is sought again.
"""

import pytest
from unit.test_node import SECRET, TERM, World

from tegcore.wire.records import Market
from tegd.modes import Mode
from tegd.views import why
from tegd.workload import Life
from zone_ledger import snapshot
from zone_ledger.book.reference import ReferenceBook
from zone_ledger.door import Door
from zone_ledger.engine import Engine


class Kept:
    """A copy of the ledger's state."""

    def __init__(self, world: World) -> None:
        self._payload = snapshot.pack(world.engine.state)

    def put_back(self, world: World) -> None:
        world.engine, world.door = Engine(ReferenceBook), Door("z", SECRET)
        world.engine.state = snapshot.unpack(self._payload, ReferenceBook)


def cycle(world: World, count: int) -> None:
    """Let time pass; what has had its term is ended, as the airlock side does."""
    for _ in range(count):
        world.cycle()
        for work in world.node.in_order():
            run = world.running.get(work.airlock_id, {"state": "ended"})
            if run["state"] != "ended" and run["end"] <= world.now_ns:
                world.end(work, cause="term", code=None)


@pytest.mark.parametrize("market", [Market.FIXED, Market.AUCTION])
def test_work_is_kept_to_its_term_and_seated_anew(market: Market) -> None:
    world = World(market=market)
    cycle(world, 40)
    kept = Kept(world)
    work = world.submit()
    cycle(world, 60)
    assert work.life is Life.SEATED
    lease, token, boot = work.lease, work.token, world.node.link.boot
    kept.put_back(world)
    cycle(world, 70)
    assert world.node.forgotten
    assert world.running[work.airlock_id]["state"] == "running", "it is not ended before its term"
    assert why(world.node, work, world.now_ns)["reasons"][0]["reason"] == "history"
    assert any("went back" in text for _, text in world.node.said)
    cycle(world, 3 * TERM)
    assert world.node.link.boot > boot
    assert not world.node.forgotten
    assert world.node.mode is Mode.RUN
    assert work.life is Life.SEATED
    assert work.token > token, "no token is given twice"
    assert (work.lease, work.token) != (lease, token)
    assert world.running[work.airlock_id]["state"] == "running"
    world.engine.check()


def test_a_ledger_that_comes_back_as_it_was_is_no_other() -> None:
    world = World(lossy=True)
    work = world.submit()
    cycle(world, 80)
    world.ledger_up = False
    cycle(world, 100)
    world.ledger_up = True
    cycle(world, 40)
    assert not world.node.forgotten
    assert (work.life, work.token) == (Life.SEATED, 1)


def test_who_acknowledged_more_than_the_ledger_sent_is_told_that_its_history_went_back() -> None:
    world = World()
    cycle(world, 40)
    kept = Kept(world)
    world.submit()
    cycle(world, 60)
    kept.put_back(world)
    world.hear(world.node.link.message(10**6, 1))
    assert world.door.failures["n1"]["history"] == 1
