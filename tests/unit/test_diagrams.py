"""The diagrams in the docs are those of the tables."""

from docs import diagrams
from tegd.airlock import phases


def test_the_page_shows_the_tables_as_they_are() -> None:
    text = diagrams.PAGE.read_text()
    assert diagrams.page(text) == text, "run `make docs`"


def test_every_way_out_of_a_phase_is_drawn() -> None:
    drawn = diagrams.diagram(phases.TABLE, phases.Phase.NORMAL, frozenset())
    for (before, sign), after in phases.TABLE.items():
        lines = [line for line in drawn.splitlines() if line.startswith(f"    {before} --> {after}:")]
        assert (before is after and not lines) or sign in lines[0].partition(": ")[2].split(", ")
