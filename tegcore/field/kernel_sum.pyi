import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

def kernel_sum(weights: Floats, positions: Floats, out: Floats) -> None: ...

NEAR: int

def kernel_normal(
    positions: Floats, values: Floats, side: int, information: Floats, evidence: Floats, work: Floats
) -> None: ...
