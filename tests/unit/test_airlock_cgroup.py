"""Containment by cgroup v2 on a tree of control files, and /proc/PID/stat as kernels write it.

A plain folder stands for the group: what is written is what the kernel would be told. That the kernel then freezes and
kills is its own promise, tried where a host has the hierarchy.
"""

import os
from pathlib import Path

import pytest

from tegd.airlock.adapters import procfs
from tegd.airlock.adapters.capabilities import containment
from tegd.airlock.adapters.cgroupfs import Cgroups, own_group, usable
from tegd.airlock.adapters.containment import Leader, Sessions

LEADER = Leader("w1", 40, 1000)


@pytest.fixture
def group(tmp_path: Path) -> Path:
    made = tmp_path / "teg.slice"
    child = made / "teg-w1"
    child.mkdir(parents=True)
    for name, text in {"cgroup.freeze": "0\n", "cgroup.kill": "", "cgroup.procs": "40\n41\n"}.items():
        (child / name).write_text(text)
    (child / "cgroup.events").write_text("populated 1\nfrozen 1\n")
    return made


def test_freeze_thaw_and_kill_are_one_write_each(group: Path) -> None:
    cgroups = Cgroups(group)
    file = group / "teg-w1" / "cgroup.freeze"
    cgroups.freeze(LEADER)
    assert file.read_text()[0] == "1"
    cgroups.thaw(LEADER)
    assert file.read_text()[0] == "0"
    cgroups.kill(LEADER)
    assert (group / "teg-w1" / "cgroup.kill").read_text() == "1"


def test_members_are_those_that_are_listed_and_live(group: Path) -> None:
    table = [
        procfs.Process(40, "S", 1, 40, 1000, 0, 0),
        procfs.Process(41, "Z", 40, 40, 1001, 0, 0),
        procfs.Process(42, "R", 40, 40, 1002, 0, 0),
    ]
    assert [found.pid for found in Cgroups(group).members(LEADER, table)] == [40]


def test_a_group_that_is_gone_is_no_fault(tmp_path: Path) -> None:
    cgroups = Cgroups(tmp_path)
    cgroups.thaw(LEADER)
    cgroups.kill(LEADER)
    cgroups.clear(LEADER)
    assert cgroups.members(LEADER, []) == []


def test_preparing_makes_the_group_and_says_how_to_enter_it(tmp_path: Path) -> None:
    entry = Path(Cgroups(tmp_path).entry("w2"))
    assert entry == tmp_path / "teg-w2" / "cgroup.procs"
    assert entry.parent.is_dir()
    Cgroups(tmp_path).clear(Leader("w2", 1, 1))
    assert not entry.parent.exists()


def test_our_own_group_is_found_where_there_is_a_unified_hierarchy(tmp_path: Path) -> None:
    text = "0::/teg.slice/tegd.service\n"
    assert own_group(tmp_path, text) is None
    (tmp_path / "cgroup.controllers").touch()
    assert own_group(tmp_path, text) == tmp_path / "teg.slice/tegd.service"
    assert own_group(tmp_path, "4:memory:/x\n") is None


def test_a_group_without_the_files_is_not_used_and_left_as_it_was(tmp_path: Path) -> None:
    assert "cgroup.freeze" in usable(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert "no group can be made" in usable(tmp_path / "missing")


def test_without_it_sessions_are_used_and_the_table_says_so(tmp_path: Path) -> None:
    holder, row = containment(tmp_path)
    assert isinstance(holder, Sessions)
    assert str(row).startswith("absent: ")
    assert "sessions" in row.detail


@pytest.mark.parametrize("name", ["sh", "a b", "a) R 1 (b", "(", ") "])
def test_a_process_may_be_called_anything(name: str) -> None:
    fields = "S 1 40 40 0 -1 4194560 100 200 0 0 3 4 5 6 20 0 1 0 12345 1000000 77 18446744073709551615"
    found = procfs.parse_stat(f"40 ({name}) {fields} 0 0\n".encode())
    assert (found.pid, found.state, found.parent, found.session, found.start_ticks) == (40, "S", 1, 40, 12345)
    assert found.rss_bytes == 77 * os.sysconf("SC_PAGE_SIZE")
    assert found.cpu_ns == 18 * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
