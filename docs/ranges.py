"""The numbers of a message, request or setting, found by walking its types: where each stands, and its range."""

import types
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta


class Number(NamedTuple):
    """One of them.

    Attributes:
        path: Names of fields from the outside in; "[]" for what is in a container.
        low, high: None where it has none.
    """

    path: tuple[str, ...]
    kind: type
    low: float | None
    high: float | None


def numbers(kind: Any, path: tuple[str, ...] = (), metas: tuple[Any, ...] = ()) -> Iterator[Number]:
    """All numbers in a type."""
    origin = get_origin(kind)
    if origin is Annotated:
        inner, *more = get_args(kind)
        yield from numbers(inner, path, (*metas, *more))
    elif kind in (int, float):
        yield Number(path, kind, *_range(kind, metas))
    elif isinstance(kind, type) and (issubclass(kind, msgspec.Struct) or hasattr(kind, "_fields")):
        for name, hint in get_type_hints(kind, include_extras=True).items():
            if get_origin(hint) is not None or not name.startswith("_"):
                yield from numbers(hint, (*path, name))
    elif origin in (Union, types.UnionType):
        for inner in get_args(kind):
            yield from numbers(inner, path, metas)
    elif origin is not None:
        for inner in get_args(kind):
            if inner is not Ellipsis:
                yield from numbers(inner, (*path, "[]"))


def written(bound: float | None) -> str:
    """A bound for people: large ones as powers."""
    if bound is None:
        return "none"
    whole, sign = abs(bound), "-" if bound < 0 else ""
    if isinstance(bound, float):
        return f"{bound:,.0f}" if whole < 1e6 else f"{sign}{whole:.0e}".replace("e+", "e")
    for near, text in ((0, ""), (1, " - 1")):
        power = int(whole) + near
        if whole >= 1 << 20 and not power & (power - 1):
            return f"{sign}2^{power.bit_length() - 1}{text}"
    return f"{bound:,}"


def _range(kind: type, metas: tuple[Any, ...]) -> tuple[float | None, float | None]:
    low = high = None
    step = 1 if kind is int else 0
    for meta in metas:
        if isinstance(meta, Meta):
            low = meta.ge if meta.ge is not None else meta.gt + step if meta.gt is not None else low
            high = meta.le if meta.le is not None else meta.lt - step if meta.lt is not None else high
        elif hasattr(meta, "low"):  # of a float that may be NaN
            low, high = meta.low, meta.high
    return low, high
