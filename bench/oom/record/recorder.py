"""Runs in the guest under any policy: what memory and each workload do, 4 times a second, until it is ended.

Each sample is a line: [s, available, stored in zRAM, used by zRAM, free swap, kills, [[current, swap, state]...],
stall], in MiB, workloads in the order of the run; states: `-` not there, `r` runs, `p` held in parts, `f` frozen, `e`
ended; the stall is the longest of the heartbeat so far, in s.
"""

import json
import struct
import sys
import time
from pathlib import Path

EVERY_S = 0.25
MIB = 1 << 20
SLICE = Path("/sys/fs/cgroup/work.slice")
HELD = "teg-held"
HEARTBEAT = Path("/run/oombar.hb")


def fields(path: str) -> dict[str, int]:
    """Of /proc/meminfo and its like, by name."""
    lines = (line.replace(":", "").split() for line in Path(path).read_text().splitlines())
    return {words[0]: int(words[1]) for words in lines}


def number(file: Path) -> int:
    """A file with one number; 0 where there is none."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return 0


def workload(group: Path, begun: bool) -> tuple[int, int, str]:
    """What a group holds, in MiB, and its state."""
    try:
        events = (group / "cgroup.events").read_text()
    except OSError:
        return 0, 0, "e" if begun else "-"
    state = "r" if "populated 1" in events else "e" if begun else "-"
    if state == "r" and "frozen 1" in events:
        state = "f"
    elif state == "r" and _some(group / HELD / "cgroup.procs"):
        state = "p"
    return number(group / "memory.current") // MIB, number(group / "memory.swap.current") // MIB, state


def stall() -> float:
    """The longest gap between two beats of the kit's heartbeat; 0 before its first."""
    try:
        return round(float(struct.unpack_from("<dd", HEARTBEAT.read_bytes())[1]), 2)
    except (OSError, struct.error):
        return 0.0


def _some(procs: Path) -> bool:
    try:
        return bool(procs.read_text().strip())
    except OSError:
        return False


def main() -> None:
    """Record the run that argv[1] describes into argv[2]."""
    groups = [SLICE / f"w-{work['name']}.service" for work in json.loads(Path(sys.argv[1]).read_text())["workloads"]]
    zram, begun, begun_s = Path("/sys/block/zram0/mm_stat"), set(), 0.0
    kills = fields("/proc/vmstat")["oom_kill"]
    with open(sys.argv[2], "w", buffering=1) as file:
        while True:
            now = time.monotonic()
            works = [workload(group, group in begun) for group in groups]
            begun |= {group for group, work in zip(groups, works, strict=True) if work[2] in "rpf"}
            if begun:
                begun_s = begun_s or now
                info = fields("/proc/meminfo")
                stored, _, used = zram.read_text().split()[:3] if zram.exists() else (0, 0, 0)
                killed = fields("/proc/vmstat")["oom_kill"] - kills
                host = [info["MemAvailable"] >> 10, int(stored) // MIB, int(used) // MIB, info["SwapFree"] >> 10]
                file.write(json.dumps([round(now - begun_s, 2), *host, killed, works, stall()]) + "\n")
            time.sleep(max(0.0, EVERY_S - (time.monotonic() - now)))


main()
