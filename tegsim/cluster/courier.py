"""What hosts say and hand to each other in the simulator: briefs, reports, checkpoints, over links that may be cut.

The rules are `tegd.travel`'s. Here a question takes its time, is lost with whoever dies meanwhile, and is not answered
by a host that is down or cut off; a checkpoint is how much work was done when it was made.
"""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, NamedTuple

from tegcore.units import NS_PER_S
from tegcore.wire.peer import NOT_YET, Answer, Begin, Brief, Drop, Report, Source
from tegd import generations
from tegd.effects import Clear, Collect, Copy, DropThere, Effect, Fetch, TellBegin, TellHome, TellSeat
from tegd.travel import Travel
from tegd.workload import Workload

if TYPE_CHECKING:
    from tegsim.cluster.host import AgentPart

LINK_NS = 2_000_000
SILENT_NS = 2 * NS_PER_S
"""After so long a host that does not answer is given up."""
COPY_NS = NS_PER_S // 5

UID = 1000
Asked = Brief | Report | Drop | Begin


class Saved(NamedTuple):
    """A checkpoint: work done, the true time at which it was asked for, and the run that made it, on which host."""

    done_ns: int
    asked_ns: int
    made_by: tuple[str, str] = ("", "")


Shelf = dict[tuple[int, int, int], Saved]
"""What is kept of one workload, or of one part: by token, number and rank."""

NOBODY = Answer(ok=False, reason=NOT_YET, message="it does not answer")


