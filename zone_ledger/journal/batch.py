"""A batch of the journal, and the checksum that chains it to the one before."""

import struct
from typing import NamedTuple

import google_crc32c

_HEAD = struct.Struct("<QI")


class Batch(NamedTuple):
    """One micro-batch: its number from 1, its packed records, and the state hash that it leads to, where noted."""

    number: int
    records: bytes
    state_hash: bytes | None


def checksum(number: int, previous: int, records: bytes) -> int:
    """CRC32C over a batch's number, the checksum of the batch before it, and its records."""
    return int(google_crc32c.extend(google_crc32c.value(_HEAD.pack(number, previous)), records))
