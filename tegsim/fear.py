"""The fear premium (paper 2.5): what is held beyond need, by those who must ask beforehand and by those who need not.

Causal replay of measured memory use: a decision at a sample sees the container's own past, and what other containers
did, never its own future. *Users* of a static request choose how much to add to their own peak of a trial, so that
held memory and the risk of being killed cost them least. *TEG* buys just in time, by the daemon's own laws and the
ledger's price (15), and where a host has no more to sell, work stands still instead of being killed.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tegcore import rng
from tegcore.economics.fixed import range_price_ucr
from tegcore.units import GIB, NS_PER_S
from tegd.bidding import HEADROOM_SHARE, Stride, Usage, expansion_bytes, predicted_bytes
from tegsim.traces import SAMPLE_S, Container

Floats = NDArray[np.float64]

TRIAL = 126
"""Samples of a trial, two hours, after which a request is fixed and the replay begins."""

HOUR = 63
"""Samples in an hour."""

RESTART = 5
"""Samples until killed work is back: the longest back-off of Kubernetes is five minutes."""

LEVEL_BYTES = 64 * GIB
"""What a container's request stands for; levels are shares of it."""

HOST_CONTAINERS = 16
BUFFER_SHARE = 0.05
"""Of a host's memory, never sold (paper 3.6.1)."""

K_UCR, GAS_UCR = 10_000, 100
"""k of (15), per period, and gas, as shipped."""

PARKED_SHARE = 1 / 3
"""What frozen work leaves in zRAM (paper 3.6.2)."""


class Outcome(NamedTuple):
    """What a way of holding memory came to.

    Attributes:
        freed: Share of what was requested that others can have.
        kills: Out-of-memory kills per 1,000 container-hours.
        stalled: Share of container-time in which work stood still, for want of memory or frozen.
        cost: Of the average container, in hours' rent of its mean use: what it held, gas, and the loss by kills or
            standing still.
    """

    freed: float
    kills: float
    stalled: float
    cost: float = 0.0


# --- static requests ------------------------------------------------------------------------------------------------


def long_enough(found: list[Container]) -> list[Container]:
    """Containers that live on for an hour after a trial."""
    return [one for one in found if len(one.levels) > TRIAL + HOUR]


def halves(found: list[Container], seed: int) -> tuple[list[Container], list[Container]]:
    """Those whose past users know of, and those that are replayed; drawn."""
    order = np.argsort(rng.bits(seed, "halves", 0, np.arange(len(found)))).tolist()
    middle = len(order) // 2
    return [found[at] for at in order[:middle]], [found[at] for at in order[middle:]]


def best_margin(ratios: Floats, hours: float, loss_hours: float) -> float:
    """The margin alpha (4) that costs a user least: (1 + alpha) hours of rent + loss_hours x P(need > 1 + alpha).

    Args:
        ratios: Need over what is known, as it was seen, shape (n,): the risk is the share beyond 1 + alpha.
        hours: For how long the request is held.
        loss_hours: What a kill loses, in hours of rent of what is known.
    """
    steps = np.unique(np.append(np.maximum(ratios, 1.0), 1.0))
    beyond = (ratios[None, :] > steps[:, None]).mean(axis=1)
    costs = steps * hours + loss_hours * beyond
    return float(steps[np.argmin(costs)]) - 1.0


def static(known: list[Container], replayed: list[Container], loss_hours: float) -> tuple[Outcome, float]:
    """One request for life, after a trial; killed work is given its whole request. Returns alpha as well."""
    ratios = np.array([one.levels[TRIAL:].max() / max(1e-3, one.levels[:TRIAL].max()) for one in known])
    hours = float(np.mean([len(one.levels) - TRIAL for one in known])) / HOUR
    alpha = best_margin(ratios, hours, loss_hours)
    held, kills, samples = 0.0, 0, 0
    for one in replayed:
        need = one.levels[TRIAL:]
        request = min(1.0, (1 + alpha) * one.levels[:TRIAL].max())
        beyond = np.flatnonzero(need > request)
        until = int(beyond[0]) if beyond.size else len(need)
        kills += bool(beyond.size)
        held += request * until + 1.0 * (len(need) - until)
        samples += len(need)
    return Outcome(1 - held / samples, 1000 * kills * HOUR / samples, 0.0), alpha


