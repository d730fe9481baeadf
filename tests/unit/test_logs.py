"""Logs that are cut under their readers: every line arrives, or is told to be gone, whatever was cut when."""

import asyncio
import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tegcore.errors import DecodeError
from tegcore.wire import peer
from tegcore.wire.peer import Chunk, ReadLog
from tegctl.output import Output as Shown
from tegd import log_share
from tegd.adapters import courier, desk
from tegd.adapters.places import Output, Places
from tegd.airlock.adapters import logs
from tegd.airlock.adapters.logs import Kept
from tegd.log_share import Log
from tegd.workload import Life

RUN = "5.7"
SHARE = "for its tenant's output is over its share of this host (tenant_log_bytes)"
KIB = 1 << 10


class Reader:
    """Follows a workload's output as `tegctl` does, from parts as tegd hands them out."""

    def __init__(self, places: Places, ref: int = 5) -> None:
        self.places, self.ref = places, ref
        self.offset = 0
        self.shown = Shown()
        self.told: list[int] = []
        self.shown._tell = lambda missing, *_, **__: self.told.append(missing)  # type: ignore[method-assign]
        self.data = b""

    def read(self, count: int = 1) -> None:
        for _ in range(count):
            part = self.places.read_log(self.ref, self.offset)
            if part.end == self.offset:
                return
            self.offset = part.end
            if part.line >= 0 and not self.data.endswith(b"\n"):
                self.data += b"\n"
            self.data += part.data
            self.shown.show(desk._part(part).data)

    def drain(self) -> None:
        before = -1
        while before != self.offset:
            before = self.offset
            self.read()


def run_log(root: Path, run: str = RUN) -> Path:
    log = root / "airlock" / "workloads" / run / "log"
    log.parent.mkdir(parents=True, exist_ok=True)
    return log


def append(log: Path, *lines: str) -> None:
    with log.open("ab") as file:
        file.write("".join(f"{line}\n" for line in lines).encode())


def no_holes(*_: object) -> bool:
    return False


def numbers(data: bytes) -> list[int]:
    return [int(line) for line in data.split() if line.isdigit() and len(line) == 50]


STEPS = st.lists(st.sampled_from(["write", "write", "read", "cut", "over"]), max_size=30)


@settings(deadline=None, max_examples=50)
@given(STEPS, st.booleans())
def test_each_line_arrives_or_is_told_to_be_gone(tmp_path_factory: Any, steps: list[str], holes: bool) -> None:
    """A writer, cuts, ends of runs and a reader take turns; what is read is in order, whole, and without holes."""
    root = tmp_path_factory.mktemp("logs")
    places, written, run = Places(root), 0, 1
    reader = Reader(places)
    with pytest.MonkeyPatch.context() as patch:
        if not holes:
            patch.setattr(logs, "_give_back", no_holes)
        for step in [*steps, "write"]:
            log = run_log(root, f"5.{run}")
            if step == "write":
                append(log, *(f"{number:050d}" for number in range(written, written + 700)))
                written += 700
            elif step == "read":
                reader.read()
            elif step == "cut" and log.exists():
                logs.cut(log, 20 * KIB, anew=True)
            elif step == "over" and log.exists():
                places.keep_log(f"5.{run}")
                for path in log.parent.iterdir():
                    path.unlink()
                log.parent.rmdir()
                run += 1
        reader.drain()
    whole = numbers(reader.data)
    assert b"\0" not in reader.data
    assert whole == sorted(set(whole))
    assert whole[-1] == written - 1
    # A line that is read in part, and then gone, counts among the missing.
    assert len(whole) + sum(reader.told) == written


def test_the_head_of_a_log_goes_back_to_the_disk(tmp_path: Path) -> None:
    log = run_log(tmp_path)
    append(log, *["x" * 99] * 20_000)
    full = log.stat()
    kept = logs.cut(log, 128 * KIB)
    assert log.stat().st_size == full.st_size, "places are absolute"
    if log.stat().st_blocks == full.st_blocks:
        pytest.skip("files have no holes here")
    assert log.stat().st_blocks * 512 <= 128 * KIB + 2 * log.stat().st_blksize
    assert (kept.first, kept.lines) == (kept.lines * 100, kept.lines)
    assert full.st_size - kept.first <= 128 * KIB


