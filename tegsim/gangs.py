"""Gangs that need all of their slots at once: whoever holds some while waiting for the rest can wait for ever.

One trace of gangs, met by several policies. *Hold and wait*: members queue by themselves and keep what they get; strict
(in order of arrival, so that the first gang gets all that falls free) or with back-offs (whoever asks when a slot is
free), for ever or with a patience after which a gang lets go of all. *Fill or kill*: the real engine, at fixed prices
in order of arrival with a promise to the first that does not fit, or by auction.
"""

from typing import NamedTuple, Protocol

import numpy as np

from tegcore import rng
from tegcore.wire.records import Market, Op, Reason
from tegd.seek import pause_ticks
from tegsim.tenants import Ledger, Terms

SIZES_LOG2 = (2, 3, 4, 5)
"""Gangs of 4 to 32 slots."""
SIZE_SHARES = (0.4, 0.3, 0.2, 0.1)
MEAN_TICKS = 60
ZONE_K = 3
SLOTS = 1 << 2 * ZONE_K
QUIET_TICKS = 400
"""Nobody began for this long while gangs wait, though the longest of 99 % ran less: deadlock."""

RETRY_TICKS = 20


class Gang(NamedTuple):
    """A job: when it comes, log2 of its slots, how long it runs once it has all of them, what it would pay."""

    arrives: int
    size: int
    ticks: int
    limit_ucr: int


class Ran(NamedTuple):
    """What became of a trace.

    Attributes:
        useful: Slot-ticks of running gangs over those that there were.
        held: Slot-ticks held by gangs that do not run, over the same.
        finished: Share of the gangs that came.
        deadlocked: Whether it came to rest while gangs waited.
    """

    useful: float
    held: float
    finished: float
    deadlocked: bool


class Policy(Protocol):
    """Who gets slots."""

    def arrive(self, number: int, gang: Gang) -> None:
        """A gang comes."""

    def done(self, number: int) -> None:
        """A gang that ran has finished."""

    def tick(self, now: int) -> "Moves":
        """A tick passes."""
        ...


class Moves(NamedTuple):
    """What a policy did: gangs that begin to run or go on, that have to stop and are saved, and slots held idle."""

    begun: list[int]
    stopped: list[int]
    idle: int


def trace(ticks: int, load: float, seed: int) -> list[Gang]:
    """Gangs that come evenly at random and ask, together, for `load` times what there is."""
    slots = sum(share * (1 << size) for share, size in zip(SIZE_SHARES, SIZES_LOG2, strict=True))
    count = int(load * SLOTS * ticks / (slots * MEAN_TICKS))
    nodes = np.arange(count)
    arrives = np.sort((ticks * rng.uniform(seed, "arrives", 0, nodes)).astype(int)).tolist()
    sizes = np.array(SIZES_LOG2)[np.searchsorted(np.cumsum(SIZE_SHARES), rng.uniform(seed, "size", 0, nodes))].tolist()
    lasts = (1 - MEAN_TICKS * np.log1p(-rng.uniform(seed, "lasts", 0, nodes))).astype(int).tolist()
    limits = (Terms().reserve_ucr * (1.1 + 3 * rng.uniform(seed, "limit", 0, nodes))).astype(int).tolist()
    return [Gang(*row) for row in zip(arrives, sizes, lasts, limits, strict=True)]


def play(policy: Policy, gangs: list[Gang], ticks: int) -> Ran:
    """Run a trace to its end or to `ticks`."""
    running: dict[int, int] = {}
    left = {number: gang.ticks for number, gang in enumerate(gangs)}
    useful = held = finished = came = last_begun = 0
    for now in range(ticks):
        while came < len(gangs) and gangs[came].arrives <= now:
            policy.arrive(came, gangs[came])
            came += 1
        for number in [number for number, ends in running.items() if ends <= now]:
            del running[number]
            policy.done(number)
            finished += 1
        begun, stopped, idle = policy.tick(now)
        running |= {number: now + left[number] for number in begun}
        for number in stopped:
            left[number] = running.pop(number) - now
        last_begun = now if begun or came == finished + len(running) else last_begun
        useful += sum(1 << gangs[number].size for number in running)
        held += idle
    whole = SLOTS * ticks
    return Ran(useful / whole, held / whole, finished / max(1, came), ticks - last_begun > QUIET_TICKS)


