"""Settings as one table a program: a frozen struct whose fields carry type, bounds, default and help.

Layers are merged in order: defaults, file, environment, flags. Whatever a layer names that the table does not know, or
that does not fit, is an error that says where it stands and which key is nearest.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

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
                values[key] = msgspec.convert(value, known[key], strict=not isinstance(value, str))
            except msgspec.ValidationError as error:
                raise ConfigError(f"{layer.where(key)}: {key} = {value!r}: {error}", describe(table, key)) from None
            sources[key] = layer.where(key) if key in layer.lines else layer.name
    try:
        return table(**values), sources
    except TypeError as error:
        raise ConfigError(f"a setting is missing: {error}") from None


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
