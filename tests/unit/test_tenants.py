"""Tenants by command: added, changed and closed while all runs, kept by the ledger's journal, told to every host."""

import asyncio
import pwd
from pathlib import Path
from typing import Any

import pytest
from unit.test_host_service import Side
from unit.test_ledger_service import ZONE_K, Zone

from bench.rig import ZONE, Link
from tegcore.errors import PermissionDeniedError, RefusedError
from tegcore.tenancy import Users
from tegcore.wire import control
from tegcore.wire.codec import encode
from tegcore.wire.messages import BYTES_MAX, TENANTS_TOLD_MAX, Ask, Tenants
from tegcore.wire.records import Genesis, Market, NameIs, NameKind, Op, Reason, Record, TenantSet, TenantUser
from tegcore.wire.signing import Key, Keyring, host_key, members_key, opened_token, tenant_token
from tegcore.wire.topics import Channel, Topic
from tegd.adapters.store import Store
from tegd.modes import Mode
from tegd.service import HostService
from tegd.settings import HostSettings
from tegd.tenancy import Tenancy
from tegio.control import Peer
from zone_ledger import voice
from zone_ledger.replay import new_engine
from zone_ledger.terms import TENANTS_SET_MAX, USERS_MAX, TermsOfAll

SECRET = Key(b"s" * 32)
EVE, BOB = 54001, 54002


class Tegd:
    """A host's real agent side beside a `Zone`, whose settings know no tenant."""

    def __init__(self, zone: Zone, folder: Path, **settings: Any) -> None:
        self.zone, self.folder = zone, folder
        self.settings = HostSettings(host="h", zone=ZONE, log2_slots=2, cpu_milli=1000, mem_bytes=1 << 30, **settings)

    async def up(self) -> "Tegd":
        secret = self.zone.place.secret
        key = host_key(secret, "h")
        keys = Keyring(members_key(secret, ZONE), None, lambda _: key)
        self.store, transport = Store(self.folder / "work.sqlite"), self.zone.broker.transport()
        side: Any = Side()
        self.service = HostService(
            self.settings,
            keys,
            key,
            transport,
            side,
            self.store,
            self.zone.clock,
            self.folder,
        )
        self.service._agent.ready()
        await transport.start()
        self.transport = transport
        await self.cycles(30)
        assert self.service.node.mode is Mode.RUN
        return self

    async def cycles(self, count: int) -> None:
        for _ in range(count):
            await self.service._cycle(self.zone.clock.now_ns())
            await self.zone.ticks(1)

    async def down(self) -> None:
        await self.transport.stop()
        self.store.close()

    async def submit(self, uid: int, tenant: str = "", key: int = 11) -> str:
        spec = control.WorkloadSpec(argv=("true",), tenant=tenant)
        answer = asyncio.ensure_future(self.service.answer(Peer(uid, uid, 1), control.Submit(spec, key)))
        while not answer.done():
            await self.cycles(1)
            await asyncio.sleep(0)
        reply = answer.result()
        assert isinstance(reply, control.Reply)
        return self.service.node.workloads[reply.data["ref"]].tenant


async def test_a_tenant_is_added_without_a_restart_and_outlives_one(tmp_path: Path) -> None:
    zone = await Zone(tmp_path / "zone", tenants={"ada": (0,)}).up()
    await zone.ask(control.AddTenant(tenant="eve", key=11))
    await zone.ask(control.AddTenant(tenant="bob", key=12, hour_ucr=3_600_000_000))
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
    await zone.ask(control.AddTenant(tenant="eve", key=11))
    with pytest.raises(RefusedError, match="there is a tenant 'eve' already"):
        await zone.ask(control.AddTenant(tenant="eve", key=12))
    with pytest.raises(RefusedError, match="'E v' cannot name a tenant"):
        await zone.ask(control.AddTenant(tenant="E v", key=13))
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


async def rows(zone: Zone) -> dict[str, dict[str, Any]]:
    return {row["tenant"]: row for row in await zone.ask(control.Tenants())}


