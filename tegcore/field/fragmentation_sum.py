# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The fragmentation potential of hosts, and how it rises where a request is placed: the sum over classes, compiled.

Python that Cython compiles. `tegcore.field.fragmentation` says what is summed, `tegcore.field.reference` writes it out
over arrays. A class is a row (gpus, share_milli, cpu_milli, mem_bytes, models); a host's devices stand in one row of
free thousandths.
"""

import cython

if not cython.compiled:
    from math import inf
else:
    inf = cython.declare(cython.double, float("inf"))

TAKEN = cython.declare(cython.int, -1)
"""Marks a whole device that a trial has taken."""


@cython.cfunc
@cython.exceptval(check=False)
def _potential(
    free: cython.int[::1],
    gpus: cython.int,
    cpu_milli: cython.longlong,
    mem_bytes: cython.longlong,
    model: cython.int,
    kind: cython.int,
    classes: cython.longlong[:, ::1],
    weights: cython.double[::1],
    block_loss: cython.double[::1],
    scarcity: cython.double[::1],
    terms: cython.double[::1],
) -> cython.double:
    row: cython.Py_ssize_t
    device: cython.Py_ssize_t
    count: cython.longlong
    share: cython.int
    left: cython.int
    room: cython.int = 0
    empty: cython.int = 0
    total: cython.double = 0.0
    starved: cython.double
    devices: cython.Py_ssize_t = free.shape[0]
    for device in range(devices):
        left = free[device]
        if left > 0:
            room += left
            empty += left == 1000
            total += terms[0] * block_loss[left]
    total += room
    for row in range(classes.shape[0]):
        if room == 0 or cpu_milli < classes[row, 2] or mem_bytes < classes[row, 3] or not classes[row, 4] >> model & 1:
            continue
        share = cython.cast(cython.int, classes[row, 1])
        count = 0
        if share < 1000:
            for device in range(devices):
                if free[device] >= share:
                    count += free[device] // share
        else:
            count = empty // classes[row, 0]
        if count and classes[row, 2] and cpu_milli // classes[row, 2] < count:
            count = cpu_milli // classes[row, 2]
        if count and classes[row, 3] and mem_bytes // classes[row, 3] < count:
            count = mem_bytes // classes[row, 3]
        total -= weights[row] * (classes[row, 0] * share * count)
    starved = room - cpu_milli / terms[4]
    if starved > 0.0:
        total += terms[1] * starved
    return total + terms[2] * room * room / (1000.0 * gpus) - terms[3] * scarcity[kind] * room


def potential_sum(
    free: cython.int[:, ::1],
    gpus: cython.int[::1],
    cpu_milli: cython.longlong[::1],
    mem_bytes: cython.longlong[::1],
    model: cython.int[::1],
    kind: cython.int[::1],
    classes: cython.longlong[:, ::1],
    weights: cython.double[::1],
    block_loss: cython.double[::1],
    scarcity: cython.double[::1],
    terms: cython.double[::1],
    out: cython.double[::1],
) -> None:
    """The potential of each host.

    Args:
        free: Shape (n, devices), thousandths that are free of each device; 0 where there is none.
        gpus: Shape (n,), devices that there are.
        cpu_milli: Shape (n,), free.
        mem_bytes: Shape (n,), free.
        model: Shape (n,), 0..62.
        kind: Shape (n,), row of `scarcity`.
        classes: Shape (m, 5).
        weights: Shape (m,).
        block_loss: Shape (1001,), thousandths that a free block of so many will not earn.
        scarcity: By kind of host.
        terms: Weights of block loss, starvation, spread and scarcity, and thousandths of a core that a thousandth of a
            device needs; shape (5,).
        out: Shape (n,), written.
    """
    host: cython.Py_ssize_t
    for host in range(free.shape[0]):
        out[host] = _potential(
            free[host],
            gpus[host],
            cpu_milli[host],
            mem_bytes[host],
            model[host],
            kind[host],
            classes,
            weights,
            block_loss,
            scarcity,
            terms,
        )


def rise_sum(
    free: cython.int[:, ::1],
    gpus: cython.int[::1],
    cpu_milli: cython.longlong[::1],
    mem_bytes: cython.longlong[::1],
    model: cython.int[::1],
    kind: cython.int[::1],
    request: cython.longlong[::1],
    classes: cython.longlong[:, ::1],
    weights: cython.double[::1],
    block_loss: cython.double[::1],
    scarcity: cython.double[::1],
    terms: cython.double[::1],
    rise: cython.double[::1],
    device_out: cython.int[::1],
) -> None:
    """By how much the potential of each host rises where a request is placed on it.

    What stands before and after `request` is as in `potential_sum`; `free` is changed and put back. `request` is a
    class, shape (5,). Written are `rise`, shape (n,), infinite where the request does not fit, and `device_out`, shape
    (n,), the device of a share that raises the potential least, else -1.
    """
    host: cython.Py_ssize_t
    device: cython.Py_ssize_t
    other: cython.Py_ssize_t
    devices: cython.Py_ssize_t = free.shape[1]
    wanted: cython.longlong
    left: cython.int
    share: cython.int = cython.cast(cython.int, request[1])
    seen: cython.bint
    before: cython.double
    after: cython.double
    for host in range(free.shape[0]):
        rise[host], device_out[host] = inf, -1
        if (
            cpu_milli[host] < request[2]
            or mem_bytes[host] < request[3]
            or (request[0] and not request[4] >> model[host] & 1)
        ):
            continue
        wanted = request[0]
        for device in range(devices):
            wanted -= free[host, device] >= share
        if request[0] and wanted > 0:
            continue
        before = _potential(
            free[host],
            gpus[host],
            cpu_milli[host],
            mem_bytes[host],
            model[host],
            kind[host],
            classes,
            weights,
            block_loss,
            scarcity,
            terms,
        )
        if request[0] and share < 1000:
            for device in range(devices):
                left = free[host, device]
                if left < share:
                    continue
                seen = False
                for other in range(device):
                    if free[host, other] == left:
                        seen = True
                        break
                if seen:
                    continue
                free[host, device] = left - share
                after = _potential(
                    free[host],
                    gpus[host],
                    cpu_milli[host] - request[2],
                    mem_bytes[host] - request[3],
                    model[host],
                    kind[host],
                    classes,
                    weights,
                    block_loss,
                    scarcity,
                    terms,
                )
                free[host, device] = left
                if after - before < rise[host]:
                    rise[host], device_out[host] = after - before, cython.cast(cython.int, device)
            continue
        wanted = request[0]
        for device in range(devices):
            if wanted and free[host, device] == 1000:
                free[host, device] = TAKEN
                wanted -= 1
        after = _potential(
            free[host],
            gpus[host],
            cpu_milli[host] - request[2],
            mem_bytes[host] - request[3],
            model[host],
            kind[host],
            classes,
            weights,
            block_loss,
            scarcity,
            terms,
        )
        for device in range(devices):
            if free[host, device] == TAKEN:
                free[host, device] = 1000
        rise[host] = after - before
