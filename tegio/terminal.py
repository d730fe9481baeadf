"""What goes over the socket between a terminal and the job that has it: keys and sizes there, plain output back.

Towards the job, frames: a byte that says what it is, the length, the bytes. Back, output as it comes, to its end.
"""

import struct
from collections.abc import Iterator
from enum import IntEnum

FRAME_BYTES_MAX = 64 << 10
_HEAD = struct.Struct("!BI")
_SIZE = struct.Struct("!HH")


class Kind(IntEnum):
    """What a frame holds."""

    KEYS = 1
    SIZE = 2


def keys(typed: bytes) -> bytes:
    """A frame of what was typed."""
    return _HEAD.pack(Kind.KEYS, len(typed)) + typed


def size(rows: int, columns: int) -> bytes:
    """A frame that says how large the terminal is."""
    return _HEAD.pack(Kind.SIZE, _SIZE.size) + _SIZE.pack(rows, columns)


def size_of(body: bytes) -> tuple[int, int]:
    """Rows and columns, from the body of a frame."""
    rows, columns = _SIZE.unpack(body)
    return rows, columns


class Frames:
    """Whole frames from bytes as they come."""

    def __init__(self) -> None:
        self._left = bytearray()

    def taken(self, part: bytes) -> Iterator[tuple[Kind, bytes]]:
        """The frames that are whole with this part.

        Raises:
            ValueError: If it is none, or larger than any that is sent.
        """
        self._left += part
        while len(self._left) >= _HEAD.size:
            kind, length = _HEAD.unpack_from(self._left)
            if length > FRAME_BYTES_MAX:
                raise ValueError(f"a frame of {length} bytes")
            if len(self._left) < _HEAD.size + length:
                return
            body = bytes(self._left[_HEAD.size : _HEAD.size + length])
            del self._left[: _HEAD.size + length]
            yield Kind(kind), body