async def test_users_weight_and_income_are_changed_and_shown_with_the_share(tmp_path: Path) -> None:
    zone = await Zone(tmp_path / "zone", tenants={"ada": (EVE,)}).up()
    await zone.ask(control.AddTenant(tenant="ada", key=11, weight=2, users=(BOB,)))
    await zone.ask(control.AddTenant(tenant="lab", key=12, users=(0, BOB)))
    await zone.ask(control.AddTenant(tenant="lab", key=13, weight=5, hour_ucr=3_600_000_000))
    await zone.ask(control.RemoveTenant(tenant="ada", key=14, users=(EVE,)))
    await zone.restart()
    shown = await rows(zone)
    assert shown["ada"]["users"] == [str(BOB)], "by command, over the settings"
    assert shown["lab"]["users"] == [pwd.getpwuid(0).pw_name, str(BOB)]
    assert [shown[name]["weight"] for name in ("ada", "crowd", "lab")] == [2, 1, 5]
    assert [shown[name]["share_permille"] for name in ("ada", "crowd", "lab")] == [250, 125, 625]
    assert shown["lab"]["income_hour_ucr"] == 3_600_000_000
    await zone.ask(control.RemoveTenant(tenant="ada", key=15))
    shown = await rows(zone)
    assert (shown["ada"]["closed"], shown["ada"]["share_permille"], shown["lab"]["share_permille"]) == (True, 0, 833)
    await zone.down()


async def test_the_same_request_again_changes_nothing(tmp_path: Path) -> None:
    zone = await Zone(tmp_path / "zone").up()
    add = control.AddTenant(tenant="lab", key=11, users=(EVE, BOB))
    await zone.ask(add)
    await zone.ask(control.RemoveTenant(tenant="lab", key=12, users=(EVE,)))
    await zone.ask(add)
    assert (await rows(zone))["lab"]["users"] == [str(BOB)]
    await zone.down()


async def test_who_is_not_there_cannot_be_removed(tmp_path: Path) -> None:
    zone = await Zone(tmp_path / "zone").up()
    with pytest.raises(RefusedError, match="there is no tenant 'nobody'"):
        await zone.ask(control.RemoveTenant(tenant="nobody", key=11))
    await zone.ask(control.RemoveTenant(tenant="crowd", key=12))
    with pytest.raises(RefusedError, match="'crowd' is closed already"):
        await zone.ask(control.RemoveTenant(tenant="crowd", key=13))
    await zone.down()


async def test_a_closed_tenant_has_no_new_lease_and_keeps_those_that_it_has(tmp_path: Path) -> None:
    zone = await Zone(tmp_path / "zone").up()
    await zone.ticks(5, orders=3)
    held, refused = len(zone.service.engine.state.leases), zone.outcomes(Op.REFUSED)
    assert held
    await zone.ask(control.RemoveTenant(tenant="crowd", key=11))
    counted = dict(zone.service.engine.state.counters.outcomes)
    await zone.ticks(5, orders=3)
    assert zone.outcomes(Op.REFUSED) > refused
    now = zone.service.engine.state.counters.outcomes
    assert {Reason(code) for code in now if now[code] != counted.get(code, 0)} == {Reason.TENANT}
    assert len(zone.service.engine.state.leases) <= held
    await zone.down()


async def test_a_host_takes_work_of_a_tenant_that_was_just_added(tmp_path: Path) -> None:
    zone = Zone(tmp_path / "zone")
    zone.link = Link(zone.broker.transport(), zone.place.secret, 1, ZONE_K - 1)
    await zone.up()
    host = await Tegd(zone, tmp_path).up()
    with pytest.raises(PermissionDeniedError, match="may spend the credits of 'u54001', not those of 'lab'"):
        await host.submit(EVE, "lab")
    await zone.ask(control.AddTenant(tenant="lab", key=11, users=(EVE,)))
    assert await host.submit(EVE, "lab", key=12) == await host.submit(EVE, key=13) == "lab"
    assert host.service.node.tokens == {"lab": tenant_token(zone.place.secret, "lab")}
    with pytest.raises(PermissionDeniedError, match="may spend the credits of 'u54002', not those of 'lab'"):
        await host.submit(BOB, "lab")
    await host.down()
    host = await Tegd(zone, tmp_path).up()
    assert await host.submit(EVE, "lab", key=14) == "lab"
    await zone.ask(control.RemoveTenant(tenant="lab", key=15, users=(EVE,)))
    await host.cycles(3)
    with pytest.raises(PermissionDeniedError):
        await host.submit(EVE, "lab", key=16)
    await zone.ask(control.AddTenant(tenant="lab", key=17, users=(EVE,)))
    await zone.ask(control.RemoveTenant(tenant="lab", key=18))
    await host.cycles(3)
    with pytest.raises(RefusedError, match="tenant 'lab' is closed"):
        await host.submit(EVE, "lab", key=19)
    await host.down()
    await zone.down()


