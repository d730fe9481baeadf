"""A gang and one fault: at each step of save, travel and resume a host is drained, lost, cut off or restarted.

A gang of two ranks runs on two of four hosts and saves in passing; one of its hosts is drained, so that it saves,
leaves, and goes on elsewhere. In one of those steps the fault comes, to a host that is drawn. All other faults are off.
What must hold is `tegsim.cluster.checkers`' business; here is what came of it, a row each.

`python -m sim.gangs [FIRST LAST]` in `tests/` prints the table of docs/reference/gangs.md, or that of other seeds.
"""

import itertools
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec.structs import replace

from tegcore.units import NS_PER_S
from tegcore.wire.control import Hook, WorkloadSpec
from tegcore.wire.records import Drain, Op
from tegd.handover import Stay, Trip
from tegd.workload import Life, Workload
from tegsim.__main__ import find
from tegsim.cluster.checkers import ViolationError
from tegsim.cluster.machine import Habit
from tegsim.cluster.world import Cluster, Host, Result
from tegsim.kernel import Stream
from tegsim.scenario import read

LOOK_NS = NS_PER_S // 20
WORK_S, EVERY_S, HOOK_S = 16, 2, 0.4
ENDS_S = 200
SEEDS = range(1, 31)


@dataclass
class Row:
    """What came of one course.

    Attributes:
        seed: Of all draws.
        step: In which the fault came.
        fault: Which.
        host: What the host that it came to was to the gang.
        begun_s: Seconds of work that its ranks went on from, lease by lease; a rank each where they are not the same.
        told: What its home said of a save that could not be used, the last time.
        exit_code: Of the gang.
    """

    seed: int
    step: str
    fault: str
    host: str
    begun_s: list[str]
    told: str
    exit_code: int | None


class Course:
    """One gang, one fault."""

    def __init__(self, seed: int, folder: Path) -> None:
        path = find("gangs")
        scenario = read(path.read_text(), str(path))
        scenario = replace(scenario, faults={}, hosts=(4.0, 4.0), work=replace(scenario.work, count=(0.0, 0.0)))
        self.cluster = Cluster(scenario, seed, folder)
        self.seed, self.draws = seed, Stream(seed, "gang and fault")
        self.steps = list(STEPS)
        self.step, self.fault = list(itertools.product(STEPS, FAULTS))[(seed - 1) % (len(STEPS) * len(FAULTS))]
        self.home: Host = self.cluster.hosts[0]
        self.ref = 0

    # --- what is seen -----------------------------------------------------------------------------------------------

    def work(self) -> Workload:
        """The gang, as its home has it on disk."""
        return msgspec.msgpack.decode(self.home.agent.store.works[self.ref], type=Workload)

    def parts(self) -> list[tuple[Host, Workload]]:
        """Its parts under its present lease, or under the last one."""
        token = self.work().token or self.work().last_token
        found = []
        for host in self.cluster.hosts:
            works = (msgspec.msgpack.decode(raw, type=Workload) for raw in host.agent.store.works.values())
            found += [(host, work) for work in works if work.home == self.home.name and work.token == token]
        return found

    def first_lease(self) -> bool:
        """Whether it is where it was first."""
        return len(self.cluster.checkers.begun_by(self.home.name, self.ref)) < 2

    # --- the course -------------------------------------------------------------------------------------------------

    def run(self) -> Row:
        """From the submission to the end.

        Raises:
            ViolationError: If something does not hold that must.
            AssertionError: If it does not come to its end.
        """
        cluster, draws = self.cluster, self.draws
        cluster.begin(governed=False)
        self.until(lambda: all(host.agent.node is not None and host.agent.node.zone for host in cluster.hosts), 20)
        self.home = draws.one_of(cluster.hosts)
        spec = WorkloadSpec(argv=("simulated",), sizes=(2,), limit_ucr=300_000, hook=Hook(), checkpoint_every_s=EVERY_S)
        spec = msgspec.structs.replace(spec, endow_ucr=300_000 * 4 * 60)
        habit = Habit(WORK_S * NS_PER_S, hook_ns=int(HOOK_S * NS_PER_S))
        self.ref = cluster.submit(self.home, "ada", spec, habit)
        self.until(lambda: [part.ran for _, part in self.parts()] == [True, True], 20)
        self.until(lambda: self.work().words[0].saves > 1, 20)
        if self.step not in IN_PASSING:
            self.drain(draws.one_of(self.parts())[0], on=True)
        self.until(lambda: STEPS[self.step](self), 60)
        self.wait(draws.draw() / 2)
        told = self.happen()
        if self.step in IN_PASSING:
            self.drain(draws.one_of(self.parts())[0], on=True)
        self.wait(15.0)
        for host in cluster.hosts:
            self.drain(host, on=False)
        self.until(lambda: self.work().life is Life.ENDED, ENDS_S)
        begun = cluster.checkers.begun_by(self.home.name, self.ref)
        lines = [text for _, text in self.work().history if "missing since" in text]
        said = lines[-1] if lines else ""
        begun_s = [_seconds(ranks) for ranks in begun]
        row = Row(self.seed, self.step, self.fault, told, begun_s, said, self.work().exit_code)
        cluster.close()
        return row

    def until(self, condition: Callable[[], object], limit_s: float) -> None:
        """Let time pass until something holds."""
        kernel = self.cluster.kernel
        end_ns = kernel.now_ns + int(limit_s * NS_PER_S)
        while not condition():
            assert kernel.now_ns < end_ns, (self.seed, self.step, self.fault, self.work().history, self.work().missing)
            kernel.run_until(kernel.now_ns + LOOK_NS)
            self.cluster.checkers.look()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        end_ns = self.cluster.kernel.now_ns + int(seconds * NS_PER_S)
        self.until(lambda: self.cluster.kernel.now_ns >= end_ns, seconds + 1)

    def drain(self, host: Host, *, on: bool) -> None:
        """An operator drains a host, or offers it again."""
        number = self.cluster.ledger.engine.state.host_numbers[host.name]
        self.cluster.command(Op.DRAIN, Drain(number, int(on)))

    def happen(self) -> str:
        """The fault comes; says what the host was that it came to."""
        seats = [host for host, _ in sorted(self.parts(), key=lambda part: part[1].rank)]
        holders = {source.holder for source in self.work().sources} - {self.home.name}
        held = [host for host in self.cluster.hosts if host.name in holders and host not in seats]
        others = [host for host in self.cluster.hosts if host not in [*seats, *held, self.home]]
        host = self.draws.one_of([*seats, *seats, *held, self.home, *others[: self.step not in IN_PASSING]])
        FAULTS[self.fault](self, host, self.draws.between(0.5, 10.0))
        roles = [f"rank {seats.index(host)}"] if host in seats else ["holder"] if host in held else []
        return ", ".join([*roles, *(["home"] if host is self.home else [])]) or "another"


