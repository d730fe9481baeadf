"""The machines of a zone on plain QEMU, provisioned by the scripts that Vagrant runs."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from vm.guest import Guest, Lan

ROOT = Path(__file__).parents[2]
SETUP = "/var/tmp/zone"
LAN_FILE = """[Match]
Name=eth1
[Link]
MACAddress=52:54:00:00:01:{number:02x}
[Network]
Address={address}/24
LinkLocalAddressing=no
IPv6AcceptRA=no
"""
USER = "vagrant"


def start(boot: Callable[..., Guest], installed: Path, hosts: int) -> dict[str, Guest]:
    """Start the machines; their addresses are those that `vagrant/prepare` gives, and outlast a reboot."""
    lan = Lan()
    guests = {}
    for name in ("control", *(f"n{number}" for number in range(1, hosts + 1))):
        guests[name] = guest = boot(installed, name, lan)
        guest.write("/etc/systemd/network/50-lan.network", LAN_FILE.format(number=guest.number, address=guest.address))
    return guests


def ssh_config(guests: dict[str, Guest], path: Path) -> Path:
    """Write how they are reached, as `vagrant ssh-config` prints it."""
    path.write_text("".join(guest.ssh_config(name, USER) for name, guest in guests.items()))
    return path


def prepare(folder: Path, package: Path, hosts: int) -> None:
    """What each machine is to hold."""
    words = [str(ROOT / "vagrant" / "prepare"), str(folder), str(hosts), str(package)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"TEG_ACCEL": "tcg"})
