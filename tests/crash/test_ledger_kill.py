"""kill -9 of the real `zone-ledger` under load, at random moments and at each named failpoint.

A crowd of hosts goes on with one session over all lives of a ledger. After each death the journal is read here: nothing
that was acknowledged is missing, no command was applied twice, no order filled twice, and two replays lead to the same
hash. TEG_KILLS sets how often it is killed; `make crash` kills it 200 times.
"""

import asyncio
import itertools
import os
import random
from pathlib import Path

import numpy as np
import pytest

from bench.rig import ZONE, Broker, Ledger, Link
from tegcore.wire.records import unpack_all
from tegio.failpoints import NAMES
from zone_ledger.engine import Engine
from zone_ledger.journal.snapshots import Snapshots
from zone_ledger.journal.store import Journal
from zone_ledger.replay import recover, replay

KILLS = int(os.environ.get("TEG_KILLS", "24"))
KILLS_QUICK = 4
LIVES_MAX = 12
"""Lives of one journal: the next begin with a fresh one."""

HOSTS, ZONE_K = 12, 5
TICK_S = 0.05
DEATH_S_MAX = 30.0
AT_ONCE = "any moment"
MOMENTS = (*NAMES, AT_ONCE)


async def live_and_die(ledger: Ledger, link: Link, moment: str, rng: random.Random) -> None:
    """One life of the ledger, under load, until it is killed."""
    count = rng.randint(1, 3 if moment in {"snapshot", "rename", "trim"} else 40)
    ledger.start("" if moment == AT_ONCE else f"{moment}:{count}")
    assert ledger.process is not None
    loop, draws = asyncio.get_running_loop(), np.random.default_rng(rng.getrandbits(32))
    begun_s, killed_after_s = loop.time(), rng.uniform(0.4, 2.5)
    while ledger.process.poll() is None:
        spent_s = loop.time() - begun_s
        if moment == AT_ONCE and spent_s > killed_after_s:
            ledger.kill()
        assert spent_s < DEATH_S_MAX, f"{moment} was not reached: {(ledger.folder / 'log').read_text()[-2000:]}"
        link.greet()
        for host in link.hosts:
            if host.number:
                host.ask(int(draws.poisson(3)), draws)
                link.send(host)
        await asyncio.sleep(TICK_S)
    assert ledger.process.returncode == -9, (ledger.folder / "log").read_text()[-2000:]


def applied_once(journal: Journal) -> None:
    """Each host's commands stand in the journal one after the other, from the first that is still there."""
    last: dict[int, int] = {}
    for record in itertools.chain.from_iterable(unpack_all(batch.records) for batch in journal.read()):
        if record.actor and record.seq:
            assert record.seq == last.get(record.actor, record.seq - 1) + 1, record
            last[record.actor] = record.seq


def recovered(ledger: Ledger) -> Engine:
    """What the journal leads to, by every way that there is."""
    snapshots = Snapshots(ledger.journal.with_suffix(".snapshots"))
    journal = Journal(ledger.journal, ZONE, read_only=True)
    try:
        engine = recover(journal, snapshots)
        assert recover(journal, snapshots).state.hash() == engine.state.hash()
        assert not snapshots.broken
        if not journal.first.number:
            applied_once(journal)
            assert replay(journal.read()).state.hash() == engine.state.hash()
    finally:
        journal.close()
    engine.check()
    return engine


def nothing_lost(engine: Engine, link: Link) -> None:
    """Whatever a host was told, the ledger still knows."""
    for host in link.hosts:
        assert not host.doubled, f"{host.name}: orders {host.doubled} were filled twice"
        if host.number:
            session = engine.state.hosts[host.number]
            assert session.name == host.name
            assert session.inbox.last_seq >= host.outbox.acked, f"{host.name}: an acknowledged command is gone"
            assert session.outbox.last_seq >= host.inbox.last_seq, f"{host.name}: an event that was told is gone"


async def generation(folder: Path, broker: Broker, lives: list[str], rng: random.Random, keep_batches: int) -> int:
    """A ledger's whole history: so many lives, each ended at its moment; returns how many orders were filled."""
    ledger = Ledger(folder, broker.url, zone_k=ZONE_K, snapshot_records=400, keep_batches=keep_batches, rated_w=(10.0,))
    link = Link(broker.transport(), ledger.secret, HOSTS, ZONE_K)
    await link.start()
    try:
        for moment in lives:
            await live_and_die(ledger, link, moment, rng)
            nothing_lost(recovered(ledger), link)
    finally:
        await link.stop()
        ledger.kill()
    return sum(len(host.filled) for host in link.hosts)


@pytest.mark.parametrize("kills", [KILLS_QUICK, pytest.param(KILLS, marks=pytest.mark.slow)], ids=["few", "all"])
@pytest.mark.parametrize("keep_batches", [0, 20], ids=["whole journal", "trimmed"])
async def test_nothing_acknowledged_is_lost_and_nothing_is_applied_twice(
    tmp_path: Path, keep_batches: int, kills: int
) -> None:
    rng = random.Random(keep_batches)
    moments = [moment for moment in MOMENTS if keep_batches or moment != "trim"]
    lives = [moments[life % len(moments)] for life in range(kills // 2)]
    with Broker(tmp_path) as broker:
        for first in range(0, len(lives), LIVES_MAX):
            some = lives[first : first + LIVES_MAX]
            assert await generation(tmp_path / str(first), broker, some, rng, keep_batches) > len(some)
