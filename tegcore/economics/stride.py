"""The stick-slip stride (paper 3.5.3): how much to buy at once, when purchases cost gas and what is idle costs too.

A need that grows at r, met in strides of s, costs per period

    c(s) = C_txn r / s + p (1 + tax) s / 2

which is least at the economic order quantity s* = sqrt(2 C_txn r / (p (1 + tax))) (Harris 1913; DESIGN 5).
"""

import math

LEARN_MAX = 2.0
"""A stride is changed by no more than this factor at once: needs are seldom even."""


def stride_cost(stride: float, gas: float, growth: float, price: float, tax: float) -> float:
    """What meeting a growing need costs a period: gas r / s + p (1 + tax) s / 2.

    Args:
        stride: s, GiB bought at once, above 0.
        gas: C_txn of a purchase, ucr.
        growth: r, GiB per period.
        price: p, ucr per GiB and period.
        tax: Share added to the price of what is idle, 0 or more.
    """
    return gas * growth / stride + price * (1.0 + tax) * stride / 2.0


def learned_stride(stride: float, gas: float, price: float, lasted: float) -> float:
    """The next stride of one who only knows what the last one cost: least where gas and idleness cost the same.

    It was idle by half, so it cost price x lasted / 2 beside its gas; both change as powers of the stride, so their
    balance is found in one step where the need grows evenly: stride sqrt(gas / idle), which is `best_stride` for
    r = stride / lasted and p = price / stride.

    Args:
        stride: What was bought, in any unit of the resource.
        gas: What the purchase cost, ucr.
        price: What holding all of it costs a period, ucr, tax included.
        lasted: Periods until it was used up.
    """
    idle = price * lasted / 2.0
    if not (idle > 0 and gas > 0):
        return stride
    return stride * min(max(math.sqrt(gas / idle), 1.0 / LEARN_MAX), LEARN_MAX)


def best_stride(gas: float, growth: float, price: float, tax: float) -> float:
    """The s* at which `stride_cost` is least, in GiB.

    Raises:
        ValueError: If the price is not above 0: without a price for idleness there is no best stride.
    """
    if not price > 0:
        raise ValueError(f"no stride is best at a price of {price}")
    return math.sqrt(2.0 * gas * growth / (price * (1.0 + tax)))
