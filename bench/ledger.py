"""What does a zone's ledger carry, from a host's message to the durable answer, and how long does it take to come back?

make bench-ledger        # prints tables, writes build/bench/ledger.json

A real broker, a real `zone-ledger` process with its journal on disk, and a crowd of simulated hosts in this process.
Orders go out in batches, as hosts send them; a round trip ends when the answer, given after its commit,
acknowledges the command. All three share the machine's cores.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections import deque
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench import auction
from bench.crowd import Host, crowd
from bench.report import write
from bench.rig import Broker, Ledger, Link
from tegcore.clock import Clock
from tegcore.units import GIB
from tegcore.wire.messages import SCHEMA, Events
from tegcore.wire.records import (
    Acked,
    Fok,
    HostUp,
    Mint,
    NameIs,
    NameKind,
    Op,
    Record,
    Region,
    Renew,
    Shape,
    Tick,
    pack_all,
    unpack_all,
)
from tegcore.wire.signing import Key
from tegio.clock import SystemClock
from zone_ledger import snapshot
from zone_ledger.engine import Engine
from zone_ledger.genesis import genesis_records
from zone_ledger.journal.snapshots import Snapshot, Snapshots
from zone_ledger.journal.store import Journal
from zone_ledger.ledger import Ledger as TickLedger
from zone_ledger.replay import new_engine, recover, replay
from zone_ledger.settings import LedgerSettings

TICK_S = 0.05
SECONDS = 12.0
WARM_S = 4.0
BATCH_COMMANDS = 5_000
IDLE_HOSTS = 1_000, 10_000, 100_000
IDLE_TICKS = 400
"""Ticks in which nothing comes; a hash of the state is noted twice among them."""
MESSAGES_PER_S_MAX = 1_280
"""Hosts that are many send seldom and more at once, as a host does that has orders only in some ticks."""


class Clocked:
    """Round trips of one run, by the command that a message ended with."""

    def __init__(self, link: Link) -> None:
        self._sent: dict[str, deque[tuple[int, float]]] = {host.name: deque() for host in link.hosts}
        self.acked = 0
        self.spent_ms: list[float] = []
        self.counting = False
        link.on_ack = self._acked

    def sent(self, host: Host) -> None:
        """A message has left; a new last command in it is clocked from now."""
        last, waiting = host.outbox.last_seq, self._sent[host.name]
        if last > max(host.outbox.acked, waiting[-1][0] if waiting else 0):
            waiting.append((last, time.monotonic()))

    def _acked(self, host: Host, acked: int) -> None:
        waiting, now_s = self._sent[host.name], time.monotonic()
        while waiting and waiting[0][0] <= acked:
            _, at_s = waiting.popleft()
            if self.counting:
                self.spent_ms.append((now_s - at_s) * 1e3)


async def run(folder: Path, broker: Broker, rate: int, hosts: int, zone_k: int) -> dict[str, float]:
    """One load: so many orders a second from so many hosts."""
    ledger = Ledger(folder, broker.url, zone_k=zone_k, mem_k_credits=0.001, period_ticks=400, rated_w=(10.0,))
    ledger.start()
    assert ledger.process is not None
    link, rng = Link(broker.transport(), ledger.secret, hosts, zone_k), np.random.default_rng(rate)
    clocked = Clocked(link)
    try:
        await link.start()
        await link.all_greeted()
        every = max(1, -(-hosts * 20 // MESSAGES_PER_S_MAX))
        share = rate * TICK_S * every / hosts
        process = psutil.Process(ledger.process.pid)
        begun_s, tick, started = time.monotonic(), 0, None
        while time.monotonic() - begun_s < WARM_S + SECONDS:
            if started is None and time.monotonic() - begun_s >= WARM_S:
                clocked.counting = True
                started = (time.monotonic(), sum(process.cpu_times()[:2]), _acked(link), _bytes(ledger))
            for host in link.hosts[tick % every :: every]:
                host.ask(int(rng.poisson(share)), rng)
                if len(host.outbox) or host.inbox.last_seq:
                    link.send(host)
                    clocked.sent(host)
            tick += 1
            await asyncio.sleep(max(0.0, begun_s + tick * TICK_S - time.monotonic()))
        assert started is not None
        elapsed_s = time.monotonic() - started[0]
        acked = _acked(link) - started[2]
        cpu_s = sum(process.cpu_times()[:2]) - started[1]
        spent = sorted(clocked.spent_ms) or [float("nan")]
        outcomes = {
            op: sum(host.outcomes.get(op, 0) for host in link.hosts) for op in (Op.FILLED, Op.REFUSED, Op.WAITING)
        }
        return {
            "asked_per_s": rate,
            "hosts": hosts,
            "orders_per_s": acked / elapsed_s,
            "round_trip_p50_ms": spent[len(spent) // 2],
            "round_trip_p99_ms": spent[int(len(spent) * 0.99)],
            "cpu_us_per_order": cpu_s / max(1, acked) * 1e6,
            "ledger_cpu_share": cpu_s / elapsed_s,
            "journal_bytes_per_order": (_bytes(ledger) - started[3]) / max(1, acked),
            "filled": outcomes[Op.FILLED],
            "refused": outcomes[Op.REFUSED],
            "waited_as_overflow": outcomes[Op.WAITING],
            "ring_refusals": link.rejected.get("BUSY", 0),
        }
    finally:
        await link.stop()
        ledger.kill()


def _acked(link: Link) -> int:
    return sum(host.outbox.acked for host in link.hosts)


def _bytes(ledger: Ledger) -> int:
    return sum(file.stat().st_size for file in ledger.folder.glob("journal.sqlite*"))


def commit_share(folder: Path, commands: int = 20_000) -> dict[str, float]:
    """Without broker and loop: what a command of the same mix costs the engine, and its part of a commit."""
    ledger = Ledger(folder, "mqtt://127.0.0.1:1", zone_k=6, rated_w=(10.0,))
    journal = Journal(ledger.journal, "bench")
    engine, rng, hosts = replay(journal.read()), np.random.default_rng(5), crowd(64, 6, 1)
    for number, host in enumerate(hosts, 1):
        host.number, hello = number, host.hello()
        body = (hello.base, hello.log2_slots, 0, hello.cpu_milli, hello.mem_bytes, 0)
        engine.apply(Record(Op.NAME_IS, 0, 0, 0, NameIs.of(NameKind.HOST, number, host.name)))
        engine.apply(Record(Op.HOST_UP, number, 1, 0, _host_up(body)))
    spent_s, done, committed_s = 0.0, 0, []
    while done < commands:
        batch = []
        for host in hosts:
            host.ask(20, rng)
            last = engine.state.hosts[host.number].inbox.last_seq
            fresh = [record for record in _records(host) if record.seq > last]
            batch.extend(record._replace(actor=host.number) for record in fresh)
        tick = Record(Op.TICK, 0, 0, 0, Tick(engine.state.tick + 1, engine.state.tau + 1))
        begun = time.process_time()
        for record in [*batch, tick]:
            engine.apply(record)
        spent_s += time.process_time() - begun
        done += len(batch)
        begun = time.monotonic()
        journal.append(pack_all([*batch, tick]), None, engine.state.accounts.take_postings())
        committed_s.append(time.monotonic() - begun)
        for host in hosts:
            session = engine.state.hosts[host.number]
            host.told(_events(host, session))
            session.outbox.ack(host.inbox.last_seq)
    journal.close()
    return {"engine_us_per_order": spent_s / done * 1e6, "commit_ms": median(committed_s) * 1e3}


def _host_up(body: tuple[int, ...]) -> Any:
    return HostUp(*body)


def _records(host: Host) -> list[Record]:
    return list(unpack_all(host.message().records))


def _events(host: Host, session: Any) -> Any:
    return Events(SCHEMA, host.name, 1, 0, session.inbox.last_seq, session.outbox.pending(), b"")


def recovery(folder: Path, commands: int, clock: Clock) -> dict[str, float]:
    """Write a journal of so many commands with its snapshots, and come back from it when the next snapshot is due."""
    ledger = Ledger(folder, "mqtt://127.0.0.1:1", zone_k=6, rated_w=(10.0,), period_ticks=100_000)
    journal, snapshots = Journal(ledger.journal, "bench"), Snapshots(ledger.journal.with_suffix(".snapshots"))
    engine = replay(journal.read())
    journal._db.execute("PRAGMA synchronous=OFF")
    hosts, rng = crowd(64, 6, 1), np.random.default_rng(3)
    for number, host in enumerate(hosts, 1):
        host.number, hello = number, host.hello()
        first = [
            Record(Op.NAME_IS, 0, 0, 0, NameIs.of(NameKind.HOST, number, host.name)),
            Record(Op.HOST_UP, number, 1, 0, _host_up((hello.base, hello.log2_slots, 0, 64_000, 1 << 36, 0))),
        ]
        host.ask(20, rng)
        _carry_out(engine, journal, [*first, *(record._replace(actor=number) for record in _records(host))])
    _carry_out(engine, journal, [Record(Op.TICK, 0, 0, 0, Tick(1, 1))])
    done, since, snapshots_ms = 0, 0, []
    leases = list(engine.state.leases.values())
    tail = LedgerSettings().snapshot_records - BATCH_COMMANDS
    for _ in track(range((commands + tail) // BATCH_COMMANDS), description="writing a journal"):
        batch = []
        seqs = {number: session.inbox.last_seq for number, session in engine.state.hosts.items()}
        for at in range(BATCH_COMMANDS):
            lease = leases[at % len(leases)]
            seqs[lease.origin] += 1
            body = Renew(lease.number, lease.token, lease.limit_ucr, 900)
            batch.append(Record(Op.RENEW, lease.origin, 1, seqs[lease.origin], body))
        tick = engine.state.tick + 1
        sessions = engine.state.hosts.items()
        batch += [Record(Op.ACKED, number, 1, 0, Acked(session.outbox.last_seq)) for number, session in sessions]
        _carry_out(engine, journal, [*batch, Record(Op.TICK, 0, 0, 0, Tick(tick, tick))])
        done, since = done + BATCH_COMMANDS, since + BATCH_COMMANDS
        if since >= LedgerSettings().snapshot_records and done <= commands:
            since = 0
            begun = clock.now_ns()
            taken = (engine.state.hash(), snapshot.pack(engine.state))
            snapshots_ms.append((clock.now_ns() - begun) / 1e6)
            snapshots.write(Snapshot(journal.last_number, journal.last_crc, *taken))
    expected = engine.state.hash()
    journal.close()
    journal, begun = Journal(ledger.journal, "bench"), clock.now_ns()
    recovered = recover(journal, snapshots)
    spent_s = (clock.now_ns() - begun) / 1e9
    journal.close()
    assert recovered.state.hash() == expected
    size = ledger.journal.stat().st_size
    return {
        "commands": done,
        "recovery_s": spent_s,
        "snapshot_ms": median(snapshots_ms or [0.0]),
        "journal_bytes_per_command": size / done,
        "replayed_commands": since,
    }


def idle(hosts: int) -> dict[str, float]:
    """Processor time of a tick in which nobody says a thing, in a zone of so many hosts with a lease on each."""
    zone_k = (hosts - 1).bit_length() + 1 >> 1
    place = TickLedger("bench", Key(b"s" * 32), _idle_zone(hosts, zone_k), 0, 1 << 60)
    place.tick(1, connected=True)
    place.next_write()
    place.durable()
    spent_ms = []
    for _ in range(IDLE_TICKS):
        begun = time.process_time()
        place.tick(1, connected=True)
        spent_ms.append((time.process_time() - begun) * 1e3)
        place.next_write()
        place.durable()
    return {"hosts": hosts, "mean_ms": sum(spent_ms) / IDLE_TICKS, "max_ms": max(spent_ms), "p50_ms": median(spent_ms)}


def _idle_zone(hosts: int, zone_k: int) -> Engine:
    """Hosts of one slot, each let to a lease of its own whose news it has taken in."""
    engine = new_engine()
    settings = LedgerSettings(zone="bench", zone_k=zone_k, period_ticks=100_000, rated_w=(10.0,))
    for record in genesis_records(settings):
        engine.apply(record)
    engine.apply(Record(Op.NAME_IS, 0, 0, 0, NameIs.of(NameKind.TENANT, 1, "ada")))
    engine.apply(Record(Op.MINT, 0, 0, 1 << 40, Mint(1, 1 << 60)))
    shape, limit_ucr = Shape((0,)).packed(), 2 * settings.reserve_ucr(0)
    for number in range(1, hosts + 1):
        engine.apply(Record(Op.NAME_IS, 0, 0, 0, NameIs.of(NameKind.HOST, number, f"h{number}")))
        engine.apply(Record(Op.HOST_UP, number, 1, 0, HostUp(number - 1, 0, 0, 1_000, GIB, 0)))
    for first in range(1, hosts + 1, BATCH_COMMANDS):
        for number in range(first, min(first + BATCH_COMMANDS, hosts + 1)):
            body = Fok(1, 1, Region(number - 1, 0).packed(), shape, 0, 0, limit_ucr, 4 * limit_ucr, 0, 0)
            engine.apply(Record(Op.FOK, number, 1, 1, body))
        tick = engine.state.tick + 1
        engine.apply(Record(Op.TICK, 0, 0, 0, Tick(tick, tick)))
    for number, session in engine.state.hosts.items():
        engine.apply(Record(Op.ACKED, number, 1, 0, Acked(session.outbox.last_seq)))
    engine.state.accounts.take_postings()
    engine.state.bids.clear()
    engine.state.running_hash()
    assert len(engine.state.leases) == hosts
    return engine


def _carry_out(engine: Any, journal: Journal, records: list[Record]) -> None:
    for record in records:
        engine.apply(record)
    journal.append(pack_all(records), None, engine.state.accounts.take_postings())


def main() -> None:
    """Measure, print, write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rates", default="100,1000,10000,20000")
    arguments.add_argument("--hosts", default="64,1000")
    arguments.add_argument("--recovery", type=int, default=10_000_000, help="commands in the journal")
    given = arguments.parse_args()
    console, rows = Console(), []
    table = Table(*("asked/s", "hosts", "done/s", "p50 ms", "p99 ms", "CPU us", "share", "bytes", "filled", "waited"))
    with tempfile.TemporaryDirectory() as place:
        with Broker(Path(place)) as broker:
            for hosts in map(int, given.hosts.split(",")):
                for rate in map(int, given.rates.split(",")):
                    console.print(f"{rate} orders/s from {hosts} hosts …", style="dim")
                    folder = Path(place) / f"{hosts}-{rate}"
                    folder.mkdir()
                    row = asyncio.run(run(folder, broker, rate, hosts, 6 if hosts <= 64 else 8))
                    rows.append(row)
                    table.add_row(
                        *(f"{row[name]:.0f}" for name in _SHOWN[:5]), *(f"{row[name]:.2f}" for name in _SHOWN[5:])
                    )
        console.print(table)
        (Path(place) / "engine").mkdir()
        engine = commit_share(Path(place) / "engine")
        (Path(place) / "recovery").mkdir()
        back = recovery(Path(place) / "recovery", given.recovery, SystemClock())
    idle_rows = [idle(hosts) for hosts in track(IDLE_HOSTS, description="idle zones")]
    auctions = auction.figures()
    at_10k = [row for row in rows if row["asked_per_s"] == 10_000]
    figures = {
        "broker": broker.name,
        "orders_per_s": max(row["orders_per_s"] for row in rows),
        "round_trip_p99_ms": max((row["round_trip_p99_ms"] for row in at_10k), default=float("nan")),
        "recovery_s": back["recovery_s"],
        "auction_1024_ms": auctions["auction_1024"]["ms"],
        "auction_256_ms": auctions["auction_256"]["ms"],
        "auction_4096_ms": auctions["auction_4096"]["ms"],
        "idle_tick_ms": idle_rows[-1]["mean_ms"],
        "loads": rows,
        "idle": idle_rows,
        "engine": engine,
        "recovery": back,
        "auctions": auctions,
    }
    console.print_json(
        json.dumps({name: value for name, value in figures.items() if name not in {"loads", "auctions", "idle"}})
    )
    write("ledger", figures)


_SHOWN = (
    "asked_per_s",
    "hosts",
    "orders_per_s",
    "round_trip_p50_ms",
    "round_trip_p99_ms",
    "cpu_us_per_order",
    "ledger_cpu_share",
    "journal_bytes_per_order",
    "filled",
    "waited_as_overflow",
)


if __name__ == "__main__":
    main()
