"""Files in workloads' folders, opened for the agent side: plain files of the workload's own user, and nothing else."""

import os
from pathlib import Path

import pytest

from tegd.airlock import protocol
from tegd.airlock.adapters.folders import Folders
from tegd.airlock.protocol import Reason, Refusal, Request

UID = os.geteuid()


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    (tmp_path / "7").mkdir()
    return Folders(tmp_path)


def test_what_was_saved_is_read_through_what_is_handed_over(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "7" / "checkpoint").write_text("state")
    with os.fdopen(folders.open_saved("7", "checkpoint", UID)) as file:
        assert file.read() == "state"


@pytest.mark.parametrize("kind", ["nothing", "link", "folder", "fifo", "another's"])
def test_only_plain_files_of_its_own_user_are_opened(folders: Folders, tmp_path: Path, kind: str) -> None:
    path, uid = tmp_path / "7" / "checkpoint", UID
    match kind:
        case "link":
            (tmp_path / "secret").write_text("x")
            path.symlink_to(tmp_path / "secret")
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "another's":
            path.write_text("x")
            uid = UID + 1
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="checkpoint"):
        folders.open_saved("7", "checkpoint", uid)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_what_is_given_takes_the_place_of_whatever_has_its_name(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("kept")
    (tmp_path / "7" / "given").symlink_to(tmp_path / "outside")
    with os.fdopen(folders.open_given("7", "given", executable=True), "w") as file:
        file.write("new")
    given = tmp_path / "7" / "given"
    assert (given.read_text(), given.is_symlink(), given.stat().st_mode & 0o777) == ("new", False, 0o700)
    assert (tmp_path / "outside").read_text() == "kept"
    os.close(folders.open_given("8", "given", executable=False))
    assert (tmp_path / "8").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_is_a_link_is_not_entered(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "9").symlink_to(tmp_path / "7")
    with pytest.raises(OSError, match="9"):
        folders.open_given("9", "given", executable=False)


@pytest.mark.parametrize(
    ("folder", "name"), [("7", "../x"), ("7", "a/b"), ("7", ".."), ("7", ""), ("x", "a"), ("", "a"), ("1" * 30, "a")]
)
def test_no_name_leads_elsewhere(folder: str, name: str) -> None:
    fields = {"folder": folder, "name": name, "uid": 1000}
    packet = protocol.encode({"id": 1, "verb": "open_saved", **fields})
    decoded = protocol.decode(packet)
    assert isinstance(decoded, Refusal)
    assert decoded.reason is Reason.BAD_REQUEST
    assert isinstance(protocol.decode(protocol.encode({"id": 1, "verb": "open_saved", **fields, **GOOD})), Request)


GOOD = {"folder": "7", "name": "checkpoint"}


@pytest.mark.skipif(UID != 0, reason="gives folders to other users")
def test_a_folder_that_is_its_users_already_is_left_alone(folders: Folders, tmp_path: Path) -> None:
    os.chown(tmp_path / "7", 1000, 1000)
    with pytest.raises(PermissionError):
        folders.open_given("7", "given", executable=False)
