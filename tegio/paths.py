"""Where the programs of one host keep their state and their sockets."""

import os
from pathlib import Path

SOCKETS = ("tegd", "airlock", "ledger", "governor")


def default_state_dir() -> Path:
    """`$TEG_STATE`, else /var/lib/teg where systemd made it, else the user's own state folder."""
    if chosen := os.environ.get("TEG_STATE"):
        return Path(chosen)
    if os.geteuid() == 0 and Path("/var/lib/teg").is_dir():
        return Path("/var/lib/teg")
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "teg"


def private_dir(path: Path) -> Path:
    """The folder itself, made if need be, closed to others."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def socket_path(state_dir: Path, program: str) -> Path:
    """The control socket of a program, one of `SOCKETS`."""
    assert program in SOCKETS, program
    return state_dir / "run" / f"{program}.sock"
