"""Makes checkpoints durable, beside the loop and each other: a slow disk holds up nobody else, and nothing is forked.

A mark alone is not believed. The checkpoint has to be a file of the workload's own, not the one that was there before
the hook was asked, of the size that the mark gives if it gives one, and open for writing in none of its processes.
"""

import os
import stat
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tegd.airlock.adapters import launch, procfs
from tegd.airlock.adapters.beside import Beside
from tegd.airlock.dumper import images
from tegd.airlock.model import Way, Workload

_MARK_BYTES_MAX = 64


class Job(NamedTuple):
    """A checkpoint that is to be made durable.

    Attributes:
        workload: As it is, in FLUSHING.
        before: What was in the checkpoint's place when the hook was asked; None: nothing, or not known.
        image: Folder of the image, where the save is a dump.
        members: The pids of its processes.
        uid: User that it runs as by now; None: as its spec says.
        look_after: Says why it could not be started again, and whether it was stopped by an operator; it may ask the
            service manager.
    """

    workload: Workload
    before: launch.Identity
    image: Path
    members: Callable[[], list[int]]
    uid: int | None = None
    look_after: Callable[[], tuple[str, bool]] = lambda: ("", False)


class Flushed(NamedTuple):
    """What came of one.

    Attributes:
        workload: Whose checkpoint.
        since_ns: Which flush of it: when it came to that state.
        problem: Why it is not durable, for people; empty: it is.
        stopped: An operator had it stopped meanwhile.
    """

    workload: str
    since_ns: int
    problem: str
    stopped: bool = False


class Flusher:
    """Flushes checkpoints, those of one workload one after the other.

    Attributes:
        ready: Descriptor that can be read when something came of one.
    """

    def __init__(self) -> None:
        self.ready = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._done: deque[Flushed] = deque()
        self._beside = Beside("flush")

    def flush(self, job: Job) -> None:
        """Make the checkpoint of a workload, and its folder, durable."""
        self._beside.do(job.workload.spec.workload, lambda: self._tell(flushed(job)))

    def discard(self, workload: str, folder: Path, before_ns: int) -> None:
        """Remove an image that is of no use any more, unless another has taken its place since."""
        self._beside.do(workload, lambda: _discarded(folder, before_ns))

    def done(self) -> list[Flushed]:
        """What came of those that were asked for."""
        with suppress(BlockingIOError):
            os.eventfd_read(self.ready)
        return [self._done.popleft() for _ in range(len(self._done))]

    def _tell(self, done: Flushed) -> None:
        self._done.append(done)
        os.eventfd_write(self.ready, 1)


def flushed(job: Job) -> Flushed:
    """Make one durable here and now."""
    stopped = False
    try:
        problem = _image(job) if job.workload.status.by is Way.DUMP else _checkpoint(job)
        if not problem and job.workload.status.by is Way.HOOK:
            problem, stopped = job.look_after()
    except OSError as error:
        problem = f"the checkpoint {error.filename or ''}: {error.strerror}"
    return Flushed(job.workload.spec.workload, job.workload.status.since_ns, problem, stopped)


def _discarded(folder: Path, before_ns: int) -> None:
    with suppress(OSError):
        if (held := images.lock(folder, wait=False)) is not None:
            found = images.whole(folder)
            if found is None or found.attempt < before_ns:
                images.clear(folder)
            os.close(held)


def _image(job: Job) -> str:
    """The dumper made it durable before it said so."""
    return "" if images.whole(job.image) else f"{job.image} holds no whole image"


def _checkpoint(job: Job) -> str:
    spec = job.workload.spec
    assert spec.hook is not None
    checkpoint = Path(spec.hook.checkpoint)
    if job.before is not None and launch.identity(spec.hook.checkpoint) == job.before:
        return "the mark is there, but the checkpoint is the one from before"
    file = os.open(checkpoint, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        about = os.fstat(file)
        if problem := _not_whole(job, about):
            return problem
        os.fsync(file)
    finally:
        os.close(file)
    folder = os.open(checkpoint.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return ""


def _not_whole(job: Job, about: os.stat_result) -> str:
    if not stat.S_ISREG(about.st_mode) or about.st_size == 0:
        return "the checkpoint is empty or not a file"
    uid = job.workload.spec.uid if job.uid is None else job.uid
    if about.st_uid != uid:
        return f"the checkpoint belongs to uid {about.st_uid}, the workload runs as {uid}"
    said = _size_in_mark(job)
    if said is not None and said != about.st_size:
        return f"the checkpoint has {about.st_size} bytes, and its mark says {said}"
    if procfs.writers(job.members(), about.st_dev, about.st_ino):
        return "the mark is there, but the checkpoint is still open for writing"
    return ""


def _size_in_mark(job: Job) -> int | None:
    """What a mark that is a file of its own says, if it says a number."""
    hook = job.workload.spec.hook
    if hook is None or hook.mark == hook.checkpoint:
        return None
    try:
        file = os.open(hook.mark, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.read(file, _MARK_BYTES_MAX).strip()
    except OSError:
        return None
    finally:
        os.close(file)
    return int(text) if text.isdigit() else None
