"""Files in the workloads' folders, for the agent side, which may not enter them: open descriptors, handed over.

The agent side reads and writes what travels; this side only opens it, and so never waits for a large file. Names are
plain: nothing outside a workload's own folder can be reached, whatever links its user has put there.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path


class Folders:
    """The folders of this host's workloads.

    Args:
        root: Where they are, each under its workload's number.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def open_saved(self, folder: str, name: str, uid: int) -> int:
        """A file that a workload has written, for reading.

        Raises:
            OSError: If there is none, or it is not a plain file of that user.
        """
        within = self._enter(folder)
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=within)
        finally:
            os.close(within)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != uid:
            os.close(descriptor)
            raise PermissionError(1, f"is no plain file of user {uid}", name)
        return descriptor

    def open_given(self, folder: str, name: str, *, executable: bool) -> int:
        """A fresh file in place of whatever has its name, for writing, in the folder of work that has not run here yet.

        The folder is made if need be. It is ours until the service manager gives it, and all in it, to the user whose
        work starts there: so this side needs no right over what is another's.

        Raises:
            OSError: If it cannot be made, or the folder is a user's already.
        """
        (self._root / folder).mkdir(mode=0o700, exist_ok=True)
        within = self._enter(folder)
        if os.fstat(within).st_uid != os.geteuid():
            os.close(within)
            raise PermissionError(1, "belongs to its user already", folder)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=within)
            descriptor = os.open(name, flags, 0o700 if executable else 0o600, dir_fd=within)
        finally:
            os.close(within)
        return descriptor

    def _enter(self, folder: str) -> int:
        return os.open(self._root / folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
