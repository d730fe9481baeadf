"""Work with a checkpoint hook: counts units, one a line in its journal, and saves the count when asked.

`worker.py FOLDER UNITS [behaviour] [--resume]`; a behaviour other than `good` breaks the contract in one way.
"""

import os
import signal
import sys
import time
from pathlib import Path

FOLDER = Path(sys.argv[1])
UNITS = int(sys.argv[2])
BEHAVIOUR = sys.argv[3]
done = 0


def save(*_: object) -> None:
    if BEHAVIOUR == "deaf":
        return
    checkpoint, mark = Path(os.environ["TEG_CHECKPOINT"]), Path(os.environ["TEG_MARK"])
    if BEHAVIOUR != "liar":
        fresh = checkpoint.with_suffix(".new")
        with fresh.open("w") as file:
            file.write(str(done))
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(checkpoint)
    mark.touch()
    if BEHAVIOUR == "leaver":
        sys.exit(0)


if "--resume" in sys.argv:
    done = int(Path(os.environ["TEG_CHECKPOINT"]).read_text())
signal.signal(signal.SIGUSR1, save)
with (FOLDER / "units").open("a") as units, (FOLDER / "pids").open("a") as pids:
    pids.write(f"{os.getpid()}\n")
    pids.flush()
    while done < UNITS:
        units.write(f"{done}\n")
        units.flush()
        done += 1
        time.sleep(0.005)
sys.exit(9)
