"""Workloads that the service manager starts: each a transient service of a slice, in no way within our own walls.

The handshake is that of `launch`: the service's first process, a shell, waits at a pipe whose only writer is the
airlock; when its pid is in the journal it hears "go", and if the airlock dies before that it reads the end and is gone.
Then it writes `ran` to the status file, runs the command as its only child, and writes its exit code there. The manager
opens log and status file, makes the workload's own folder, and drops rights.
"""

import os
import select
import shlex
import signal
import time
from contextlib import suppress
from pathlib import Path

from tegd.airlock.adapters import launch, procfs
from tegd.airlock.adapters.cgroupfs import FREEZE_ROUNDS_MAX, Cgroups
from tegd.airlock.adapters.containment import Leader
from tegd.airlock.model import Spec
from tegd.airlock.protocol import LIMITS

PREFIX = "teg-work-"
"""Of the units' names: they are not taken for units that others started."""
START_MS_MAX = 10_000
_WAIT = "exec 3>&2 2>&1; read -r go || exit 125; "
_ABSENT = f'echo "{launch.ABSENT} was not found on the path $PATH" >&3; exit 127; '
_LOOK = f'command -v -- "$1" >/dev/null || {{ {_ABSENT}}}; '
_PAUSE_S = 0.01


class Services(Cgroups):
    """Containment by the groups of services.

    Args:
        slice_name: Slice that they are started in.
        folders: Folder of state, below /var/lib, in which each workload gets one of its own.
        mount: Where cgroup v2 is mounted.
    """

    def __init__(self, slice_name: str, folders: str, mount: Path = Path("/sys/fs/cgroup")) -> None:
        super().__init__(mount / slice_name)
        self._slice = slice_name
        self._folders = folders

    def folder(self, workload: str) -> Path:
        """Its group."""
        return self.adopted.get(workload) or self._group / unit_of(workload)

    def launch(self, spec: Spec, home: Path) -> launch.Launched | str:
        """Have the manager start it; it waits for `go`."""
        (home / "status").unlink(missing_ok=True)
        (home / "go").unlink(missing_ok=True)
        os.close(os.open(home / "status", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        log = os.open(home / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
        os.fchmod(log, 0o640)
        os.close(log)
        os.mkfifo(home / "go", 0o600)
        # Opened for both, so that this does not wait for the other end.
        go = os.open(home / "go", os.O_RDWR | os.O_CLOEXEC)
        try:
            problem = self._run(spec, home)
            found = None if problem else self._first(spec.workload)
            if found is None:
                return problem or "it was killed before it ran"
            return launch.Launched(found.pid, found.start_ticks, os.dup(go))
        finally:
            os.close(go)

    def _run(self, spec: Spec, home: Path) -> str:
        """Ask the manager; what is left of a run before it is in the way, once."""
        problem = run(self._command(spec, home), START_MS_MAX)
        if problem:
            run(["systemctl", "kill", "--signal=SIGKILL", unit_of(spec.workload)], START_MS_MAX)
            run(["systemctl", "reset-failed", unit_of(spec.workload)], START_MS_MAX)
            problem = run(self._command(spec, home), START_MS_MAX)
        return problem

    def restore(self, workload: str, command: tuple[str, ...], pid_file: Path) -> int:
        """Have the manager restore a workload's processes, as root, in a fresh service of the same name.

        Returns:
            The pid of what asks it: it ends with 0 when they are there.

        Raises:
            OSError: If it cannot be asked.
        """
        properties = [f"PIDFile={pid_file}", "OOMPolicy=continue", "OOMScoreAdjust=0", "TimeoutStartSec=infinity"]
        words = [
            *("systemd-run", "--quiet", "--collect", "--service-type=forking"),
            *(f"--unit={unit_of(workload)}", f"--slice={self._slice}", "--description=TEG workload"),
            *(f"--property={entry}" for entry in properties),
            *("--", *map(_unexpanded, command)),
        ]
        script = 'systemctl reset-failed "$1" 2>/dev/null; shift; exec "$@"'
        arguments = ["sh", "-c", script, "sh", unit_of(workload), *words]
        return os.posix_spawn("/bin/sh", arguments, {"PATH": os.defpath})

    def clear(self, leader: Leader) -> None:
        """Kill what is left, and wait, for a bounded time, until the manager has let go of the group."""
        self.kill(leader)
        for _ in range(FREEZE_ROUNDS_MAX):
            if leader.workload in self.adopted or not self.folder(leader.workload).exists():
                return
            time.sleep(_PAUSE_S)

    def _first(self, workload: str) -> procfs.Process | None:
        with suppress(OSError, ValueError, IndexError):
            return procfs.process(int((self.folder(workload) / "cgroup.procs").read_text().split()[0]))
        return None

    def _command(self, spec: Spec, home: Path) -> list[str]:
        folder = f"{self._folders}/{spec.workload.partition('.')[0]}"
        properties = [
            f"StandardInput=file:{home / 'go'}",
            f"StandardOutput=append:{home / 'log'}",
            f"StandardError=append:{home / 'status'}",
            f"StateDirectory={folder}",
            "StateDirectoryMode=0700",
            "OOMPolicy=continue",
            "OOMScoreAdjust=0",
        ]
        environment = launch.environment(spec)
        return [
            *("systemd-run", "--quiet", "--collect", "--service-type=exec"),
            *(f"--unit={unit_of(spec.workload)}", f"--slice={self._slice}", "--description=TEG workload"),
            *(f"--uid={spec.uid}", f"--gid={spec.gid}", f"--working-directory={spec.cwd}"),
            *(f"--property={entry}" for entry in properties),
            *(f"--setenv={name}={value}" for name, value in environment.items()),
            *("--", "/bin/sh", "-c", _unexpanded(_script(spec)), "sh"),
            *(_unexpanded(word) for word in (*spec.argv, *launch.resume_arguments(spec))),
        ]


def _script(spec: Spec) -> str:
    """What the service's first process does: wait, become what the work expects of its surroundings, run it.

    What the work brings is read here, as its user: the manager is told none of it. What it is told comes after.
    """
    quoted, told = shlex.quote, launch.environment(spec)
    bring = f". {quoted(spec.environment)}; " if spec.environment else ""
    if bring:
        kept = {name: value for name, value in told.items() if name not in launch.YIELDS}
        bring += "".join(f"export {name}={quoted(value)}; " for name, value in kept.items())
    bounds = "".join(map(_bound, spec.limits.items()))
    stdin = quoted(spec.stdin or "/dev/null")
    surroundings = f"exec <{stdin} || exit 125; {bounds}umask {spec.umask:04o}; {bring}"
    return f"{_WAIT}{surroundings}{_LOOK}echo ran >&3; {launch.KEEPER}"


_UNITS = {"core": 512, "fsize": 512, "as": 1024, "data": 1024, "memlock": 1024, "rss": 1024, "stack": 1024}
"""In what a shell's `ulimit` counts bytes."""


def _bound(limit: tuple[str, int]) -> str:
    """Sets one soft limit, or leaves it where the host does not allow it; one shell's `-p` is another's `-u`."""
    name, most = limit
    value = "$(ulimit -H -{0})" if most < 0 else str(most // _UNITS.get(name, 1))
    letters = ("u", "p") if name == "nproc" else (LIMITS[name],)
    return " || ".join(f"ulimit -S -{at} {value.format(at)} 2>/dev/null" for at in letters) + "; "


def unit_of(workload: str) -> str:
    """Name of a workload's unit."""
    return f"{PREFIX}{workload}.service"


def run(words: list[str], limit_ms: int) -> str:
    """Run a program of the system's, for a bounded time.

    Returns:
        What went wrong, in the program's own words; nothing where it ended well.
    """
    try:
        code, said = _spoken(words, limit_ms, 2, _WORDS_MAX)
    except OSError as error:
        return f"{words[0]}: {error.strerror}"
    return "" if code == 0 else said.strip() or f"{words[0]} failed"


def heard(words: list[str], limit_ms: int) -> tuple[int, str]:
    """Run a program of the system's, for a bounded time.

    Returns:
        Its exit code, and what it says on its standard output.

    Raises:
        OSError: If there is none.
    """
    return _spoken(words, limit_ms, 1, _ANSWER_MAX)


_WORDS_MAX, _ANSWER_MAX = 4 << 10, 4 << 20


def _spoken(words: list[str], limit_ms: int, stream: int, most: int) -> tuple[int, str]:
    ear, mouth = os.pipe2(os.O_CLOEXEC)
    quiet = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    actions = [(os.POSIX_SPAWN_DUP2, mouth if each == stream else quiet, each) for each in range(3)]
    try:
        pid = os.posix_spawnp(words[0], words, {"PATH": os.defpath}, file_actions=actions)
    except OSError:
        os.close(ear)
        raise
    finally:
        os.close(mouth)
        os.close(quiet)
    said = _heard(ear, pid, limit_ms, most)
    os.close(ear)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), said


def _heard(ear: int, pid: int, limit_ms: int, most: int) -> str:
    """What a program says until it ends; one that does not is killed."""
    poll, said = select.poll(), b""
    poll.register(ear, select.POLLIN)
    until_s = time.monotonic() + limit_ms / 1000
    while len(said) < most:
        if not poll.poll(max(0.0, until_s - time.monotonic()) * 1000):
            os.kill(pid, signal.SIGKILL)
            return f"no answer within {limit_ms} ms"
        part = os.read(ear, 4096)
        if not part:
            break
        said += part
    return said.decode(errors="replace")


def _unexpanded(word: str) -> str:
    """The manager puts values of the environment in place of `$NAME`; a shell is to do that, if anyone."""
    return word.replace("$", "$$")
