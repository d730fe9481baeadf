"""What is asked for: a mix of requests, counted as they come, and as few bytes of it as a message has room for.

A mix is a count of classes: of a trace that is known, or decayed over what has come. A law follows from it
(`tegcore.field.request_mix`), and which part of a host's free room is of use (`tegcore.field.fragmentation`).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Words = NDArray[np.int64]

DEVICES_MAX = 1 << 16
_ROW = np.dtype([("class", "<i8", 5), ("often", "<f8")])
ROW_BYTES = _ROW.itemsize


class Mix(NamedTuple):
    """What is asked for: classes of requests and how often each comes.

    Attributes:
        classes: (devices, thousandths of each, cpu_milli, mem_bytes, mask of models), shape (m, 5).
        often: How often, in any unit, shape (m,).
    """

    classes: Words
    often: Floats


class Tally:
    """A mix that is learned: requests as they come, old ones counting less.

    Args:
        half_life: After so many more requests, one counts half.
        classes_max: Classes that are kept; beyond it the rarest goes.
    """

    def __init__(self, half_life: float, classes_max: int) -> None:
        self._growth = 2.0 ** (1.0 / half_life)
        self._weight = 1.0
        self._classes_max = classes_max
        self._often: dict[tuple[int, ...], float] = {}

    def see(self, request: tuple[int, ...]) -> None:
        """Count a request (devices, thousandths of each, cpu_milli, mem_bytes, mask of models)."""
        self._weight *= self._growth
        self._often[request] = self._often.get(request, 0.0) + self._weight
        if len(self._often) > self._classes_max:
            del self._often[min(self._often, key=lambda each: (self._often[each], each))]
        if self._weight > 1e100:
            self._often = {each: often / self._weight for each, often in self._often.items()}
            self._weight = 1.0

    def mix(self) -> Mix:
        """The mix as it is now, classes in order."""
        classes = sorted(self._often)
        often = np.array([self._often[each] for each in classes], dtype=np.float64) / self._weight
        return Mix(np.array(classes, dtype=np.int64).reshape(-1, 5), often)

    def packed(self, count: int) -> bytes:
        """The most frequent classes of the mix, rows of `ROW_BYTES`, with their shares of all requests."""
        mix = self.mix()
        kept = np.argsort(-mix.often, kind="stable")[:count]
        rows = np.zeros(len(kept), dtype=_ROW)
        rows["class"], rows["often"] = mix.classes[kept], mix.often[kept] / max(float(mix.often.sum()), 1e-300)
        return rows.tobytes()


def unpacked(raw: bytes) -> Mix | None:
    """The mix that was packed; None where it holds what no request asks for."""
    if len(raw) % ROW_BYTES:
        return None
    rows = np.frombuffer(raw, dtype=_ROW)
    classes, often = np.ascontiguousarray(rows["class"]), rows["often"].astype(np.float64)
    gpus, share, rest = classes[:, 0], classes[:, 1], classes[:, 2:]
    sound = (gpus >= 1) & (gpus <= DEVICES_MAX) & (share >= 1) & (share <= 1000) & (rest >= 0).all(axis=1)
    sound &= np.isfinite(often) & (often >= 0)
    return Mix(classes, often) if sound.all() else None
