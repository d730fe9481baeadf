"""Bugs that are put into the programs from outside, each as people make them, to see that a checker finds them.

A bug is a function that patches the product; nothing of it stands in the product's own code. `rules` names the
invariants that it breaks, of which one must be named; `first` is the first seed of a scenario that finds it.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from governor.barrier import Verdict
from tegcore.wire.records import Op
from tegcore.wire.session import Inbox, Outbox
from tegd.airlock import core as airlock
from tegd.airlock.transitions import State as RunState
from tegd.link import Link
from tegd.node import Node
from tegd.travel import Travel
from tegsim.cluster import host as simulated_host
from tegsim.kernel import Clock
from zone_ledger import clearing, door, settlement, snapshot, waiting
from zone_ledger.accounts import Accounts
from zone_ledger.engine import Engine
from zone_ledger.journal import store
from zone_ledger.leases import Lease
from zone_ledger.ledger import Ledger
from zone_ledger.state import Outcome, State
from zone_ledger.waiters import Heads

LOST = "acknowledged is never lost"
UNREADABLE = "a journal can always be read"
CREDITS = "credits are conserved"
FENCED = "no work runs past its sure end"
SLOTS = "no slot is held twice"
AGREE = "all agree once nothing fails"
REPLAY = "replay is equal"
ONCE = "events are delivered once, in order"
FROZEN = "nothing stays frozen within its term"
FREE = "a seat that is given back is free"
COMMON = "a gang goes on from one save of all its ranks"
WHOLE = "a whole generation stays until there is a newer one"
OWN = "no program breaks an invariant of its own"

COURSE = "one gang, one fault"
"""In place of a scenario: `sim.gangs`."""

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Bug:
    """One bug: what is done to the product, what that breaks, and the first seed of a scenario that shows it."""

    plant: Callable[[Patch], None]
    rules: tuple[str, ...]
    scenario: str
    first: int = 1


def skip_fsync(patch: Patch) -> None:
    """The journal's commits are not synced."""
    opened = store.open_durable

    def unsynced(path: Path, schema: str) -> sqlite3.Connection:
        connection = opened(path, schema)
        connection.execute("PRAGMA synchronous=OFF")
        return connection

    patch.setattr(store, "open_durable", unsynced)


def no_dedup_of_commands(patch: Patch) -> None:
    """What a host sends twice is applied twice."""

    def taken(self: door.Door, state: State, said: Any) -> door.Entry:
        number = state.host_numbers.get(said.host, 0)
        if number not in state.hosts or state.hosts[number].boot != said.boot:
            return door.Entry(host=said.host, rejected=(door.Reason.STALE_BOOT, ""), boot=said.boot)
        records = self._checked(said.records, door.HOST_OPS)
        named = [self._named(state, record, number, said.boot) for record in records]
        quotes = [self._named(state, record, number, said.boot) for record in self._checked(said.quotes, {Op.FOK})]
        acked = door.Record(Op.ACKED, number, said.boot, 0, door.Acked(said.event_ack))
        return door.Entry((acked, *named), tuple(quotes), said.host)

    def always(self: Engine, record: Any) -> bool:
        session = self.state.hosts[record.actor]
        session.inbox.last_seq = max(session.inbox.last_seq, record.seq)
        return True

    patch.setattr(door.Door, "_order", taken)
    patch.setattr(Engine, "_next_in_session", always)


def event_redelivered(patch: Patch) -> None:
    """A host takes in an event as often as it comes."""

    def take(self: Inbox, records: Any) -> Any:
        for record in records:
            self.last_seq = max(self.last_seq, record.seq)
            yield record

    patch.setattr(Inbox, "take", take)


def off_by_one_price(patch: Patch) -> None:
    """A winner pays one ucr more than the price."""
    right = clearing.price_ucr
    patch.setattr(clearing, "price_ucr", lambda charge, shape: right(charge, shape) + 1)


def stale_lease_honoured(patch: Patch) -> None:
    """The airlock side takes no notice of the end of a term."""
    patch.setattr(airlock, "_term_pending", lambda _status: False)


def hook_without_end(patch: Patch) -> None:
    """A hook may run as long past a term as it likes."""
    patch.setattr(airlock, "_last_run_ns", lambda _spec, _status: 1 << 62)


