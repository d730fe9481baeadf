"""Units of a slice that others started: found by their groups, started again from a checkpoint by systemd itself.

A unit that was saved and ended for memory starts again as it was, with the arguments that let it go on from its
checkpoint, by a drop-in that is taken away once it runs. That needs D-Bus; nothing that is urgent does.

A process writes its own command line, and what is started again starts as the service manager's: so no word of it may
mean anything to the manager (`unstartable`, `_quoted`).
"""

import errno
import os
import string
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tegd.airlock.adapters import procfs
from tegd.airlock.adapters.manager import PREFIX

ARGV_BYTES_MAX = 16 << 10
_ENVIRON_BYTES_MAX = 1 << 20
_PLAIN_STARTS = frozenset("/._" + string.ascii_letters + string.digits)
"""How a command may begin: `+`, `!`, `-`, `:`, `@` and `|` are words to the manager, quoted or not."""
_MANAGER = ("/usr/lib/systemd/", "/lib/systemd/")
"""Where its own programs are: its child, `(name)` until it has become the command, is one of these."""
_ESCAPES = {ord("\\"): "\\\\", ord('"'): '\\"', ord("%"): "%%", ord("$"): "$$"}
_DROP_IN = "90-teg-resume.conf"


class Unit(NamedTuple):
    """A unit with a process.

    Attributes:
        name: Its name.
        group: Folder of its control group.
        main: Its first process that systemd itself started, or its oldest.
        argv: That process's command, as it says itself; see `unstartable`.
        environment: Its environment.
        uid: Its user.
        gid: Its group.
        cwd: Its folder.
    """

    name: str
    group: Path
    main: procfs.Process
    argv: tuple[str, ...]
    environment: dict[str, str]
    uid: int
    gid: int
    cwd: str


class Slice:
    """The units of one slice.

    Args:
        name: Of the slice.
        mount: Where cgroup v2 is mounted.
        units: Folder for drop-ins that a reboot takes away.
    """

    def __init__(
        self, name: str, mount: Path = Path("/sys/fs/cgroup"), units: Path = Path("/run/systemd/system")
    ) -> None:
        self._folder = mount / name
        self._units = units

    def names(self) -> list[str]:
        """Of the services and scopes in it that have a group, running or not, and that others started."""
        try:
            with os.scandir(self._folder) as entries:
                found = [entry.name for entry in entries if entry.name.endswith((".service", ".scope"))]
                return [name for name in found if not name.startswith(PREFIX)]
        except OSError:
            return []

    def unit(self, name: str) -> Unit | None:
        """One of them; None while no process of it can be seen."""
        folder = self._folder / name
        main = main_process(folder)
        if main is None:
            return None
        try:
            command = _read(f"/proc/{main.pid}/cmdline", ARGV_BYTES_MAX + 1)
            program = os.readlink(f"/proc/{main.pid}/exe")  # noqa: PTH115 - of proc
            environ = _environ(main.pid)
            about = os.stat(f"/proc/{main.pid}")  # noqa: PTH116 - of proc, by number
            cwd = os.readlink(f"/proc/{main.pid}/cwd")  # noqa: PTH115 - as above
        except OSError:
            return None
        becoming = command.startswith(b"(") and program.startswith(_MANAGER)
        if not command or becoming or procfs.process(main.pid) is None:
            return None
        argv = tuple(os.fsdecode(word) for word in command.removesuffix(b"\0").split(b"\0"))
        return Unit(name, folder, main, argv, environ, about.st_uid, about.st_gid, cwd)

    def start_again(self, name: str, argv: tuple[str, ...]) -> int:
        """Ask systemd to start a unit with this command.

        Returns:
            The pid of the `systemctl` that asks: it ends when the unit runs, with 0, or could not be started.

        Raises:
            OSError: If the drop-in cannot be written or there is no `systemctl`; if the command is `unstartable`.
        """
        if problem := unstartable(argv):
            raise PermissionError(errno.EPERM, problem, name)
        return self._start(name, f"ExecStart=\nExecStart={' '.join(map(_quoted, argv))}\n")

    def restore(self, name: str, command: tuple[str, ...], pid_file: Path) -> int:
        """Ask systemd to start a unit by restoring its processes with this command, which runs as root.

        Returns:
            As `start_again`.

        Raises:
            OSError: As `start_again`.
        """
        words = " ".join(map(_quoted, command))
        lines = f"Type=forking\nPIDFile={pid_file}\nExecStartPre=\nExecStartPost=\nExecStart=\nExecStart=+{words}\n"
        return self._start(name, lines)

    def _start(self, name: str, lines: str) -> int:
        # A unit made by `systemd-run` is forgotten once it is no longer failed: it is reset only where it must be.
        folder = self._units / f"{name}.d"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _DROP_IN).write_text(f"[Service]\n{lines}")
        script = (
            'systemctl daemon-reload && (systemctl start "$1" || (systemctl reset-failed "$1" && systemctl start "$1"))'
        )
        return os.posix_spawn("/bin/sh", ["sh", "-c", script, "sh", name], {"PATH": os.defpath})

    def started(self, name: str) -> None:
        """Take the drop-in away again; systemd forgets it at its next reload."""
        with suppress(OSError):
            (self._units / f"{name}.d" / _DROP_IN).unlink()
            (self._units / f"{name}.d").rmdir()


def main_process(folder: Path) -> procfs.Process | None:
    """The oldest process of a group and those below it, one that systemd started before others."""
    found = []
    for place, _, _ in os.walk(folder):
        with suppress(OSError):
            for pid in (Path(place) / "cgroup.procs").read_text().split():
                process = procfs.process(int(pid))
                if process is not None and not process.dead:
                    found.append(process)
    return min(found, key=lambda one: (one.parent != 1, one.start_ticks, one.pid), default=None)


def _environ(pid: int) -> dict[str, str]:
    entries = _read(f"/proc/{pid}/environ", _ENVIRON_BYTES_MAX).split(b"\0")
    pairs = (os.fsdecode(entry).partition("=") for entry in entries if b"=" in entry)
    return {name: value for name, _, value in pairs}


def _read(path: str, most: int) -> bytes:
    """The beginning of a file of proc, which may come in parts."""
    with open(path, "rb") as file:
        return file.read(most)


def unstartable(argv: tuple[str, ...]) -> str:
    """Why the service manager is not to be asked to start a command, for people; empty: it can be."""
    if sum(len(os.fsencode(word)) + 1 for word in argv) > ARGV_BYTES_MAX:
        return f"its command is longer than {ARGV_BYTES_MAX} bytes"
    if not argv or argv[0][:1] not in _PLAIN_STARTS:
        return "its command does not begin with the name of a program"
    return ""


def _quoted(word: str) -> str:
    """One word of an ExecStart= line (systemd.service(5), systemd.syntax(7)): also a CR would end the line."""
    return f'"{"".join(map(_escaped, os.fsencode(word)))}"'


def _escaped(byte: int) -> str:
    return _ESCAPES.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}")
