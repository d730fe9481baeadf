"""What hosts say and hand to each other in the simulator: briefs, reports, checkpoints, over links that may be cut.

The rules are `tegd.travel`'s. Here a question takes its time, is lost with whoever dies meanwhile, and is not answered
by a host that is down or cut off; a checkpoint is how much work was done when it was made.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from tegcore.units import NS_PER_S
from tegcore.wire.peer import NOT_YET, Answer, Brief, Drop, Report, Source
from tegd.effects import Clear, Collect, Copy, DropThere, Effect, Fetch, TellHome, TellSeat
from tegd.travel import Travel
from tegd.workload import Workload

if TYPE_CHECKING:
    from tegsim.cluster.host import AgentPart

LINK_NS = 2_000_000
SILENT_NS = 2 * NS_PER_S
"""After so long a host that does not answer is given up."""
COPY_NS = NS_PER_S // 5

UID = 1000
Kept = dict[tuple[str, int, int, int, int], int]
"""Checkpoints that a host keeps: work done, by (home, ref there, token, number, rank)."""

NOBODY = Answer(ok=False, reason=NOT_YET, message="it does not answer")


class Courier:
    """One host's.

    Args:
        part: Its agent side.

    Attributes:
        others: Every host's agent side, by name.
        kept: Checkpoints, on disk.
    """

    def __init__(self, part: "AgentPart") -> None:
        self._part = part
        self.others: dict[str, AgentPart] = {}
        self.kept: Kept = {}

    @property
    def _travel(self) -> Travel:
        assert self._part.agent is not None, "it runs"
        return self._part.agent.travel

    def do(self, effect: Effect) -> None:
        """Carry out one effect of travel, and tell what came of it."""
        match effect:
            case TellSeat(work, rank):
                self._tell_seat(work, rank)
            case TellHome(work):
                report = self._travel.report(work)
                self._ask(work.home, report, lambda answer: self._travel.home_answered(work.ref, report, ok=answer.ok))
            case Fetch(work):
                self._fetch(work)
            case Collect(work, number):
                self._later(COPY_NS // 4, lambda: self._collect(work, number))
            case Copy(work, source):
                name = (work.home or self._part.host, work.home_ref or work.ref)
                self._copy(name, source, lambda problem: self._travel.copied(work.ref, source, problem))
            case DropThere(work, host, rank, token):
                told = lambda answer: self._travel.dropped(work.ref, host, rank, token, ok=answer.ok)  # noqa: E731
                self._ask(host, Drop(work.ref, token, rank), told)
            case Clear(work):
                self._part.checkpoints.pop(str(work.ref), None)

    # --- asking -----------------------------------------------------------------------------------------------------

    def _later(self, delay_ns: int, act: Callable[[], list[Effect]]) -> None:
        self._part.after(delay_ns, lambda: self._part.do(lambda: self._part.carry_out(act())))

    def _ask(self, host: str, said: Brief | Report | Drop, then: Callable[[Answer], list[Effect]]) -> None:
        """One question; what its answer leads to is carried out here."""
        if host != self._part.host and host not in self._travel.peers:
            self._later(0, lambda: [*self._travel.unreached(host), *then(NOBODY)])
            return
        answered = False

        def answer(given: Answer) -> list[Effect]:
            nonlocal answered
            if answered:
                return []
            answered = True
            return then(given)

        there = self.others[host]
        if self._reaches(there):
            there.after(LINK_NS, lambda: there.do(lambda: there.courier.asked(self._part, said, answer)))
        self._later(SILENT_NS, lambda: [] if answered else [*self._travel.unreached(host), *answer(NOBODY)])

    def _reaches(self, there: "AgentPart") -> bool:
        ways = (self._part.way_out, there.way_in)
        return there.up and not there.paused and not any(way.parted or way.clogged for way in ways)

    def asked(self, sender: "AgentPart", said: Brief | Report | Drop, then: Callable[[Answer], list[Effect]]) -> None:
        """Answer another host."""
        if self._part.agent is None:
            return
        answer = self._answer(sender.host, said)
        if self._reaches(sender):
            sender.courier._later(LINK_NS, lambda: then(answer))

    def _answer(self, sender: str, said: Brief | Report | Drop) -> Answer:
        travel, part = self._travel, self._part
        match said:
            case Brief():
                part.carry_out(travel.ask_about(said.lease))
                refused = travel.refusal(sender, said)
                if refused is None:
                    part.carry_out(travel.briefed(sender, said, part.next_ref(), UID, UID))
                    part.woken()
                return refused or Answer(ok=True)
            case Report():
                effects, answer = travel.reported(sender, said, part.now_ns())
                part.carry_out(effects)
                return answer
            case Drop():
                part.carry_out(travel.drop(sender, said.ref, said.token, said.rank))
                return Answer(ok=True)

    # --- checkpoints ------------------------------------------------------------------------------------------------

    def _tell_seat(self, work: Workload, rank: int) -> None:
        token, brief = work.token, self._travel.brief(work, rank, "worker")

        def answered(answer: Answer) -> list[Effect]:
            return self._travel.seat_answered(work.ref, token, rank, answer, self._part.now_ns())

        self._ask(work.seats[rank], brief, answered)

    def _collect(self, work: Workload, number: int) -> list[Effect]:
        token = work.token if work.home else work.last_token
        name = (work.home or self._part.host, work.home_ref or work.ref)
        done_ns = self._part.checkpoints.get(str(work.ref))
        problem = "there is no checkpoint" if done_ns is None else ""
        if done_ns is not None:
            self.kept[(*name, token, number, work.rank)] = done_ns
        return self._travel.collected(work.ref, token, number, problem)

    def _copy(self, name: tuple[str, int], source: Source, then: Callable[[str], list[Effect]]) -> None:
        key = (*name, *source.generation, source.rank)

        def copied() -> list[Effect]:
            there = self.others[source.holder]
            if key not in self.kept:
                if there.host != self._part.host and not self._reaches(there):
                    return [*self._travel.unreached(source.holder), *then(f"{source.holder} does not answer")]
                if key not in there.courier.kept:
                    return then(f"{source.holder} has no such checkpoint")
                self.kept[key] = there.courier.kept[key]
            return then("")

        self._later(COPY_NS, copied)

    def _fetch(self, part: Workload) -> None:
        token, name = part.token, (part.home, part.home_ref)
        sources = list(part.sources)

        def fetched(problem: str) -> list[Effect]:
            if problem and sources:
                self._copy(name, sources[0], lambda why: arrived(sources.pop(0), why))
                return []
            return self._travel.fetched(part.ref, token, problem, self._part.now_ns())

        def arrived(source: Source, problem: str) -> list[Effect]:
            if not problem:
                self._part.checkpoints[str(part.ref)] = self.kept[(*name, *source.generation, source.rank)]
            return fetched(problem)

        self._later(LINK_NS, lambda: fetched("nothing was fetched yet" if sources else ""))
