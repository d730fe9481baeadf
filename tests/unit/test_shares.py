"""Tenants at fixed prices that wait by their use over their weight."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_waiting import ask, free, full, promised, traits, woken
from worlds import PERIOD, Zone

from tegcore.economics.fixed import exp2_q32, log2_q32
from tegcore.units import PERMILLE
from tegcore.wire.records import (
    Acked,
    Fok,
    Market,
    Op,
    Reason,
    Record,
    Region,
    Release,
    SetShares,
    Shape,
    TenantSet,
    Tick,
    unpack_all,
)
from tegcore.wire.signing import Key
from zone_ledger import snapshot, views, waiting
from zone_ledger.book.fast import FastBook
from zone_ledger.book.reference import ReferenceBook
from zone_ledger.engine import Engine
from zone_ledger.leases import LeaseState
from zone_ledger.ledger import Ledger
from zone_ledger.shares import Shares

HALF_LIFE = 1_000
ROOT = Region(0, 4).packed()


def share(zone: Zone, half_life_ticks: int = HALF_LIFE, weight: int = 1) -> Zone:
    """Shares decide from now on; bob (tenant and host 2) has this weight, ada 1."""
    zone.system(Op.SHARES, SetShares(half_life_ticks))
    zone.operate(Op.TENANT_SET, TenantSet(2, weight, 0))
    return zone


def refused(zone: Zone, host: int = 1) -> list[tuple[int, Reason]]:
    return [(body.ref, Reason(body.reason)) for body in zone.told(Op.REFUSED, host)]


# --- use --------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1))
def test_the_power_of_two_undoes_the_logarithm(exponent: int) -> None:
    power = exp2_q32(exponent)
    assert log2_q32(power) <= (32 << 32) + exponent
    assert power == 2**33 - 1 or log2_q32(power + 1) > (32 << 32) + exponent
    assert power == pytest.approx(2**32 * 2 ** (exponent / 2**32), abs=3)


@pytest.mark.parametrize("exponent", [-1, 2**32])
def test_the_power_of_two_is_of_parts_of_one(exponent: int) -> None:
    with pytest.raises(ValueError, match="power"):
        exp2_q32(exponent)


class Held:
    """As much of a lease as its use needs."""

    def __init__(self, tenant: int, slots_log2: int, share_permille: int = 0) -> None:
        self.tenant, self.shape = tenant, Shape((slots_log2,), 1, share_permille)


histories = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from([(0, 0), (0, 300), (2, 0)]), st.integers(0, 900), st.integers(1, 900)),
    max_size=12,
)


@given(histories, st.integers(20, 600))
@settings(max_examples=60)
def test_use_is_slot_time_of_which_half_is_forgotten_in_a_half_life(histories, half_life: int) -> None:
    shares, now = Shares(half_life), 1_800
    leases = [(Held(tenant, *kind), begins, begins + lasts) for tenant, kind, begins, lasts in histories]
    for tick in range(now):
        shares.passes(tick)
        for lease, begins, ends in leases:
            if tick == begins:
                shares.begins(lease, tick)  # type: ignore[arg-type]
            if tick == ends:
                shares.ends(lease, tick)  # type: ignore[arg-type]
    for tenant in range(1, 4):
        exact = sum(
            (lease.shape.share_permille / PERMILLE or lease.shape.slots)
            * half_life
            / math.log(2)
            * (2 ** ((min(ends, now - 1) - now + 1) / half_life) - 2 ** ((begins - now + 1) / half_life))
            for lease, begins, ends in leases
            if lease.tenant == tenant
        )
        assert shares.slot_ticks(tenant, now - 1) == pytest.approx(exact, rel=1e-3, abs=1.01)


def test_who_has_used_nothing_for_long_is_forgotten() -> None:
    shares = Shares(1)
    shares.begins(Held(1, 0), 0)  # type: ignore[arg-type]
    shares.ends(Held(1, 0), 1)  # type: ignore[arg-type]
    for tick in range(1, 80):
        shares.passes(tick)
    assert not shares.by_tenant


# --- order ------------------------------------------------------------------------------------------------------------


def test_who_has_used_less_is_told_before_who_waits_longer() -> None:
    zone = share(full())
    zone.ticks(20)
    ask(zone, 9)
    zone.ticks()
    ask(zone, 10, host=2)
    zone.ticks()
    free(zone, 1)
    assert (woken(zone), woken(zone, 2)) == ([], [10])
    ask(zone, 10, host=2)
    zone.ticks()
    assert zone.lease(10)


def test_a_weight_counts_and_equals_go_by_age() -> None:
    zone = share(Zone(Market.FIXED), weight=4)
    for ref in (1, 2):
        ask(zone, ref)
        ask(zone, 10 + ref, host=2)
    zone.ticks(30)
    assert len(zone.state.leases) == 4
    for ref in (3, 4):
        ask(zone, ref)
        zone.ticks()
    ask(zone, 13, host=2)
    zone.ticks()
    free(zone, 1)
    assert (woken(zone), woken(zone, 2)) == ([], [13])
    ask(zone, 13, host=2)
    zone.ticks()
    free(zone, 2)
    assert woken(zone) == [3]


def test_room_that_somebody_was_told_of_is_not_for_who_has_used_less() -> None:
    zone = share(full())
    zone.ticks(20)
    ask(zone, 9)
    zone.ticks()
    free(zone, 1)
    assert woken(zone) == [9]
    ask(zone, 10, host=2)
    ask(zone, 9)
    zone.ticks()
    assert zone.lease(9)
    assert zone.lease(10) is None


def test_the_promise_is_to_the_first_by_use_and_is_tried_behind_others_that_ask_the_same() -> None:
    zone = Zone(Market.FIXED)
    for ref in range(1, 5):
        ask(zone, ref, time_ticks=100)
    share(zone).ticks(20)
    ask(zone, 9, size=2)
    zone.ticks(2)
    assert [ref for ref, _ in promised(zone)] == [9]
    ask(zone, 10, size=2, host=2)
    zone.ticks()
    assert not promised(zone, 2), "what is promised stays promised"
    for ref in (1, 2, 3, 4):
        free(zone, ref)
    assert (woken(zone), woken(zone, 2)) == ([9], [])


def test_a_share_is_told_as_the_reason_only_where_it_decides() -> None:
    zone = share(full())
    zone.ticks(20)
    ask(zone, 9)
    zone.ticks()
    assert refused(zone)[-1] == (9, Reason.TAKEN), "nobody goes before it"
    ask(zone, 10, host=2)
    zone.ticks()
    assert refused(zone, 2)[-1] == (10, Reason.TAKEN)
    ask(zone, 9)
    zone.ticks()
    assert refused(zone)[-1] == (9, Reason.SHARE)


def test_of_many_that_ask_the_same_only_the_first_of_each_tenant_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    zone = share(full())
    for ref in range(9, 209):
        ask(zone, ref, host=1 + ref % 2)
    zone.ticks()
    hold = waiting._hold
    monkeypatch.setattr(waiting, "_hold", lambda *args: (tried.append(args[1]), hold(*args))[1])
    free(zone, 1)
    assert len(tried) <= 4


# --- off, replayed, kept, shown ---------------------------------------------------------------------------------------


def test_off_it_leaves_no_trace() -> None:
    zones = [full(), full()]
    zones[1].system(Op.SHARES, SetShares(0))
    for zone in zones:
        ask(zone, 9)
        ask(zone, 10, host=2)
        zone.ticks(PERIOD)
        free(zone, 1)
    assert zones[0].state.hash() == zones[1].state.hash()
    assert zones[0].state.running_hash() == zones[1].state.running_hash()
    assert zones[1].state.shares == Shares()


def test_use_and_lines_are_kept_over_a_restart_and_go_on_alike() -> None:
    zone = share(full())
    zone.ticks(20)
    for ref, host in ((9, 1), (10, 2), (11, 1)):
        ask(zone, ref, host=host)
    zone.ticks()
    restored = Engine(FastBook)
    restored.state = snapshot.unpack(snapshot.pack(zone.state), FastBook)
    assert restored.state.shares == zone.state.shares
    assert restored.state.hash() == zone.state.hash()
    assert restored.state.running_hash() == zone.state.running_hash()
    apply, zone.engine.apply = zone.engine.apply, lambda record: (restored.apply(record), apply(record))[1]  # type: ignore[method-assign]
    free(zone, 1)
    zone.ticks(HALF_LIFE)
    assert restored.state.running_hash() == zone.state.running_hash()
    assert woken(zone, 2)[0] == 10


def test_it_can_be_set_while_work_runs_and_waits() -> None:
    zone = full()
    ask(zone, 9)
    ask(zone, 10, host=2)
    zone.ticks(10)
    share(zone).ticks(10)
    assert zone.state.shares.slot_ticks(1, zone.state.tick) == pytest.approx(4 * 10, abs=1)
    free(zone, 1)
    assert woken(zone, 2) == [10]
    zone.system(Op.SHARES, SetShares(0))
    assert not zone.state.shares.by_tenant


def test_a_ledger_journals_the_setting_when_it_is_another() -> None:
    zone = full()
    ledger = Ledger("z", Key(b"s" * 32), zone.engine, 1, 1 << 62, share_half_life_ticks=500)
    for wanted in ([500], []):
        ledger.tick(10**9, connected=False)
        batch = ledger.next_write()
        assert batch is not None
        records = unpack_all(batch.records)
        assert [record.body.half_life_ticks for record in records if record.op is Op.SHARES] == wanted
        ledger.durable()
    assert zone.state.shares.half_life_ticks == 500


def test_use_is_shown_where_shares_decide() -> None:
    zone = full()
    assert "use_slot_ticks" not in views.tenants(zone.state, None)[0]
    share(zone, weight=3).ticks(50)
    ada, bob = views.tenants(zone.state, None)
    assert (ada["used_permille"], bob["used_permille"]) == (1000, 0)
    assert (ada["share_permille"], bob["share_permille"]) == (250, 750)
    assert ada["use_slot_ticks"] == pytest.approx(4 * 50, rel=0.05)


# --- the long run -----------------------------------------------------------------------------------------------------


class Busy:
    """Four slots, and tenants that have more to do than fits, in pieces that last as drawn."""

    def __init__(self, weights: list[int], half_life_ticks: int, lasts: list[int], sizes: list[int]) -> None:
        self.zone = Zone(Market.FIXED, book=FastBook)
        self.records: list[Record] = []
        apply = self.zone.engine.apply
        self.zone.engine.apply = lambda record: (self.records.append(record), apply(record))[1]  # type: ignore[method-assign]
        self.zone.system(Op.SHARES, SetShares(half_life_ticks))
        for tenant, weight in enumerate(weights, 1):
            self.zone.operate(Op.TENANT_SET, TenantSet(tenant, weight, 0))
        self.lasts, self.sizes, self.held = lasts, sizes, {1: 0, 2: 0}
        self.next = {1: 100, 2: 10_000}
        for host in (1, 2):
            for _ in range(6):
                self._submit(host)

    def _submit(self, host: int) -> None:
        self.next[host] += 1
        self._ask(host, self.next[host])

    def _ask(self, host: int, ref: int) -> None:
        size = self.sizes[ref % len(self.sizes)]
        self.zone.sent[host] += 1
        fok = Fok(ref, host, ROOT, Shape((size,)).packed(), 0, 0, 2_000, 0, traits(), 0)
        self.zone.engine.apply(Record(Op.FOK, host, 1, self.zone.sent[host], fok))

    def run(self, ticks: int) -> dict[int, int]:
        """Slot-ticks by tenant."""
        zone, begun = self.zone, dict[int, int]()
        for _ in range(ticks):
            zone.system(Op.TICK, Tick(zone.state.tick + 1, zone.state.tick + 1))
            if zone.state.tick % (PERIOD // 2) == 0:
                zone.engine.check()
                zone.renew_all()
                for host, ref in list(zone.state.queue.waiters):
                    if (host, ref) not in zone.state.refs:
                        self._ask(host, ref)
            for host in (1, 2):
                for ref in woken(zone, host):
                    if (host, ref) not in zone.state.refs:
                        self._ask(host, ref)
                acked = Acked(zone.state.hosts[host].outbox.last_seq)
                zone.engine.apply(Record(Op.ACKED, host, 1, 0, acked))
            for lease in list(zone.state.leases.values()):
                self.held[lease.tenant] += lease.shape.slots
                began = begun.setdefault(lease.number, zone.state.tick)
                over = zone.state.tick - began >= self.lasts[lease.number % len(self.lasts)]
                if over and lease.state is LeaseState.HELD:
                    zone.sent[1] += 1
                    release = Release(lease.number, lease.token, Reason.DONE)
                    zone.engine.apply(Record(Op.RELEASE, 1, 1, zone.sent[1], release))
                    self._submit(lease.origin)
        return self.held


@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.sampled_from([400, 4_000, 100_000]),
    st.lists(st.integers(5, 40), min_size=1, max_size=4),
    st.sampled_from([[0], [0, 1], [1]]),
)
@settings(max_examples=4, deadline=None)
def test_slot_time_is_split_by_weight_in_the_long_run(
    ada: int, bob: int, half_life: int, lasts: list[int], sizes: list[int]
) -> None:
    busy = Busy([ada, bob], half_life, lasts, sizes)
    held = busy.run(800)
    assert sum(held.values()) >= 0.7 * 4 * 800, "slots do not stand idle"
    wanted = Fraction(ada, ada + bob)
    assert held[1] / sum(held.values()) == pytest.approx(float(wanted), abs=0.08)


def test_a_history_under_shares_replays() -> None:
    busy = Busy([1, 3], 500, [7, 20, 31], [0, 1])
    opening = Zone(Market.FIXED, book=ReferenceBook)
    busy.run(300)
    for record in busy.records:
        opening.engine.apply(record)
    assert opening.state.hash() == busy.zone.state.hash()
    assert opening.state.running_hash() == busy.zone.state.running_hash()


def test_by_age_alone_weights_split_nothing() -> None:
    held = Busy([1, 5], 0, [10], [0]).run(500)
    assert held[1] / sum(held.values()) == pytest.approx(0.5, abs=0.05)
