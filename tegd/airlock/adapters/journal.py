"""The journal on disk: what is committed here was durable before anything was done about it.

Records: `{"spec": ..., "status": ...}` when a workload comes, `{"workload": id, "status": ...}` when it changes, the
last one holding; `{"forget": id}` drops it; `{"boot": id}` names the boot whose processes are meant. A file that has
grown is written anew from what still holds, beside the old one, and takes its place by rename; so is every file that is
opened, which drops a torn tail.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tegcore.errors import JournalError
from tegd.airlock.frames import Record, encode, recover
from tegd.airlock.model import Workload, spec_data, spec_from, status_data, status_from

COMPACT_BYTES = 1 << 20
_NAME = "airlock.journal"
ALIVE = "alive"
"""The file beside it whose lock the one airlock of a folder holds while it lives, and on which a deadman sleeps."""


def new_record(workload: Workload) -> Record:
    """What a new workload is, and where it stands."""
    return {"spec": spec_data(workload.spec), "status": status_data(workload.status)}


def status_record(workload: Workload) -> Record:
    """Where a workload stands."""
    return {"workload": workload.spec.workload, "status": status_data(workload.status)}


def forget_record(name: str) -> Record:
    """That a workload is not to be known any more."""
    return {"forget": name}


class Known(NamedTuple):
    """What a journal says.

    Attributes:
        workloads: By id, each with its last status.
        boot_id: The boot whose processes are meant; empty: it says nothing.
    """

    workloads: dict[str, Workload]
    boot_id: str


def read(folder: Path) -> Known:
    """What the journal in a folder says, for whoever only reads it; of a damaged one, what stands before the damage.

    Raises:
        OSError: If there is none, or it cannot be read.
    """
    return known(recover((folder / _NAME).read_bytes(), damaged=True).records)


def known(records: Iterable[Record]) -> Known:
    """What these records say."""
    workloads: dict[str, Workload] = {}
    boot_id = ""
    for record in records:
        if "boot" in record:
            boot_id = record["boot"]
        elif "forget" in record:
            del workloads[record["forget"]]
        elif "spec" in record:
            spec = spec_from(record["spec"])
            workloads[spec.workload] = Workload(spec, status_from(record["status"]))
        else:
            name = record["workload"]
            workloads[name] = Workload(workloads[name].spec, status_from(record["status"]))
    return Known(workloads, boot_id)


class Journal:
    """The open journal of one airlock; a second one is refused by the lock on the state folder.

    Args:
        folder: Where it is.
        boot_id: The kernel's id of this boot.

    Attributes:
        workloads: What was found, by id.
        same_boot: Whether what was found is of this boot: else its processes are gone.

    Raises:
        JournalError: If it is damaged, or cannot be read or written.
    """

    def __init__(self, folder: Path, boot_id: str) -> None:
        self._folder = folder
        self._path = folder / _NAME
        self._boot_id = boot_id
        self.workloads: dict[str, Workload] = {}
        self.same_boot = True
        self._descriptor = self._opened()
        self._written_bytes = self._compact_bytes = 0
        self._read()
        self.compact(self.workloads.values())

    def commit(self, records: list[Record]) -> None:
        """Make records durable.

        Raises:
            JournalError: If the disk refuses. The process then ends, and comes back to what is on disk.
        """
        frame = encode(records)
        try:
            if os.write(self._descriptor, frame) != len(frame):
                raise OSError("short write")
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise self._failed(error) from error
        self._written_bytes += len(frame)

    def grown(self) -> bool:
        """Whether it is time to write it anew."""
        return self._written_bytes > max(COMPACT_BYTES, 2 * self._compact_bytes)

    def compact(self, workloads: Iterable[Workload]) -> None:
        """Write it anew, with these workloads alone.

        Raises:
            JournalError: If the disk refuses; the old file still holds.
        """
        frames = [encode([{"boot": self._boot_id}])]
        frames += [encode([new_record(entry)]) for entry in workloads]
        fresh = self._path.with_suffix(".new")
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
            for frame in frames:
                if os.write(descriptor, frame) != len(frame):
                    raise OSError("short write")
            os.fsync(descriptor)
            fresh.rename(self._path)
            self._sync_folder()
        except OSError as error:
            raise self._failed(error) from error
        os.close(self._descriptor)
        self._descriptor = descriptor
        self._written_bytes = self._compact_bytes = sum(map(len, frames))

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _opened(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._failed(error) from error

    def _read(self) -> None:
        data = b""
        while block := os.pread(self._descriptor, 1 << 20, len(data)):
            data += block
        records = recover(data).records
        try:
            found = known(records)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise JournalError(
                f"the airlock's journal {self._path} says what this release does not know: {error!r}",
                "start the release that wrote it; else end the workloads that it lists and move the file away",
            ) from error
        self.workloads = found.workloads
        self.same_boot = found.boot_id in ("", self._boot_id)

    def _sync_folder(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _failed(self, error: OSError) -> JournalError:
        return JournalError(
            f"the airlock's journal {self._path}: {error.strerror or error}", "make room, or mend the disk"
        )
