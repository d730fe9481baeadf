"""What is seen of a zone under load, without trusting who is looked at.

What was free is worked out from leases and hosts, slot by slot, before each tick clears: not from the book, nor from
what the engine says of it.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tegcore.wire.records import Op, Reason, Record, Region
from tegd.workload import Life, Workload
from tegsim.load.host import Host, Piece, Process
from tegsim.load.jobs import TICKS_PER_S
from zone_ledger.leases import Order, OrderKey, OrderState
from zone_ledger.state import State

HELD = frozenset({Life.SEATED, Life.LEAVING, Life.AWAY, Life.PARKED, Life.ENDED})
"""Where a workload does not wait for a seat."""

OFTEN = frozenset({Op.SETTLED, Op.RENEWED, Op.EXPANDED})
"""Events that may come again word for word."""

LATE_TICKS = TICKS_PER_S
"""Who has waited for longer than this should not wait beside a free block."""


class Displaced(NamedTuple):
    """An order that took leased slots, one row for each lease.

    Attributes:
        job: That displaced: its home and its number there.
        serial: Of the order.
        challenger: Whether a person named its bid; likewise `victim`.
        free_before: Whether a block was free that it could have had, when the tick began to clear.
        free_after: Whether one still was when it had cleared.
        held: For how many ticks the lease had been held.
    """

    job: tuple[str, int]
    serial: int
    challenger: bool
    victim: bool
    free_before: bool
    free_after: bool
    held: int


def fits(free: int, sizes: tuple[int, ...], slots: int) -> bool:
    """Whether disjoint aligned blocks of these sizes (log2) are all free in a mask: largest first loses nothing."""
    for size in sorted(sizes, reverse=True):
        block = (1 << (1 << size)) - 1
        at = next((at for at in range(0, slots, 1 << size) if free >> at & block == block), None)
        if at is None:
            return False
        free &= ~(block << at)
    return True


def _mask(block: Region) -> int:
    return ((1 << (1 << block.log2)) - 1) << block.base


@dataclass
class Seen:
    """All that was seen; see the attributes' names.

    Attributes:
        slots: Of the zone.
        idle_ticks: Slot-ticks free while work waited that they would have held, as much of it as fits at once.
        idle_late_ticks: The same for work that had waited for over a second.
        beside_ticks: Slot-ticks free while anything fitting waited at all.
        reserved_ticks: Slot-ticks free and kept for an order that waits for others to leave.
        evicting_longest: Ticks for which an order waited for others to leave, at most.
        promised_ticks: Slot-ticks free and kept for a start that was promised: idle for nobody but who has the promise.
    """

    slots: int
    pieces: list[Piece] = field(default_factory=list)
    displaced: list[Displaced] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    stopped_early: Counter[str] = field(default_factory=Counter)
    turned_away: int = 0
    messages_in: int = 0
    messages_out: int = 0
    quotes: int = 0
    ticks: int = 0
    idle_ticks: int = 0
    idle_late_ticks: int = 0
    idle_longest: int = 0
    beside_ticks: int = 0
    reserved_ticks: int = 0
    promised_ticks: int = 0
    evicting_longest: int = 0
    leased_ticks: int = 0
    running_ticks: int = 0
    parked: set[tuple[str, int]] = field(default_factory=set)
    parked_ever: set[tuple[str, int]] = field(default_factory=set)
    _hosts: list[Host] = field(default_factory=list)
    _names: dict[int, str] = field(default_factory=dict)
    _offered: int = 0
    _term_ticks: int = 0
    _waits: dict[int, dict[tuple[str, int], int]] = field(default_factory=dict)
    _by_key: dict[tuple[str, int], Piece] = field(default_factory=dict)
    _once: set[tuple[Any, ...]] = field(default_factory=set)
    _evicting: dict[OrderKey, int] = field(default_factory=dict)
    _free_before: int | None = None
    _free: int = 0
    _known: tuple[int, int] = (-1, -1)
    _leased: int = 0
    _idle_for: int = 0
    _tick: int = 0

    def begin(self, state: State, hosts: list[Host]) -> None:
        """All hosts are there; time begins."""
        self._hosts = hosts
        self._term_ticks = state.term_ticks
        self._names = {number: session.name for number, session in state.hosts.items()}
        for number in state.hosts:
            shape = state.book.shape_of(number)
            self._offered |= (((1 << shape.region.slots) - 1) & ~shape.absent_bits) << shape.region.base
        self.messages_in = self.messages_out = self.quotes = 0
        self.told.clear()

    def submitted(self, piece: Piece) -> None:
        """A job was accepted."""
        key = (piece.host, piece.ref)
        self.pieces.append(piece)
        self._by_key[key] = piece
        self._waits.setdefault(max(piece.job.spec.sizes), {})[key] = self._tick

    # --- on hosts ---------------------------------------------------------------------------------------------------

    def heard(self, _host: Host, record: Record) -> None:
        """An event is taken in: what is told of a lease is counted once, however many hosts hear it."""
        op, body = record.op, record.body
        if op not in OFTEN and hasattr(body, "lease"):
            if (op, *body) in self._once:
                return
            self._once.add((op, *body))
        why = getattr(body, "why", getattr(body, "reason", None))
        self.told[op.name if why is None else f"{op.name}_{Reason(why).name}"] += 1

    def kept(self, host: Host, work: Workload) -> None:
        """A workload is not what it was."""
        if work.home:
            return
        key = (host.name, work.ref)
        piece, waits = host.pieces[work.ref], self._waits.setdefault(max(work.spec.sizes), {})
        if work.life in HELD:
            waits.pop(key, None)
            if piece.seated < 0 and work.life in {Life.SEATED, Life.AWAY}:
                piece.seated = self._tick
        else:
            waits.setdefault(key, self._tick)
        if work.life is Life.PARKED:
            self.parked.add(key)
            self.parked_ever.add(key)
        else:
            self.parked.discard(key)
        if work.life is Life.ENDED and piece.ended < 0:
            piece.ended, piece.outcome = self._tick, work.outcome
            piece.done = work.exit_code == 0 and len(piece.parts_done) >= max(1, len(work.seats))
            host.living -= 1

    def began(self, piece: Piece, tick: int) -> None:
        """A job was started."""
        piece.first = tick if piece.first < 0 else piece.first

    def stopped(self, process: Process, cause: str, _tick: int) -> None:
        """A run is over."""
        if cause != "exited":
            self.stopped_early["saved" if process.saves and cause == "asked" else f"unsaved, {cause}"] += 1

    # --- in the ledger ----------------------------------------------------------------------------------------------

    def _free_now(self, state: State) -> int:
        """Slots under no lease and no reservation."""
        known = (state.last_lease, len(state.leases))
        if known != self._known:
            self._known, leased = known, 0
            for lease in state.leases.values():
                for block in lease.blocks:
                    leased |= _mask(block)
            self._leased = leased
        free = self._offered & ~self._leased
        if state.orders:
            for order in state.orders.values():
                if order.state is OrderState.EVICTING:
                    for block in order.blocks:
                        free &= ~_mask(block)
        return free

    def before(self, state: State) -> None:
        """All that came is applied, and the tick has yet to clear."""
        self._free_before = self._free_now(state) if state.waiting else None

    def look(self, state: State, tick: int) -> None:
        """A tick is over, and hosts have heard of it."""
        self.ticks += 1
        self._tick = tick + 1
        free = self._free_now(state)
        evicting = {key: order for key, order in state.orders.items() if order.state is OrderState.EVICTING}
        for key in sorted(evicting.keys() - self._evicting.keys()):
            self._displacing(state, evicting[key], free)
        if evicting:
            self._evicting = {key: self._evicting.get(key, tick) for key in evicting}
            self.evicting_longest = max(self.evicting_longest, tick - min(self._evicting.values()))
        else:
            self._evicting.clear()
        self.leased_ticks += self._leased.bit_count()
        self.running_ticks += sum(host.slots_busy for host in self._hosts)
        self.reserved_ticks += (self._offered & ~self._leased & ~free).bit_count()
        winners = {(self._names[key.host], order.ref) for key, order in evicting.items()}
        idle = self._idle(state, free, winners, tick) if free else 0
        self._idle_for = self._idle_for + 1 if idle else 0
        self.idle_longest = max(self.idle_longest, self._idle_for)

    def _displacing(self, state: State, order: Order, free: int) -> None:
        by, sizes = self._by_key[self._names[order.key.host], order.ref], order.shape.sizes
        assert self._free_before is not None, "an order waited before the tick"
        could = fits(self._free_before, sizes, self.slots), fits(free, sizes, self.slots)
        for number in order.incumbents:
            lease = state.leases[number]
            victim = self._by_key[self._names[lease.origin], lease.ref]
            self.displaced.append(
                Displaced((by.host, by.ref), order.serial, by.named, victim.named, *could, state.tick - lease.granted)
            )

    def _idle(self, state: State, free: int, winners: set[tuple[str, int]], tick: int) -> int:
        """Slots that waiting work would fill now, the widest first; of work that has waited for over a second."""
        promise = getattr(state, "promise", None)
        if promise is not None:
            kept = sum(_mask(block) for block in promise.blocks) & free
            self.promised_ticks += kept.bit_count()
            if (whose := (self._names[promise.key[0]], promise.key[1])) not in winners and not self._starts(
                whose, free
            ):
                free &= ~kept
        filled = filled_late = 0
        left, left_late = free, free
        for size in sorted(self._waits, reverse=True):
            block = (1 << (1 << size)) - 1
            room = [at for at in range(0, self.slots, 1 << size) if left >> at & block == block]
            room_late = [at for at in range(0, self.slots, 1 << size) if left_late >> at & block == block]
            for key, since in self._waits[size].items():
                if not room and not room_late:
                    break
                if key in winners:
                    continue
                if room:
                    left &= ~(block << room.pop(0))
                    filled += 1 << size
                if room_late and tick - since >= LATE_TICKS:
                    left_late &= ~(block << room_late.pop(0))
                    filled_late += 1 << size
        self.idle_ticks += filled
        self.idle_late_ticks += filled_late
        if filled:
            self.beside_ticks += free.bit_count()
        return filled_late

    def _starts(self, key: tuple[str, int], free: int) -> bool:
        """Whether work that has a promise could start on what is free."""
        piece = self._by_key.get(key)
        return piece is not None and fits(free, piece.job.spec.sizes, self.slots)

    # --- what came of it --------------------------------------------------------------------------------------------

    def shares(self) -> dict[str, float]:
        """Of all slot-seconds so far; `idle_over_1s_longest_s` in s."""
        total = self.slots * max(1, self.ticks)
        useful = sum(piece.job.ticks * piece.slots for piece in self.pieces if piece.done)
        return {
            "leased": self.leased_ticks / total,
            "running": self.running_ticks / total,
            "useful": useful / total,
            "lost": sum(piece.lost_ticks for piece in self.pieces) / total,
            "idle_while_fitting_waits": self.idle_ticks / total,
            "idle_while_fitting_waits_over_1s": self.idle_late_ticks / total,
            "free_while_fitting_waits": self.beside_ticks / total,
            "reserved": self.reserved_ticks / total,
            "promised": self.promised_ticks / total,
            "idle_over_1s_longest_s": self.idle_longest / TICKS_PER_S,
        }

    def outcomes(self) -> dict[str, Any]:
        """What became of jobs."""
        ended = [piece for piece in self.pieces if piece.ended >= 0]
        against = [piece for piece in ended if not piece.done]
        return {
            "came": len(self.pieces),
            "turned_away": self.turned_away,
            "done": len(ended) - len(against),
            "against_their_will": len(against),
            "outcomes": dict(Counter(piece.outcome for piece in against).most_common(8)),
            "parked_ever": len(self.parked_ever),
            "parked_at_the_end": len(self.parked),
            "never_started": sum(piece.first < 0 for piece in self.pieces),
            "begun_again": sum(piece.again > 0 for piece in self.pieces),
            "begun_again_times": sum(piece.again for piece in self.pieces),
        }

    def displacements(self) -> dict[str, Any]:
        """Who displaced whom; `pairs` counts leases, by whether a person named the bids."""
        words = {True: "named", False: "default"}
        pairs = Counter(f"{words[one.challenger]} over {words[one.victim]}" for one in self.displaced)
        beside = [one for one in self.displaced if one.free_before]
        return {
            "leases": len(self.displaced),
            "orders": len({one.serial for one in self.displaced}),
            "pairs": dict(sorted(pairs.items())),
            "leases_in_their_first_term": sum(one.held < self._term_ticks for one in self.displaced),
            "leases_beside_free_room": len(beside),
            "leases_beside_room_that_stayed_free": sum(one.free_after for one in beside),
            "orders_beside_free_room": len({one.serial for one in beside}),
            "longest_s": self.evicting_longest / TICKS_PER_S,
            "jobs_share": len({one.job for one in self.displaced}) / max(1, len(self.pieces)),
            "jobs_beside_free_room_share": len({one.job for one in beside}) / max(1, len(self.pieces)),
        }

    def waits(self) -> dict[str, float]:
        """From submission to the first start, in s; of those that never started, the longest so far."""
        started = sorted(piece.first - piece.came for piece in self.pieces if piece.first >= 0) or [0]
        waiting = [self._tick - piece.came for piece in self.pieces if piece.first < 0]
        rank = len(started) - 1
        found = {
            "mean": sum(started) / len(started),
            "p50": started[rank // 2],
            "p99": started[rank * 99 // 100],
            "max": started[-1],
            "unstarted_max": max(waiting, default=0),
        }
        return {name: ticks / TICKS_PER_S for name, ticks in found.items()}

    def overtaken(self) -> dict[str, float]:
        """Jobs that an equal one, of the same size, came after and had its slots before; by how much later, in s.

        By slots and not by starts: to be handed to another host takes a second, in which another may come to start.
        """
        by_size: dict[tuple[int, ...], list[Piece]] = {}
        for piece in self.pieces:
            by_size.setdefault(piece.job.spec.sizes, []).append(piece)
        late = []
        for equals in by_size.values():
            newest = 0
            for piece in sorted(equals, key=lambda one: (one.seated if one.seated >= 0 else self._tick, one.came)):
                late.append(max(0, newest - piece.came))
                newest = max(newest, piece.came if piece.seated >= 0 else 0)
        overtaken = [ticks for ticks in late if ticks]
        return {"jobs": len(overtaken), "by_s": max(overtaken, default=0) / TICKS_PER_S}

    def summary(self) -> dict[str, Any]:
        """All of it."""
        return {
            "seconds": self.ticks / TICKS_PER_S,
            "jobs": self.outcomes(),
            "displaced": self.displacements(),
            "waits_s": self.waits(),
            "overtaken": self.overtaken(),
            "slots": self.shares(),
            "makespan_s": max((piece.ended for piece in self.pieces), default=0) / TICKS_PER_S,
            "last_start_s": max((piece.first for piece in self.pieces), default=0) / TICKS_PER_S,
            "messages": {"in": self.messages_in, "out": self.messages_out, "quotes": self.quotes},
            "told": dict(sorted(self.told.items())),
            "runs_stopped": dict(sorted(self.stopped_early.items())),
        }