def barrier_off(patch: Patch) -> None:
    """The barrier never asks for anything."""
    from governor import controller

    patch.setattr(controller, "judge", lambda *_: Verdict(1.0, 0.0, closed=False))


def lost_release(patch: Patch) -> None:
    """The ledger takes a RELEASE, and forgets it."""
    patch.setattr(Engine, "_release", lambda _self, _record: Outcome())


def double_credit(patch: Patch) -> None:
    """A transfer that is told again is credited again."""
    right = Engine._transfer_in

    def again(self: Engine, record: Any) -> Outcome:
        self.state.transfers.discard((record.body.zone, record.body.transfer))
        return right(self, record)

    patch.setattr(Engine, "_transfer_in", again)


def regrant_before_sure_end(patch: Patch) -> None:
    """An unheard host's slots are let again as soon as two thirds of its term are over."""

    def early(self: State, lease: Lease) -> int:
        return lease.term_end - self.term_ticks // 3

    patch.setattr(State, "sure_end", early)


def clock_step_trusted(patch: Patch) -> None:
    """Terms are counted on a clock that may be set."""
    right = Clock.now_ns
    patch.setattr(Clock, "now_ns", lambda self: right(self) + self.wall_offset_ns)


def freeze_not_undone(patch: Patch) -> None:
    """What runs on is not thawed."""
    patch.setitem(airlock._ON_ENTRY, RunState.RUNNING, ())


def snapshot_without_caps(patch: Patch) -> None:
    """A snapshot lacks the price caps."""
    _missing_from_snapshots(patch, "caps", {})


def snapshot_without_refs(patch: Patch) -> None:
    """A snapshot lacks what no hash covers: which orders a host has out."""
    _missing_from_snapshots(patch, "refs", set())


def _missing_from_snapshots(patch: Patch, name: str, nothing: Any) -> None:
    right = snapshot.pack

    def pack(state: State) -> bytes:
        kept = getattr(state, name)
        setattr(state, name, nothing)
        try:
            return right(state)
        finally:
            setattr(state, name, kept)

    patch.setattr(snapshot, "pack", pack)


def failed_batch_kept(patch: Patch) -> None:
    """After a write that failed the ledger goes on from what it has in memory."""
    right = Ledger.recovered
    patch.setattr(Ledger, "recovered", lambda self, _engine, number: right(self, self.engine, number))


def boots_by_wall_clock(patch: Patch) -> None:
    """A start is numbered by the wall clock alone."""
    patch.setattr(simulated_host, "boot_after", lambda _last, wall_s: wall_s)


def ack_of_one_too_many(patch: Patch) -> None:
    """An acknowledgement is taken to cover the next event as well."""
    right = Outbox.ack
    patch.setattr(Outbox, "ack", lambda self, seq: right(self, seq + 1))


def purse_forgotten(patch: Patch) -> None:
    """What is left of a purse does not come back."""
    right = settlement.end

    def end(state: State, lease: Lease, why: Any) -> None:
        patched, Accounts.give_back = Accounts.give_back, lambda *_: None  # type: ignore[method-assign]
        try:
            right(state, lease, why)
        finally:
            Accounts.give_back = patched  # type: ignore[method-assign]

    for module in (settlement, __import__("zone_ledger.eviction", fromlist=["end"])):
        patch.setattr(module, "end", end)


def welcome_not_awaited(patch: Patch) -> None:
    """Events are taken in before the Welcome that says what they mean (as it was: seed 3)."""
    right = Node.told_events

    def at_once(self: Node, message: Any, now_ns: int) -> Any:
        if self.zone is None and message.boot == self.link.boot:
            return [effect for record in self.link.take(message) for effect in self._event(record, now_ns)]
        return right(self, message, now_ns)

    patch.setattr(Node, "told_events", at_once)


def notice_answered_at_once(patch: Patch) -> None:
    """A seat is given back when its notice comes (as it was: seed 11)."""
    right = Node._noticed

    def at_once(self: Node, body: Any, now_ns: int) -> Any:
        self.release(body.lease, body.token, body.why, now_ns)
        return right(self, body, now_ns)

    patch.setattr(Node, "_noticed", at_once)


def renewal_counted_from_its_answer(patch: Patch) -> None:
    """A host counts its term from when the answer came, not from when it asked."""
    patch.setattr(Link, "sent_ns", lambda self, seq: self._sent.get(seq) and self._sent[seq] + 5_000_000_000)


