"""The ledger's loop on a real journal, between a broker and hosts within the process, on a virtual clock."""

import asyncio
import contextlib
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.rig import ZONE, Ledger, Link
from tegcore.clock import VirtualClock
from tegcore.errors import RefusedError
from tegcore.units import TICK_NS, UCR_MAX
from tegcore.wire import control
from tegcore.wire.records import Op
from tegcore.wire.topics import Channel, Topic
from tegio.control import Peer, Reply
from tegio.memory import MemoryBroker
from zone_ledger.journal.snapshots import Snapshots
from zone_ledger.journal.store import Journal
from zone_ledger.ledger import HASH_EVERY_TICKS, LOOK_FOR_LOST_TICKS, RESEND_TICKS
from zone_ledger.replay import recover, replay
from zone_ledger.ring import SLOTS
from zone_ledger.service import RETRY_NS, LedgerService
from zone_ledger.silence import LOST_NS

HOSTS, ZONE_K = 4, 3
OPERATOR = Peer(0, 0, os.getpid())


class Zone:
    """A ledger's service and a crowd of hosts; time passes by `ticks`."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.place = Ledger(folder, "mqtt://127.0.0.1:1", zone_k=ZONE_K, rated_w=(10.0,), **settings)
        self.broker, self.clock = MemoryBroker(), VirtualClock()
        self.link = Link(self.broker.transport(), self.place.secret, HOSTS, ZONE_K)
        self.draws = np.random.default_rng(1)
        self.silent: set[str] = set()
        self.journal, self.service = self._service()

    def _service(self) -> tuple[Journal, LedgerService]:
        journal = Journal(self.place.journal, ZONE)
        transport = self.broker.transport()
        self.transport = transport
        return journal, LedgerService(self.place.settings, self.place.secret, transport, journal, self.clock)

    async def up(self) -> "Zone":
        await self.transport.start()
        await self.link.start()
        self.link.greet()
        await self.ticks(2)
        return self

    async def restart(self) -> None:
        """The ledger ends and comes back."""
        await self.down()
        self.journal, self.service = self._service()
        await self.transport.start()

    async def down(self) -> None:
        await self.service.settle()
        await self.transport.stop()
        self.journal.close()

    async def ticks(self, count: int, orders: int = 0) -> None:
        """Ticks in which each host has that many orders."""
        for _ in range(count):
            for host in (host for host in self.link.hosts if host.name not in self.silent):
                if orders:
                    host.ask(orders, self.draws)
                self.link.send(host)
            self.broker.pump()
            await self.service.cycle(self.clock.advance(TICK_NS))
            self.broker.pump()
        await self.service.settle()
        self.broker.pump()

    async def ask(self, request: control.AnyRequest) -> dict[str, Any]:
        answer = asyncio.ensure_future(self.service.answer(OPERATOR, request))
        await asyncio.sleep(0)
        await self.ticks(1)
        reply = await answer
        assert isinstance(reply, Reply)
        return reply.data

    def outcomes(self, op: Op) -> int:
        return sum(host.outcomes.get(op, 0) for host in self.link.hosts)


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process may grow beyond 20 KiB: the kernel refuses as it does when a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20 << 10, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
async def made(tmp_path: Path) -> Any:
    zones: list[Zone] = []

    async def make(**settings: object) -> Zone:
        zones.append(Zone(tmp_path / str(len(zones)), **settings))
        return await zones[-1].up()

    yield make
    for zone in zones:
        await zone.down()


Maker = Callable[..., Any]


async def test_orders_come_back_as_leases_over_the_broker(made: Maker) -> None:
    zone = await made()
    await zone.ticks(20, orders=3)
    assert zone.outcomes(Op.FILLED) > 10
    assert all(host.outbox.acked and not host.doubled for host in zone.link.hosts)


async def test_nothing_leaves_before_its_batch_is_durable(made: Maker) -> None:
    zone = await made()
    zone.link.hosts[0].ask(5, zone.draws)
    zone.link.send(zone.link.hosts[0])
    zone.broker.pump()
    durable = zone.journal.last_number
    await zone.service.cycle(zone.clock.advance(TICK_NS))
    zone.broker.pump()
    assert (zone.journal.last_number, zone.link.hosts[0].outbox.acked) == (durable, 0), "matched, and not told"
    await zone.service.settle()
    zone.broker.pump()
    assert (zone.journal.last_number, zone.link.hosts[0].outbox.acked) == (durable + 1, 5)


async def test_a_view_names_the_batch_that_leads_to_its_hash(made: Maker) -> None:
    zone = await made()
    await zone.ticks(5, orders=3)
    seen = await zone.ask(control.LedgerView())
    await zone.ticks(3, orders=3)
    source = Journal(zone.place.journal, ZONE, read_only=True)
    engine = replay(batch for batch in source.read() if batch.number <= seen["batches"])
    source.close()
    assert (engine.state.hash().hex(), engine.state.tick) == (seen["state_hash"], seen["tick"])


async def test_a_running_hash_is_noted_now_and_then_and_one_of_everything_with_each_snapshot(made: Maker) -> None:
    zone = await made(snapshot_records=100)
    await zone.ticks(HASH_EVERY_TICKS + 5, orders=1)
    source = Journal(zone.place.journal, ZONE, read_only=True)
    batches = list(source.read())
    source.close()
    assert [batch.number - 1 for batch in batches if batch.running_hash] == [HASH_EVERY_TICKS]
    kept = [taken.number for taken in Snapshots(zone.place.journal.with_suffix(".snapshots")).newest_first()]
    whole = [batch.number for batch in batches if batch.state_hash]
    assert whole[0] == 1
    assert len(whole) > 3
    assert kept == whole[:-3:-1]
    assert replay(batches).state.running_hash() == zone.service.engine.state.running_hash()


async def test_a_full_ring_refuses_and_says_so(made: Maker) -> None:
    zone = await made()
    host = zone.link.hosts[0]
    host.ask(3, zone.draws)
    for _ in range(SLOTS + 10):
        zone.link.send(host)
        zone.broker.pump()
    await zone.ticks(1)
    assert zone.link.rejected["BUSY"] == HOSTS, "each is told once a tick, however much of it did not fit"
    assert host.outbox.acked == 3, "what did fit was taken in"
    await zone.ticks(2, orders=2)
    assert host.outbox.acked == 7


async def test_a_host_that_falls_silent_is_lost_and_spoken_to_again_once_it_is_heard(made: Maker) -> None:
    zone = await made(period_ticks=100)
    await zone.ticks(5, orders=3)
    quiet, session = zone.link.hosts[0], zone.service.engine.state.hosts[1]
    assert session.name == quiet.name
    told: list[bytes] = []
    zone.transport.subscribe(str(Topic(ZONE, Channel.EVENTS, quiet.name)), lambda _topic, frame: told.append(frame))
    zone.silent.add(quiet.name)
    await zone.ticks(LOST_NS // TICK_NS)
    assert session.up
    await zone.ticks(LOOK_FOR_LOST_TICKS)
    assert session.lost
    assert not session.up
    assert all(host.up for host in zone.service.engine.state.hosts.values() if host is not session), "others were heard"
    await zone.ticks(60)
    assert len(session.outbox), "its leases were settled meanwhile, and will not be for the next ticks"
    del told[:]
    await zone.ticks(3 * RESEND_TICKS)
    assert not told, "what it has not acknowledged is not repeated to nobody"
    zone.silent.clear()
    await zone.ticks(3)
    assert session.up
    assert not session.lost
    assert not len(session.outbox)
    assert not quiet.doubled


async def test_with_a_full_disk_orders_are_refused_reads_answered_and_nothing_acknowledged_is_lost(made: Maker) -> None:
    zone = await made()
    await zone.ticks(5, orders=3)
    with full_disk():
        while "READ_ONLY" not in zone.link.rejected:
            await zone.ticks(1, orders=3)
        acked = {host.name: host.outbox.acked for host in zone.link.hosts}
        durable = zone.journal.last_number
        await zone.ticks(50, orders=3)
        assert {host.name: host.outbox.acked for host in zone.link.hosts} == acked
        assert zone.link.rejected["READ_ONLY"] >= HOSTS
        assert zone.journal.last_number == durable
        assert (await zone.ask(control.LedgerView()))["writable"] is False
        with pytest.raises(RefusedError, match="cannot be written"):
            await zone.ask(control.MintCredits(tenant="ada", amount_ucr=1, key=9))

    zone.clock.advance(RETRY_NS)
    await zone.ticks(3)
    assert (await zone.ask(control.LedgerView()))["writable"] is True
    assert all(host.outbox.acked == host.outbox.last_seq > acked[host.name] for host in zone.link.hosts)
    await zone.service.settle()
    source = Journal(zone.place.journal, ZONE, read_only=True)
    assert replay(source.read()).state.hash() == zone.service.engine.state.hash()
    source.close()


async def test_a_ledger_comes_back_from_its_snapshot_when_the_journal_was_trimmed(made: Maker) -> None:
    zone = await made(snapshot_records=50, keep_batches=5)
    await zone.ticks(60, orders=3)
    before = zone.service.engine.state.hash()
    assert zone.journal.first.number > 10, "trimmed"
    await zone.restart()
    assert zone.service.engine.state.hash() == before
    await zone.ticks(10, orders=3)
    await zone.ticks(3)
    assert all(host.outbox.acked == host.outbox.last_seq and not host.doubled for host in zone.link.hosts)


async def test_a_snapshot_that_is_broken_is_passed_over(made: Maker) -> None:
    zone = await made(snapshot_records=50)
    await zone.ticks(60, orders=3)
    snapshots = Snapshots(zone.place.journal.with_suffix(".snapshots"))
    newest = max(snapshots.folder.glob("*.snapshot"))
    spoilt = bytearray(newest.read_bytes())
    spoilt[len(spoilt) // 2] ^= 1
    newest.write_bytes(spoilt)
    source = Journal(zone.place.journal, ZONE, read_only=True)
    engine = recover(source, snapshots)
    source.close()
    assert engine.state.hash() == zone.service.engine.state.hash()
    assert newest.name in snapshots.broken[0]


async def test_an_income_is_set_by_the_hour_and_counted_by_the_period(made: Maker) -> None:
    zone = await made()
    period = zone.service.engine.state.genesis.period_ticks
    await zone.ask(control.SetIncome(tenant="ada", hour_ucr=7_200_000, key=101))
    await zone.ask(control.SetIncome(tenant="", hour_ucr=0, key=102))
    state = zone.service.engine.state
    assert state.income_of(state.tenant_numbers["ada"]) == 100 * period
    await zone.ask(control.SetIncome(tenant="", hour_ucr=-1, key=103))
    assert state.incomes == {0: -1, state.tenant_numbers["ada"]: 100 * period}


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (control.CordonSlot(slot=4**ZONE_K, on=True, key=1), "there is no slot 64 in this zone"),
        (control.CordonSlot(slot=10**6, on=True, key=1), "there is no slot 1000000 in this zone"),
        (control.PinLease(lease=99, on=True, key=1), "there is no lease of that number"),
        (control.DrainHost(host="nobody", on=True, key=1), "there is no host 'nobody'"),
        (control.MintCredits(tenant="ada", amount_ucr=UCR_MAX, key=1), "more than the scheduler"),
        (control.MintCredits(tenant="aad", amount_ucr=5, key=1, opens=False), "no tenant 'aad'.* did you mean 'ada'"),
        (control.SetIncome(tenant="eve", hour_ucr=7_200_000, key=1, opens=False), "there is no tenant 'eve'"),
        (control.SetIncome(tenant="Ada!", hour_ucr=5, key=1), "cannot name a tenant"),
        (control.SetIncome(tenant="ada", hour_ucr=1, key=1), "comes to no credits at all"),
    ],
)
async def test_what_an_operator_cannot_mean_is_refused_and_changes_nothing(
    made: Maker, request_: control.AnyRequest, text: str
) -> None:
    zone = await made()
    await zone.ask(control.MintCredits(tenant="ada", amount_ucr=1, key=2))
    minted = zone.service.engine.state.accounts.minted
    with pytest.raises(RefusedError, match=text) as error:
        await zone.ask(request_)
    assert error.value.hint
    assert zone.service.engine.state.accounts.minted == minted
    await zone.restart()
    assert zone.service.engine.state.accounts.minted == minted
