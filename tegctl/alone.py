"""`tegctl run --rank`: work on this host alone, as a service of teg.slice that the airlock side takes in.

The system's service manager starts it (`systemd-run`), so that it is whoever asked for it and nothing of ours is its
parent. What the airlock is to know of it stands in its environment (docs/reference/airlock.md). It outlives this
command; one that the airlock has saved and ended for memory is waited for until it is back and done.

It has the environment, mask and limits of where it was typed. The environment is nobody else's to see: it stands in a
file that the service manager alone reads, at each start of the unit, and that is removed some time after the unit is
gone.
"""

import contextlib
import math
import os
import pwd
import re
import resource
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tegcore.errors import RefusedError, TegError, UnavailableError
from tegcore.ids import checked_name
from tegcore.wire import control
from tegctl import context
from tegio.seqpacket import ask

SLICE = "teg.slice"
FOLDERS = "teg/alone"
RUNTIME = Path("/run/teg/alone")
LOOK_S = 0.3
_SHOWN = ("LoadState", "ActiveState", "ExecMainStatus", "ExecMainCode")
_OF_USER = re.compile(r"HOME|USER|LOGNAME|SHELL|MAIL|SUDO_\w+")
"""What the service manager says of the user that it runs work as, where that is not who calls."""
_KILLED = "2"
"""What `ExecMainCode` says of a process that a signal ended (CLD_KILLED)."""


class Order(NamedTuple):
    """What is to run.

    Attributes:
        argv: Command and arguments.
        name: Of the unit, without what is put around it; empty: one is made up.
        rank: Who ranks least gives way first.
        hook: Whether it saves itself on SIGUSR1 and resumes with `--resume`.
        env: The environment that it brings.
    """

    argv: tuple[str, ...]
    name: str
    rank: float
    hook: bool
    env: Mapping[str, str] = {}


def start(order: Order, airlock: Path) -> str:
    """Start it.

    Args:
        order: What is to run.
        airlock: Socket of the airlock side.

    Returns:
        Name of its unit.

    Raises:
        UnavailableError: If systemd does not start it; with what it says.
        RefusedError: If its rank is no number.
        DecodeError: If its name is none.
    """
    if not math.isfinite(order.rank):
        raise RefusedError(
            f"--rank {order.rank:g} is no number",
            "write a number, as --rank 2: jobs of low rank give way first when memory is short",
        )
    if shutil.which("systemd-run") is None:
        hint = "leave --rank out: `tegctl run -- COMMAND` has it queued for slots instead"
        raise UnavailableError("a job with --rank is started by systemd, and there is no systemd-run here", hint)
    name = checked_name(order.name, "job") if order.name else f"run-{secrets.token_hex(3)}"
    unit = f"teg-{name}.service"
    folder = f"{FOLDERS}/{name}"
    environment = {"TEG_RANK": f"{order.rank:g}"}
    if order.hook:
        checkpoint = f"/var/lib/{folder}/checkpoint"
        environment |= {"TEG_CHECKPOINT": checkpoint, "TEG_MARK": f"{checkpoint}.mark", "TEG_SIGNAL": "SIGUSR1"}
    caller, program = _as_caller(), _program(order.argv[0])
    brought = {"PATH": os.environ.get("PATH", os.defpath), **order.env}
    brought = {key: value for key, value in brought.items() if not (caller and _OF_USER.fullmatch(key))}
    _sweep(airlock)
    file = _kept(unit, {key: value for key, value in brought.items() if key not in environment})
    words = [
        *("systemd-run", "--quiet", f"--unit={unit}", f"--slice={SLICE}", "--service-type=exec"),
        *(f"--working-directory={Path.cwd()}", f"--description=tegctl run: {order.argv[0]}", *caller),
        *(f"--property={entry}" for entry in (f"EnvironmentFile={file}", f"UMask={context.mask():04o}", *_limits())),
        *(f"--property={entry}" for entry in (f"StateDirectory={folder}", "StateDirectoryMode=0700")),
        *("--property=OOMPolicy=continue", *(f"--setenv={key}={value}" for key, value in environment.items())),
        *("--", *(word.replace("$", "$$") for word in (program, *order.argv[1:]))),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603 - what was asked for
    if done.returncode:
        file.unlink()
        hint = "give it as root: `sudo tegctl run --rank …`" if os.geteuid() else f"`systemctl status {unit}` says more"
        raise UnavailableError(f"the job was not started: systemd refuses {unit}: {done.stderr.strip()}", hint)
    return unit


def _kept(unit: str, env: Mapping[str, str]) -> Path:
    """A file with an environment, as EnvironmentFile= reads it; nobody else may."""
    file = _file(unit)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    text = "".join(f'{name}="{_escaped(value)}"\n' for name, value in env.items())
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(text)
    return file


def _file(unit: str) -> Path:
    return _folder() / f"{unit}.environment"


def _folder() -> Path:
    """Where environments are kept: it is gone when the host restarts, as the units are."""
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    return Path(own) / "teg-alone" if os.geteuid() and own else RUNTIME


def _escaped(value: str) -> str:
    return re.sub(r'(["\\$`])', r"\\\1", value)


def _sweep(airlock: Path) -> None:
    """Take away what was kept of units that are gone: the airlock side may have one that the manager has forgotten."""
    folder = _folder()
    kept = [path.name.removesuffix(".environment") for path in folder.glob("*.environment")] if folder.is_dir() else []
    if not kept:
        return
    gone = [unit for unit in kept if _shown(unit).get("LoadState") == "not-found"]
    listed = _listed(airlock) if gone else None
    for unit in gone:
        if listed is not None and unit not in listed:
            _file(unit).unlink(missing_ok=True)


def _limits() -> list[str]:
    """The limits as they are here, in the manager's words."""
    unbound = resource.RLIM_INFINITY
    found = []
    for name in control.LIMITS:
        values = resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))
        soft, hard = ("infinity" if value == unbound else str(value) for value in values)
        found.append(f"Limit{name.upper()}={soft}:{hard}")
    return found


