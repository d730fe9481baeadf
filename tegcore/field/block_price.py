"""What a free block of a device will earn: duals of the linear program that packs coming shares into devices.

One device is a path over its thousandths: an arc of length s from u to u + s places a share of s thousandths, an arc
to the end leaves the rest idle (the arc-flow form of cutting stock, Valerio de Carvalho, Annals of Operations
Research 86, 1999). With d_s the arrivals of size s while as much arrives as the cluster holds, the flow maximises what
is placed,

    max  sum_s s z_s    subject to    conservation,   flow out of 0 at most one cluster,
                                      tau d_s <= z_s <= demand d_s,    z_1000 = tau d_1000

where tau is when the last empty device goes: until then nothing that arrives may be refused, and whole devices have no
place afterwards. By its duals, placing a share of size s is worth y_s, and a block of r thousandths what can be made
of it, at most what a whole device earns:

    v(r) = min(v_device, max(0, max_s (y_s + v(r - s))))
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_array, vstack

Floats = NDArray[np.float64]
Words = NDArray[np.int64]

WHOLE = 1000


class Packing(NamedTuple):
    """The solved program, in devices.

    Attributes:
        worth: y_s of each size.
        device: Worth of an empty device.
        placed: Most that can be placed, as a share of all devices.
    """

    worth: Floats
    device: float
    placed: float


def packing(sizes: Words, arrivals: Floats, demand: float) -> Packing:
    """Solve for sizes in thousandths, 1..1000, each once, that come in the ratio of `arrivals`, above 0.

    Args:
        sizes: Shape (m,).
        arrivals: Shape (m,).
        demand: What comes in all, in units of what the cluster has.
    """
    step = int(np.gcd.reduce(np.append(sizes, WHOLE)))
    nodes = WHOLE // step
    rate = arrivals * WHOLE / float(arrivals @ sizes)
    starts = [np.arange(nodes - size // step + 1) for size in sizes]
    kind = np.repeat(np.arange(len(sizes)), [len(start) for start in starts])
    tail = np.concatenate([*starts, np.arange(nodes)])
    head = np.concatenate([tail[: len(kind)] + sizes[kind] // step, np.full(nodes, nodes)])
    columns = len(tail) + 1  # the last is tau
    arcs = np.arange(len(tail))

    def rows(values: Floats, row: Words, column: Words, count: int) -> csr_array:
        return csr_array((values, (row, column)), shape=(count, columns))

    inflow, outflow = head < nodes, tail > 0
    balance = rows(np.ones(inflow.sum()), head[inflow] - 1, arcs[inflow], nodes - 1)
    balance -= rows(np.ones(outflow.sum()), tail[outflow] - 1, arcs[outflow], nodes - 1)
    source = tail == 0
    opened = rows(np.ones(source.sum()), np.zeros(source.sum(), dtype=np.int64), arcs[source], 1)
    served = rows(np.ones(len(kind)), kind, np.arange(len(kind)), len(sizes))
    owed = rows(rate, np.arange(len(sizes)), np.full(len(sizes), len(tail)), len(sizes)) - served
    part = sizes < WHOLE
    some = int(part.sum())
    gain = np.zeros(columns)
    gain[: len(kind)] = sizes[kind] / WHOLE
    solved = linprog(
        -gain,
        vstack([opened, served[part], owed[part]]),
        np.concatenate([[1.0], demand * rate[part], np.zeros(some)]),
        vstack([balance, owed[~part]]),
        np.zeros(nodes - 1 + len(sizes) - some),
        method="highs",
    )
    assert solved.success, solved.message
    at_most, exactly = -solved.ineqlin.marginals, -solved.eqlin.marginals
    worth = sizes / WHOLE
    worth[part] += at_most[1 + some :] - at_most[1 : 1 + some]
    worth[~part] += exactly[nodes - 1 :]
    return Packing(worth, float(at_most[0]), -float(solved.fun))


def block_prices(sizes: Words, arrivals: Floats, demand: float) -> Floats:
    """v(r) of blocks of r = 0..1000 thousandths, in devices, shape (1001,); zero where nothing is asked for."""
    prices = np.zeros(WHOLE + 1)
    if not sizes.size:
        return prices
    solved = packing(sizes, arrivals, demand)
    for room in range(1, WHOLE + 1):
        fits = sizes <= room
        best = (solved.worth[fits] + prices[room - sizes[fits]]).max(initial=0.0)
        prices[room] = max(prices[room - 1], float(best))
    return np.minimum(prices, max(solved.device, 0.0))