def _seconds(ranks: dict[int, float]) -> str:
    told = {f"{done_s:.1f}" for done_s in ranks.values()}
    return told.pop() if len(told) == 1 else "/".join(f"{ranks[rank]:.1f}" for rank in sorted(ranks))


# --- faults ---------------------------------------------------------------------------------------------------------


def _drained(course: Course, host: Host, _lasts_s: float) -> None:
    course.drain(host, on=True)


def _lost(course: Course, host: Host, lasts_s: float) -> None:
    for part in (host.agent, host.airlock):
        part.restart_ns = lambda: int(lasts_s * NS_PER_S)
        part.kill()
    host.machine.power_cut()


def _cut_off(course: Course, host: Host, lasts_s: float) -> None:
    ways = course.cluster.network.ways(host.name)
    for way in ways:
        way.parted = True

    def joined() -> None:
        for way in ways:
            way.parted = False

    course.cluster.kernel.after(int(lasts_s * NS_PER_S), joined)


def _restarted(course: Course, host: Host, lasts_s: float) -> None:
    for part in course.draws.one_of(([host.agent], [host.airlock], [host.agent, host.airlock])):
        part.restart_ns = lambda: int(lasts_s * NS_PER_S / 5)
        part.kill()


FAULTS: dict[str, Callable[[Course, Host, float], None]] = {
    "drained": _drained,
    "lost": _lost,
    "cut off": _cut_off,
    "restarted": _restarted,
}


# --- steps ----------------------------------------------------------------------------------------------------------


def _saving(course: Course) -> bool:
    return any(part.asked for _, part in course.parts())


def _copying(course: Course) -> bool:
    kept = course.work().sources
    newest = max(source.generation for source in kept)
    return {source.rank for source in kept if source.generation == newest and not source.holder} != {0, 1}


def _leaving(course: Course) -> bool:
    return any(part.asked and part.life is Life.LEAVING for _, part in course.parts())


def _gone(course: Course) -> bool:
    return course.work().life in {Life.SEEKING, Life.ORDERED} and not course.work().token


def _away(course: Course, *trips: Trip) -> bool:
    work = course.work()
    return (
        work.life is Life.AWAY
        and work.trip in trips
        and len(course.cluster.checkers.begun_by(course.home.name, course.ref)) < 2
    )


def _fetching(course: Course) -> bool:
    stays = [part.stay for _, part in course.parts()]
    return _away(course, Trip.TELLING, Trip.GATHERING) and Stay.FETCHING in stays


def _ready(course: Course) -> bool:
    return _away(course, Trip.TELLING, Trip.GATHERING, Trip.AWAY) and Stay.READY in [p.stay for _, p in course.parts()]


def _resumed(course: Course) -> bool:
    return not course.first_lease()


STEPS: dict[str, Callable[[Course], bool]] = {
    "saves in passing": _saving,
    "is copied home": _copying,
    "saves at last": _leaving,
    "has left": _gone,
    "is fetched": _fetching,
    "is ready": _ready,
    "has resumed": _resumed,
}
"""Where the gang is when the fault comes."""
IN_PASSING = {"saves in passing", "is copied home"}


def rows(seeds: Iterable[int] = SEEDS) -> Iterator[Row]:
    """One a seed."""
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            yield Course(seed, Path(folder) / "disk").run()


def result(seed: int) -> Result:
    """What came of a course, as a scenario's run says it: the rule that did not hold, if one did not."""
    came = Result(seed)
    with tempfile.TemporaryDirectory() as folder:
        course = Course(seed, Path(folder) / "disk")
        try:
            course.run()
        except ViolationError as broken:
            came.rule, came.what = broken.rule, str(broken)
            course.cluster.close()
    return came


def table(seeds: Iterable[int] = SEEDS) -> Iterator[str]:
    """For people."""
    yield "| seed | when the gang … | host | was | its ranks went on from, in seconds of work | told |"
    yield "|---|---|---|---|---|---|"
    for row in rows(seeds):
        yield f"| {row.seed} | {row.step} | {row.host} | {row.fault} | {', '.join(row.begun_s)} | {row.told} |"


if __name__ == "__main__":
    first, last = (int(word) for word in sys.argv[1:] or (SEEDS[0], SEEDS[-1]))
    for line in table(range(first, last + 1)):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
