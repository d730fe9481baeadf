"""A host's memory, simulated: pages in RAM and zRAM, a kernel that reclaims at a speed, hooks that save at another."""

from dataclasses import dataclass, field

from tegd.airlock.pressure import Act, Request, step
from tegd.airlock.readings import MIB, Life, Member, Reading, Settings, reserve_bytes
from tegd.airlock.signs import Airlock
from tegd.airlock.thinning import Part

TICK_S = 0.05
WATERMARK_BYTES = 6 * MIB


@dataclass
class Piece:
    """A process of a workload of many: it is born, grows to its peak, works, ends."""

    born_s: float
    peak: float
    growth: float
    work_s: float
    number: int = 0
    size: float = 0.0
    held: bool = False


@dataclass
class Work:
    """A workload: it grows to its peak, works, ends; saved, it comes back as it was."""

    name: str
    rank: float
    start_bytes: float
    peak_bytes: float
    growth: float
    work_s: float
    ratio: float = 3.0
    savable: bool = True
    save_fails: int = 0
    life: Life = Life.RUNNING
    resident: float = 0.0
    swapped: float = 0.0
    image: float = 0.0
    saving_s: float = 0.0
    shielded: bool = False
    failed_s: float = -1e9
    comes_s: float = 0.0
    pieces: list[Piece] = field(default_factory=list)

    def __post_init__(self) -> None:
        for number, piece in enumerate(self.pieces):
            piece.number = number + 1

    @property
    def total(self) -> float:
        return self.resident + self.swapped


