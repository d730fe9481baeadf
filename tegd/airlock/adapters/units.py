"""Units of a slice that others started: found by their groups, started again from a checkpoint by systemd itself.

What the manager was told of a unit is asked once, soon after it was found, and kept with what goes when the unit does:
the file of one that `systemd-run` made. So it can be started again whether the manager still knows it or not. How that
is done is decided by `comeback`; it is told by a drop-in that is taken away once the unit runs. That needs the manager;
nothing that is urgent does.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from tegd.airlock import comeback
from tegd.airlock.adapters import become, context, procfs
from tegd.airlock.adapters.manager import PREFIX, heard
from tegd.airlock.comeback import Said, Seen, Way, word_of_command

ARGV_BYTES_MAX = 16 << 10
FILE_BYTES_MAX = 1 << 20
ASK_MS_MAX = 10_000
LOOK_MS_MAX = 2_000
SETTLE_S = 30.0
"""How long the manager may take to notice that a process has ended."""
_PAUSE_S = 0.05
_MANAGER = ("/usr/lib/systemd/", "/lib/systemd/")
"""Where its own programs are: its child, `(name)` until it has become the command, is one of these."""
_DROP_IN = "90-teg-resume.conf"
_KEPT = "\n[Unit]\nCollectMode=inactive\n"
"""Put to the file of a unit that went with its process: from now on it says how it ended."""
_ASKED = (
    *("LoadState", "FragmentPath", "DropInPaths", "Transient", "CollectMode"),
    "RemainAfterExit",
)
_ENDED = (
    *("LoadState", "ActiveState", "Result", "ExecMainPID", "ExecMainCode", "ExecMainStatus"),
    *("ActiveEnterTimestampMonotonic", "ActiveExitTimestampMonotonic"),
    *("ExecMainStartTimestampMonotonic", "ExecMainExitTimestampMonotonic"),
)
_STOPPING = "de5b426a63be47a7b6ac3eaac82e2f6f"
"""What the manager's message that it stops a unit is known by (`journalctl --catalog`)."""
_SIGNALLED = "2"
"""What `ExecMainCode` says of a process that a signal ended (CLD_KILLED), and above: 3 with a core."""
_START = """
trap 'rm -f "$2/$3"; rmdir "$2" 2>/dev/null; systemctl daemon-reload' EXIT
systemctl daemon-reload || exit
[ "$4" = stays ] && systemctl stop "$1"
systemctl start "$1" || { systemctl reset-failed "$1" && systemctl start "$1"; }
"""


class Ended(NamedTuple):
    """How the main process of a unit ended, as the manager says.

    Attributes:
        code: As a shell gives it; None: not known.
        stopped: The manager was asked to stop it.
        how: For people.
    """

    code: int | None
    stopped: bool
    how: str


