"""Identities: names of hosts, tenants, zones and workloads, and where in time a message belongs.

A name is what a topic level and a file name can hold: lower-case letters, digits, `-`, `_` and `.`, at most 64 bytes.
"""

import re

from tegcore.errors import DecodeError
from tegcore.units import NAME_BYTES_MAX

_NAME = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{NAME_BYTES_MAX - 1}}}")


def is_name(text: str) -> bool:
    """Whether a text may name a host, tenant, zone or workload."""
    return _NAME.fullmatch(text) is not None


def _nearest(text: str) -> str:
    """The name that was meant, where letters were large only."""
    return f", as {text.lower()!r}" if is_name(text.lower()) else ""


def checked_name(text: str, what: str) -> str:
    """The name itself.

    Raises:
        DecodeError: If it is none; `what` says whose name it was to be.
    """
    if not is_name(text):
        raise DecodeError(
            f"{text[:80]!r} cannot name a {what}",
            hint=f"use lower-case letters, digits, '-', '_' and '.', at most {NAME_BYTES_MAX} in all{_nearest(text)}",
        )
    return text
