"""A hall of GPU hosts, its heat, and who puts work where (paper 2.6).

Air that hosts blow out comes back to others' inlets: T_in = T_supply + D P, with D the heat recirculation matrix (K/W)
of Tang, Gupta and Varsamopoulos (IEEE TPDS 2008). The supply is as warm as the hottest inlet allows, and the chillers'
coefficient of performance is that of the HP Utility Data Center (Moore et al., USENIX 2005):

    COP(T) = 0.0068 T^2 + 0.0008 T + 0.458,     cooling power = P / COP(T_supply)

Work is the same for all: jobs of one GPU each, their use and time drawn once. Nobody moves work once it runs.
"""

from collections.abc import Callable
from copy import copy
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from governor.gp.posterior import Hyperparameters, Posterior
from tegcore import rng
from tegcore.dynamics.langevin import Swarm, step
from tegcore.field.dual import dual
from tegcore.field.entropy import entropy
from tegcore.field.geometry import block_centre, slots_at
from tegcore.field.potential import flat_frame
from tegcore.units import CLASS_COUNT_MAX, GIB
from tegcore.wire.records import Region
from tegd.flight import DEFAULT_FRICTION, DEFAULT_TEMPERATURE, forces
from tegd.seek import widened
from zone_ledger.book.base import Book, HostShape
from zone_ledger.book.fast import FastBook

Floats = NDArray[np.float64]

ZONE_K, HOST_LOG2 = 4, 3
GPUS = 1 << HOST_LOG2
HOSTS = 4**ZONE_K // GPUS
SIDE = float(1 << ZONE_K)

INLET_MAX_C = 27.0
"""Highest recommended inlet temperature (ASHRAE)."""

RISE_FULL_K = 15.0
"""How far the hottest inlet is above the supply with every GPU busy: measured halls show 5 to 15 K, and at 15 K an even
spread over half the GPUs has about the COP of 2.5 that the paper starts from."""

REACH_SLOTS = 4.0
"""Recirculated air fades by e over this distance."""

SPREAD = 0.3
"""Standard deviation, in logarithms, of how much a place takes in and gives out, beside the rise to the top of racks
and the ends of rows."""

BOARD_W = 400.0
"""A host without its GPUs."""

GPU_IDLE_C, GPU_CRITICAL_C = 30.0, 90.0
"""T_idle and T_crit of S_phys."""

FITTED_INLET_C = 21.0
"""Taken for the room of the servers that the laws were fitted to: the series do not say."""

STEP_H = 0.5


class Power(NamedTuple):
    """Laws fitted to series of real servers: power of a GPU (W, W at full use), fans, temperature over power."""

    gpu_w: tuple[float, float]
    fan_w: tuple[float, float]
    heat_c: tuple[float, float]

    def host_w(self, use: Floats) -> Floats:
        """Power of hosts whose GPUs are used this much in sum, shape (n,), fans included."""
        bare = BOARD_W + GPUS * self.gpu_w[0] + self.gpu_w[1] * use
        return bare + self.fan_w[0] + self.fan_w[1] * bare


def cop(supply_c: float) -> float:
    """Heat that the chillers move per energy that they use."""
    return 0.0068 * supply_c**2 + 0.0008 * supply_c + 0.458


def recirculation(seed: int, full_w: float) -> Floats:
    """D, shape (n, n), K/W: what a watt of host j adds to the inlet of host i.

    Higher places and ends of rows take in and give out more; that, and chance, are what a placement can make use of.

    Args:
        seed: Of chance.
        full_w: Power of a full host, at which the hottest inlet is RISE_FULL_K above the supply.
    """
    places = host_places()
    gaps = places[:, None, :] - places[None, :, :]
    distance = np.hypot(gaps[..., 0], gaps[..., 1])
    high = places[:, 1] / SIDE
    end = np.abs(2 * places[:, 0] / SIDE - 1)
    draws = rng.normal(seed, "recirculation", 0, np.arange(HOSTS))
    takes, gives = (np.exp(0.8 * high + 0.4 * end + SPREAD * draws[:, lane]) for lane in (0, 1))
    matrix = takes[:, None] * gives[None, :] * np.exp(-distance / REACH_SLOTS)
    return np.asarray(matrix * (RISE_FULL_K / (matrix.sum(axis=1).max() * full_w)), dtype=np.float64)


