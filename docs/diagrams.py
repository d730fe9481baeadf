"""Diagrams of the airlock's two tables, drawn from the tables into docs/reference/airlock.md: `make docs`."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from docs.marks import put
from tegd.airlock import phases, transitions

PAGE = Path(__file__).parent / "reference" / "airlock.md"


def diagram(table: Mapping[tuple[StrEnum, StrEnum], StrEnum], first: StrEnum, skip: frozenset[StrEnum]) -> str:
    """A table as a Mermaid diagram: what leads from each state to another; what leaves it as it is is not drawn."""
    ways: dict[tuple[StrEnum, StrEnum], list[str]] = {}
    for (before, cause), after in table.items():
        if after is not before and cause not in skip:
            ways.setdefault((before, after), []).append(cause)
    lines = [f"    {before} --> {after}: {', '.join(causes)}" for (before, after), causes in ways.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", f"    [*] --> {first}", *lines, "```"])


def page(text: str) -> str:
    """The page with its diagrams drawn anew."""
    drawn = {
        "phases": diagram(phases.TABLE, phases.Phase.NORMAL, frozenset()),
        "states": diagram(transitions.TABLE, transitions.State.STARTING, frozenset({transitions.Event.LOST})),
    }
    for name, lines in drawn.items():
        text = put(text, "diagram", name, lines)
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
