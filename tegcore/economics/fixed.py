"""The money laws in integers, so that every machine computes the same micro-credits.

One routine, `log2_q32`, serves every logarithm, and decay by its inverse: bit by bit, by squaring, in integers alone.
Rounding goes against the payer.
"""

from functools import lru_cache

from tegcore.units import GIB, UCR_PER_CREDIT

MASS_PER_GIB = 1
"""alpha of (11)."""

MASS_PER_LOG_CREDIT = 1
"""beta of (11)."""

MICRO = 1_000_000

_ONE_Q96 = 1 << 96
_LN2_Q64 = 12786308645202655659
_LOGARITHMS_KEPT = 1 << 12


@lru_cache(maxsize=_LOGARITHMS_KEPT)
def log2_q32(number: int) -> int:
    """log2 of a positive integer in units of 2^-32, rounded down; of the latest, remembered: ghosts ask every cycle.

    Raises:
        ValueError: If the number is not positive.
    """
    return _log2_q32(number)


def _log2_q32(number: int) -> int:
    if number <= 0:
        raise ValueError(f"log2 of {number}")
    whole = number.bit_length() - 1
    mantissa = number << 96 - whole if whole <= 96 else number >> whole - 96
    bits = 0
    for _ in range(32):
        mantissa = mantissa * mantissa >> 96
        bits <<= 1
        if mantissa >= 2 * _ONE_Q96:
            mantissa >>= 1
            bits |= 1
    return (whole << 32) + bits


def exp2_q32(exponent_q32: int) -> int:
    """2^x in units of 2^-32, x from 0 to below 1 in the same unit: the greatest whose `log2_q32` is no more than x.

    Raises:
        ValueError: If x is out of that range.
    """
    if not 0 <= exponent_q32 < 1 << 32:
        raise ValueError(f"2 to the power of {exponent_q32} / 2^32")
    found, most = 1 << 32, (32 << 32) + exponent_q32
    for bit in reversed(range(32)):
        if _log2_q32(found | 1 << bit) <= most:
            found |= 1 << bit
    return found


def over_ln2(amount: int) -> int:
    """An amount over ln 2, rounded down."""
    return (amount << 64) // _LN2_Q64


def log_ratio_micro(numerator: int, denominator: int) -> int:
    """ln(numerator / denominator) in millionths, rounded up; both positive, the ratio at least 1."""
    difference_q32 = log2_q32(numerator) - log2_q32(denominator)
    return -(-difference_q32 * _LN2_Q64 * MICRO >> 96)


def range_price_ucr(scale_ucr: int, capacity: int, used: int, delta: int) -> int:
    """What holding the range `used .. used + delta` costs a period: the integral of (15), k ln((C - U) / (C - U - d)).

    Args:
        scale_ucr: k, in ucr per period.
        capacity: C_max, in units of the resource.
        used: U, before the purchase.
        delta: What is bought, 0 or more.

    Returns:
        ucr per period, rounded up.

    Raises:
        ValueError: If the range reaches C_max: there is no price there (DESIGN 9, row 15).
    """
    if used + delta >= capacity:
        raise ValueError(f"{used} + {delta} reaches {capacity}")
    difference_q32 = log2_q32(capacity - used) - log2_q32(capacity - used - delta)
    return -(-scale_ucr * difference_q32 * _LN2_Q64 >> 96)


def mass_micro(mem_bytes: int, endow_ucr: int, slots: int) -> int:
    """Inertial mass (11), in millionths: (alpha mem_gib + beta ln(1 + E_init / slots)) slots, E_init in credits.

    Args:
        mem_bytes: Host memory per slot when seated.
        endow_ucr: E_init.
        slots: Slots of the lease, at least 1.
    """
    per_slot = MASS_PER_GIB * mem_bytes * MICRO // GIB
    base = slots * UCR_PER_CREDIT
    return (per_slot + MASS_PER_LOG_CREDIT * log_ratio_micro(base + endow_ucr, base)) * slots


def friction_ucr(mu_ucr: int, mass: int) -> int:
    """Static friction mu m of (14), in ucr per period for the whole lease, mass in millionths."""
    return mu_ucr * mass // MICRO


def prorated_ucr(amount_ucr: int, ticks: int, period_ticks: int) -> int:
    """The part of a period's amount that falls on `ticks`, rounded up."""
    return -(-amount_ucr * ticks // period_ticks)
