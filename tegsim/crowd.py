"""A crowd of ghosts over one zone, as arrays: the laws of flight and search that agents follow, on the fast book.

What `World` plays out message by message for dozens of agents, this does for a million: a round is a batch of quotes
and a batch of grants. Each ghost wants one slot. Seats are kept.
"""

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from governor.controller import FIELD_EVERY_TICKS, HOSTS_PER_BATCH_MAX
from governor.gp.posterior import Hyperparameters, Posterior
from tegcore import rng
from tegcore.dynamics.langevin import Floats, Swarm, step
from tegcore.field.entropy import entropy
from tegcore.field.geometry import block_centre, slots_at
from tegcore.field.potential import FieldFrame, aged, ahead, flat_frame, heat_frame
from tegcore.units import GIB, UCR_PER_CREDIT
from tegcore.wire.records import Region
from tegd.flight import LOOK_AHEAD_TICKS, forces
from tegd.seek import ROUND_TICKS_MIN, pause_ticks, widened
from zone_ledger.book.base import COMMANDS, BookOp, BookStatus, HostShape
from zone_ledger.book.fast import FastBook
from zone_ledger.heat import HeatMap

Rows = NDArray[np.int64]

HOST_LOG2 = 3
BUSY = 0.9
"""Utilisation of a host whose slots are all leased."""


class Laws(NamedTuple):
    """What ghosts follow, and what they do not: the controls of an experiment.

    Attributes:
        field: The governor's field.
        heat: The ledger's heat.
        widening: Regions grow by quad-tree levels; else a ghost looks at the slot below it alone.
    """

    field: bool = True
    heat: bool = True
    widening: bool = True


