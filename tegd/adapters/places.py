"""Where the files of this host's workloads are, and the output of their runs.

    work/REF                  its own folder: its working folder unless it names one, and where its checkpoint goes
    shelf/REF                 what travels (`tegd.adapters.bundles`): input files, checkpoints that are kept
    logs/REF/log.TOKEN        output of a run that is over; `log-RANK.TOKEN` of the other parts of a gang
    airlock/workloads/REF.TOKEN/log   of a run that the airlock side has

A folder `shelf/.TICKET` is of a submission that is not accepted yet.
"""

import os
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from tegd.adapters.bundles import sync_folder
from tegd.calls import ENVIRONMENT, STDIN
from tegd.workload import Workload

LOG_CHUNK_BYTES = 64 << 10


class Places:
    """One host's.

    Args:
        root: Folder of all of them.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, work: Workload) -> Path:
        """A workload's own folder."""
        return self._root / "work" / str(work.ref)

    def shelf(self, work: Workload) -> Path:
        """What is kept of it beside."""
        return self._root / "shelf" / str(work.ref)

    def logs(self, ref: int) -> Path:
        """The output of its runs."""
        return self._root / "logs" / str(ref)

    def make_folder(self, work: Workload) -> None:
        """Make its own folder, for its user alone, but where that is for the airlock side to do.

        Raises:
            OSError: If it cannot be made.
        """
        folder = self.folder(work)
        if folder.parent.exists() and not os.access(folder.parent, os.W_OK):
            return
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(folder, work.uid, work.gid)

    def remove(self, work: Workload) -> None:
        """What nobody reads any more: output, what travels, what it brought; a part's own folder too."""
        for name in (ENVIRONMENT, STDIN):
            with suppress(OSError):
                (self.folder(work) / name).unlink()
        for folder in (self.shelf(work), self.logs(work.ref), *([self.folder(work)] if work.home else [])):
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self, known: Collection[int]) -> None:
        """Remove what a crash has left of work that was never accepted, and of work that is forgotten.

        Args:
            known: Numbers of all that is known.
        """
        for place in (self._root / "shelf", self._root / "logs"):
            for folder in place.glob("*"):
                number = folder.name
                if number.startswith(".") or (number.isascii() and number.isdigit() and int(number) not in known):
                    shutil.rmtree(folder, ignore_errors=True)

    # --- input files ------------------------------------------------------------------------------------------------

    def take_files(self, ticket: str, files: dict[str, bytes]) -> None:
        """Put the input files of a submission beside those that are accepted; durable when it returns.

        Raises:
            OSError: If there is no room.
        """
        root = self._root / "shelf" / f".{ticket}" / "files"
        root.mkdir(mode=0o700, parents=True)
        for name, data in files.items():
            with (root / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        sync_folder(root)
        sync_folder(root.parent)

    def accept_files(self, ticket: str, work: Workload) -> None:
        """They are a workload's from now on."""
        shelf = self.shelf(work)
        (shelf.parent / f".{ticket}").rename(shelf)
        sync_folder(shelf.parent)

    def refuse_files(self, ticket: str) -> None:
        """They are nobody's."""
        shutil.rmtree(self._root / "shelf" / f".{ticket}", ignore_errors=True)

    # --- output -----------------------------------------------------------------------------------------------------

    def keep_log(self, airlock_id: str) -> None:
        """Keep the output of a run that the airlock side is to forget; durable when it returns.

        Raises:
            OSError: If there is no room.
        """
        ref, _, token = airlock_id.partition(".")
        log, kept = self._run_log(airlock_id), self.logs(int(ref)) / f"log.{token}"
        if not log.exists() or kept.exists():
            return
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = kept.with_name(f".{kept.name}")
        with log.open("rb") as source, fresh.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
            target.flush()
            os.fsync(target.fileno())
        fresh.replace(kept)
        sync_folder(kept.parent)

    def log_bytes(self, ref: int) -> int:
        """How much output of runs that are over is kept."""
        return sum(path.stat().st_size for path in self._kept(ref).values())

    def read_log(self, ref: int, offset: int) -> bytes:
        """The output of all runs of a workload, one after the other; a log that moves meanwhile is looked for again.

        Args:
            ref: Of the workload.
            offset: Where to begin, in bytes of all of them.

        Returns:
            At most `LOG_CHUNK_BYTES`; nothing at the end.
        """
        while True:
            # What lives is looked for first: what has gone from there is among what is kept.
            runs = (self._root / "airlock" / "workloads").glob(f"{ref}.*/log")
            living = {path.parent.suffix[1:]: path for path in runs if path.parent.suffix[1:].isdigit()}
            logs = living | self._kept(ref)
            with suppress(FileNotFoundError):
                return _piece([logs[token] for token in sorted(logs, key=int)], max(0, offset))

    def _kept(self, ref: int) -> dict[str, Path]:
        found = self.logs(ref).glob("log.*")
        return {path.suffix[1:]: path for path in found if path.suffix[1:].isdigit()}

    def _run_log(self, airlock_id: str) -> Path:
        return self._root / "airlock" / "workloads" / airlock_id / "log"


def _piece(logs: list[Path], offset: int) -> bytes:
    """Some bytes from an offset on of files that follow each other; none where they end before."""
    for path in logs:
        size = path.stat().st_size
        if offset < size:
            with path.open("rb") as log:
                log.seek(offset)
                return log.read(LOG_CHUNK_BYTES)
        offset -= size
    return b""
