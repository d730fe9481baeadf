"""The seat's half of `tegd.travel`: parts of others' work, or of our own that travels, that sit here."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from tegcore.wire.peer import CANNOT, KEPT_TOLD_MAX, NOT_YET, STALE_TOKEN, WAITS, Answer, Brief, Report, Source
from tegcore.wire.records import Reason, Region, unpack_blocks
from tegd import generations
from tegd.effects import Clear, Collect, Effect, Fetch, Forget, Keep, SaveAndEnd, SaveInPassing, Start, TellHome
from tegd.errands import CYCLES_PER_S, Errands
from tegd.handover import Stay, StayEvent, next_stay
from tegd.workload import Life, Workload

PARTS_MAX = 256
_RUN_OVER = frozenset({Stay.OVER, Stay.KEPT, Stay.GONE})
READY_AGAIN_CYCLES = 200
"""A seat that is ready says so again after so long, and hears that its home is there."""
FORSAKEN_CYCLES = 1200
"""For so long it waits for a home that does not answer."""
LATE_TICKS = 20
"""A save in passing is not made so long after its tick: it would be of another moment than that of the other ranks."""
UNANSWERED_TICKS = 300
"""For so long a save that was asked for may come; what was asked for and not heard by then is not made any more."""
_AT_WORK = frozenset({"saving", "flushing"})


@dataclass
class Stays(Errands):
    """Stays of parts on this host."""

    _starting: set[str] = field(default_factory=set)
    _collecting: dict[str, int] = field(default_factory=dict)
    _heard_saved: dict[str, int] = field(default_factory=dict)
    _reported: dict[int, tuple[Any, ...]] = field(default_factory=dict)

    def part(self, lease: int, token: int) -> Workload | None:
        """The part of another's work, or of our own that travels, that sits here under a lease."""
        works = self.node.workloads.values()
        return next((work for work in works if work.home and (work.lease, work.token) == (lease, token)), None)

    def refusal(self, sender: str, brief: Brief) -> Answer | None:
        """Why a brief is not taken, if it is not: it must be for a lease that the ledger told this host of."""
        node = self.node
        grant, party = self.grants.get(brief.lease), self.parties.get(brief.lease)
        if (part := self.part(brief.lease, brief.token)) is not None:
            return self.taken(part)
        if grant is None or node.zone is None:
            return Answer(ok=False, reason=NOT_YET, message=f"the ledger tells of no lease {brief.lease} here")
        if grant.token != brief.token:
            message = f"lease {brief.lease} is held under token {grant.token}, not {brief.token}"
            return Answer(ok=False, reason=STALE_TOKEN, message=message)
        if party is None or party.token != brief.token:
            return Answer(ok=False, reason=NOT_YET, message="the ledger has not said yet who shares the lease")
        agreed = party.home == sender and party.seats == brief.seats and party.slots[brief.rank :][:1] == [brief.slots]
        if not agreed or brief.seats[brief.rank] != node.host:
            message = f"lease {brief.lease} was not ordered by {sender} for this seat"
            return Answer(ok=False, reason=STALE_TOKEN, message=message)
        living = sum(bool(work.home) and work.life is not Life.ENDED for work in node.workloads.values())
        if living >= PARTS_MAX:
            return Answer(ok=False, reason=NOT_YET, message=f"{PARTS_MAX} parts are here already")
        return None

    @staticmethod
    def taken(part: Workload) -> Answer:
        """A brief is taken."""
        return Answer(ok=True, reason=WAITS if part.together else "")

    def cannot(self, why: str) -> Answer:
        """This host can never run what a brief is about."""
        own = self.own_region()
        return Answer(ok=False, reason=CANNOT, message=why, base=own.base, log2=own.log2)

    def ask_about(self, lease: int) -> list[Effect]:
        """A brief came for a lease whose party is not known yet."""
        known = lease not in self.grants or lease in self.parties
        return [] if known else self._ask_party(lease)

    def briefed(self, sender: str, brief: Brief, ref: int, uid: int, gid: int) -> list[Effect]:
        """Take a part in: it is on disk before the answer.

        It renews at once: a host that had nothing to say to the ledger for long knows the ledger's ticks, and so the
        end of the term, only as an early guess.
        """
        node, grant = self.node, self.grants[brief.lease]
        assert node.zone is not None, "a lease was granted"
        part = Workload(ref, brief.name, brief.tenant, uid, gid, 0, brief.spec)
        part.home, part.home_ref, part.rank, part.seats = sender, brief.ref, brief.rank, brief.seats
        part.part_slots, part.ticket, part.files = brief.slots, brief.ticket, tuple(brief.files)
        part.limit_ucr, part.sources, part.resume = brief.limit_ucr, list(brief.sources), bool(brief.sources)
        part.lease, part.token, part.price_ucr = brief.lease, brief.token, grant.price_ucr
        blocks = unpack_blocks(grant.blocks0, grant.blocks1)
        part.blocks = tuple((block.base, block.log2) for block in blocks)
        part.base = node.zone.base
        part.keep_purse(grant.purse_ucr)
        part.mass_micro = grant.mass_micro
        part.term_end_ns = node.link.at_ns(grant.term_end_tick)
        part.held_bytes = part.spec.mem_bytes * part.slots_here
        part.stay, part.submitted_tick = Stay.FETCHING, brief.submitted_tick
        part.together = brief.together
        node.submitted(part)
        node.agents[ref].renew_cycle = node.cycle - node.zone.renew_ticks
        part.become(Life.SEATED, node.tick, f"part {part.rank} of {len(part.seats)} of {sender}'s {part.name}")
        return [Keep(part)]

    def may_start(self, work: Workload) -> bool:
        """Whether a workload that has a seat here may be started as it is."""
        return not work.home or work.stay is Stay.SEATED

    def fetched(self, ref: int, token: int, problem: str, now_ns: int, gone: Collection[Source] = ()) -> list[Effect]:
        """A part's files are whole and durable here, or cannot be had; it is ready once its term is known to last.

        Args:
            ref: Of the part.
            token: Of its lease.
            problem: Why they cannot be had; empty: they are here.
            now_ns: The boot-time clock.
            gone: Checkpoints that their holders do not have.
        """
        part = self.node.workloads.get(ref)
        self._done("fetch", ref)
        if part is None or part.token != token or part.stay is not Stay.FETCHING:
            return []
        if not problem and part.term_end_ns <= now_ns:
            self._failed("fetch", ref)
            return []
        part.gone = list(gone)[:KEPT_TOLD_MAX]
        if not problem:
            effects = self._stayed(part, StayEvent.FETCHED)
            return effects if part.together else [*effects, *self._begin(part)]
        part.outcome = problem
        part.note(self.node.tick, f"cannot be fetched: {problem}")
        effects = self._stayed(part, StayEvent.UNFETCHED)
        return [*effects, *self.node.run_ended(part, Reason.HOST_GONE, now_ns)]

    def begin(self, sender: str, home_ref: int, token: int, rank: int) -> tuple[list[Effect], Answer]:
        """Its home says that every rank is ready: a part starts. What has begun, or is over, is left as it is."""
        for part in self.node.workloads.values():
            named = (part.home, part.home_ref, part.token, part.rank) == (sender, home_ref, token, rank)
            if named and part.stay is not Stay.FETCHING:
                return self._begin(part), Answer(ok=True)
        return [], Answer(ok=False, reason=NOT_YET, message=f"no part of {sender}'s {home_ref} is ready here")

    def _begin(self, part: Workload) -> list[Effect]:
        return [*self._stayed(part, StayEvent.BEGIN), *self._start(part)]

    def never_ran(self, airlock_id: str) -> None:
        """The airlock side did not start a part, for its term was over."""
        for part in self.node.workloads.values():
            if part.home and part.airlock_id == airlock_id and airlock_id not in self.node.runs:
                part.ran = False

    def report(self, part: Workload) -> Report:
        """What its home is told of a part."""
        over = part.stay in _RUN_OVER  # also once its home has heard it: what is told later takes no end back
        done = over and part.why_leaving == Reason.DONE
        problem = part.outcome if over else ""
        own = self.own_region() if problem and self.node.zone is not None else Region(-1, 0)
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
            part.hook_failed,
            own.base,
            own.log2,
            part.kept,
            self._is_ready(part),
            part.gone,
        )

    @staticmethod
    def _is_ready(part: Workload) -> bool:
        return part.in_gang and (part.stay is Stay.READY or part.ran)

    def _news(self, part: Workload) -> tuple[Any, ...]:
        """What a home is told of anew when it changes."""
        return part.saves, part.stay is Stay.OVER, part.hook_failed, tuple(part.kept), self._is_ready(part)

    def home_answered(self, ref: int, report: Report, answer: Answer) -> list[Effect]:
        """Its home has heard of a part, or could not be told."""
        part = self.node.workloads.get(ref)
        if part is None:
            return []
        if not answer.ok:
            self._failed("home", ref)
            return []
        self._done("home", ref)
        told = (report.saves, report.over, report.hook_failed, tuple(report.kept), report.ready)
        self._since[ref, "ready"] = self._since[ref, "home"] = self.node.cycle
        effects: list[Effect] = []
        if part.in_gang and answer.floor and (kept := generations.bounded(part.kept, answer.floor)) != part.kept:
            told = (*told[:3], tuple(number for number in told[3] if number in kept), told[4])
            part.kept = kept
            effects.append(Keep(part))
        self._reported[ref] = told
        return [*effects, *(self._stayed(part, StayEvent.HEARD) if report.over else [])]

    def drop(self, sender: str, home_ref: int, token: int, rank: int) -> list[Effect]:
        """Its home needs nothing more of a part."""
        for part in self.node.workloads.values():
            if (part.home, part.home_ref, part.token, part.rank) == (sender, home_ref, token, rank):
                return self._stayed(part, StayEvent.DROPPED)
        return []

    def _overlaps(self, grant: Any) -> bool:
        own = self.own_region()
        return any(
            block.base < own.end and own.base < block.end for block in unpack_blocks(grant.blocks0, grant.blocks1)
        )

    def _part_lease_over(self, part: Workload, why: Reason) -> list[Effect]:
        part.lease_why = why
        run, effects = self.node.runs.get(part.airlock_id), list[Effect]()
        if part.stay in {Stay.FETCHING, Stay.READY}:
            effects += self._stayed(part, StayEvent.LEAVE)
        elif run not in {None, "ended"}:
            self.saves_at_last(part, 0)
            effects.append(SaveAndEnd(part, save=part.hook is not None))
        return [*effects, *self._close(part)]

    def _close(self, part: Workload) -> list[Effect]:
        """With lease and run both over, nothing of it is held here any more."""
        if not part.lease_why or part.stay in {Stay.FETCHING, Stay.READY, Stay.SEATED} or part.life is Life.ENDED:
            return [Keep(part)]
        part.become(Life.ENDED, self.node.tick, f"lease over: {Reason(part.lease_why).name.lower()}")
        ended = self.node.runs.get(part.airlock_id) == "ended"
        return [Keep(part), *([Forget(part.airlock_id)] if ended else [])]

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

    def _tend_stay(self, part: Workload, now_ns: int) -> list[Effect]:
        run, effects = self.node.runs.get(part.airlock_id), list[Effect]()
        busy = part.airlock_id in self._starting or part.airlock_id in self._collecting
        if part.stay in {Stay.FETCHING, Stay.READY} and part.life is Life.LEAVING:
            effects += self._stayed(part, StayEvent.LEAVE)
            effects += self.node.run_ended(part, Reason(part.why_leaving), now_ns)
        elif part.stay is Stay.FETCHING and self._due("fetch", part.ref):
            effects.append(Fetch(part))
        elif part.stay is Stay.SEATED and not busy:
            leaving = part.life is Life.LEAVING or bool(part.lease_why)
            if run == "ended" or (run is None and leaving and part.ran):
                effects += self._stayed(part, StayEvent.RUN_OVER)
                if run is None and not part.lease_why:
                    effects += self.node.run_ended(part, Reason(part.why_leaving), now_ns)
        elif part.stay is Stay.READY:
            effects += self._wait_for_others(part, now_ns)
        if part.stay is Stay.SEATED and part.in_gang and not busy:
            effects += self._save_together(part)
        if part.stay in {Stay.READY, Stay.SEATED, Stay.OVER}:
            again = part.stay is Stay.READY and self._passed(part.ref, "ready") >= READY_AGAIN_CYCLES
            if again or self._news(part) != self._reported.get(part.ref, (0, False, "", (), False)):
                effects += [TellHome(part)] if self._due("home", part.ref) else []
        return effects

    def _wait_for_others(self, part: Workload, now_ns: int) -> list[Effect]:
        """A seat that is ready holds its slots while its home is there, which may wait long for the last of them."""
        if self._passed(part.ref, "home") < FORSAKEN_CYCLES:
            return []
        part.outcome = f"{part.home} has not said for long that every rank is ready"
        part.note(self.node.tick, part.outcome)
        return [*self._stayed(part, StayEvent.FORSAKEN), *self.node.run_ended(part, Reason.HOST_GONE, now_ns)]

    # --- saves of all ranks -----------------------------------------------------------------------------------------

    def _save_together(self, part: Workload) -> list[Effect]:
        """Save in passing in the tick in which every other rank does."""
        every_ticks = part.spec.checkpoint_every_s * CYCLES_PER_S
        if not every_ticks or part.hook is None or part.life is not Life.SEATED:
            return []
        due_tick = generations.due_tick(self.node.tick, part.token, every_ticks)
        if self.node.tick - due_tick >= LATE_TICKS or due_tick in part.kept or due_tick in part.asked:
            return []
        if self.node.runs.get(part.airlock_id) != "running" or due_tick <= max(part.kept, default=0):
            return []
        if self._is_awaited(part):
            return []
        self._asks(part, due_tick)
        return [Keep(part), SaveInPassing(part)]

    def saves_at_last(self, part: Workload, number: int) -> None:
        """A part of a gang is about to be saved and ended.

        A save that is under way is not made again for that: it is of the moment for which it was asked.

        Args:
            part: Of this host.
            number: Of the save, as every rank knows it; 0: the others are not asked for this one.
        """
        if not part.in_gang:
            return
        if self.node.runs.get(part.airlock_id) in _AT_WORK:
            part.asked = part.asked or [0]
        elif self._is_awaited(part) and part.asked != [number]:
            part.asked = [0]  # which of the two a save would be is not known
        elif number or part.life is not Life.LEAVING:
            self._asks(part, number)

    def _asks(self, part: Workload, number: int) -> None:
        part.asked, part.asked_ns = [number], self.node.beat_ns

    def _is_awaited(self, part: Workload) -> bool:
        """Whether a save that a part was asked for may still come, or may have come unheard."""
        recent = bool(part.asked) and self.node.tick - part.asked[0] < UNANSWERED_TICKS
        return recent and part.airlock_id not in self._collecting

    def _collect_next(self, part: Workload) -> list[Effect]:
        """Where a run of a part has saved: which save is that, and is it to be kept?"""
        saved_ns = self._heard_saved.get(part.airlock_id, 0)
        if saved_ns <= part.saved_ns or part.airlock_id in self._collecting:
            return []
        answers = saved_ns >= part.asked_ns
        number = (part.asked[0] if part.asked and answers else 0) if part.in_gang else part.saves + 1
        if not number:
            part.asked, part.saved_ns = [] if answers else part.asked, saved_ns
            return [Keep(part)]
        self._collecting[part.airlock_id] = saved_ns
        return [Collect(part, number)]

    def _collected_of_part(self, part: Workload, number: int, problem: str) -> list[Effect]:
        """What a part has saved is kept; of a gang, not where it has saved again meanwhile: it may be that."""
        part.saved_ns = max(part.saved_ns, self._collecting.pop(part.airlock_id, 0))
        part.asked = [asked for asked in part.asked if asked != number]
        again = self._heard_saved.get(part.airlock_id, 0) > part.saved_ns
        if problem:
            part.note(self.node.tick, f"its checkpoint could not be kept: {problem}")
        elif not part.in_gang:
            part.saves, part.kept = max(part.saves, number), [number]
        elif not again:
            part.saves, part.kept = part.saves + 1, generations.bounded([*part.kept, number], 0)
        return [Keep(part), *self._collect_next(part)]
