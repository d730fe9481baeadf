"""One contract for every policy: it places what fits, where it fits, and sees what has changed since it last looked."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packing_world import hosts_of, mix_of, requests_of

from tegcore.field.fragmentation import WHOLE
from tegcore.field.request_mix import Kinds, derived
from tegcore.field.requests import Mix
from tegsim.packing.cluster import Choice, Cluster
from tegsim.policies import (
    agents,
    best_fit,
    book_alone,
    descent,
    dot_product,
    fgd,
    filter_score,
    first_fit,
    gpu_clustering,
    gpu_packing,
    learning,
    random_fit,
)
from tegsim.policies.base import Scored
from tegsim.policies.zone_book import ZoneBook


def empty(source, count=12):
    """Hosts that are empty, so that the zone's book can take them in."""
    hosts = hosts_of(source, count)
    free = np.where(np.arange(hosts.free.shape[1]) < hosts.gpus[:, None], WHOLE, 0).astype(np.int32)
    return hosts._replace(free=free, cpu_milli=hosts.cpu_milli + 16_000, mem_bytes=hosts.mem_bytes + (64 << 30))


def law_for(hosts, mix):
    rows = np.arange(len(hosts.gpus), dtype=np.int32)
    kinds = Kinds(hosts.gpus, hosts.cpu_milli, hosts.mem_bytes, hosts.model, np.ones(len(rows), dtype=np.int64))
    return derived(mix, kinds)


POLICIES = {
    "random": lambda hosts, mix, seed: random_fit.RandomFit(seed),
    "first fit": lambda hosts, mix, seed: first_fit.FirstFit(),
    "best fit": lambda hosts, mix, seed: best_fit.BestFit(),
    "dot product": lambda hosts, mix, seed: dot_product.DotProduct(),
    "packing": lambda hosts, mix, seed: gpu_packing.GpuPacking(),
    "clustering": lambda hosts, mix, seed: gpu_clustering.GpuClustering(),
    "fgd": lambda hosts, mix, seed: fgd.Fgd(mix),
    "filter and score": lambda hosts, mix, seed: filter_score.FilterScore(seed),
    "descent": lambda hosts, mix, seed: descent.Descent(law_for(hosts, mix), seed),
    "agents": lambda hosts, mix, seed: agents.Agents(law_for(hosts, mix), seed),
    "agents in mixed racks": lambda hosts, mix, seed: agents.Agents(law_for(hosts, mix), seed, mixed=True),
    "agents that learn": lambda hosts, mix, seed: learning.LearningAgents(seed),
    "book": lambda hosts, mix, seed: book_alone.BookAlone(),
}


def played(policy, hosts, requests, asked=lambda cluster, request, choice: None):
    cluster = Cluster(hosts)
    policy.begin(cluster)
    for request in requests:
        choice = policy.choose(cluster, request)
        asked(cluster, request, choice)
        if choice is not None:
            cluster.place(request, choice)
            policy.placed(cluster, request, choice)
    return cluster


@pytest.mark.parametrize("name", POLICIES)
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_it_places_exactly_what_fits_and_where_it_fits(name, seed):
    source = np.random.default_rng(seed)
    hosts, mix = empty(source), mix_of(source)
    hosts = hosts._replace(kind=np.arange(len(hosts.gpus), dtype=np.int32))

    def asked(cluster, request, choice):
        able = cluster.fits(request)
        assert (choice is not None) == bool(able.any())
        if choice is not None:
            assert able[choice.host]
            assert all(cluster.free.free[choice.host, device] >= request[1] for device in choice.devices)

    played(POLICIES[name](hosts, mix, seed), hosts, requests_of(source, 60), asked)


@pytest.mark.parametrize("name", [name for name in POLICIES if name not in ("random", "clustering")])
def test_kept_scores_are_those_of_a_fresh_scan(name):
    source = np.random.default_rng(5)
    hosts, mix, requests = empty(source), mix_of(source), requests_of(source, 8)[source.integers(0, 8, 120)]
    hosts = hosts._replace(kind=np.arange(len(hosts.gpus), dtype=np.int32))
    policy = POLICIES[name](hosts, mix, 3)
    if not isinstance(policy, Scored):
        pytest.skip("it keeps no scores")

    def asked(cluster, request, choice):
        fresh = POLICIES[name](hosts, mix, 3)
        fresh.begin(cluster)
        np.testing.assert_array_equal(policy.scores(cluster, request)[0], fresh.scores(cluster, request)[0])

    played(policy, hosts, requests, asked)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_fgd_compiled_is_fgd_written_out(seed):
    source = np.random.default_rng(seed)
    hosts, mix = hosts_of(source), mix_of(source)
    policy, cluster = fgd.Fgd(mix), Cluster(hosts)
    for request in requests_of(source):
        fitting = hosts.rows(np.flatnonzero(cluster.fits(request)))
        drop, sure = fgd.waste_drop(fitting, request, fgd.typical(mix))
        score, device = policy.score(fitting, request)
        expected = 100 / (1 + np.exp(-drop / WHOLE))
        far = np.abs(expected - np.round(expected)) > 1e-6
        np.testing.assert_array_equal(score[far], np.floor(expected[far]))
        np.testing.assert_array_less(np.abs(score - expected), 1.000001)
        np.testing.assert_array_equal(device >= 0, sure)


def test_agents_see_64_hosts_at_most_and_the_book_sees_what_they_cannot():
    source = np.random.default_rng(2)
    hosts = empty(source, 200)
    hosts = hosts._replace(kind=np.zeros(200, dtype=np.int32), model=(np.arange(200) == 199).astype(np.int32))
    mix = Mix(np.array([(1, 500, 0, 0, 0b11)]), np.array([1.0]))
    policy = agents.Agents(law_for(hosts, mix), 1)
    cluster = Cluster(hosts)
    policy.begin(cluster)
    for _ in range(20):
        assert policy.choose(cluster, np.array([1, 500, 0, 0, 0b10])).host == 199
    assert policy.widened > 0
    assert policy.seen_max == 64


def test_the_zone_knows_what_was_placed():
    source = np.random.default_rng(3)
    cluster = Cluster(empty(source, 9))
    zone, request = ZoneBook(cluster), np.array([1, 300, 1_000, 0, 0b11])
    placed = 0
    while (choice := zone.ask(request, zone.root)) is not None:
        cluster.place(request, choice)
        zone.seat(request, choice)
        placed += 1
    zone.book.check()
    assert placed > 0
    assert not cluster.fits(request).any()


def test_what_is_removed_is_as_before():
    cluster = Cluster(empty(np.random.default_rng(4)))
    request = np.array([1, 300, 1_000, 1 << 30, 0b11])
    choice = cluster.tightest(int(np.flatnonzero(cluster.fits(request))[0]), request)
    cluster.place(request, choice)
    cluster.remove(request, choice)
    for now, first in zip(cluster.free, cluster.full, strict=True):
        np.testing.assert_array_equal(now, first)
    with pytest.raises(AssertionError, match="overdrawn"):
        cluster.place(np.array([1, 300, 1 << 40, 0, 0b11]), Choice(choice.host, choice.devices))
