"""The fragmentation potential: fast against clear, increments against brute force, what each term is there for."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packing_world import KINDS, hosts_of, law_of, mix_of, requests_of

from tegcore.field import reference
from tegcore.field.fragmentation import Hosts, Law, increments, potential, unusable_share
from tegcore.field.request_mix import derived
from tegcore.field.requests import Mix, Tally, unpacked
from tegcore.units import GIB

SEEDS = st.integers(0, 2**32 - 1)


def trials(hosts, row, request):
    """Every way of putting a request on a host, as the devices that it takes."""
    gpus, share = int(request[0]), int(request[1])
    if hosts.cpu_milli[row] < request[2] or hosts.mem_bytes[row] < request[3]:
        return []
    if gpus and not int(request[4]) >> int(hosts.model[row]) & 1:
        return []
    able = [at for at in range(hosts.free.shape[1]) if hosts.free[row, at] >= share and gpus]
    return [list(devices) for devices in combinations(able, gpus)]


@settings(deadline=None, max_examples=150)
@given(SEEDS)
def test_the_compiled_sum_is_the_written_one(seed):
    source = np.random.default_rng(seed)
    hosts, law = hosts_of(source), law_of(source)
    np.testing.assert_allclose(potential(hosts, law), reference.potential(hosts, law), rtol=1e-9, atol=1e-6)


@settings(deadline=None, max_examples=150)
@given(SEEDS)
def test_an_increment_is_the_least_difference_over_all_ways_to_place(seed):
    source = np.random.default_rng(seed)
    hosts, law = hosts_of(source), law_of(source)
    before = reference.potential(hosts, law)
    kept = hosts.rows(np.arange(len(hosts.gpus)))
    for request in requests_of(source):
        rise, device = increments(hosts, request, law)
        for column, same in zip(hosts, kept, strict=True):
            np.testing.assert_array_equal(column, same)
        for row in range(len(hosts.gpus)):
            after = {}
            for taken in trials(hosts, row, request):
                free = hosts.free.copy()
                free[row, taken] -= request[1]
                cpu, mem = hosts.cpu_milli.copy(), hosts.mem_bytes.copy()
                cpu[row] -= request[2]
                mem[row] -= request[3]
                placed = hosts._replace(free=free, cpu_milli=cpu, mem_bytes=mem)
                after[tuple(taken)] = reference.potential(placed, law)[row] - before[row]
            if not after:
                assert rise[row] == np.inf
                continue
            assert rise[row] == pytest.approx(min(after.values()), rel=1e-9, abs=1e-6)
            if 0 < request[1] < 1000:
                assert after[(int(device[row]),)] == pytest.approx(min(after.values()), rel=1e-9, abs=1e-6)


@settings(deadline=None, max_examples=50)
@given(SEEDS)
def test_neither_order_of_hosts_nor_of_devices_nor_of_classes_matters(seed):
    source = np.random.default_rng(seed)
    hosts, law, request = hosts_of(source), law_of(source), requests_of(source)[0]
    order, devices = source.permutation(len(hosts.gpus)), source.permutation(hosts.free.shape[1])
    classes = source.permutation(len(law.weights))
    moved = hosts.rows(order)
    moved = moved._replace(free=np.ascontiguousarray(moved.free[:, devices]))
    same = law._replace(classes=np.ascontiguousarray(law.classes[classes]), weights=law.weights[classes].copy())
    np.testing.assert_allclose(potential(moved, same), potential(hosts, law)[order], atol=1e-6)
    np.testing.assert_allclose(
        increments(moved, request, same)[0], increments(hosts, request, law)[0][order], atol=1e-6
    )


@settings(deadline=None, max_examples=50)
@given(SEEDS)
def test_the_unusable_share_is_a_share(seed):
    source = np.random.default_rng(seed)
    hosts, mix = hosts_of(source), mix_of(source)
    share = unusable_share(hosts, mix)
    assert ((share >= 0) & (share <= 1)).all()
    assert (share[hosts.free.sum(axis=1) == 0] == 0).all()
    assert not unusable_share(hosts, mix._replace(often=0 * mix.often)).any()


def test_holes_that_the_mix_cannot_use_are_the_unusable_share():
    mix = Mix(np.array([(1, 500, 0, 0, 3), (1, 200, 0, 0, 3)]), np.array([3.0, 1.0]))
    assert unusable_share(one([1000, 0]), mix) == pytest.approx(0)
    assert unusable_share(one([400, 0]), mix) == pytest.approx(0.75)
    assert unusable_share(one([100, 0]), mix) == pytest.approx(1)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(1, 8))
def test_a_tally_counts_and_its_bytes_are_the_most_frequent(requests, count):
    tally = Tally(1e9, 8)
    for each in requests:
        tally.see((1 + each, 1000, each, each, 1))
    back = unpacked(tally.packed(count))
    assert back is not None
    expected = sorted((requests.count(each) for each in set(requests)), reverse=True)[:count]
    np.testing.assert_allclose(back.often * len(requests), expected, rtol=1e-5)
    assert unpacked(tally.packed(count)[:-1]) is None


def test_old_requests_count_less_and_the_rarest_class_goes():
    tally = Tally(1.0, 2)
    for each in (1, 2, 3):
        tally.see((each, 1000, 0, 0, 1))
    mix = tally.mix()
    assert mix.classes[:, 0].tolist() == [2, 3]
    assert mix.often.tolist() == pytest.approx([0.5, 1.0])


def one(free, cpu=64_000, model=0, kind=0, mem=256):
    row = np.array([free], dtype=np.int32)
    return Hosts(
        row,
        np.array([len(free)], dtype=np.int32),
        np.array([cpu]),
        np.array([mem * GIB]),
        np.array([model], dtype=np.int32),
        np.array([kind], dtype=np.int32),
    )


def bare(classes, weights=None, terms=(0.0, 0.0, 0.0, 0.0), block_loss=None, scarcity=(0.0, 0.0)) -> Law:
    rows = np.array(classes, dtype=np.int64).reshape(-1, 5)
    return Law(
        rows,
        np.array(weights if weights is not None else [1.0] * len(rows)) / max(1, len(rows)),
        np.zeros(1001) if block_loss is None else block_loss,
        np.array(scarcity),
        np.array([*terms, 10.0]),
    )


def rise(hosts, request, law):
    return float(increments(hosts, np.array(request, dtype=np.int64), law)[0][0])


HALF, WHOLE_ONE, GANG = (1, 500, 0, 0, 3), (1, 1000, 0, 0, 3), (4, 1000, 0, 0, 3)


def test_copies_left_protect_whole_devices_and_gangs():
    law = bare([WHOLE_ONE, GANG])
    used, unused = one([500, 1000, 1000, 1000]), one([1000, 1000, 1000, 1000])
    assert rise(used, HALF, law) < rise(unused, HALF, law)
    without = bare([])
    assert rise(used, HALF, without) == rise(unused, HALF, without)


def test_a_hole_that_nobody_fills_costs_and_one_that_somebody_fills_does_not():
    mix = Mix(np.array([(1, 810, 0, 0, 3), (1, 500, 0, 0, 3)]), np.array([1.0, 1.0]))
    loss = derived(mix, KINDS).block_loss
    assert loss[190] == pytest.approx(190)
    assert loss[500] / 500 < loss[190] / 190
    law = bare([], terms=(1.0, 0.0, 0.0, 0.0), block_loss=loss)
    hundred = (1, 310, 0, 0, 3)
    assert rise(one([310, 0]), hundred, law) < rise(one([500, 0]), hundred, law)


def test_devices_without_cores_are_starved_only_with_that_term():
    asks = (1, 500, 8_000, 0, 3)
    rich, poor = one([1000, 1000], cpu=64_000), one([1000, 1000], cpu=20_000)
    law, without = bare([], terms=(0.0, 1.0, 0.0, 0.0)), bare([])
    assert rise(poor, asks, law) > rise(rich, asks, law)
    assert rise(poor, asks, without) == rise(rich, asks, without)


def test_the_spread_term_prefers_the_emptier_host():
    law = bare([], terms=(0.0, 0.0, 1.0, 0.0))
    assert rise(one([1000, 1000]), HALF, law) < rise(one([500, 0]), HALF, law)


def test_a_scarce_kind_is_kept_for_those_who_can_use_no_other():
    mix = Mix(np.array([(1, 1000, 0, 0, 0b01), (1, 1000, 0, 0, 0b11)]), np.array([1.0, 3.0]))
    law = derived(mix, KINDS)
    assert law.scarcity[0] > law.scarcity[1] == law.scarcity[2] == 0
    scarce = bare([], terms=(0.0, 0.0, 0.0, 1.0), scarcity=law.scarcity)
    assert rise(one([1000, 0], model=0, kind=0), WHOLE_ONE, scarce) > rise(one([1000, 0], kind=1), WHOLE_ONE, scarce)
    large = Mix(np.array([(1, 500, 40_000, 0, 0b11), (1, 500, 1_000, 0, 0b11)]), np.array([1.0, 9.0]))
    pressure = derived(large, KINDS).scarcity
    assert pressure[2] > 0 == pressure[0], "what only the largest hosts could take makes them scarce"


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_the_law_depends_on_ratios_alone(seed):
    source = np.random.default_rng(seed)
    mix = mix_of(source)
    for mine, other in zip(derived(mix, KINDS), derived(mix._replace(often=mix.often * 7), KINDS), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-6)
