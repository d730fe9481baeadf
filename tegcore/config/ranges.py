"""Ranges of numbers that the settings of several programs share."""

from typing import Annotated

from msgspec import Meta

Uid = Annotated[int, Meta(ge=0, le=2**32 - 1)]

CREDITS_MAX = 1e12
"""In ucr it is below 2^62: what a ledger can count."""
JOULES_MAX = 1e15
SCARCITY_MAX = 1e6
RATED_W_MAX = 1e6
