"""Folders of files that travel: a workload's input files, and each checkpoint that was kept.

They lie on the workload's shelf, a folder that is the daemon's own: input files in `files`, a checkpoint that is kept
in `<token>.<number>.<rank>`, with a `listing` that is written last: without it the folder is not whole, and is made
again. What comes from another host is gathered beside its place and moved there when every file is there, is what its
digest says, and is on disk.
"""

import hashlib
import os
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import msgspec

from tegcore.errors import RefusedError
from tegcore.wire.peer import CHUNK_BYTES, DIGEST_BYTES, FILES_MAX, GONE, Bundle, Chunk, File, chunk_digest

LISTING = "listing"
_Files = list[File]


class BundleError(RefusedError):
    """A folder that is not there, not whole, or not what it should be.

    Attributes:
        reason: As `tegcore.wire.peer` names them.
    """

    def __init__(self, message: str, reason: str = GONE) -> None:
        super().__init__(message)
        self.reason = reason


def kept_folder(shelf: Path, token: int, number: int, rank: int) -> Path:
    """Where a checkpoint is kept."""
    return shelf / f"{token}.{number}.{rank}"


def listing(root: Path) -> _Files:
    """The files below a folder, with their digests; reads them all.

    Raises:
        BundleError: If there are too many, or one is no plain file.
    """
    files: _Files = []
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_dir() and not path.is_symlink():
            continue
        if path.is_symlink() or not path.is_file() or len(files) >= FILES_MAX:
            raise BundleError(f"{path} is no plain file, or one of more than {FILES_MAX}")
        status = path.stat()
        files.append(File(name, status.st_size, _digest(path), bool(status.st_mode & 0o100)))
    return files


def _digest(path: Path) -> bytes:
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.digest()


def keep(place: Path, checkpoint: Path, uid: int) -> None:
    """Keep a checkpoint, a file or a folder, as it is now: hard links where the disk has them, whole when it returns.

    Args:
        place: Where, as `kept_folder` says.
        checkpoint: What the program wrote.
        uid: Its user: what belongs to another is not kept, whatever name it was given.

    Raises:
        BundleError: If there is none, or it is not the user's own plain files.
        OSError: If it cannot be read or kept.
    """
    if (place / LISTING).exists():
        return
    fresh = place.with_name(f".{place.name}")
    shutil.rmtree(fresh, ignore_errors=True)
    (fresh / "files").mkdir(parents=True)
    if not checkpoint.exists():
        raise BundleError(f"there is no checkpoint at {checkpoint}")
    copied = fresh / "files" / checkpoint.name
    if checkpoint.is_dir():
        shutil.copytree(checkpoint, copied, symlinks=True, copy_function=_link)
    else:
        _link(str(checkpoint), str(copied))
    if any(path.lstat().st_uid != uid and not path.is_dir() for path in (fresh / "files").rglob("*")):
        shutil.rmtree(fresh, ignore_errors=True)
        raise BundleError(f"{checkpoint} is not wholly of user {uid}")
    _seal(fresh, listing(fresh / "files"))
    _into_place(fresh, place)


def keep_open(place: Path, name: str, file: int) -> None:
    """Keep a checkpoint that was opened elsewhere; closes it.

    Raises:
        OSError: If it cannot be read or kept.
    """
    with os.fdopen(file, "rb") as source:
        if (place / LISTING).exists():
            return
        fresh = place.with_name(f".{place.name}")
        shutil.rmtree(fresh, ignore_errors=True)
        (fresh / "files").mkdir(parents=True)
        with (fresh / "files" / name).open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    _seal(fresh, listing(fresh / "files"))
    _into_place(fresh, place)


def copy_open(source: Path, file: int) -> None:
    """Copy a file into one that was opened elsewhere, durable; closes that.

    Raises:
        OSError: If it cannot be read or written.
    """
    with os.fdopen(file, "wb") as target, source.open("rb") as given:
        shutil.copyfileobj(given, target, 1 << 20)
        target.flush()
        os.fsync(target.fileno())


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def _seal(folder: Path, files: _Files) -> None:
    """Make all that is there durable, and only then say that it is whole."""
    for path in sorted((folder / "files").rglob("*"), reverse=True):
        _sync(path)
    _sync(folder / "files")
    path = folder / LISTING
    with path.open("wb") as file:
        file.write(msgspec.msgpack.encode(files))
        file.flush()
        os.fsync(file.fileno())
    _sync(folder)


