"""The home's half of `tegd.travel`: work of this host that sits on others."""

from dataclasses import dataclass
from typing import Any

import msgspec

from tegcore.wire.peer import CANNOT, SEATS_MAX, STALE_TOKEN, WAITS, Answer, Brief, Report, Source
from tegcore.wire.records import Cancel, Op, Reason, Region
from tegd import generations
from tegd.effects import AskPeers, Collect, Copy, DropThere, Effect, Keep, TellBegin, TellSeat
from tegd.errands import Errands
from tegd.generations import HOME
from tegd.handover import Trip, TripEvent, next_trip
from tegd.seek import clear_of, least_region
from tegd.workload import CANNOT_EXECUTE, HOOK_FAILED_MAX, Life, Low, Missing, Word, Workload

LATE_CYCLES = 300
"""A seat that could not be told for so long is given up."""
GATHERING_CYCLES = 200
"""A seat that has not said for so long that it is ready is told again: it may start by itself, and say nothing."""
HEAR_SOON_CYCLES = 60
"""How long a last word is awaited from seats that never said that they have it."""
HEAR_CYCLES = 1200
HEAR_LOST_CYCLES = 200
"""The same where the term ran out, so that its seat was silent."""
FETCH_AGAIN_CYCLES = 20
"""Before slots are sought again for work whose checkpoint could not be had; it doubles."""
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
        work.basis, work.begun = None, []
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
        held = [source for source in work.sources if (source.rank, source.generation) == (rank, work.basis)]
        seat, own = work.seats[rank], self.node.host
        held.sort(key=lambda source: (not self._has(source), (source.holder or own) != seat, source.holder == HOME))
        named = [msgspec.structs.replace(source, holder=source.holder or own) for source in held]
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
            named[:SEATS_MAX],
            work.submitted_tick,
            work.in_gang,
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
            if answer.reason != WAITS:
                work.words.setdefault(rank, Word()).ready = True
                work.begun = sorted({*work.begun, rank})
            if len(work.taken) < len(work.seats):
                return [Keep(work)]
            if work.trip is Trip.TELLING:
                work.note(self.node.tick, f"handed to {', '.join(work.seats)}")
            return self._happened(work, TripEvent.TAKEN, now_ns) + self._gathered(work, now_ns)
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
            return self._late_report(work, sender, report), Answer(ok=True, floor=self._floor(work, report.token))
        if report.rank >= len(work.seats) or work.seats[report.rank] != sender:
            return [], Answer(ok=False, reason=STALE_TOKEN, message=f"{sender} has no such part of {work.name}")
        self._heard_from(work, sender, report)
        effects: list[Effect] = [Keep(work)]
        word = work.words[report.rank]
        if word.over and work.in_gang and not (word.done and word.exit_code == 0):
            effects += self._happened(work, TripEvent.BROKEN, now_ns)
        effects += self._gathered(work, now_ns)
        floor = self._floor(work, report.token)
        return effects + self._last_word(work, now_ns), Answer(ok=True, floor=floor)

    def begin_answered(self, ref: int, token: int, rank: int, *, ok: bool) -> list[Effect]:
        """A seat has heard that it may begin, or could not be told."""
        work, key = self.node.workloads.get(ref), ("begin", ref, token, rank)
        if work is not None and not ok:
            self._failed(*key)
            return []
        self._done(*key)
        if work is None or work.token != token:
            return []
        work.begun = sorted({*work.begun, rank})
        return [Keep(work)]

    def _gathered(self, work: Workload, now_ns: int) -> list[Effect]:
        """Whether every seat has what it needs: then all may begin."""
        ready = all(work.words.get(rank, Word()).ready for rank in range(len(work.seats)))
        if not ready or work.trip is not Trip.GATHERING:
            return []
        work.fetch_failures = 0
        return self._happened(work, TripEvent.READY, now_ns)

    @staticmethod
    def _floor(work: Workload, token: int) -> int:
        """The number from which on checkpoints of a lease are needed at its seats."""
        least = Trips.least(work)
        return least[1] if least[0] == token else 0

    @staticmethod
    def least(work: Workload) -> generations.Generation:
        """The oldest generation that is needed, by its seats or at home: the floor, or what its seats are fetching."""
        floor = generations.floor(work.sources)
        fetching = work.basis and work.trip in {Trip.TELLING, Trip.GATHERING}
        return min(floor, work.basis) if work.basis and fetching else floor

    def copied(self, ref: int, source: Source, problem: str, *, gone: bool = False) -> list[Effect]:
        """A checkpoint is whole and durable at home, or could not be copied; or its holder does not have it."""
        work, key = self.node.workloads.get(ref), ("copy", ref, source.rank)
        if work is not None and problem:
            self._failed(*key)
            work.sources = [kept for kept in work.sources if kept != source or not gone]
            return [Keep(work)] if gone else []
        self._done(*key)
        if work is None:
            return []
        work.sources = [*work.sources, msgspec.structs.replace(source, holder=HOME)]
        self._sort_out(work)
        return [Keep(work)]

    def _has(self, source: Source) -> bool:
        """Whether a checkpoint can be had now, as far as is known."""
        return source.holder == HOME or self._is_up(source.holder)

    @staticmethod
    def _sort_out(work: Workload) -> None:
        """Of what is known to be kept, forget what is of no use any more."""
        hopeful = work.token if work.basis is not None else work.last_token
        work.sources = generations.kept_on(work.sources, hopeful, Trips.least(work))

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
        work.sources = [kept for kept in work.sources if (kept.holder, kept.rank, kept.token) != (host, rank, token)]
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
            case Trip.GATHERING if self._passed(work.ref, Trip.GATHERING) >= GATHERING_CYCLES:
                self._since[work.ref, Trip.GATHERING] = self.node.cycle
                waited_for = [rank for rank in range(len(work.seats)) if not work.words.get(rank, Word()).ready]
                due = [rank for rank in waited_for if self._due("brief", work.ref, work.token, rank)]
                return [TellSeat(work, rank) for rank in due]
            case Trip.AWAY if work.in_gang:
                untold = [rank for rank in range(len(work.seats)) if rank not in work.begun]
                due = [rank for rank in untold if self._due("begin", work.ref, work.token, rank)]
                return [TellBegin(work, rank) for rank in due]
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
            return self._ask_party(work.lease, self._holders(work))
        effects: list[Effect] = []
        if not work.seats:
            work.seats, work.slots_by_rank = list(party.seats), list(party.slots)
            effects.append(Keep(work))
        if work.basis is None:
            chosen = generations.basis(work.sources, len(work.seats), self._has)
            self._say_missing(work, chosen)
            if chosen is None:
                return self._happened(work, TripEvent.MISSING, now_ns)
            work.basis = chosen
            self._sort_out(work)
        held = {kept.rank for kept in work.sources if kept.generation == work.basis}
        if work.basis != generations.BEGINNING and len(held) < len(work.seats):
            self._lacks(work, self._wanting(work, work.basis), "no rank begins without it")
            return [*effects, *self._happened(work, TripEvent.MISSING, now_ns)]
        untold = [rank for rank in range(len(work.seats)) if rank not in work.taken]
        due = [rank for rank in untold if self._due("brief", work.ref, work.token, rank)]
        return [*effects, *(TellSeat(work, rank) for rank in due)]

    def _holders(self, work: Workload) -> tuple[str, ...]:
        """Other hosts that hold something of a workload."""
        return tuple(sorted({source.holder for source in work.sources} - {HOME, self.node.host}))

    # --- what a gang lacks ------------------------------------------------------------------------------------------

    def held_back(self, work: Workload) -> bool:
        """Whether a gang seeks no seat for now: what it is to go on from cannot be had."""
        whole = generations.whole(work.sources) if work.strayed else []
        ranks = {generations.ranks_of(work.sources, generation) for generation in whole} - {1}
        had = generations.whole(work.sources, self._has) if ranks else whole
        return bool(ranks) and not had

    def _tend_held_back(self, work: Workload, now_ns: int) -> list[Effect]:
        """Ask now and then whether who holds what a gang lacks is back; say whose checkpoint that is."""
        asked = ("holders", work.ref) in self._errands
        if not self.held_back(work):
            if asked:
                self._done("holders", work.ref)
                self.node.seek_again(work)
            return []
        if not asked:
            self.node.link.put(Op.CANCEL, Cancel(work.ref), now_ns)  # no room is kept for who would not take it
        effects: list[Effect] = []
        if work.missing is None or not work.missing.holder:
            self._say_missing(work, None)
            effects.append(Keep(work))
        away = tuple(host for host in self._holders(work) if not self._is_up(host))
        if away and self._due("holders", work.ref):
            self._failed("holders", work.ref)
            effects.append(AskPeers((), away))
        return effects

    def _say_missing(self, work: Workload, chosen: generations.Generation | None) -> None:
        """Say whose checkpoint keeps a gang from going on from its newest save, if one does.

        Args:
            work: At its home.
            chosen: What it goes on from all the same; None: it does not.
        """
        newest = max((source.generation for source in work.sources), default=generations.BEGINNING)
        older = "from their beginning" if chosen == generations.BEGINNING else "from an older save"
        if chosen is None:
            self._lacks(work, self._wanting(work, generations.whole(work.sources)[0]), "it waits for that")
        elif chosen < newest:
            self._lacks(work, self._wanting(work, newest), f"all ranks go on {older}")
        elif chosen != generations.BEGINNING:
            work.missing = None
        elif work.missing is not None:
            self._lacks(work, work.missing, f"all ranks go on {older}")

    def _wanting(self, work: Workload, generation: generations.Generation) -> Missing:
        """What keeps a generation from being had: a rank that nobody holds who answers, or the number of hosts."""
        ranks = generations.ranks_of(work.sources, generation)
        there = {source.rank for source in work.sources if source.generation == generation and self._has(source)}
        rank = next((rank for rank in range(ranks) if rank not in there), 0)
        if rank in there:
            return Missing(rank, self.node.tick, "", ranks, len(work.seats))
        return Missing(rank, self.node.tick, self._away_with(work, generation, rank))

    def _away_with(self, work: Workload, generation: generations.Generation, rank: int) -> str:
        """Who holds a rank of a generation and does not answer."""
        held = (source.holder for source in work.sources if (source.generation, source.rank) == (generation, rank))
        return next((holder for holder in held if holder not in {HOME, self.node.host}), "")

    def _lacks(self, work: Workload, missing: Missing, then: str) -> None:
        """A rank's checkpoint is missing: since when is kept while it is the same one."""
        before = work.missing
        if before is not None and (before.rank, before.ranks) == (missing.rank, missing.ranks):
            missing.tick = before.tick
        work.missing = missing
        where = f", which is on {missing.holder}," if missing.holder else ""
        what = f"the checkpoint of rank {missing.rank}{where} is missing since tick {missing.tick}"
        if missing.ranks:
            what = f"its checkpoints are of {missing.ranks} hosts, and it won slots of {missing.seats}"
        if not work.history or not work.history[-1][1].endswith(f"{what}: {then}"):
            self.node.tell(work, f"{what}: {then}")

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
        said.ready = report.ready or report.ran or before.ready
        numbers = report.kept or ([report.saves] if report.saves and not work.in_gang else [])
        mine = (sender, report.rank, report.token)
        others = [kept for kept in work.sources if (kept.holder, kept.rank, kept.token) != mine]
        held = [Source(report.token, number, report.rank, sender, len(work.seats)) for number in numbers]
        work.sources = [kept for kept in [*others, *held] if not self._is_gone(kept, report.gone)]
        self._sort_out(work)
        if held:
            work.resume = work.strayed = True
        newest = max(generations.whole(work.sources), default=generations.BEGINNING)
        if newest[0] == report.token:
            work.missing = None
        if report.over:
            work.owed = sorted({*work.owed, (sender, report.rank, report.token)})

    def _is_gone(self, kept: Source, gone: list[Source]) -> bool:
        """Whether a seat was told by a holder that it has no such checkpoint."""
        return msgspec.structs.replace(kept, holder=kept.holder or self.node.host) in gone

    def _late_report(self, work: Workload, sender: str, report: Report) -> list[Effect]:
        """What a seat says that was given up: its checkpoint or its end counts while nothing newer has begun.

        Work that was taken for done, by the end of its lease alone, learns its exit code.
        """
        if report.over:
            work.owed = sorted({*work.owed, (sender, report.rank, report.token)})
        unknown = work.life is Life.ENDED and work.lease_why == Reason.DONE and work.exit_code is None
        unknown = unknown and not work.in_gang
        if unknown and not work.cancelled and report.done and self._was_seat(work, sender, report):
            work.exit_code, work.outcome = report.exit_code, f"exit code {report.exit_code}"
            work.note(self.node.tick, f"its seat is heard at last: {work.outcome}")
        if report.token != work.last_token or work.lease or work.life is Life.ENDED:
            return [Keep(work)]
        if self._was_seat(work, sender, report):
            self._heard_from(work, sender, report)
        if work.in_gang:
            return [Keep(work)]
        if report.done and not report.problem and work.life in {Life.SEEKING, Life.PARKED}:
            work.exit_code = report.exit_code
            return self.node.over(work, f"exit code {work.exit_code}")
        return [Keep(work)]

    @staticmethod
    def _was_seat(work: Workload, sender: str, report: Report) -> bool:
        """Whether a report is of a seat of its last lease."""
        return work.last_token == report.token and work.seats[report.rank : report.rank + 1] == [sender]

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
        if work.in_gang and work.hook is not None and not (done or work.cancelled or why is Reason.TIME):
            self._note_unsaved(work, words, ran=ran)
        work.trip, work.taken, work.basis = Trip.NONE, [], None
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
        if fetched_badly or work.missing is not None:
            self._note_bad_fetch(work)
        work.why_leaving = 0
        self.node.seek_again(work, FETCH_AGAIN_CYCLES << min(work.fetch_failures, 9 if work.missing is not None else 5))
        work.become(Life.SEEKING, self.node.tick, f"never began there: {problem or why.name.lower()}")
        return [Keep(work)]

    def _note_unsaved(self, work: Workload, words: list[Word], *, ran: bool) -> None:
        """A gang has left its seats: which rank has not saved, or could not be brought its checkpoint?"""
        if not ran:
            rank = next((rank for rank, word in enumerate(words) if word.problem), None)
            if rank is not None and work.basis and not words[rank].done:
                holder = self._away_with(work, work.basis, rank)
                self._lacks(work, Missing(rank, self.node.tick, holder), "it did not begin")
            return
        newest = max((kept.generation for kept in work.sources if kept.token == work.token), default=None)
        held = {kept.rank for kept in work.sources if kept.generation == newest}
        rank = next((rank for rank in range(len(words)) if rank not in held), None)
        if rank is not None:
            self._lacks(work, Missing(rank, self.node.tick), "not all ranks have made its last save")

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
        if work.in_gang:
            return
        newest = max((source.generation for source in work.sources), default=(0, 0))
        older = [source for source in work.sources if source.generation < newest]
        if work.fetch_failures >= FETCH_FAILURES_MAX and older:
            work.sources, work.fetch_failures = older, 0
            work.note(self.node.tick, "its newest checkpoint cannot be had: goes on from the one before")

    def _tend_copies(self, work: Workload) -> list[Effect]:
        """Keep the newest whole generation at home too, and let those seats go that hold nothing newer."""
        effects: list[Effect] = []
        wanted = generations.to_copy(work.sources, self._has) if work.life is not Life.ENDED else []
        effects += [Copy(work, source) for source in wanted if self._due("copy", work.ref, source.rank)]
        for host, rank, token in work.owed:
            if self._droppable(work, host, rank, token) and self._due("drop", work.ref, host, rank, token):
                effects.append(DropThere(work, host, rank, token))
        return effects

    def _droppable(self, work: Workload, host: str, rank: int, token: int) -> bool:
        if work.life is Life.ENDED:
            return True
        least = self.least(work)
        there = [kept for kept in work.sources if (kept.holder, kept.rank, kept.token) == (host, rank, token)]
        return all(kept.generation < least or self._is_here(work, kept) for kept in there)

    @staticmethod
    def _is_here(work: Workload, kept: Source) -> bool:
        return msgspec.structs.replace(kept, holder=HOME) in work.sources
