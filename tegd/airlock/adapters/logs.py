"""Output of runs: files that are appended to, whose heads go once they hold more than is kept.

Places in a log are absolute for ever: they count all bytes that were ever written. The head goes by a hole, where the
file system has such; else the file is begun anew, and the place of its first byte is kept beside. Beside a log are

    log.kept    what of it is gone, and how many lines: replaced whole, and durable, before anything goes
    log.times   how far it had grown when: what answers "since"

A reader reads, then looks at `log.kept` again: what may have come from a hole is thrown away. Both sides of tegd read,
and each cuts the logs that are its own.
"""

import ctypes
import errno
import json
import os
import struct
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tegd.airlock.adapters.beside import Beside
from tegd.airlock.protocol import LOG_BYTES_MAX

PIECE_BYTES = 256 << 10
LINE_BYTES_MAX = 1 << 20
"""A line is looked for so far; what has none is cut anywhere."""
SLACK = 16
"""A log is cut once it is over its bound by so many parts of it: each cut has to be made durable."""
FILE_BYTES_MAX = 1 << 40
"""A file that has grown so far is begun anew, hole or not: file systems have an end."""
NOTE_MS = 5_000
"""How often it is noted how far a log has grown."""
NOTES_MAX, NOTES_FINE = 4096, 1024
"""More notes than that are thinned, but for the newest: what is longer ago is known less finely."""
_PUNCH = 0x01 | 0x02
"""FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE."""
_HOLELESS = frozenset({errno.EOPNOTSUPP, errno.ENOSYS})
_NOTE = struct.Struct("<QQ")
_libc = ctypes.CDLL(None, use_errno=True)


class Kept(NamedTuple):
    """What is kept of a log.

    Attributes:
        base: Place of the file's first byte.
        first: Place of the first byte that is kept: the beginning of a line, where there are such.
        lines: How many lines were before it.
        bound: To how many bytes it was cut.
    """

    base: int = 0
    first: int = 0
    lines: int = 0
    bound: int = LOG_BYTES_MAX


class Piece(NamedTuple):
    """A part of a log.

    Attributes:
        data: Some bytes; none at the end.
        at: Their place.
        kept: What was kept when they were read.
    """

    data: bytes
    at: int
    kept: Kept


# --- reading ----------------------------------------------------------------------------------------------------------


def kept(log: Path) -> Kept:
    """What is kept of a log: all, where nothing else is said."""
    try:
        said = json.loads(beside(log, "kept").read_bytes())
        return Kept(*(int(said[name]) for name in Kept._fields))
    except (OSError, ValueError, KeyError, TypeError):
        return Kept()


def end(log: Path) -> int:
    """The place where a log ends, up to now.

    Raises:
        OSError: If it is not there.
    """
    while True:
        before = kept(log)
        size = log.stat().st_size
        if kept(log) == before:
            return max(before.first, before.base + size)


def read(log: Path, place: int, count: int) -> Piece:
    """Some bytes from a place on, or from the first that is kept after it.

    Raises:
        OSError: If it is not there, or cannot be read.
    """
    while True:
        before = kept(log)
        at = max(place, before.first)
        with log.open("rb") as file:
            data = os.pread(file.fileno(), count, at - before.base)
        if kept(log) == before:
            return Piece(data, at, before)


def line_at(log: Path, place: int) -> int:
    """How many lines are before a place, which is kept. Raises as `read` does."""
    found = read(log, 0, 0)
    at, lines = found.at, found.kept.lines
    while at < place:
        piece = read(log, at, min(PIECE_BYTES, place - at))
        if not piece.data:
            break
        lines = (piece.kept.lines if piece.at > at else lines) + piece.data.count(b"\n")
        at = piece.at + len(piece.data)
    return lines


def last_lines(log: Path, count: int) -> tuple[int, int]:
    """Where the last so many lines begin, and how many there are; what has no end yet is one. Raises as `read` does."""
    stop, first, found = end(log), kept(log).first, 0
    if count == 0 or stop == first:
        return stop, 0
    # What ends the last line begins none.
    at = stop - (read(log, stop - 1, 1).data == b"\n")
    while at > first:
        begin = max(first, at - PIECE_BYTES)
        piece = read(log, begin, at - begin)
        if piece.at > begin:
            return piece.at, found
        before = len(piece.data)
        while (newline := piece.data.rfind(b"\n", 0, before)) >= 0:
            found, before = found + 1, newline
            if found == count:
                return begin + newline + 1, count
        at = begin
    return first, found + 1


