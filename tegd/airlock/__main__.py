"""`python -m tegd.airlock`: wiring of the airlock side. It needs two paths; a settings file adds units of a slice."""

import argparse
import contextlib
import fcntl
import os
import pwd
import resource
import select
import signal
import sys
import threading
import time
from pathlib import Path

from tegcore.errors import Exit, TegError, UnavailableError
from tegd.airlock.adapters import capabilities
from tegd.airlock.adapters.folders import Folders
from tegd.airlock.adapters.hands import Hands
from tegd.airlock.adapters.journal import ALIVE, Journal
from tegd.airlock.adapters.memory import MemoryReader, watch_stalls
from tegd.airlock.adapters.reclaim import Reclaimer
from tegd.airlock.adapters.server import Server
from tegd.airlock.guard import Guard
from tegd.airlock.service import Airlock
from tegd.airlock.settings import AirlockSettings, read
from tegio.clock import SystemClock
from tegio.notify import notify

LOCK_TRIES = 100
LOCK_PAUSE_S = 0.01
OPEN_FILES = 8192
NICE = -15
"""It has little to do, and that at once."""


def build(
    state_dir: Path,
    socket: Path,
    agent: pwd.struct_passwd | None,
    settings: AirlockSettings,
    folders: str = "",
    criu_socket: Path | None = None,
) -> Airlock:
    """Put an airlock together.

    Args:
        state_dir: Its folder, made if need be.
        socket: Where the agent side finds it.
        agent: User of the agent side, if it is another; root and our own user may always connect.
        settings: Mode, slice and units.
        folders: Below /var/lib, where each workload gets a folder, and is started by the system's manager; empty: it
            is a child of ours.
        criu_socket: Where the dumper is found; None: there is none.

    Raises:
        UnavailableError: If another airlock has the folder.
        JournalError: If the journal cannot be trusted.
    """
    (state_dir / "workloads").mkdir(parents=True, exist_ok=True)
    (state_dir / "workloads").chmod(0o750)
    _lock(state_dir)
    if folders:
        holder, held = capabilities.services(settings.slice, folders)
    else:
        holder, held = capabilities.containment(state_dir / "workloads")
    dumper, dumps = capabilities.dumper(criu_socket)
    table = {
        "cgroup": held,
        "criu": dumps,
        "memory_lock": capabilities.lock_memory(),
        "oom_exemption": capabilities.exempt_from_oom(),
        "users": capabilities.users(),
        "folders": capabilities.Capability(bool(folders), "made for each workload" if folders else "the agent's"),
    }
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    journal = Journal(state_dir, boot_id)
    epoll = select.epoll()
    _wake_by_signals(epoll)
    server = Server(socket, frozenset({0, os.geteuid(), *([agent.pw_uid] if agent else [])}), epoll)
    if agent is not None and agent.pw_uid != os.geteuid():
        _open_to(socket, agent)
    units = capabilities.units(settings.slice)
    hands = Hands(state_dir, holder, epoll, units, dumper)
    guard = Guard(settings, units[0], hands, MemoryReader(), Reclaimer()) if units else None
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
    return Airlock(
        journal=journal,
        hands=hands,
        capabilities=table,
        epoll=epoll,
        server=server,
        clock=SystemClock(),
        own_uid=os.geteuid(),
        guard=guard,
        stalls=watch_stalls() if units else None,
        folders=Folders(Path("/var/lib") / folders) if folders else None,
        uid_min=settings.uid_min,
    )


def _open_to(socket: Path, agent: pwd.struct_passwd) -> None:
    """Let the agent side's user come in: by its group where that is ours, else the socket becomes its own."""
    if agent.pw_gid == os.getegid():
        socket.chmod(0o660)
    else:
        os.chown(socket, agent.pw_uid, -1)


def _lock(state_dir: Path) -> None:
    """Hold the lock that a deadman sleeps on; it may hold it for the blink of an eye."""
    descriptor = os.open(state_dir / ALIVE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(LOCK_TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(LOCK_PAUSE_S)
    raise UnavailableError(f"another airlock works in {state_dir}", "end it, or use another folder")


def _user(text: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(text)
    except KeyError:
        raise argparse.ArgumentTypeError(f"there is no user {text!r}") from None


def _wake_by_signals(epoll: select.epoll) -> None:
    """A signal whose handler returns does not end a wait (PEP 475); what it writes here does, once."""
    ear, mouth = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    epoll.register(ear, select.EPOLLIN | select.EPOLLET)
    signal.set_wakeup_fd(mouth)


def _end_with(thread: threading.ExceptHookArgs) -> None:
    """A thread that ends by a fault takes the airlock with it: what it did would be missed and nobody would know."""
    threading.__excepthook__(thread)
    os._exit(Exit.FAILED)


def _raise_open_files() -> None:
    """Each workload takes a descriptor of its leader and some of its group; what we start has the limit from before."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, OPEN_FILES)), hard))


def main() -> int:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="tegd-airlock", description=sys.modules["tegd.airlock"].__doc__)
    parser.add_argument("--state-dir", type=Path, required=True, help="folder of its journal and the workloads' logs")
    parser.add_argument("--socket", type=Path, required=True, help="where the agent side finds it")
    parser.add_argument("--config", type=Path, help="settings file; without one, no unit is looked after")
    parser.add_argument("--agent", type=_user, help="user of the agent side; default: our own")
    parser.add_argument(
        "--folders", default="", help="systemd starts workloads, each with a folder in /var/lib/FOLDERS"
    )
    parser.add_argument("--criu-socket", type=Path, help="where the CRIU service is found, if there is one")
    wanted = parser.parse_args()
    threading.excepthook = _end_with
    _raise_open_files()
    try:
        settings = read(wanted.config) if wanted.config else AirlockSettings(slice="", uid_min=0)
        airlock = build(
            wanted.state_dir.absolute(), wanted.socket, wanted.agent, settings, wanted.folders, wanted.criu_socket
        )
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: airlock.stop())
        notify("READY=1")
        airlock.run()
    except TegError as error:
        print(f"tegd-airlock: {error}; {error.hint}", file=sys.stderr)
        return error.exit_code
    return Exit.OK


if __name__ == "__main__":
    sys.exit(main())
