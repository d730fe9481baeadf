"""The parts of a workload: its processes that can be held by themselves, with what each holds.

Looked at while memory is anything but plentiful, and not oftener than every `LOOK_NS`: a host may run thousands.
"""

from pathlib import Path

from tegd.airlock.adapters import procfs
from tegd.airlock.adapters.cgroupfs import listed
from tegd.airlock.thinning import Part

LOOK_NS = 300_000_000


class PartReader:
    """Looks at the processes of groups."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, list[Part]]] = {}

    def parts(
        self, name: str, folder: Path, main: int, demand_bytes: int, held: frozenset[tuple[int, int]], now_ns: int
    ) -> tuple[Part, ...]:
        """Those of a workload.

        Args:
            name: The workload.
            folder: Its control group.
            main: Pid of its main process, which is none of them.
            demand_bytes: What its group holds: pages that processes share are shared out.
            held: Those that are held now.
            now_ns: Boot-time clock.
        """
        seen_ns, parts = self._seen.get(name, (0, []))
        if not seen_ns or now_ns - seen_ns >= LOOK_NS:
            parts = _looked(folder, main, demand_bytes)
            self._seen[name] = (now_ns, parts)
        parts = [part._replace(held=part.key in held) for part in parts]
        self._seen[name] = (self._seen[name][0], parts)
        return tuple(parts)

    def forget(self, name: str) -> None:
        """A workload that is no more, or whose memory is plentiful."""
        self._seen.pop(name, None)


def _looked(folder: Path, main: int, demand_bytes: int) -> list[Part]:
    found = [process for pid in listed(folder) if (process := procfs.process(pid)) is not None and not process.dead]
    if len(found) < 3:
        return []
    parents = {process.parent for process in found}
    sizes = {process.pid: procfs.private_bytes(process.pid) for process in found}
    leaves = [process for process in found if process.pid != main and process.pid not in parents]
    return [
        Part(process.pid, process.start_ticks, size)
        for process, size in zip(leaves, _own(leaves, sizes, main, demand_bytes), strict=True)
    ]


def _own(leaves: list[procfs.Process], sizes: dict[int, int], main: int, demand_bytes: int) -> list[int]:
    """What each holds beyond what it shares with the main process: what the group holds is shared out among them."""
    common = sizes.get(main, 0)
    own = [max(0, sizes[process.pid] - common) for process in leaves]
    rest, total = max(0, demand_bytes - common), sum(own)
    if total > rest:
        return [size * rest // total for size in own]
    return [size + (rest - total) // len(own) for size in own]
