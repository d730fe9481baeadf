"""The real engine, spoken to directly: commands with the numbers that sessions need, and what its hosts are told."""

from collections import Counter

from tegcore.wire.records import Acked, Op, Record, Tick, unpack_all
from zone_ledger.book.fast import FastBook
from zone_ledger.engine import Engine


class Driver:
    """An engine of its own, for experiments about the market alone: no network, no field, no processes."""

    def __init__(self) -> None:
        self.engine = Engine(FastBook)
        self._said = Counter[int]()

    def operate(self, op: Op, body: object) -> None:
        """A command of the operator or the governor."""
        self._said[0] += 1
        self.engine.apply(Record(op, 0, 0, self._said[0], body))

    def come(self, host: int, up: object) -> None:
        """A host comes up; it has no boot but this."""
        self.engine.apply(Record(Op.HOST_UP, host, 1, 0, up))

    def command(self, host: int, op: Op, body: object) -> None:
        """A command of a host."""
        self._said[host] += 1
        self.engine.apply(Record(op, host, 1, self._said[host], body))

    def tick(self) -> None:
        """A tick passes."""
        state = self.engine.state
        self.engine.apply(Record(Op.TICK, 0, 0, 0, Tick(state.tick + 1, state.tau + 1)))

    def told(self, host: int) -> list[Record]:
        """What a host was told since it was asked last; it says that it took note."""
        outbox, told = self.engine.state.hosts[host].outbox, list[Record]()
        while raw := outbox.pending():
            told += unpack_all(raw)
            self.engine.apply(Record(Op.ACKED, host, 1, 0, Acked(told[-1].seq)))
        return told
