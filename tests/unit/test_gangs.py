"""Gangs between home and seats, on the zone of `property.test_handover`: what begins, what is kept, what is told."""

import msgspec
from property.test_handover import Zone, run_through, settle

from tegcore.wire.control import Hook
from tegcore.wire.peer import Source
from tegd import reasons, views
from tegd.effects import Run
from tegd.generations import HOME
from tegd.handover import Stay, Trip
from tegd.workload import Life, Workload


class Gangs(Zone):
    """Two hosts of two slots; a gang takes both."""

    def __init__(self) -> None:
        super().__init__(1, 0.0, hosts=2)
        for _ in range(30):
            self.cycle()

    def gang(self, **spec) -> Workload:
        return self.submit("h0", sizes=(2,), hook=Hook(), **spec)

    def parts(self, stay: Stay) -> list[Workload]:
        found = [work for host in self.hosts.values() for work in host.node.workloads.values() if work.home]
        return [part for part in found if part.stay is stay]

    def until(self, condition, cycles: int = 600) -> None:
        for _ in range(cycles):
            if condition():
                return
            self.cycle()
        raise AssertionError([work.history for host in self.hosts.values() for work in host.node.workloads.values()])


def test_no_rank_starts_before_each_has_what_it_needs() -> None:
    zone = Gangs()
    work = zone.gang()
    zone.until(lambda: len(zone.parts(Stay.SEATED)) == 2)
    for _ in range(50):
        zone.cycle()
    zone.drain("h1", True)
    zone.until(lambda: work.life is Life.SEEKING)
    bring, held = zone.bring, [True]
    zone.bring = lambda machine, name, source, ref: (  # type: ignore[method-assign]
        ("it does not answer", False) if held[0] and machine.name == "h1" else bring(machine, name, source, ref)
    )
    zone.drain("h1", False)
    zone.until(lambda: work.missing is not None and not work.lease)
    assert not any(run["state"] == "running" for host in zone.hosts.values() for run in host.runs.values())
    assert work.missing.rank == 1
    row = reasons.reasons(zone.hosts["h0"].node, work, zone.now_ns)
    assert "missing" in {reason.reason for reason in row}
    assert "checkpoint of rank 1" in str(views.why(zone.hosts["h0"].node, work, zone.now_ns)["reasons"])
    held[0] = False
    settle(zone)
    kept = zone.work("h0", work.ref)
    assert (kept.life, kept.exit_code, kept.missing) == (Life.ENDED, 0, None), kept.history


def test_a_gang_that_is_drained_again_and_again_does_each_unit_once() -> None:
    zone = Gangs()
    work = zone.gang(checkpoint_every_s=3)
    run_through(zone, 500)
    settle(zone)
    kept = zone.work("h0", work.ref)
    assert (kept.life, kept.exit_code) == (Life.ENDED, 0), kept.history
    assert sorted(zone.done[f"h0.{work.ref}"]) == sorted(2 * list(range(1, 401)))


def test_a_gang_whose_checkpoint_is_away_seeks_no_seat_and_says_whose_it_is() -> None:
    zone = Gangs()
    work = zone.gang()
    zone.until(lambda: len(zone.parts(Stay.SEATED)) == 2)
    zone.drain("h1", True)
    zone.until(lambda: work.life is Life.SEEKING)
    home = zone.hosts["h0"].node
    zone.hosts["gone"] = zone._machine(2)
    zone.hosts["gone"].up, zone.hosts["gone"].down_until = False, 10**9
    work.sources, work.owed = [Source(1, 5, 0, HOME, 2), Source(1, 5, 1, "gone", 2)], []
    assert home.travel.held_back(work)
    orders = zone.acts.count("TellSeat")
    zone.drain("h1", False)
    for _ in range(200):
        zone.cycle()
    assert zone.acts.count("TellSeat") == orders
    assert work.life is Life.SEEKING
    (told,) = [row for row in reasons.reasons(home, work, zone.now_ns) if row.reason == "missing"]
    assert "rank 1 is on gone, which has not answered for" in told.text
    assert told.missing > 0
    assert told.unit == "ticks"
    home.travel.peers["gone"] = home.travel.peers["h1"]
    assert home.travel.peers["gone"].up
    assert not home.travel.held_back(work), "it is back"


def test_saves_that_not_all_ranks_were_asked_for_are_not_kept() -> None:
    zone = Gangs()
    zone.gang()
    zone.until(lambda: len(zone.parts(Stay.SEATED)) == 2)
    seat = zone.hosts["h1"]
    (part,) = [work for work in seat.node.workloads.values() if work.home]
    zone.save(seat, seat.runs[part.airlock_id])
    zone.tell(seat, part.airlock_id, seat.runs[part.airlock_id])
    assert (part.kept, part.saves) == ([], 0)
    assert part.saved_ns
    for _ in range(100):
        zone.cycle()
    zone.drain("h1", True)
    zone.until(lambda: bool(part.kept))
    other = next(work for work in zone.hosts["h0"].node.workloads.values() if work.home)
    assert part.kept == other.kept, "the last save has one name at all"


def test_seats_forsaken_by_their_home_give_their_slots_back() -> None:
    zone = Gangs()
    work = zone.gang()
    begin = zone.hosts["h1"].node.travel.begin
    zone.hosts["h1"].node.travel.begin = lambda *_: ([], begin("nobody", 0, 0, 0)[1])  # type: ignore[method-assign]
    zone.until(lambda: [part.rank for part in zone.parts(Stay.READY)] == [1] and work.trip is Trip.AWAY)
    (part,) = zone.parts(Stay.READY)
    zone.hosts["h0"].up, zone.hosts["h0"].down_until = False, zone.tick + 10**6
    zone.until(lambda: part.stay in {Stay.OVER, Stay.KEPT}, 2000)
    assert not part.ran


def test_a_seat_that_starts_by_itself_and_says_nothing_is_not_waited_for_for_ever() -> None:
    """As one of an earlier version does, whose brief was handed over by a home of that version."""
    zone = Gangs()
    work = zone.gang()
    for host in zone.hosts.values():
        travel = host.node.travel
        travel.briefed = lambda sender, brief, *rest, right=travel.briefed: right(
            sender, msgspec.structs.replace(brief, together=False), *rest
        )
        travel.report = lambda part, right=travel.report: msgspec.structs.replace(right(part), ready=False, ran=False)
    zone.until(lambda: work.trip is Trip.AWAY)
    work.trip, work.words, work.begun = Trip.GATHERING, {}, []
    zone.until(lambda: work.trip is Trip.AWAY, 900)
    settle(zone)
    assert zone.work("h0", work.ref).exit_code == 0


def test_a_save_that_failed_is_not_taken_for_one_that_the_airlock_makes_later() -> None:
    """As at the end of a term: it is of another moment than what the other ranks have saved."""
    zone = Gangs()
    zone.gang(checkpoint_every_s=3)
    zone.until(lambda: len(zone.parts(Stay.SEATED)) == 2)
    seat = zone.hosts["h1"]
    (part,) = [work for work in seat.node.workloads.values() if work.home]
    part.asked = [zone.tick]
    seat.node.run_changed(Run(part.airlock_id, "running", hook_failed="no mark"), zone.now_ns)
    assert part.asked == []
    part.asked = [zone.tick]
    seat.node.run_changed(Run(part.airlock_id, "ended", "term", saved=True, saved_ns=zone.now_ns), zone.now_ns)
    assert (part.asked, part.kept) == ([], [])
    assert not seat.node.travel._collecting
