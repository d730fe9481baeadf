"""The fast book from its source, over arrays that check every position: compiled, a wrong one corrupts memory."""

import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from zone_ledger.book import quadtree

PLACE = Path(quadtree.__file__).parent


class OutsideError(BaseException):
    """A position outside its array. No `Exception`, so that nobody who expects the unforeseen takes it for that."""


class Checked(list[int]):
    """An array of the tree's."""

    def __getitem__(self, at: Any) -> Any:
        return super().__getitem__(self._within(at))

    def __setitem__(self, at: Any, value: Any) -> None:
        super().__setitem__(self._within(at), value)

    def _within(self, at: Any) -> Any:
        if isinstance(at, int) and not 0 <= at < len(self):
            raise OutsideError(f"position {at} of {len(self)}")
        return at


def _loaded(name: str, **instead: Any) -> ModuleType:
    loader = importlib.machinery.SourceFileLoader(f"checked_{name}", str(PLACE / f"{name}.py"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    vars(module).update(instead)
    return module


def _array(_kind: str, values: Iterable[int]) -> Checked:
    return Checked(values)


def _zeros(_kind: str, count: int) -> Checked:
    return Checked([0] * count)


sys.modules["zone_ledger.book.quadtree"] = _loaded("quadtree", array=_array, _zeros=_zeros)
try:
    CheckedBook = _loaded("fast").FastBook
finally:
    sys.modules["zone_ledger.book.quadtree"] = quadtree
