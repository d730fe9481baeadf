"""Just-in-time bidding (DESIGN 5): buy what the predicted working set needs for the next Delta t, and no more."""

from dataclasses import dataclass
from typing import NamedTuple

from tegcore.economics.fixed import MICRO
from tegcore.economics.stride import learned_stride
from tegcore.units import GIB, MIB

HORIZON_S = 2.0
HEADROOM_SHARE = 0.05
STEP_BYTES = 16 * MIB
STRIDE_BYTES_MAX = GIB
GIVE_BACK_SHARE = 0.5


class Usage(NamedTuple):
    """What a workload's processes use.

    Attributes:
        at_ns: When it was measured.
        rss_bytes: Resident memory.
        cpu_ns: Processor time so far.
    """

    at_ns: int
    rss_bytes: int
    cpu_ns: int


def rank(own_ucr: int | None, charge_ucr: int, mass_micro: int) -> float:
    """Who gives way first when a host's memory runs short (DESIGN 7): by solvency and mass.

    Args:
        own_ucr: What is left of its purse or budget; None where its tenant's account pays: it is solvent.
        charge_ucr: What it pays a period.
        mass_micro: Its mass.

    Returns:
        m s / (1 + s), with s the periods that it can still pay: its mass while it is rich, nothing when it is broke.
        Of equals the airlock side has the one give way that was submitted later.
    """
    mass = mass_micro / MICRO
    if own_ucr is None or charge_ucr <= 0:
        return mass
    solvency = max(0, own_ucr) / charge_ucr
    return mass * solvency / (1.0 + solvency)


def predicted_bytes(before: Usage, now: Usage) -> int:
    """The working set after the horizon: the level now and its slope, if it grows, with some headroom."""
    elapsed_s = (now.at_ns - before.at_ns) / 1e9
    slope = max(0.0, (now.rss_bytes - before.rss_bytes) / elapsed_s) if elapsed_s > 0 else 0.0
    return int((now.rss_bytes + slope * HORIZON_S) * (1 + HEADROOM_SHARE))


@dataclass(slots=True)
class Stride:
    """The stick-slip stride of one workload, learned from what its last purchase cost (paper 3.5.3).

    Attributes:
        size_bytes: What it buys at once, if it needs no more.
    """

    size_bytes: float = STEP_BYTES
    _bought_bytes: int = 0
    _bought_tick: int = 0
    _price_ucr: int = 0
    _gas_ucr: int = 0

    def bought(self, delta_bytes: int, price_ucr: int, gas_ucr: int, tick: int, period_ticks: int) -> None:
        """A purchase came through: what the one before it cost, and how long it lasted, is now known."""
        if self._bought_bytes > 0:
            lasted = (tick - self._bought_tick) / period_ticks
            learned = learned_stride(self._bought_bytes, self._gas_ucr, self._price_ucr, lasted)
            self.size_bytes = min(max(learned, STEP_BYTES), STRIDE_BYTES_MAX)
        self._bought_bytes, self._bought_tick = delta_bytes, tick
        self._price_ucr, self._gas_ucr = price_ucr, gas_ucr

    def gave_back(self) -> None:
        """The need shrank: the purchase before says nothing about the next."""
        self._bought_bytes = 0


def expansion_bytes(held_bytes: int, wanted_bytes: int, floor_bytes: int, stride_bytes: float = STEP_BYTES) -> int:
    """How much to buy (above 0) or give back (below 0), in whole steps; 0 to stay.

    Args:
        held_bytes: Held now.
        wanted_bytes: Predicted working set.
        floor_bytes: What came with the seat, and is not given back.
        stride_bytes: What is bought at once, if no more is needed.
    """
    if wanted_bytes > held_bytes:
        return -int(-max(wanted_bytes - held_bytes, stride_bytes) // STEP_BYTES) * STEP_BYTES
    if wanted_bytes < held_bytes * GIVE_BACK_SHARE and held_bytes > floor_bytes:
        spare = held_bytes - max(floor_bytes, wanted_bytes + STEP_BYTES)
        return -(max(0, spare) // STEP_BYTES * STEP_BYTES)
    return 0


def use_permille(before: Usage, now: Usage, cpu_milli: int, held_bytes: int) -> int:
    """The measured share of what is held that was used between two readings: the larger of cpu and memory."""
    elapsed_ns = now.at_ns - before.at_ns
    if elapsed_ns <= 0:
        return 1000
    shares = []
    if cpu_milli:
        shares.append((now.cpu_ns - before.cpu_ns) * 1_000_000 // (elapsed_ns * cpu_milli))
    if held_bytes:
        shares.append(now.rss_bytes * 1000 // held_bytes)
    return max(0, min(1000, max(shares, default=1000)))
