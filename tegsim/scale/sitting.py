"""A sitting of a run: zones that are not over yet, side by side in processes, each kept on disk as soon as it is over.

Zones exchange nothing: each has a ledger, a governor and hosts of its own. So one is run to its end before the next
begins, and what is held in memory at a time is a zone a process, however many there are. A checkpoint is the record of
a zone that is over. Whatever is killed, the zones under way are all that is lost; as a zone follows from its scenario
and its seed alone, running it again leads to the same.

What is kept is kept under a key of the code that it follows from: after a change of the code a run begins anew.
"""

import contextlib
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from hashlib import blake2b
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import msgspec
import psutil

from tegcore.errors import TegError
from tegsim.claims.store import ROOT, sources
from tegsim.cluster.world import Cluster
from tegsim.scale.record import Zone, shares
from tegsim.scenario import Scenario

MEMORY = Path("/dev/shm")  # noqa: S108 - simulated disks are quickest where nothing is synced
SEED_STEP = 1 << 20
MIB_PER_KIB = 1 / 1024


class Plan(msgspec.Struct, frozen=True):
    """What is to be run.

    Attributes:
        scenario: Of a zone.
        hosts: In all.
        kept: Folder of what is kept; made for this plan alone.
    """

    scenario: Scenario
    seed: int
    hosts: int
    kept: str

    @property
    def per_zone(self) -> int:
        """Hosts of a full zone."""
        return int(self.scenario.hosts[1])

    def zones(self) -> list[int]:
        """Hosts of each zone."""
        return shares(self.hosts, self.per_zone)


def planned(scenario: Scenario, seed: int, hosts: int, root: Path) -> Plan:
    """A plan, with the folder that its zones are kept in."""
    told = blake2b(digest_size=6)
    told.update(msgspec.json.encode((scenario, seed, hosts), order="sorted"))
    for name in sorted(sources("tegsim.cluster.world")):
        told.update(name.encode() + _path(name).read_bytes())
    folder = root / f"{hosts}-{told.hexdigest()}"
    folder.mkdir(parents=True, exist_ok=True)
    return Plan(scenario, seed, hosts, str(folder))


def _path(name: str) -> Path:
    place = ROOT.joinpath(*name.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def run_zone(plan: Plan, number: int) -> Zone:
    """One zone, from its beginning to its end."""
    begun_s, hosts = time.process_time(), plan.zones()[number]
    disks = _disks(plan, f"{number}-{os.getpid()}")
    try:
        result = Cluster(_sized(plan.scenario, hosts), plan.seed * SEED_STEP + number, disks).run()
    finally:
        shutil.rmtree(disks, ignore_errors=True)
    return Zone(
        number=number,
        hosts=hosts,
        rule=result.rule,
        what=result.what,
        simulated_s=result.simulated_s,
        story={
            "counts": result.counts,
            "faults": result.faults,
            "settled_s": result.settled_s,
            "state_hash": result.state_hash,
        },
        cpu_s=time.process_time() - begun_s,
        worker=os.getpid(),
        rss_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MIB_PER_KIB,
    )


def _disks(plan: Plan, name: str) -> Path:
    root = MEMORY if MEMORY.is_dir() else Path(tempfile.gettempdir())
    return root / f"tegsim-scale-{Path(plan.kept).name}-{name}"


def _clear(plan: Plan) -> None:
    """Take away what processes left that were killed; those that finish their zone beside this run keep theirs."""
    pattern = _disks(plan, "*")
    for left in pattern.parent.glob(pattern.name):
        if not psutil.pid_exists(int(left.name.rpartition("-")[2])):
            shutil.rmtree(left, ignore_errors=True)


def _sized(scenario: Scenario, hosts: int) -> Scenario:
    """The scenario with so many hosts, and as much less work where they are fewer."""
    share = hosts / scenario.hosts[1]
    low, high = scenario.work.count
    work = msgspec.structs.replace(scenario.work, count=(low * share, high * share))
    return msgspec.structs.replace(scenario, hosts=(float(hosts), float(hosts)), work=work)


class Kept:
    """The folder of a plan: zones that are over, and how long each sitting has lasted."""

    def __init__(self, plan: Plan) -> None:
        self._folder = Path(plan.kept)
        self.sitting = 1 + sum(1 for _ in self._folder.glob("sitting-*.json"))

    def zones(self) -> dict[int, Zone]:
        """Those that are over."""
        found = (msgspec.json.decode(path.read_bytes(), type=Zone) for path in self._folder.glob("zone-*.json"))
        return {zone.number: zone for zone in found}

    def keep(self, zone: Zone, sat_s: float) -> None:
        """A zone is over."""
        self._write(f"sitting-{self.sitting}", msgspec.json.encode(sat_s))
        self._write(f"zone-{zone.number}", msgspec.json.encode(zone))

    def sat_s(self) -> list[float]:
        """How long each sitting has lasted, up to its last checkpoint."""
        return [msgspec.json.decode(path.read_bytes(), type=float) for path in self._folder.glob("sitting-*.json")]

    def _write(self, name: str, raw: bytes) -> None:
        part = self._folder / f"{name}.part"
        part.write_bytes(raw)
        part.replace(self._folder / f"{name}.json")


def sit(plan: Plan, workers: int, told: Callable[[Zone], None]) -> list[Zone]:
    """Run the zones that are not over yet; all of them, in order.

    Args:
        plan: What is run.
        workers: Processes, each with one zone at a time.
        told: Told of each zone that is over now.

    Raises:
        TegError: If a process died; what was over is kept.
    """
    _clear(plan)
    kept, begun_s = Kept(plan), time.monotonic()
    over = kept.zones()
    left = iter([number for number in range(len(plan.zones())) if number not in over])
    for zone in _in_processes(plan, left, workers):
        kept.keep(zone, time.monotonic() - begun_s)
        over[zone.number] = zone
        told(zone)
    return [over[number] for number in sorted(over)]


def _in_processes(plan: Plan, left: Iterator[int], workers: int) -> Iterator[Zone]:
    context, pipes = multiprocessing.get_context("spawn"), dict[Connection, SpawnProcess]()
    try:
        for number in (number for _, number in zip(range(workers), left, strict=False)):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(plan, theirs), daemon=True)
            process.start()
            theirs.close()
            ours.send(number)
            pipes[ours] = process
        while pipes:
            for pipe in wait(list(pipes)):
                assert isinstance(pipe, Connection)
                yield _heard(pipe)
                if (number := next(left, -1)) >= 0:
                    pipe.send(number)
                else:
                    pipe.close()
                    pipes.pop(pipe).join()
    finally:
        for pipe, process in pipes.items():
            pipe.close()
            process.terminate()


def _heard(pipe: Connection) -> Zone:
    try:
        return msgspec.json.decode(pipe.recv_bytes(), type=Zone)
    except EOFError:
        raise TegError(
            "a process that ran a zone has died", "is memory short? The same command goes on from there"
        ) from None


def _work(plan: Plan, pipe: Connection) -> None:
    """A process: one zone after the other, until nobody asks for more."""
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            try:
                number = pipe.recv()
            except EOFError:
                return
            raw = msgspec.json.encode(run_zone(plan, number))
            with contextlib.suppress(BrokenPipeError):
                pipe.send_bytes(raw)
