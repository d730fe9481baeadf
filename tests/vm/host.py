"""A guest on which TEG is installed, and what tests ask of it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from vm.guest import CommandFailed, Guest

from tegio.paths import SYSTEM_STATE, socket_path

UNITS = ("tegd", "teg-airlock", "zone-ledger", "governor")
"""Those that a cluster of one host runs, beside a broker."""
FAST = "period_ticks = 100\nterm_periods = 4\nnotice_ticks = 60\nepoch_ticks = 400\ngrace_ticks = 20\nzone_k = 2\n"
LASTING = FAST.replace("term_periods = 4", "term_periods = 12")
"""Terms of 60 s: a restart of all parts at once, emulated, took 21 s, in which nobody renews."""
SLOW = "[Service]\nWatchdogSec=60\n"
"""A drop-in for programs that run many times slower than on a processor."""
PYTHON = "/usr/lib/teg/bin/python3"
SPIN = f"{PYTHON} -m tegctl.samples.spin"


class Host:
    """What runs on a guest."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self._state = guest.folder / "state"
        (self._state / "run").mkdir(parents=True, exist_ok=True)

    def tegctl(self, words: str, user: str = "root") -> Any:
        """What `tegctl` answers."""
        return json.loads(self.guest.run(f"cd /tmp && sudo -u {user} tegctl -o json {words}", limit_s=200))["items"]

    def ask(self, words: str) -> Any:
        """What `tegctl` answers that runs here, on a processor, and asks the guest's programs as its root.

        Raises:
            CommandFailed: If one of them does not answer.
        """
        there = {program: str(socket_path(SYSTEM_STATE, program)) for program in ("tegd", "ledger", "governor")}
        self.guest.reach({socket_path(self._state, program): path for program, path in there.items()})
        command = [Path(sys.executable).with_name("tegctl"), "--state", str(self._state), "-o", "json", *words.split()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
        if done.returncode:
            raise CommandFailed(f"{self.guest.name}: {words}: {done.stderr}")
        return json.loads(done.stdout)["items"]

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.guest.run(f"systemctl show --value --property={name} {unit}").strip()

    def active(self, *units: str) -> bool:
        """Whether all of them run."""
        return set(self.guest.run(f"systemctl is-active {' '.join(units)}", check=False).split()) == {"active"}

    def pid(self, unit: str) -> int:
        return int(self.show(unit, "MainPID"))

    def answers(self) -> bool:
        """Whether every part of the cluster does, and the ledger hears the host."""
        if not self.active(*UNITS) or not self.ask("governor"):
            return False
        self.ask("agents")
        return [row["up"] for row in self.ask("hosts")] == [True]

    def agent(self, name: str) -> dict[str, Any]:
        """A workload, as its agent sees it."""
        return next(row for row in self.ask("agents") if row["name"] == name)

    def submit(self, name: str, units: int, pause_ms: int = 300) -> None:
        """Start work that can save itself, as an ordinary user."""
        self.guest.run(
            f"cd /tmp && sudo -u vagrant tegctl run --detach --hook --name {name} -- "
            f"{SPIN} --units {units} --pause-ms {pause_ms}"
        )

    def log(self, name: str) -> str:
        return self.guest.run(f"tegctl logs {name}")

    def units_done(self, name: str) -> int:
        """Of work by its own last words."""
        found = re.findall(r"^spin: (\d+) units", self.log(name), re.MULTILINE)
        return int(found[-1]) if found else 0

    def conserved(self) -> bool:
        """Whether the books add up, by journal, by replay, and by the live ledger."""
        verified = self.tegctl("verify")
        return verified["conserved"] is True and verified["replay_hash_equal"] is True

    def frozen(self) -> list[str]:
        """Groups of teg.slice that are frozen now."""
        found = self.guest.run("grep -l '^frozen 1' /sys/fs/cgroup/teg.slice/*/cgroup.events; true")
        return found.split()
