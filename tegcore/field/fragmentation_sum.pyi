import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Devices = NDArray[np.int32]
Words = NDArray[np.int64]

def potential_sum(
    free: Devices,
    gpus: Devices,
    cpu_milli: Words,
    mem_bytes: Words,
    model: Devices,
    kind: Devices,
    classes: Words,
    weights: Floats,
    block_loss: Floats,
    scarcity: Floats,
    terms: Floats,
    out: Floats,
) -> None: ...
def rise_sum(
    free: Devices,
    gpus: Devices,
    cpu_milli: Words,
    mem_bytes: Words,
    model: Devices,
    kind: Devices,
    request: Words,
    classes: Words,
    weights: Floats,
    block_loss: Floats,
    scarcity: Floats,
    terms: Floats,
    rise: Floats,
    device_out: Devices,
) -> None: ...