class HoldAndWait:
    """Members get slots one by one and keep them.

    Args:
        seed: Of back-offs.
        strict: Members are served in the order of their gangs' arrival; else in the order in which they happen to ask.
        patience_ticks: A gang that is not complete so long after its first member has a slot lets go of all.
    """

    def __init__(self, seed: int, strict: bool, patience_ticks: int | None = None) -> None:
        self._seed, self._strict, self._patience = seed, strict, patience_ticks
        self._since: dict[int, int] = {}
        self._missing: dict[int, int] = {}
        self._sizes: dict[int, int] = {}
        self._free = SLOTS

    def arrive(self, number: int, gang: Gang) -> None:
        """See `Policy`."""
        self._missing[number] = self._sizes[number] = 1 << gang.size

    def done(self, number: int) -> None:
        """See `Policy`."""
        self._free += self._sizes.pop(number)

    def tick(self, now: int) -> Moves:
        """See `Policy`."""
        members = np.array([number for number, missing in self._missing.items() for _ in range(missing)], dtype=int)
        if not self._strict:
            members = members[np.argsort(rng.bits(self._seed, "asks", now, np.arange(members.size)))]
        served = members[: self._free].tolist()
        self._free -= len(served)
        for number in served:
            self._since.setdefault(number, now)
            self._missing[number] -= 1
        begun = [number for number, missing in self._missing.items() if missing == 0]
        for number in begun:
            del self._missing[number]
        if self._patience is not None:
            self._let_go([number for number in self._missing if now - self._since.get(number, now) >= self._patience])
        return Moves(begun, [], sum(self._sizes[number] - missing for number, missing in self._missing.items()))

    def _let_go(self, gangs: list[int]) -> None:
        for number in gangs:
            self._free += self._sizes[number] - self._missing[number]
            self._missing[number] = self._sizes[number]
            del self._since[number]


class FillOrKill:
    """The engine: a gang gets its whole block or nothing; one that waits is told when there is room, and orders anew.

    It asks for all of the zone, as its agent does once it waits, and declares how long it runs. By itself it asks again
    once a period where there was no room, and after a back-off where its bid was too low.

    Args:
        seed: Of back-offs.
        market: Fixed prices or auction.
    """

    def __init__(self, seed: int, market: Market) -> None:
        self._seed = seed
        self._ledger = Ledger(Terms(ZONE_K, market), [1 << 60])
        self._gangs: dict[int, Gang] = {}
        self._left: dict[int, int] = {}
        self._begun: dict[int, int] = {}
        self._leases: dict[int, int] = {}
        self._next: dict[int, int] = {}
        self._failures: dict[int, int] = {}

    def arrive(self, number: int, gang: Gang) -> None:
        """See `Policy`."""
        self._gangs[number], self._left[number] = gang, gang.ticks
        self._next[number], self._failures[number] = 0, 0

    def done(self, number: int) -> None:
        """See `Policy`."""
        self._ledger.release(self._leases.pop(number))

    def tick(self, now: int) -> Moves:
        """See `Policy`."""
        for number in [number for number, due in self._next.items() if due <= now]:
            self._ask(number)
        begun, stopped = list[int](), list[int]()
        for event in self._ledger.tick():
            if event.op is Op.FILLED:
                begun.append(number := event.body.ref - 1)
                self._leases[number], self._begun[number] = event.body.lease, now
            elif event.op is Op.REFUSED:
                self._refused(event.body.ref - 1, Reason(event.body.reason), now)
            elif event.op is Op.WOKEN and event.body.ref - 1 in self._next:
                self._next[event.body.ref - 1] = now + 1
            elif event.op is Op.NOTICE:
                stopped.append(self._gives_way(event.body.lease, now))
        return Moves(begun, stopped, 0)

    def _ask(self, number: int) -> None:
        gang, left = self._gangs[number], self._left[number]
        periods = 2 + 2 * gang.ticks // self._ledger.terms.period_ticks
        endow_ucr = (gang.limit_ucr << gang.size) * periods
        self._ledger.order(1, gang.size, gang.limit_ucr, endow_ucr, time_ticks=left, ref=number + 1)
        del self._next[number]

    def _refused(self, number: int, why: Reason, now: int) -> None:
        jitter = float(rng.uniform(self._seed, "back-off", now, [number])[0])
        period = self._ledger.terms.period_ticks
        if why in {Reason.NO_FIT, Reason.TAKEN, Reason.KEPT}:
            self._next[number] = now + period // 2 + int(jitter * (period // 2))
            return
        self._next[number] = now + int(pause_ticks(self._failures[number], 8 * RETRY_TICKS, jitter))
        self._failures[number] += 1

    def _gives_way(self, lease: int, now: int) -> int:
        """Saved at once; it seeks again and goes on from there."""
        number = next(number for number, held in self._leases.items() if held == lease)
        self._ledger.release(self._leases.pop(number), Reason.CHALLENGED)
        self._left[number] -= now - self._begun[number]
        self._next[number], self._failures[number] = now + 1, 0
        return number
