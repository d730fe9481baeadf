"""The image that guests boot: made once from the recipe beside this file, and kept under the recipe's hash.

`python -m vm.image` makes it and prints its folder; the recipe needs root, running guests does not. What was made
is put in its place by one rename, under a lock: an image is there whole or not at all.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

RECIPE = Path(__file__).with_name("image")
TO_RUN = ("qemu-system-x86_64", "qemu-img", "setpriv", "ssh", "rsync", "dpkg-deb")
TO_MAKE = ("mmdebstrap", "iasl", "grub-mkimage", "sfdisk", "mke2fs", "qemu-img", "ssh-keygen", "zstd")
KEPT_MAX = 4
"""Snapshots kept of one image, beside those of the last `YOUNG_S`: another session may be about to start from them."""
YOUNG_S = 2 * 3600


class Image(NamedTuple):
    """A folder that the recipe filled."""

    folder: Path

    @property
    def warm(self) -> Path:
        """Where snapshots of its guests are kept."""
        return self.folder / "warm"

    def file(self, name: str) -> str:
        """Path of a part of it."""
        return str(self.folder / name)


def cache() -> Path:
    """`$TEG_VM_CACHE`, else the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("TEG_VM_CACHE") or Path(base) / "teg" / "vm")


def digest(*parts: bytes) -> str:
    """A short name for contents."""
    sums = [hashlib.sha256(part).digest() for part in parts]
    return hashlib.sha256(b"".join(sums)).hexdigest()[:16]


def missing(tools: tuple[str, ...]) -> list[str]:
    """Those that this machine lacks."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    return [tool for tool in tools if shutil.which(tool, path=path) is None]


def recipe_folder() -> Path:
    """Where the image of the recipe, as it stands, is or will be."""
    files = sorted(path for path in RECIPE.iterdir() if path.is_file())
    return cache() / digest(*(part for path in files for part in (path.name.encode(), path.read_bytes())))


def obstacle() -> str:
    """Why guests cannot run here, or nothing where they can."""
    if lacking := missing(TO_RUN):
        return f"no {', '.join(lacking)} here: apt install qemu-system-x86 qemu-utils openssh-client rsync"
    if recipe_folder().exists():
        return ""
    if lacking := missing(TO_MAKE):
        return (
            f"no image of the guest, and no {', '.join(lacking)} to make it: "
            "apt install mmdebstrap acpica-tools grub-pc-bin grub-common fdisk e2fsprogs zstd"
        )
    return "" if os.geteuid() == 0 else "no image of the guest: root makes it with `make vm-image`"


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold a lock file."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def ensure() -> Image:
    """The image, made if need be, in two to five minutes.

    Raises:
        subprocess.CalledProcessError: If the recipe fails; what it wrote is on standard error.
    """
    folder = recipe_folder()
    if folder.exists():  # made by another user, perhaps, whose lock is not ours to take
        return Image(folder)
    with alone(folder.with_suffix(".lock")):
        if not folder.exists():
            print(f"making the image of the guest in {folder}: a few minutes", file=sys.stderr, flush=True)
            made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".making-"))
            try:
                path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
                subprocess.run([str(RECIPE / "build"), made], check=True, env={**os.environ, "PATH": path})
                (made / "warm").mkdir()
                made.chmod(0o755)
                made.rename(folder)
            finally:
                shutil.rmtree(made, ignore_errors=True)
    return Image(folder)


def keep_newest(warm: Path) -> None:
    """Remove the snapshots that were not used for longest."""
    found = sorted(warm.glob("*.qcow2"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in found[KEPT_MAX:]:
        if time.time() - path.stat().st_mtime > YOUNG_S:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    if problem := obstacle():
        sys.exit(problem)
    print(ensure().folder)