class Crowd:
    """Ghosts, spread uniformly (9), and the zone that they seek in, empty.

    Args:
        zone_k: The zone has 2^k x 2^k slots, on hosts of eight.
        count: How many ghosts.
        seed: Of all draws.
        laws: See `Laws`.

    Attributes:
        position: Slots, shape (n, 2).
        rounds: Quotes answered, shape (n,).
        seat_log2: log2 of the region in which each found its seat, -1 before, shape (n,).
        refused: Orders that came too late for what was quoted.
    """

    RESERVE_UCR = UCR_PER_CREDIT
    FRICTION, TEMPERATURE = 1.0, 0.5
    PERIOD_TICKS = 1200

    def __init__(self, zone_k: int, count: int, seed: int, laws: Laws) -> None:
        self.zone_k, self.laws, self.tick, self._seed = zone_k, laws, 0, seed
        self._side = float(1 << zone_k)
        self._everyone = np.arange(count)
        self.position = self._side * np.stack([self._draw("start", lane) for lane in (0, 1)], axis=-1)
        self._velocity = np.zeros((count, 2))
        self._mass = 1.0 + 7.0 * self._draw("mass")
        self._charge = 1.0 + self._draw("charge")
        self.limit_ucr = (self.RESERVE_UCR * (1.0 + 3.0 * self._draw("limit"))).astype(np.int64)
        self._level, self._failures = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._next = np.zeros(count, np.int64)
        self.rounds, self.seat_log2 = np.zeros(count, np.int64), np.full(count, -1)
        self.refused = 0
        self.book = FastBook(zone_k)
        self.book.set_reserve(0, self.RESERVE_UCR)
        hosts = 4**zone_k >> HOST_LOG2
        for host in range(hosts):
            self.book.add_host(host + 1, HostShape(Region(host << HOST_LOG2, HOST_LOG2), 0, 8000, GIB))
        self.leased = np.zeros(hosts, np.int64)
        self._places = np.array([block_centre(Region(host << HOST_LOG2, HOST_LOG2)) for host in range(hosts)])
        self._posterior = Posterior(self._side, Hyperparameters())
        self._physical: FieldFrame = flat_frame(self._side, 0.0, 0)
        self._heat, self._bids = HeatMap(zone_k), deque[tuple[Region, int]]()

    def _draw(self, purpose: str, lane: int = 0) -> Floats:
        return rng.uniform(self._seed, purpose, 0, self._everyone, lane)

    @property
    def ghosts(self) -> Rows:
        """Those that seek."""
        return np.flatnonzero(self.seat_log2 < 0)

    def hold(self, blocks: list[Region]) -> None:
        """Someone who cannot be displaced holds these hosts' blocks, all of their slots."""
        for number, block in enumerate(blocks):
            taken = self.book.grant(-1 - number, block.log2, 1 << 40, -1, 1, block.base, block.log2)
            assert taken == block.base, f"{block} is not free"
            self.leased[block.base >> HOST_LOG2] = block.slots

    def let_go(self, numbers: range, blocks: list[Region]) -> None:
        """Those who hold these blocks, by their places in the list given to `hold`, leave."""
        for number in numbers:
            self.book.release(-1 - number)
            self.leased[blocks[number].base >> HOST_LOG2] = 0

    def sleep(self, ticks: Rows) -> None:
        """Ask nothing for so many ticks, shape (n,): back-offs that are under way."""
        self._next = self.tick + ticks

    def step(self) -> None:
        """50 ms pass: flight, one round for those whose turn it is, heat, field."""
        self.tick += 1
        ghosts = self.ghosts
        self._fly(ghosts)
        due = ghosts[self._next[ghosts] <= self.tick]
        if due.size:
            self._round(due)
        self._heat.tick(self._bids)
        if self.tick % FIELD_EVERY_TICKS == 0 and self.laws.field:
            self._project()

    def _fly(self, ghosts: Rows) -> None:
        swarm = Swarm(self.position[ghosts], self._velocity[ghosts], self._mass[ghosts], self._charge[ghosts])
        physical = ahead(aged(self._physical, self.tick), LOOK_AHEAD_TICKS)
        cells = self._heat.cells if self.laws.heat else np.zeros_like(self._heat.cells)
        heat = heat_frame(cells, self._side, self.tick)
        draws = rng.normal(self._seed, "flight", self.tick, ghosts)
        moved = step(
            swarm, lambda at: forces(physical, heat, self.FRICTION, self.TEMPERATURE, at), 1.0, draws, self._side
        )
        self.position[ghosts], self._velocity[ghosts] = moved.position, moved.velocity

    def _round(self, due: Rows) -> None:
        """Quotes, then the orders of those whose quote was within their means, in an order that is drawn."""
        log2 = widened(0, self._level[due], self.zone_k) if self.laws.widening else np.zeros(due.size, np.int64)
        base = slots_at(self.position[due]) >> log2 << log2
        self._next[due] = self.tick + ROUND_TICKS_MIN
        self.rounds[due] += 1
        commands = np.zeros(due.size, COMMANDS)
        commands["op"], commands["region"], commands["classes"] = BookOp.QUOTE, base << 8 | log2, 1
        quotes = self.book.run(commands)
        within = (quotes["status"] == BookStatus.DONE) & (quotes["cost_ucr"] <= self.limit_ucr[due])
        self._failed(due[~within], log2[~within])
        order = np.argsort(rng.bits(self._seed, "order", self.tick, due[within]))
        bidding, regions, log2 = due[within][order], commands["region"][within][order], log2[within][order]
        commands = np.zeros(bidding.size, COMMANDS)
        commands["op"], commands["region"], commands["classes"] = BookOp.GRANT, regions, 1
        commands["lease"], commands["limit_ucr"] = bidding + 1, self.limit_ucr[bidding]
        commands["threshold_ucr"] = -1
        grants = self.book.run(commands)
        seated = grants["status"] == BookStatus.DONE
        self.seat_log2[bidding[seated]] = log2[seated]
        np.add.at(self.leased, grants["block"][seated] >> 8 >> HOST_LOG2, 1)
        pressed = np.where(seated, grants["block"], regions).tolist()
        self._bids.extend(
            (Region(word >> 8, word & 0xFF), limit_ucr)
            for word, limit_ucr in zip(pressed, self.limit_ucr[bidding].tolist(), strict=True)
        )
        late = bidding[~seated]
        self.refused += late.size
        self._failed(late, np.full(late.size, 2 * self.zone_k))

    def _failed(self, rows: Rows, log2: Rows) -> None:
        """A round found nothing: widen, or back off after the root, as `tegd.seek.Search` does."""
        if not self.laws.widening:
            return
        self._level[rows] += 1
        back = rows[log2 >= 2 * self.zone_k]
        jitter = rng.uniform(self._seed, "back-off", self.tick, back)
        pause = pause_ticks(self._failures[back], self.PERIOD_TICKS, jitter).astype(np.int64)
        self._next[back] = self.tick + pause
        self._level[back] = 0
        self._failures[back] += 1

    def _project(self) -> None:
        """Telemetry of at most 5,000 hosts, each in its turn, into the field."""
        hosts = np.arange(len(self.leased))
        rounds = -(-hosts.size // HOSTS_PER_BATCH_MAX)
        heard = hosts[self.tick // FIELD_EVERY_TICKS % rounds :: rounds]
        busy = BUSY * self.leased[heard] / (1 << HOST_LOG2)
        self._posterior.observe(self._places[heard], entropy(busy[:, None], np.ones(1)), self.tick)
        self._physical = self._posterior.frame()
