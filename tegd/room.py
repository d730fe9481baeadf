"""What of this host's free room the zone's orders of late could not use: fragmentation, as entropy takes it.

The room is what leases leave of the host's slots, cores and memory; `tegcore.field.fragmentation` says what of it is of
use. An order for more slots than the host has would take all of it, with the part of cores and memory that falls to it.
"""

from collections.abc import Iterable

import numpy as np

from tegcore.field.fragmentation import WHOLE, Hosts, unusable_share
from tegcore.field.requests import Mix
from tegd.workload import Workload

MEM_OFFERED_PERCENT = 95
"""C_max of (15): what the ledger offers of a host's memory."""


def fragmentation(
    base: int, log2_slots: int, slot_class: int, cpu_milli: int, mem_bytes: int, works: Iterable[Workload], mix: Mix
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
    """
    slots = 1 << log2_slots
    free = np.full(slots, WHOLE, dtype=np.int32)
    mem_left = mem_bytes * MEM_OFFERED_PERCENT // 100
    for work in works:
        taken = np.zeros(slots, dtype=bool)
        for first, log2 in work.blocks:
            taken[max(0, first - base) : max(0, first + (1 << log2) - base)] = True
        free[taken] -= work.shape.share_permille or WHOLE
        cpu_milli -= work.spec.cpu_milli * int(taken.sum())
        mem_left -= max(work.held_bytes, work.spec.mem_bytes * int(taken.sum()))
    wanted = mix.classes.copy()
    clipped = np.maximum(1, np.minimum(wanted[:, 0], slots))
    wanted[:, 2:4] = wanted[:, 2:4] * clipped[:, None] // np.maximum(wanted[:, :1], 1)
    wanted[:, 0] = clipped
    host = Hosts(
        np.maximum(free, 0)[None, :],
        np.array([slots], dtype=np.int32),
        np.array([max(0, cpu_milli)], dtype=np.int64),
        np.array([max(0, mem_left)], dtype=np.int64),
        np.array([slot_class], dtype=np.int32),
        np.zeros(1, dtype=np.int32),
    )
    return float(unusable_share(host, Mix(wanted, mix.often))[0])
