import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

def kernel_sum(weights: Floats, positions: Floats, out: Floats) -> None: ...
