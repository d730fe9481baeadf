"""How a seat is given up: notice, the save, the end of the run, the end of the lease, and what comes after.

What can be saved is saved at once; what cannot runs on until its notice is nearly over. The slots are said to be clear
when the airlock side says that the run is over, and not before.
"""

from copy import copy
from dataclasses import dataclass
from typing import Any

from tegcore.wire.records import Op, Reason, Release, Stay
from tegd.effects import Bound, Effect, Extend, Forget, Keep, Run, SaveAndEnd, Start
from tegd.modes import Happening
from tegd.roster import Agent, Roster
from tegd.workload import CANNOT_EXECUTE, Life, Workload

LEAVE_MARGIN_TICKS = 20


@dataclass
class Leaving(Roster):
    """Those whose lease or run is over, or is to be."""

    def _noticed(self, body: Any, now_ns: int) -> list[Effect]:
        work = self._by_lease(body.lease)
        if work is None and self.travel is not None:
            self.travel.noticed(body, now_ns)
        if work is None or work.token != body.token or work.life is not Life.SEATED:
            return []
        return self._leave(work, Reason(body.why), body.deadline_tick)

    def _leave(self, work: Workload, why: Reason, deadline_tick: int) -> list[Effect]:
        """Save at once where there is a hook; what cannot be saved runs on until its notice is nearly over."""
        agent = self.agents[work.ref]
        work.why_leaving = why
        work.become(Life.LEAVING, self.tick, f"has to leave: {why.name.lower()}")
        agent.leaving_told = False
        at_once = work.spec.hook is not None or why is Reason.CANCELLED
        agent.leave_tick = self.tick if at_once else deadline_tick - LEAVE_MARGIN_TICKS
        return [Keep(work), *self._leave_when_due(work, agent)]

    def _leave_when_due(self, work: Workload, agent: Agent) -> list[Effect]:
        if agent.leaving_told or self.tick < agent.leave_tick:
            return []
        agent.leaving_told = True
        return [SaveAndEnd(work, save=work.spec.hook is not None and not work.cancelled)]

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
            return [*travelling, *self.run_ended(work, _why_ended(work, run.cause), now_ns)]
        return [*travelling, *self._runs_on(work, run, now_ns)]

    def _runs_on(self, work: Workload, run: Run, now_ns: int) -> list[Effect]:
        told = self.agents[work.ref].leaving_told
        if run.problem and told and work.life is Life.LEAVING and run.state in {"running", "frozen"}:
            return self._stay(work, run.problem, now_ns)
        return []

    def airlock_back(self) -> list[Effect]:
        """The airlock side has told all its runs: ask again for what it may not have heard."""
        effects: list[Effect] = []
        for _, work in sorted(self.workloads.items()):
            state = self.runs.get(work.airlock_id)
            if work.life is Life.SEATED and (state or self.travel is None or self.travel.may_start(work)):
                effects += [Extend(work), Bound(work)] if state else [Start(work)]
            elif work.life is Life.LEAVING and state not in {None, "ended"} and self.agents[work.ref].leaving_told:
                effects.append(SaveAndEnd(work, save=work.spec.hook is not None and not work.cancelled))
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

    def _stay(self, work: Workload, problem: str, now_ns: int) -> list[Effect]:
        """It can neither be saved nor leave: the incumbent stays, if someone waits for its seat."""
        if work.why_leaving != Reason.CHALLENGED:
            return []
        self.link.put(Op.STAY, Stay(work.lease, work.token), now_ns)
        work.become(Life.SEATED, self.tick, f"cannot be saved, and stays: {problem}")
        return [Keep(work)]

    def _lease_ended(self, body: Any, now_ns: int) -> list[Effect]:
        self.told.discard(body.lease)
        why, work = Reason(body.why), self._by_lease(body.lease)
        travelling = self._travel_ended(body, why, now_ns)
        if work is None or work.token != body.token or work.home:
            return travelling
        airlock_id = work.airlock_id
        effects: list[Effect] = []
        if self.runs.get(airlock_id) == "ended":
            effects.append(Forget(airlock_id))
        elif airlock_id in self.runs:
            effects.append(SaveAndEnd(copy(work), save=work.spec.hook is not None))
        work.note(
            self.tick, f"lease over ({why.name.lower()}), paid {body.paid_ucr} ucr, {body.returned_ucr} came back"
        )
        work.budget(body.returned_ucr)
        work.unseat()
        return [*effects, *self.after_lease(work, why)]

    def _travel_ended(self, body: Any, why: Reason, now_ns: int) -> list[Effect]:
        """What the end of a lease means for what sits elsewhere, or is a part of what does."""
        if self.travel is None:
            return []
        for work in self.workloads.values():
            if work.trip and (work.lease, work.token) == (body.lease, body.token):
                paid = f"paid {body.paid_ucr} ucr, {body.returned_ucr} came back"
                work.note(self.tick, f"lease over ({why.name.lower()}), {paid}")
                work.budget(body.returned_ucr)
        return self.travel.lease_over(body.lease, why, now_ns)

    def after_lease(self, work: Workload, why: Reason) -> list[Effect]:
        """Without its lease: over, parked, or seeking anew from what it has saved."""
        work.why_leaving = 0
        self.seek_again(work)
        if work.cancelled:
            return self.over(work, "cancelled")
        if why is Reason.DONE:
            return self.over(work, work.outcome or f"exit code {work.exit_code}")
        if not work.spec.hook:
            return self.over(work, f"ended, as its grant said: {why.name.lower()}")
        if why is Reason.BANKRUPT:
            return self._park(work, work.charge_ucr(work.limit_ucr))
        work.become(Life.SEEKING, self.tick, f"seeks a new seat after {why.name.lower()}")
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
                    effects.append(SaveAndEnd(copy(work), save=work.spec.hook is not None))
                done = run == "ended" and work.why_leaving in {0, Reason.DONE} and work.exit_code is not None
                work.unseat()
                effects += self.after_lease(work, Reason.DONE if done else Reason.EXPIRED)
            elif work.life in {Life.ORDERED, Life.WAITING}:
                work.become(Life.SEEKING, self.tick, "seeks again: the daemon started anew")
                effects.append(Keep(work))
        self.happen(Happening.SYNCED)
        return effects


def _why_ended(work: Workload, cause: str) -> Reason:
    """Why a lease is given back: work that came to its end by itself is done, whoever wanted it to leave."""
    if cause in {"exited", "start_failed"}:
        return Reason.DONE
    if cause == "asked" and work.life is Life.LEAVING:
        return Reason(work.why_leaving)
    return Reason.EXPIRED