@dataclass
class Host:
    """RAM and zRAM of a host, the kernel's part, and the airlock's requests carried out, a freeze late."""

    ram: float
    slots: float
    works: list[Work]
    reclaim: float = 60.0 * MIB
    write: float = 25.0 * MIB
    airlock: Airlock = field(default_factory=Airlock)
    now_s: float = 1.0
    freeze_ns: int = 50_000_000
    killed: str = ""
    alerts: int = 0
    asked: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.later = sorted((work for work in self.works if work.comes_s > 0), key=lambda work: -work.comes_s)
        self.works = [work for work in self.works if work.comes_s <= 0]
        self.settings = Settings(reserve_bytes(int(self.ram)), int(TICK_S * 1e9))
        for work in (*self.works, *self.later):
            work.resident = work.start_bytes

    @property
    def free(self) -> float:
        return self.ram - sum(work.resident + work.swapped / work.ratio for work in self.works)

    @property
    def slots_free(self) -> float:
        return self.slots - sum(work.swapped for work in self.works)

    def tick(self) -> None:
        self.now_s += TICK_S
        while self.later and self.later[-1].comes_s <= self.now_s:
            self.works.append(self.later.pop())
        for work in self.works:
            self._live(work)
        self._kernel()
        self.works = [work for work in self.works if work.work_s > 0]
        self.airlock, requests = step(self.airlock, self.reading(), self.settings, self.freeze_ns)
        self.asked += requests
        for request in requests:
            self._carry_out(request)

    def _live(self, work: Work) -> None:
        if work.life is Life.RUNNING:
            if work.pieces:
                self._live_in_pieces(work)
                return
            work.work_s -= TICK_S
            work.resident += max(0.0, min(work.growth * TICK_S, work.peak_bytes - work.total))
        elif work.life is Life.SAVING:
            work.saving_s -= TICK_S
            back = min(self.write * TICK_S, work.swapped)
            work.resident, work.swapped = work.resident + back, work.swapped - back
            if work.saving_s <= 0 and work.save_fails > 0:
                work.life, work.failed_s, work.save_fails = Life.SEALED, self.now_s, work.save_fails - 1
            elif work.saving_s <= 0:
                work.life, work.image, work.resident, work.swapped = Life.PARKED, work.total, 0.0, 0.0

    def _live_in_pieces(self, work: Work) -> None:
        for piece in work.pieces:
            if piece.held or piece.born_s > 0:
                piece.born_s -= TICK_S
                continue
            more = max(0.0, min(piece.growth * TICK_S, piece.peak - piece.size))
            piece.size, work.resident = piece.size + more, work.resident + more
            piece.work_s -= TICK_S
            if piece.work_s <= 0 and piece.size >= piece.peak:
                share = piece.size / work.total
                work.resident, work.swapped = work.resident * (1 - share), work.swapped * (1 - share)
        work.pieces = [piece for piece in work.pieces if piece.work_s > 0 or piece.size < piece.peak]
        if not work.pieces:
            work.work_s = 0.0

    def _kernel(self) -> None:
        """What runs short is reclaimed from everyone by size, the frozen first, at a speed; whoever asks for memory
        that is not there waits until some was reclaimed, and where none can be, someone is killed."""
        short, speed = WATERMARK_BYTES - self.free, self.reclaim * TICK_S
        for work in sorted(self.works, key=lambda work: (work.life is Life.RUNNING, -work.resident)):
            if short <= 0 or speed <= 0:
                break
            taken = 0.0 if work.shielded else min(speed, work.resident, self.slots_free)
            short -= self._swap_out(work, taken)
            speed -= taken
        for work in self.works:
            if self.free < 0 and not work.shielded:
                self._swap_out(work, min(work.resident, -self.free * work.ratio / (work.ratio - 1.0)))
        if self.free < -1:
            self.killed = self.killed or max(self.works, key=lambda work: work.total).name

    def _swap_out(self, work: Work, wanted: float) -> float:
        moved = max(0.0, min(wanted, self.slots_free, work.resident))
        work.resident, work.swapped = work.resident - moved, work.swapped + moved
        return moved * (1.0 - 1.0 / work.ratio)

    def reading(self) -> Reading:
        stored = sum(work.swapped for work in self.works)
        used = sum(work.swapped / work.ratio for work in self.works)
        counts = (self.ram, self.free, self.slots_free, stored, used, 0, 0)
        members = tuple(
            Member(
                name=work.name,
                rank=work.rank,
                life=work.life,
                resident_bytes=int(work.resident),
                swapped_bytes=int(work.swapped),
                savable=work.savable,
                failed=self.now_s - work.failed_s < 10,
                image_bytes=int(work.image),
                parts=tuple(
                    Part(piece.number, piece.number, int(piece.size), piece.held)
                    for piece in work.pieces
                    if piece.born_s <= 0
                ),
            )
            for work in self.works
        )
        return Reading(int(self.now_s * 1e9), *map(int, counts), members)

    def _carry_out(self, request: Request) -> None:
        if request.act is Act.ALERT:
            self.alerts += 1
            return
        work = next((work for work in self.works if work.name == request.name), None)
        if work is None:
            return
        match request.act:
            case Act.SEAL if work.life is Life.RUNNING:
                work.life = Life.SEALED
            case Act.SHIELD | Act.EXPOSE:
                work.shielded = request.act is Act.SHIELD
            case Act.THIN:
                for piece in work.pieces:
                    piece.held = (piece.number, piece.number) in request.parts
            case Act.HOLD if work.life is Life.RUNNING:
                work.life = Life.HELD
            case Act.THAW if work.life in (Life.SEALED, Life.HELD):
                work.life = Life.RUNNING
            case Act.PARK:
                self._swap_out(work, min(request.bytes, self.reclaim * TICK_S))
            case Act.SAVE if work.life in (Life.SEALED, Life.HELD):
                work.life, work.saving_s = Life.SAVING, work.total / self.write + 0.5
            case Act.RESTORE if work.life is Life.PARKED:
                work.life, work.resident, work.image = Life.RUNNING, work.image, 0.0

    def run(self, seconds: float) -> None:
        end = self.now_s + seconds
        while (self.works or self.later) and not self.killed and self.now_s < end:
            self.tick()
