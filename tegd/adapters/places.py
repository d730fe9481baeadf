"""Where the files of this host's workloads are, and the output of their runs.

    work/REF                  its own folder: its working folder unless it names one, and where its checkpoint goes
    shelf/REF                 what travels (`tegd.adapters.bundles`): input files, checkpoints that are kept
    logs/REF/log.TOKEN        output of a run that is over; `log-RANK.TOKEN` of the other parts of a gang
    airlock/workloads/REF.TOKEN/log   of a run that the airlock side has
                              what is kept of a log stands beside it (`tegd.airlock.adapters.logs`)

A folder `shelf/.TICKET` is of a submission that is not accepted yet.
"""

import os
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tegd.adapters.bundles import sync_folder
from tegd.airlock.adapters import logs as one_log
from tegd.airlock.adapters.logs import Kept
from tegd.calls import ENVIRONMENT, STDIN
from tegd.workload import Workload

LOG_CHUNK_BYTES = 64 << 10


class Output(NamedTuple):
    """A part of a workload's output.

    Attributes:
        data: Some bytes.
        offset: Their place in the output of all its runs, one after the other, or in that of its part.
        run: Whose output it is: the token.
        line: How many lines of that run are before it, where that is to be told: what was asked for is gone, or it is
            where reading begins; -1: not told.
        keeps: To how many bytes the log was cut.
        lines: How many lines follow, where reading begins so many before the end.
        whole: Whether nothing that was asked for is gone.
        after_ms: When the log had not grown beyond it yet, by the wall clock; 0: not known.
    """

    data: bytes
    offset: int
    run: str = ""
    line: int = -1
    keeps: int = 0
    lines: int = 0
    whole: bool = True
    after_ms: int = 0

    @property
    def end(self) -> int:
        """Where the next part begins."""
        return self.offset + len(self.data)


class Size(NamedTuple):
    """What one log takes on the disk.

    Attributes:
        ref: Of its workload.
        run: What the airlock side calls the run, where it has the log; empty: it is kept here.
        path: Its file.
        size: In bytes.
    """

    ref: int
    run: str
    path: Path
    size: int


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
        log, path = self._run_log(airlock_id), self.logs(int(ref)) / f"log.{token}"
        if not log.exists() or path.exists():
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}")
        while True:
            before = one_log.kept(log)
            with log.open("rb") as source, fresh.open("wb") as target:
                headed = one_log.headed(source.fileno(), before, before.bound)
                source.seek(headed.first - headed.base)
                shutil.copyfileobj(source, target, 1 << 20)
                target.flush()
                os.fsync(target.fileno())
                about = os.fstat(source.fileno())
            if one_log.kept(log) == before:
                break
        os.utime(fresh, ns=(about.st_atime_ns, about.st_mtime_ns))
        with suppress(FileNotFoundError):
            shutil.copyfile(one_log.beside(log, "times"), one_log.beside(path, "times"))
        if headed.first:
            one_log.write(path, headed._replace(base=headed.first))
        fresh.replace(path)
        sync_folder(path.parent)

    def log_bytes(self, ref: int) -> int:
        """How much output runs that are over have written."""
        return sum(one_log.end(path) for path in self._kept(ref).values())

    def read_log(self, ref: int, offset: int, *, timed: bool = False) -> Output:
        """The output of all runs of a workload, one after the other; a log that moves meanwhile is looked for again.

        Args:
            ref: Of the workload.
            offset: Where to begin, in bytes of all that they ever wrote.
            timed: Whether it is to be said when that was written.

        Returns:
            At most `LOG_CHUNK_BYTES`, from the first byte on that is kept; nothing at the end.
        """
        while True:
            with suppress(FileNotFoundError):
                return _piece(self._runs(ref), max(0, offset), timed=timed)

    def begin_log(self, ref: int, last: int | None, since_ms: int) -> Output:
        """Where reading begins: so many lines before the end, and not before a time of the wall clock; without data.

        Args:
            ref: Of the workload.
            last: How many lines; None: any number.
            since_ms: That time, as well as is known; 0: any.
        """
        while True:
            with suppress(FileNotFoundError):
                return _begin(self._runs(ref), last, since_ms)

    def kept_log(self, ref: int) -> Kept:
        """What is kept of the log of its latest run that lost some of it; all, where none did."""
        found = [one_log.kept(path) for path in self._runs(ref).values()]
        return next((kept for kept in reversed(found) if kept.first), Kept())

    def log_sizes(self) -> list[Size]:
        """What each log takes on the disk, of the runs that the airlock side has and of those that are over."""
        found = []
        for path in (self._root / "airlock" / "workloads").glob("*/log"):
            ref, _, token = path.parent.name.partition(".")
            if ref.isascii() and ref.isdigit() and token.isascii() and token.isdigit():
                found.append((int(ref), path.parent.name, path))
        over = (self._root / "logs").glob("*/log*")
        found += [
            (int(path.parent.name), "", path)
            for path in over
            if path.suffix[1:].isdigit() and path.parent.name.isdigit()
        ]
        sizes = []
        for number, run, path in found:
            with suppress(OSError):
                sizes.append(Size(number, run, path, path.stat().st_blocks * 512))
        return sizes

    def _runs(self, ref: int) -> dict[str, Path]:
        """The logs of a workload by token, the first run first.

        What lives is looked for first: what has gone from there is among what is kept.
        """
        runs = (self._root / "airlock" / "workloads").glob(f"{ref}.*/log")
        living = {path.parent.suffix[1:]: path for path in runs if path.parent.suffix[1:].isdigit()}
        found = living | self._kept(ref)
        return {token: found[token] for token in sorted(found, key=int)}

    def _kept(self, ref: int) -> dict[str, Path]:
        found = self.logs(ref).glob("log.*")
        return {path.suffix[1:]: path for path in found if path.suffix[1:].isdigit()}

    def _run_log(self, airlock_id: str) -> Path:
        return self._root / "airlock" / "workloads" / airlock_id / "log"


def _piece(runs: dict[str, Path], offset: int, *, timed: bool) -> Output:
    """Some bytes from an offset on of logs that follow each other; none where they end before."""
    before = 0
    for run, log in runs.items():
        end = before + one_log.end(log)
        if offset < end:
            piece = one_log.read(log, offset - before, LOG_CHUNK_BYTES)
            at, line = before + piece.at, piece.kept.lines if before + piece.at > offset else -1
            after_ms = one_log.noted_ms(log, piece.at) if timed else 0
            return Output(piece.data, at, run, line, piece.kept.bound, after_ms=after_ms)
        before = end
    return Output(b"", offset)


def _begin(runs: dict[str, Path], last: int | None, since_ms: int) -> Output:
    """The place that is not before either: from the newest log back to the first of which something is left out."""
    ends = {run: one_log.end(log) for run, log in runs.items()}
    begin, found = Output(b"", sum(ends.values()), next(reversed(runs), "")), 0
    for run, log in reversed(runs.items()):
        before = sum(end for token, end in ends.items() if int(token) < int(run))
        kept = one_log.kept(log)
        at, enough = one_log.since(log, since_ms) if since_ms else (kept.first, False)
        if last is not None:
            place, lines = one_log.last_lines(log, last - found)
            at, enough, found = max(at, place), enough or found + lines >= last, found + lines
        whole = enough or not kept.first
        begin = Output(b"", before + at, run, one_log.line_at(log, at), kept.bound, found, whole)
        if enough:
            break
    return begin
