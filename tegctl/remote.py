"""Programs of another machine: their control sockets, brought here by ssh.

Who may ask is whoever may sign in there: the kernel of that machine says which of its users asks, as it does for those
who are there. Nothing listens on a network for this.
"""

import atexit
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tegcore.errors import UnavailableError
from tegio.paths import socket_path

READY_S_MAX = 20.0
_OPTIONS = ("ExitOnForwardFailure=yes", "StreamLocalBindMask=0177", "BatchMode=yes", "ConnectTimeout=10")
_open: dict[tuple[str, Path], Path] = {}


def forwarded(machine: str, state_dir: Path, program: str) -> Path:
    """A socket here that leads to a program's there; it lasts until this program ends.

    Args:
        machine: As ssh is told it, `[user@]host`.
        state_dir: State folder there.
        program: One of `tegio.paths.SOCKETS`.

    Raises:
        UnavailableError: If ssh cannot bring it.
    """
    there = socket_path(state_dir, program)
    if (machine, there) in _open:
        return _open[machine, there]
    if shutil.which("ssh") is None:
        raise UnavailableError(
            f"{machine} cannot be asked: there is no ssh here",
            f"ask an operator to install openssh-client here, or sign in there: `tegctl` on {machine}",
        )
    folder = tempfile.TemporaryDirectory(prefix="tegctl-")
    here = Path(folder.name) / f"{program}.sock"
    words = ["ssh", "-nNT", *(word for option in _OPTIONS for word in ("-o", option)), "-L", f"{here}:{there}"]
    tunnel = subprocess.Popen([*words, "--", machine], stderr=subprocess.PIPE, text=True)  # noqa: S603 - ssh itself
    atexit.register(_close, tunnel, folder)
    until_s = time.monotonic() + READY_S_MAX
    while not here.exists():
        if tunnel.poll() is not None or time.monotonic() > until_s:
            tunnel.terminate()
            said = (tunnel.communicate()[1] or "").strip() or "no answer"
            what = f"{machine} cannot be asked over ssh (for {there}): {said}"
            raise UnavailableError(
                what,
                f"look at the name, and whether `ssh {machine} true` works; --remote-state names another folder there",
            )
        time.sleep(0.02)
    _open[machine, there] = here
    return here


def _close(tunnel: "subprocess.Popen[str]", folder: "tempfile.TemporaryDirectory[str]") -> None:
    tunnel.terminate()
    tunnel.wait()
    folder.cleanup()
