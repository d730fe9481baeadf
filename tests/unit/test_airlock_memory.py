"""What the kernel's files about memory say, and which files are a mark."""

import threading
from pathlib import Path

import pytest

from tegd.airlock.adapters import launch
from tegd.airlock.adapters.marks import Marks
from tegd.airlock.adapters.memory import GroupMemory, GroupReader, HostMemory, MemoryReader
from tegd.airlock.adapters.units import Slice
from tegd.airlock.comeback import word_of_command
from tegd.airlock.guard import life
from tegd.airlock.model import Cause, Held, Hook, Spec, Status, Then
from tegd.airlock.readings import Life
from tegd.airlock.transitions import State

MEMINFO = "MemTotal:         480000 kB\nMemFree:           10000 kB\nMemAvailable:     100000 kB\n"
SWAPS = "Filename Type Size Used Priority\n/dev/zram0 partition 240000 40000 100\n/swap file 1000 400 -2\n"


@pytest.fixture
def host(tmp_path: Path) -> MemoryReader:
    (tmp_path / "block/zram0").mkdir(parents=True)
    (tmp_path / "meminfo").write_text(MEMINFO)
    (tmp_path / "swaps").write_text(SWAPS)
    (tmp_path / "block/zram0/mm_stat").write_text("40960000 10000000 12000000 0 12000000 0 0 0 0\n")
    return MemoryReader(tmp_path, tmp_path / "block")


def test_a_host_is_read_in_bytes(host: MemoryReader) -> None:
    kib = 1024
    zram = (200_000 * kib, 40_960_000, 12_000_000)
    assert host.host() == HostMemory(480_000 * kib, 100_000 * kib, *zram, 600 * kib, 400 * kib)


def test_a_group_is_its_own_pages_without_files(tmp_path: Path) -> None:
    (tmp_path / "memory.stat").write_text("anon 4096\nfile 999\nkernel 5\nshmem 100\n")
    (tmp_path / "memory.swap.current").write_text("8192\n")
    (tmp_path / "memory.events").write_text("low 0\nhigh 3\nmax 0\n")
    reader = GroupReader()
    assert reader.group(tmp_path) == GroupMemory(4196, 8192, 3)
    reader.forget(tmp_path)


def test_a_group_that_is_gone_holds_nothing(tmp_path: Path) -> None:
    assert GroupReader().group(tmp_path / "gone") == GroupMemory(0, 0, 0)


def test_a_checkpoint_is_its_own_mark_once_another_file_took_its_place(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    spec = Spec("w", 1, 2, ("true",), {}, "/", 0, 0, Hook(10, str(path), str(path)), 1, 1, resume=False)
    assert not launch.has_mark(spec, None)
    path.write_text("old")
    before = launch.identity(str(path))
    assert not launch.has_mark(spec, before)
    launch.clear_mark(spec)
    assert path.exists()
    (tmp_path / "new").write_text("new")
    (tmp_path / "new").rename(path)
    assert launch.has_mark(spec, before)


def test_a_mark_is_heard_the_moment_it_is_made_and_not_after_it_was_forgotten(tmp_path: Path) -> None:
    marks, heard = Marks(), threading.Semaphore(0)
    assert not marks.watch("w", str(tmp_path / "nowhere" / "mark"), heard.release), "nobody would hear of it"
    assert marks.watch("w", str(tmp_path / "mark"), heard.release)
    (tmp_path / "other").write_text("")
    (tmp_path / "mark").mkdir()
    assert heard.acquire(timeout=10)
    marks.forget("w")
    (tmp_path / "mark").rmdir()
    (tmp_path / "mark").mkdir()
    marks.watch("v", str(tmp_path / "last"), heard.release)
    (tmp_path / "last").mkdir()
    assert heard.acquire(timeout=10)
    assert not heard.acquire(blocking=False)


def test_words_of_a_command_are_quoted_for_systemd() -> None:
    assert word_of_command('a "b" $HOME %n \\') == '"a \\"b\\" $$HOME %%n \\\\"'


def test_a_slice_lists_its_leaf_units(tmp_path: Path) -> None:
    for name in ("teg.slice/a.service", "teg.slice/b.scope", "teg.slice/teg-x.slice"):
        (tmp_path / name).mkdir(parents=True)
    found = Slice("teg.slice", tmp_path)
    assert sorted(found.names()) == ["a.service", "b.scope"]
    assert found.unit("a.service") is None
    assert Slice("none.slice", tmp_path).names() == []


@pytest.mark.parametrize(
    ("status", "seen"),
    [
        (Status(State.RUNNING, 0, 0), Life.RUNNING),
        (Status(State.FROZEN, 0, 0, held=Held.MEMORY), Life.SEALED),
        (Status(State.FROZEN, 0, 0, held=Held.SAVE), Life.HELD),
        (Status(State.FROZEN, 0, 0, held=Held.REQUEST), Life.OTHER),
        (Status(State.SAVING, 0, 0, then=Then.PARK), Life.SAVING),
        (Status(State.FLUSHING, 0, 0, then=Then.END), Life.OTHER),
        (Status(State.KILLING, 0, 0, cause=Cause.MEMORY), Life.SAVING),
        (Status(State.KILLING, 0, 0, cause=Cause.ASKED), Life.OTHER),
        (Status(State.PARKED, 0, 0), Life.PARKED),
    ],
)
def test_memory_sees_a_workload_by_its_state(status: Status, seen: Life) -> None:
    assert life(status) is seen
