"""Every number that comes in through a door has a least and a greatest value, stated where its type is."""

from typing import Any, get_args

import pytest

from docs.ranges import numbers
from governor.settings import GovernorSettings
from tegcore.wire.control import AnyRequest
from tegcore.wire.messages import AnyMessage
from tegcore.wire.peer import AnySaid
from tegcore.wire.records import BODIES, bounds_of
from tegd.settings import HostSettings
from zone_ledger.settings import LedgerSettings

MESSAGES, REQUESTS, FRAMES = get_args(AnyMessage), get_args(AnyRequest), get_args(AnySaid)
SETTINGS = (LedgerSettings, GovernorSettings, HostSettings)


@pytest.mark.parametrize("kind", [*MESSAGES, *REQUESTS, *FRAMES, *SETTINGS], ids=lambda kind: kind.__name__)
def test_every_number_has_a_range(kind: Any) -> None:
    without = [".".join(each.path) for each in numbers(kind) if each.low is None or each.high is None]
    assert not without


def test_every_field_of_a_record_has_a_range() -> None:
    for op, body in BODIES.items():
        assert [name for name, _ in bounds_of(op)] == list(body._fields)
        assert all(bounds.low <= bounds.high for _, bounds in bounds_of(op))
