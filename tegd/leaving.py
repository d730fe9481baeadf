"""How a seat is given up: notice, the save, the end of the run, the end of the lease, and what comes after.

What can be saved is saved at once; what cannot runs on until its notice is nearly over. At its time limit it is asked
to end at once, and has its notice to do so. The slots are said to be clear
when the airlock side says that the run is over, and not before. A save that fails makes of it what cannot be saved.

Without its lease it seeks anew, from what it saved or from its beginning, unless it has come to its end by itself, is
not wanted any more, or has used up its own money.
"""

from copy import copy
from dataclasses import dataclass
from typing import Any

from tegcore.units import TICK_NS, credits_text
from tegcore.wire.records import Op, Reason, Release
from tegd.effects import END_GRACE_NS, Bound, Effect, Extend, Forget, Keep, Run, SaveAndEnd, Start
from tegd.modes import Happening
from tegd.roster import Agent, Roster
from tegd.workload import AT_ITS_TIME, CANNOT_EXECUTE, HOOK_FAILED_MAX, Life, Low, Waits, Workload

LEAVE_MARGIN_TICKS = 20
STOPPED = "the stack on its host was stopped, and it ended with it"


@dataclass
class Leaving(Roster):
    """Those whose lease or run is over, or is to be."""

    def _noticed(self, body: Any, now_ns: int) -> list[Effect]:
        work = self._by_lease(body.lease)
        if work is None and self.travel is not None:
            self.travel.noticed(body, now_ns)
        if work is None or work.token != body.token or work.life is not Life.SEATED:
            return []
        self.agents[work.ref].notice_tick = body.deadline_tick
        return self._leave(work, Reason(body.why), body.deadline_tick)

    def _leave(self, work: Workload, why: Reason, deadline_tick: int) -> list[Effect]:
        """Save at once where there is a hook; what cannot be saved runs on until its notice is nearly over."""
        agent = self.agents[work.ref]
        work.why_leaving = why
        work.become(Life.LEAVING, self.tick, f"has to leave: {why.name.lower()}")
        agent.leaving_told = False
        agent.deadline_tick = deadline_tick if deadline_tick > self.tick else 0
        at_once = work.hook is not None or why is Reason.CANCELLED
        agent.leave_tick = self.tick if at_once else self._last_tick(work, agent)
        return [Keep(work), *self._leave_when_due(work, agent)]

    def _leave_when_due(self, work: Workload, agent: Agent) -> list[Effect]:
        if agent.leaving_told:
            late = 0 < agent.deadline_tick <= self.tick and self.runs.get(work.airlock_id) == "saving"
            return self._hook_failed(work, "it had made no mark when its notice was over") if late else []
        if self.tick < agent.leave_tick:
            return []
        agent.leaving_told = True
        return [self._asked_to_leave(work, agent)]

    def _last_tick(self, work: Workload, agent: Agent) -> int:
        """Until when what cannot be saved runs on: to its time limit, or until its notice is nearly over."""
        return self.tick if work.why_leaving == Reason.TIME else agent.deadline_tick - LEAVE_MARGIN_TICKS

    def _asked_to_leave(self, work: Workload, agent: Agent) -> SaveAndEnd:
        """Saved, or asked to end; at its time limit it has the rest of its notice for that."""
        if self.travel is not None:
            self.travel.saves_at_last(work, agent.notice_tick)
        save, grace_ns = work.hook is not None and not work.cancelled, END_GRACE_NS
        if work.why_leaving == Reason.TIME and not work.cancelled:
            left = agent.deadline_tick - LEAVE_MARGIN_TICKS - self.tick
            grace_ns = max(END_GRACE_NS, left * TICK_NS)
        return SaveAndEnd(work, save, grace_ns)

    def _withdrawn(self, body: Any) -> list[Effect]:
        """Its notice is taken back: it stays, unless its save or its end is under way."""
        work = self._by_lease(body.lease)
        if work is None and self.travel is not None:
            self.travel.withdrawn(body)
        if work is None or work.token != body.token or work.life is not Life.LEAVING:
            return []
        if work.cancelled or self.agents[work.ref].leaving_told:
            return []
        return self._stay(work, "its notice was taken back: it stays", self.link.at_ns(body.term_end_tick))

    def _stay(self, work: Workload, text: str, term_end_ns: int = 0) -> list[Effect]:
        """It does not leave after all, and says at once that it is there."""
        agent = self.agents[work.ref]
        work.why_leaving, work.term_end_ns, work.low = 0, max(work.term_end_ns, term_end_ns), Low()
        agent.renew_seq, agent.leaving_told = 0, False
        agent.renew_cycle = self.cycle - (self.zone.renew_ticks if self.zone is not None else 0)
        work.become(Life.SEATED, self.tick, text)
        return [Keep(work), Extend(work)]

    def _low(self, body: Any) -> list[Effect]:
        """Money for a lease runs out, or does no more."""
        work = self._by_lease(body.lease)
        if work is None and self.travel is not None:
            work = self.travel.away(body.lease)
        if work is None or work.token != body.token or (work.life is Life.LEAVING and not body.until_tick):
            return []
        work.low = Low(body.reason, body.until_tick, body.missing_ucr)
        if body.until_tick:
            whose = f"its {work.money_word}" if body.reason == Reason.BUDGET else f"the account of {work.tenant}"
            missing = credits_text(body.missing_ucr)
            self.tell(work, f"{whose} lasts until tick {body.until_tick}: {missing} credits more carry it a term on")
        else:
            work.note(self.tick, "money for it does not run out any more")
        return [Keep(work)]

    def run_changed(self, run: Run, now_ns: int) -> list[Effect]:
        """The airlock side says where a run is."""
        self.runs[run.airlock_id] = run.state
        ref, _, token = run.airlock_id.partition(".")
        work = self.workloads.get(int(ref)) if ref.isdigit() else None
        if work is None or str(work.token) != token:
            return [Forget(run.airlock_id)] if run.state == "ended" else []
        work.resume = work.resume or run.saved
        travelling = self.travel.run_changed(work, run) if self.travel is not None else []
        if run.state == "ended":
            work.exit_code = run.exit_code
            if run.cause == "start_failed":
                work.outcome, work.exit_code = f"cannot be executed: {run.problem}", CANNOT_EXECUTE
            elif run.cause == "asked" and work.life is Life.SEATED and work.hook is None and not work.home:
                work.outcome = STOPPED  # nobody here has asked for its end
            return [*travelling, *self.run_ended(work, _why_ended(work, run), now_ns)]
        if told := self._told_of_comeback(work, run):
            travelling = [*travelling, *told]
        if run.hook_failed:
            return [*travelling, *self._hook_failed(work, run.hook_failed)]
        if run.hook_proved and work.hook_failed:
            work.hook_failed = ""
            work.note(self.tick, "its hook has answered: it can be saved")
            return [*travelling, Keep(work)]
        return travelling

    def _told_of_comeback(self, work: Workload, run: Run) -> list[Effect]:
        """What a save showed of how it is started again is said once."""
        quits = "its program ends after its mark: it was started again from its checkpoint at once" if run.quits else ""
        fresh = [said for said in (run.comeback, quits) if said and all(said != text for _, text in work.history)]
        for said in fresh:
            work.note(self.tick, said)
        return [Keep(work)] if fresh else []

    def _hook_failed(self, work: Workload, problem: str) -> list[Effect]:
        """A hook that does not save protects nothing: from now on it is work without one, and has until its notice."""
        if work.hook is None:
            return []
        agent = self.agents[work.ref]
        work.hook_failed = problem[:HOOK_FAILED_MAX]
        self.tell(work, f"its hook did not save it: {work.hook_failed}")
        if work.life is not Life.LEAVING or not agent.leaving_told or work.cancelled:
            return [Keep(work)]
        if work.why_leaving == Reason.MOVED:
            return self._stay(work, "stays where it is: it cannot be saved")
        agent.leaving_told, agent.leave_tick = False, self._last_tick(work, agent)
        return [Keep(work)]

    def airlock_back(self) -> list[Effect]:
        """The airlock side has told all its runs: ask again for what it may not have heard."""
        effects: list[Effect] = []
        for _, work in sorted(self.workloads.items()):
            state = self.runs.get(work.airlock_id)
            if work.life is Life.SEATED and (state or self.travel is None or self.travel.may_start(work)):
                effects += [Extend(work), Bound(work)] if state else [Start(work)]
            elif work.life is Life.LEAVING and state not in {None, "ended"} and self.agents[work.ref].leaving_told:
                effects.append(self._asked_to_leave(work, self.agents[work.ref]))
        return effects

    def run_ended(self, work: Workload, why: Reason, now_ns: int) -> list[Effect]:
        """A run is over: its slots are clear, and the ledger is told so, once."""
        agent = self.agents[work.ref]
        if work.lease and not agent.released:
            agent.released = bool(self.link.put(Op.RELEASE, Release(work.lease, work.token, why), now_ns))
        work.why_leaving = why
        if work.life is Life.SEATED:
            work.become(Life.LEAVING, self.tick, work.outcome or f"run over ({why.name.lower()}), {work.exit_code}")
        return [Keep(work)]

    def _lease_ended(self, body: Any, now_ns: int) -> list[Effect]:
        self.told.discard(body.lease)
        why, work = Reason(body.why), self._by_lease(body.lease)
        if work is not None and work.token == body.token and work.why_leaving == Reason.DONE:
            why = Reason.DONE  # it had notice, and came to its end by itself
        travelling = self._travel_ended(body, why, now_ns)
        if work is None or work.token != body.token or work.home:
            return travelling
        airlock_id = work.airlock_id
        effects: list[Effect] = []
        if self.runs.get(airlock_id) == "ended":
            effects.append(Forget(airlock_id))
        elif airlock_id in self.runs:
            effects.append(SaveAndEnd(copy(work), save=work.hook is not None))
        self._paid(work, body, why)
        work.unseat()
        return [*effects, *self.after_lease(work, why)]

    def _travel_ended(self, body: Any, why: Reason, now_ns: int) -> list[Effect]:
        """What the end of a lease means for what sits elsewhere, or is a part of what does."""
        if self.travel is None:
            return []
        for work in self.workloads.values():
            if work.trip and (work.lease, work.token) == (body.lease, body.token):
                self._paid(work, body, why)
        return self.travel.lease_over(body.lease, why, now_ns)

    def _paid(self, work: Workload, body: Any, why: Reason) -> None:
        """A lease is over: what has it cost?"""
        text = f"lease over ({why.name.lower()})"
        if self.minds_money(work) or why is Reason.BANKRUPT:
            text += f", paid {credits_text(body.paid_ucr)} credits"
        if work.has_purse:
            text += f", {credits_text(body.returned_ucr)} came back"
        work.note(self.tick, text)
        work.lease_paid(body.paid_ucr, body.returned_ucr)
        self.agents[work.ref].top_ups.clear()
        work.keep_unfilled()

    def after_lease(self, work: Workload, why: Reason) -> list[Effect]:
        """Without its lease: over, parked, or seeking anew, from what it has saved or from its beginning."""
        low, work.low, work.why_leaving = work.low, Low(), 0
        self.seek_again(work)
        if work.cancelled:
            return self.over(work, "cancelled")
        if why is Reason.DONE:
            return self.over(work, work.outcome or f"exit code {work.exit_code}")
        if why is Reason.TIME:
            return self.over(work, f"{AT_ITS_TIME} of {work.spec.time_s} s")
        anew = work.hook is None
        if anew and not work.spec.requeue:
            return self.over(work, work.outcome or f"ended, as its grant said: {why.name.lower()}")
        if anew:
            work.begin_anew()
        if why is Reason.BANKRUPT and low.reason != Reason.FUNDS and work.own_ucr is not None:
            if (short_ucr := work.cost_ucr + self.edge_ucr(work) - work.own_ucr) > 0:
                return self._park(work, short_ucr)
            work.waits = Waits()
        else:
            work.waits = Waits("FUNDS", low.missing_ucr) if why is Reason.BANKRUPT else Waits()
        text = "is queued again, to start from its beginning," if anew else "seeks a new seat"
        work.become(Life.SEEKING, self.tick, f"{text} after {why.name.lower()}")
        return [Keep(work)]

    def _synced(self, now_ns: int) -> list[Effect]:
        """All leases of this host have been told: what is not among them is over."""
        effects: list[Effect] = []
        for work in self.workloads.values():
            gone = work.lease and work.lease not in self.told
            if gone and self.travel is not None and (work.trip or work.home):
                if not work.lease_why:
                    effects += self.travel.lease_over(work.lease, Reason.EXPIRED, now_ns)
            elif gone:
                run, airlock_id = self.runs.get(work.airlock_id), work.airlock_id
                if run == "ended":
                    effects.append(Forget(airlock_id))
                elif run:
                    effects.append(SaveAndEnd(copy(work), save=work.hook is not None))
                done = run == "ended" and work.why_leaving in {0, Reason.DONE} and work.exit_code is not None
                unseen_ucr = self._unseen_ucr(work)
                work.unseat()
                work.keep_unfilled()
                work.spent_ucr, work.paid_ucr = work.spent_ucr + work.paid_ucr + unseen_ucr, 0
                effects += self.after_lease(work, Reason.DONE if done else Reason.EXPIRED)
            elif work.life in {Life.ORDERED, Life.WAITING}:
                work.become(Life.SEEKING, self.tick, "seeks again: the daemon started anew")
                effects.append(Keep(work))
        self.happen(Happening.SYNCED)
        return effects

    def _unseen_ucr(self, work: Workload) -> int:
        """The most that a lease can have cost since it was settled last, where its end was not heard.

        A budget is a cap: what is not known is counted in full.
        """
        if not work.has_budget or self.zone is None:
            return 0
        periods = self.zone.term_ticks // self.zone.period_ticks + 2
        return work.charge_ucr(work.price_ucr) * periods


def _why_ended(work: Workload, run: Run) -> Reason:
    """Why a lease is given back: work that came to its end by itself is done, whoever wanted it to leave.

    Who was asked to end, with nothing to be saved, and ends well has come to its end too.
    """
    if run.cause in {"exited", "start_failed"}:
        return Reason.DONE
    if run.cause == "asked" and work.life is Life.LEAVING:
        ended_well = run.exit_code == 0 and work.hook is None
        return Reason.DONE if ended_well else Reason(work.why_leaving)
    return Reason.EXPIRED
