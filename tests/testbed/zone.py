"""A zone on machines of its own, and what must always hold in it. Which machines they are, nobody here knows."""

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from testbed.machine import CommandFailed, Machine

from tegcore.errors import TegError
from tegcore.wire import control
from tegctl.samples.spin import unit
from tegctl.session import fresh_key

PYTHON = "/usr/lib/teg/bin/python3"
SPIN = f"{PYTHON} -m tegctl.samples.spin"
TERM_S = 20.0
"""As `vagrant/prepare` sets it: four periods of 5 s."""
FROZEN = "grep -l '^frozen 1' /sys/fs/cgroup/teg.slice/*/cgroup.events; true"


class Zone:
    """The control machine and the hosts.

    Args:
        names: Of the machines in the ssh configuration, `control` among them.
        ssh_config: How each is reached.
        folder: For sockets.
    """

    def __init__(self, names: Iterable[str], ssh_config: Path, folder: Path) -> None:
        self.machines = {name: Machine(name, ssh_config, folder) for name in names}
        self.control = self.machines["control"]
        self._submitted: list[tuple[str, str]] = []

    def __getitem__(self, name: str) -> Machine:
        return self.machines[name]

    def ready(self) -> "Zone":
        """Wait until the ledger hears every host; the user who signs in has an account from then on."""
        self.until(lambda: self.operate(control.Accounts()), 240, "the user has an account")
        self.until(
            lambda: all(row["up"] for row in self.hosts()) and len(self.hosts()) == len(self.names), 240, "all up"
        )
        self.until(lambda: all(self.ask(name, control.Host())["mode"] == "run" for name in self.names), 240, "all run")
        return self

    def close(self) -> None:
        """End the connections."""
        for machine in self.machines.values():
            machine.close()

    @property
    def names(self) -> list[str]:
        """Of the hosts."""
        return [name for name in self.machines if name != "control"]

    # --- asking -----------------------------------------------------------------------------------------------------

    def operate(self, request: control.AnyRequest) -> Any:
        """What the ledger answers."""
        return self.control.ask("ledger", request)

    def ask(self, name: str, request: control.AnyRequest) -> Any:
        """What a host answers."""
        return self[name].ask("tegd", request)

    def hosts(self) -> list[dict[str, Any]]:
        return list(self.operate(control.Hosts()))

    def host(self, name: str) -> dict[str, Any]:
        return next(row for row in self.hosts() if row["host"] == name)

    def entropy(self, name: str) -> float:
        return float(self.control.ask("governor", control.HostsView())[name]["entropy"])

    def leases(self) -> list[dict[str, Any]]:
        return [row for row in self.operate(control.Leases()) if row["lease"]]

    def work(self, home: str, name: str) -> dict[str, Any]:
        """The latest work of a name, at its home."""
        rows = [row for row in self.ask(home, control.Workloads()) if row["name"] == name and not row["home"]]
        return dict(max(rows, key=lambda row: row["ref"]))

    def parts(self, seat: str) -> list[dict[str, Any]]:
        """What lives on a host and came from another."""
        return [row for row in self.ask(seat, control.Workloads()) if row["home"] and row["life"] != "ended"]

    def log(self, home: str, name: str) -> list[str]:
        request = control.Logs(name=str(self.work(home, name)["ref"]))
        return b"".join(part["bytes"] for part in self[home].stream("tegd", request)).decode().splitlines()

    # --- doing ------------------------------------------------------------------------------------------------------

    def run(self, home: str, name: str, words: str) -> None:
        """Submit work of the user who signs in, in his home: options of `tegctl run`, `--` and the command."""
        self[home].run(f"tegctl run --detach --name {name} {words}", user=True)
        self._submitted.append((home, name))

    def spin(self, home: str, name: str, units: int, more: str = "", pause_ms: int = 200) -> None:
        """Work that can save itself, each unit of which follows from the one before; its purse lasts for minutes."""
        self.run(home, name, f"--hook --endow 10 {more} -- {SPIN} --units {units} --pause-ms {pause_ms}")

    def drain(self, host: str, on: bool = True) -> None:
        self.operate(control.DrainHost(host=host, on=on, key=fresh_key()))

    # --- waiting ----------------------------------------------------------------------------------------------------

    def until(self, condition: Callable[[], Any], limit_s: float, what: str) -> Any:
        try:
            return self.control.until(condition, limit_s, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.story()}") from None

    def runs_on(self, seat: str, home: str, name: str, limit_s: float = 120) -> None:
        """Wait until work of a home runs on a host, as its own or as a part that came back to it."""

        def there() -> bool:
            rows = self.ask(seat, control.Workloads())
            return any((row["name"], row["run"]) == (name, "running") for row in rows)

        self.until(there, limit_s, f"{name} of {home} runs on {seat}")

    def ended(self, home: str, name: str, limit_s: float = 240) -> list[str]:
        """Wait until work has ended; what it said."""
        self.until(lambda: self.work(home, name)["life"] == "ended", limit_s, f"{name} ends")
        return self.log(home, name)

    def finished(self, home: str, name: str, units: int, limit_s: float = 240) -> list[str]:
        """Wait until `spin` has ended, with the digest that it would have had anywhere; where it began each time."""
        log = self.ended(home, name, limit_s)
        assert log, self.story()
        assert log[-1] == last_line(units), f"{log}\n{self.story()}"
        return [line for line in log if line.startswith("spin: from unit")]

    def story(self) -> str:
        """What everyone says of the work that lives, for a failure."""
        lines = []
        for name in self.names:
            try:
                for row in self.ask(name, control.Workloads()):
                    if row["life"] != "ended":
                        why = self.ask(name, control.Why(name=str(row["ref"])))
                        lines.append(f"{name}: {row['name']} {row['life']} {row['run']} {why['history'][-8:]}")
                lines.append(self[name].run("journalctl -u tegd -u teg-airlock -n 8 -o cat --no-pager", limit_s=30))
            except (CommandFailed, TegError) as error:
                lines.append(f"{name}: {error}")
        try:
            lines += [str(self.leases()), str(self.hosts())]
        except (CommandFailed, TegError) as error:
            lines.append(f"control: {error}")
        return "\n".join(lines)

    def restored(self) -> "Zone":
        """Undo what a scenario that failed left."""
        for machine in self.machines.values():
            machine.heal_link()
            machine.right_clock()
        for row in self.hosts():
            if row["drained"]:
                self.drain(row["host"], False)
        for home, name in self._submitted:
            self[home].run(f"tegctl cancel {name}; true")
        self._submitted.clear()
        return self

    # --- what must always hold --------------------------------------------------------------------------------------

    def settled(self) -> None:
        """After a scenario: nothing is held or frozen or lost, no credit came or went, and the journal replays to it.

        Raises:
            AssertionError: If one of these does not hold.
        """
        for home, name in self._submitted:
            assert self.work(home, name)["life"] == "ended", f"{name} of {home} was left"
        self._submitted.clear()
        self.until(lambda: not self.leases(), 60, "no lease is left")
        self.until(lambda: not any(self.parts(name) for name in self.names), 60, "no part is left")
        money = self.operate(control.LedgerView())["credits"]
        assert money["escrow"] == 0, money
        assert money["minted"] == money["balances"] + money["escrow"] + money["evaporated"], money
        verified = json.loads(self.control.run("tegctl -o json verify", limit_s=240))["items"]
        assert verified["conserved"] is True, verified
        assert verified["replay_hash_equal"] is True, verified
        for name in self.names:
            assert self[name].run(FROZEN) == "", f"{name} left work frozen"
            assert self[name].run("pgrep -af [s]amples.spin; true") == "", f"{name} runs work that nobody knows"

    def none_doubled(self) -> None:
        """No slot is held twice, and no work runs in two places."""
        held: set[int] = set()
        for lease in self.leases():
            slots = {slot for base, log2 in lease["blocks"] for slot in range(base, base + (1 << log2))}
            assert not slots & held, self.leases()
            held |= slots


def last_line(units: int) -> str:
    digest = ""
    for number in range(units):
        digest = unit(digest, number)
    return f"spin: {units} units, digest {digest[:16]}"


def pause(seconds: float) -> None:
    """Let time pass in which nothing must happen."""
    time.sleep(seconds)
