"""The worlds behind the claims of packing and of cost: the protocol on a small trace, and a rig that stays as full."""

from pathlib import Path

import numpy as np
import pytest

from tegcore.wire.records import Region
from tegsim.claims.cost import crossing, exponent
from tegsim.packing import study
from tegsim.packing.trace import arrivals, load, workloads
from tegsim.placement_rig import FULL, STAGES, Rig
from tegsim.policies.first_fit import FirstFit

NODES = "sn,cpu_milli,memory_mib,gpu,model\nb,64000,65536,4,T4\na,32000,65536,2,P100\n"
PODS = (
    "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n"
    + "p,1000,1024,1,500,\nq,1000,1024,2,1000,T4\nr,2000,1024,0,0,\ns,1000,1024,1,250,P100|T4\n" * 2
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "openb_node_list_gpu_node.csv").write_text(NODES)
    (tmp_path / "openb_pod_list_tiny.csv").write_text(PODS)
    return tmp_path


def test_a_trace_is_read_with_hosts_by_name_and_models_as_masks(folder: Path) -> None:
    assert workloads(folder) == ["tiny"]
    trace = load(folder, "tiny")
    assert trace.models == ("P100", "T4")
    assert trace.hosts.gpus.tolist() == [2, 4]
    assert trace.capacity_milli == 6_000
    assert trace.requests[:4, [0, 1, 4]].tolist() == [[1, 500, 3], [2, 1000, 2], [0, 0, 3], [1, 250, 3]]


def test_arrivals_are_the_trace_shuffled_and_then_draws_up_to_the_demand(folder: Path) -> None:
    trace = load(folder, "tiny")
    stream = arrivals(trace, 1.3, 1)
    head = stream[: len(trace.requests)]
    np.testing.assert_array_equal(np.unique(head, axis=0), np.unique(trace.requests, axis=0))
    asked = int((stream[:, 0] * stream[:, 1]).sum())
    assert 1.1 * trace.capacity_milli < asked <= 1.3 * trace.capacity_milli + 1_000
    np.testing.assert_array_equal(stream, arrivals(trace, 1.3, 1))
    assert not np.array_equal(head, arrivals(trace, 1.3, 2)[: len(head)])


def test_what_is_unallocated_falls_with_what_arrives_and_ends_at_what_is_left(folder: Path) -> None:
    trace = load(folder, "tiny")
    stream = arrivals(trace, 1.3, 1)
    packed = study.run(trace, stream, FirstFit())
    assert packed.at(0) <= 100
    assert (np.diff(packed.unallocated_pct) <= 1e-9).all()
    assert packed.placed + packed.dropped == len(stream)


def test_the_rig_places_and_stays_as_full_as_it_was(tmp_path: Path) -> None:
    rig = Rig(4, tmp_path, 1)
    rig.run(40)
    free = rig.engine.state.book.free_slots(Region(0, 8)) / 256
    assert 1 - FULL - 0.02 <= free <= 1 - FULL + 0.15
    assert rig.rounds >= rig.placements >= 40
    assert set(rig.cpu_us) == set(STAGES)
    assert all(spent > 0 for spent in rig.cpu_us.values())
    rig.engine.check()
    rig.close()


def test_growth_and_crossings_are_those_of_known_curves() -> None:
    hosts = [8.0, 64.0, 512.0, 4096.0]
    assert exponent(hosts, [3 * at**0.7 for at in hosts]) == pytest.approx(0.7)
    assert crossing(hosts, [100.0] * 4, hosts) == pytest.approx(100.0)
    assert crossing(hosts, [1.0] * 4, hosts) == 8.0
    assert crossing(hosts, [1e9] * 4, hosts) is None