def since(log: Path, since_ms: int) -> tuple[int, bool]:
    """Where that begins which was written since a time of the wall clock: as well as is known, rather earlier.

    Returns:
        The place of the beginning of a line, and whether something before it is kept, or known to be older.
    """
    if log.stat().st_mtime_ns // 1_000_000 < since_ms:
        return end(log), True
    first = kept(log).first
    older = [place for ms, place in _notes(log) if ms <= since_ms]
    if not older or older[-1] < first:
        return first, False
    begin = max(first, older[-1] - PIECE_BYTES)
    before = read(log, begin, older[-1] - begin)
    return before.at + before.data.rfind(b"\n") + 1 if before.at == begin else before.at, True


def noted_ms(log: Path, place: int) -> int:
    """The latest time, as far as is known, at which a log had not grown beyond a place; 0: it is not known."""
    return max((ms for ms, at in _notes(log) if at <= place), default=0)


def _notes(log: Path) -> list[tuple[int, int]]:
    try:
        raw = beside(log, "times").read_bytes()
    except OSError:
        return []
    return list(_NOTE.iter_unpack(raw[: len(raw) // _NOTE.size * _NOTE.size]))


# --- cutting ----------------------------------------------------------------------------------------------------------


def beside(log: Path, what: str) -> Path:
    """The file beside a log that says what is `kept`, or its `times`."""
    return log.with_name(f"{log.name}.{what}")


def write(log: Path, now: Kept) -> None:
    """Say what is kept of a log; durable when it returns.

    Raises:
        OSError: If it cannot be written.
    """
    path = beside(log, "kept")
    fresh = path.with_name(f".{path.name}")
    with fresh.open("wb") as file:
        os.fchmod(file.fileno(), 0o640)
        file.write(json.dumps(now._asdict()).encode())
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def note(log: Path, now_ms: int, place: int) -> None:
    """Note that a log ends at a place now; of many notes, those of longer ago are thinned.

    Raises:
        OSError: If it cannot be written.
    """
    path = beside(log, "times")
    with path.open("ab") as file:
        os.fchmod(file.fileno(), 0o640)
        full = file.tell() >= NOTES_MAX * _NOTE.size
        if not full:
            file.write(_NOTE.pack(now_ms, place))
            return
    notes = [*_notes(log), (now_ms, place)]
    thinned = [*notes[:-NOTES_FINE:2], *notes[-NOTES_FINE:]]
    fresh = path.with_name(f".{path.name}")
    with fresh.open("wb") as file:
        os.fchmod(file.fileno(), 0o640)
        file.write(b"".join(_NOTE.pack(*entry) for entry in thinned))
    fresh.replace(path)


def headed(file: int, was: Kept, bound: int) -> Kept:
    """What is to be kept of an open log so that it is within a bound: from the beginning of a line on.

    Args:
        file: Open for reading.
        was: What is kept of it.
        bound: In bytes.
    """
    stop = was.base + os.fstat(file).st_size
    if stop - was.first <= bound:
        return was
    # A line begins after the byte at `cut`, if that ends one.
    cut, at, lines = stop - bound - 1, was.first, was.lines
    while at < cut:
        data = os.pread(file, min(PIECE_BYTES, cut - at), at - was.base)
        if not data:
            return was
        lines += data.count(b"\n")
        at += len(data)
    until = min(stop, cut + LINE_BYTES_MAX)
    while at < until:
        data = os.pread(file, min(PIECE_BYTES, until - at), at - was.base)
        if (newline := data.find(b"\n")) >= 0:
            return Kept(was.base, at + newline + 1, lines + 1, bound)
        if not data:
            break
        at += len(data)
    return Kept(was.base, cut + 1, lines, bound)


def cut(log: Path, bound: int, *, anew: bool = False) -> Kept:
    """Hold a log to a bound: count the lines of what is too much, say that it is gone, and give it back to the disk.

    Args:
        log: Its file.
        bound: In bytes.
        anew: Whether the file may be begun anew, where it cannot have a hole or has grown too long. What is written in
            the moment that this takes is lost, and not counted.

    Raises:
        OSError: If it is not there, or cannot be cut.
    """
    file = os.open(log, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        was = kept(log)
        now = headed(file, was, bound)
        if now == was:
            return was
        write(log, now)
        grown = os.fstat(file).st_size > FILE_BYTES_MAX
        if (grown and anew) or not _give_back(file, now.first - now.base):
            return _begin_anew(log, file, now) if anew else now
        return now
    finally:
        os.close(file)


def _give_back(file: int, count: int) -> bool:
    """Make a hole of the whole blocks among a file's first bytes; whether files can have holes here.

    Raises:
        OSError: If it cannot be done now.
    """
    block = os.fstat(file).st_blksize
    count = count // block * block
    if count and _libc.fallocate(file, _PUNCH, ctypes.c_long(0), ctypes.c_long(count)) != 0:
        number = ctypes.get_errno()
        if number in _HOLELESS:
            return False
        raise OSError(number, os.strerror(number))
    return True


def _begin_anew(log: Path, file: int, now: Kept) -> Kept:
    """All goes: first it is said that nothing of it is kept, and at the end where the file begins."""
    bound = now.bound
    while (rest := headed(file, now, 0)).first != now.first:
        now = rest
    write(log, now._replace(bound=bound))
    os.ftruncate(file, 0)
    now = Kept(now.first, now.first, now.lines, bound)
    write(log, now)
    return now


# --- looking after them -----------------------------------------------------------------------------------------------


class _Seen(NamedTuple):
    """What was last seen of a log: the file's size, its size when its end was noted, and when that was."""

    size: int = 0
    noted: int = -1
    noted_ms: int = 0


class Logs:
    """Looks after the logs of runs that write, in a thread of its own: a head may have to come from a slow disk."""

    def __init__(self) -> None:
        self._beside = Beside("logs")
        self._bounds: dict[Path, int] = {}
        self._seen: dict[Path, _Seen] = {}
        self._known: set[Path] = set()
        self._busy = False

    def look(self, logs: Iterable[Path]) -> None:
        """Hold these within their bounds, and note how far they have grown, unless the last look is not over yet."""
        if not self._busy:
            self._busy = True
            known = tuple(logs)
            self._known.update(known)
            self._beside.do("logs", lambda: self._look(known))

    def bound(self, log: Path, bound: int, *, anew: bool) -> None:
        """Hold one to another bound, in bytes, from now on; `anew` as `cut` has it."""
        self._known.add(log)
        self._bounds[log] = bound
        self._beside.do("logs", lambda: self._look_at(log, 0, anew=anew))

    def forget(self, log: Path) -> None:
        """It is to be removed: what is under way leaves nothing of it."""
        self._known.discard(log)
        self._bounds.pop(log, None)

    def _look(self, logs: tuple[Path, ...]) -> None:
        for log in logs:
            self._look_at(log, self._bounds.get(log, LOG_BYTES_MAX) // SLACK, anew=True)
        for log in set(self._seen) - set(logs):
            del self._seen[log]
        self._busy = False

    def _look_at(self, log: Path, slack: int, *, anew: bool) -> None:
        with suppress(OSError):
            size, seen = os.stat(log).st_size, self._seen.get(log, _Seen())  # noqa: PTH116 - of a thousand, each look
            if size == seen.size == seen.noted and slack:
                return
            self._note(log, seen, size, time.time_ns() // 1_000_000)
            bound = self._bounds.get(log, LOG_BYTES_MAX)
            if end(log) - kept(log).first > bound + slack:
                cut(log, bound, anew=anew)
                if (left := log.stat().st_size) < size:
                    self._seen[log] = _Seen(left)
        if log not in self._known:
            _remove(log)

    def _note(self, log: Path, seen: _Seen, size: int, now_ms: int) -> None:
        was = kept(log)
        if size < seen.size or was.base + size < was.first:
            # Its own work emptied it, or it was begun anew and that could not be said any more.
            place = max(was.first, was.base + seen.size)
            was = Kept(place, place, was.lines, was.bound)
            write(log, was)
        if size != seen.noted and now_ms - seen.noted_ms >= NOTE_MS:
            note(log, now_ms, was.base + size)
            seen = seen._replace(noted=size, noted_ms=now_ms)
        self._seen[log] = seen._replace(size=size)


def _remove(log: Path) -> None:
    """What a look left of a log that was removed meanwhile."""
    for path in (beside(log, "kept"), beside(log, "times")):
        path.unlink(missing_ok=True)
        path.with_name(f".{path.name}").unlink(missing_ok=True)
    with suppress(OSError):
        log.parent.rmdir()
