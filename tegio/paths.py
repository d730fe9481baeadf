"""Where the programs of one host keep their state and their sockets.

A stack that a user runs has all in one folder. Installed on a host, state is below /var/lib/teg and each program's
socket in a folder of its own below /run/teg, both made by systemd: no program can take another's place.
"""

import os
from pathlib import Path

SOCKETS = ("tegd", "airlock", "ledger", "governor")
SYSTEM_STATE = Path("/var/lib/teg")
SYSTEM_RUN = Path("/run/teg")


def default_state_dir() -> Path:
    """`$TEG_STATE`, else the system's where TEG is installed, but for users who ran a stack; else the user's own."""
    if chosen := os.environ.get("TEG_STATE"):
        return Path(chosen)
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    own = Path(base) / "teg"
    return SYSTEM_STATE if SYSTEM_STATE.is_dir() and (os.geteuid() == 0 or not own.is_dir()) else own


def private_dir(path: Path) -> Path:
    """The folder itself, made if need be, closed to others."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def socket_path(state_dir: Path, program: str) -> Path:
    """The control socket of a program, one of `SOCKETS`."""
    assert program in SOCKETS, program
    folder = SYSTEM_RUN / program if state_dir == SYSTEM_STATE else state_dir / "run"
    return folder / f"{program}.sock"
