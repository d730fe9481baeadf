"""The table of equations points at functions and tests that are there, and misses no number."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "reference" / "equations.md"
ROWS = [
    [cell.strip() for cell in re.split(r"(?<!\|)\|(?!\|)", line)[1:6]]
    for line in re.sub(r"\|(v|grad H)\|", r"abs \1", TABLE.read_text()).splitlines()
    if line.startswith(("| (", "| 3.", "| Theorem"))
]


def names_in(path: Path) -> set[str]:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)}


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_row_points_at_a_function_and_a_test(row: list[str]) -> None:
    _, says, function, test, repaired = row
    assert says
    assert repaired
    for pointer in (function, test):
        file, name = pointer.strip("`").split(":")
        assert name in names_in(ROOT / file), pointer
    for mentioned in re.findall(r"`(test_\w+)`", repaired):
        assert mentioned in names_in(ROOT / test.strip("`").split(":")[0]), mentioned


def test_no_number_and_no_theorem_is_missing() -> None:
    found = {row[0] for row in ROWS}
    assert {f"({number})" for number in range(1, 29)} <= found
    assert {f"Theorem 4.{number}" for number in (1, 2, 3)} <= found
