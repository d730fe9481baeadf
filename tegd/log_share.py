"""What one tenant's output may take on a host: its largest logs give way first, and all alike (water filling)."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tegd.airlock.protocol import LOG_BYTES_MAX, LOG_BYTES_MIN


class Log(NamedTuple):
    """One log of a tenant.

    Attributes:
        name: Any that tells it from others.
        tenant: Whose it is.
        size: What it takes, in bytes.
    """

    name: str
    tenant: str
    size: int


def level(sizes: Iterable[int], share: int) -> int:
    """The greatest bound on each under which they are within a share together, in bytes.

    It is never below `LOG_BYTES_MIN`, so that the end of each stays, nor above `LOG_BYTES_MAX`.
    """
    left, waiting = share, sorted(sizes)
    for place, size in enumerate(waiting):
        if size * (len(waiting) - place) > left:
            return min(LOG_BYTES_MAX, max(LOG_BYTES_MIN, left // (len(waiting) - place)))
        left -= size
    return LOG_BYTES_MAX


def bounds(logs: Iterable[Log], share: int, was: Mapping[str, int]) -> dict[str, int]:
    """To how many bytes each log is to be held.

    A tenant that is over its share is brought to three quarters of it, so that not each line asks for another cut, and
    is held so until half of it is free.

    Args:
        logs: All of a host.
        share: Most of one tenant, in bytes.
        was: What was said last; what is not there was held to `LOG_BYTES_MAX`.
    """
    tenants: dict[str, list[Log]] = {}
    for log in logs:
        tenants.setdefault(log.tenant, []).append(log)
    said = {}
    for found in tenants.values():
        total = sum(log.size for log in found)
        cut = level((log.size for log in found), share * 3 // 4) if total > share else LOG_BYTES_MAX
        for log in found:
            before = was.get(log.name, LOG_BYTES_MAX) if total > share // 2 else LOG_BYTES_MAX
            said[log.name] = min(before, cut if log.size > cut else LOG_BYTES_MAX)
    return said
