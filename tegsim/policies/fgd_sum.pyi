import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Devices = NDArray[np.int32]
Words = NDArray[np.int64]

def waste_drop_sum(
    free: Devices,
    cpu_milli: Words,
    model: Devices,
    request: Words,
    classes: Words,
    weights: Floats,
    score: Floats,
    device_out: Devices,
) -> None: ...
