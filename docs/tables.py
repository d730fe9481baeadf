"""Tables of the reference, made from settings and verbs as the code has them: `make docs`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click
import msgspec

from docs.marks import put
from docs.ranges import numbers, written
from governor.settings import GovernorSettings
from tegcore.wire.control import AnyRequest
from tegcore.wire.messages import AnyMessage
from tegcore.wire.peer import AnySaid
from tegcore.wire.records import BODIES, bounds_of
from tegctl.main import command as tegctl
from tegd.settings import HostSettings
from zone_ledger.main import command as zone_ledger
from zone_ledger.settings import LedgerSettings

FOLDER = Path(__file__).parent / "reference"


def settings(table: type[msgspec.Struct]) -> Iterator[tuple[str, ...]]:
    """Rows of a program's settings: key, meaning and range, default."""
    yield "setting", "meaning", "default"
    hints = get_type_hints(table, include_extras=True)
    for field in msgspec.structs.fields(table):
        meta = next(extra for extra in hints[field.name].__metadata__ if isinstance(extra, msgspec.Meta))
        least = f"From {written(meta.ge)}" if meta.ge is not None and (meta.ge or meta.le is not None) else ""
        most = f" to {written(meta.le)}" if meta.le is not None else ""
        meaning = f"{meta.description} {least}{most}." if least else str(meta.description)
        default = msgspec.json.encode(msgspec.to_builtins(getattr(table(), field.name))).decode()
        yield f"`{field.name}`", meaning, f"`{default}`"


def record_ranges() -> Iterator[tuple[str, ...]]:
    """Rows of the fields of records."""
    yield "record", "field", "from", "to"
    for op in BODIES:
        for name, (low, high) in bounds_of(op):
            yield op.name, f"`{name}`", written(low), written(high)


def ranges(union: Any) -> Iterator[tuple[str, ...]]:
    """Rows of the numbers of messages, or of requests."""
    yield "of", "field", "from", "to"
    for kind in get_args(union):
        for each in numbers(kind):
            yield kind.__name__, f"`{'.'.join(each.path)}`", written(each.low), written(each.high)


def verbs(group: click.Group, name: str) -> Iterator[tuple[str, ...]]:
    """Rows of a program's verbs: how each is written, what it does."""
    yield "verb", "what it does"
    for words, verb, context in _each(group, name):
        written = " ".join((words, *(param.make_metavar(context) for param in verb.params if _is_argument(param))))
        yield f"`{written}`", " ".join((verb.help or "").split())


def options(group: click.Group, name: str) -> Iterator[tuple[str, ...]]:
    """Rows of its verbs' options."""
    yield "verb", "option", "meaning"
    for words, verb, context in _each(group, name):
        for param in verb.params:
            record = None if _is_argument(param) else param.get_help_record(context)
            if record is not None:
                yield f"`{words}`", f"`{record[0]}`", " ".join(record[1].split())


def _is_argument(param: click.Parameter) -> bool:
    return isinstance(param, click.Argument)


def _each(group: click.Group, name: str) -> Iterator[tuple[str, click.Command, click.Context]]:
    context = click.Context(group, info_name=name)
    for word in group.list_commands(context):
        verb = group.get_command(context, word)
        assert verb is not None
        if isinstance(verb, click.Group):
            yield from _each(verb, f"{name} {word}")
        else:
            yield f"{name} {word}", verb, click.Context(verb, info_name=word, parent=context)


def page(text: str, tables: dict[str, Iterator[tuple[str, ...]]]) -> str:
    """A page with its tables made anew, each between its marks."""
    for name, rows in tables.items():
        head, *body = ("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
        text = put(text, "table", name, "\n".join([head, "|" + "---|" * (head.count(" | ") + 1), *body]))
    return text


def pages() -> Iterator[tuple[Path, str]]:
    """Each page that holds such tables, and what it is to be."""
    tables: dict[str, dict[str, Any]] = {
        "settings.md": {
            "tegd": settings(HostSettings),
            "zone-ledger": settings(LedgerSettings),
            "governor": settings(GovernorSettings),
        },
        "commands.md": {
            "tegctl": verbs(tegctl, "tegctl"),
            "tegctl options": options(tegctl, "tegctl"),
            "zone-ledger": verbs(zone_ledger, "zone-ledger"),
            "zone-ledger options": options(zone_ledger, "zone-ledger"),
        },
        "ranges.md": {
            "records": record_ranges(),
            "messages": ranges(AnyMessage),
            "hosts": ranges(AnySaid),
            "requests": ranges(AnyRequest),
        },
    }
    for name, made in tables.items():
        path = FOLDER / name
        yield path, page(path.read_text(), made)


if __name__ == "__main__":
    for path, text in pages():
        path.write_text(text)
