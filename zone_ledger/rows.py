"""Sums of hashes of rows, kept as rows change: what a running hash is made of, so that it costs what has changed.

A row is a list of 64-bit words that begins with the number that names it: an account, a host, a lease, an order. The
sum of the first 16 bytes of BLAKE2b over each, modulo 2^128, is the same in whatever order they came, and a row that
changed is taken out and put in again. Rows of one kind have a sum of their own, and the word that tells the kind is
hashed with them.

It tells two states apart that differ by accident. Against someone who may choose rows it is worth less than one hash
over all of them: sums can be made to meet. Who could do so here owns the ledger.
"""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import blake2b
from typing import Generic, TypeVar

from zone_ledger.leases import OrderKey

HASH_BYTES = 16
_WRAP = 1 << 8 * HASH_BYTES

Key = TypeVar("Key")


class Kind(IntEnum):
    """What a row is of; the number is part of what is hashed."""

    ACCOUNT = 1
    HOST = 2
    LEASE = 3
    ORDER = 4
    CAP = 5
    TRANSFER = 6
    WAITER = 7


class RowSum(Generic[Key]):
    """The sum over the rows of a kind.

    Args:
        kind: Of them.
    """

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._sum = 0
        self._hashed: dict[Key, int] = {}
        self._changed: set[Key] = set()

    def mark(self, key: Key) -> None:
        """The row that a key names is new, another, or gone."""
        self._changed.add(key)

    def mark_all(self, keys: Iterable[Key]) -> None:
        """All of these are."""
        self._changed.update(keys)

    def settled(self, row_of: Callable[[Key], list[int] | None]) -> bytes:
        """The sum as it is now; looks at what was marked since it was asked for last.

        Args:
            row_of: The row of a key, None where there is none any more.
        """
        for key in self._changed:
            before, row = self._hashed.pop(key, 0), row_of(key)
            if row is not None:
                self._hashed[key] = after = hash_of(self._kind, row)
                self._sum += after
            self._sum -= before
        self._sum %= _WRAP
        self._changed.clear()
        return self._sum.to_bytes(HASH_BYTES, "little")


@dataclass(slots=True)
class Rows:
    """The sums of a state."""

    accounts: RowSum[int] = field(default_factory=lambda: RowSum(Kind.ACCOUNT))
    hosts: RowSum[int] = field(default_factory=lambda: RowSum(Kind.HOST))
    leases: RowSum[int] = field(default_factory=lambda: RowSum(Kind.LEASE))
    orders: RowSum[OrderKey] = field(default_factory=lambda: RowSum(Kind.ORDER))
    caps: RowSum[int] = field(default_factory=lambda: RowSum(Kind.CAP))
    transfers: RowSum[tuple[int, int]] = field(default_factory=lambda: RowSum(Kind.TRANSFER))
    waiters: RowSum[tuple[int, int]] = field(default_factory=lambda: RowSum(Kind.WAITER))


def hash_of(kind: Kind, row: list[int]) -> int:
    """The hash of a row, as it is added up."""
    words = struct.pack(f"<{len(row) + 1}q", kind, *row)
    return int.from_bytes(blake2b(words, digest_size=HASH_BYTES).digest(), "little")
