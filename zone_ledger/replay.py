"""From what is on disk to the state that it leads to."""

from collections.abc import Iterable

from tegcore.errors import JournalError
from tegcore.wire.records import unpack_all
from zone_ledger import snapshot
from zone_ledger.book.fast import FastBook
from zone_ledger.engine import Engine
from zone_ledger.journal.batch import Batch
from zone_ledger.journal.mark import Marked
from zone_ledger.journal.snapshots import Snapshots
from zone_ledger.journal.store import Journal
from zone_ledger.rules import LATEST


def new_engine(rules: int = LATEST) -> Engine:
    """An engine with the book that ledgers use, for a journal that begins under a rule set."""
    return Engine(FastBook, rules)


def replay(batches: Iterable[Batch], engine: Engine | None = None) -> Engine:
    """Apply every record in order, to a new engine under the latest rules or to one that is given.

    Raises:
        JournalError: If a hash that was noted on the way is not reached, or a batch leads to other movements of
            money than were noted with it: another program wrote it.
    """
    engine = engine or new_engine()
    for batch in batches:
        for record in unpack_all(batch.records):
            engine.apply(record)
        postings = engine.state.accounts.take_postings()
        differs = batch.postings not in (b"", postings)
        differs |= batch.running_hash is not None and engine.state.running_hash() != batch.running_hash
        differs |= batch.state_hash is not None and engine.state.hash() != batch.state_hash
        if differs:
            raise JournalError(
                f"batch {batch.number} does not lead to the state that was noted with it",
                "replay with the version of TEG that wrote the journal",
            )
    return engine


def recover(journal: Journal, snapshots: Snapshots) -> Engine:
    """The engine as it was after the last durable batch: from the newest snapshot that proves, or from the start.

    Raises:
        JournalError: By the cases of `zone_ledger.journal.recovery`.
    """
    for taken in snapshots.newest_first():
        engine = new_engine()
        try:
            engine.state = snapshot.proven(taken.payload, FastBook, taken.state_hash)
        except JournalError as error:
            snapshots.broken.append(f"the snapshot of batch {taken.number}: {error}")
            continue
        return replay(journal.read(Marked(taken.number, taken.crc)), engine)
    return replay(journal.read(), new_engine(journal.rules))
