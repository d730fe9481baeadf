"""Work that says how it came to run, and saves itself: `comeback_program.py MODE [WORD]... [--resume]`.

Each start is a line of JSON in `$LEDGER`: the unit of work it begins at, its words, folder, environment, mask, limits,
output, niceness. Modes: `plain`; `exits`: it ends after its mark; `lingers`: it ends half a second later; `fails`: it
cannot resume; `title`: it writes another command over its own, as setproctitle does.
"""

import ctypes
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

MODE = sys.argv[1]
CHECKPOINT = Path(os.environ["TEG_CHECKPOINT"])
SHOWN = ("FOO", "BAR", "HOME", "PATH", "TEG_RESUMING", "TEG_RESUME_ARGS")


def say(done: int) -> None:
    mask = os.umask(0)
    os.umask(mask)
    about = {
        "who": os.environ["WHO"],
        "pid": os.getpid(),
        "done": done,
        "argv": sys.argv,
        "cwd": str(Path.cwd()),
        "env": {name: os.environ.get(name) for name in SHOWN},
        "umask": mask,
        "nice": os.nice(0),
        "nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        "cpus": sorted(os.sched_getaffinity(0)),
        "uid": os.getuid(),
        "out": str(Path("/proc/self/fd/1").readlink()).split(":")[0],
    }
    with open(os.environ["LEDGER"], "a") as file:
        file.write(json.dumps(about) + "\n")
    print(f"started at {done}", flush=True)


def save(*_: object) -> None:
    fresh = CHECKPOINT.with_name(CHECKPOINT.name + ".new")
    fresh.write_text(str(done))
    fresh.rename(CHECKPOINT)
    if mark := os.environ.get("TEG_MARK"):
        Path(mark).touch()
    print(f"saved at {done}", flush=True)
    if MODE == "exits":
        os._exit(0)
    if MODE == "lingers":
        time.sleep(0.5)
        os._exit(0)


def retitle(title: bytes) -> None:
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end, env_end = int(fields[45]), int(fields[46]), int(fields[48])
    ctypes.memset(start, 0, env_end - start)
    ctypes.memmove(start, title, min(len(title), end - start - 1))


resumes = "--resume" in sys.argv
if resumes and MODE == "fails":
    sys.exit(2)
done = int(CHECKPOINT.read_text()) if resumes else 0
say(done)
if MODE == "title":
    time.sleep(3)  # what says its rank stands in the memory that it writes over: it is seen before
    retitle(b"prog: at work")
signal.signal(signal.SIGUSR1, save)
while True:
    done += 1
    time.sleep(0.02)
