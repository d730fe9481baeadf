"""What comes to a zone: jobs as people submit them, at random times, of random lengths, most of them one slot wide."""

from collections.abc import Iterator
from dataclasses import dataclass

from tegcore.units import NS_PER_S, TICK_NS
from tegcore.wire.control import Hook, WorkloadSpec
from tegsim.kernel import Stream

TICKS_PER_S = NS_PER_S // TICK_NS
SIZES = ((0, 0.7), (1, 0.15), (2, 0.1), (3, 0.05))
"""log2 of slots, and the share of jobs that ask for so many."""


@dataclass(frozen=True, slots=True)
class Load:
    """What comes.

    Attributes:
        offered: Slot-seconds asked for over slot-seconds there are.
        seconds: How long jobs come.
        mean_s: Of what a job takes, which is exponential.
        tenants: Jobs are spread evenly over so many.
        hooks: Share of jobs with a checkpoint hook.
        failing: Share of hooks that never make their mark.
        named: Share of jobs whose bid a person named: from 1 to `bids` reserves, evenly drawn.
        sizes: See `SIZES`.
    """

    offered: float = 1.0
    seconds: int = 7200
    mean_s: float = 120.0
    tenants: int = 1
    hooks: float = 0.0
    named: float = 0.0
    bids: float = 4.0
    failing: float = 0.0
    sizes: tuple[tuple[int, float], ...] = SIZES


@dataclass(frozen=True, slots=True)
class Job:
    """One job: when it comes, where, whose it is, what it asks for, how long it takes, in ticks, if its hook fails."""

    tick: int
    host: int
    tenant: int
    spec: WorkloadSpec
    ticks: int
    fails: bool = False


def jobs(load: Load, hosts: int, slots: int, reserve_ucr: int, seed: int) -> Iterator[Job]:
    """The jobs of a load in order of arrival; sizes that do not fit in the zone are never drawn by `SIZES`.

    Args:
        load: See there.
        hosts: Each job is submitted at one of so many.
        slots: Of the zone.
        reserve_ucr: Of a slot-period: bids are told in it.
        seed: Of all draws; each kind of draw has its own stream, so that loads differ only in what was asked.
    """
    names = ("comes", "lasts", "widths", "places", "owners", "hooks", "bids", "fails")
    comes, lasts, widths, places, owners, hooks, bids, fails = (Stream(seed, f"load {name}") for name in names)
    mean_slots = sum(share * (1 << size) for size, share in load.sizes) / sum(share for _, share in load.sizes)
    between_s = load.mean_s * mean_slots / (load.offered * slots)
    at_ns = comes.wait_ns(between_s)
    while at_ns < load.seconds * NS_PER_S:
        hooked, named, over = hooks.draw() < load.hooks, bids.draw() < load.named, bids.draw()
        spec = WorkloadSpec(
            argv=("simulated",),
            sizes=(_drawn(widths.draw(), load.sizes),),
            hook=Hook() if hooked else None,
            limit_ucr=int(reserve_ucr * (1 + (load.bids - 1) * over)) if named else 0,
        )
        tenant = owners.whole(0, load.tenants - 1)
        ticks = max(1, lasts.wait_ns(load.mean_s) // TICK_NS)
        broken = fails.draw() < load.failing and hooked
        yield Job(at_ns // TICK_NS, places.whole(0, hosts - 1), tenant, spec, ticks, broken)
        at_ns += comes.wait_ns(between_s)


def _drawn(draw: float, sizes: tuple[tuple[int, float], ...]) -> int:
    left = draw * sum(share for _, share in sizes)
    for size, share in sizes:
        left -= share
        if left < 0:
            return size
    return sizes[-1][0]