def host_places() -> Floats:
    """Centres of the hosts, shape (n, 2), in slots: x along the row, y up the rack."""
    return np.array([block_centre(Region(host << HOST_LOG2, HOST_LOG2)) for host in range(HOSTS)])


class Hall:
    """What is where, and what it costs to cool.

    Attributes:
        use: Sum of GPU use by host, shape (n,).
        busy: Jobs by host, shape (n,).
    """

    def __init__(self, power: Power, seed: int) -> None:
        self.power, self.use, self.busy = power, np.zeros(HOSTS), np.zeros(HOSTS, np.int64)
        self.matrix = recirculation(seed, float(power.host_w(np.array([GPUS]))[0]))

    def copy(self) -> "Hall":
        """Another with the same load, to try placements on."""
        other = copy(self)
        other.use, other.busy = self.use.copy(), self.busy.copy()
        return other

    def rise_k(self, use: Floats) -> Floats:
        """How far each inlet is above the supply, shape (n,)."""
        return np.asarray(self.matrix @ self.power.host_w(use), dtype=np.float64)

    def cooling_w(self, rise_k: float, use: Floats) -> float:
        """Power of the chillers when the hottest inlet is this far above the supply."""
        return float(self.power.host_w(use).sum()) / cop(INLET_MAX_C - rise_k)

    def inlets_c(self) -> Floats:
        """Inlet temperatures now, shape (n,)."""
        rise = self.rise_k(self.use)
        return np.asarray(INLET_MAX_C - rise.max() + rise, dtype=np.float64)

    def gpu_c(self) -> Floats:
        """Mean GPU temperature by host: the law's, moved by how much the inlet differs from where it was fitted."""
        mean_w = self.power.gpu_w[0] + self.power.gpu_w[1] * self.use / GPUS
        at_fit = self.power.heat_c[0] + self.power.heat_c[1] * mean_w
        return np.asarray(at_fit + self.inlets_c() - FITTED_INLET_C, dtype=np.float64)

    def least_rise_k(self) -> float:
        """The bound: the least that the hottest inlet could be above the supply if use could be spread at will.

        min z  with  D P(u) <= z,  sum u = the use there is,  0 <= u <= GPUS: a linear programme.
        """
        base = self.matrix @ self.power.host_w(np.zeros(HOSTS))
        slope = self.matrix * (self.power.gpu_w[1] * (1 + self.power.fan_w[1]))
        found = linprog(
            np.append(np.zeros(HOSTS), 1.0),
            A_ub=np.column_stack((slope, -np.ones(HOSTS))),
            b_ub=-base,
            A_eq=np.append(np.ones(HOSTS), 0.0)[None],
            b_eq=[self.use.sum()],
            bounds=[(0.0, float(GPUS))] * HOSTS + [(0.0, None)],
            method="highs",
        )
        assert found.success, found.message
        return float(found.x[-1])


class Policy(Protocol):
    """Who puts jobs where."""

    def place(self, hall: Hall, count: int, now: int) -> list[int]:
        """Hosts for so many jobs that come together; each has a free GPU for its job."""
        ...


Score = Callable[[Hall], Floats]

EXPECTED_USE = 0.6
"""What a job is taken to use while its batch is placed."""


class Scored:
    """Each job to the host with the least score among those with room; equal ones in their order."""

    def __init__(self, score: Score) -> None:
        self._score = score

    def place(self, hall: Hall, count: int, now: int) -> list[int]:  # noqa: ARG002
        """See `Policy`."""
        chosen: list[int] = []
        trial = hall.copy()
        for _ in range(count):
            room = np.flatnonzero(trial.busy < GPUS)
            host = int(room[np.argmin(self._score(trial)[room])])
            chosen.append(host)
            trial.busy[host] += 1
            trial.use[host] += EXPECTED_USE
        return chosen