def test_what_is_gone_is_said_before_it_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And durably: an airlock that ends between the two, or a host, leaves a log that is read right."""
    log = run_log(tmp_path)
    append(log, *["x" * 99] * 1000)
    said: list[int] = []

    def dies(*_: object) -> bool:
        said.append(logs.kept(log).lines)
        raise OSError(errno.EINTR, "ended here")

    monkeypatch.setattr(logs, "_give_back", dies)
    with pytest.raises(OSError, match="ended here"):
        logs.cut(log, 50_000)
    assert said == [500]
    assert Places(tmp_path).read_log(5, 0).line == 500


def test_a_file_that_was_begun_anew_is_read_right_though_that_could_not_be_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = run_log(tmp_path)
    append(log, *["old" * 33] * 1000)
    reader = Reader(Places(tmp_path))
    reader.read()
    monkeypatch.setattr(logs, "_give_back", no_holes)
    truncated = os.ftruncate

    def dies(file: int, size: int) -> None:
        truncated(file, size)
        raise OSError(errno.EINTR, "ended here")

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", dies)
        with pytest.raises(OSError, match="ended here"):
            logs.cut(log, 50_000, anew=True)
    append(log, "new")
    reader.read()
    assert b"new" not in reader.data
    looked(log)
    reader.drain()
    assert reader.data.endswith(b"\nnew\n")
    assert len(reader.data.splitlines()) - 1 + sum(reader.told) == 1001, "but for the line that was read in part"


def looked(log: Path, after: logs.Logs | None = None) -> logs.Logs:
    """What a look does, in this thread."""
    after = after or logs.Logs()
    after._known.add(log)
    after._look((log,))
    return after


def test_work_that_empties_its_own_output_is_followed_further(tmp_path: Path) -> None:
    log = run_log(tmp_path)
    append(log, "first", "second")
    reader, after = Reader(Places(tmp_path)), looked(log)
    reader.drain()
    os.truncate(log, 0)
    append(log, "third")
    looked(log, after)
    reader.drain()
    assert reader.data == b"first\nsecond\nthird\n"


def test_a_log_is_cut_by_looks_and_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LOG_BYTES_MAX", 100_000)
    log = run_log(tmp_path)
    append(log, *["x" * 99] * 1060)
    after = looked(log)
    assert not logs.kept(log).first, "within the slack"
    append(log, *["x" * 99] * 40)
    looked(log, after)
    assert logs.kept(log).lines == 100
    assert logs.noted_ms(log, 106_000) > 0
    assert logs.noted_ms(log, 105_999) == 0


def test_a_log_that_looks_begin_anew_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without holes: all goes at once, and what comes after it is at its place."""
    monkeypatch.setattr(logs, "LOG_BYTES_MAX", 50_000)
    monkeypatch.setattr(logs, "_give_back", no_holes)
    log, after = run_log(tmp_path), logs.Logs()
    reader = Reader(Places(tmp_path))
    for number in range(40):
        append(log, *[f"{number:050d}"] * 100)
        looked(log, after)
        if number % 15 == 0:
            reader.drain()
    reader.drain()
    assert (reader.offset, sum(reader.told) + len(reader.data) // 51) == (40 * 100 * 51, 4000)
    assert log.stat().st_size <= 60_000


def test_what_was_removed_during_a_look_stays_removed(tmp_path: Path) -> None:
    log = run_log(tmp_path)
    append(log, *["x" * 99] * 100)
    after = logs.Logs()
    after._look((log,))
    assert [path.name for path in log.parent.iterdir()] == ["log"], "it was forgotten before"
    log.unlink()
    after._look((log,))
    assert not log.parent.exists()


def test_a_line_without_end_is_cut_somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LINE_BYTES_MAX", 1000)
    log = run_log(tmp_path)
    log.write_bytes(b"line\n" + b"." * 20_000)
    assert logs.cut(log, 10_000)[1:3] == (10_005, 1)
    assert Places(tmp_path).read_log(5, 0).data == b"." * 10_000


def test_what_is_said_of_a_log_that_is_garbled_is_nothing(tmp_path: Path) -> None:
    log = run_log(tmp_path)
    append(log, "x")
    for said in (b"", b"[]", b"{}", b'{"base": "x"}', b"\xff"):
        logs.beside(log, "kept").write_bytes(said)
        assert logs.kept(log) == Kept()


# --- where reading begins ---------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.lists(st.text("ab", max_size=3), max_size=12), st.booleans(), st.integers(0, 14), st.integers(0, 30), st.data()
)
def test_the_last_lines_are_those_that_tail_shows(
    tmp_path_factory: Any, lines: list[str], ended: bool, count: int, bound: int, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("logs")
    text = "\n".join(lines) + ("\n" if ended and lines else "")
    log = run_log(root)
    log.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "PIECE_BYTES", data.draw(st.integers(1, 8)))
        kept = logs.cut(log, bound)
        begin = Places(root).begin_log(5, count, 0)
        left = text[kept.first :].splitlines(keepends=True)
        assert text[begin.offset :] == "".join(left[-count:] if count else [])
        assert begin.line == text[: begin.offset].count("\n")
        assert begin.lines == min(count, len(left))
        assert begin.whole is (count <= len(left) or not kept.first)


