"""Types of `bundling.py`, whose own annotations are Cython's."""

from typing import NamedTuple

class Cleared(NamedTuple):
    wins: list[bool]
    critical: list[int]

def clear(sizes: list[int], values: list[int], free: list[int], *, earlier_first: bool = True) -> Cleared: ...
