"""Where secrets and sockets are found: by the settings, handed over by the service manager, or in the state folder."""

from pathlib import Path

import pytest

from tegcore.errors import ConfigError
from tegcore.wire.signing import Key
from tegio.keys import read_key, secret_file, tokens, write_key, write_token
from tegio.paths import SYSTEM_RUN, SYSTEM_STATE, default_state_dir, socket_path


@pytest.fixture
def handed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "handed"
    folder.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder


def test_a_secret_is_where_the_settings_say_then_handed_over_then_in_the_state_folder(handed: Path) -> None:
    default = handed.parent / "host.key"
    assert secret_file("", "host.key", default) == default
    (handed / "key_host.key").touch()
    assert secret_file("", "host.key", default) == handed / "key_host.key"
    assert secret_file("/other", "host.key", default) == Path("/other")


def test_what_is_handed_over_is_closed_by_its_folder_all_else_by_its_mode(handed: Path) -> None:
    key = Key(bytes(range(32)))
    for path in (handed / "key_host.key", handed.parent / "host.key"):
        write_key(path, key)
        path.chmod(0o440)
    assert read_key(handed / "key_host.key") == key
    with pytest.raises(ConfigError, match="others can read"):
        read_key(handed.parent / "host.key")


def test_tokens_are_read_from_both_folders_and_no_other_file_is_taken_for_one(handed: Path, tmp_path: Path) -> None:
    write_token(tmp_path / "ada.token", 7)
    write_token(handed / "key_bob.token", 8)
    (handed / "key_host.key").write_text("x")
    assert tokens(tmp_path) == {"ada": 7, "bob": 8}
    write_token(handed / "key_eve.token", 9)
    (handed / "key_eve.token").write_text("no number")
    with pytest.raises(ConfigError, match="holds no token"):
        tokens(tmp_path)


def test_each_program_has_a_socket_folder_of_its_own_where_it_is_installed(tmp_path: Path) -> None:
    assert socket_path(SYSTEM_STATE, "ledger") == SYSTEM_RUN / "ledger" / "ledger.sock"
    assert socket_path(tmp_path, "ledger") == tmp_path / "run" / "ledger.sock"


def test_teg_state_names_the_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEG_STATE", str(tmp_path))
    assert default_state_dir() == tmp_path
