"""Work with a checkpoint hook that may break its contract: `airlock_worker.py FOLDER MIB BEHAVIOUR [--resume]`.

It counts units, one a line of FOLDER/units, and saves the count, unless the disk refuses. Behaviours: `good`; `deaf`,
`none`: no answer, no handler; `liar`: a mark and no checkpoint; `short`: a mark that gives a size, and a shorter
checkpoint; `early`: the mark first, the checkpoint by and by; `bomb`: it forks without end.
"""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

FOLDER, MIB, BEHAVIOUR = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
CHECKPOINT = Path(os.environ.get("TEG_CHECKPOINT", FOLDER / "checkpoint"))
MARK = Path(os.environ.get("TEG_MARK", FOLDER / "mark"))
ballast = bytearray(os.urandom(1 << 20) * MIB)
done = 0


def save(*_: object) -> None:
    text = f"{done}\n".encode() + bytes(ballast[: 1 << 16])
    if BEHAVIOUR in ("deaf", "liar"):
        if BEHAVIOUR == "liar":
            MARK.touch()
        return
    if BEHAVIOUR == "early":
        MARK.touch()
        with CHECKPOINT.open("wb") as file:
            for start in range(0, len(text), 1024):
                file.write(text[start : start + 1024])
                file.flush()
                time.sleep(0.02)
        return
    fresh = CHECKPOINT.with_suffix(".fresh")
    try:
        with fresh.open("wb") as file:
            file.write(text[:-1000] if BEHAVIOUR == "short" else text)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return
    fresh.rename(CHECKPOINT)
    said = MARK.with_suffix(".new")
    said.write_text(str(len(text)))
    said.rename(MARK)


if "--resume" in sys.argv:
    done = int(CHECKPOINT.read_bytes().split(b"\n")[0])
if BEHAVIOUR != "none":
    signal.signal(signal.SIGUSR1, save)
if BEHAVIOUR == "bomb":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
with (FOLDER / "units").open("a") as units:
    while True:
        units.write(f"{done}\n")
        units.flush()
        done += 1
        time.sleep(0.02)
        if BEHAVIOUR == "bomb":
            with suppress(OSError):
                os.fork()