def follow(unit: str, airlock: Path) -> int:
    """Show what a unit prints until it is done for good.

    Args:
        unit: Its name.
        airlock: Socket of the airlock side.

    Returns:
        Its exit code, as a shell gives it.
    """
    words = ["journalctl", "--quiet", "--follow", "--lines=all", "--output=cat", f"_SYSTEMD_UNIT={unit}"]
    with subprocess.Popen(words) as journal:  # noqa: S603 - as above
        try:
            while (code := _code(unit)) is None or _is_parked(unit, airlock):
                time.sleep(LOOK_S)
            time.sleep(LOOK_S)  # the journal is a moment behind
        finally:
            journal.terminate()
    subprocess.run(["systemctl", "reset-failed", unit], capture_output=True, check=False)  # noqa: S603, S607
    with contextlib.suppress(OSError):
        _file(unit).unlink()
    return code


def _as_caller() -> list[str]:
    """Under sudo, work runs as who called it."""
    uid = os.environ.get("SUDO_UID", "")
    if os.geteuid() != 0 or not uid.isdigit():
        return []
    with contextlib.suppress(KeyError):
        return [f"--uid={uid}", f"--gid={pwd.getpwuid(int(uid)).pw_gid}"]
    raise RefusedError(
        f"sudo says that user {uid} called it (SUDO_UID), and there is no such user here",
        "to run it as root: `sudo env -u SUDO_UID tegctl run --rank …`",
    )


def _program(name: str) -> str:
    found = name if "/" in name else shutil.which(name)
    if found is None:
        raise RefusedError(
            f"there is no program {name} on the PATH",
            f"look at its name; give its folder too, as ./{name}, or run it by another: `-- python {name}`",
        )
    return str(Path(found).absolute())


def _code(unit: str) -> int | None:
    """The exit code of a unit that has ended; None while it runs."""
    shown = _shown(unit)
    if shown.get("ActiveState") not in {"inactive", "failed"}:
        return None
    if shown.get("LoadState") == "not-found":
        return 0  # the manager forgets at once only what ended well
    status = int(shown.get("ExecMainStatus") or 0)
    return 128 + status if shown.get("ExecMainCode") == _KILLED else status


def _shown(unit: str) -> Mapping[str, str]:
    words = ["systemctl", "show", f"--property={','.join(_SHOWN)}", unit]
    said = subprocess.run(words, capture_output=True, text=True, check=False).stdout  # noqa: S603 - as above
    return dict(line.partition("=")[::2] for line in said.splitlines())


def _is_parked(unit: str, airlock: Path) -> bool:
    """Whether the airlock side has ended it for memory, and will bring it back."""
    return (_listed(airlock) or {}).get(unit, "ended") != "ended"


def _listed(airlock: Path) -> dict[str, str] | None:
    """The states of all that the airlock side has, by name; None where it does not answer, which is said."""
    found: dict[str, str] = {}
    after = ""
    try:
        while True:
            page = ask(airlock, "list", after=after)
            found |= {entry["workload"]: str(entry["state"]) for entry in page["workloads"]}
            if not page["more"]:
                return found
            after = page["workloads"][-1]["workload"]
    except TegError as error:
        print(f"the airlock side does not answer: {error}", file=sys.stderr)
        return None