def hourly(known: list[Container], replayed: list[Container], loss_hours: float) -> tuple[Outcome, float]:
    """A reservation for each hour, at a bid that is paid as bid: sized by the peak of the hour before, and a margin.

    What the bid is changes the price of a GiB, not how many are held: the margin is against the hour to come.
    """
    ratios = np.concatenate([_hourly_ratios(one) for one in known])
    alpha = best_margin(ratios, 1.0, loss_hours)
    held, kills, samples = 0.0, 0, 0
    for one in replayed:
        ends = range(TRIAL, len(one.levels), HOUR)
        for start in ends:
            need = one.levels[start : start + HOUR]
            request = min(1.0, (1 + alpha) * one.levels[start - HOUR : start].max())
            kills += bool((need > request).any())
            held += max(request, min(1.0, float(need.max()))) * len(need)
            samples += len(need)
    return Outcome(1 - held / samples, 1000 * kills * HOUR / samples, 0.0), alpha


def _hourly_ratios(one: Container) -> Floats:
    starts = range(TRIAL, len(one.levels) - HOUR + 1, HOUR)
    peaks = [
        one.levels[start : start + HOUR].max() / max(1e-3, one.levels[start - HOUR : start].max()) for start in starts
    ]
    return np.array(peaks)


def hindsight(replayed: list[Container], margin: float) -> float:
    """Share freed if each had asked for its own peak, that nobody knows beforehand, and a margin."""
    requests = [min(1.0, (1 + margin) * one.levels[TRIAL:].max()) for one in replayed]
    lengths = [len(one.levels) - TRIAL for one in replayed]
    return 1 - float(np.average(requests, weights=lengths))


# --- shared hosts ---------------------------------------------------------------------------------------------------


class _Work:
    """One container on a shared host: where it is in its trace, what it holds, what it has paid."""

    def __init__(self, trace: Container) -> None:
        self.levels = (trace.levels[TRIAL:] * LEVEL_BYTES).astype(np.int64).tolist()
        self.before = int(trace.levels[TRIAL - 1] * LEVEL_BYTES)
        self.starts = trace.start
        self.at, self.held, self.stalled, self.lived, self.kills, self.back = 0, 0, 0, 0, 0, 0
        self.frozen = False
        self.stride = Stride()
        self.ranges: list[tuple[int, int]] = []
        self.paid_ucr = 0.0

    @property
    def need(self) -> int:
        """What it needs now."""
        return int(self.levels[self.at])

    @property
    def kept(self) -> int:
        """What it takes up: frozen work is parked."""
        return int(self.held * PARKED_SHARE) if self.frozen else self.held

    def there(self, now: int) -> bool:
        """Whether it has begun and not ended."""
        return self.starts <= now and self.at < len(self.levels)

    def pay(self) -> None:
        """For what it holds, for one sample, which is about a period."""
        self.paid_ucr += sum(price for _, price in self.ranges)

    def advance(self) -> None:
        """It ran for a sample."""
        self.before = self.need
        self.at += 1