def test_the_last_lines_go_back_into_earlier_runs(tmp_path: Path) -> None:
    places = Places(tmp_path)
    append(run_log(tmp_path, "5.9"), "a", "b")
    places.keep_log("5.9")
    append(run_log(tmp_path, "5.10"), "c", "d")
    for count, text in ((1, "d\n"), (2, "c\nd\n"), (3, "b\nc\nd\n"), (9, "a\nb\nc\nd\n")):
        begin = places.begin_log(5, count, 0)
        read = b""
        while (part := places.read_log(5, begin.offset + len(read))).data:
            read += part.data
        assert read.decode() == text


def test_what_was_written_since_a_time(tmp_path: Path) -> None:
    """As well as is noted: from the beginning of a line on, and rather more than less."""
    log = run_log(tmp_path)
    now_ms = int(time.time() * 1000)
    for age_s, line in ((7200, "old"), (3600, "hour"), (60, "new")):
        logs.note(log, now_ms - age_s * 1000 - 1000, log.stat().st_size if log.exists() else 0)
        append(log, line)
    found = {
        age_s: log.read_bytes()[Places(tmp_path).begin_log(5, None, now_ms - age_s * 1000).offset :]
        for age_s in (7300, 7200, 3000, 3602, 60, 30)
    }
    assert found[7300] == found[7200] == b"old\nhour\nnew\n"
    assert found[3602] == b"old\nhour\nnew\n"
    assert found[3000] == b"hour\nnew\n"
    assert found[60] == found[30] == b"new\n"
    os.utime(log, (0, now_ms / 1000 - 100))
    assert Places(tmp_path).begin_log(5, None, now_ms - 50_000).offset == log.stat().st_size
    append(log, "newest")
    assert Places(tmp_path).begin_log(5, 1, now_ms - 7_300_000).offset == log.stat().st_size - len("newest\n")


def test_since_tells_what_may_be_missing(tmp_path: Path) -> None:
    log = run_log(tmp_path)
    append(log, *["x" * 99] * 1000)
    logs.note(log, 1000, 10_000)
    logs.note(log, 2000, 90_000)
    logs.cut(log, 50_000)
    places = Places(tmp_path)
    early, late = places.begin_log(5, None, 1500), places.begin_log(5, None, 2500)
    assert (early.offset, early.whole, early.line) == (50_000, False, 500)
    assert (late.offset, late.whole, late.line) == (90_000, True, 900)


def test_notes_are_bounded_and_fine_where_they_are_new(tmp_path: Path) -> None:
    log = run_log(tmp_path)
    count = 2 * logs.NOTES_MAX
    for number in range(count):
        logs.note(log, 1000 * (number + 1), 10 * number)
    notes = logs._notes(log)
    assert len(notes) <= logs.NOTES_MAX
    assert notes == sorted(notes)
    assert [ms for ms, _ in notes[-logs.NOTES_FINE :]] == [1000 * (count - back) for back in range(logs.NOTES_FINE)][
        ::-1
    ]


# --- from other hosts -------------------------------------------------------------------------------------------------


