"""Settings: layers in order, and errors that say where, what, and which key was meant."""

from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner

from tegcore.errors import ConfigError
from tegd.settings import HostSettings
from tegio.settings import load, with_settings
from zone_ledger.settings import LedgerSettings


def written(folder: Path, text: str) -> Path:
    path = folder / "teg.toml"
    path.write_text(text)
    return path


def test_later_layers_win_and_each_value_knows_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, 'zone = "a"\nzone_k = 3\nperiod_ticks = 7\n')
    monkeypatch.setenv("TEG_ZONE_LEDGER_ZONE_K", "4")
    settings, sources = load(LedgerSettings, "zone-ledger", path, ("period_ticks=9",))
    assert (settings.zone, settings.zone_k, settings.period_ticks, settings.market) == ("a", 4, 9, "fixed")
    assert sources["zone"] == f"{path}:1"
    assert (sources["zone_k"], sources["period_ticks"], sources["market"]) == ("environment", "flags", "default")


BAD = {
    "a typo": ('zone = "a"\nzone_kk = 3\n', r"teg.toml:2: there is no setting 'zone_kk'", "did you mean 'zone_k'?"),
    "out of range": ("zone_k = 99\n", r"teg.toml:1: zone_k = 99", "zone_k: The zone has"),
    "of another type": ('\n\nzone_k = "many"\n', r"teg.toml:3: zone_k = 'many'", "zone_k: The zone has"),
    "not one of them": (
        'market = "bazaar"\n',
        r"teg.toml:1: market = 'bazaar'",
        "market: Of a fresh ledger: fixed prices or auction",
    ),
    "no TOML": ("zone_k = = 3\n", r"teg.toml: .*line 1", ""),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_with_file_line_key_and_help(tmp_path: Path, case: str) -> None:
    text, message, hint = BAD[case]
    with pytest.raises(ConfigError, match=message) as error:
        load(LedgerSettings, "zone-ledger", written(tmp_path, text), ())
    assert error.value.hint.startswith(hint)


def test_a_flag_without_a_value_and_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a value is missing"):
        load(LedgerSettings, "zone-ledger", None, ("zone",))
    with pytest.raises(ConfigError, match="No such file"):
        load(LedgerSettings, "zone-ledger", tmp_path / "none.toml", ())


def test_show_config_prints_every_value_with_its_source(tmp_path: Path) -> None:
    @click.command()
    @with_settings(HostSettings, "tegd")
    def command(settings: HostSettings) -> None:
        raise AssertionError("it runs")

    result = CliRunner().invoke(command, ["--config", str(written(tmp_path, "log2_slots = 2\n")), "--show-config"])
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert len(lines) == len(HostSettings.__struct_fields__)
    assert any(line.startswith("log2_slots = 2  # ") and "teg.toml:1" in line for line in lines)


def test_defaults_are_those_that_the_design_names() -> None:
    settings = LedgerSettings()
    assert (settings.period_ticks, settings.term_periods, settings.renew_ticks) == (1200, 3, 40)
    assert (settings.grace_ticks, settings.notice_ticks, settings.epoch_ticks) == (40, 600, 1200)
    assert settings.reserve_ucr(0) == 15167


class Lists(msgspec.Struct, frozen=True, kw_only=True):
    """A table with what takes more than a word."""

    names: tuple[str, ...] = ()
    users: tuple[int, ...] = ()
    tokens: dict[str, int] = {}
    tenants: dict[str, tuple[int, ...]] = {}
    text: str = ""
    count: int = 0
    on: bool = False


TEXTS = [
    ("names", '["CUDA_VISIBLE_DEVICES"]', ("CUDA_VISIBLE_DEVICES",)),
    ("names", "['A', \"B\"]", ("A", "B")),
    ("names", "A, B", ("A", "B")),
    ("names", "A", ("A",)),
    ("names", "[]", ()),
    ("names", "", ()),
    ("users", "[1000]", (1000,)),
    ("users", "1000,1001", (1000, 1001)),
    ("tokens", '{"ada": 7}', {"ada": 7}),
    ("tokens", "{ada = 7, bob = 8}", {"ada": 7, "bob": 8}),
    ("tenants", "{ada = [1000, 1001]}", {"ada": (1000, 1001)}),
    ("text", "[not a list]", "[not a list]"),
    ("text", "5", "5"),
    ("count", "5", 5),
    ("on", "true", True),
]


@pytest.mark.parametrize("layer", ["flags", "environment"])
@pytest.mark.parametrize(("key", "text", "value"), TEXTS)
def test_lists_and_tables_are_taken_from_flags_and_environment_too(
    monkeypatch: pytest.MonkeyPatch, layer: str, key: str, text: str, value: object
) -> None:
    if layer == "environment":
        monkeypatch.setenv(f"TEG_A_PROGRAM_{key.upper()}", text)
    settings, sources = load(Lists, "a-program", None, (f"{key}={text}",) if layer == "flags" else ())
    assert getattr(settings, key) == value
    assert sources[key] == layer


@pytest.mark.parametrize(("key", "text"), [("users", "[a]"), ("users", "[1000"), ("tokens", "5"), ("tokens", "{a=}")])
def test_what_is_no_list_or_table_is_refused_with_how_one_is_written(key: str, text: str) -> None:
    with pytest.raises(ConfigError, match=f"flags: {key} = ") as error:
        load(Lists, "a-program", None, (f"{key}={text}",))
    assert "[1, 2]" in error.value.hint or "{name = 1}" in error.value.hint