def _into_place(fresh: Path, place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    fresh.rename(place)
    sync_folder(place.parent)


def sync_folder(path: Path) -> None:
    """Make durable what is in a folder, by name; files are made so one by one."""
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def whole(shelf: Path, bundle: Bundle) -> tuple[Path, _Files]:
    """Where the files of a bundle lie, and what they are.

    Raises:
        BundleError: If it is not here, or not whole.
    """
    if bundle.token == 0:
        root = shelf / "files"
        return root, listing(root) if root.exists() else []
    place = kept_folder(shelf, bundle.token, bundle.number, bundle.rank)
    try:
        files = msgspec.msgpack.decode((place / LISTING).read_bytes(), type=_Files)
    except (OSError, msgspec.MsgspecError):
        raise BundleError(f"no checkpoint {place.name} is kept here") from None
    return place / "files", files


def chunk(root: Path, path: str, offset: int) -> Chunk:
    """A part of a file.

    Raises:
        BundleError: If there is no such file.
    """
    try:
        with (root / path).open("rb") as file:
            file.seek(offset)
            data = file.read(CHUNK_BYTES)
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from None
    return Chunk(data, chunk_digest(data))


class Gathering:
    """A bundle on its way here: what has come stays over a crash, and is gone on with where it ended.

    Args:
        place: Where it is to be, in the end.
        files: What it is to be made of, as its holder says.

    Raises:
        BundleError: If there is no room for it.
    """

    def __init__(self, place: Path, files: _Files) -> None:
        self._place = place
        self._files = files
        self._fresh = place.with_name(f".{place.name}")
        (self._fresh / "files").mkdir(parents=True, exist_ok=True)
        if self.complete:
            return
        named = {file.path for file in files}
        for path in [path for path in (self._fresh / "files").rglob("*") if path.is_file()]:
            if str(path.relative_to(self._fresh / "files")) not in named:
                path.unlink()
        there = sum(path.stat().st_size for path in (self._fresh / "files").rglob("*") if path.is_file())
        needed, free = sum(file.size for file in files) - there, shutil.disk_usage(self._fresh).free
        if needed > free:
            raise BundleError(f"{place.name} takes {needed >> 20} MiB more, and {free >> 20} MiB are free here")

    @property
    def complete(self) -> bool:
        """Whether it is whole and durable already."""
        return (self._place / LISTING).exists()

    def missing(self) -> tuple[File, int] | None:
        """The next file that is not complete, and how much of it is there."""
        for file in self._files:
            path = self._fresh / "files" / file.path
            size = path.stat().st_size if path.exists() else -1
            if size > file.size:
                path.unlink()
                size = -1
            if size < file.size:
                return file, max(0, size)
        return None

    def put(self, file: File, offset: int, data: bytes) -> None:
        """One more part of a file.

        Raises:
            BundleError: If it is more than the file has.
            OSError: If there is no room.
        """
        if offset + len(data) > file.size or (not data and offset < file.size):
            raise BundleError(f"{file.path} is not {file.size} bytes long any more")
        path = self._fresh / "files" / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("r+b" if path.exists() else "wb") as target:
            target.seek(offset)
            target.write(data)

    def finish(self) -> None:
        """Check each file, make all durable, and move it into place.

        Raises:
            BundleError: If a file is not what its digest says: what has come is thrown away.
        """
        for file in self._files:
            path = self._fresh / "files" / file.path
            if _digest(path) != file.digest:
                shutil.rmtree(self._fresh, ignore_errors=True)
                raise BundleError(f"{file.path} is not what it was said to be")
            path.chmod(0o700 if file.executable else 0o600)
        _seal(self._fresh, self._files)
        _into_place(self._fresh, self._place)


def lay_out(source: Path, target: Path, uid: int, gid: int) -> None:
    """Copy the files of a bundle into a working folder, for its user; what is there gives way. Durable on return.

    Raises:
        OSError: If it cannot be written.
    """
    for path in sorted(source.rglob("*")):
        here = target / path.relative_to(source)
        if path.is_dir():
            here.mkdir(parents=True, exist_ok=True)
        else:
            here.parent.mkdir(parents=True, exist_ok=True)
            fresh = here.with_name(f".{here.name}.fresh")
            shutil.copy2(path, fresh)
            _sync(fresh)
            fresh.replace(here)
        if os.geteuid() == 0:
            os.chown(here, uid, gid)
    for folder in [target, *(target / path.relative_to(source) for path in source.rglob("*") if path.is_dir())]:
        _sync(folder)


def prune(
    shelf: Path, before: tuple[int, int], kept: Collection[tuple[int, int]], spared: Collection[Path] = ()
) -> None:
    """Remove checkpoints of all ranks that are older than a generation, but for some generations, and for some places.

    Args:
        shelf: Where they are.
        before: The generation.
        kept: Generations that stay.
        spared: What is being read.
    """
    for place in shelf.glob("[0-9]*"):
        with suppress(ValueError):
            token, number, _ = map(int, place.name.split("."))
            if (token, number) < before and (token, number) not in kept and place not in spared:
                shutil.rmtree(place, ignore_errors=True)
