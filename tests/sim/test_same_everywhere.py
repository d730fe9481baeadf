"""A seed is one history: whoever runs it, on whatever machine, and whatever is set around him."""

import gc
import getpass
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from msgspec.structs import replace

from tegsim.__main__ import SCENARIOS, find
from tegsim.cluster.world import Cluster
from tegsim.scenario import read

ROOT = Path(__file__).parents[2]
ANOTHER = 1001
SCENARIO, SEED = "terms", 7
"""Work starts, renews and is displaced in it, while hooks, clocks and connections fail."""

RUN = """
import json, os, sys
from pathlib import Path
from tegsim.__main__ import find, run_seed
from tegsim.scenario import read
name, seed, uid, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
scenario = read(find(name).read_text(), name)
if uid != os.geteuid():
    os.setgroups([]), os.setgid(uid), os.setuid(uid)
result = run_seed(scenario, seed, folder)
print(json.dumps({"uid": os.geteuid(), "rule": result.rule, "counts": result.counts, "hash": result.state_hash}))
"""
"""Takes another user's place when all is imported: he may not be able to read this folder or its Python."""


def ran(folder: Path, uid: int, *before: str, **environment: str) -> dict[str, Any]:
    """What came of the seed, in a process of its own."""
    place = folder / f"{uid}-{len(list(folder.iterdir()))}"
    place.mkdir()
    if os.geteuid() == 0:
        os.chown(place, uid, uid)
    place.chmod(0o700)
    command = [*before, sys.executable, "-c", RUN, SCENARIO, str(SEED), str(uid), str(place)]
    base = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=base | environment, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert told.pop("uid") == uid
    return told


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder within which another user can reach one of his own: pytest closes its own ones whenever it begins."""
    with tempfile.TemporaryDirectory(prefix="teg-open-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def test_root_and_an_ordinary_user_see_the_same(open_folder: Path) -> None:
    """An ordinary user who runs it is root in a namespace of his own; root takes an ordinary user's place."""
    own = os.geteuid()
    if own == 0:
        other = ran(open_folder, ANOTHER)
    else:
        alone = ("unshare", "--user", "--map-root-user")
        if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
            pytest.skip("needs root, or user namespaces for ordinary users")
        other = ran(open_folder, 0, *alone)
    mine = ran(open_folder, own)
    assert mine["counts"]["told_renewed"] > 10, "nothing exercised"
    assert mine == other


def test_the_environment_and_the_folder_are_not_seen(open_folder: Path) -> None:
    elsewhere = {
        "HOME": "/nonexistent",
        "HOSTNAME": "another",
        "LANG": "tr_TR.UTF-8",
        "LC_ALL": "C",
        "LOGNAME": "another",
        "PYTHONHASHSEED": "4",
        "TEG_FAILPOINT": "commit:3",
        "TEG_ZONE": "another",
        "TZ": "Pacific/Chatham",
        "USER": "another",
    }
    uid = os.geteuid()
    here, there = ran(open_folder, uid, PYTHONHASHSEED="1"), ran(open_folder, uid, **elsewhere)
    assert here == there


ASKS_WHO_AND_WHERE = {
    "_locale": {"getlocale", "localeconv", "setlocale"},
    "_random": {"random", "getrandbits", "seed"},
    "_socket": {"gethostname", "gethostbyname", "getaddrinfo"},
    "grp": {"getgrall", "getgrgid", "getgrnam"},
    "posix": {
        *("cpu_count", "getcwd", "getegid", "geteuid", "getgid", "getgroups", "getloadavg", "getlogin", "getpgid"),
        *("getpgrp", "getpid", "getppid", "getpriority", "getrandom", "getresgid", "getresuid", "getsid", "getuid"),
        *("listdir", "scandir", "statvfs", "sysconf", "times", "uname", "urandom"),
    },
    "pwd": {"getpwall", "getpwnam", "getpwuid"},
    "time": {
        *("clock_gettime", "clock_gettime_ns", "ctime", "gmtime", "localtime", "monotonic", "monotonic_ns"),
        *("perf_counter", "perf_counter_ns", "process_time", "process_time_ns", "sleep", "strftime", "thread_time"),
        *("thread_time_ns", "time", "time_ns"),
    },
}
"""What answers differently elsewhere, by the module that it is built into: all ways to ask lead through these."""

IN_ORDER = {
    "scandir": {
        "zone_ledger/journal/snapshots.py": "sorted by their numbers",
        "tegsim/cluster/disk.py": "a folder is copied, or taken away; or written by name",
        "tegsim/cluster/airlock.py": "a folder is taken away before the run",
    },
}
"""Who may list folders, and why the order in which a file system tells does not matter."""


class Asked:
    """Notes who asks what differs elsewhere, as a profiler sees it."""

    def __init__(self) -> None:
        self.found: set[tuple[str, str]] = set()

    def __call__(self, frame: FrameType, event: str, what: Any) -> None:
        if event == "c_call":
            if what.__name__ in ASKS_WHO_AND_WHERE.get(what.__module__ or "", ()):
                self._note(frame, what.__name__)
        elif event == "call" and frame.f_code.co_qualname.startswith("_Environ."):
            self._note(frame, "environ")

    def _note(self, frame: FrameType | None, name: str) -> None:
        """By the module of ours that it was asked for."""
        while frame is not None and not Path(frame.f_code.co_filename).is_relative_to(ROOT):
            frame = frame.f_back
        where = Path(frame.f_code.co_filename).relative_to(ROOT).as_posix() if frame is not None else "?"
        if where not in IN_ORDER.get(name, ()):
            self.found.add((where, name))


def asked_by(act: Callable[[], object]) -> set[tuple[str, str]]:
    asked, before = Asked(), sys.getprofile()
    gc.collect()
    gc.disable()  # what other tests have left does not ask in the name of this one
    sys.setprofile(asked)
    try:
        act()
    finally:
        sys.setprofile(before)
        gc.enable()
    return asked.found


@pytest.mark.parametrize("name", sorted(path.stem for path in SCENARIOS.glob("*.toml") if path.stem != "superpod"))
def test_nothing_that_is_simulated_asks_who_runs_it_or_where(name: str, tmp_path: Path) -> None:
    scenario = read(find(name).read_text(), name)
    small = replace(scenario, hosts=tuple(min(6.0, count) for count in scenario.hosts), storm_s=(10.0, 12.0))
    cluster = Cluster(small, SEED, tmp_path / "cluster")
    assert asked_by(cluster.run) == set()


@pytest.mark.parametrize(
    "act", [os.geteuid, time.time, socket.gethostname, os.uname, getpass.getuser, lambda: os.environ.get("HOME")]
)
def test_the_profiler_would_see_it(act: Callable[[], object]) -> None:
    assert asked_by(act)
