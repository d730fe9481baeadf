"""Examples in docstrings are true."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["tegcore.units", "tegcore.field.geometry", "tegio.memory"])
def test_the_examples_of_a_module(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
