"""Counter-based draws: a number depends on (seed, purpose, tick, node) alone, whatever other nodes there are.

The key is hashed once; each node's counter then goes through two rounds of the SplitMix64 finaliser (Steele, Lea and
Flood, OOPSLA 2014), over whole arrays.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_GOLDEN = 0x9E3779B97F4A7C15
_WORD = (1 << 64) - 1
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    words = (words ^ words >> np.uint64(30)) * _MIX1
    words = (words ^ words >> np.uint64(27)) * _MIX2
    return words ^ words >> np.uint64(31)


@lru_cache(maxsize=1024)
def _base(seed: int, purpose: str, lane: int) -> int:
    key = hashlib.blake2b(f"{seed}/{purpose}/{lane}".encode(), digest_size=8).digest()
    return int.from_bytes(key, "little")


def _drawn(
    base: np.uint64 | NDArray[np.uint64], tick: int, nodes: Sequence[int] | NDArray[np.int64]
) -> NDArray[np.uint64]:
    mixed = _mixed(np.asarray(nodes).astype(np.uint64) * np.uint64(_GOLDEN) + base)
    return _mixed(mixed + np.uint64(tick * _GOLDEN & _WORD))


def _unit(words: NDArray[np.uint64]) -> Floats:
    """53 bits of each as a number from [0, 1)."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def bits(
    seed: int, purpose: str, tick: int, nodes: Sequence[int] | NDArray[np.int64], lane: int = 0
) -> NDArray[np.uint64]:
    """64 random bits for each node, shape (n,); `lane` tells several draws of one purpose apart."""
    return _drawn(np.uint64(_base(seed, purpose, lane)), tick, nodes)


def uniform(seed: int, purpose: str, tick: int, nodes: Sequence[int] | NDArray[np.int64], lane: int = 0) -> Floats:
    """Draws from [0, 1), shape (n,)."""
    return _unit(bits(seed, purpose, tick, nodes, lane))


def uniform_pairs(seed: int, purpose: str, tick: int, nodes: Sequence[int] | NDArray[np.int64]) -> Floats:
    """Draws from [0, 1) of lanes 0 and 1, shape (2, n)."""
    lanes = np.array([[_base(seed, purpose, lane)] for lane in (0, 1)], dtype=np.uint64)
    return _unit(_drawn(lanes, tick, nodes))


def normal(seed: int, purpose: str, tick: int, nodes: Sequence[int] | NDArray[np.int64]) -> Floats:
    """Pairs of independent standard normal draws, shape (n, 2), by Box and Muller, of lanes 0 and 1."""
    first, second = uniform_pairs(seed, purpose, tick, nodes)
    radius, angle = np.sqrt(-2.0 * np.log1p(-first)), 2.0 * np.pi * second
    pairs = np.empty((len(radius), 2))
    pairs[:, 0], pairs[:, 1] = radius * np.cos(angle), radius * np.sin(angle)
    return pairs
