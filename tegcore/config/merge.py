"""Settings as one table a program: a frozen struct whose fields carry type, bounds, default and help.

Layers are merged in order: defaults, file, environment, flags. Whatever a layer names that the table does not know, or
that does not fit, is an error that says where it stands and which key is nearest.

A flag and an environment variable are text. Where a list or a table is wanted, the text is one as JSON or TOML writes
it, `["a", "b"]` and `{ada = 7}`; a list may also stand bare, `a,b`.
"""

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from tegcore.errors import ConfigError

Table = TypeVar("Table", bound=msgspec.Struct)


@dataclass(frozen=True)
class Layer:
    """Values from one place.

    Attributes:
        name: Of the place, for people: a file, `environment`, `flags`.
        values: By key. Text is converted to the field's type; what is typed already must fit.
        lines: Line of each key, where the place has lines.
    """

    name: str
    values: Mapping[str, Any]
    lines: Mapping[str, int]

    def where(self, key: str) -> str:
        """Where a key stands."""
        return f"{self.name}:{self.lines[key]}" if key in self.lines else self.name


def merge(table: type[Table], layers: Sequence[Layer]) -> tuple[Table, dict[str, str]]:
    """The settings, and where each value comes from.

    Raises:
        ConfigError: Names place, key, what is wrong, and the nearest right key.
    """
    known = {field.name: field.type for field in msgspec.structs.fields(table)}
    values: dict[str, Any] = {}
    sources = dict.fromkeys(known, "default")
    for layer in layers:
        for key, value in layer.values.items():
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known))}"
                raise ConfigError(f"{layer.where(key)}: there is no setting {key!r}", hint)
            try:
                values[key] = _fitted(value, known[key])
            except (msgspec.ValidationError, ValueError) as error:
                help_ = describe(table, key) + _written(known[key])
                raise ConfigError(f"{layer.where(key)}: {key} = {value!r}: {error}", help_) from None
            sources[key] = layer.where(key) if key in layer.lines else layer.name
    try:
        return table(**values), sources
    except TypeError as error:
        raise ConfigError(f"a setting is missing: {error}") from None


def _fitted(value: Any, wanted: Any) -> Any:
    """A value as a type wants it.

    Raises:
        ValueError: If it does not fit.
    """
    kind = _container(wanted)
    if not isinstance(value, str) or kind is None:
        return msgspec.convert(value, wanted, strict=not isinstance(value, str))
    return msgspec.convert(_parsed(value, kind), wanted, strict=False)


def _parsed(text: str, kind: type) -> Any:
    """The list or table that a text is.

    Raises:
        ValueError: If it is none.
    """
    bare = text.strip()
    if kind is not dict and not bare.startswith("["):
        return [word.strip() for word in bare.split(",")] if bare else []
    try:
        return json.loads(bare)
    except ValueError:
        pass
    try:
        return tomllib.loads(f"value = {bare}")["value"]
    except tomllib.TOMLDecodeError:
        raise ValueError("it is no list" if kind is not dict else "it is no table") from None


def _container(wanted: Any) -> type | None:
    """`list`, `tuple` or `dict`, where a type is one of them."""
    bare = get_args(wanted)[0] if hasattr(wanted, "__metadata__") else wanted
    origin = get_origin(bare) or bare
    return origin if origin in (list, tuple, dict) else None


def _written(wanted: Any) -> str:
    """How a list or a table is written, for who got it wrong."""
    kind = _container(wanted)
    if kind is None:
        return ""
    return "; written as {name = 1}" if kind is dict else "; written as [1, 2] or 1,2"


def describe(table: type[msgspec.Struct], key: str) -> str:
    """The help of a key."""
    hint = get_type_hints(table, include_extras=True).get(key)
    for extra in getattr(hint, "__metadata__", ()):
        if isinstance(extra, msgspec.Meta) and extra.description:
            return f"{key}: {extra.description}"
    return key


def show(settings: msgspec.Struct, sources: Mapping[str, str]) -> str:
    """Every value with its source, as TOML that can be used again."""
    rows = []
    for field in msgspec.structs.fields(settings):
        value = msgspec.json.encode(msgspec.to_builtins(getattr(settings, field.name))).decode()
        rows.append(f"{field.name} = {value}  # {sources[field.name]}; {describe(type(settings), field.name)}")
    return "\n".join(rows)
