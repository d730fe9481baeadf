"""Quantities as people write them: sizes of blocks, bytes, cores, credits; what is out of range is refused here."""

import math
import re
from typing import Any

import click

from tegcore.units import MIB, PERMILLE, PRICE_UCR_MAX, UCR_MAX, ZONE_K_MAX, credits_text, credits_ucr
from tegcore.wire.control import TIME_S_MAX

BYTES_MAX = 1 << 50
SLOTS_MAX = 1 << 2 * ZONE_K_MAX
_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)


class Credits(click.ParamType[int]):
    """An amount of credits, as ucr."""

    name = "credits"

    def __init__(self, ucr_max: int = UCR_MAX, *, positive: bool = False) -> None:
        self._ucr_max, self._positive = ucr_max, positive

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See `click.ParamType.convert`."""
        if isinstance(value, int):
            return value
        try:
            amount_ucr = credits_ucr(value)
            if self._positive and amount_ucr <= 0:
                self.fail(f"{value!r} is not above 0: write a number of credits like 12 or 0.25", param, ctx)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not 0 <= amount_ucr <= self._ucr_max:
            self.fail(
                f"{value!r} is too small or too large: write 0 to {credits_text(self._ucr_max)} credits", param, ctx
            )
        return amount_ucr


class Time(click.ParamType[int]):
    """A time as Slurm writes it or with a unit: MINUTES, MM:SS, HH:MM:SS, D-HH[:MM[:SS]], 90s, 15m, 2h, 3d; in s."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See `click.ParamType.convert`."""
        if isinstance(value, int):
            return value
        seconds = _time_s(str(value).strip().lower())
        if seconds is None or not 0 < seconds <= TIME_S_MAX:
            forms = "90s, 15m, 2h, 01:30:00 (hours:minutes:seconds) or 2-12 (days-hours), at most 38 days"
            self.fail(f"{value!r} is no length of time: write it as {forms}", param, ctx)
        return seconds


class NewTime(click.ParamType[tuple[int, int]]):
    """A time, or by how much one is to change: 2h, +30m, -1h; as a sign (0: none) and seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """See `click.ParamType.convert`."""
        if isinstance(value, tuple):
            return value
        text = str(value).strip()
        sign = {"+": 1, "-": -1}.get(text[:1], 0)
        return sign, TIME.convert(text[abs(sign) :], param, ctx)


def _time_s(text: str) -> int | None:
    if match := re.fullmatch(r"(\d+)(s|m|h|d)", text):
        return int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[match[2]]
    days, dash, rest = text.rpartition("-")
    parts = rest.split(":")
    if not all(part.isdecimal() for part in parts) or (dash and not days.isdecimal()) or len(parts) > 3:
        return None
    numbers = [int(part) for part in parts]
    if dash:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
    else:
        hours, minutes, seconds = {1: (0, *numbers, 0), 2: (0, *numbers), 3: tuple(numbers)}[len(numbers)]
    return int(days or 0) * 86_400 + hours * 3600 + minutes * 60 + seconds


TIME = Time()
PRICE = Credits(PRICE_UCR_MAX)
AMOUNT = Credits()
GIVEN = Credits(positive=True)
"""An amount that is handed over: none of nothing."""


class Bid(click.ParamType[tuple[int | None, int | None]]):
    """A price: credits per slot-period, or with `/h` credits per GPU-hour; (ucr per period, ucr per hour)."""

    name = "credits[/h]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int | None, int | None]:
        """See `click.ParamType.convert`."""
        if isinstance(value, tuple):
            return value
        text = str(value).lower()
        if re.fullmatch(r"[\d.]+/(hour|hr|hours)", text):
            self.fail(f"{value!r}: write an hourly bid with /h, as {text.partition('/')[0]}/h", param, ctx)
        if text.endswith("/h"):
            return None, AMOUNT.convert(text.removesuffix("/h"), param, ctx)
        return PRICE.convert(text, param, ctx), None


class Thousandths(click.ParamType[int]):
    """A decimal number, in thousandths.

    Args:
        low: Least that is taken, in thousandths.
        high: Most.
    """

    name = "number"

    def __init__(self, low: int, high: int) -> None:
        self._low, self._high = low, high

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See `click.ParamType.convert`."""
        if isinstance(value, int):
            return value
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        low, high = self._low / PERMILLE, self._high / PERMILLE
        if not low <= number <= high:
            such = "0.5" if high < 1 else "4"
            self.fail(f"{value!r} is not a number from {low:g} to {high:g}, such as {such}", param, ctx)
        return round(number * PERMILLE)


SHARE = Thousandths(1, PERMILLE - 1)
CORES = Thousandths(0, 999_999_000)


class Bytes(click.ParamType[int]):
    """An amount of host memory: bytes, with K, M, G or T (of 1024) if wanted; 0, or 1 MiB and more."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See `click.ParamType.convert`."""
        if isinstance(value, int):
            return value
        found = _BYTES.fullmatch(value.strip())
        if not found:
            self.fail(f"{value!r} is no amount of memory: write it as 512M or 2G", param, ctx)
        size = float(found.group(1)) * 1024 ** ("kmgt".index(found.group(2).lower()) + 1 if found.group(2) else 0)
        if 0 < size < MIB:
            such = f"{found.group(1)}M or {found.group(1)}G" if not found.group(2) else "64M or 2G"
            self.fail(f"{value!r} is less than 1 MiB of host memory: write {such}", param, ctx)
        if size > BYTES_MAX:
            self.fail(
                f"{value!r} is more than any host can have: at most {BYTES_MAX >> 40}T; write it as 512M or 2G",
                param,
                ctx,
            )
        return int(size)


class Slots(click.ParamType[tuple[int, ...]]):
    """Sizes of one to four blocks, `4` or `16+8`, as log2."""

    name = "slots"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """See `click.ParamType.convert`."""
        if isinstance(value, tuple):
            return value
        sizes = []
        for part in value.split("+"):
            count = int(part) if part.isascii() and part.isdigit() and len(part) < 9 else 0
            if count < 1 or count & (count - 1) or count > SLOTS_MAX:
                rule = "slots (GPUs) come in 1, 2, 4, 8, ... next to each other"
                self.fail(f"{part[:20]!r} is none of the numbers there are: {rule}; {_summed(count)}", param, ctx)
            sizes.append(count.bit_length() - 1)
        if len(sizes) > 4:
            self.fail(f"{value!r} has {len(sizes)} parts: at most four, as in 16+8+4+1", param, ctx)
        return tuple(sizes)


def _summed(count: int) -> str:
    """How so many slots are written: as powers of two, the largest first."""
    parts = [1 << log2 for log2 in reversed(range(count.bit_length())) if count >> log2 & 1]
    if 1 < len(parts) <= 4 and count <= SLOTS_MAX:
        return f"write {'+'.join(map(str, parts))}"
    return "write 4, or up to four of them as 16+8"
