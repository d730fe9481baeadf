"""What Vagrant reads and runs: the file is valid, and what the machines are to hold is made once."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def plugin() -> bool:
    """Whether Vagrant is here, and knows libvirt."""
    words = ["dpkg-query", "--show", "vagrant", "vagrant-libvirt"]
    return (
        bool(shutil.which("vagrant") and shutil.which("dpkg-query"))
        and not subprocess.run(words, capture_output=True, check=False).returncode
    )


@pytest.mark.skipif(not plugin(), reason="no Vagrant here: apt install --no-install-recommends vagrant vagrant-libvirt")
@pytest.mark.parametrize("settings", [{}, {"TEG_ACCEL": "tcg", "TEG_HOSTS": "5", "TEG_SENSORS": "1"}])
def test_the_vagrantfile_is_valid(settings: dict[str, str], tmp_path: Path) -> None:
    env = os.environ | {"VAGRANT_HOME": str(tmp_path), "VAGRANT_CHECKPOINT_DISABLE": "1"} | settings
    words = ["vagrant", "validate"]
    done = subprocess.run(words, cwd=ROOT / "vagrant", env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def prepared(folder: Path, hosts: int) -> dict[str, tuple[int, bytes]]:
    """Files that the machines are to hold, with their modes."""
    package = folder.with_suffix(".deb")
    package.write_bytes(b"a package")
    words = [str(ROOT / "vagrant" / "prepare"), str(folder), str(hosts), str(package)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): (path.stat().st_mode & 0o777, path.read_bytes()) for path in files}


def test_machines_are_prepared_once_and_each_holds_its_own_secrets_alone(tmp_path: Path) -> None:
    if not (ROOT / ".venv/bin/tegctl").exists():
        pytest.skip("vagrant/prepare runs tegctl of .venv: make install")
    once = prepared(tmp_path / "zone", 2)
    assert prepared(tmp_path / "zone", 2) == once
    more = prepared(tmp_path / "zone", 3)
    machines = ("control/", "n1/", "n2/")
    assert {name: more[name] for name in once if name.startswith(machines)} == {
        name: held for name, held in once.items() if name.startswith(machines)
    }
    secrets = {name: held for name, held in more.items() if "/credentials/" in name or name.endswith(".key")}
    assert all(mode == 0o600 for mode, _ in secrets.values())
    assert not [name for name in secrets if name.startswith("n") and ("zone.key" in name or "ca.key" in name)]
    own = [more[f"n{number}/root/etc/teg/credentials/tegd/host.key"] for number in (1, 2, 3)]
    assert len({data for _, data in own}) == 3
