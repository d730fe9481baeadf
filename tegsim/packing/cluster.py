"""The hosts that all policies see: free room as arrays, one row a host, and which rows have changed since.

The physics is the study's: a share lies on one device, several devices are whole ones of one host, and cores, memory
and model are limits. A policy says where; `place` asserts that it fits.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tegcore.field.fragmentation import WHOLE, Devices, Hosts, Words
from tegcore.field.request_mix import Kinds

Rows = NDArray[np.intp]


class Choice(NamedTuple):
    """Where a request goes.

    Attributes:
        host: Its row.
        devices: Which of its devices; none for a request of cores and memory alone.
    """

    host: int
    devices: tuple[int, ...]


class Cluster:
    """Hosts with what is free of them.

    Attributes:
        free: What is left, rows as in `Hosts`.
        full: What there was at first.
        changed: Rows in the order in which they changed.
        used_milli: Thousandths of devices that are taken.
    """

    def __init__(self, hosts: Hosts) -> None:
        self.full = hosts
        self.free = hosts.rows(np.arange(len(hosts.gpus)))
        self.changed: list[int] = []
        self.used_milli = 0

    def __len__(self) -> int:
        return len(self.free.gpus)

    def fits(self, request: Words, rows: Rows | None = None) -> NDArray[np.bool_]:
        """Whether the request fits on each of some rows, all by default."""
        free = self.free if rows is None else self.free.rows(rows)
        gpus, share, cpu_milli, mem_bytes, mask = request.tolist()
        able: NDArray[np.bool_] = (free.cpu_milli >= cpu_milli) & (free.mem_bytes >= mem_bytes)
        if gpus:
            able &= (mask >> free.model.astype(np.int64) & 1) == 1
            able &= (free.free >= share).sum(axis=1) >= gpus
        return able

    def place(self, request: Words, choice: Choice) -> None:
        """Take what a request asks for where a policy chose."""
        self._move(request, choice, 1)
        row = self.free.free[choice.host]
        assert row.min() >= 0, f"devices of host {choice.host} are overdrawn: {row.tolist()}"
        assert self.free.cpu_milli[choice.host] >= 0, f"cores of host {choice.host} are overdrawn"
        assert self.free.mem_bytes[choice.host] >= 0, f"memory of host {choice.host} is overdrawn"
        assert len(set(choice.devices)) == int(request[0]), "a request has the devices that it asked for"

    def remove(self, request: Words, choice: Choice) -> None:
        """Give back what `place` took."""
        self._move(request, choice, -1)

    def _move(self, request: Words, choice: Choice, sign: int) -> None:
        gpus, share, cpu_milli, mem_bytes, mask = request.tolist()
        host = choice.host
        assert not gpus or mask >> int(self.free.model[host]) & 1, f"host {host} is of a model that was not asked for"
        for device in choice.devices:
            self.free.free[host, device] -= sign * share
        self.free.cpu_milli[host] -= sign * cpu_milli
        self.free.mem_bytes[host] -= sign * mem_bytes
        self.used_milli += sign * gpus * share
        self.changed.append(host)

    def tightest(self, host: int, request: Words) -> Choice:
        """The devices of a host with least free that the request fits on, the first of equals."""
        gpus, share = int(request[0]), int(request[1])
        if not gpus:
            return Choice(host, ())
        row = self.free.free[host]
        if share == WHOLE:
            return Choice(host, tuple(np.flatnonzero(row == WHOLE)[:gpus].tolist()))
        return Choice(host, (int(np.where(row >= share, row, WHOLE + 1).argmin()),))


def kind_numbers(gpus: Devices, cpu_milli: Words, mem_bytes: Words, model: Devices) -> Devices:
    """A number for each host, shape (n,): equal for those that are equal when empty."""
    shapes = np.stack((gpus, cpu_milli, mem_bytes, model), axis=1)
    numbers: Devices = np.unique(shapes, axis=0, return_inverse=True)[1].astype(np.int32)
    return numbers


def kinds_of(empty: Hosts) -> Kinds:
    """What hosts are when empty, by their numbers of kind, which have no gaps."""
    first = empty.rows(np.unique(empty.kind, return_index=True)[1])
    return Kinds(first.gpus, first.cpu_milli, first.mem_bytes, first.model, np.bincount(empty.kind).astype(np.int64))