def nobody_is_woken(patch: Patch) -> None:
    """Room that appears is told to nobody: who waits finds it by chance, when it asks again."""
    patch.setattr(waiting, "wake", lambda state: None)


def only_the_oldest_is_looked_at(patch: Patch) -> None:
    """Where the oldest does not fit, nobody is woken."""
    patch.setattr(Heads, "drop_kind", lambda self: self._heads.clear())


def each_rank_its_newest(patch: Patch) -> None:
    """Each rank of a gang goes on from the newest save of its own."""
    right = Travel.brief

    def brief(self: Travel, work: Any, rank: int, user: str) -> Any:
        chosen = work.basis
        held = (kept.generation for kept in work.sources if kept.rank == rank and self._has(kept))
        work.basis = max(held, default=chosen)
        try:
            return right(self, work, rank, user)
        finally:
            work.basis = chosen

    patch.setattr(Travel, "brief", brief)
    patch.setattr(Travel, "_sort_out", lambda *_: None)


def late_save_taken_for_what_was_asked(patch: Patch) -> None:
    """What the airlock saves at the end of a term bears the number of a save never made (as it was: seed 2)."""
    right = Travel.run_changed

    def changed(self: Travel, work: Any, run: Any) -> Any:
        return right(self, work, run._replace(hook_failed="", cause=""))

    patch.setattr(Travel, "run_changed", changed)


def parts_dropped_at_once(patch: Patch) -> None:
    """A part that is over is let go, whoever has a copy of what it saved (as it was for one on its own home)."""
    patch.setattr(Travel, "_droppable", lambda *_: True)


IDLE = "no slot is idle while work that fits waits"
BUGS = {
    "nobody is woken": Bug(nobody_is_woken, (IDLE,), "swarm"),
    "only the oldest is looked at": Bug(only_the_oldest_is_looked_at, (IDLE,), "swarm", 16),
    "skip fsync": Bug(skip_fsync, (LOST, UNREADABLE), "disk"),
    "no dedup of commands": Bug(no_dedup_of_commands, (OWN, LOST, AGREE, "a command is applied once"), "lossy"),
    "event redelivered": Bug(event_redelivered, (ONCE,), "lossy"),
    "off-by-one price": Bug(off_by_one_price, ("rents are right",), "disk", 7),
    "stale lease honoured": Bug(stale_lease_honoured, (FENCED, SLOTS), "terms"),
    "hook without end": Bug(hook_without_end, (FENCED, SLOTS), "terms"),
    "barrier off": Bug(barrier_off, ("the barrier holds",), "herd"),
    "lost release": Bug(lost_release, (FREE,), "lossy"),
    "double credit": Bug(double_credit, (CREDITS,), "disk"),
    "regrant before sure end": Bug(regrant_before_sure_end, (FENCED, SLOTS), "terms"),
    "clock step trusted": Bug(clock_step_trusted, (FENCED, SLOTS, AGREE, FROZEN, OWN), "terms", 2),
    "freeze not undone": Bug(freeze_not_undone, (FROZEN,), "terms", 8),
    "snapshot without caps": Bug(snapshot_without_caps, ("snapshots prove",), "disk"),
    "snapshot without refs": Bug(snapshot_without_refs, (REPLAY,), "disk"),
    "failed batch kept": Bug(failed_batch_kept, (REPLAY,), "disk"),
    "boots by wall clock": Bug(boots_by_wall_clock, ("boots rise",), "lossy", 2),
    "ack of one too many": Bug(ack_of_one_too_many, (ONCE, AGREE, LOST, FREE), "lossy"),
    "purse forgotten": Bug(purse_forgotten, (CREDITS, OWN), "disk"),
    "welcome not awaited": Bug(welcome_not_awaited, (AGREE,), "lossy"),
    "notice answered at once": Bug(notice_answered_at_once, (FENCED, SLOTS), "disk"),
    "each rank its newest": Bug(each_rank_its_newest, (COMMON,), COURSE, 6),
    "late save taken for what was asked": Bug(late_save_taken_for_what_was_asked, (COMMON,), "gangs", 17),
    "parts dropped at once": Bug(parts_dropped_at_once, (WHOLE,), COURSE),
    "renewal counted from its answer": Bug(renewal_counted_from_its_answer, (FENCED, SLOTS), "terms"),
}
