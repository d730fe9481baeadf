"""A guest on which TEG is installed, and what tests ask of it."""

import json
import re
from typing import Any

from vm.guest import Guest

UNITS = ("tegd", "teg-airlock", "zone-ledger", "governor")
"""Those that a cluster of one host runs, beside a broker."""
FAST = "period_ticks = 100\nterm_periods = 4\nnotice_ticks = 60\nepoch_ticks = 400\ngrace_ticks = 20\nzone_k = 2\n"
SLOW = "[Service]\nWatchdogSec=60\n"
"""A drop-in for programs that run many times slower than on a processor."""
PYTHON = "/usr/lib/teg/bin/python3"
SPIN = f"{PYTHON} -m tegctl.samples.spin"


class Host:
    """What runs on a guest."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest

    def tegctl(self, words: str, user: str = "root") -> Any:
        """What `tegctl` answers."""
        return json.loads(self.guest.run(f"cd /tmp && sudo -u {user} tegctl -o json {words}", limit_s=200))["items"]

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
        if not self.active(*UNITS) or not self.tegctl("governor"):
            return False
        self.tegctl("agents")
        return [row["up"] for row in self.tegctl("hosts")] == [True]

    def agent(self, name: str) -> dict[str, Any]:
        """A workload, as its agent sees it."""
        return next(row for row in self.tegctl("agents") if row["name"] == name)

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
        return bool(verified["conserved"]) and verified["replay_hash_equal"] is not False

    def frozen(self) -> list[str]:
        """Groups of teg.slice that are frozen now."""
        found = self.guest.run("grep -l '^frozen 1' /sys/fs/cgroup/teg.slice/*/cgroup.events; true")
        return found.split()
