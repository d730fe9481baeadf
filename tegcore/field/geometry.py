"""Where slots are: Morton order of a zone's 2^k x 2^k slots, and positions in slot units.

The bits of x and y interleave, x in the even places, so an aligned run of 2^j slots is a square, or two squares side
by side. Slot (x, y) covers [x, x + 1) x [y, y + 1); its centre is at (x + 0.5, y + 0.5).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tegcore.wire.records import Region

Slots = NDArray[np.int64]
Positions = NDArray[np.float64]


def _spread(value: Any) -> Any:
    value = (value | value << 16) & 0x0000FFFF0000FFFF
    value = (value | value << 8) & 0x00FF00FF00FF00FF
    value = (value | value << 4) & 0x0F0F0F0F0F0F0F0F
    value = (value | value << 2) & 0x3333333333333333
    return (value | value << 1) & 0x5555555555555555


def _gathered(value: Any) -> Any:
    value = value & 0x5555555555555555
    value = (value | value >> 1) & 0x3333333333333333
    value = (value | value >> 2) & 0x0F0F0F0F0F0F0F0F
    value = (value | value >> 4) & 0x00FF00FF00FF00FF
    value = (value | value >> 8) & 0x0000FFFF0000FFFF
    return (value | value >> 16) & 0x00000000FFFFFFFF


def morton_encode(x: int, y: int) -> int:
    """Morton code of slot (x, y), coordinates below 2^31.

    >>> morton_encode(3, 1)
    7
    """
    return int(_spread(x) | _spread(y) << 1)


def morton_decode(code: int) -> tuple[int, int]:
    """Coordinates (x, y) of a Morton code: the inverse of `morton_encode`."""
    return int(_gathered(code)), int(_gathered(code >> 1))


def slots_at(positions: Positions) -> Slots:
    """Morton codes, shape (n,), of the slots that positions, shape (n, 2) and not negative, lie in."""
    spread = _spread(np.floor(positions).astype(np.int64))
    codes: Slots = spread[:, 0] | spread[:, 1] << 1
    return codes


def block_size(log2: int) -> tuple[int, int]:
    """Width and height, in slots, of an aligned run of 2^log2 slots.

    >>> block_size(3)
    (4, 2)
    """
    return 1 << (log2 + 1) // 2, 1 << log2 // 2


def block_centre(block: Region) -> tuple[float, float]:
    """Centre (x, y) of an aligned run of slots, in slot units."""
    (x, y), (width, height) = morton_decode(block.base), block_size(block.log2)
    return x + width / 2, y + height / 2


def enclosing(slot: int, log2: int) -> Region:
    """The aligned run of 2^log2 slots that a slot lies in."""
    return Region(slot >> log2 << log2, log2)
