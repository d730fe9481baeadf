"""The airlock's local socket: one JSON object a packet, at most `PACKET_BYTES_MAX`.

    request   {"v": 1, "id": n, "verb": "...", ...}
    reply     {"v": 1, "id": n, "ok": true, ...}  or  {"v": 1, "id": n, "ok": false, "reason": "...", "message": "..."}
    event     {"v": 1, "event": "...", ...a workload as `list` gives it}

The replies to `open_saved` and `open_given` carry an open file (SCM_RIGHTS).

A request is checked whole before any of it is acted upon: each verb's fields stand in one table, with what they must
be. Unknown fields are refused, so that a misspelt limit does not pass for none.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from tegd.airlock.model import Then, Workload

VERSION = 1
PACKET_BYTES_MAX = 64 << 10
HISTORY_PAGE_MAX = 64
"""Decisions in one reply to `memory`."""
LOG_BYTES_MIN, LOG_BYTES_MAX = 64 << 10, 64 << 20
"""What is kept of one log: the most, and the least that may be asked for."""
PAGE_BYTES_MAX = 48 << 10
"""A page of `list` stays below this, to leave room for its envelope."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9@:._\\-]{0,254}")
_HALVES = re.compile("[\ud800-\udfff]")
_INT_MAX = 2**63 - 1
_ID_MAX = 2**32 - 2
"""Of users and groups; the one above means nobody."""
PATH_BYTES_MAX = 4096
T = TypeVar("T")
SIGNALS = {
    "SIGHUP": 1,
    "SIGINT": 2,
    "SIGQUIT": 3,
    "SIGUSR1": 10,
    "SIGUSR2": 12,
    "SIGALRM": 14,
    "SIGTERM": 15,
    "SIGCONT": 18,
    "SIGWINCH": 28,
}
"""Signals that may be asked for: those that neither stop nor kill past a handler, as Linux numbers them."""
LIMITS = {
    "as": "v",
    "core": "c",
    "cpu": "t",
    "data": "d",
    "fsize": "f",
    "memlock": "l",
    "nofile": "n",
    "nproc": "p",
    "rss": "m",
    "stack": "s",
}
"""Limits that may be asked for, as `RLIMIT_` names them, and what a shell's `ulimit` calls each."""


class Reason(StrEnum):
    """Why a request was refused."""

    BAD_REQUEST = "bad_request"
    TOO_LARGE = "too_large"
    UNKNOWN_VERB = "unknown_verb"
    UNKNOWN_WORKLOAD = "unknown_workload"
    STALE_TOKEN = "stale_token"  # noqa: S105
    CONFLICT = "conflict"
    TOO_MANY = "too_many"
    NO_HOOK = "no_hook"
    NOT_NOW = "not_now"
    MEMORY = "memory"
    PAST_TERM = "past_term"
    NO_RIGHTS = "no_rights"
    NO_FILE = "no_file"
    WATCHDOG = "watchdog"


class Request(NamedTuple):
    """A whole and checked request."""

    number: int
    verb: str
    fields: dict[str, Any]


class Refusal(NamedTuple):
    """Why a packet or a request was not taken."""

    number: int
    reason: Reason
    message: str


Check = Callable[[Any], bool]


def _is_int(value: object) -> bool:
    return type(value) is int and 0 <= value <= _INT_MAX


def _is_log_bound(value: object) -> bool:
    return type(value) is int and LOG_BYTES_MIN <= value <= LOG_BYTES_MAX


def _is_id(value: object) -> bool:
    return type(value) is int and 0 <= value <= _ID_MAX


def _is_text(value: object) -> bool:
    """Whether it can be a word of a command: JSON also has halves of characters, which nothing is called by."""
    return isinstance(value, str) and "\0" not in value and (value.isascii() or _HALVES.search(value) is None)


def _is_path(value: object) -> bool:
    return _is_text(value) and str(value).startswith("/") and len(str(value).encode()) < PATH_BYTES_MAX


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_folder(value: object) -> bool:
    return isinstance(value, str) and len(value) < 20 and value.isascii() and value.isdigit()


def _is_plain(value: object) -> bool:
    return _is_text(value) and value not in ("", ".", "..") and "/" not in str(value) and len(str(value)) < 256


def _is_argv(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_text, value)) and value[0] != ""


def _is_env(value: object) -> bool:
    return isinstance(value, dict) and all(
        _is_text(key) and key and "=" not in key and _is_text(text) for key, text in value.items()
    )


def _is_hook(value: object) -> bool:
    if value is None:
        return True
    return (
        isinstance(value, dict)
        and set(value) == {"signal", "checkpoint", "mark"}
        and isinstance(value["signal"], str)
        and value["signal"] in SIGNALS
        and _is_path(value["checkpoint"])
        and _is_path(value["mark"])
        and value["checkpoint"] != value["mark"]
    )


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and -_INT_MAX <= value <= _INT_MAX  # type: ignore[operator]


def _is_flag(value: object) -> bool:
    return type(value) is bool


def _is_signal(value: object) -> bool:
    return value in SIGNALS.values() and type(value) is int


def _is_path_or_none(value: object) -> bool:
    return value == "" or _is_path(value)


def _is_mask(value: object) -> bool:
    return type(value) is int and 0 <= value <= 0o777


def _is_limits(value: object) -> bool:
    return isinstance(value, dict) and all(
        name in LIMITS and type(most) is int and -1 <= most <= _INT_MAX for name, most in value.items()
    )


def _is_then(value: object) -> bool:
    return value in (Then.END, Then.THAW, Then.PARK)


