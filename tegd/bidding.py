"""Just-in-time bidding (DESIGN 5): buy what the predicted working set needs for the next Delta t, and no more."""

from typing import NamedTuple

from tegcore.units import MIB

HORIZON_S = 2.0
HEADROOM_SHARE = 0.05
STEP_BYTES = 16 * MIB
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


def predicted_bytes(before: Usage, now: Usage) -> int:
    """The working set after the horizon: the level now and its slope, if it grows, with some headroom."""
    elapsed_s = (now.at_ns - before.at_ns) / 1e9
    slope = max(0.0, (now.rss_bytes - before.rss_bytes) / elapsed_s) if elapsed_s > 0 else 0.0
    return int((now.rss_bytes + slope * HORIZON_S) * (1 + HEADROOM_SHARE))


def expansion_bytes(held_bytes: int, wanted_bytes: int, floor_bytes: int) -> int:
    """How much to buy (above 0) or give back (below 0), in whole steps; 0 to stay.

    Args:
        held_bytes: Held now.
        wanted_bytes: Predicted working set.
        floor_bytes: What came with the seat, and is not given back.
    """
    if wanted_bytes > held_bytes:
        return -(-(wanted_bytes - held_bytes) // STEP_BYTES) * STEP_BYTES
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