class Unit(NamedTuple):
    """A unit with a process.

    Attributes:
        name: Its name.
        group: Folder of its control group.
        main: Its first process that systemd itself started, or its oldest.
        environment: Of that process.
        uid: Its user.
        gid: Its group.
        cwd: Its folder.
    """

    name: str
    group: Path
    main: procfs.Process
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
            environ = context.environment(main.pid)
            about = os.stat(f"/proc/{main.pid}")  # noqa: PTH116 - of proc, by number
            cwd = os.readlink(f"/proc/{main.pid}/cwd")  # noqa: PTH115 - as above
        except OSError:
            return None
        becoming = command.startswith(b"(") and program.startswith(_MANAGER)
        if not command or becoming or procfs.process(main.pid) is None:
            return None
        return Unit(name, folder, main, environ, about.st_uid, about.st_gid, cwd)

    def ask(self, name: str) -> Said:
        """What the manager says of a unit; it may take a while.

        Raises:
            OSError: If it does not answer.
        """
        shown = _shown(name, _ASKED, ASK_MS_MAX)
        if shown.get("LoadState") != "loaded":
            return Said(problem=f"the service manager knows no {name}")
        texts = {}
        for path in (shown["FragmentPath"], *shown.get("DropInPaths", "").split()):
            if path and not path.endswith(f"/{_DROP_IN}"):
                texts[path] = _read(path, FILE_BYTES_MAX).decode(errors="surrogateescape")
        _, command, count = comeback.command_said(_show(name, "ExecStart"))
        lines, output, error = (
            comeback.values(texts.values(), name) for name in ("ExecStart", "StandardOutput", "StandardError")
        )
        problem = "" if count == len(lines) == 1 else f"it has {count} commands, and which of them saves cannot be told"
        made = shown.get("Transient") == "yes"
        return Said(
            command=command,
            line=lines[-1] if lines else "",
            output=output[-1] if output else "",
            error=error[-1] if error else "",
            files={_below(path, name): text for path, text in texts.items()} if made else {},
            stays=shown.get("RemainAfterExit") == "yes",
            collects=shown.get("CollectMode") == "inactive-or-failed",
            problem=problem,
        )

    def start_again(self, name: str, chosen: Way, said: Said, words: tuple[str, ...], seen: Path) -> int:
        """Ask systemd to start a unit from its checkpoint.

        Args:
            name: Its name.
            chosen: What is started.
            said: What the manager said of it.
            words: What tells it to resume.
            seen: File of what was to be seen of its process.

        Returns:
            The pid of the shell that asks: it ends when the unit runs, with 0, or could not be started.

        Raises:
            OSError: If the drop-in cannot be written or there is no shell.
        """
        again = (sys.executable, "-I", "-S", become.__file__)
        return self._start(name, comeback.drop_in(chosen, said, words, again, str(seen)), stays=said.stays)

    def put_back(self, name: str, said: Said) -> None:
        """Put the files of a unit that goes with its process where the manager finds them.

        Raises:
            OSError: If they cannot be written.
        """
        for path, text in said.files.items():
            file = self._units / path
            file.parent.mkdir(parents=True, exist_ok=True)
            kept = _KEPT if said.collects and path == name else ""
            _write(file, text + kept)

    def ended(self, name: str, pid: int, start_ticks: int) -> Ended:
        """How the main process of a unit ended: asked until the manager has noticed it; it may take a while.

        Of a unit that ended well the manager may have forgotten all by then: that it was asked to stop it stands in
        the journal, where there is one.
        """
        until_s = time.monotonic() + SETTLE_S
        while True:
            shown: Mapping[str, str] = {}
            with suppress(OSError):
                shown = _shown(name, _ENDED, ASK_MS_MAX)
            if time.monotonic() >= until_s or (shown and not _is_running(shown, pid)):
                ended = _ended(shown, pid)
                return ended if ended.stopped else ended._replace(stopped=_was_stopped(name, start_ticks))
            time.sleep(_PAUSE_S)

    def main_pid(self, name: str) -> int:
        """The pid of the main process that a unit has, or had; 0: not known."""
        with suppress(OSError):
            return _number(_shown(name, ("ExecMainPID",), LOOK_MS_MAX), "ExecMainPID")
        return 0

    def forget(self, name: str, said: Said) -> None:
        """Take away what was put in place of the file of a unit that went, once it is over."""
        if not said.files or not any((self._units / path).exists() for path in said.files):
            return
        for path in said.files:
            with suppress(OSError):
                (self._units / path).unlink()
        with suppress(OSError):
            (self._units / f"{name}.d").rmdir()
        failed = 'systemctl reset-failed "$1" 2>/dev/null; ' if said.collects else ""
        with suppress(OSError):
            pid = os.posix_spawn(
                "/bin/sh", ["sh", "-c", f"({failed}systemctl daemon-reload) &", "sh", name], {"PATH": os.defpath}
            )
            os.waitpid(pid, 0)

    def restore(self, name: str, command: tuple[str, ...], pid_file: Path) -> int:
        """Ask systemd to start a unit by restoring its processes with this command, which runs as root.

        Returns:
            As `start_again`.

        Raises:
            OSError: As `start_again`.
        """
        words = " ".join(map(word_of_command, command))
        lines = f"Type=forking\nPIDFile={pid_file}\nExecStartPre=\nExecStartPost=\nExecStart=\nExecStart=+{words}\n"
        return self._start(name, f"[Service]\n{lines}", stays=False)

    def _start(self, name: str, text: str, *, stays: bool) -> int:
        # A unit made by `systemd-run` is forgotten once it is no longer failed: it is reset only where it must be.
        folder = self._units / f"{name}.d"
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / _DROP_IN, text)
        words = ["sh", "-c", _START, "sh", name, str(folder), _DROP_IN, "stays" if stays else ""]
        return os.posix_spawn("/bin/sh", words, {"PATH": os.defpath})


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


def _read(path: str, most: int) -> bytes:
    """The beginning of a file of proc, which may come in parts."""
    with open(path, "rb") as file:
        return file.read(most)


