"""A batch of the journal, and the checksum that chains it to the one before."""

import struct
from typing import NamedTuple

import google_crc32c

_HEAD = struct.Struct("<QI")


class Batch(NamedTuple):
    """One micro-batch.

    Attributes:
        number: From 1.
        records: The packed commands.
        state_hash: Of the state that they lead to, where it was noted.
        postings: The packed movements of money that they caused (`zone_ledger.accounts`).
        running_hash: Of the same state, where it was noted; costs less, and is noted more often.
    """

    number: int
    records: bytes
    state_hash: bytes | None
    postings: bytes = b""
    running_hash: bytes | None = None


def checksum(number: int, previous: int, records: bytes, postings: bytes = b"") -> int:
    """CRC32C over a batch's number, the checksum of the batch before it, its records and its postings."""
    crc = google_crc32c.extend(google_crc32c.value(_HEAD.pack(number, previous)), records)
    return int(google_crc32c.extend(crc, postings) if postings else crc)
