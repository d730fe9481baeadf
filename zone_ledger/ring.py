"""The ring: messages between the socket and the engine, in slots that are made once (LMAX; paper 3.3.1).

One producer (the transport's callback) and one consumer (the tick). It never grows and never blocks: what does not fit
is refused, and the sender is told.
"""

from typing import NamedTuple

SLOTS = 4096
BYTES_MAX = 32 << 20


class Arrived(NamedTuple):
    """A message as it came in.

    Attributes:
        at_ns: When, on the boot-time clock.
    """

    topic: str
    frame: bytes
    at_ns: int


class Ring:
    """A bounded queue of messages.

    Args:
        slots: How many messages it holds.
        bytes_max: How many bytes they may have together.
    """

    def __init__(self, slots: int = SLOTS, bytes_max: int = BYTES_MAX) -> None:
        self._slots: list[Arrived | None] = [None] * slots
        self._head = self._count = self._bytes = 0
        self._bytes_max = bytes_max

    def put(self, arrived: Arrived) -> bool:
        """Take in a message; False if there is no room for it."""
        size = len(arrived.frame)
        if self._count == len(self._slots) or self._bytes + size > self._bytes_max:
            return False
        self._slots[(self._head + self._count) % len(self._slots)] = arrived
        self._count += 1
        self._bytes += size
        return True

    def take(self) -> list[Arrived]:
        """All that is there, oldest first."""
        taken: list[Arrived] = []
        for _ in range(self._count):
            arrived = self._slots[self._head]
            assert arrived is not None
            self._slots[self._head] = None
            self._head = (self._head + 1) % len(self._slots)
            taken.append(arrived)
        self._count = self._bytes = 0
        return taken

    def __len__(self) -> int:
        """How many messages wait."""
        return self._count
