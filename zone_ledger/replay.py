"""From a journal's batches to the state that they lead to."""

from collections.abc import Iterable

from tegcore.errors import JournalError
from tegcore.wire.records import unpack_all
from zone_ledger.book.fast import FastBook
from zone_ledger.engine import Engine
from zone_ledger.journal.batch import Batch


def new_engine() -> Engine:
    """An engine with the book that ledgers use."""
    return Engine(FastBook)


def replay(batches: Iterable[Batch]) -> Engine:
    """Apply every record in order.

    Raises:
        JournalError: If a state hash that was noted on the way is not reached: another program wrote it.
    """
    engine = new_engine()
    for batch in batches:
        for record in unpack_all(batch.records):
            engine.apply(record)
        if batch.state_hash is not None and engine.state.hash() != batch.state_hash:
            raise JournalError(
                f"batch {batch.number} does not lead to the state that was noted with it",
                "replay with the version of TEG that wrote the journal",
            )
    return engine
