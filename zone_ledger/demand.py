"""What is asked for of late: orders counted by class, old ones less, told with each full frame of heat.

Derived, never journaled: a ledger that starts anew knows nothing of it, and says so by an empty mix.
"""

from tegcore.errors import DecodeError
from tegcore.field.requests import DEVICES_MAX, Tally
from tegcore.units import PERMILLE
from tegcore.wire.records import Fok, Shape

HALF_LIFE = 4_000
CLASSES_MAX = 64
NEED_MAX = 1 << 62
"""What is told is a 64-bit word: who needs more needs as much as nobody has."""
TOLD_MAX = 16
"""Classes that are broadcast: 768 bytes."""


class Demand:
    """The mix of one zone's orders."""

    def __init__(self) -> None:
        self._tally = Tally(HALF_LIFE, CLASSES_MAX)

    def see(self, order: Fok) -> None:
        """Count an order by its largest block, whether or not it is granted; one that has no shape is passed over."""
        try:
            shape = Shape.unpacked(order.shape)
        except DecodeError:
            return
        slots, share = 1 << shape.sizes[0], shape.share_permille or PERMILLE
        if slots > DEVICES_MAX:  # as large as no host is: no part of the mix of what hosts are asked for
            return
        cpu_milli, mem_bytes = (min(need * slots, NEED_MAX) for need in (order.cpu_milli, order.mem_bytes))
        self._tally.see((slots, share, cpu_milli, mem_bytes, shape.classes))

    def packed(self) -> bytes:
        """For the broadcast."""
        return self._tally.packed(TOLD_MAX)
