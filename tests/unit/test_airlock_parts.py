"""Holding a workload in parts: what its parts are, what is learned of them, how they are held, and its bound."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tegd.airlock import pressure, thinning
from tegd.airlock.adapters import procfs
from tegd.airlock.adapters.cgroupfs import HELD, Cgroups
from tegd.airlock.adapters.containment import Leader, stop
from tegd.airlock.adapters.parts import PartReader
from tegd.airlock.adapters.reclaim import Reclaimer
from tegd.airlock.pressure import Act, Request
from tegd.airlock.readings import MIB, UNBOUND, Life, Member, Reading, Settings
from tegd.airlock.signs import Airlock
from tegd.airlock.thinning import Known, Part
from tegd.bidding import rank

FAMILY = """
import os, sys, time
kids = []
for _ in range(3):
    if (kid := os.fork()) == 0:
        held = bytearray(8 << 20)
        print(flush=True)
        time.sleep(60)
    kids.append(kid)
time.sleep(60)
"""


@pytest.fixture
def family() -> Iterator[list[procfs.Process]]:
    """A parent and three children that hold 8 MiB each."""
    with subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, start_new_session=True) as parent:
        assert parent.stdout
        for _ in range(3):
            parent.stdout.readline()
        yield sorted(
            (one for one in procfs.processes() if parent.pid in (one.pid, one.parent)),
            key=lambda one: (one.start_ticks, one.pid),
        )
        os.killpg(parent.pid, 9)


def test_parts_are_the_leaves_with_what_each_holds_beyond_its_parent(
    family: list[procfs.Process], tmp_path: Path
) -> None:
    parent, *kids = family
    (tmp_path / "cgroup.procs").write_text("".join(f"{one.pid}\n" for one in family[:3]))
    (tmp_path / HELD).mkdir()
    (tmp_path / HELD / "cgroup.procs").write_text(f"{kids[2].pid}\n")
    held = frozenset({(kids[2].pid, kids[2].start_ticks)})
    parts = PartReader().parts("w", tmp_path, parent.pid, 40 * MIB, held, 1)
    assert sorted(part.pid for part in parts) == sorted(kid.pid for kid in kids)
    assert {part.pid for part in parts if part.held} == {kids[2].pid}
    assert all(7 * MIB < part.bytes < 14 * MIB for part in parts)


def test_those_that_are_held_stop_and_only_they(family: list[procfs.Process]) -> None:
    _, *kids = family
    stop(family, {(kids[0].pid, kids[0].start_ticks), (kids[1].pid, kids[1].start_ticks + 1)})
    assert _stopped(family, 1) == {kids[0].pid}
    stop([found for one in family if (found := procfs.process(one.pid))], set())
    assert _stopped(family, 0) == set()


def _stopped(family: list[procfs.Process], count: int) -> set[int]:
    """Those that are stopped, once there are so many: a signal is taken in the process's own time."""
    for _ in range(10_000):
        stopped = {one.pid for one in family if (found := procfs.process(one.pid)) and found.state == "T"}
        if len(stopped) == count:
            break
    return stopped


def test_parts_move_into_a_frozen_group_and_back(family: list[procfs.Process], tmp_path: Path) -> None:
    """A plain folder stands for the group: what is written is what the kernel would be told."""
    parent, *kids = family
    group = tmp_path / "teg-w"
    group.mkdir()
    (group / "cgroup.procs").write_text("".join(f"{one.pid}\n" for one in family))
    (group / HELD).mkdir()
    for name in ("cgroup.freeze", "cgroup.procs"):
        (group / HELD / name).touch()
    cgroups, leader = Cgroups(tmp_path), Leader("w", parent.pid, parent.start_ticks)
    cgroups.thin(leader, [(kids[0].pid, kids[0].start_ticks), (kids[1].pid, 0)])
    assert (group / HELD / "cgroup.freeze").read_text() == "1"
    assert (group / HELD / "cgroup.procs").read_text() == str(kids[0].pid)
    cgroups.thin(leader, [])
    assert (group / "cgroup.procs").read_text().startswith(str(kids[0].pid))
    assert (group / HELD / "cgroup.freeze").read_text() == "0"


def test_what_ended_or_stands_still_tells_how_large_parts_become() -> None:
    parts = [Part(1, 1, 10), Part(2, 2, 4)]
    known = thinning.learned(thinning.NOTHING, parts, 0)
    assert known.peak_bytes == 0
    assert thinning.left_bytes(parts[0], known, grows=True) == 10
    assert thinning.learned(known, parts[1:], 1).peak_bytes == 10
    steady = thinning.learned(known, parts, thinning.STEADY_NS)
    assert steady.peak_bytes == 10
    assert thinning.left_bytes(parts[1], steady, grows=True) == 6
    assert thinning.left_bytes(Part(3, 3, 30), steady, grows=True) == 30
    assert thinning.left_bytes(Part(3, 3, 30), steady, grows=False) == 0


def test_as_many_run_as_are_expected_to_fit() -> None:
    parts = [Part(number, number, 4) for number in range(5)]
    assert thinning.fitting(parts, Known({}, 10), 18, grows=True) == 3
    assert thinning.fitting(parts, Known({}, 10), 5, grows=True) == 0
    assert thinning.fitting(parts, Known({}, 4), 0, grows=True) == 5


def reading(at_ns: int, available: int, life: Life = Life.RUNNING, bound: int = 50 * MIB) -> Reading:
    member = Member("w", 1, life, 60 * MIB, 0, bound_bytes=bound)
    return Reading(at_ns, 400 * MIB, available * MIB, 0, 0, 0, 0, 0, (member,))


def limits(readings: list[Reading]) -> list[list[Request]]:
    airlock, asked = Airlock(), []
    for now in readings:
        airlock, requests = pressure.step(airlock, now, Settings(20 * MIB), 1)
        asked.append([request for request in requests if request.act is Act.LIMIT])
    return asked


def test_a_bound_binds_while_memory_is_short_and_never_while_frozen() -> None:
    none, bound = Request(Act.LIMIT, "w", 0), Request(Act.LIMIT, "w", 50 * MIB)
    scarce, middling, plenty = 100, 140, 300
    readings = [
        reading(1, plenty),
        reading(2, scarce),
        reading(3, middling),
        reading(4, scarce, Life.SEALED),
        reading(5, scarce),
        reading(6, plenty),
    ]
    assert limits(readings) == [[none], [bound], [], [none], [bound], [none]]


def test_what_is_not_ours_is_not_bound() -> None:
    assert limits([reading(1, 100, bound=UNBOUND)]) == [[]]


def test_a_bound_is_taken_away_at_once(tmp_path: Path) -> None:
    file = tmp_path / "memory.high"
    os.mkfifo(file)
    ear = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    reclaimer = Reclaimer()
    reclaimer.limit(tmp_path, 0)
    assert os.read(ear, 64) == b"max"
    os.close(ear)


def test_rank_is_mass_for_the_rich_and_nothing_for_the_broke() -> None:
    assert rank(0, 10, 2_000_000) == 0
    assert rank(10, 10, 2_000_000) == 1
    assert rank(10**9, 10, 2_000_000) == pytest.approx(2)
    assert rank(5, 0, 3_000_000) == 3
