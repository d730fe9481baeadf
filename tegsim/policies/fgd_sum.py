# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""How the expected waste of hosts falls where a request is placed, as whole scores: `tegsim.policies.fgd`, compiled."""

import cython

if not cython.compiled:
    from math import exp, floor


@cython.cfunc
@cython.exceptval(check=False)
def _waste(
    free: cython.int[::1],
    cpu_milli: cython.longlong,
    model: cython.int,
    classes: cython.longlong[:, ::1],
    weights: cython.double[::1],
) -> cython.double:
    row: cython.Py_ssize_t
    device: cython.Py_ssize_t
    devices: cython.Py_ssize_t = free.shape[0]
    able: cython.longlong
    short: cython.int
    share: cython.int
    room: cython.int = 0
    enough_cpu: cython.bint
    lacks_both: cython.double = 0.0
    lacks_gpu: cython.double = 0.0
    lacks_cpu: cython.double = 0.0
    cores_fit: cython.double = 0.0
    cores_lack: cython.double = 0.0
    no_access: cython.double = 0.0
    for device in range(devices):
        room += free[device]
    for row in range(classes.shape[0]):
        enough_cpu = cpu_milli >= classes[row, 2]
        if not classes[row, 0]:
            if enough_cpu:
                cores_fit += weights[row] * room
            else:
                cores_lack += weights[row] * room
            continue
        if not classes[row, 4] >> model & 1:
            no_access += weights[row] * room
            continue
        share, able, short = cython.cast(cython.int, classes[row, 1]), 0, 0
        for device in range(devices):
            if free[device] >= share:
                able += 1
            else:
                short += free[device]
        if able >= classes[row, 0]:
            if enough_cpu:
                lacks_gpu += weights[row] * short
            else:
                lacks_cpu += weights[row] * room
        elif enough_cpu:
            lacks_gpu += weights[row] * room
        else:
            lacks_both += weights[row] * room
    return lacks_both + lacks_gpu + lacks_cpu + cores_fit + cores_lack + no_access


@cython.cfunc
@cython.exceptval(check=False)
def _score(drop: cython.double) -> cython.double:
    return floor(100.0 / (1.0 + exp(-drop / 1000.0)))


def waste_drop_sum(
    free: cython.int[:, ::1],
    cpu_milli: cython.longlong[::1],
    model: cython.int[::1],
    request: cython.longlong[::1],
    classes: cython.longlong[:, ::1],
    weights: cython.double[::1],
    score: cython.double[::1],
    device_out: cython.int[::1],
) -> None:
    """Scores of hosts that the request fits on.

    Args:
        free: Shape (n, devices), thousandths that are free; changed and put back.
        cpu_milli: Shape (n,), free.
        model: Shape (n,).
        request: (gpus, share_milli, cpu_milli, mem_bytes, models).
        classes: Shape (m, 5).
        weights: Shape (m,), sum 1.
        score: Shape (n,), written.
        device_out: Shape (n,), written: the device of a share, else -1.
    """
    host: cython.Py_ssize_t
    device: cython.Py_ssize_t
    devices: cython.Py_ssize_t = free.shape[1]
    share: cython.int = cython.cast(cython.int, request[1])
    wanted: cython.longlong
    taken: cython.longlong
    before: cython.double
    found: cython.double
    for host in range(free.shape[0]):
        before = _waste(free[host], cpu_milli[host], model[host], classes, weights)
        score[host], device_out[host] = -1.0, -1
        if request[0] and share < 1000:
            for device in range(devices):
                if free[host, device] < share:
                    continue
                free[host, device] -= share
                found = _score(before - _waste(free[host], cpu_milli[host] - request[2], model[host], classes, weights))
                free[host, device] += share
                if found > score[host]:
                    score[host], device_out[host] = found, cython.cast(cython.int, device)
            continue
        wanted, taken = request[0], 0
        for device in range(devices):
            if wanted and free[host, device] == 1000:
                free[host, device] = 0
                taken |= cython.cast(cython.longlong, 1) << device
                wanted -= 1
        score[host] = _score(before - _waste(free[host], cpu_milli[host] - request[2], model[host], classes, weights))
        for device in range(devices):
            if taken >> device & 1:
                free[host, device] = 1000
