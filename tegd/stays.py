"""The seat's half of `tegd.travel`: parts of others' work, or of our own that travels, that sit here."""

from dataclasses import dataclass, field
from typing import Any

from tegcore.wire.peer import CANNOT, NOT_YET, STALE_TOKEN, Answer, Brief, Report
from tegcore.wire.records import Reason, Region, unpack_blocks
from tegd.effects import Clear, Effect, Fetch, Forget, Keep, SaveAndEnd, Start, TellHome
from tegd.errands import Errands
from tegd.handover import Stay, StayEvent, next_stay
from tegd.workload import Life, Workload

PARTS_MAX = 256
_RUN_OVER = frozenset({Stay.OVER, Stay.KEPT, Stay.GONE})


@dataclass
class Stays(Errands):
    """Stays of parts on this host."""

    _starting: set[str] = field(default_factory=set)
    _collecting: set[str] = field(default_factory=set)
    _saved_ns: dict[str, int] = field(default_factory=dict)
    _reported: dict[int, tuple[int, bool, str]] = field(default_factory=dict)

    def part(self, lease: int, token: int) -> Workload | None:
        """The part of another's work, or of our own that travels, that sits here under a lease."""
        works = self.node.workloads.values()
        return next((work for work in works if work.home and (work.lease, work.token) == (lease, token)), None)

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
        agreed = party.home == sender and party.seats == brief.seats and party.slots[brief.rank :][:1] == [brief.slots]
        if not agreed or brief.seats[brief.rank] != node.host:
            message = f"lease {brief.lease} was not ordered by {sender} for this seat"
            return Answer(ok=False, reason=STALE_TOKEN, message=message)
        living = sum(bool(work.home) and work.life is not Life.ENDED for work in node.workloads.values())
        if living >= PARTS_MAX:
            return Answer(ok=False, reason=NOT_YET, message=f"{PARTS_MAX} parts are here already")
        return None

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
        node.submitted(part)
        node.agents[ref].renew_cycle = node.cycle - node.zone.renew_ticks
        part.become(Life.SEATED, node.tick, f"part {part.rank} of {len(part.seats)} of {sender}'s {part.name}")
        return [Keep(part)]

    def may_start(self, work: Workload) -> bool:
        """Whether a workload that has a seat here may be started as it is."""
        return not work.home or work.stay is Stay.SEATED

    def fetched(self, ref: int, token: int, problem: str, now_ns: int) -> list[Effect]:
        """A part's files are whole and durable here, or cannot be had; it starts once its term is known to last."""
        part = self.node.workloads.get(ref)
        self._done("fetch", ref)
        if part is None or part.token != token or part.stay is not Stay.FETCHING:
            return []
        if not problem and part.term_end_ns <= now_ns:
            self._failed("fetch", ref)
            return []
        if not problem:
            return [*self._stayed(part, StayEvent.FETCHED), *self._start(part)]
        part.outcome = problem
        part.note(self.node.tick, f"cannot be fetched: {problem}")
        effects = self._stayed(part, StayEvent.UNFETCHED)
        return [*effects, *self.node.run_ended(part, Reason.HOST_GONE, now_ns)]

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
        self._reported[ref] = (report.saves, report.over, report.hook_failed)
        return self._stayed(part, StayEvent.HEARD) if report.over else []

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
        if part.stay is Stay.FETCHING:
            effects += self._stayed(part, StayEvent.LEAVE)
        elif run not in {None, "ended"}:
            effects.append(SaveAndEnd(part, save=part.hook is not None))
        return [*effects, *self._close(part)]

    def _close(self, part: Workload) -> list[Effect]:
        """With lease and run both over, nothing of it is held here any more."""
        if not part.lease_why or part.stay in {Stay.FETCHING, Stay.SEATED} or part.life is Life.ENDED:
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
        if part.stay is Stay.FETCHING and part.life is Life.LEAVING:
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
        stood = (part.saves, part.stay is Stay.OVER, part.hook_failed)
        if stood != self._reported.get(part.ref, (0, False, "")) and part.stay in {Stay.SEATED, Stay.OVER}:
            effects += [TellHome(part)] if self._due("home", part.ref) else []
        return effects
