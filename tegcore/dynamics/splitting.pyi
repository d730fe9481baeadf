import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

def drift(position: Floats, velocity: Floats, dt: float, side: float, last: float, periodic: bool) -> None: ...
def turn(
    velocity: Floats,
    mass: Floats,
    charge: Floats,
    gradient: Floats,
    magnetic: Floats,
    hessian: Floats,
    friction: float,
    temperature: float,
    look_ahead: float,
    dt: float,
    rotation_max: float,
    draws: Floats,
) -> None: ...
