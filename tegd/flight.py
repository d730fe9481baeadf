"""Flight of this host's ghosts: uniform start over the zone (9), Langevin steps on the broadcast field (13).

The physical layer comes from the governor, the heat layer from the ledger; each fades as it ages. Where there is no
field, nothing pulls, and ghosts diffuse.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from tegcore import rng
from tegcore.dynamics.langevin import Floats, Forces, Swarm, step
from tegcore.field.dual import Dual
from tegcore.field.geometry import slots_at
from tegcore.field.potential import FieldFrame, aged, ahead, evaluate, flat_frame, heat_frame, superposed
from tegcore.wire.messages import HEAT_GRID, Field, Heat

PHYSICAL_WEIGHT, HEAT_WEIGHT = 1.0, 0.5
LOOK_AHEAD_TICKS = 2.0
"""Delta: a ghost steers by where its own speed and the field's rate will have brought it."""

DEFAULT_FRICTION, DEFAULT_TEMPERATURE = 1.0, 0.5


def forces(physical: FieldFrame, heat: FieldFrame, friction: float, temperature: float, positions: Floats) -> Forces:
    """What acts on ghosts at positions, shape (n, 2), by both layers: Phi_eff (7), and B of the heat layer (13)."""
    sampled, hot = evaluate(physical, positions), evaluate(heat, positions)
    total = superposed(sampled, hot, PHYSICAL_WEIGHT, HEAT_WEIGHT)
    return Forces(total.gradient, hot.steepness, friction, temperature, total.hessian, LOOK_AHEAD_TICKS)


@lru_cache(maxsize=4)
def _physical(field: Field, side: float) -> FieldFrame | None:
    """The governor's field, or None if it is of another size or holds what is not finite."""
    if not len(field.weights) == len(field.rates) == 4 * field.grid**2 > 0:
        return None
    weights, rates = _finite(field.weights), _finite(field.rates)
    if weights is None or rates is None or not np.isfinite(weights + rates + field.mean).all():
        return None
    shape = (field.grid, field.grid)
    return FieldFrame(side, field.mean, Dual(weights.reshape(shape), rates.reshape(shape)), field.tau)


def _finite(raw: bytes) -> Floats | None:
    """The 32-bit floats in bytes, None where one is not finite: some that are not cannot even be widened in silence."""
    values = np.frombuffer(raw, "<f4")
    return values.astype(np.float64) if np.isfinite(values).all() else None


class Flight:
    """The ghosts of one host.

    Args:
        seed: Of the random streams.
        zone_k: The zone has 2^k x 2^k slots.
    """

    def __init__(self, seed: int, zone_k: int) -> None:
        self._seed = seed
        self._side = float(1 << zone_k)
        self._physical: FieldFrame = flat_frame(self._side, 0.0, 0)
        self._heat: FieldFrame = flat_frame(self._side, 0.0, 0)
        self._cells = np.zeros(HEAT_GRID * HEAT_GRID)
        self._frame, self._heat_tick = (-1, -1), -1
        self._friction, self._temperature = DEFAULT_FRICTION, DEFAULT_TEMPERATURE
        self._at: dict[int, tuple[Floats, Floats]] = {}

    def field_came(self, field: Field) -> None:
        """The governor's field; one of another size, or that holds what is not finite, is passed over."""
        physical = _physical(field, self._side)
        if physical is None:
            return
        self._physical = physical
        if field.friction > 0 and np.isfinite(field.friction):
            self._friction = field.friction
        if field.temperature >= 0 and np.isfinite(field.temperature):
            self._temperature = field.temperature

    def heat_came(self, heat: Heat) -> None:
        """The ledger's heat: a full frame, or the next delta of the frame that is known.

        Others are passed over, and so is what holds a number that is not finite.
        """
        cells = self._cells.copy()
        if heat.delta == 0 and len(heat.cells) == 4 * cells.size:
            told = _finite(heat.cells)
            if told is None:
                return
            cells = told
        elif (heat.frame, heat.delta) == (self._frame[0], self._frame[1] + 1) and len(heat.cells) % 6 == 0:
            pairs = np.frombuffer(heat.cells, dtype=[("cell", "<u2"), ("value", "<f4")])
            known = pairs["cell"] < cells.size
            if not np.isfinite(pairs["value"]).all():
                return
            cells[pairs["cell"][known]] = pairs["value"][known]
        else:
            return
        self._cells = cells
        self._frame, self._heat_tick = (heat.frame, heat.delta), heat.tick

    def step(self, ghosts: Sequence[int], mass: Sequence[float], charge: Sequence[float], tick: int) -> dict[int, int]:
        """Move the ghosts by one tick; returns the slot that each is over."""
        for ref in self._at.keys() - ghosts:
            del self._at[ref]
        if not ghosts:
            return {}
        if fresh := [ref for ref in ghosts if ref not in self._at]:
            starts = rng.uniform_pairs(self._seed, "start", 0, fresh).T * self._side
            self._at |= {ref: (start, np.zeros(2)) for ref, start in zip(fresh, starts, strict=True)}
        swarm = Swarm(
            np.array([self._at[ref][0] for ref in ghosts]),
            np.array([self._at[ref][1] for ref in ghosts]),
            np.asarray(mass),
            np.asarray(charge),
        )
        if self._heat_tick >= 0:
            self._heat = heat_frame(self._cells.reshape(HEAT_GRID, HEAT_GRID), self._side, self._heat_tick)
            self._heat_tick = -1
        fields = ahead(aged(self._physical, tick), LOOK_AHEAD_TICKS), aged(self._heat, tick)
        viscous = self._friction, self._temperature
        moved = step(
            swarm,
            lambda at: forces(*fields, *viscous, at),
            1.0,
            rng.normal(self._seed, "flight", tick, ghosts),
            self._side,
        )
        self._at = {ref: (moved.position[row], moved.velocity[row]) for row, ref in enumerate(ghosts)}
        return dict(zip(ghosts, slots_at(moved.position).tolist(), strict=True))
