"""Raw readings of the host, 20 a second, by `pread` on descriptors that stay open.

Which sources there are is found out once, at the start, and said in one table; what is absent is absent, never made
up. A file that cannot be read or makes no sense counts as absent for that sample, and is counted.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tegcore.errors import DecodeError
from tegd.telemetry import parsers
from tegd.telemetry.model import NAN, RawSample

READ_BYTES_MAX = 64 << 10


class _Source:
    """One kept descriptor and what reads it; a list has a line for each device."""

    def __init__(self, path: Path, parse: Callable[[str], Any], *, is_list: bool = False) -> None:
        self._path = path
        self._is_list = is_list
        self._parse = parse
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.faults = 0
        self.problem = ""

    def read(self) -> Any:
        try:
            return self._parse(self._read().decode("ascii", "replace"))
        except (OSError, DecodeError) as error:
            self.faults += 1
            self.problem = f"{self._path}: {error}"
            return None

    def _read(self) -> bytes:
        """A list comes about a page at a time, in whole lines; beyond the bound it is cut after one."""
        data = os.pread(self._descriptor, READ_BYTES_MAX, 0)
        more = self._is_list and bool(data)
        while more and len(data) < READ_BYTES_MAX:
            part = os.pread(self._descriptor, READ_BYTES_MAX - len(data), len(data))
            more = bool(part)
            data += part
        return data[: data.rfind(b"\n") + 1] if more else data


class Sampler:
    """Reads the host.

    Args:
        root: Of the file system; another one in tests.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._absent: dict[str, str] = {}
        proc = root / "proc"
        disks = frozenset(path.name for path in self._glob("sys/block/*") if not path.name.startswith(("loop", "ram")))
        self._cpu = self._open("cpu", proc / "stat", parsers.cpu_times)
        self._memory = self._open("memory", proc / "meminfo", parsers.memory_bytes)
        self._speeds = self._link_speeds()
        self._net = None
        if self._speeds:
            self._net = self._open("network", proc / "net/dev", parsers.net_bytes, is_list=True)
        self._io = self._open("io", proc / "diskstats", lambda text: parsers.io_ms(text, disks), is_list=True)
        self._stalls = {
            kind: self._open(f"{kind} pressure", proc / "pressure" / kind, parsers.stall_us)
            for kind in ("cpu", "memory", "io")
        }
        zones = [*self._glob("sys/class/thermal/thermal_zone*/temp"), *self._hwmon("temp*_input")]
        self._temperatures = self._open_all("temperature", zones, parsers.milli)
        micro = self._hwmon("power*_average") or self._hwmon("power*_input")
        self._powers = self._open_all("power", micro, lambda text: parsers.milli(text) / 1000)
        rapl = self._glob("sys/class/powercap/intel-rapl:?/energy_uj")
        self._energies = [] if self._powers else self._open_all("energy", rapl, parsers.integer)
        if not self._powers and self._energies:
            self._absent.pop("power", None)
        self._absent["accelerator"] = "no GPU telemetry on this host"

    def read(self, now_ns: int) -> RawSample:
        """One sample, taken at a time on the boot-time clock."""
        temperatures = [value for source in self._temperatures if (value := source.read()) is not None]
        powers = [value for source in self._powers if (value := source.read()) is not None]
        energies = [source.read() for source in self._energies]
        return RawSample(
            now_ns,
            self._read(self._cpu),
            self._read(self._memory),
            self._read(self._net),
            self._read(self._io),
            self._read(self._stalls["cpu"]),
            self._read(self._stalls["memory"]),
            self._read(self._stalls["io"]),
            max(temperatures, default=NAN),
            sum(powers) if powers else NAN,
            sum(energies) if energies and None not in energies else None,
            self._speeds,
        )

    def sources(self) -> dict[str, str]:
        """Every source: `present`, or why it is absent or unreadable."""
        single = {"cpu": self._cpu, "memory": self._memory, "network": self._net, "io": self._io}
        stalls = {f"{kind} pressure": source for kind, source in self._stalls.items()}
        table = {name: _state(source) for name, source in (single | stalls).items() if source is not None}
        groups = {"temperature": self._temperatures, "power": self._powers or self._energies}
        table |= {name: f"present ({len(group)})" for name, group in groups.items() if group}
        return table | {name: f"absent: {why}" for name, why in self._absent.items()}

    def _link_speeds(self) -> dict[str, float]:
        """Bytes per second of each link that says its speed: a virtual one answers -1, or an error."""
        speeds = {}
        for path in self._glob("sys/class/net/*/speed"):
            with suppress(OSError, DecodeError):
                if (mbit_per_s := parsers.integer(path.read_text())) > 0:
                    speeds[path.parent.name] = mbit_per_s * 125_000.0
        if not speeds:
            self._absent["network"] = "no link says its speed (sys/class/net/*/speed)"
        return speeds

    @staticmethod
    def _read(source: _Source | None) -> Any:
        return source.read() if source is not None else None

    def _glob(self, pattern: str) -> list[Path]:
        return sorted(self._root.glob(pattern))

    def _hwmon(self, name: str) -> list[Path]:
        """Attributes of hardware monitors; some keep them under `device/`."""
        return [*self._glob(f"sys/class/hwmon/hwmon*/{name}"), *self._glob(f"sys/class/hwmon/hwmon*/device/{name}")]

    def _open(self, name: str, path: Path, parse: Callable[[str], Any], *, is_list: bool = False) -> _Source | None:
        try:
            source = _Source(path, parse, is_list=is_list)
        except OSError as error:
            self._absent[name] = f"{path.relative_to(self._root)}: {error.strerror}"
            return None
        if source.read() is None:
            self._absent[name] = source.problem
            return None
        return source

    def _open_all(self, name: str, paths: list[Path], parse: Callable[[str], Any]) -> list[_Source]:
        found = [source for path in paths if (source := self._open(name, path, parse)) is not None]
        if found:
            self._absent.pop(name, None)
        elif not paths:
            self._absent[name] = "no such sensor"
        return found


def _state(source: _Source) -> str:
    return f"present, {source.faults} faults: {source.problem}" if source.faults else "present"
