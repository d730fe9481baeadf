"""A machine that is reached by ssh alone, as a user who may sudo: what a test asks of it, and does to it."""

import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tegcore.errors import TegError, UnavailableError
from tegcore.wire.control import AnyRequest
from tegctl.session import Session
from tegio.paths import SYSTEM_STATE, socket_path

RUN_S_MAX = 120.0
BOOT_S_MAX = 300.0
CARD = "eth1"
"""The card that leads to the other machines; ssh comes by another."""


class CommandFailed(AssertionError):
    """A command on a machine did not end well."""


class Machine:
    """One of them.

    Args:
        name: What it is called in an ssh configuration, and its host name.
        ssh_config: That file.
        folder: For sockets that are brought here.
    """

    def __init__(self, name: str, ssh_config: Path, folder: Path) -> None:
        self.name = name
        self._config = ssh_config
        self._folder = folder / name
        (self._folder / "run").mkdir(parents=True)
        self._session = Session(self._folder, "json")
        self._cut = self._stepped = False

    # --- asking -----------------------------------------------------------------------------------------------------

    def run(self, command: str, *, user: bool = False, limit_s: float = RUN_S_MAX, data: bytes = b"") -> str:
        """What a command of root's shell prints.

        Args:
            command: For its shell.
            user: As whoever signs in, rather than as root.
            limit_s: Longest that it may take.
            data: Its standard input.

        Raises:
            CommandFailed: If it fails or takes too long; with all that it printed.
        """
        words = f"bash -c {shlex.quote(command)}"
        argv = self._ssh(command=words if user else f"sudo -n {words}")
        try:
            done = subprocess.run(argv, input=data, capture_output=True, timeout=limit_s, check=False)
        except subprocess.TimeoutExpired:
            raise CommandFailed(f"{self.name}: {command}\ntakes longer than {limit_s:.0f} s") from None
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        if done.returncode:
            raise CommandFailed(f"{self.name}: {command}\nended with {done.returncode}\n{out}\n{err}")
        return out

    def put(self, folder: Path, to: str) -> None:
        """Make a folder there like one here."""
        shell = shlex.join(self._ssh()[:-1])
        words = ["rsync", "-a", "--mkpath", "--delete", "-e", shell, "--rsync-path", "sudo rsync"]
        done = subprocess.run([*words, f"{folder}/", f"{self.name}:{to}/"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def ask(self, program: str, request: AnyRequest) -> Any:
        """What a program there answers; `control` requests travel through ssh."""
        try:
            return self._session.ask(program, request)
        except UnavailableError:
            self._bring(program)
            return self._session.ask(program, request)

    def stream(self, program: str, request: AnyRequest) -> Iterator[Any]:
        """All that it answers."""
        self._bring(program)
        return self._session.stream(program, request)

    def address(self) -> str:
        """Where other machines reach it."""
        return self.run(f"ip -4 -o address show {CARD}").split()[3].split("/")[0]

    # --- doing ------------------------------------------------------------------------------------------------------

    def cut_link(self, *ways: str) -> None:
        """Nothing comes in, or goes out, between it and the other machines: `in`, `out`, by default both."""
        chains = {"in": f"INPUT -i {CARD}", "out": f"OUTPUT -o {CARD}"}
        self._cut = True
        self.run("; ".join(f"iptables -I {chains[way]} -j DROP" for way in ways or chains))

    def heal_link(self) -> None:
        """All passes again."""
        if self._cut:
            self.run("iptables -F INPUT; iptables -F OUTPUT")
            self._cut = False

    def step_clock(self, hours: int) -> None:
        """Set its clock forward or back."""
        self._stepped = True
        self.run(f"date -s '{hours:+d} hour' > /dev/null")

    def right_clock(self) -> None:
        """Set its clock to the time that it is here."""
        if self._stepped:
            self.run(f"date -s @{time.time():.0f} > /dev/null")
            self._stepped = False

    def has_sensors(self) -> bool:
        """Whether its temperature can be set."""
        return self.run("grep -l acpitz /sys/class/thermal/thermal_zone*/type; true").strip() != ""

    def set_temperature(self, celsius: float, watts: float = 90.0) -> None:
        """What its thermal zone and power meter read: they look at a register of the machine."""
        assert celsius < 120, "at 125 C it powers off"
        word = (round(watts * 10) << 16 | round((celsius + 273.2) * 10)).to_bytes(4, "little")
        octal = "".join(f"\\{byte:03o}" for byte in word)
        self.run(f"printf '{octal}' | dd of=/dev/port bs=1 seek={0xE0} conv=notrunc status=none")

    def cut_power(self) -> None:
        """Off and on at once: nothing is written, nothing ends in good order. Returns when it answers again."""
        before = self._boot_id()
        self.run("echo 1 > /proc/sys/kernel/sysrq; (sleep 1; echo b > /proc/sysrq-trigger) > /dev/null 2>&1 &")
        time.sleep(2)
        self.close()
        self.until(lambda: self._boot_id() != before, BOOT_S_MAX, "has booted again")

    # --- waiting ----------------------------------------------------------------------------------------------------

    def until(self, condition: Callable[[], Any], limit_s: float, what: str, pause_s: float = 0.5) -> Any:
        """What a condition gives once it holds; who does not answer meanwhile makes it not hold.

        Raises:
            AssertionError: If it does not hold within the limit.
        """
        until_s, last = time.monotonic() + limit_s, ""
        while time.monotonic() < until_s:
            try:
                if found := condition():
                    return found
                last = "the condition is false"
            except (CommandFailed, TegError, OSError, ValueError, LookupError) as error:
                last = f"{type(error).__name__}: {error}"
            time.sleep(pause_s)
        raise AssertionError(f"{self.name}: not within {limit_s:.0f} s: {what}\n{last}")

    def close(self) -> None:
        """End the connection that its commands share."""
        subprocess.run(self._ssh("-O", "exit"), capture_output=True, timeout=10, check=False)

    # --- inner ------------------------------------------------------------------------------------------------------

    def _boot_id(self) -> str:
        return self.run("cat /proc/sys/kernel/random/boot_id", limit_s=20)

    def _bring(self, program: str) -> None:
        here, there = socket_path(self._folder, program), socket_path(SYSTEM_STATE, program)
        self.run("true", limit_s=30)
        for verb in ("cancel", "forward"):
            words = self._ssh("-O", verb, "-L", f"{here}:{there}")
            done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
        if done.returncode:
            raise CommandFailed(f"{self.name}: {there} is not brought here: {done.stderr}")

    def _ssh(self, *options: str, command: str = "") -> list[str]:
        settings = {
            "ControlMaster": "auto",
            "ControlPath": str(self._folder / "ssh"),
            "ControlPersist": "yes",
            "StreamLocalBindUnlink": "yes",
            "ConnectTimeout": "10",
            "ServerAliveInterval": "30",
            "LogLevel": "ERROR",
        }
        given = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        return ["ssh", "-F", str(self._config), *given, *options, self.name, *([command] if command else [])]
