"""What the airlock side asks of the dumper: one JSON object a packet, checked whole before anything is done.

    {"verb": "dump" | "prove", "attempt": n, "folder": "/...", "group": "/...", "pid": n, "start_ticks": n}
    {"problem": "", "pid": n, "note": ""}

`attempt` names one save for ever: asked again with the same number, after a crash on either side, the dumper gives the
answer that it gave, or goes on waiting for the dump that is under way.
"""

import json
from enum import StrEnum
from typing import Any, NamedTuple

PACKET_BYTES_MAX = 8 << 10
_INT_MAX = 2**63 - 1
_WHOLE_NUMBERS = ("attempt", "pid", "start_ticks")


class Verb(StrEnum):
    """What is asked."""

    DUMP = "dump"
    PROVE = "prove"
    """A dump, and a restore of it that never runs, apart from the rest of the host."""


class Request(NamedTuple):
    """A whole request.

    Attributes:
        verb: See `Verb`.
        attempt: Which save it is about.
        folder: Where the image is.
        group: The control group of the processes, frozen.
        pid: Root of the processes.
        start_ticks: Its start time: a pid in use again is not dumped.
    """

    verb: Verb
    attempt: int
    folder: str
    group: str
    pid: int
    start_ticks: int


class Answer(NamedTuple):
    """What came of it.

    Attributes:
        problem: Why it was not done, for people; empty: it was.
        pid: Root of the processes.
        note: What was left untried, for people.
    """

    problem: str
    pid: int = 0
    note: str = ""


def encode(request: Request) -> bytes:
    """One packet."""
    return json.dumps(request._asdict()).encode()


def decode(packet: bytes) -> Request | str:
    """The request, or why it is none."""
    try:
        data = json.loads(packet)
    except (ValueError, RecursionError):
        return "the packet is not JSON"
    if not isinstance(data, dict) or set(data) != set(Request._fields):
        return "the packet has not the fields of a request"
    if data["verb"] not in tuple(Verb):
        return "no such verb"
    if not all(type(data[name]) is int and 0 <= data[name] <= _INT_MAX for name in _WHOLE_NUMBERS):
        return "attempt, pid and start_ticks are whole numbers"
    if not all(_is_path(data[name]) for name in ("folder", "group")):
        return "folder and group are absolute paths without `..`"
    return Request(**(data | {"verb": Verb(data["verb"])}))


def encode_answer(answer: Answer) -> bytes:
    """One packet."""
    return json.dumps(answer._asdict()).encode()


def decode_answer(packet: bytes) -> Answer:
    """The answer in a packet of the dumper."""
    data: dict[str, Any] = json.loads(packet)
    return Answer(str(data["problem"]), int(data["pid"]), str(data["note"]))


def _is_path(value: object) -> bool:
    return isinstance(value, str) and value.startswith("/") and "\0" not in value and ".." not in value.split("/")
