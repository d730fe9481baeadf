"""The journal's form: frames of records, each with checksums, and what every kind of damage means.

A frame is one commit: its length, the checksum of its body, a checksum of those two, and a JSON list of records. The
next is written only when the one before is durable, so all that a crash can tear is the last.

| case | what is found | cause | decision |
|---|---|---|---|
| A | frames up to the end | orderly | all count |
| B | fewer bytes at the end than a header or its length asks for | torn write | cut off |
| C | the last frame does not match its checksum | torn write | cut off |
| D | a header of zeros | torn write, or space given before the data | cut off |
| E | a header that does not match its checksum | damage | stop |
| F | a frame that does not match its checksum, with more after it | damage | stop |

What is cut off was never acted upon, since each action follows the fsync of its record. After damage nobody knows what
was done, and to guess could start work twice.
"""

import json
import zlib
from struct import Struct
from typing import Any, NamedTuple

from tegcore.errors import JournalError

Record = dict[str, Any]

FRAME_BYTES_MAX = 8 << 20
_FRONT = Struct("<II")
_CHECK = Struct("<I")
_HEAD_BYTES = _FRONT.size + _CHECK.size


class Recovered(NamedTuple):
    """The records of a journal, and how many of its bytes they take."""

    records: list[Record]
    good_bytes: int


def encode(records: list[Record]) -> bytes:
    """One commit as a frame."""
    body = json.dumps(records, separators=(",", ":")).encode()
    assert len(body) <= FRAME_BYTES_MAX, f"a journal frame of {len(body)} bytes"
    front = _FRONT.pack(len(body), zlib.crc32(body))
    return front + _CHECK.pack(zlib.crc32(front)) + body


def recover(data: bytes, *, damaged: bool = False) -> Recovered:
    """Read a journal by the table above.

    Args:
        data: The whole file.
        damaged: Whether what stands before damage is better than nothing.

    Raises:
        JournalError: In the cases E and F, unless `damaged` was said; the message names the byte.
    """
    records: list[Record] = []
    at = 0
    while at + _HEAD_BYTES <= len(data):
        front = data[at : at + _FRONT.size]
        (check,) = _CHECK.unpack_from(data, at + _FRONT.size)
        if not any(front) and check == 0:
            break
        size, crc = _FRONT.unpack(front)
        end = at + _HEAD_BYTES + size
        if zlib.crc32(front) != check:
            if damaged:
                break
            raise _damaged(at)
        if end > len(data):
            break
        body = data[at + _HEAD_BYTES : end]
        if zlib.crc32(body) != crc:
            if end < len(data) and not damaged:
                raise _damaged(at)
            break
        records.extend(json.loads(body))
        at = end
    return Recovered(records, at)


def _damaged(at: int) -> JournalError:
    return JournalError(
        f"the airlock's journal is damaged at byte {at}",
        "check the disk; to start without what it held, end the workloads it lists and move the file away",
    )
