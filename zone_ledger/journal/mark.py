"""The mark: which batch was acknowledged last, kept beside the journal.

SQLite drops what stands at the end of its log and does not prove: after a torn write that is right, and after a
flipped bit it is a loss that nothing in the file tells. The mark tells. It is written after each commit and before
anything of the batch leaves, in two slots by turns, so that one is always whole; it is not synced, so a power cut may
leave an older one, which claims less.
"""

import os
import struct
from pathlib import Path
from typing import NamedTuple

import google_crc32c

from tegcore.errors import JournalError

_SLOT = struct.Struct("<QII")
_BYTES = _SLOT.size


class Marked(NamedTuple):
    """A batch that was acknowledged: its number and its checksum."""

    number: int
    crc: int


class Mark:
    """The mark of one journal, open for its writer.

    Args:
        path: Of the file; made if it is not there.

    Raises:
        JournalError: If it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalError(f"{path}: {error.strerror}", "may this user write there?") from None
        self.last = read_mark(path)

    def set(self, number: int, crc: int) -> None:
        """Note that a batch is acknowledged.

        Raises:
            JournalError: If the disk does not take it.
        """
        body = struct.pack("<QI", number, crc)
        try:
            os.pwrite(self._file, body + struct.pack("<I", google_crc32c.value(body)), _BYTES * (number & 1))
        except OSError as error:
            raise JournalError(f"{self._path}: {error.strerror}", "free or repair the disk") from None
        self.last = Marked(number, crc)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def read_mark(path: Path) -> Marked:
    """The greatest proven mark in a file, (0, 0) if there is none."""
    try:
        raw = path.read_bytes()
    except OSError:
        return Marked(0, 0)
    found = Marked(0, 0)
    for start in range(0, len(raw) - _BYTES + 1, _BYTES):
        number, crc, proof = _SLOT.unpack_from(raw, start)
        if proof == google_crc32c.value(raw[start : start + 12]):
            found = max(found, Marked(number, crc))
    return found