_WORKLOAD: dict[str, Check] = {"workload": _is_name}
_FENCED: dict[str, Check] = _WORKLOAD | {"token": _is_int}
VERBS: dict[str, dict[str, Check]] = {
    "hello": {},
    "start": _FENCED
    | {
        "lease": _is_int,
        "argv": _is_argv,
        "env": _is_env,
        "cwd": _is_path,
        "uid": _is_id,
        "gid": _is_id,
        "hook": _is_hook,
        "term_end_ns": _is_int,
        "notice_ns": _is_int,
        "save_ns": _is_int,
        "grace_ns": _is_int,
        "resume": _is_flag,
        "rank": _is_number,
    },
    "bound": _FENCED | {"bytes": _is_int},
    "bound_log": _FENCED | {"bytes": _is_log_bound},
    "extend": _FENCED | {"term_end_ns": _is_int},
    "freeze": _FENCED,
    "thaw": _FENCED,
    "signal": _FENCED | {"signum": _is_signal},
    "save": _FENCED | {"then": _is_then},
    "end": _FENCED | {"grace_ns": _is_int},
    "forget": _WORKLOAD,
    "list": {"after": _is_text},
    "usage": {},
    "memory": {"after_ns": _is_int},
    "open_saved": {"folder": _is_folder, "name": _is_plain, "uid": _is_id},
    "open_given": {"folder": _is_folder, "name": _is_plain, "executable": _is_flag},
}
"""Every verb with its fields and what each must be. All must be there."""
MAY: dict[str, dict[str, Check]] = {
    "start": {
        "submitted": _is_int,
        "umask": _is_mask,
        "limits": _is_limits,
        "environment": _is_path_or_none,
        "stdin": _is_path_or_none,
    },
    "usage": {"after": _is_text},
}
"""Fields that may be left out: then all is as it was before there were such."""


def decode(packet: bytes) -> Request | Refusal:
    """Read one packet.

    Returns:
        The request, or why it is none, with its number where that could be read (else 0).
    """
    try:
        data = json.loads(packet)
    except (ValueError, RecursionError):
        return Refusal(0, Reason.BAD_REQUEST, "the packet is not JSON")
    if not isinstance(data, dict):
        return Refusal(0, Reason.BAD_REQUEST, "the packet is not an object")
    number = data.pop("id", 0)
    if not _is_int(number):
        return Refusal(0, Reason.BAD_REQUEST, "id is not a whole number")
    if data.pop("v", None) != VERSION:
        return Refusal(number, Reason.BAD_REQUEST, f"v is not {VERSION}: use the airlock and the agent of one release")
    verb = data.pop("verb", None)
    wanted = VERBS.get(verb) if isinstance(verb, str) else None
    if wanted is None:
        return Refusal(number, Reason.UNKNOWN_VERB, f"{verb!r} is none of {', '.join(VERBS)}")
    for name, fits in wanted.items():
        if name not in data or not fits(data[name]):
            return Refusal(number, Reason.BAD_REQUEST, f"{verb}: {name} is missing or not what it must be")
    may = MAY.get(str(verb), {})
    if unknown := set(data) - set(wanted) - set(may):
        return Refusal(number, Reason.BAD_REQUEST, f"{verb}: no field {min(unknown)!r}")
    if unfit := [name for name, fits in may.items() if name in data and not fits(data[name])]:
        return Refusal(number, Reason.BAD_REQUEST, f"{verb}: {unfit[0]} is not what it must be")
    if "then" in data:
        data["then"] = Then(data["then"])
    return Request(number, str(verb), data)


def encode(data: Mapping[str, Any]) -> bytes:
    """One packet, with the version."""
    return json.dumps({"v": VERSION, **data}, separators=(",", ":")).encode()


def reply(number: int, fields: Mapping[str, Any]) -> bytes:
    """The answer to a request that was taken."""
    return encode({"id": number, "ok": True, **fields})


def refusal(refused: Refusal) -> bytes:
    """The answer to one that was not."""
    return encode({"id": refused.number, "ok": False, "reason": refused.reason, "message": refused.message})


_WATCHED = "the service manager ends it when it does not report (WatchdogSec=): it is never frozen"


def view(workload: Workload, log: str) -> dict[str, Any]:
    """A workload as `list`, replies and events give it."""
    spec, status = workload.spec, workload.status
    return {
        "workload": spec.workload,
        "lease": spec.lease,
        "token": spec.token,
        "state": status.state,
        "since_ns": status.since_ns,
        "held": status.held,
        "rank": spec.rank,
        "bound_bytes": status.bound_bytes,
        "parts_held": len(status.parts),
        "cause": status.cause,
        "pid": status.pid,
        "term_end_ns": status.term_end_ns,
        "exit_code": status.exit_code,
        "checkpoint": spec.hook.checkpoint if spec.hook else "",
        "saved_ns": status.saved_ns,
        "quits": status.quits,
        "savable": workload.way or "",
        "by": status.by,
        "proof": status.proof,
        "flaw": _WATCHED if spec.watchdog else status.flaw,
        "tries": status.tries,
        "problem": status.problem,
        "log": log,
    }


def page(views: list[dict[str, Any]]) -> dict[str, Any]:
    """As many of these as one packet holds, and whether more follow."""
    taken = fitting(views, PAGE_BYTES_MAX) or views[:1]
    return {"workloads": taken, "more": len(taken) < len(views)}


def fitting(entries: Sequence[T], bytes_max: int) -> list[T]:
    """The first of these, as many as so many bytes of a packet hold."""
    size = 0
    for count, entry in enumerate(entries):
        size += len(json.dumps(entry)) + 1
        if size > bytes_max:
            return list(entries[:count])
    return list(entries)