def test_what_was_told_serves_from_the_store_until_it_is_told_anew(tmp_path: Path) -> None:
    told = filled(TermsOf(1))
    tenancy = Tenancy({}, {"given": 5})
    tenancy.beaten(told.upto)
    kept = tenancy.take(told, opened)
    store = Store(tmp_path / "work.sqlite")
    store.keep_tenants(kept or [])
    again = Tenancy({}, {"given": 5}, store.tenants())
    store.close()
    assert again.tokens == tenancy.tokens == {"given": 5, "t1": tenant_token(SECRET, "t1")}
    assert again.users.of("t1") == tenancy.users.of("t1") == [1]
    again.beaten(0)
    assert again.tokens == {"given": 5}, "another ledger, that knows of none"


def test_changes_are_told_page_by_page_and_a_lost_answer_is_asked_for_again() -> None:
    state, tenancy = TermsOf(2 * TENANTS_TOLD_MAX + 5), Tenancy({}, {})
    tenancy.beaten(state.terms.changes)
    pages, lost = 0, 0
    for cycle in range(100):
        after = tenancy.question(cycle)
        if after is None:
            continue
        if cycle == 1:
            lost += 1
            continue
        kept = tenancy.take(filled(state, after), opened)
        pages += 1
    assert (pages, lost, tenancy.behind) == (3, 1, False)
    assert kept is not None
    assert len(kept) == len(tenancy.tokens) == 2 * TENANTS_TOLD_MAX + 5
    state.apply(Op.TENANT_USER, TenantUser(3, 9, 1))
    tenancy.beaten(state.terms.changes)
    later = filled(state, tenancy.question(200) or 0)
    assert [tenant.name for tenant in later.tenants] == ["t3"]


def test_the_largest_page_fits_its_message() -> None:
    state = TermsOf(TENANTS_TOLD_MAX, "x" * 60)
    for number in range(1, TENANTS_TOLD_MAX + 1):
        for uid in range(2**32 - USERS_MAX + 1, 2**32):
            state.apply(Op.TENANT_USER, TenantUser(number, uid, uid % 2))
    page = filled(state)
    assert len(page.tenants) == TENANTS_TOLD_MAX
    frame = encode(Topic(ZONE, Channel.EVENTS, "h"), page, host_key(SECRET, "h"))
    assert len(frame) < BYTES_MAX[Tenants]


def test_the_ledger_bounds_what_it_keeps_of_tenants() -> None:
    terms = TermsOfAll()
    assert all(terms.set_user(1, uid, on=True) for uid in range(USERS_MAX))
    assert not terms.set_user(1, USERS_MAX, on=True)
    assert terms.set_user(1, 0, on=False)
    assert all(terms.set(tenant, 1, closed=False) for tenant in range(2, TENANTS_SET_MAX + 1))
    assert not terms.set(TENANTS_SET_MAX + 1, 1, closed=False)
    assert not terms.set_user(TENANTS_SET_MAX + 1, 1, on=True)


def test_who_is_listed_spends_as_several_and_who_was_removed_as_none_of_them() -> None:
    users = Users({"ada": (1, 2)}, {"lab": {1: True, 3: True}, "ada": {2: False}, "eve": {7: False}})
    assert users.tenants_of(1, "one") == ["ada", "one", "lab"]
    assert users.tenants_of(2, "two") == ["two"]
    assert users.tenants_of(3, "three") == ["three", "lab"]
    assert users.tenants_of(3, "ada") == ["lab"], "a tenant of its name is another's"
    assert users.tenants_of(7, "eve") == ["u7"]


class TermsOf:
    """A ledger's engine with so many tenants, each added by command with a user of its number."""

    def __init__(self, count: int, name: str = "") -> None:
        self.engine = new_engine()
        self.keys = 0
        self.engine.apply(Record(Op.GENESIS, 0, 0, 0, Genesis(2, 10, 2, 4, 3, 6, 20, Market.FIXED)))
        self.engine.apply(Record(Op.NAME_IS, 0, 0, 0, NameIs.of(NameKind.HOST, 1, "h")))
        for number in range(1, count + 1):
            named = NameIs.of(NameKind.TENANT, number, f"t{number}{name}")
            self.engine.apply(Record(Op.NAME_IS, 0, 0, 0, named))
            self.apply(Op.TENANT_SET, TenantSet(number, 1, 0))
            self.apply(Op.TENANT_USER, TenantUser(number, number, 1))

    @property
    def terms(self) -> TermsOfAll:
        return self.engine.state.terms

    def apply(self, op: Op, body: Any) -> None:
        self.keys += 1
        assert self.engine.apply(Record(op, 0, 0, self.keys, body)).reason is Reason.OK


def filled(told: TermsOf, after: int = 0) -> Tenants:
    return voice.tenants(told.engine.state, Ask(1, "h", 1, tenants_after=after), SECRET)


def opened(raw: bytes, name: str) -> int:
    return opened_token(raw, host_key(SECRET, "h"), name)
