"""Units: ticks of 50 ms, integer micro-credits, and the names of the sizes that bound everything.

Time is counted in *ticks* (the ledger's micro-batch) or in integer nanoseconds of the boot-time clock; money in
*ucr*, 64-bit integer micro-credits. Every price, bid, limit, rent and threshold is ucr per slot-period (DESIGN 3).
"""

TICK_NS = 50_000_000
"""Length of one tick: the ledger never ticks faster than this on its boot-time clock."""

NS_PER_S = 1_000_000_000
TICKS_PER_S = NS_PER_S // TICK_NS
TICKS_PER_HOUR = 3600 * TICKS_PER_S

UCR_PER_CREDIT = 1_000_000
UCR_MAX = 2**62
"""Largest amount that a command may name; sums of two stay within a signed 64-bit word."""

PRICE_UCR_MAX = 2**40
"""Highest price, bid or reserve of a slot-period: a million credits, which leaves room for the sum over a zone."""

PERMILLE = 1000
GIB = 1 << 30
MIB = 1 << 20

CLASS_COUNT_MAX = 8
"""Slot classes (GPU models) in a zone."""

ZONE_K_MAX = 10
"""A zone is 2^k x 2^k slots in Morton order, k at most this."""

BLOCKS_PER_ORDER_MAX = 4
NAME_BYTES_MAX = 64


def credits_text(amount_ucr: int) -> str:
    """An amount for people: credits with as many decimals as it has, at least two.

    >>> credits_text(1_500_000)
    '1.50'
    >>> credits_text(-1)
    '-0.000001'
    """
    sign, whole = ("-", -amount_ucr) if amount_ucr < 0 else ("", amount_ucr)
    units, rest = divmod(whole, UCR_PER_CREDIT)
    decimals = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}{units}.{decimals}"


def credits_ucr(text: str) -> int:
    """The amount in ucr that a person wrote in credits.

    Raises:
        ValueError: If the text is not a decimal number with at most six decimals, or is out of range.

    >>> credits_ucr("1.5")
    1500000
    """
    sign = -1 if text.startswith("-") else 1
    units, _, decimals = text.removeprefix("-").partition(".")
    if not (units or decimals) or not (units + decimals).isascii() or not (units + decimals).isdigit():
        raise ValueError(f"{text!r} is not an amount of credits: write a number like 12 or 0.25")
    if len(decimals) > 6:
        raise ValueError(f"{text!r} has more than six decimals: the smallest amount is 0.000001 credits")
    amount_ucr = int(units or "0") * UCR_PER_CREDIT + int(decimals.ljust(6, "0"))
    if amount_ucr > UCR_MAX:
        raise ValueError(f"{text!r} is out of range: at most {credits_text(UCR_MAX)} credits")
    return sign * amount_ucr
