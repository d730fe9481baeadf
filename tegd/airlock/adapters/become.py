"""A process that is made again as it was seen: run by the service manager in its unit, for one that was saved.

A program of its own, without the rest of the airlock: it reads what was seen (`context`) as JSON on its standard input,
and becomes that. Where the unit runs as root and the process did not, it gives up root first: folder, files and program
are then opened with its own rights alone, whatever it made of its command line.
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
        if os.geteuid() == 0 and seen["uid"] != 0:
            os.setgroups(seen["groups"])
            os.setgid(seen["gid"])
            os.setuid(seen["uid"])
        os.umask(seen["umask"])
        os.chdir(_folder(seen))
        _streams(seen["streams"])
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


def _streams(streams: list[dict[str, Any] | None]) -> None:
    """Standard input, output and error; what was no file stays what the unit has."""
    for number, stream in enumerate(streams):
        if stream is None:
            if number == 0:
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            continue
        access = stream["flags"] & os.O_ACCMODE
        more = 0 if access == os.O_RDONLY else os.O_APPEND | os.O_CREAT
        opened = os.open(stream["path"], access | more | os.O_NOCTTY, 0o666)
        os.dup2(opened, number)
        if opened > len(streams):
            os.close(opened)


def _program(seen: dict[str, Any], env: dict[str, str]) -> str:
    """The file of its program: by its name, as it was found first, else the one that it ran."""
    name = str(seen["argv"][0])
    folders = [""] if "/" in name else [f"{folder}/" for folder in env.get("PATH", os.defpath).split(":")]
    found = (folder + name for folder in folders)
    return next((path for path in found if Path(path).is_file() and os.access(path, os.X_OK)), str(seen["exe"]))


if __name__ == "__main__":
    main()