class Host:
    """TEG's host: purchases at (15), the airlock where there is nothing more to sell.

    Args:
        traces: Its containers.
        freed: Share of the memory that they requested that the host does not have.
        headroom: What the daemon buys beyond the predicted working set.
    """

    def __init__(self, traces: list[Container], freed: float, headroom: float = HEADROOM_SHARE) -> None:
        self.works = [_Work(trace) for trace in traces]
        self._room = int((1 - freed) * len(traces) * LEVEL_BYTES * (1 - BUFFER_SHARE))
        self._headroom = headroom

    def run(self, samples: int, seed: int) -> None:
        """So many samples pass."""
        for now in range(samples):
            there = [work for work in self.works if work.there(now)]
            order = np.argsort(rng.bits(seed, "turn", now, np.arange(len(there)))).tolist()
            for place in order:
                self._turn(there[place], there, now)
            for work in self.works:
                if not work.there(now):
                    work.held, work.ranges = 0, []

    def _turn(self, work: _Work, there: list[_Work], now: int) -> None:
        work.lived += 1
        if work.frozen and not self._thawed(work, there):
            work.stalled += 1
            return
        if not self._bought(work, there, now) and not self._made_room(work, there, now):
            work.stalled += 1
        else:
            work.advance()
        work.pay()

    def _used(self, there: list[_Work]) -> int:
        return sum(other.kept for other in there)

    def _thawed(self, work: _Work, there: list[_Work]) -> bool:
        """Frozen work goes on once all of it fits beside the others."""
        work.frozen = self._used(there) - work.kept + max(work.held, work.need) >= self._room
        return not work.frozen

    def _bought(self, work: _Work, there: list[_Work], now: int) -> bool:
        """Hold what is needed, and the daemon's headroom if there is room for it; False if even the need is refused."""
        step_ns = int(SAMPLE_S * NS_PER_S)
        wanted = predicted_bytes(Usage(0, work.before, 0), Usage(step_ns, work.need, 0))
        wanted = int(wanted * (1 + self._headroom) / (1 + HEADROOM_SHARE))
        used = self._used(there)
        for target, stride in ((wanted, work.stride.size_bytes), (wanted, 0.0), (work.need, 0.0)):
            delta = expansion_bytes(work.held, target, 0, stride)
            if delta <= 0:
                self._give_back(work, -delta)
                return work.held >= work.need
            if used + delta < self._room:
                price = range_price_ucr(K_UCR, self._room, used, delta)
                work.stride.bought(delta, price, GAS_UCR, now, 1)
                work.ranges.append((delta, price))
                work.held += delta
                work.paid_ucr += GAS_UCR
                return True
        return work.held >= work.need

    @staticmethod
    def _give_back(work: _Work, rest: int) -> None:
        if rest:
            work.stride.gave_back()
            work.held -= rest
        while rest:
            size, price = work.ranges.pop()
            part = min(rest, size)
            rest -= part
            if size > part:
                work.ranges.append((size - part, price * (size - part) // size))

    def _made_room(self, work: _Work, there: list[_Work], now: int) -> bool:
        """The airlock: the weakest, that hold least, are frozen and parked until the need fits; not for the weakest."""
        while True:
            weaker = [other for other in there if not other.frozen and 0 < other.held < work.held]
            if not weaker:
                return False
            min(weaker, key=lambda other: other.held).frozen = True
            if self._bought(work, there, now):
                return True


class Overcommitted(Host):
    """The same host without TEG: memory is taken as it is needed, and when there is no more, the largest is killed.

    What was killed is back after five minutes, where it was: that it lost work is not counted.
    """

    def _turn(self, work: _Work, there: list[_Work], now: int) -> None:
        work.lived += 1
        if now < work.back:
            work.stalled += 1
            return
        work.held = work.need
        while self._used(there) >= self._room:
            victim = max(there, key=lambda other: other.held)
            victim.kills += 1
            victim.held, victim.back = 0, now + RESTART
        if work.held:
            work.advance()


def shared(host: type[Host], replayed: list[Container], freed: float, seed: int, headroom: float) -> Outcome:
    """Containers on hosts of 16, drawn together, that have less memory than was requested.

    Args:
        host: With TEG or without.
        replayed: All containers.
        freed: Share of the requested memory that hosts do not have.
        seed: Of who is with whom.
        headroom: See `Host`.
    """
    order = np.argsort(rng.bits(seed, "hosts", 0, np.arange(len(replayed)))).tolist()
    groups = [order[at : at + HOST_CONTAINERS] for at in range(0, len(order), HOST_CONTAINERS)]
    samples = max(one.start + len(one.levels) for one in replayed) - TRIAL
    works: list[_Work] = []
    for number, group in enumerate(groups):
        if len(group) == HOST_CONTAINERS or number == 0:
            hosted = host([replayed[at] for at in group], freed, headroom)
            hosted.run(samples, seed + number)
            works += hosted.works
    lived = sum(work.lived for work in works)
    mean_use = float(np.mean([np.mean(work.levels) for work in works])) / LEVEL_BYTES
    base_ucr = K_UCR / (HOST_CONTAINERS * (1 - BUFFER_SHARE)) * mean_use
    return Outcome(
        freed,
        1000 * sum(work.kills for work in works) * HOUR / lived,
        sum(work.stalled for work in works) / lived,
        sum(work.paid_ucr for work in works) / lived / base_ucr,
    )
