"""Dual numbers over arrays: a value and its derivative by tau, carried through every formula at once (8).

(a + eps b)(c + eps d) = ac + eps (ad + bc),   f(a + eps b) = f(a) + eps f'(a) b,   eps^2 = 0
"""

from dataclasses import dataclass
from typing import Any, Union

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Operand = Union["Dual", Floats, float]


@dataclass(frozen=True, slots=True, eq=False)
class Dual:
    """An array of dual numbers.

    Attributes:
        value: a, any shape.
        rate: b = da/dtau, of the same shape, per tick.
    """

    value: Floats
    rate: Floats

    __array_ufunc__ = None  # so that `array * dual` comes to `__rmul__`

    def at(self, ticks: float) -> "Dual":
        """Looked ahead by a time: a + b dtau, at the same rate."""
        return Dual(self.value + ticks * self.rate, self.rate)

    def __getitem__(self, place: Any) -> "Dual":
        return Dual(self.value[place], self.rate[place])

    def __neg__(self) -> "Dual":
        return Dual(-self.value, -self.rate)

    def __add__(self, other: Operand) -> "Dual":
        other = dual(other)
        return Dual(self.value + other.value, self.rate + other.rate)

    __radd__ = __add__

    def __sub__(self, other: Operand) -> "Dual":
        other = dual(other)
        return Dual(self.value - other.value, self.rate - other.rate)

    def __rsub__(self, other: Operand) -> "Dual":
        return dual(other) - self

    def __mul__(self, other: Operand) -> "Dual":
        if isinstance(other, float):
            return Dual(self.value * other, self.rate * other)
        other = dual(other)
        return Dual(self.value * other.value, self.value * other.rate + self.rate * other.value)

    __rmul__ = __mul__

    def __truediv__(self, other: Operand) -> "Dual":
        other = dual(other)
        quotient = self.value / other.value
        return Dual(quotient, (self.rate - quotient * other.rate) / other.value)

    def __rtruediv__(self, other: Operand) -> "Dual":
        return dual(other) / self

    def exp(self) -> "Dual":
        """Exponential."""
        value = np.exp(self.value)
        return Dual(value, value * self.rate)

    def log1p(self) -> "Dual":
        """ln(1 + it), for values above -1."""
        return Dual(np.log1p(self.value), self.rate / (1 + self.value))

    def sqrt(self) -> "Dual":
        """Its square root, for values above 0."""
        value = np.sqrt(self.value)
        return Dual(value, self.rate / (2 * value))

    def clip(self, low: float, high: float) -> "Dual":
        """Within bounds; where a bound holds it, it does not move."""
        inside = (self.value >= low) & (self.value <= high)
        return Dual(np.clip(self.value, low, high), np.where(inside, self.rate, 0.0))


def dual(number: Operand) -> Dual:
    """A dual number as it is; anything else is constant in tau."""
    if isinstance(number, Dual):
        return number
    value = np.asarray(number, dtype=np.float64)
    return Dual(value, np.zeros_like(value))
