"""Work of this host that sits on others, and parts of others' work that sit here (`tegd.handover` says how).

What is to be done follows from what is on disk with each workload: every cycle looks at trips and stays, and asks for
what is due. An act that failed, or was forgotten in a crash, is asked for again; each may be done twice.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tegcore.wire.messages import Party, PeerHost, Peers
from tegcore.wire.peer import CANNOT, NOT_YET, STALE_TOKEN, Answer, Brief, Report, Source
from tegcore.wire.records import Cancel, Op, Reason, Region, unpack_blocks
from tegd.effects import (
    AskPeers,
    Clear,
    Collect,
    Copy,
    DropThere,
    Effect,
    Fetch,
    Forget,
    Keep,
    Run,
    SaveAndEnd,
    SaveInPassing,
    Start,
    TellHome,
    TellSeat,
)
from tegd.handover import Stay, StayEvent, Trip, TripEvent, next_stay, next_trip
from tegd.workload import Life, Word, Workload

if TYPE_CHECKING:
    from tegd.node import Node

CYCLES_PER_S = 20
RETRY_CYCLES = 20
"""Before what failed is tried again; it doubles to `RETRY_CYCLES_MAX`."""
RETRY_CYCLES_MAX = 400
LATE_CYCLES = 300
"""A seat that could not be told for so long is given up."""
HEAR_SOON_CYCLES = 60
"""How long a last word is awaited from seats that never said that they have it."""
HEAR_CYCLES = 1200
HEAR_LOST_CYCLES = 200
"""The same where the term ran out, so that its seat was silent."""
FETCH_FAILURES_MAX = 2
"""After so many, an older checkpoint will do where there is one."""
PARTS_MAX = 256


@dataclass(slots=True)
class _Errand:
    """Something that is asked of the shell until it is done."""

    next_cycle: int = 0
    tries: int = 0
    busy: bool = False


@dataclass
class Travel:
    """One host's trips and stays.

    Args:
        node: Whose work it is.
        log2_slots: This host has 2^this slots.

    Attributes:
        grants: What the ledger told of each lease that this host ordered or that sits on it.
        parties: Who has to do with them, once asked.
        peers: How hosts are reached, as the ledger said last.
    """

    node: "Node"
    log2_slots: int
    grants: dict[int, Any] = field(default_factory=dict)
    parties: dict[int, Party] = field(default_factory=dict)
    peers: dict[str, PeerHost] = field(default_factory=dict)
    _errands: dict[Hashable, _Errand] = field(default_factory=dict)
    _since: dict[Hashable, int] = field(default_factory=dict)
    _starting: set[str] = field(default_factory=set)
    _collecting: set[str] = field(default_factory=set)
    _saved_ns: dict[str, int] = field(default_factory=dict)
    _reported: dict[int, tuple[int, bool]] = field(default_factory=dict)

    # --- errands ----------------------------------------------------------------------------------------------------

    def _due(self, *key: Hashable) -> bool:
        """Whether something is to be asked for now; then it is busy until `_done` or `_failed`."""
        errand = self._errands.setdefault(key, _Errand())
        if errand.busy or self.node.cycle < errand.next_cycle:
            return False
        errand.busy = True
        return True

    def _done(self, *key: Hashable) -> None:
        self._errands.pop(key, None)

    def _failed(self, *key: Hashable) -> None:
        errand = self._errands.setdefault(key, _Errand())
        pause = min(RETRY_CYCLES << min(errand.tries, 8), RETRY_CYCLES_MAX)
        errand.busy, errand.tries, errand.next_cycle = False, errand.tries + 1, self.node.cycle + pause

    def _passed(self, *key: Hashable) -> int:
        """Cycles since this was asked about first."""
        return self.node.cycle - self._since.setdefault(key, self.node.cycle)

    # --- what the ledger says ---------------------------------------------------------------------------------------

    def _all_here(self, blocks: tuple[Region, ...]) -> bool:
        assert self.node.zone is not None
        own = Region(self.node.zone.base, self.log2_slots)
        return all(own.base <= block.base and block.end <= own.end for block in blocks)

    def own_region(self) -> Region:
        """This host's slots."""
        assert self.node.zone is not None
        return Region(self.node.zone.base, self.log2_slots)

    def part(self, lease: int, token: int) -> Workload | None:
        """The part of another's work, or of our own that travels, that sits here under a lease."""
        works = self.node.workloads.values()
        return next((work for work in works if work.home and (work.lease, work.token) == (lease, token)), None)

    def _trip(self, lease: int) -> Workload | None:
        works = self.node.workloads.values()
        return next((work for work in works if work.trip and work.lease == lease and lease), None)

    def filled(self, body: Any, now_ns: int) -> list[Effect] | None:
        """A lease was granted or is told of again; None where it is an ordinary seat on this host itself."""
        node = self.node
        assert node.zone is not None
        self.grants[body.lease] = body
        effects: list[Effect] = []
        if (part := self.part(body.lease, body.token)) is not None:
            part.term_end_ns = max(part.term_end_ns, node.link.at_ns(body.term_end_tick))
            effects += self._start(part)
        if body.origin_host != node.zone.host_id:
            return effects
        work, blocks = node.workloads.get(body.ref), unpack_blocks(body.blocks0, body.blocks1)
        if work is not None and work.lease == body.lease and work.trip:
            return effects
        if work is None or work.life is Life.ENDED or (work.lease and work.lease != body.lease):
            if self._all_here(blocks):
                return None
            node.link.put(Op.CANCEL, Cancel(body.ref, body.lease), now_ns)
            return effects
        if self._all_here(blocks) and not work.strayed:
            return None
        return effects + self._set_out(work, body, blocks, now_ns)

    def _set_out(self, work: Workload, body: Any, blocks: tuple[Region, ...], now_ns: int) -> list[Effect]:
        node = self.node
        node._clock_order(node.agents[work.ref], now_ns)
        work.lease, work.token, work.price_ucr = body.lease, body.token, body.price_ucr
        work.blocks = tuple((block.base, block.log2) for block in blocks)
        work.purse_ucr, work.mass_micro = body.purse_ucr, body.mass_micro
        work.term_end_ns = node.link.at_ns(body.term_end_tick)
        work.trip, work.seats, work.taken, work.words, work.lease_why = Trip.TELLING, [], [], {}, 0
        work.waits.reason = ""
        self._since[work.ref, Trip.TELLING] = node.cycle
        work.become(Life.AWAY, node.tick, f"won a seat elsewhere at {work.price_ucr} ucr per slot-period")
        return self._happened(work, TripEvent.CANCELLED, now_ns) if work.cancelled else [Keep(work)]

    def settled(self, body: Any) -> None:
        """A period of a lease was settled: what people at its home are shown."""
        if (work := self._trip(body.lease)) is not None:
            work.price_ucr, work.purse_ucr = body.next_price_ucr, body.purse_ucr

    def noticed(self, body: Any, now_ns: int) -> None:
        """A lease must leave of which nothing runs here: where none of it has come here yet, its slots are clear."""
        node = self.node
        if (work := self._trip(body.lease)) is not None:
            work.note(node.tick, f"its seat has notice: {Reason(body.why).name.lower()}")
        grant = self.grants.get(body.lease)
        if grant is None or grant.token != body.token or self.part(body.lease, body.token) is not None:
            return
        if self._overlaps(grant):
            del self.grants[body.lease]
            node.release(body.lease, body.token, Reason(body.why), now_ns)

    def _overlaps(self, grant: Any) -> bool:
        own = self.own_region()
        return any(
            block.base < own.end and own.base < block.end for block in unpack_blocks(grant.blocks0, grant.blocks1)
        )

    def lease_over(self, lease: int, why: Reason, now_ns: int) -> list[Effect]:
        """A lease is over: what this host has to do with it goes on from there."""
        self.grants.pop(lease, None)
        self.parties.pop(lease, None)
        effects: list[Effect] = []
        work = self._trip(lease)
        if work is not None:
            work.lease_why = why
            self._since[work.ref, Trip.HEARING] = self.node.cycle
            effects += self._happened(work, TripEvent.LEASE_OVER, now_ns)
        for part in [part for part in self.node.workloads.values() if part.home and part.lease == lease]:
            effects += self._part_lease_over(part, why)
        return effects

    def _part_lease_over(self, part: Workload, why: Reason) -> list[Effect]:
        part.lease_why = why
        run, effects = self.node.runs.get(part.airlock_id), list[Effect]()
        if part.stay is Stay.FETCHING:
            effects += self._stayed(part, StayEvent.LEAVE)
        elif run not in {None, "ended"}:
            effects.append(SaveAndEnd(part, save=part.spec.hook is not None))
        return [*effects, *self._close(part)]

    def _close(self, part: Workload) -> list[Effect]:
        """With lease and run both over, nothing of it is held here any more."""
        if not part.lease_why or part.stay in {Stay.FETCHING, Stay.SEATED} or part.life is Life.ENDED:
            return [Keep(part)]
        part.become(Life.ENDED, self.node.tick, f"lease over: {Reason(part.lease_why).name.lower()}")
        ended = self.node.runs.get(part.airlock_id) == "ended"
        return [Keep(part), *([Forget(part.airlock_id)] if ended else [])]

    def peers_told(self, peers: Peers) -> None:
        """The ledger has answered who is who."""
        for party in peers.parties:
            self.parties[party.lease] = party
            self._done("party", party.lease)
        for peer in peers.peers:
            self.peers[peer.host] = peer
            self._done("peer", peer.host)

    # --- the home ---------------------------------------------------------------------------------------------------

    def _happened(self, work: Workload, event: TripEvent, now_ns: int) -> list[Effect]:
        before, work.trip = work.trip, next_trip(work.trip, event)
        if work.trip is not before and work.trip is Trip.CALLED:
            self._since.pop((work.ref, "called"), None)
            work.note(self.node.tick, f"called back: {event.value}")
            return [Keep(work), *self._call_back(work, now_ns)]
        return [Keep(work), *(self._decide(work) if work.trip is Trip.OVER else [])]

    def _call_back(self, work: Workload, now_ns: int) -> list[Effect]:
        """Ask the ledger to have the seats leave; again while the lease is not over."""
        if self._due("call", work.ref):
            self.node.link.put(Op.CANCEL, Cancel(work.ref, work.lease), now_ns)
            self._failed("call", work.ref)
        return []

    def cancel(self, work: Workload, now_ns: int) -> list[Effect]:
        """Its owner wants a workload over that sits elsewhere."""
        return self._happened(work, TripEvent.CANCELLED, now_ns)

    def _tend_trip(self, work: Workload, now_ns: int) -> list[Effect]:
        match work.trip:
            case Trip.TELLING:
                return self._tell_seats(work, now_ns)
            case Trip.CALLED:
                return self._call_back(work, now_ns)
            case Trip.HEARING if self._passed(work.ref, Trip.HEARING) > self._patience(work):
                return self._happened(work, TripEvent.SILENT, now_ns)
            case _:
                return []

    def _patience(self, work: Workload) -> int:
        spoken = {rank for rank, word in work.words.items() if word.over}
        if spoken >= set(work.taken):
            return HEAR_SOON_CYCLES
        return HEAR_LOST_CYCLES if work.lease_why == Reason.EXPIRED else HEAR_CYCLES

    def _tell_seats(self, work: Workload, now_ns: int) -> list[Effect]:
        if self._passed(work.ref, Trip.TELLING) > LATE_CYCLES:
            return self._happened(work, TripEvent.LATE, now_ns)
        if work.resume and not work.strayed:
            return [Collect(work, 1)] if self._due("collect", work.ref) else []
        party = self.parties.get(work.lease)
        if party is None or party.token != work.token:
            return self._ask_party(work.lease, tuple(sorted({source.holder for source in work.sources})))
        effects: list[Effect] = []
        if not work.seats:
            work.seats, work.slots_by_rank = list(party.seats), list(party.slots)
            effects.append(Keep(work))
        untold = [rank for rank in range(len(work.seats)) if rank not in work.taken]
        due = [rank for rank in untold if self._due("brief", work.ref, work.token, rank)]
        return [*effects, *(TellSeat(work, rank) for rank in due)]

    def _ask_party(self, lease: int, hosts: tuple[str, ...] = ()) -> list[Effect]:
        if not self._due("party", lease):
            return []
        self._failed("party", lease)
        return [AskPeers((lease,), hosts)]

    def brief(self, work: Workload, rank: int, user: str) -> Brief:
        """What a seat is told of its part.

        Args:
            work: At its home.
            rank: Of the seat.
            user: Name of the user that it runs as.
        """
        wanted = self._newest(work, up=True) or self._newest(work)
        newest = [source for source in work.sources if source.rank == rank and source.generation == wanted]
        up = [source for source in newest if self._is_up(source.holder)]
        return Brief(
            work.ref,
            work.lease,
            work.token,
            rank,
            work.seats,
            work.slots_by_rank[rank],
            work.name,
            work.tenant,
            user,
            work.limit_ucr,
            work.ticket,
            work.spec,
            list(work.files),
            up or newest,
        )

    def _is_up(self, host: str) -> bool:
        return host == self.node.host or (host in self.peers and self.peers[host].up)

    def _newest(self, work: Workload, *, up: bool = False) -> tuple[int, int] | None:
        """The newest generation of which every rank's part is there: a gang goes on from one moment, or from none.

        With `up`, the newest that can be had now: what only a lost host holds is not waited for while there is another.
        """
        ranks = range(max(1, len(work.seats)))
        known = [source for source in work.sources if not up or self._is_up(source.holder)]
        held = [{source.generation for source in known if source.rank == rank} for rank in ranks]
        return max(set.intersection(*held), default=None)

    def seat_answered(self, ref: int, token: int, rank: int, answer: Answer, now_ns: int) -> list[Effect]:
        """A seat has its brief, or says why not."""
        work, key = self.node.workloads.get(ref), ("brief", ref, token, rank)
        if work is None or work.token != token or not work.trip:
            self._done(*key)
            return []
        if answer.ok:
            self._done(*key)
            work.taken = sorted({*work.taken, rank})
            if len(work.taken) < len(work.seats):
                return [Keep(work)]
            work.note(self.node.tick, f"handed to {', '.join(work.seats)}")
            return self._happened(work, TripEvent.TAKEN, now_ns)
        self._failed(*key)
        if answer.reason != CANNOT:
            return []
        work.words[rank] = Word(over=True, done=True, exit_code=126, problem=answer.message)
        work.note(self.node.tick, f"{work.seats[rank]} cannot run it: {answer.message}")
        return self._happened(work, TripEvent.REFUSED, now_ns) + self._last_word(work, now_ns)

    def reported(self, sender: str, report: Report, now_ns: int) -> tuple[list[Effect], Answer]:
        """A seat says how its part stands."""
        work = self.node.workloads.get(report.ref)
        if work is None or work.home:
            return [], Answer(ok=True)
        if report.token != work.token:
            return self._late_report(work, sender, report), Answer(ok=True)
        if report.rank >= len(work.seats) or work.seats[report.rank] != sender:
            return [], Answer(ok=False, reason=STALE_TOKEN, message=f"{sender} has no such part of {work.name}")
        self._heard_from(work, sender, report)
        effects: list[Effect] = [Keep(work)]
        word = work.words[report.rank]
        if word.over and len(work.seats) > 1 and not (word.done and word.exit_code == 0):
            effects += self._happened(work, TripEvent.BROKEN, now_ns)
        return effects + self._last_word(work, now_ns), Answer(ok=True)

    def _heard_from(self, work: Workload, sender: str, report: Report) -> None:
        said = Word(report.saves, report.over, report.ran, report.done, report.exit_code, report.problem)
        work.words[report.rank] = said
        if report.saves:
            source = Source(report.token, report.saves, report.rank, sender)
            older = [old for old in work.sources if (old.holder, old.rank) != (sender, report.rank)]
            work.sources = sorted({*older, source}, reverse=True)
            work.resume = work.strayed = True
        if report.over:
            work.owed = sorted({*work.owed, (sender, report.rank, report.token)})

    def _late_report(self, work: Workload, sender: str, report: Report) -> list[Effect]:
        """What a seat says that was given up: its checkpoint or its end counts while nothing newer has begun."""
        if report.over:
            work.owed = sorted({*work.owed, (sender, report.rank, report.token)})
        if report.token != work.last_token or work.lease or work.life is Life.ENDED or len(work.seats) > 1:
            return [Keep(work)]
        if report.rank < len(work.seats) and work.seats[report.rank] == sender:
            self._heard_from(work, sender, report)
        if report.done and work.life in {Life.SEEKING, Life.PARKED}:
            work.exit_code = report.exit_code
            return self.node._over(work, f"exit code {work.exit_code}")
        return [Keep(work)]

    def _last_word(self, work: Workload, now_ns: int) -> list[Effect]:
        if not work.seats or any(not work.words.get(rank, Word()).over for rank in range(len(work.seats))):
            return []
        return self._happened(work, TripEvent.LAST_WORD, now_ns)

    def _decide(self, work: Workload) -> list[Effect]:
        """Lease and words are complete, or as complete as they will be: how does it go on?"""
        words = [work.words.get(rank, Word()) for rank in range(max(1, len(work.seats)))]
        why = Reason(work.lease_why)
        done = all(word.done for word in words) or any(word.done and word.exit_code for word in words)
        ran = any(word.ran or (rank in work.taken and not word.over) for rank, word in enumerate(words))
        problem = next((word.problem for word in words if word.problem), "")
        fetched_badly = bool(problem) and not ran
        work.trip, work.taken = Trip.NONE, []
        work.unseat()
        self._forget_errands(work.ref)
        if done or why is Reason.DONE:
            codes = [word.exit_code for word in words if word.exit_code is not None]
            work.exit_code = next((code for code in codes if code), codes[0] if codes else None)
            work.outcome = problem and f"cannot be executed: {problem}"
            return self.node._after_lease(work, Reason.DONE)
        if ran or work.cancelled or why is Reason.BANKRUPT:
            return self.node._after_lease(work, why)
        if fetched_badly:
            self._note_bad_fetch(work)
        work.why_leaving = 0
        self.node.seek_again(work, RETRY_CYCLES << min(work.fetch_failures, 5))
        work.become(Life.SEEKING, self.node.tick, f"never began there: {problem or why.name.lower()}")
        return [Keep(work)]

    def _note_bad_fetch(self, work: Workload) -> None:
        work.fetch_failures += 1
        newest = max((source.generation for source in work.sources), default=(0, 0))
        older = [source for source in work.sources if source.generation < newest]
        if work.fetch_failures >= FETCH_FAILURES_MAX and older:
            work.sources, work.fetch_failures = older, 0
            work.note(self.node.tick, "its newest checkpoint cannot be had: goes on from the one before")

    def _forget_errands(self, ref: int) -> None:
        for kept in (self._errands, self._since):
            for key in [key for key in kept if isinstance(key, tuple) and ref in key[:2] and key[0] != "party"]:
                del kept[key]

    def _tend_copies(self, work: Workload) -> list[Effect]:
        """Keep the newest checkpoint of each rank at home too, and let those go that nobody needs."""
        effects: list[Effect] = []
        own = self.node.host
        for rank in {source.rank for source in work.sources}:
            newest = max(source for source in work.sources if source.rank == rank)
            held = {source.holder for source in work.sources if source.generation == newest.generation}
            if own not in held and work.life is not Life.ENDED and self._due("copy", work.ref, rank):
                effects.append(Copy(work, newest))
        for host, rank, token in work.owed:
            if self._droppable(work, host, rank, token) and self._due("drop", work.ref, host, rank, token):
                effects.append(DropThere(work, host, rank, token))
        return effects

    def _droppable(self, work: Workload, host: str, rank: int, token: int) -> bool:
        if work.life is Life.ENDED:
            return True
        held = {source.generation for source in work.sources if source.holder == self.node.host and source.rank == rank}
        there = [
            source
            for source in work.sources
            if (source.holder, source.rank, source.token) == (host, rank, token) and host != self.node.host
        ]
        return all(source.generation in held or source.generation < max(held, default=(0, 0)) for source in there)

    def copied(self, ref: int, source: Source, problem: str) -> list[Effect]:
        """A checkpoint is whole and durable at home, or could not be copied."""
        work = self.node.workloads.get(ref)
        if work is None or problem:
            self._failed("copy", ref, source.rank)
            return []
        self._done("copy", ref, source.rank)
        mine = source.__class__(source.token, source.number, source.rank, self.node.host)
        older = {old for old in work.sources if old.rank == source.rank and old.generation < source.generation}
        work.sources = sorted({*work.sources, mine} - older, reverse=True)
        return [Keep(work)]

    def dropped(self, ref: int, host: str, rank: int, token: int, *, ok: bool) -> list[Effect]:
        """A seat has let its part go, or could not be told."""
        work, key = self.node.workloads.get(ref), ("drop", ref, host, rank, token)
        if work is None or not ok:
            self._failed(*key)
            return []
        self._done(*key)
        work.owed = [owed for owed in work.owed if owed != (host, rank, token)]
        if host != self.node.host:
            work.sources = [
                kept for kept in work.sources if (kept.holder, kept.rank, kept.token) != (host, rank, token)
            ]
        return [Keep(work)]

    # --- the seat ---------------------------------------------------------------------------------------------------

    def refusal(self, sender: str, brief: Brief) -> Answer | None:
        """Why a brief is not taken, if it is not: it must be for a lease that the ledger told this host of."""
        node = self.node
        grant, party = self.grants.get(brief.lease), self.parties.get(brief.lease)
        if self.part(brief.lease, brief.token) is not None:
            return Answer(ok=True)
        if grant is None or node.zone is None:
            return Answer(ok=False, reason=NOT_YET, message=f"the ledger tells of no lease {brief.lease} here")
        if grant.token != brief.token:
            message = f"lease {brief.lease} is held under token {grant.token}, not {brief.token}"
            return Answer(ok=False, reason=STALE_TOKEN, message=message)
        if party is None or party.token != brief.token:
            return Answer(ok=False, reason=NOT_YET, message="the ledger has not said yet who shares the lease")
        if party.home != sender or party.seats != brief.seats or brief.seats[brief.rank] != node.host:
            message = f"lease {brief.lease} was not ordered by {sender} for this seat"
            return Answer(ok=False, reason=STALE_TOKEN, message=message)
        living = sum(bool(work.home) and work.life is not Life.ENDED for work in node.workloads.values())
        if living >= PARTS_MAX:
            return Answer(ok=False, reason=NOT_YET, message=f"{PARTS_MAX} parts are here already")
        return None

    def ask_about(self, lease: int) -> list[Effect]:
        """A brief came for a lease whose party is not known yet."""
        known = lease not in self.grants or lease in self.parties
        return [] if known else self._ask_party(lease)

    def briefed(self, sender: str, brief: Brief, ref: int, uid: int, gid: int) -> list[Effect]:
        """Take a part in: it is on disk before the answer."""
        node, grant = self.node, self.grants[brief.lease]
        part = Workload(ref, brief.name, brief.tenant, uid, gid, 0, brief.spec)
        part.home, part.home_ref, part.rank, part.seats = sender, brief.ref, brief.rank, brief.seats
        part.part_slots, part.ticket, part.files = brief.slots, brief.ticket, tuple(brief.files)
        part.limit_ucr, part.sources, part.resume = brief.limit_ucr, list(brief.sources), bool(brief.sources)
        part.lease, part.token, part.price_ucr = brief.lease, brief.token, grant.price_ucr
        blocks = unpack_blocks(grant.blocks0, grant.blocks1)
        part.blocks = tuple((block.base, block.log2) for block in blocks)
        part.purse_ucr, part.mass_micro = grant.purse_ucr, grant.mass_micro
        part.term_end_ns = node.link.at_ns(grant.term_end_tick)
        part.held_bytes = part.spec.mem_bytes * part.slots_here
        part.stay = Stay.FETCHING
        node.submitted(part)
        node.agents[ref].renew_cycle = node.cycle
        part.become(Life.SEATED, node.tick, f"part {part.rank} of {len(part.seats)} of {sender}'s {part.name}")
        return [Keep(part)]

    def _stayed(self, part: Workload, event: StayEvent) -> list[Effect]:
        before, part.stay = part.stay, next_stay(part.stay, event)
        if part.stay is before:
            return []
        if part.stay is Stay.GONE:
            return [Keep(part), *self._close(part), Clear(part)]
        return [Keep(part), *self._close(part)]

    def _start(self, part: Workload) -> list[Effect]:
        """Start a part that may run and does not."""
        startable = part.stay is Stay.SEATED and part.life is Life.SEATED and not part.lease_why
        if not startable or part.airlock_id in self.node.runs or part.airlock_id in self._starting:
            return []
        self._starting.add(part.airlock_id)
        part.ran = True
        return [Keep(part), Start(part)]

    def may_start(self, work: Workload) -> bool:
        """Whether a workload that has a seat here may be started as it is."""
        return not work.home or work.stay is Stay.SEATED

    def fetched(self, ref: int, token: int, problem: str, now_ns: int) -> list[Effect]:
        """A part's files are whole and durable here, or cannot be had."""
        part = self.node.workloads.get(ref)
        self._done("fetch", ref)
        if part is None or part.token != token or part.stay is not Stay.FETCHING:
            return []
        if not problem:
            return [*self._stayed(part, StayEvent.FETCHED), *self._start(part)]
        part.outcome = problem
        part.note(self.node.tick, f"cannot be fetched: {problem}")
        effects = self._stayed(part, StayEvent.UNFETCHED)
        return [*effects, *self.node._run_ended(part, Reason.HOST_GONE, now_ns)]

    def run_changed(self, work: Workload, run: Run) -> list[Effect]:
        """A run has saved, or a part's run stands otherwise than before."""
        effects: list[Effect] = []
        self._starting.discard(run.airlock_id)
        if run.saved and not work.home:
            work.strayed, work.sources = False, []
        if work.home and run.saved and run.saved_ns > self._saved_ns.get(run.airlock_id, 0):
            self._saved_ns[run.airlock_id] = run.saved_ns
            self._collecting.add(run.airlock_id)
            effects.append(Collect(work, work.saves + 1))
        alive = run.state not in {"ended", "saving", "flushing", "ending", "killing"}
        if work.home and alive and (work.lease_why or work.stay in {Stay.OVER, Stay.KEPT, Stay.GONE}):
            effects.append(SaveAndEnd(work, save=work.spec.hook is not None))
        if work.home and work.life is Life.ENDED and run.state == "ended":
            effects.append(Forget(run.airlock_id))
        return effects

    def collected(self, ref: int, token: int, number: int, problem: str) -> list[Effect]:
        """A checkpoint that a run has saved is kept, or could not be."""
        work = self.node.workloads.get(ref)
        if work is None:
            return []
        if not work.home:
            self._done("collect", ref)
            if problem:
                work.note(self.node.tick, f"its checkpoint cannot be read, and is left behind: {problem}")
                work.resume = False
                return [Keep(work)]
            work.strayed, work.sources = True, [Source(work.last_token, number, 0, self.node.host)]
            return [Keep(work)]
        self._collecting.discard(work.airlock_id)
        if not problem and token == work.token:
            work.saves = max(work.saves, number)
        elif problem:
            work.note(self.node.tick, f"its checkpoint could not be kept: {problem}")
        return [Keep(work)]

    def _tend_stay(self, part: Workload, now_ns: int) -> list[Effect]:
        run, effects = self.node.runs.get(part.airlock_id), list[Effect]()
        busy = part.airlock_id in self._starting or part.airlock_id in self._collecting
        if part.stay is Stay.FETCHING and part.life is Life.LEAVING:
            effects += self._stayed(part, StayEvent.LEAVE)
            effects += self.node._run_ended(part, Reason(part.why_leaving), now_ns)
        elif part.stay is Stay.FETCHING and self._due("fetch", part.ref):
            effects.append(Fetch(part))
        elif part.stay is Stay.SEATED and not busy:
            leaving = part.life is Life.LEAVING or bool(part.lease_why)
            if run == "ended" or (run is None and leaving and part.ran):
                effects += self._stayed(part, StayEvent.RUN_OVER)
                if run is None and not part.lease_why:
                    effects += self.node._run_ended(part, Reason(part.why_leaving), now_ns)
        stood = (part.saves, part.stay is Stay.OVER)
        if stood != self._reported.get(part.ref, (0, False)) and part.stay in {Stay.SEATED, Stay.OVER}:
            effects += [TellHome(part)] if self._due("home", part.ref) else []
        return effects

    def report(self, part: Workload) -> Report:
        """What its home is told of a part."""
        over = part.stay is Stay.OVER
        done = over and part.why_leaving == Reason.DONE
        problem = part.outcome if over else ""
        return Report(
            part.home_ref,
            part.lease,
            part.token,
            part.rank,
            part.saves,
            over,
            part.ran,
            done,
            part.exit_code if over else None,
            problem.removeprefix("cannot be executed: "),
        )

    def home_answered(self, ref: int, report: Report, *, ok: bool) -> list[Effect]:
        """Its home has heard of a part, or could not be told."""
        part = self.node.workloads.get(ref)
        if part is None:
            return []
        if not ok:
            self._failed("home", ref)
            return []
        self._done("home", ref)
        self._reported[ref] = (report.saves, report.over)
        return self._stayed(part, StayEvent.HEARD) if report.over else []

    def drop(self, sender: str, home_ref: int, token: int, rank: int) -> list[Effect]:
        """Its home needs nothing more of a part."""
        for part in self.node.workloads.values():
            if (part.home, part.home_ref, part.token, part.rank) == (sender, home_ref, token, rank):
                return self._stayed(part, StayEvent.DROPPED)
        return []

    # --- time -------------------------------------------------------------------------------------------------------

    def step(self, now_ns: int) -> list[Effect]:
        """One cycle: whatever is due."""
        effects: list[Effect] = []
        for ref, work in sorted(self.node.workloads.items()):
            if work.home and work.stay not in {Stay.NONE, Stay.GONE}:
                effects += self._tend_stay(work, now_ns)
            elif not work.home and work.trip:
                effects += self._tend_trip(work, now_ns)
            if not work.home and (work.sources or work.owed):
                effects += self._tend_copies(work)
            every = work.spec.checkpoint_every_s * CYCLES_PER_S
            running = every and work.life is Life.SEATED and self.node.runs.get(work.airlock_id) == "running"
            if running and work.spec.hook is not None and self._passed(ref, "save", work.token) >= every:
                self._since[ref, "save", work.token] = self.node.cycle
                effects.append(SaveInPassing(work))
        return effects

    def unreached(self, host: str) -> list[Effect]:
        """A host could not be spoken to: where is it now?"""
        self.peers.pop(host, None)
        if not self._due("peer", host):
            return []
        self._failed("peer", host)
        return [AskPeers((), (host,))]
