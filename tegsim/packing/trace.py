"""The open GPU trace of the fragmentation study (Weng et al., USENIX ATC 2023), and its order of arrival.

A folder holds `openb_node_list_gpu_node.csv` and `openb_pod_list_NAME.csv`, the latter also gzipped. Requests are
shuffled first; then random draws are appended until what has arrived is a stated multiple of capacity. Each number
that names a seed names its own streams.
"""

import csv
import gzip
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tegcore import rng
from tegcore.field.fragmentation import WHOLE, Hosts, Words
from tegcore.field.requests import Mix
from tegcore.units import MIB
from tegsim.packing.cluster import kind_numbers

DEVICES_MAX = 8
NODES_FILE = "openb_node_list_gpu_node.csv"


class Trace(NamedTuple):
    """A cluster that is empty, and requests in the order of the file.

    Attributes:
        hosts: One row a host, in the order of their names.
        models: Names of the models, by number.
        requests: Rows of (devices, thousandths of each, cpu_milli, mem_bytes, mask of models), shape (n, 5).
    """

    hosts: Hosts
    models: tuple[str, ...]
    requests: Words

    @property
    def capacity_milli(self) -> int:
        """Thousandths of a device that there are."""
        return int(self.hosts.free.sum())

    def mix(self) -> Mix:
        """The classes of the requests and how often each occurs."""
        classes, count = np.unique(self.requests, axis=0, return_counts=True)
        return Mix(np.ascontiguousarray(classes), count.astype(np.float64))


def workloads(folder: Path) -> list[str]:
    """Names of the request lists of a folder, in order."""
    names = {path.name.split(".")[0].removeprefix("openb_pod_list_") for path in folder.glob("openb_pod_list_*.csv*")}
    return sorted(names)


def load(folder: Path, workload: str) -> Trace:
    """One request list of a folder, on its hosts.

    Raises:
        FileNotFoundError: If the folder lacks it.
    """
    nodes = sorted(_rows(folder / NODES_FILE), key=lambda row: row["sn"])
    models = tuple(sorted({row["model"] for row in nodes}))
    number = {model: at for at, model in enumerate(models)}
    gpus = np.array([int(row["gpu"]) for row in nodes], dtype=np.int32)
    cpu_milli = np.array([int(row["cpu_milli"]) for row in nodes], dtype=np.int64)
    mem_bytes = np.array([int(row["memory_mib"]) for row in nodes], dtype=np.int64) * MIB
    model = np.array([number[row["model"]] for row in nodes], dtype=np.int32)
    kind = kind_numbers(gpus, cpu_milli, mem_bytes, model)
    free = np.where(np.arange(DEVICES_MAX) < gpus[:, None], WHOLE, 0).astype(np.int32)
    hosts = Hosts(free, gpus, cpu_milli, mem_bytes, model, kind)
    path = folder / f"openb_pod_list_{workload}.csv"
    requests = [_request(row, number) for row in _rows(path if path.exists() else path.with_suffix(".csv.gz"))]
    return Trace(hosts, models, np.array(requests, dtype=np.int64))


def _rows(path: Path) -> list[dict[str, str]]:
    data = path.read_bytes()
    text = gzip.decompress(data) if path.suffix == ".gz" else data
    return list(csv.DictReader(text.decode("utf-8-sig").splitlines()))


def _request(row: dict[str, str], number: dict[str, int]) -> tuple[int, int, int, int, int]:
    gpus = int(row["num_gpu"])
    named = [model for model in (row.get("gpu_spec") or "").split("|") if model]
    mask = sum(1 << number[model] for model in named if model in number) if named else (1 << len(number)) - 1
    share = min(WHOLE, int(row["gpu_milli"])) if gpus else 0
    return gpus, share, int(row["cpu_milli"]), int(row["memory_mib"]) * MIB, mask


def arrivals(trace: Trace, demand: float, seed: int) -> Words:
    """Requests in their order of arrival, shape (n, 5), up to `demand` times what the cluster has."""
    count = len(trace.requests)
    order = np.argsort(rng.uniform(seed, "shuffle", 0, np.arange(count)), kind="stable")
    sizes = trace.requests[:, 0] * trace.requests[:, 1]
    limit = demand * trace.capacity_milli
    arrived = int(sizes.sum())
    drawn = (rng.uniform(seed, "append", 0, np.arange(8 * count)) * count).astype(np.int64)
    extra = []
    for pick in drawn.tolist():
        if arrived + int(trace.requests[pick, 1]) > limit:
            break
        arrived += int(sizes[pick])
        extra.append(pick)
    stream: Words = trace.requests[np.concatenate([order, np.array(extra, dtype=np.int64)])]
    return stream
