"""The airlock's settings file and what units say of themselves."""

from pathlib import Path

import pytest

from tegcore.errors import ConfigError
from tegd.airlock.model import Hook
from tegd.airlock.settings import AirlockSettings, Mode, UnitSettings, read

WHOLE = """
mode = "act"
slice = "batch.slice"
[units."web-*.service"]
rank = 10
signal = "SIGUSR2"
checkpoint = "/var/lib/web/checkpoint"
resume = ["--from", "/var/lib/web/checkpoint"]
"""


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "airlock.toml"
    file.write_text(text)
    return file


def test_a_file_names_rank_and_hook(tmp_path: Path) -> None:
    settings = read(written(tmp_path, WHOLE))
    assert (settings.mode, settings.slice) == (Mode.ACT, "batch.slice")
    path = "/var/lib/web/checkpoint"
    assert settings.of_unit("web-1.service", {}) == UnitSettings(10.0, Hook(12, path, path), ("--from", path))
    assert settings.of_unit("other.service", {}) == UnitSettings()


def test_a_unit_names_its_own_and_the_file_goes_before(tmp_path: Path) -> None:
    said = {"TEG_RANK": "3", "TEG_CHECKPOINT": "/c", "TEG_MARK": "/m", "TEG_RESUME": "--go on"}
    assert AirlockSettings().of_unit("a.service", said) == UnitSettings(3.0, Hook(10, "/c", "/m"), ("--go", "on"))
    settings = read(written(tmp_path, WHOLE))
    assert settings.of_unit("web-1.service", said).rank == 10


@pytest.mark.parametrize(
    "text",
    [
        "mode = 'both'",
        "slice = '../etc'",
        "slice = 'a/b.slice'",
        "unit = 1",
        "units = 3",
        "[units.a]\nrnak = 1",
        "[units.a]\nrank = 'high'",
        "[units.a]\ncheckpoint = 'relative'",
        "[units.a]\ncheckpoint = '/c'\nsignal = 'SIGKILL'",
        "[units.a]\nresume = 'ok'\nmark = 3\ncheckpoint='/c'",
        "not toml",
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        read(written(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absent"):
        read(tmp_path / "absent.toml")
