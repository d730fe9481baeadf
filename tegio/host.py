"""What this host is called."""

import hashlib
import platform
import re
from contextlib import suppress
from pathlib import Path

_WHICH = ("/etc/machine-id", "/proc/sys/kernel/random/boot_id")


def host_name() -> str:
    """The machine's own name, as a name of ours: lower case, and nothing that a topic cannot hold."""
    return re.sub(r"[^a-z0-9._-]", "-", platform.node().lower()).strip("._-") or "host"


def machine_number(state_dir: Path) -> int:
    """A number that another machine of the same name does not have, nor another daemon on this one.

    It is another after each boot of the machine: images are copied with all that is on their disks.
    """
    seen = hashlib.blake2b(str(state_dir.absolute()).encode(), digest_size=7)
    for path in _WHICH:
        with suppress(OSError):
            seen.update(Path(path).read_bytes())
    with suppress(OSError):
        seen.update(str(Path("/proc/self/ns/net").readlink()).encode())
    return int.from_bytes(seen.digest(), "little") or 1