def seen_of(pid: int, said: Said, words: tuple[str, ...]) -> tuple[Way, str, dict[str, Any]]:
    """What a main process is to be started again as, what people are to know of that, and what is to be seen of it.

    Raises:
        OSError: If it has gone meanwhile.
    """
    argv = context.command(pid)
    program = _program(said.line)
    titled = context.titled(pid, argv)
    seen = Seen(argv, titled, context.runs(pid, program))
    more = () if argv[-len(words) :] == words else words
    about = context.read(pid, more, comeback.told(words))
    chosen = comeback.way(said, seen, words)
    return chosen, comeback.note(chosen, seen._replace(lost=context.lost(about, pid))), about


def said_from(path: Path) -> Said | None:
    """What was kept of what the manager said; None: nothing."""
    with suppress(OSError, ValueError, TypeError):
        return Said(**json.loads(path.read_text()))
    return None


class Kept(NamedTuple):
    """Of what was to be seen of a process, what its start needs.

    Attributes:
        chosen: What is started.
        uid: Its user.
        gid: Its group.
    """

    chosen: Way
    uid: int
    gid: int


def seen_from(path: Path) -> Kept | None:
    """What was kept of a process; None: nothing."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(path.read_text())
        return Kept(Way(kept["chosen"]), int(kept["uid"]), int(kept["gid"]))
    return None


def keep(path: Path, data: Mapping[str, Any]) -> None:
    """Keep this as JSON, in a file that root alone may read.

    Raises:
        OSError: If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, json.dumps(data), 0o600)


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    fresh = path.with_name(f".{path.name}.new")
    with suppress(FileNotFoundError):
        fresh.unlink()
    file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        os.fchmod(file, mode)
        os.write(file, text.encode(errors="surrogateescape"))
    finally:
        os.close(file)
    fresh.rename(path)


def _program(line: str) -> str:
    """The program that a command of a unit names, without what stands before it."""
    word = line.lstrip("@-:+!|").split(" ", 1)[0].strip("\"'")
    return word if word.startswith("/") else next((f"{at}/{word}" for at in _PATH if Path(at, word).exists()), word)


_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
"""Where the manager looks for a program that is named without a folder."""


def _below(path: str, name: str) -> str:
    """Where a file of a unit is put below the folder of units."""
    return name if Path(path).name == name else f"{name}.d/{Path(path).name}"


def _show(name: str, what: str) -> str:
    code, said = heard(["systemctl", "show", f"--property={what}", "--value", "--", name], ASK_MS_MAX)
    if code:
        raise OSError(0, "the service manager does not answer", name)
    return said.strip()


def _shown(name: str, what: tuple[str, ...], limit_ms: int) -> dict[str, str]:
    code, said = heard(["systemctl", "show", f"--property={','.join(what)}", "--", name], limit_ms)
    if code:
        raise OSError(0, "the service manager does not answer", name)
    return dict(line.partition("=")[::2] for line in said.splitlines())


def _was_stopped(name: str, start_ticks: int) -> bool:
    """Whether the journal says that the manager was asked to stop a unit since its process began."""
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - start_ticks / os.sysconf("SC_CLK_TCK")
    since = f"--since=@{time.time() - age_s:.2f}"
    words = ["journalctl", "--quiet", "--boot", "--lines=1", "--output=cat", since, f"MESSAGE_ID={_STOPPING}"]
    with suppress(OSError):
        code, said = heard([*words, f"UNIT={name}"], ASK_MS_MAX)
        return code == 0 and bool(said.strip())
    return False


def _number(shown: Mapping[str, str], name: str) -> int:
    text = shown.get(name, "")
    return int(text) if text.isdigit() else 0


def _is_running(shown: Mapping[str, str], pid: int) -> bool:
    """Whether the manager has not noticed yet that it ended, nor was asked to stop it."""
    ours = _number(shown, "ExecMainPID") == pid
    return ours and shown.get("ActiveState") in ("active", "activating") and not _number(shown, _EXIT)


_EXIT = "ExecMainExitTimestampMonotonic"


def _ended(shown: Mapping[str, str], pid: int) -> Ended:
    if not pid or _number(shown, "ExecMainPID") != pid:
        good = shown.get("ActiveState") == "inactive" and shown.get("Result", "success") == "success"
        return Ended(0 if good else None, stopped=False, how="how it ended is not known")
    left = _number(shown, "ActiveExitTimestampMonotonic")
    asked = left >= _number(shown, "ActiveEnterTimestampMonotonic") > 0
    exited = _number(shown, _EXIT)
    stopped = asked and (exited < _number(shown, "ExecMainStartTimestampMonotonic") or left < exited)
    status, signalled = _number(shown, "ExecMainStatus"), shown.get("ExecMainCode", "") >= _SIGNALLED
    code = 128 + status if signalled else status
    return Ended(code if exited else None, stopped, f"signal {status}" if signalled else f"exit code {code}")
