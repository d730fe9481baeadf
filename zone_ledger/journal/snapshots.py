"""Snapshots: the state after a batch, in files that are whole or not there; recovery begins with the newest.

A file is written under another name, synced, renamed, and its folder synced; its header proves it. The newest two are
kept: if the newest does not prove, the one before it does, and the journal is never trimmed past that.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import google_crc32c

from tegcore.errors import JournalError
from tegio.failpoints import reach

KEPT = 2
_MAGIC = b"TEGSNAP1"
_HEAD = struct.Struct("<8sQI16sQI")


class Snapshot(NamedTuple):
    """The state after a batch.

    Attributes:
        number: Of the batch.
        crc: Its checksum, that the next batch must follow.
        state_hash: That the payload must lead to.
        payload: See `zone_ledger.snapshot`.
    """

    number: int
    crc: int
    state_hash: bytes
    payload: bytes


class Snapshots:
    """The snapshots of one journal, in a folder of their own.

    Args:
        folder: Made when the first is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broken: list[str] = []

    def write(self, snapshot: Snapshot) -> None:
        """Make a snapshot durable, and let go of those it makes needless.

        Raises:
            JournalError: If the disk does not take it; those there are stay.
        """
        path = self.folder / f"{snapshot.number:016d}.snapshot"
        partial = path.with_suffix(".partial")
        reach("snapshot")
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            with open(partial, "wb") as file:
                file.write(_packed(snapshot))
                file.flush()
                os.fsync(file.fileno())
            reach("rename")
            partial.rename(path)
            _sync_folder(self.folder)
            for old in self._paths()[KEPT:]:
                old.unlink()
        except OSError as error:
            raise JournalError(f"{path}: {error.strerror}", "free or repair the disk") from None

    def newest_first(self) -> Iterator[Snapshot]:
        """Snapshots that prove; what does not is passed over and named in `broken`."""
        self.broken = []
        for path in self._paths():
            try:
                yield _unpacked(path.read_bytes())
            except (OSError, ValueError, struct.error) as error:
                self.broken.append(f"{path}: {error}")

    def oldest_kept(self) -> int:
        """Number of the batch that the journal may be trimmed up to: every snapshot kept must find its next batch."""
        numbers = [snapshot.number for snapshot in self.newest_first()]
        return numbers[-1] if len(numbers) >= KEPT else 0

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("*.snapshot"), reverse=True)


def _packed(snapshot: Snapshot) -> bytes:
    head = (_MAGIC, snapshot.number, snapshot.crc, snapshot.state_hash, len(snapshot.payload))
    body = _HEAD.pack(*head, 0)[:-4]
    crc = google_crc32c.extend(google_crc32c.value(body), snapshot.payload)
    return body + struct.pack("<I", crc) + snapshot.payload


def _unpacked(raw: bytes) -> Snapshot:
    magic, number, batch_crc, state_hash, length, crc = _HEAD.unpack_from(raw)
    payload = raw[_HEAD.size :]
    if magic != _MAGIC:
        raise ValueError("no snapshot of a format that this program reads")
    if len(payload) != length:
        raise ValueError(f"{len(payload)} bytes of {length}: torn or truncated")
    if crc != google_crc32c.extend(google_crc32c.value(raw[: _HEAD.size - 4]), payload):
        raise ValueError("its checksum does not fit")
    return Snapshot(number, batch_crc, state_hash, payload)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
