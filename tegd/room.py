"""What of this host's free room the zone's orders of late could not use: fragmentation, as entropy takes it.

The room is what leases leave of the host's slots, cores and memory; `tegcore.field.fragmentation` says what of it is of
use. An order for more slots than the host has would take all of it, with the part of cores and memory that falls to it.
"""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from tegcore.field.fragmentation import WHOLE, Hosts, unusable_share
from tegcore.field.requests import Mix
from tegcore.wire.records import absent_bits
from tegd.workload import Workload

MEM_OFFERED_PERCENT = 95
"""C_max of (15): what the ledger offers of a host's memory."""


def fragmentation(
    base: int,
    log2_slots: int,
    slot_class: int,
    cpu_milli: int,
    mem_bytes: int,
    works: Iterable[Workload],
    mix: Mix,
    absent_mask: int = 0,
) -> float:
    """The share of the host's free slots that the mix cannot use, in [0, 1].

    Args:
        base: First slot of the host.
        log2_slots: Of the host's run of slots.
        slot_class: Of its slots.
        cpu_milli: Of the host.
        mem_bytes: Of the host.
        works: Those that have a seat here.
        mix: Of orders.
        absent_mask: Which of its slots are absent, as `tegcore.wire.records.absent_bits` reads it.
    """
    absent = absent_bits(absent_mask, log2_slots)
    free = [0 if absent >> slot & 1 else WHOLE for slot in range(1 << log2_slots)]
    mem_left = mem_bytes * MEM_OFFERED_PERCENT // 100
    for work in works:
        taken = work.slots_within(base, log2_slots)
        for slot in taken:
            free[slot] -= work.shape.share_permille or WHOLE
        cpu_milli -= work.spec.cpu_milli * len(taken)
        mem_left -= max(work.held_bytes, work.spec.mem_bytes * len(taken))
    room = tuple(max(0, left) for left in free), max(0, cpu_milli), max(0, mem_left), slot_class
    return _unusable(*room, mix.classes.tobytes(), mix.often.tobytes())


@lru_cache(maxsize=1024)
def _unusable(
    free: tuple[int, ...], cpu_milli: int, mem_left: int, slot_class: int, classes: bytes, often: bytes
) -> float:
    """What `unusable_share` says of one host's room: asked for in every cycle, while room and mix seldom change."""
    slots = len(free)
    mix = Mix(np.frombuffer(classes, np.int64).reshape(-1, 5), np.frombuffer(often))
    wanted = mix.classes.copy()
    clipped = np.maximum(1, np.minimum(wanted[:, 0], slots))
    wanted[:, 2:4] = wanted[:, 2:4] * clipped[:, None] // np.maximum(wanted[:, :1], 1)
    wanted[:, 0] = clipped
    host = Hosts(
        np.array([free], dtype=np.int32),
        np.array([slots], dtype=np.int32),
        np.array([cpu_milli], dtype=np.int64),
        np.array([mem_left], dtype=np.int64),
        np.array([slot_class], dtype=np.int32),
        np.zeros(1, dtype=np.int32),
    )
    return float(unusable_share(host, Mix(wanted, mix.often))[0])
