"""What this host gives the airlock, found once at start: each absent thing is named, with what is used instead."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tegd.airlock.adapters.cgroupfs import Cgroups, own_group, usable
from tegd.airlock.adapters.containment import Containment, Sessions
from tegd.airlock.adapters.dump import Dumper
from tegd.airlock.adapters.manager import Services
from tegd.airlock.adapters.units import Slice
from tegd.airlock.dumper.criu import PROGRAM, program

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
OOM_SCORE_ADJ = -1000


class Capability(NamedTuple):
    """One row of the table.

    Attributes:
        present: Whether it is there.
        detail: How it is used, or what is used instead.
    """

    present: bool
    detail: str

    def __str__(self) -> str:
        return f"{'present' if self.present else 'absent'}: {self.detail}"


def containment(folder: Path, mount: Path = Path("/sys/fs/cgroup")) -> tuple[Containment, Capability]:
    """The strongest containment that this host allows, for workloads with this folder."""
    group = own_group(mount, Path("/proc/self/cgroup").read_text())
    problem = usable(group) if group else f"{mount} is not cgroup v2"
    if group is not None and not problem:
        return Cgroups(group), Capability(True, f"groups below {group}")
    instead = "sessions and SIGSTOP; what leaves its session is not frozen with it, and is killed when it ends"
    return Sessions(folder), Capability(False, f"{problem}: {instead}")


def services(slice_name: str, folders: str) -> tuple[Containment, Capability]:
    """Containment by services that the system's manager starts.

    Args:
        slice_name: Slice that they are started in.
        folders: Below /var/lib, where each gets a folder.
    """
    return Services(slice_name, folders), Capability(True, f"services of {slice_name}, folders in /var/lib/{folders}")


def dumper(socket: Path | None) -> tuple[Dumper | None, Capability]:
    """What dumps processes, where that can be done; it is systemd that restores them."""
    if socket is None or not program():
        lack = f"there is no {PROGRAM}" if socket is not None else "no CRIU service was named"
        return None, Capability(False, f"{lack}: a workload without a hook is parked in memory only")
    return Dumper(socket), Capability(True, f"CRIU through {socket}, where there is no hook or it fails")


def units(name: str, mount: Path = Path("/sys/fs/cgroup")) -> tuple[Slice, Cgroups] | None:
    """A slice and what holds its units; None without a name, or where groups are not the unified ones."""
    if not name or not (mount / "cgroup.controllers").is_file():
        return None
    return Slice(name, mount), Cgroups(mount / name)


def lock_memory() -> Capability:
    """Keep our pages in memory; only where that cannot make a later allocation fail."""
    if os.geteuid() != 0:
        return Capability(False, "not root: pages may be swapped out")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
        return Capability(False, f"mlockall: {os.strerror(ctypes.get_errno())}: pages may be swapped out")
    return Capability(True, "mlockall as pages are touched")


def exempt_from_oom() -> Capability:
    """Ask the kernel to end us last."""
    file = Path("/proc/self/oom_score_adj")
    with suppress(OSError):
        file.write_text(str(OOM_SCORE_ADJ))
    score = int(file.read_text())
    if score == OOM_SCORE_ADJ:
        return Capability(True, f"oom_score_adj {score}")
    return Capability(False, f"oom_score_adj stays {score}: the kernel may end the airlock for memory")


def users() -> Capability:
    """Whether work may run as other users."""
    if os.geteuid() == 0:
        return Capability(True, "each workload runs as its own user")
    return Capability(False, f"not root: all work runs as uid {os.geteuid()}")