class Seat:
    """In the place of a link to a seat: answers as its courier does."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.before: Callable[[], None] = lambda: None

    async def ask(self, said: ReadLog) -> Chunk:
        self.before()
        found = courier.Courier._found_log(self, 5, said)  # type: ignore[arg-type]
        told = (found.offset, found.line, found.keeps, found.lines, found.whole, found.after_ms)
        return Chunk(found.data, peer.chunk_digest(found.data), *told)

    @property
    def _places(self) -> Places:
        return self.places

    async def __aenter__(self) -> "Seat":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


def bring(seat: Seat, fresh: Path) -> None:
    carrier = courier.Courier.__new__(courier.Courier)
    carrier._link = lambda _: seat  # type: ignore[assignment, method-assign, return-value]
    report = peer.Report(5, 1, 7, 0, 0, over=True, ran=True, done=True)
    asyncio.run(carrier._bring_log("seat", report, fresh))


@pytest.mark.parametrize("late", [False, True], ids=["cut_before", "cut_meanwhile"])
def test_output_comes_home_with_what_is_said_of_its_head(tmp_path: Path, *, late: bool) -> None:
    """Cut before it comes, or while it comes, for its tenant's share."""
    log, fresh = run_log(tmp_path / "seat"), tmp_path / "home" / ".log.7"
    fresh.parent.mkdir()
    append(log, *(f"{number:050d}" for number in range(10_000)))
    logs.note(log, 1234, 0)
    seat = Seat(Places(tmp_path / "seat"))
    asked: list[int] = []

    def cuts() -> None:
        asked.append(0)
        if len(asked) == (3 if late else 1):
            logs.cut(log, 100_000)

    seat.before = cuts
    bring(seat, fresh)
    kept = logs.kept(fresh)
    assert kept == logs.kept(log)._replace(base=kept.first)
    assert kept.lines > 8000
    assert numbers(fresh.read_bytes()) == list(range(kept.lines, 10_000))
    assert logs.end(fresh) == logs.end(log)
    assert logs.noted_ms(fresh, logs.end(fresh)) == 1234


class Elsewhere:
    """In the place of the courier: its seat's output."""

    def __init__(self, places: Places) -> None:
        self.places = places

    async def read_log(self, work: Any, offset: int, last: int = -1, since_ms: int = 0) -> Output:
        said = ReadLog(5, work.token, offset, last, since_ms, absolute=True)
        return courier._output(await Seat(self.places).ask(said), offset, str(work.token))


@pytest.mark.parametrize(("last", "shown"), [(1, [5]), (2, [4, 5]), (4, [2, 3, 4, 5]), (9, [0, 1, 2, 3, 4, 5])])
async def test_the_last_lines_of_work_elsewhere_go_back_into_its_runs_here(
    tmp_path: Path, last: int, shown: list[int]
) -> None:
    home, seat = Places(tmp_path / "home"), Places(tmp_path / "seat")
    for run, lines in (("5.3", (0, 1)), ("5.4", (2,))):
        append(run_log(tmp_path / "home", run), *map(str, lines))
        home.keep_log(run)
        run_log(tmp_path / "home", run).unlink()
    append(run_log(tmp_path / "seat"), "3", "4", "5")
    host = desk.Desk.__new__(desk.Desk)
    host._places, host._courier = home, Elsewhere(seat)  # type: ignore[assignment]
    work = SimpleNamespace(
        life=Life.AWAY, ref=5, token=7, seats=["b"], trip="x", exit_code=None, outcome="", hook_failed=""
    )
    parts = [reply.data async for reply in host._log(work, 0, last, follow=False)]  # type: ignore[arg-type]
    assert b"".join(part["bytes"] for part in parts).split() == [str(line).encode() for line in shown]
    logs.cut(run_log(tmp_path / "seat"), 2)
    parts = [reply.data async for reply in host._log(work, 0, follow=False)]  # type: ignore[arg-type]
    assert b"".join(part["bytes"] for part in parts).split() == [b"0", b"1", b"2", b"5"]
    assert [(part["run"], part["line"]) for part in parts if "line" in part] == [("7", 2)]


def test_output_of_a_host_of_the_release_before_is_taken_as_it_says(tmp_path: Path) -> None:
    class Old(Seat):
        async def ask(self, said: ReadLog) -> Chunk:
            data = b"said\n"[said.offset :]
            return Chunk(data, peer.chunk_digest(data))

    bring(Old(Places(tmp_path)), tmp_path / ".log.7")
    assert (tmp_path / ".log.7").read_bytes() == b"said\n"


class OldChunk(msgspec.Struct, array_like=True, tag="chunk", tag_field="t"):
    data: bytes
    digest: bytes