class Courier:
    """One host's.

    Args:
        part: Its agent side.

    Attributes:
        others: Every host's agent side, by name.
        shelves: Checkpoints, on disk, by the number that the workload or part has here.
        origins: What each part was brought to go on from: generation and checkpoint.
    """

    def __init__(self, part: "AgentPart") -> None:
        self._part = part
        self.others: dict[str, AgentPart] = {}
        self.shelves: dict[int, Shelf] = {}
        self.origins: dict[int, tuple[generations.Generation, Saved]] = {}

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
                self._ask(work.home, report, lambda answer: self._travel.home_answered(work.ref, report, answer))
            case TellBegin(work, rank):
                token = work.token
                begun = lambda answer: self._travel.begin_answered(work.ref, token, rank, ok=answer.ok)  # noqa: E731
                self._ask(work.seats[rank], Begin(work.ref, token, rank), begun)
            case Fetch(work):
                self._fetch(work)
            case Collect(work, number):
                self._later(COPY_NS // 4, lambda: self._collect(work, number))
            case Copy(work, source):
                self._copy_home(work, source)
            case DropThere(work, host, rank, token):
                told = lambda answer: self._travel.dropped(work.ref, host, rank, token, ok=answer.ok)  # noqa: E731
                self._ask(host, Drop(work.ref, token, rank), told)
            case Clear(work):
                self._part.checkpoints.pop(str(work.ref), None)
                self.shelves.pop(work.ref, None)

    # --- asking -----------------------------------------------------------------------------------------------------

    def _later(self, delay_ns: int, act: Callable[[], list[Effect]]) -> None:
        self._part.after(delay_ns, lambda: self._part.do(lambda: self._part.carry_out(act())))

    def _ask(self, host: str, said: Asked, then: Callable[[Answer], list[Effect]]) -> None:
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

    def asked(self, sender: "AgentPart", said: Asked, then: Callable[[Answer], list[Effect]]) -> None:
        """Answer another host."""
        if self._part.agent is None:
            return
        answer = self._answer(sender.host, said)
        if self._reaches(sender):
            sender.courier._later(LINK_NS, lambda: then(answer))

    def _answer(self, sender: str, said: Asked) -> Answer:
        travel, part = self._travel, self._part
        match said:
            case Brief():
                part.carry_out(travel.ask_about(said.lease))
                refused = travel.refusal(sender, said)
                if refused is None:
                    part.carry_out(travel.briefed(sender, said, part.next_ref(), UID, UID))
                    part.woken()
                return refused or travel.refusal(sender, said) or NOBODY
            case Report():
                effects, answer = travel.reported(sender, said, part.now_ns())
                part.carry_out(effects)
                return answer
            case Begin():
                effects, answer = travel.begin(sender, said.ref, said.token, said.rank)
                part.carry_out(effects)
                part.woken()
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
        done_ns = self._part.checkpoints.get(str(work.ref))
        problem = "there is no checkpoint" if done_ns is None else ""
        shelf = self.shelves.setdefault(work.ref, {})
        if done_ns is not None:
            made_by = (self._part.host, f"{work.ref}.{token}")
            shelf[token, number, work.rank] = Saved(done_ns, self._part.asked_ns.get(str(work.ref), 0), made_by)
        effects = self._travel.collected(work.ref, token, number, problem)
        self._part.carry_out(effects)
        if work.home:
            kept = {(token, number) for number in work.kept}
            self._prune(shelf, max(kept, default=generations.BEGINNING), kept)
        else:
            self._prune(shelf, self._travel.least(work))
        return []

    @staticmethod
    def _prune(shelf: Shelf, before: generations.Generation, kept: Collection[generations.Generation] = ()) -> None:
        for key in [key for key in shelf if key[:2] < before and key[:2] not in kept]:
            del shelf[key]

    def _holds(self, name: tuple[str, int], key: tuple[int, int, int]) -> Saved | None:
        """A checkpoint that lies here, on the workload's own shelf or on that of a part of it."""
        if self._part.agent is None:
            return None
        works = self._part.agent.node.workloads.values()
        mine = (work for work in works if (work.home or self._part.host, work.home_ref or work.ref) == name)
        found = (self.shelves.get(work.ref, {}).get(key) for work in sorted(mine, key=lambda work: bool(work.home)))
        return next((saved for saved in found if saved is not None), None)

    def _bring(
        self, name: tuple[str, int], source: Source, ref: int, then: Callable[[str, bool], list[Effect]]
    ) -> None:
        """Bring a checkpoint onto a shelf; `then` is told what went wrong, and whether its holder does not have it."""
        key = (*source.generation, source.rank)

        def brought() -> list[Effect]:
            there, shelf = self.others[source.holder or self._part.host], self.shelves.setdefault(ref, {})
            if key in shelf:
                return then("", False)
            if there.agent is None or (there.host != self._part.host and not self._reaches(there)):
                return [*self._travel.unreached(source.holder), *then(f"{source.holder} does not answer", False)]
            if (saved := there.courier._holds(name, key)) is None:
                return then(f"{source.holder} has no such checkpoint", True)
            shelf[key] = saved
            return then("", False)

        self._later(COPY_NS, brought)

    def _copy_home(self, work: Workload, source: Source) -> None:
        def copied(problem: str, gone: bool) -> list[Effect]:
            self._part.carry_out(self._travel.copied(work.ref, source, problem, gone=gone))
            self._prune(self.shelves[work.ref], self._travel.least(work))
            return []

        self._bring((self._part.host, work.ref), source, work.ref, copied)

    def _fetch(self, part: Workload) -> None:
        token, name, gone = part.token, (part.home, part.home_ref), list[Source]()
        sources = list(part.sources)

        def fetched(problem: str) -> list[Effect]:
            if problem and sources:
                source = sources.pop(0)
                self._bring(name, source, part.ref, lambda why, lacks: arrived(source, why, lacks=lacks))
                return []
            return self._travel.fetched(part.ref, token, problem, self._part.now_ns(), gone)

        def arrived(source: Source, problem: str, *, lacks: bool) -> list[Effect]:
            gone.extend([source] * lacks)
            if not problem:
                saved = self.shelves[part.ref][(*source.generation, source.rank)]
                self.origins[part.ref] = source.generation, saved
                self._part.lay_out(part.ref, saved.done_ns, saved.asked_ns)
            return fetched(problem)

        self._later(LINK_NS, lambda: fetched("nothing was fetched yet" if sources else ""))
