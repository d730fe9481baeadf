"""EASY backfilling (Lifka 1995), as Slurm has it with one reservation: what fixed prices are measured against.

The queue is served in order of arrival. The first gang that does not fit has a reservation: the *shadow*, the earliest
tick in which enough slots are free by what their holders declared. Later gangs start before it if they end by then, or
if they take only slots that the first does not need. Any slot will do for any gang, so a zone never is in pieces.
"""

from tegsim.gangs import SLOTS, Gang, Moves


class Easy:
    """Gangs that declare how long they run; whoever fits starts in the same tick."""

    def __init__(self) -> None:
        self._gangs: dict[int, Gang] = {}
        self._queue: list[int] = []
        self._ends: dict[int, int] = {}
        self._free = SLOTS

    def arrive(self, number: int, gang: Gang) -> None:
        """See `Policy`."""
        self._gangs[number] = gang
        self._queue.append(number)

    def done(self, number: int) -> None:
        """See `Policy`."""
        self._free += 1 << self._gangs[number].size
        del self._ends[number]

    def tick(self, now: int) -> Moves:
        """See `Policy`."""
        begun = list[int]()
        while self._queue and self._fits(self._queue[0]):
            begun.append(self._begin(self._queue.pop(0), now))
        if self._queue:
            shadow, spare = self._reserved()
            for number in self._queue[1:]:
                gang = self._gangs[number]
                in_time, beside = now + gang.ticks <= shadow, 1 << gang.size <= spare
                if self._fits(number) and (in_time or beside):
                    spare -= 0 if in_time else 1 << gang.size
                    begun.append(self._begin(number, now))
            self._queue = [number for number in self._queue if number not in self._ends]
        return Moves(begun, [], 0)

    def _fits(self, number: int) -> bool:
        return 1 << self._gangs[number].size <= self._free

    def _begin(self, number: int, now: int) -> int:
        self._free -= 1 << self._gangs[number].size
        self._ends[number] = now + self._gangs[number].ticks
        return number

    def _reserved(self) -> tuple[int, int]:
        """When the first can start, and how many slots it leaves over then."""
        wanted, free = 1 << self._gangs[self._queue[0]].size, self._free
        for ends, number in sorted((ends, number) for number, ends in self._ends.items()):
            free += 1 << self._gangs[number].size
            if free >= wanted:
                return ends, free - wanted
        raise AssertionError("no gang is wider than the zone")
