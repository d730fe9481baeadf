"""Tenants by command: added while the ledger runs, kept by its journal, shown with their users."""

from pathlib import Path

import pytest
from unit.test_ledger_service import Zone

from tegcore.errors import RefusedError
from tegcore.wire import control


async def test_a_tenant_is_added_without_a_restart_and_outlives_one(tmp_path: Path) -> None:
    zone = await Zone(tmp_path / "zone", tenants={"ada": (0,)}).up()
    await zone.ask(control.AddTenant(tenant="eve", key=1))
    await zone.ask(control.AddTenant(tenant="bob", key=2, hour_ucr=3_600_000_000))
    await zone.restart()
    rows = {row["tenant"]: row for row in await zone.ask(control.Tenants())}
    assert rows["eve"]["users"] == ["eve"]
    assert rows["eve"]["balance_ucr"] == 0
    assert rows["eve"]["leases"] == 0
    assert rows["eve"]["income_hour_ucr"] == -1
    assert rows["bob"]["income_hour_ucr"] == 3_600_000_000
    await zone.down()


async def test_a_tenant_that_is_there_or_cannot_be_named_so_is_refused(tmp_path: Path) -> None:
    zone = await Zone(tmp_path / "zone").up()
    await zone.ask(control.AddTenant(tenant="eve", key=1))
    with pytest.raises(RefusedError, match="there is a tenant 'eve' already"):
        await zone.ask(control.AddTenant(tenant="eve", key=2))
    with pytest.raises(RefusedError, match="'E v' cannot name a tenant"):
        await zone.ask(control.AddTenant(tenant="E v", key=3))
    await zone.down()


async def test_one_look_at_the_zone_agrees_with_itself(tmp_path: Path) -> None:
    zone = await Zone(tmp_path / "zone").up()
    for _ in range(10):
        await zone.ticks(3, orders=3)
        seen = await zone.ask(control.ZoneView())
        held = [row for row in seen["held"] if row["lease"]]
        assert seen["leases"] == len(held) == sum(row["leases"] for row in seen["hosts"])
        assert seen["free"] == sum(row["free"] for row in seen["hosts"])
    assert seen["leases"] > 0
    await zone.down()
