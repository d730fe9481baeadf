"""What does a host pay for TEG while nothing runs? CPU share and memory of each process of an idle stack at 20 Hz.

make bench-idle        # prints a table, writes build/bench/idle.json
"""

import tempfile
import time
from pathlib import Path

import psutil

from bench.report import write
from tegctl.stack import Stack, StackSettings

SETTLE_S, MEASURE_S = 5.0, 30.0
MIB = 1 << 20


def main() -> None:
    """Measure, print, write."""
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder) / "stack", StackSettings())
        stack.start()
        try:
            time.sleep(SETTLE_S)
            parts = {name: psutil.Process(pid) for name, pid in stack.pids().items()}
            before = {name: sum(process.cpu_times()[:2]) for name, process in parts.items()}
            started_s = time.monotonic()
            time.sleep(MEASURE_S)
            elapsed_s = time.monotonic() - started_s
            rows = {
                name: {
                    "cpu_pct_of_core": round(100 * (sum(process.cpu_times()[:2]) - before[name]) / elapsed_s, 2),
                    "rss_mib": round(process.memory_info().rss / MIB, 1),
                }
                for name, process in parts.items()
            }
        finally:
            stack.stop()
    for name, row in rows.items():
        print(f"{name:>10}  {row['cpu_pct_of_core']:6.2f} % of a core  {row['rss_mib']:7.1f} MiB")
    write("idle", {"seconds": MEASURE_S, "parts": rows})


if __name__ == "__main__":
    main()