def test_a_home_of_the_release_before_is_sent_what_is_kept_once(tmp_path: Path) -> None:
    """It asks by what it was sent so far, and hears nothing of places."""
    log, seat = run_log(tmp_path), Seat(Places(tmp_path))
    append(log, *(f"{number:050d}" for number in range(10_000)))
    logs.cut(log, 200_000)
    sent = b""
    while True:
        answer = msgspec.msgpack.encode(asyncio.run(seat.ask(ReadLog(5, 7, len(sent)))))
        if not (part := msgspec.msgpack.decode(answer, type=OldChunk)).data:
            break
        sent += part.data
    assert numbers(sent) == list(range(logs.kept(log).lines, 10_000))


def test_a_question_and_an_answer_about_output_are_bounded() -> None:
    for said in (ReadLog(1, 1, 0, -2), ReadLog(1, 1, 0, -1, -1), ReadLog(1, 1, -1)):
        with pytest.raises(DecodeError):
            peer.check(said)
    for told in ((-2,), (1 << 61,), (0, -2), (0, 1 << 61)):
        with pytest.raises(DecodeError):
            peer.check(Chunk(b"", peer.chunk_digest(b""), *told))
    peer.check(Chunk(b"", peer.chunk_digest(b""), 0, 0))
    peer.check(ReadLog(1, 1, 0, 0, 1))


# --- shares -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 64 << 20), max_size=40), st.integers(1 << 20, 1 << 30))
def test_the_level_is_the_greatest_that_is_within_the_share(sizes: list[int], share: int) -> None:
    level = log_share.level(sizes, share)
    used = sum(min(size, level) for size in sizes)
    assert log_share.LOG_BYTES_MIN <= level <= log_share.LOG_BYTES_MAX
    if level > log_share.LOG_BYTES_MIN:
        assert used <= share
    if level < log_share.LOG_BYTES_MAX:
        assert sum(min(size, level + 1) for size in sizes) > share - len(sizes)


def test_a_tenant_over_its_share_has_its_largest_logs_cut_and_others_none() -> None:
    share = 100 << 20
    found = [Log("big", "ada", 64 << 20), Log("large", "ada", 50 << 20), Log("small", "ada", 5 << 20)]
    found.append(Log("bobs", "bob", 64 << 20))
    said = log_share.bounds(found, share, {})
    assert said["small"] == said["bobs"] == log_share.LOG_BYTES_MAX
    assert said["big"] == said["large"] == 35 << 20
    cut = [Log("big", "ada", 35 << 20), Log("large", "ada", 35 << 20), Log("small", "ada", 5 << 20), found[3]]
    assert log_share.bounds(cut, share, said) == said, "it is not let grow at once"
    assert set(log_share.bounds(cut[1:], share, said).values()) == {log_share.LOG_BYTES_MAX}


def test_every_name_of_a_log_that_a_workload_has_is_measured(tmp_path: Path) -> None:
    append(run_log(tmp_path, "5.7"), "x")
    append(run_log(tmp_path, "unit.service"), "x")
    (tmp_path / "logs" / "5").mkdir(parents=True)
    for name in ("log.6", "log-1.6", ".log.4", "log.6.kept", "log.6.times"):
        append(tmp_path / "logs" / "5" / name, "x")
    found = {(size.ref, size.run, size.path.name) for size in Places(tmp_path).log_sizes()}
    assert found == {(5, "5.7", "log"), (5, "", "log.6"), (5, "", "log-1.6")}


def test_what_is_told_stands_between_the_lines(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    shown = Shown()
    part = {"offset": 0, "run": "7", "keeps": 64 << 20, "begins": False, "over_share": False}
    shown.show(part | {"bytes": b"one\ntw"})
    shown.show(part | {"bytes": b"nine\n", "line": 8})
    shown.show(part | {"bytes": b"", "line": 10, "over_share": True, "keeps": 64 << 10})
    shown.show(part | {"bytes": b"", "line": 3})
    out, said = capfdbinary.readouterr()
    assert out == b"one\ntw\nnine\n"
    assert said.decode().splitlines() == [
        "... 7 lines were dropped here: the log keeps the last 64 MiB",
        f"... 1 line was dropped here: the log keeps the last 64 KiB, {SHARE}",
        "... some output was dropped here: the log keeps the last 64 MiB",
    ]


def test_reading_begins_without_a_word_about_what_was_not_asked_for(tmp_path: Path) -> None:
    part = desk._part(Output(b"", 10, "7", 100, 1 << 20), begins=True).data
    shown = Shown()
    shown.show(part)
    assert shown.lines == 100
