"""A 16-bit code of a price, in which prices are compared.

The choice between blocks is *defined* as the least (code, Morton base): both books choose by it, so the fast one may
hold rows of 16-bit integers. Money is never computed from a code: what is paid uses the exact sum. The code is exact
below 1,024 ucr and from there keeps ten significant bits: two prices with one code differ by less than 0.2 %.
"""

INFEASIBLE = 0x7FFF
"""Above every price: no block."""

_MANTISSA_BITS = 9


def least_of_code(code: int) -> int:
    """The least cost that has a code, in ucr."""
    shift, top = code >> _MANTISSA_BITS, code & (1 << _MANTISSA_BITS) - 1
    return top if not shift else ((1 << _MANTISSA_BITS) + top) << shift - 1


def price_code(cost_ucr: int) -> int:
    """The code of a cost, 0 .. 0x7FFE: never falls as the cost rises, exact below 1,024.

    Args:
        cost_ucr: A cost in ucr, 0 .. 2^63.
    """
    shift = max(0, cost_ucr.bit_length() - _MANTISSA_BITS - 1)
    return (shift << _MANTISSA_BITS) + (cost_ucr >> shift)
