"""How work passes from the host where it was submitted to its seats and back: two machines, each a table.

The home keeps a *trip* for each lease of its work that sits elsewhere. Each seat keeps a *stay*. Both are on disk with
the workload before anything is done about them, and what is to be done follows from the state alone: after a crash it
is done again, and each act may be done twice.

    home:  TELLING ──taken──> GATHERING ──all ready──> AWAY ──lease over──> HEARING ──last word──> OVER: it is decided
    seat:  FETCHING ──fetched──> READY ──begin──> SEATED ──run over──> OVER ──home has heard──> KEPT ──dropped──> GONE

No rank of a gang starts before each has what it is to go on from: a seat that is ready waits for its home's word. What
sits alone waits for nobody.

The seat acts only under a lease and token that the ledger told it of. From the moment it has the brief it renews for
itself, whether its home is there or not; it tells the home how it ended until the home answers, and keeps the
checkpoint until the home says that it may go. The home decides nothing while a seat may still run: not before the
ledger has said that the lease is over.
"""

from enum import StrEnum


class Trip(StrEnum):
    """Where the home is with a lease of its work that sits elsewhere."""

    NONE = ""
    TELLING = "telling"  # the seats are being told
    GATHERING = "gathering"  # all have taken it, and bring there what they need
    AWAY = "away"  # all may begin
    CALLED = "called"  # the ledger was asked to have the seats leave
    HEARD = "heard"  # all parts are over, the lease is not yet
    HEARING = "hearing"  # the lease is over, a last word is missing
    OVER = "over"  # to be decided


class TripEvent(StrEnum):
    """What happens to a trip."""

    TAKEN = "taken"  # every seat has its brief
    REFUSED = "refused"  # a seat can never run it
    READY = "ready"  # every seat has what it needs
    LATE = "late"  # a seat could not be told in time
    MISSING = "missing"  # a rank's checkpoint cannot be had
    BROKEN = "broken"  # one part of a gang ended badly
    CANCELLED = "cancelled"  # its owner wants it over
    LAST_WORD = "last word"  # every seat has said how it ended
    LEASE_OVER = "lease over"
    SILENT = "silent"  # a seat has said nothing for so long after the lease was over


TRIP: dict[tuple[Trip, TripEvent], Trip] = {
    (Trip.TELLING, TripEvent.TAKEN): Trip.GATHERING,
    (Trip.TELLING, TripEvent.REFUSED): Trip.CALLED,
    (Trip.TELLING, TripEvent.LATE): Trip.CALLED,
    (Trip.TELLING, TripEvent.MISSING): Trip.CALLED,
    (Trip.TELLING, TripEvent.BROKEN): Trip.CALLED,
    (Trip.TELLING, TripEvent.CANCELLED): Trip.CALLED,
    (Trip.TELLING, TripEvent.LAST_WORD): Trip.HEARD,
    (Trip.TELLING, TripEvent.LEASE_OVER): Trip.HEARING,
    (Trip.GATHERING, TripEvent.READY): Trip.AWAY,
    (Trip.GATHERING, TripEvent.BROKEN): Trip.CALLED,
    (Trip.GATHERING, TripEvent.CANCELLED): Trip.CALLED,
    (Trip.GATHERING, TripEvent.LAST_WORD): Trip.HEARD,
    (Trip.GATHERING, TripEvent.LEASE_OVER): Trip.HEARING,
    (Trip.AWAY, TripEvent.BROKEN): Trip.CALLED,
    (Trip.AWAY, TripEvent.CANCELLED): Trip.CALLED,
    (Trip.AWAY, TripEvent.LAST_WORD): Trip.HEARD,
    (Trip.AWAY, TripEvent.LEASE_OVER): Trip.HEARING,
    (Trip.CALLED, TripEvent.LAST_WORD): Trip.HEARD,
    (Trip.CALLED, TripEvent.LEASE_OVER): Trip.HEARING,
    (Trip.HEARD, TripEvent.LEASE_OVER): Trip.OVER,
    (Trip.HEARING, TripEvent.LAST_WORD): Trip.OVER,
    (Trip.HEARING, TripEvent.SILENT): Trip.OVER,
}
"""Every pair that moves a trip; any other leaves it where it is: it is old news, said again."""


class Stay(StrEnum):
    """Where a seat is with a part of another host's work."""

    NONE = ""
    FETCHING = "fetching"  # its files and checkpoint are on their way
    READY = "ready"  # it has all that it needs, and waits for the others
    SEATED = "seated"  # it may be started, and runs
    OVER = "over"  # its run is over or never began, and its home has not heard it
    KEPT = "kept"  # the home has heard; its checkpoint is kept
    GONE = "gone"


class StayEvent(StrEnum):
    """What happens to a stay."""

    FETCHED = "fetched"
    UNFETCHED = "unfetched"  # its files cannot be had
    BEGIN = "begin"  # all ranks are ready
    FORSAKEN = "forsaken"  # it was ready, and its home said nothing for long
    LEAVE = "leave"  # notice, or the lease is over
    RUN_OVER = "run over"
    HEARD = "heard"  # the home has answered the last word
    DROPPED = "dropped"  # the home needs nothing more


STAY: dict[tuple[Stay, StayEvent], Stay] = {
    (Stay.FETCHING, StayEvent.FETCHED): Stay.READY,
    (Stay.FETCHING, StayEvent.UNFETCHED): Stay.OVER,
    (Stay.FETCHING, StayEvent.LEAVE): Stay.OVER,
    (Stay.FETCHING, StayEvent.RUN_OVER): Stay.OVER,
    (Stay.READY, StayEvent.BEGIN): Stay.SEATED,
    (Stay.READY, StayEvent.LEAVE): Stay.OVER,
    (Stay.READY, StayEvent.FORSAKEN): Stay.OVER,
    (Stay.SEATED, StayEvent.RUN_OVER): Stay.OVER,
    (Stay.OVER, StayEvent.HEARD): Stay.KEPT,
    (Stay.OVER, StayEvent.DROPPED): Stay.GONE,
    (Stay.KEPT, StayEvent.DROPPED): Stay.GONE,
}
"""Every pair that moves a stay. A seat that is to leave saves its run first: it moves when that is over."""


def next_trip(trip: Trip, event: TripEvent) -> Trip:
    """The trip after something happened."""
    return TRIP.get((trip, event), trip)


def next_stay(stay: Stay, event: StayEvent) -> Stay:
    """The stay after something happened."""
    return STAY.get((stay, event), stay)
