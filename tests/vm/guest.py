"""Virtual machines on plain QEMU: booted or restored, asked over ssh, disturbed from outside.

A guest needs no root and no KVM. Each has two cards: `eth0` leads to this machine alone (ssh, on a free port of the
loopback address), `eth1` to the other guests of its `Lan`. What differs between guests (name, address, clock) is set
over ssh once they run, so that one snapshot serves any number of them.
"""

import itertools
import json
import os
import random
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vm.image import Image, digest

BOOT_S_MAX = 300.0
"""Software emulation on a busy machine took 106 s at worst."""
RUN_S_MAX = 120.0
ACCEL = os.environ.get("TEG_VM_ACCEL", "tcg,thread=multi,tb-size=256")
COMMAND_LINE = "console=ttyS0 root=LABEL=teg-root rw net.ifnames=0 quiet panic=-1 mitigations=off"
SNAPSHOT = "warm"


class CommandFailed(AssertionError):
    """A command in a guest did not end well."""


class Lan:
    """A network that only the guests on it see: multicast on this machine's loopback device."""

    def __init__(self) -> None:
        self.port = random.SystemRandom().randrange(20_000, 30_000)
        self.numbers = itertools.count(1)


class Guest:
    """One virtual machine. It ends with the thread that started it, however that ends.

    Args:
        image: What it boots.
        name: Its host name.
        lan: The network of its second card; by default one that it is alone on.
        memory_mib: Of it.
        cpus: Of it.
    """

    def __init__(
        self, image: Image, name: str = "n1", lan: Lan | None = None, memory_mib: int = 1024, cpus: int = 2
    ) -> None:
        self.image = image
        self.name = name
        self.lan = lan or Lan()
        self.number = next(self.lan.numbers)
        self.address = f"10.77.0.{10 + self.number}"
        self.folder = Path(tempfile.mkdtemp(prefix=f"teg-vm-{name}-"))
        self._memory_mib = memory_mib
        self._cpus = cpus
        self._port = 0
        self._disk = self.folder / "disk.qcow2"
        self._process: subprocess.Popen[bytes] | None = None
        self._qmp: socket.socket | None = None
        self._replies: Any = None

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self, warm: Path | None = None) -> None:
        """Boot it, or restore it from a snapshot of a guest of the same shape; `wait` says when it answers."""
        if warm is None:
            base = self.image.file("disk.qcow2")
            _run_here("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, str(self._disk))
        else:
            _run_here("cp", "--reflink=auto", str(warm), str(self._disk))
        self._port = _free_port()
        self._write_ssh_config()
        words = [*self.shape(self.image, self._memory_mib, self._cpus), *(("-loadvm", SNAPSHOT) if warm else ())]
        words += ["-append", COMMAND_LINE]
        words += ["-drive", f"file={self._disk},format=qcow2,if=virtio,cache=unsafe"]
        words += ["-netdev", f"user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:{self._port}-:22"]
        words += ["-netdev", f"socket,id=n1,mcast=230.0.0.77:{self.lan.port},localaddr=127.0.0.1"]
        words += [
            "-serial",
            f"file:{self.folder / 'serial.log'}",
            "-qmp",
            f"unix:{self.folder / 'qmp'},server=on,wait=off",
        ]
        with (self.folder / "qemu.log").open("wb") as log:
            words = ["setpriv", "--pdeathsig", "KILL", *words]
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @staticmethod
    def shape(image: Image, memory_mib: int, cpus: int) -> list[str]:
        """The machine: a snapshot fits only the shape that it was taken of."""
        card = "virtio-net-pci,netdev={},romfile=,mac=52:54:00:00:0{}:01"
        return [
            *("qemu-system-x86_64", "-machine", "q35,i8042=off", "-accel", ACCEL, "-cpu", "Nehalem"),
            *("-m", str(memory_mib), "-smp", str(cpus), "-nodefaults", "-display", "none"),
            *("-kernel", image.file("vmlinuz"), "-initrd", image.file("initrd")),
            *("-device", "pc-testdev", "-acpitable", f"file={image.file('sensors.aml')}", "-device", "virtio-rng-pci"),
            *("-device", card.format("n0", 0), "-device", card.format("n1", 1)),
        ]

    def key(self, *contents: bytes) -> str:
        """Names a snapshot of a guest of this shape that holds these contents."""
        version = subprocess.run(["qemu-system-x86_64", "--version"], check=True, capture_output=True).stdout
        shape = "\0".join([*self.shape(self.image, self._memory_mib, self._cpus), COMMAND_LINE])
        return digest(version, shape.encode(), *contents)

    def wait(self, limit_s: float = BOOT_S_MAX) -> None:
        """Wait until it answers, and give it its name, address and the time.

        Raises:
            AssertionError: If it does not, within the limit; with the end of its console.
        """
        self._until(self._answers, limit_s, "answers over ssh")
        settle = [
            f"hostname {self.name}; echo {self.name} > /etc/hostname",
            f"echo '127.0.0.1 localhost {self.name}' > /etc/hosts",
            f"date -s @{time.time():.3f} > /dev/null",
            "ip link set eth1 down; ip address flush dev eth1; echo 1 > /proc/sys/net/ipv6/conf/eth1/disable_ipv6",
            f"ip link set eth1 address 52:54:00:00:01:{self.number:02x} up",
            f"ip address add {self.address}/24 dev eth1",
        ]
        self.run("\n".join(settle))

    def save(self, path: Path) -> None:
        """Keep it as a snapshot under a path, whole or not at all, and end it."""
        self.run("sync; rm -f /root/.bash_history")
        self._close_ssh()
        self.hmp("stop")
        if said := self.hmp(f"savevm {SNAPSHOT}").strip():
            raise AssertionError(f"{self.name} cannot be kept: {said}")
        self._end()
        path.parent.mkdir(exist_ok=True)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        shutil.move(self._disk, fresh)
        fresh.rename(path)
        self.close()

    def close(self) -> None:
        """End it, and remove what it left."""
        self._close_ssh()
        self._end()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- from within ------------------------------------------------------------------------------------------------

    def run(self, command: str, *, check: bool = True, limit_s: float = RUN_S_MAX, data: bytes = b"") -> str:
        """What a command of root's shell prints.

        Args:
            command: For its shell.
            check: Whether an exit code other than 0 is an error.
            limit_s: Longest that it may take.
            data: Its standard input.

        Raises:
            CommandFailed: If it fails; with all that it printed.
            subprocess.TimeoutExpired: If it takes too long.
        """
        done = subprocess.run(self._ssh(command), input=data, capture_output=True, timeout=limit_s, check=False)
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        if check and done.returncode:
            raise CommandFailed(f"{self.name}: {command}\nended with {done.returncode}\n{out}\n{err}")
        return out

    def code(self, command: str, *, limit_s: float = RUN_S_MAX) -> int:
        """The exit code of a command."""
        return subprocess.run(self._ssh(command), capture_output=True, timeout=limit_s, check=False).returncode

    def reach(self, sockets: dict[Path, str]) -> None:
        """Bring sockets of the guest here, under these paths; what is there already stays.

        Raises:
            CommandFailed: If ssh cannot.
        """
        for here, there in sockets.items():
            words = ["ssh", "-F", str(self.folder / "ssh_config"), "-O", "forward", "-L", f"{here}:{there}", "guest"]
            done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
            if done.returncode:
                self._answers()  # so that there is a connection next time
                raise CommandFailed(f"{self.name}: {there} is not brought here: {done.stderr}")

    def put(self, source: Path, destination: str) -> None:
        """Copy a file or folder into it, as rsync does."""
        shell = shlex.join(["ssh", "-F", str(self.folder / "ssh_config")])
        _run_here("rsync", "-a", "--mkpath", "-e", shell, str(source), f"guest:{destination}")

    def write(self, path: str, text: str) -> None:
        """Put a text file into it."""
        self.run(f"mkdir -p {shlex.quote(str(Path(path).parent))}; cat > {shlex.quote(path)}", data=text.encode())

    def until(self, condition: Callable[[], Any], limit_s: float, what: str, pause_s: float = 0.3) -> Any:
        """What a condition gives once it holds; a failing command makes it not hold.

        Raises:
            AssertionError: If it does not hold within the limit.
        """
        return self._until(condition, limit_s, what, pause_s)

    # --- from outside -----------------------------------------------------------------------------------------------

    def raise_temperature(self, celsius: float, watts: float = 90.0) -> None:
        """Set what its thermal zone and power meter read."""
        assert celsius < 120, "at 125 C the guest powers off"
        self.hmp(f"o /w 0xe0 {round(watts * 10) << 16 | round((celsius + 273.2) * 10):#x}")

    def set_link(self, up: bool, card: str = "n1") -> None:
        """Plug or unplug a network card."""
        self.qmp("set_link", name=card, up=up)

    def stop(self) -> None:
        """Halt its processors."""
        self.qmp("stop")

    def cont(self) -> None:
        """Let its processors go on."""
        self.qmp("cont")

    def reset(self) -> None:
        """Power it off and on at once, as a power cut does, and wait until it answers again."""
        self.await_reboot(lambda: self.qmp("system_reset"))

    def reboot(self) -> None:
        """Have it reboot in good order, and wait until it answers again."""
        self.await_reboot(lambda: self.code("systemctl reboot"))

    def await_reboot(self, act: Callable[[], Any]) -> None:
        """Do what makes it boot again, and wait until it has."""
        before = self.run("cat /proc/sys/kernel/random/boot_id")
        act()
        self._close_ssh()
        self._until(lambda: self._answers() and self.boot_id() != before, BOOT_S_MAX, "has booted again")
        self.wait()

    def boot_id(self) -> str:
        """Of the boot that it is in."""
        return self.run("cat /proc/sys/kernel/random/boot_id", limit_s=20)

    def qmp(self, command: str, **arguments: Any) -> Any:
        """Ask the machine itself."""
        if self._qmp is None:
            self._qmp = socket.socket(socket.AF_UNIX)
            self._qmp.settimeout(BOOT_S_MAX)
            self._until(lambda: self._qmp.connect(str(self.folder / "qmp")) is None, 30, "has a monitor", 0.05)
            self._replies = self._qmp.makefile("rb")
            self._replies.readline()
            self.qmp("qmp_capabilities")
        self._qmp.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while line := self._replies.readline():
            reply = json.loads(line)
            if "error" in reply:
                raise AssertionError(f"{self.name}: {command}: {reply['error']['desc']}")
            if "return" in reply:
                return reply["return"]
        raise AssertionError(f"{self.name}: QEMU went away at {command}\n{self.console()}")

    def hmp(self, line: str) -> str:
        """Ask the machine as a person would."""
        return str(self.qmp("human-monitor-command", **{"command-line": line}))

    def console(self, lines: int = 40) -> str:
        """The end of what it printed on its console, and of what QEMU said."""
        parts = []
        for name in ("serial.log", "qemu.log"):
            path = self.folder / name
            text = path.read_text(errors="replace") if path.exists() else ""
            parts.append(f"-- {name} of {self.name}\n" + "\n".join(text.splitlines()[-lines:]))
        return "\n".join(parts)

    def last_words(self, lines: int = 60) -> str:
        """The end of its journal, if it still answers."""
        try:
            return self.run(f"journalctl --no-pager --lines {lines}", limit_s=30)
        except (CommandFailed, subprocess.TimeoutExpired):
            return f"{self.name} does not answer"

    @property
    def pid(self) -> int:
        """Of QEMU."""
        assert self._process is not None, "it was not started"
        return self._process.pid

    # --- inner ------------------------------------------------------------------------------------------------------

    def _until(self, condition: Callable[[], Any], limit_s: float, what: str, pause_s: float = 0.3) -> Any:
        until_s = time.monotonic() + limit_s
        last = ""
        while time.monotonic() < until_s:
            assert self._process is not None, f"{self.name} was not started"
            assert self._process.poll() is None, f"QEMU ended\n{self.console()}"
            try:
                if found := condition():
                    return found
            except (CommandFailed, OSError, subprocess.TimeoutExpired, ValueError, LookupError) as error:
                last = str(error)
            time.sleep(pause_s)
        raise AssertionError(f"{self.name}: not within {limit_s:.0f} s: {what}\n{last}\n{self.console()}")

    def _answers(self) -> bool:
        return subprocess.run(self._ssh("true"), capture_output=True, timeout=60, check=False).returncode == 0

    def _ssh(self, command: str) -> list[str]:
        return ["ssh", "-F", str(self.folder / "ssh_config"), "guest", "--", command]

    def ssh_config(self, host: str, user: str) -> str:
        """How ssh reaches it, as a part of a configuration file.

        Args:
            host: What it is called there.
            user: Who signs in: `root` or `vagrant`.
        """
        words = {
            "HostName": "127.0.0.1",
            "Port": self._port,
            "User": user,
            "IdentityFile": self.image.file("key"),
            "IdentitiesOnly": "yes",
            "HostKeyAlias": "guest",
            "UserKnownHostsFile": self.image.file("known_hosts"),
            "StrictHostKeyChecking": "yes",
            "LogLevel": "ERROR",
            "BatchMode": "yes",
            "ConnectTimeout": 10,
        }
        return "\n".join([f"Host {host}", *(f"  {key} {value}" for key, value in words.items())]) + "\n"

    def _write_ssh_config(self) -> None:
        shared = {
            "StreamLocalBindUnlink": "yes",
            "ControlMaster": "auto",
            "ControlPath": self.folder / "ssh",
            "ControlPersist": "yes",
            "ServerAliveInterval": 30,
        }
        lines = [f"  {key} {value}\n" for key, value in shared.items()]
        (self.folder / "ssh_config").write_text(self.ssh_config("guest", "root") + "".join(lines))

    def _close_ssh(self) -> None:
        if (self.folder / "ssh").exists():
            words = ["ssh", "-F", str(self.folder / "ssh_config"), "-O", "exit", "guest"]
            subprocess.run(words, capture_output=True, timeout=10, check=False)

    def _end(self) -> None:
        if self._qmp is not None:
            self._replies.close()
            self._qmp.close()
            self._qmp = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def _run_here(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
