"""What the reference shows can be used as it stands."""

import re
from pathlib import Path

import pytest

from docs import recordings, tables
from tegcore.wire.control import WorkloadSpec
from tegctl.commands.submit import read_specs

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "workload.md"


def test_the_workload_file_of_the_reference_is_one(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", REFERENCE.read_text(), re.DOTALL)
    file = tmp_path / "work.toml"
    file.write_text(example)
    (spec,) = read_specs(file)
    assert spec.sizes == (4, 3)
    assert spec.hook is not None


def test_every_key_of_a_workload_is_in_the_reference() -> None:
    text = REFERENCE.read_text()
    assert [name for name in WorkloadSpec.__struct_fields__ if f"`{name}`" not in text] == []


@pytest.mark.parametrize(("path", "text"), list(tables.pages()), ids=lambda value: getattr(value, "name", ""))
def test_tables_of_settings_and_commands_are_those_of_the_code(path: Path, text: str) -> None:
    assert path.read_text() == text, "run `make docs`"


def test_what_the_page_on_money_shows_was_printed_and_can_be_printed_again() -> None:
    shown = dict(
        re.findall(r"<!-- recording: (.*?) -->\n```\n(.*?)```\n<!-- end", recordings.PAGE.read_text(), re.DOTALL)
    )
    typed = set(re.findall(r'yield "(.*?)"', Path(recordings.__file__).read_text()))
    assert set(shown) == typed
    assert all(printed.strip() for printed in shown.values())
