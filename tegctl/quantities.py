"""Quantities as people write them: sizes of blocks, bytes, credits."""

import re
from typing import Any

import click

from tegcore.units import credits_ucr

_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)


class Credits(click.ParamType[int]):
    """An amount of credits, as ucr."""

    name = "credits"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See `click.ParamType.convert`."""
        if isinstance(value, int):
            return value
        try:
            return credits_ucr(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Bytes(click.ParamType[int]):
    """A number of bytes, with K, M, G or T (of 1024) if wanted."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See `click.ParamType.convert`."""
        if isinstance(value, int):
            return value
        found = _BYTES.fullmatch(value.strip())
        if not found:
            self.fail(f"{value!r} is no size: write 512MiB or 2G", param, ctx)
        return int(float(found.group(1)) * 1024 ** ("kmgt".index(found.group(2).lower()) + 1 if found.group(2) else 0))


class Slots(click.ParamType[tuple[int, ...]]):
    """Sizes of one to four blocks, `4` or `16+8`, as log2."""

    name = "slots"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """See `click.ParamType.convert`."""
        if isinstance(value, tuple):
            return value
        sizes = []
        for part in value.split("+"):
            count = int(part) if part.isdigit() else 0
            if count < 1 or count & (count - 1):
                self.fail(f"{part!r} is no power of two: write 1, 2, 4, 8 or sums such as 16+8", param, ctx)
            sizes.append(count.bit_length() - 1)
        if len(sizes) > 4:
            self.fail("at most four blocks", param, ctx)
        return tuple(sizes)