class Uniform:
    """Each job to the emptiest host."""

    def place(self, hall: Hall, count: int, now: int) -> list[int]:  # noqa: ARG002
        """See `Policy`."""
        busy, chosen = hall.busy.copy(), list[int]()
        for _ in range(count):
            chosen.append(int(np.argmin(busy)))
            busy[chosen[-1]] += 1
        return chosen


class Random:
    """Each job to any free GPU."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def place(self, hall: Hall, count: int, now: int) -> list[int]:
        """See `Policy`."""
        free = np.repeat(np.arange(HOSTS), GPUS - hall.busy)
        order = np.argsort(rng.bits(self._seed, "random", now, np.arange(free.size)))
        return [int(host) for host in free[order[:count]]]


def coolest_first(hall: Hall) -> Floats:
    """Score of a host: its inlet temperature."""
    return hall.inlets_c()


def least_recirculating(hall: Hall) -> Floats:
    """Score of a host: how much of its heat comes back to any inlet (MinHR; Moore et al., USENIX 2005)."""
    back: Floats = hall.matrix.sum(axis=0)
    return back


class Flight(NamedTuple):
    """How ghosts fly.

    Attributes:
        ticks: Before they ask: 0 as the daemon does.
        temperature: Of their noise.
        heat_only: S_phys from temperatures alone; else from the GPUs' load too.
    """

    ticks: int = 0
    temperature: float = DEFAULT_TEMPERATURE
    heat_only: bool = False


class Ghosts:
    """TEG: jobs are ghosts that fly over the field of S_phys and take a free GPU of the real book where they are.

    Args:
        seed: Of starts and flight.
        flight: See `Flight`.
    """

    def __init__(self, seed: int, flight: "Flight") -> None:
        self._seed, self._flight, self._born = seed, flight, 0
        self._posterior = Posterior(SIDE, Hyperparameters())
        self._places = host_places()

    def place(self, hall: Hall, count: int, now: int) -> list[int]:
        """See `Policy`."""
        shares = np.full((HOSTS, 7), np.nan)
        if not self._flight.heat_only:
            shares[:, 4] = 0.95 * hall.busy / GPUS
        shares[:, 5] = np.clip((hall.gpu_c() - GPU_IDLE_C) / (GPU_CRITICAL_C - GPU_IDLE_C), 0.0, 1.0)
        self._posterior.observe(self._places, entropy(shares), now * 1200)
        born = self._born + np.arange(count)
        self._born += count
        position = SIDE * np.stack([rng.uniform(self._seed, "start", 0, born, lane) for lane in (0, 1)], axis=-1)
        return self._seated(hall, slots_at(self._flown(position, born)))

    def _flown(self, position: Floats, born: NDArray[np.int64]) -> Floats:
        frame, none = self._posterior.frame(), flat_frame(SIDE, 0.0, 0)
        field = frame._replace(weights=dual(frame.weights.value))
        swarm = Swarm(position, np.zeros_like(position), np.ones(len(born)), np.ones(len(born)))
        for tick in range(self._flight.ticks):
            draws = rng.normal(self._seed, "flight", tick, born)
            swarm = step(
                swarm,
                lambda at: forces(field, none, DEFAULT_FRICTION, self._flight.temperature, at),
                1.0,
                draws,
                SIDE,
            )
        return swarm.position

    @staticmethod
    def _seated(hall: Hall, slots: NDArray[np.int64]) -> list[int]:
        """One after the other, in growing regions around where each is, as the daemon seeks."""
        book, chosen = _book(hall, [0] * HOSTS), list[int]()
        for lease, slot in enumerate(slots.tolist(), 1):
            for level in range(ZONE_K + 1):
                log2 = int(widened(0, level, ZONE_K))
                block = book.grant(lease, 0, 1, -1, 1, slot >> log2 << log2, log2)
                if block >= 0:
                    chosen.append(block >> HOST_LOG2)
                    break
        return chosen


class PricedHeat:
    """TEG with what it has today: slot classes by how much of a host's heat comes back, dearer where more does.

    An order names all classes and the whole zone; the real book gives it the cheapest slot.
    """

    def place(self, hall: Hall, count: int, now: int) -> list[int]:  # noqa: ARG002
        """See `Policy`."""
        ranks = np.argsort(np.argsort(hall.matrix.sum(axis=0))) * CLASS_COUNT_MAX // HOSTS
        book = _book(hall, ranks.tolist())
        return [
            book.grant(lease, 0, CLASS_COUNT_MAX, -1, (1 << CLASS_COUNT_MAX) - 1) >> HOST_LOG2 for lease in range(count)
        ]


def _book(hall: Hall, classes: list[int]) -> Book:
    """The hall as a book: hosts of these classes, slots of class c at a reserve of c + 1, busy ones cordoned."""
    book = FastBook(ZONE_K)
    for slot_class in range(CLASS_COUNT_MAX):
        book.set_reserve(slot_class, slot_class + 1)
    for host, slot_class in enumerate(classes):
        book.add_host(host + 1, HostShape(Region(host << HOST_LOG2, HOST_LOG2), slot_class, 8000, GIB))
        for slot in range(int(hall.busy[host])):
            book.cordon((host << HOST_LOG2) + slot, on=True)
    return book


class Cooled(NamedTuple):
    """What a run took: energy of the chillers, of all else, and of the chillers at the bound, kWh; mean COP."""

    cooling_kwh: float
    other_kwh: float
    bound_kwh: float
    cop: float


class Load(NamedTuple):
    """Jobs by the step in which each comes, how many steps it lasts, and how much it uses its GPU."""

    arrives: list[int]
    steps: list[int]
    use: list[float]


def load(hours: float, mean_share: float, uses: Floats, seed: int) -> Load:
    """A day's wave of jobs, four hours long on average, that fill `mean_share` of the GPUs on average.

    Args:
        hours: How long.
        mean_share: Between 0 and 0.6; it swings by a half about that.
        uses: Uses of real GPUs, to draw from.
        seed: Of draws.
    """
    steps = int(hours / STEP_H)
    mean_steps = 4.0 / STEP_H
    wave = mean_share * (1 + 0.5 * np.sin(2 * np.pi * np.arange(steps) * STEP_H / 24.0))
    per_step = wave * HOSTS * GPUS / mean_steps
    first = int(mean_share * HOSTS * GPUS)
    whole = np.floor(np.cumsum(per_step)).astype(int)
    counts = np.diff(whole, prepend=0)
    arrives = np.concatenate((np.zeros(first, int), np.repeat(np.arange(steps), counts)))
    nodes = np.arange(arrives.size)
    lasts = np.ceil(-mean_steps * np.log1p(-rng.uniform(seed, "lasts", 0, nodes))).astype(int)
    picks = (uses.size * rng.uniform(seed, "use", 0, nodes)).astype(int)
    return Load(arrives.tolist(), np.maximum(1, lasts).tolist(), uses[picks].tolist())


def run(policy: Policy, jobs: Load, hours: float, power: Power, seed: int) -> Cooled:
    """Place the jobs as they come, and add up what it takes. A job that finds the hall full is lost for all alike."""
    hall = Hall(power, seed)
    ends: dict[int, list[tuple[int, float]]] = {}
    cooling = other = bound = 0.0
    cops: list[float] = []
    came = 0
    for now in range(int(hours / STEP_H)):
        for host, use in ends.pop(now, []):
            hall.busy[host] -= 1
            hall.use[host] -= use
        batch = range(came, came + sum(1 for at in jobs.arrives[came:] if at == now))
        came = batch.stop
        batch = batch[: HOSTS * GPUS - int(hall.busy.sum())]
        for job, host in zip(batch, policy.place(hall, len(batch), now), strict=True):
            hall.busy[host] += 1
            hall.use[host] += jobs.use[job]
            ends.setdefault(now + jobs.steps[job], []).append((host, jobs.use[job]))
        hall.use[hall.busy == 0] = 0.0
        rise = float(hall.rise_k(hall.use).max())
        cooling += hall.cooling_w(rise, hall.use) * STEP_H / 1000
        other += float(hall.power.host_w(hall.use).sum()) * STEP_H / 1000
        bound += hall.cooling_w(hall.least_rise_k(), hall.use) * STEP_H / 1000
        cops.append(cop(INLET_MAX_C - rise))
    return Cooled(cooling, other, bound, float(np.mean(cops)))
