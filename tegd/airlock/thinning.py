"""How a workload of several processes gives way in parts: the youngest are held, the oldest runs on to its end.

A part is a process of a workload that has no children in it and is not its main one. Held one by one they need no save:
what one leaves behind at its end is room for the next. How large a part becomes is learned from those that came to
their end; beyond that, or before one did, a part that grows is taken to double.
"""

from collections.abc import Sequence
from typing import NamedTuple

ALIKE = 1.25
"""A part that is larger by no more than this than one that came to its end is taken to end like that one."""


STILL = 1.03
"""A part that is larger by no more than this has not grown."""

STEADY_NS = 2_000_000_000


class Part(NamedTuple):
    """A process that can be held by itself.

    Attributes:
        pid: Process id.
        start_ticks: Its start time, so that a pid in use again is not taken for it.
        bytes: Its share of what its workload holds.
        held: Whether it is held.
    """

    pid: int
    start_ticks: int
    bytes: int
    held: bool = False

    @property
    def key(self) -> tuple[int, int]:
        """What names it for ever."""
        return self.pid, self.start_ticks


class Known(NamedTuple):
    """What was learned of the parts of one workload.

    Attributes:
        sizes: Of those that run, and since when they have not grown, ns.
        peak_bytes: The largest that came to its end, or has not grown for `STEADY_NS`; 0: none did.
    """

    sizes: dict[tuple[int, int], tuple[int, int]]
    peak_bytes: int = 0


NOTHING = Known({})


def learned(before: Known, parts: Sequence[Part], at_ns: int) -> Known:
    """With those that have ended or stand still since; without parts, nothing was seen."""
    if not parts:
        return before
    alive = {part.key for part in parts}
    ended = [size for key, (size, _) in before.sizes.items() if key not in alive]
    sizes = {}
    for part in parts:
        if not part.held:
            size, since_ns = before.sizes.get(part.key, (0, at_ns))
            sizes[part.key] = (part.bytes, at_ns) if part.bytes > size * STILL else (size, since_ns)
    steady = [size for size, since_ns in sizes.values() if at_ns - since_ns >= STEADY_NS]
    return Known(sizes, max([before.peak_bytes, *ended, *steady]))


def oldest_first(parts: Sequence[Part], *, held: bool) -> list[Part]:
    """Those that are held, or those that run."""
    return sorted((part for part in parts if part.held is held), key=lambda part: (part.start_ticks, part.pid))


def left_bytes(part: Part, known: Known, *, grows: bool) -> int:
    """What a part is still expected to take.

    Args:
        part: The part.
        known: Of its workload.
        grows: Whether those of its workload that run grow; one that is held is taken to grow when it is let go.
    """
    if part.bytes <= known.peak_bytes * ALIKE:
        return max(0, known.peak_bytes - part.bytes)
    return part.bytes if grows or part.held else 0


def fitting(parts: Sequence[Part], known: Known, room_bytes: float, *, grows: bool) -> int:
    """How many of these, from the first on, are expected to come to their ends within this room."""
    for count, part in enumerate(parts):
        room_bytes -= left_bytes(part, known, grows=grows)
        if room_bytes < 0:
            return count
    return len(parts)
