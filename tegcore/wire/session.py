"""Sessions: delivery exactly once, in order, over a broker that may lose, double and reorder.

Each direction of a host's session is a stream numbered from 1. The sender keeps what is not acknowledged and sends it
again from the oldest; the receiver takes only the next number, passes over what it has, and drops what leaves a gap.
Acknowledgements are cumulative and travel with the other direction, so that any one message that arrives repairs all
that were lost before it.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from tegcore.wire.records import RECORD_BYTES, Record

UNACKED_MAX = 4096
RECORDS_PER_MESSAGE_MAX = (60 << 10) // RECORD_BYTES


@dataclass(slots=True)
class Outbox:
    """The sending end of one stream.

    Attributes:
        last_seq: Number of the last record that was put.
        acked: Greatest number that the other end has.
    """

    last_seq: int = 0
    acked: int = 0
    _waiting: deque[bytes] = field(default_factory=deque)

    @property
    def full(self) -> bool:
        """Whether no more can be put until something is acknowledged."""
        return len(self._waiting) >= UNACKED_MAX

    def put(self, record: Record) -> Record:
        """Number a record and keep it until it is acknowledged; returns it as it will be sent.

        Raises:
            OverflowError: If `full`.
        """
        if self.full:
            raise OverflowError(f"{UNACKED_MAX} records wait for acknowledgement")
        self.last_seq += 1
        numbered = record._replace(seq=self.last_seq)
        self._waiting.append(numbered.packed())
        return numbered

    def ack(self, seq: int) -> int:
        """Forget what the other end has, up to `seq`; returns how many were forgotten. Old news is passed over."""
        forgotten = 0
        while self._waiting and self.acked < min(seq, self.last_seq):
            self._waiting.popleft()
            self.acked += 1
            forgotten += 1
        return forgotten

    def pending(self, reserved: int = 0) -> bytes:
        """The records that wait, oldest first, as many as fit in one message beside `reserved` others."""
        return b"".join(islice(self._waiting, max(0, RECORDS_PER_MESSAGE_MAX - reserved)))

    def __len__(self) -> int:
        """How many records wait."""
        return len(self._waiting)


@dataclass(slots=True)
class Inbox:
    """The receiving end of one stream.

    Attributes:
        last_seq: Greatest number that was taken in.
    """

    last_seq: int = 0

    def take(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records of a message that are new and next, in order."""
        for record in records:
            if record.seq == self.last_seq + 1:
                self.last_seq = record.seq
                yield record
