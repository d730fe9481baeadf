"""The home's half of `tegd.travel`: work of this host that sits on others."""

from dataclasses import dataclass
from typing import Any

import msgspec

from tegcore.wire.peer import CANNOT, STALE_TOKEN, Answer, Brief, Report, Source
from tegcore.wire.records import Cancel, Op, Reason, Region
from tegd.effects import Collect, Copy, DropThere, Effect, Keep, TellSeat
from tegd.errands import RETRY_CYCLES, Errands
from tegd.handover import Trip, TripEvent, next_trip
from tegd.seek import clear_of, least_region
from tegd.workload import CANNOT_EXECUTE, HOOK_FAILED_MAX, Life, Low, Word, Workload

LATE_CYCLES = 300
"""A seat that could not be told for so long is given up."""
HEAR_SOON_CYCLES = 60
"""How long a last word is awaited from seats that never said that they have it."""
HEAR_CYCLES = 1200
HEAR_LOST_CYCLES = 200
"""The same where the term ran out, so that its seat was silent."""
AVOIDS_MAX = 8
"""After so many hosts that could not run it, a workload runs at home or not at all."""
PROBLEM_KEPT_MAX = 300
FETCH_FAILURES_MAX = 2
"""After so many, an older checkpoint will do where there is one."""


@dataclass
class Trips(Errands):
    """Trips of this host's work."""

    def _trip(self, lease: int) -> Workload | None:
        works = self.node.workloads.values()
        return next((work for work in works if work.trip and work.lease == lease and lease), None)

    def away(self, lease: int) -> Workload | None:
        """The workload of this host that sits elsewhere under a lease."""
        return self._trip(lease)

    def _set_out(self, work: Workload, body: Any, blocks: tuple[Region, ...], now_ns: int) -> list[Effect]:
        node = self.node
        node.clock_order(node.agents[work.ref], now_ns)
        work.lease, work.token, work.price_ucr = body.lease, body.token, body.price_ucr
        work.blocks = tuple((block.base, block.log2) for block in blocks)
        work.keep_purse(body.purse_ucr)
        work.mass_micro = body.mass_micro
        work.term_end_ns = node.link.at_ns(body.term_end_tick)
        work.trip, work.seats, work.taken, work.words, work.lease_why = Trip.TELLING, [], [], {}, 0
        work.waits.reason, work.low = "", Low()
        work.paid_ucr, work.cost_ucr = 0, work.charge_ucr(work.price_ucr)
        self._since[work.ref, Trip.TELLING] = node.cycle
        work.become(Life.AWAY, node.tick, f"won a seat elsewhere{node.at_price(work)}")
        return self._happened(work, TripEvent.CANCELLED, now_ns) if work.cancelled else [Keep(work)]

    def cancel(self, work: Workload, now_ns: int) -> list[Effect]:
        """Its owner wants a workload over that sits elsewhere."""
        return self._happened(work, TripEvent.CANCELLED, now_ns)

    def brief(self, work: Workload, rank: int, user: str) -> Brief:
        """What a seat is told of its part; of a hook that failed it is told nothing.

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
            msgspec.structs.replace(work.spec, hook=work.hook),
            list(work.files),
            up or newest,
            work.submitted_tick,
        )

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
        goes_on = self._avoid(work, rank, answer.message, Region(answer.base, answer.log2))
        code = None if goes_on else CANNOT_EXECUTE
        work.words[rank] = Word(over=True, done=not goes_on, exit_code=code, problem=answer.message)
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

    def copied(self, ref: int, source: Source, problem: str) -> list[Effect]:
        """A checkpoint is whole and durable at home, or could not be copied."""
        work, key = self.node.workloads.get(ref), ("copy", ref, source.rank)
        if work is not None and problem:
            self._failed(*key)
            return []
        self._done(*key)
        if work is None:
            return []
        mine = source.__class__(source.token, source.number, source.rank, self.node.host)
        older = {old for old in work.sources if old.rank == source.rank and old.generation < source.generation}
        work.sources = sorted({*work.sources, mine} - older, reverse=True)
        return [Keep(work)]

    def dropped(self, ref: int, host: str, rank: int, token: int, *, ok: bool) -> list[Effect]:
        """A seat has let its part go, or could not be told."""
        work, key = self.node.workloads.get(ref), ("drop", ref, host, rank, token)
        if work is not None and not ok:
            self._failed(*key)
            return []
        self._done(*key)
        if work is None:
            return []
        work.owed = [owed for owed in work.owed if owed != (host, rank, token)]
        if host != self.node.host:
            work.sources = [
                kept for kept in work.sources if (kept.holder, kept.rank, kept.token) != (host, rank, token)
            ]
        return [Keep(work)]

    def _happened(self, work: Workload, event: TripEvent, now_ns: int) -> list[Effect]:
        before, work.trip = work.trip, next_trip(work.trip, event)
        if work.trip is not before and work.trip is Trip.CALLED:
            self._since.pop((work.ref, "called"), None)
            work.note(self.node.tick, f"called back: {event.value}")
            return [Keep(work), *self._call_back(work, now_ns)]
        return [Keep(work), *(self._decide(work) if work.trip is Trip.OVER else [])]

    def _avoid(self, work: Workload, rank: int, why: str, place: Region) -> bool:
        """A host cannot run a workload: from now on it looks elsewhere; whether there is an elsewhere.

        A host that does not say soundly where it is cannot be avoided: then there is only the workload's home.
        """
        node, host = self.node, work.seats[rank]
        assert node.zone is not None
        aligned = place.base >= 0 and 0 <= place.log2 < 2 * node.zone.zone_k and place.base % (1 << place.log2) == 0
        holds = any(place.base <= base < place.end for base, _ in work.blocks) if aligned else False
        if host == node.host or not holds or self._covers_home(place):
            return self._only_home(work, f"{host} cannot run it: {why}")
        work.avoided[host] = (place.base, place.log2, why[:PROBLEM_KEPT_MAX])
        work.note(node.tick, f"{host} cannot run it, and it avoids {host}: {why}")
        others = clear_of(Region(0, 0), work.avoided_regions, least_region(work), node.zone.zone_k, 0)
        if others is None or len(work.avoided) >= AVOIDS_MAX:
            return self._only_home(work, f"{len(work.avoided)} hosts could not run it")
        return True

    def _covers_home(self, place: Region) -> bool:
        own = self.own_region()
        return place.base < own.end and own.base < place.end

    def _only_home(self, work: Workload, text: str) -> bool:
        """There is no other host for it: whether this one has room for it, now and then."""
        work.homebound = work.seats != [self.node.host] and work.shape.slots <= 1 << self.log2_slots
        work.homebound_why = text
        work.note(self.node.tick, f"{text}{': it runs here, or waits' if work.homebound else ''}")
        return work.homebound

    def _call_back(self, work: Workload, now_ns: int) -> list[Effect]:
        """Ask the ledger to have the seats leave; again while the lease is not over."""
        if self._due("call", work.ref):
            self.node.link.put(Op.CANCEL, Cancel(work.ref, work.lease), now_ns)
            self._failed("call", work.ref)
        return []

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

    def _newest(self, work: Workload, *, up: bool = False) -> tuple[int, int] | None:
        """The newest generation of which every rank's part is there: a gang goes on from one moment, or from none.

        With `up`, the newest that can be had now: what only a lost host holds is not waited for while there is another.
        """
        ranks = range(max(1, len(work.seats)))
        known = [source for source in work.sources if not up or self._is_up(source.holder)]
        held = [{source.generation for source in known if source.rank == rank} for rank in ranks]
        return max(set.intersection(*held), default=None)

    def _heard_from(self, work: Workload, sender: str, report: Report) -> None:
        before, problem, place = work.words.get(report.rank, Word()), report.problem, (report.base, report.log2)
        said = Word(report.saves, report.over, report.ran, report.done, report.exit_code, problem, *place)
        said.hook_failed = report.hook_failed
        work.words[report.rank] = said
        if before.hook_failed and not report.hook_failed:
            work.hook_failed = ""
        elif report.hook_failed and work.hook is not None:
            work.hook_failed = report.hook_failed[:HOOK_FAILED_MAX]
            self.node.tell(work, f"its hook did not save it on {sender}: {work.hook_failed}")
        if report.saves:
            source = Source(report.token, report.saves, report.rank, sender)
            older = [old for old in work.sources if (old.holder, old.rank) != (sender, report.rank)]
            work.sources = sorted({*older, source}, reverse=True)
            work.resume = work.strayed = True
        if report.over:
            work.owed = sorted({*work.owed, (sender, report.rank, report.token)})

    def _late_report(self, work: Workload, sender: str, report: Report) -> list[Effect]:
        """What a seat says that was given up: its checkpoint or its end counts while nothing newer has begun.

        Work that was taken for done, by the end of its lease alone, learns its exit code.
        """
        if report.over:
            work.owed = sorted({*work.owed, (sender, report.rank, report.token)})
        unknown = work.life is Life.ENDED and work.lease_why == Reason.DONE and work.exit_code is None
        if unknown and not work.cancelled and report.done and self._was_seat(work, sender, report):
            work.exit_code, work.outcome = report.exit_code, f"exit code {report.exit_code}"
            work.note(self.node.tick, f"its seat is heard at last: {work.outcome}")
        if report.token != work.last_token or work.lease or work.life is Life.ENDED or len(work.seats) > 1:
            return [Keep(work)]
        if self._was_seat(work, sender, report):
            self._heard_from(work, sender, report)
        if report.done and not report.problem and work.life in {Life.SEEKING, Life.PARKED}:
            work.exit_code = report.exit_code
            return self.node.over(work, f"exit code {work.exit_code}")
        return [Keep(work)]

    @staticmethod
    def _was_seat(work: Workload, sender: str, report: Report) -> bool:
        """Whether a report is of the one seat of its last lease."""
        return work.last_token == report.token and work.seats == [sender] and report.rank == 0

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
        goes_on = not work.cancelled and self._could_not_start(work, words)
        work.trip, work.taken = Trip.NONE, []
        work.unseat()
        self._forget_errands(work.ref)
        if goes_on:
            work.why_leaving = 0
            self.node.seek_again(work)
            work.become(Life.SEEKING, self.node.tick, "seeks a host that can run it")
            return [Keep(work)]
        if done or why is Reason.DONE:
            codes = [word.exit_code for word in words if word.done and word.exit_code is not None]
            work.exit_code = next((code for code in codes if code), codes[0] if codes else None)
            work.outcome = problem and f"cannot be executed: {problem}"
            return self.node.after_lease(work, Reason.DONE)
        if ran or work.cancelled or why is Reason.BANKRUPT:
            return self.node.after_lease(work, why)
        if fetched_badly:
            self._note_bad_fetch(work)
        work.why_leaving = 0
        self.node.seek_again(work, RETRY_CYCLES << min(work.fetch_failures, 5))
        work.become(Life.SEEKING, self.node.tick, f"never began there: {problem or why.name.lower()}")
        return [Keep(work)]

    def _could_not_start(self, work: Workload, words: list[Word]) -> bool:
        """Whether it was not its own failure, but that of a host that could not start it, and others may."""
        goes_on: list[bool] = []
        for rank, word in enumerate(words[: len(work.seats)]):
            if word.problem and work.seats[rank] in work.avoided:
                goes_on.append(not word.done)
            elif word.problem and word.done:
                goes_on.append(self._avoid(work, rank, word.problem, Region(word.base, word.log2)))
        return bool(goes_on) and all(goes_on)

    def _note_bad_fetch(self, work: Workload) -> None:
        work.fetch_failures += 1
        newest = max((source.generation for source in work.sources), default=(0, 0))
        older = [source for source in work.sources if source.generation < newest]
        if work.fetch_failures >= FETCH_FAILURES_MAX and older:
            work.sources, work.fetch_failures = older, 0
            work.note(self.node.tick, "its newest checkpoint cannot be had: goes on from the one before")

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
