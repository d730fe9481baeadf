"""A process that is made again as it was seen: run by the service manager in its unit, for one that was saved.

A program of its own, without the rest of the airlock: it reads what was seen (`context`) as JSON on its standard input,
and becomes that. Where the unit runs as root and the process did not, it gives up root first: folder, files and program
are then opened with its own rights alone, whatever it made of its command line. Only the very files that it had open
are open again before that.
"""

import json
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

FAILED = 125
FRESH = (
    *("INVOCATION_ID", "JOURNAL_STREAM", "NOTIFY_SOCKET", "SYSTEMD_EXEC_PID", "MAINPID", "CREDENTIALS_DIRECTORY"),
    *("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID", "WATCHDOG_USEC"),
    *("MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE"),
)
"""Of its environment, what the manager says anew at each start."""


def main() -> NoReturn:
    """Become it, or say why not."""
    try:
        seen = json.load(sys.stdin)
        _bounds(seen)
        held = [_same(stream, number) for number, stream in enumerate(seen["streams"])]
        if os.geteuid() == 0 and seen["uid"] != 0:
            os.setgroups(seen["groups"])
            os.setgid(seen["gid"])
            os.setuid(seen["uid"])
        os.umask(seen["umask"])
        os.chdir(_folder(seen))
        _streams(seen["streams"], held)
        env = dict(seen["env"])
        for name in FRESH:
            if env.pop(name, None) is not None and name in os.environ:
                env[name] = os.environ[name]
        program = _program(seen, env)
        for signum in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            ignored = seen["ignored"] >> (signum - 1) & 1
            with suppress(OSError):
                signal.signal(signum, signal.SIG_IGN if ignored else signal.SIG_DFL)
        os.execve(program, seen["argv"], env)  # noqa: S606 - that is its job
    except (OSError, ValueError, KeyError) as error:
        what = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else error
        print(f"it could not be made as it was: {what}", file=sys.stderr)
        sys.exit(FAILED)


def _bounds(seen: dict[str, Any]) -> None:
    """Limits, niceness and processors, as far as they may be had here."""
    for name, (soft, hard) in seen["limits"].items():
        limit = getattr(resource, name)
        with suppress(OSError, ValueError):
            most = resource.getrlimit(limit)[1]
            try:
                resource.setrlimit(limit, (soft, hard))
            except (OSError, ValueError):
                resource.setrlimit(limit, (soft, most))
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, seen["nice"])
    with suppress(OSError, ValueError):
        os.sched_setaffinity(0, seen["cpus"])


def _folder(seen: dict[str, Any]) -> str:
    """Its folder; where it has gone elsewhere since it began, the one that its relative words are in."""
    now, first = str(seen["cwd"]), str(seen["env"].get("PWD", ""))
    words = [word for word in seen["argv"] if word and word[0] not in "-/"]

    def holds(folder: str) -> bool:
        return any(os.path.lexists(f"{folder}/{word}") for word in words)

    return first if first.startswith("/") and holds(first) and not holds(now) else now


def _same(stream: dict[str, Any] | None, number: int) -> int | None:
    """The very file that it had open, with the rights of the unit: what it has here already, or is found at its path.

    It may have been opened by who started it, and not be its user's to open. That it is the same is known by device and
    inode: so no path that the user made leads to a file that the process did not have.
    """
    if stream is None:
        return None
    if _is(number, stream):
        return os.dup(number)
    with suppress(OSError):
        found = os.open(stream["path"], os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if _is(found, stream):
                return os.open(f"/proc/self/fd/{found}", _flags(stream) & ~os.O_CREAT)
        finally:
            os.close(found)
    return None


def _is(descriptor: int, stream: dict[str, Any]) -> bool:
    about = os.fstat(descriptor)
    return (about.st_dev, about.st_ino) == (stream["device"], stream["inode"])


def _flags(stream: dict[str, Any]) -> int:
    access = int(stream["flags"]) & os.O_ACCMODE
    return access | os.O_NOCTTY | os.O_CLOEXEC | (0 if access == os.O_RDONLY else os.O_APPEND | os.O_CREAT)


def _streams(streams: list[dict[str, Any] | None], held: list[int | None]) -> None:
    """Standard input, output and error; what was no file stays what the unit has."""
    for number, (stream, same) in enumerate(zip(streams, held, strict=True)):
        if stream is not None:
            os.dup2(os.open(stream["path"], _flags(stream), 0o666) if same is None else same, number)
        elif number == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), 0)


def _program(seen: dict[str, Any], env: dict[str, str]) -> str:
    """The file of its program: by its name, as it was found first, else the one that it ran."""
    name = str(seen["argv"][0])
    folders = [""] if "/" in name else [f"{folder}/" for folder in env.get("PATH", os.defpath).split(":")]
    found = (folder + name for folder in folders)
    return next((path for path in found if Path(path).is_file() and os.access(path, os.X_OK)), str(seen["exe"]))


if __name__ == "__main__":
    main()
